// node's http server, for wakering's client; with a certificate and its key as arguments its https server. A line on
// standard input stops it.
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";

const BLOCK = Buffer.alloc(64 << 10);

// Content and trailers, as they come.
function echo(request, response) {
  response.writeHead(200, request.headers.trailer ? { trailer: request.headers.trailer } : {});
  response.flushHeaders();
  request.on("data", (piece) => {
    if (!response.write(piece)) request.pause();
  });
  response.on("drain", () => request.resume());
  request.on("end", () => {
    response.addTrailers(request.trailers);
    response.end();
  });
}

function bytes(response, left) {
  const more = () => {
    while (left > 0) {
      const length = Math.min(left, BLOCK.length);
      left -= length;
      if (!response.write(BLOCK.subarray(0, length))) return;
    }
    response.end();
  };
  response.writeHead(200);
  response.on("drain", more);
  more();
}

function route(request, response) {
  // A download that its reader cancels is no fault.
  response.on("error", () => {});
  const url = new URL(request.url, "http://peer");
  if (url.pathname === "/echo") return echo(request, response);
  if (url.pathname === "/bytes") return bytes(response, Number(url.searchParams.get("n")));
  if (url.pathname === "/early") response.writeEarlyHints({ link: "</style.css>; rel=preload" });
  const found = url.pathname === "/" || url.pathname === "/early";
  response.writeHead(found ? 200 : 404);
  response.end(found ? "Hello, World!" : "not found");
}

const [certificate, key] = process.argv.slice(2);
const server = certificate
  ? https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, route)
  : http.createServer(route);
server.listen(0, "127.0.0.1", () => {
  console.log(`version node ${process.version} (llhttp ${process.versions.llhttp})`);
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
process.stdin.once("data", () => {
  server.close();
  process.stdin.destroy();
});
