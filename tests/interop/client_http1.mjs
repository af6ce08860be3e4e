// node's http and https clients, which speak HTTP/1.1, and its fetch, against examples/h2_server.
// Argument: http://HOST:PORT or https://HOST:PORT.
import http from "node:http";
import https from "node:https";
import { once } from "node:events";

import { TEN_MIB, check, checkBasics, pattern, same } from "./report.mjs";

const base = process.argv[2];
const secure = base.startsWith("https:");
const { Agent, request } = secure ? https : http;
const agent = new Agent({ keepAlive: true, maxSockets: 20 });

async function collect(asked, status = 200) {
  const informed = [];
  asked.on("information", ({ statusCode, headers }) => informed.push([statusCode, "link" in headers]));
  const [answer] = await once(asked, "response");
  const parts = [];
  for await (const part of answer) parts.push(part);
  same([answer.httpVersion, answer.statusCode], ["1.1", status]);
  return { fields: answer.headers, trailers: answer.trailers, content: Buffer.concat(parts), informed };
}

function ask(method, path, content, headers = {}) {
  const asked = request(base + path, { method, agent, headers });
  const collected = collect(asked);
  asked.end(content);
  return collected;
}

async function get() {
  same((await ask("GET", "/")).content.toString(), "Hello, World!");
}

async function head() {
  const { fields, content } = await ask("HEAD", "/");
  same([fields["content-length"], content.length], ["13", 0]);
}

async function echo(content) {
  const { content: back } = await ask("POST", "/echo", content, { "content-length": content.length });
  same(back.equals(content), true);
}

// Without a length node sends chunks, and trailers behind them.
async function trailers() {
  const asked = request(base + "/echo", { method: "POST", agent, headers: { trailer: "x-sum", te: "trailers" } });
  const collected = collect(asked);
  for (const word of ["some ", "more ", "words"]) asked.write(word);
  asked.addTrailers({ "x-sum": "12" });
  asked.end();
  const { content, trailers } = await collected;
  same([content.toString(), { ...trailers }], ["some more words", { "x-sum": "12" }]);
}

async function expectContinue() {
  const asked = request(base + "/echo", { method: "POST", agent, headers: { expect: "100-continue" } });
  const collected = collect(asked);
  asked.flushHeaders();
  await Promise.race([once(asked, "continue"), collected]);
  asked.end("words");
  same((await collected).content.toString(), "words");
}

async function earlyHints() {
  same((await ask("GET", "/early")).informed, [[103, true]]);
}

async function cancelled() {
  for (let round = 0; round < 20; round++) {
    const asked = request(base + "/bytes?n=1000000000000", { agent });
    asked.end();
    const [answer] = await once(asked, "response");
    await once(answer, "data");
    answer.destroy();
  }
  await get();
}

async function fetched() {
  const answer = await fetch(base + "/");
  same([answer.status, await answer.text()], [200, "Hello, World!"]);
  const json = await (await fetch(base + "/json")).json();
  same(json, { message: "Hello, World!" });
  const back = await fetch(base + "/echo", { method: "POST", body: pattern(300_000) });
  same(Buffer.from(await back.arrayBuffer()).equals(pattern(300_000)), true);
}

// The content is a stream, sent in chunks while the answer comes.
async function fetchStreams() {
  const sent = pattern(1_000_000);
  const body = new ReadableStream({
    start(sink) {
      for (let at = 0; at < sent.length; at += 50_000) sink.enqueue(sent.subarray(at, at + 50_000));
      sink.close();
    },
  });
  const back = await fetch(base + "/echo", { method: "POST", body, duplex: "half" });
  same(Buffer.from(await back.arrayBuffer()).equals(sent), true);
}

async function gracefulClose() {
  const asked = request(`${base}/bytes?n=${TEN_MIB}`, { agent });
  asked.end();
  const [answer] = await once(asked, "response");
  console.log("waiting");
  await once(process.stdin, "data");
  let length = 0;
  for await (const part of answer) length += part.length;
  same(length, TEN_MIB);
  process.stdin.destroy();
}

console.log(`version node ${process.version} (undici ${process.versions.undici})`);
await checkBasics({ get, head, echo, ask });
await check("trailers both ways", trailers);
await check("100 Continue", expectContinue);
await check("103 Early Hints", earlyHints);
await check("200 requests on 20 connections", () => Promise.all(Array.from({ length: 200 }, get)));
await check("fetch: GET, JSON, POST echoed", fetched);
await check("fetch: a stream as content", fetchStreams);
await check("cancelled downloads", cancelled);
await check("graceful close", gracefulClose);
agent.destroy();
