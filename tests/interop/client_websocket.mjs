// WebSockets over HTTP/2 (RFC 8441) with node's http2 and masked frames (RFC 6455 §5.2) by hand, against
// examples/websocket_echo. Argument: http://HOST:PORT.
import http2 from "node:http2";
import { once } from "node:events";
import { randomBytes } from "node:crypto";

import { check, same } from "./report.mjs";

const session = http2.connect(process.argv[2]);
session.on("error", (error) => console.log(`failed the session: ${error.message}`));

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;

// A client's frame.
function frame(kind, content) {
  const length =
    content.length < 126
      ? Buffer.from([0x80 | content.length])
      : Buffer.from([0xff, 0, 0, 0, 0, ...new Uint8Array(new Uint32Array([content.length]).buffer).reverse()]);
  const mask = randomBytes(4);
  return Buffer.concat([Buffer.from([0x80 | kind]), length, mask, content.map((byte, at) => byte ^ mask[at % 4])]);
}

class WebSocket {
  constructor(fields = {}) {
    const head = { ":method": "CONNECT", ":protocol": "websocket", ":path": "/", "sec-websocket-version": "13" };
    this.stream = session.request({ ...head, ...fields }, { endStream: false });
    this.received = Buffer.alloc(0);
    this.news = () => {};
    this.ended = false;
    this.stream.on("data", (data) => ((this.received = Buffer.concat([this.received, data])), this.news()));
    this.stream.on("end", () => ((this.ended = true), this.news()));
  }

  async status() {
    const [fields] = await once(this.stream, "response");
    return fields[":status"];
  }

  send(kind, content) {
    this.stream.write(frame(kind, Buffer.from(content)));
  }

  async bytes(length) {
    while (this.received.length < length) {
      if (this.ended) throw new Error("the stream ended");
      await new Promise((resolve) => (this.news = resolve));
    }
  }

  // A server's frame: no mask.
  async receive() {
    await this.bytes(2);
    let [head, length] = [2, this.received[1]];
    if (length === 126) {
      await this.bytes((head = 4));
      length = this.received.readUInt16BE(2);
    } else if (length === 127) {
      await this.bytes((head = 10));
      length = Number(this.received.readBigUInt64BE(2));
    }
    await this.bytes(head + length);
    const kind = this.received[0];
    const content = this.received.subarray(head, head + length);
    this.received = this.received.subarray(head + length);
    return [kind, content];
  }
}

async function offer() {
  if (!session.remoteSettings?.enableConnectProtocol) {
    const [settings] = await once(session, "remoteSettings");
    same(settings.enableConnectProtocol, true);
  }
}

async function messages() {
  const socket = new WebSocket();
  same(await socket.status(), 200);
  socket.send(TEXT, "hello");
  same(await socket.receive(), [0x80 | TEXT, Buffer.from("hello")]);
  const large = randomBytes(300_000);
  socket.send(BINARY, large);
  const [kind, content] = await socket.receive();
  same([kind, content.equals(large)], [0x80 | BINARY, true]);
  socket.stream.close(http2.constants.NGHTTP2_CANCEL);
}

async function many() {
  const sockets = Array.from({ length: 50 }, () => new WebSocket());
  same(new Set(await Promise.all(sockets.map((socket) => socket.status()))), new Set([200]));
  sockets.forEach((socket, at) => socket.send(TEXT, `socket ${at}`));
  for (const [at, socket] of sockets.entries()) {
    same((await socket.receive())[1].toString(), `socket ${at}`);
    socket.stream.close(http2.constants.NGHTTP2_CANCEL);
  }
}

async function closing() {
  const socket = new WebSocket();
  same(await socket.status(), 200);
  const closed = once(socket.stream, "close");
  socket.send(CLOSE, [0x03, 0xe8]);
  same(await socket.receive(), [0x80 | CLOSE, Buffer.from([0x03, 0xe8])]);
  socket.stream.end();
  await closed;
  same([socket.ended, socket.stream.rstCode], [true, http2.constants.NGHTTP2_NO_ERROR]);
}

async function refusal() {
  const socket = new WebSocket({ ":protocol": "chat" });
  same(await socket.status(), 501);
  socket.stream.close(http2.constants.NGHTTP2_CANCEL);
}

console.log(`version node ${process.version}, nghttp2 ${process.versions.nghttp2}`);
await check("the server offers extended CONNECT", offer);
await check("messages, one of 300,000 bytes, come back", messages);
await check("fifty sockets on one connection", many);
await check("the closing handshake ends the stream in order", closing);
await check("another protocol is refused by status", refusal);
session.destroy();
