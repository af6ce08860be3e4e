// node's http2 server, in cleartext, for wakering's client. A line on standard input stops it.
import http2 from "node:http2";

const BLOCK = Buffer.alloc(64 << 10);
const sessions = new Set();

// Content and trailers, as they come.
function echo(stream) {
  let trailers = {};
  stream.on("trailers", (fields) => (trailers = { ...fields }));
  stream.on("wantTrailers", () => {
    for (const name of Object.keys(trailers)) if (name.startsWith(":")) delete trailers[name];
    stream.sendTrailers(trailers);
  });
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  stream.pipe(stream);
}

function bytes(stream, left) {
  const more = () => {
    while (left > 0) {
      const length = Math.min(left, BLOCK.length);
      left -= length;
      if (!stream.write(BLOCK.subarray(0, length))) return;
    }
    stream.end();
  };
  stream.respond({ ":status": 200 });
  // Node resets a stream whose request nobody has read, even before the last frame is out.
  stream.resume();
  stream.on("drain", more);
  more();
}

function route(stream, fields) {
  // A download that its reader cancels is no fault.
  stream.on("error", () => {});
  const url = new URL(fields[":path"], "http://peer");
  if (fields.expect === "100-continue") stream.additionalHeaders({ ":status": 100 });
  if (url.pathname === "/echo") return echo(stream);
  if (url.pathname === "/bytes") return bytes(stream, Number(url.searchParams.get("n")));
  if (url.pathname === "/early") stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
  const found = url.pathname === "/" || url.pathname === "/early";
  stream.respond({ ":status": found ? 200 : 404 });
  stream.end(found ? "Hello, World!" : "not found");
}

const server = http2.createServer({ maxSessionMemory: 100 });
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
});
server.on("stream", route);
server.listen(0, "127.0.0.1", () => {
  console.log(`version node ${process.version} (nghttp2 ${process.versions.nghttp2})`);
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
process.stdin.once("data", () => {
  server.close();
  for (const session of sessions) session.close();
  process.stdin.destroy();
});
