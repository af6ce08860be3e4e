// node's http2 client, in cleartext, against examples/h2_server. Argument: http://HOST:PORT.
import http2 from "node:http2";
import { once } from "node:events";

import { TEN_MIB, check, checkBasics, same } from "./report.mjs";

// In MB: node ends streams when what waits to be sent is more.
const session = http2.connect(process.argv[2], { maxSessionMemory: 100 });
session.on("error", (error) => console.log(`failed the session: ${error.message}`));

// Everything that comes back for one request.
async function collect(stream) {
  const got = { status: 0, fields: {}, trailers: {}, informed: [] };
  stream.on("headers", (fields) => got.informed.push(fields));
  stream.on("trailers", (fields) => (got.trailers = { ...fields }));
  stream.on("response", (fields) => ([got.status, got.fields] = [fields[":status"], fields]));
  const parts = [];
  for await (const part of stream) parts.push(part);
  got.content = Buffer.concat(parts);
  same(got.status, 200);
  return got;
}

function ask(method, path, content, fields = {}) {
  const stream = session.request({ ":method": method, ":path": path, ...fields }, { endStream: content === undefined });
  if (content !== undefined) stream.end(content);
  return collect(stream);
}

async function get() {
  same((await ask("GET", "/")).content.toString(), "Hello, World!");
}

async function echo(content) {
  same((await ask("POST", "/echo", content)).content.equals(content), true);
}

async function head() {
  const { fields, content } = await ask("HEAD", "/");
  same([fields["content-length"], content.length], ["13", 0]);
}

async function trailers() {
  const stream = session.request({ ":method": "POST", ":path": "/echo" }, { waitForTrailers: true, endStream: false });
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "12" }));
  stream.end("words");
  const { content, trailers } = await collect(stream);
  same([content.toString(), trailers["x-sum"]], ["words", "12"]);
}

async function expectContinue() {
  const stream = session.request({ ":method": "POST", ":path": "/echo", expect: "100-continue" });
  const collected = collect(stream);
  await Promise.race([once(stream, "continue"), collected]);
  stream.end("words");
  same((await collected).content.toString(), "words");
}

async function earlyHints() {
  const { informed } = await ask("GET", "/early");
  same(informed.map((fields) => [fields[":status"], "link" in fields]), [[103, true]]);
}

async function cancelled() {
  for (let round = 0; round < 20; round++) {
    const stream = session.request({ ":path": "/bytes?n=1000000000000" });
    await once(stream, "data");
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await once(stream, "close");
  }
  await get();
}

async function gracefulClose() {
  const stream = session.request({ ":path": `/bytes?n=${TEN_MIB}` });
  await once(stream, "response");
  const goaway = once(session, "goaway");
  console.log("waiting");
  await once(process.stdin, "data");
  let length = 0;
  for await (const part of stream) length += part.length;
  same([length, (await goaway)[0]], [TEN_MIB, http2.constants.NGHTTP2_NO_ERROR]);
  process.stdin.destroy();
}

console.log(`version node ${process.version} (nghttp2 ${process.versions.nghttp2})`);
await checkBasics({ get, head, echo, ask });
await check("trailers both ways", trailers);
await check("100 Continue", expectContinue);
await check("103 Early Hints", earlyHints);
await check("200 requests at once", () => Promise.all(Array.from({ length: 200 }, get)));
await check("PING", () => new Promise((done, fail) => session.ping((error) => (error ? fail(error) : done()))));
await check("cancelled downloads", cancelled);
await check("graceful close", gracefulClose);
session.close();
