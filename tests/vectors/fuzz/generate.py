#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets into the folders beside it, as what a tape must hold to say them.

    python3 generate.py             from openings.txt and the lists below
    python3 generate.py --capture   first records openings.txt anew: what curl, nghttp and h2load say to a server

`tests/support/generators` tells how a tape is read. The seeds named `grown-*` are not made here: they are the smallest
tapes that the fuzzer kept.
"""

import pathlib
import socket
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).parent
OPENINGS = HERE / "openings.txt"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, UPDATE, CONTINUATION = range(10)

CLIENTS = {
    "curl": ["curl", "-s", "-m", "2", "--http2-prior-knowledge", "http://{}/path?query"],
    "curl-post": ["curl", "-s", "-m", "2", "--http2-prior-knowledge", "-d", "a=b&c=d", "http://{}/"],
    "nghttp": ["nghttp", "-t", "2", "http://{}/"],
    "nghttp-weights": ["nghttp", "-t", "2", "-m", "3", "-w", "10", "-H", "cookie: a=b; c=d", "http://{}/"],
    "h2load": ["h2load", "-n", "4", "-c", "1", "-m", "4", "-T", "1", "-N", "1", "http://{}/"],
}

# RFC 7541 C.2 to C.6: the blocks of one connection in a row.
RFC = {
    "c2": ["400a637573746f6d2d6b65790d637573746f6d2d686561646572", "040c2f73616d706c652f70617468",
           "100870617373776f726406736563726574", "82"],
    "c3": ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865",
           "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"],
    "c4": ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf",
           "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"],
    "c5": ["4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
           "6e1768747470733a2f2f7777772e6578616d706c652e636f6d", "4803333037c1c0bf",
           "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d41"
           "53444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31"],
    "c6": ["488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
           "4883640effc1c0bf",
           "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960"
           "d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"],
}


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def setting(number, value):
    return number.to_bytes(2, "big") + value.to_bytes(4, "big")


GET = bytes.fromhex("82868441016100")[:-1]
OPEN = PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0)

# What has hurt servers, and what is merely forbidden.
HOSTILE = {
    "rapid-reset": b"".join(frame(HEADERS, 5, n, GET) + frame(RST, 0, n, b"\0\0\0\x08") for n in range(1, 99, 2)),
    "continuation-flood": frame(HEADERS, 1, 1, GET) + frame(CONTINUATION, 0, 1, b"") * 20,
    "ping-flood": frame(PING, 0, 0, b"12345678") * 40,
    "settings-flood": frame(SETTINGS, 0, 0, setting(4, 1)) * 40,
    "empty-data": frame(HEADERS, 4, 1, b"\x83" + GET[1:]) + frame(DATA, 0, 1) * 60,
    "padding": frame(HEADERS, 12, 1, b"\x02\x83" + GET[1:] + b"\0\0") + frame(DATA, 9, 1, b"\x03abc\0\0\0"),
    "made-you-reset": b"".join(frame(HEADERS, 4, n, GET) + frame(UPDATE, 0, n, bytes(4)) for n in (1, 3, 5)),
    "window-overflow": frame(HEADERS, 4, 1, GET) + frame(UPDATE, 0, 1, b"\x7f\xff\xff\xff") * 2
                       + frame(UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
    "shrinking-window": frame(HEADERS, 5, 1, GET) + frame(SETTINGS, 0, 0, setting(4, 0) + setting(1, 0)),
    "bomb": frame(HEADERS, 5, 1, GET + b"\x40\x01a\x7f\x81\x1f" + b"x" * 286 + b"\xbe" * 60),
    "crumbs": frame(HEADERS, 5, 1, GET + b"\x60\x01a" + b"\xbe" * 60),
    "push": frame(PUSH, 4, 1, b"\0\0\0\x02" + GET),
    "self-dependence": frame(HEADERS, 37, 1, b"\0\0\0\x01\x10" + GET) + frame(PRIORITY, 0, 3, b"\0\0\0\x03\x10"),
    "even-stream": frame(HEADERS, 5, 2, GET),
    "stream-zero": frame(DATA, 0, 0, b"x") + frame(HEADERS, 5, 0, GET),
    "skipped": frame(HEADERS, 5, 0x7FFFFFFF, GET) + frame(HEADERS, 5, 1, GET),
    "goaway": frame(HEADERS, 4, 1, GET) + frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\x02why") + frame(DATA, 1, 1, b"x"),
    "priority-update": frame(16, 0, 0, b"\0\0\0\x01u=1,i") + frame(HEADERS, 5, 1, GET) + frame(16, 0, 0, b"\0\0\0\x01u=9"),
    "trailers": frame(HEADERS, 4, 1, GET) + frame(DATA, 0, 1, b"abc") + frame(HEADERS, 5, 1, b"\0\x01t\x01v"),
    "oversized": b"\x40\x01\x00\0\0\0\0\0\x01",
    "unknown": frame(99, 255, 7, b"anything") + frame(HEADERS, 5, 1, GET),
}
OTHER = {
    "http1": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "tls": bytes.fromhex("16030100a5010000a10303"),
    "garbled": PREFACE[:20] + b"xx\r\n\r\n",
}

# What servers answer to three requests.
ANSWERS = {
    "usual": frame(HEADERS, 4, 1, b"\x88") + frame(DATA, 1, 1, b"hello") + frame(HEADERS, 5, 3, b"\x88\x0f\x0d\x015"),
    "interim": frame(HEADERS, 4, 1, b"\x08\x03103") + frame(HEADERS, 5, 1, b"\x89") + frame(HEADERS, 5, 5, b"\x8b"),
    "trailers": frame(HEADERS, 4, 1, b"\x88") + frame(DATA, 8, 1, b"\x02ab\0\0") + frame(HEADERS, 5, 1, b"\0\x01t\x01v"),
    "goaway": frame(GOAWAY, 0, 0, b"\0\0\0\x01\0\0\0\0bye") + frame(HEADERS, 5, 1, b"\x88"),
    "head-with-content": frame(HEADERS, 4, 3, b"\x88") + frame(DATA, 1, 3, b"x"),
    "short": frame(HEADERS, 4, 1, b"\x88\x0f\x0d\x015") + frame(DATA, 1, 1, b"four"),
    "push": frame(PUSH, 4, 1, b"\0\0\0\x02" + GET),
    "even-stream": frame(HEADERS, 5, 2, b"\x88"),
    "advice": frame(10, 0, 0, b"\0\x09https://ah2=1") + frame(12, 0, 0, b"\0\x09https://b") + frame(HEADERS, 5, 1, b"\x88"),
    "http1": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "refused": frame(RST, 0, 1, b"\0\0\0\x07") + frame(DATA, 0, 1, b"late"),
}


HOST = b"Host: a\r\n"
# What clients of HTTP/1 say, and what is said to get by somebody in front of a server.
REQUESTS = {
    "curl": b"GET /path?query HTTP/1.1\r\nHost: a:80\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
    "curl-post": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 7\r\n"
                 b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=b&c=d",
    "curl-h2c": b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n" + PREFACE,
    "expects": b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "chunked": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nTrailer: t\r\n\r\n"
               b"3;x=y\r\nabc\r\n00\r\nt: v\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "ahead": b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\n" + b"\r\nHEAD /2 HTTP/1.1\r\n" + HOST + b"\r\n"
             b"GET /3 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\nGET /4 HTTP/1.1\r\n\r\n",
    "ab": b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: a\r\nUser-Agent: ApacheBench/2.3\r\n\r\n" * 2,
    "oldest": b"GET /\r\n\r\n",
    "socket": b"GET /chat HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
              b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x85early",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01\x00\x05hello",
    "proxied": b"GET http://a:80/b HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n\r\n",
    "two-lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello",
    "length-and-chunks": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                         b"0\r\n\r\nGET /b HTTP/1.1\r\n" + HOST + b"\r\n",
    "hidden-coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "space-before-colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "bare-newlines": b"GET / HTTP/1.1\nHost: a\n\n",
    "endless-chunk": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx",
    "chunk-without-end": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
}

# What the application of the client's machine does: numbers of `deed`, with the numbers of its choices behind them.
ASK_GET, ASK_POST, ASK_HEAD, ASK_CONNECT, ASK_UPGRADE, ASK_LAST = ([0, kind] for kind in (0, 1, 3, 4, 5, 7))
SEND, SEND_LAST, TRAILERS, RELEASE, DETACH, FINISH, RESET, SHUTDOWN, WAIT, END = (
    [3, 0, 0], [3, 0, 1], [6], [7], [8], [9], [10], [11], [12], [13])
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = OK + b"Content-Length: 5\r\n\r\nhello"
# Exchanges: what is asked for (a number of `KINDS`), then octets of the server and deeds of the application.
EXCHANGES = {
    "usual": [0, LENGTH, FINISH, ASK_GET, LENGTH, RELEASE, FINISH, SHUTDOWN],
    "chunked": [0, OK + b"Transfer-Encoding: chunked\r\nTrailer: t\r\n\r\n5;a=b\r\nhello\r\n0\r\nt: v\r\n\r\n", FINISH],
    "to-the-end": [0, b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello", END],
    "upload": [1, SEND, b"HTTP/1.1 100 Continue\r\n\r\n", SEND, SEND_LAST, LENGTH, FINISH, ASK_POST, SEND, TRAILERS, LENGTH],
    "both-at-once": [1, SEND, OK + b"Content-Length: 9\r\n\r\nhell", SEND, b"o you", DETACH, SEND_LAST, FINISH],
    "unwanted": [1, SEND, b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", SEND, FINISH],
    "no-content": [3, OK + b"Content-Length: 5\r\n\r\n", FINISH, ASK_GET, b"HTTP/1.1 304 Not Modified\r\n\r\n", DETACH,
                   ASK_HEAD, b"HTTP/1.1 204 No Content\r\n\r\n", FINISH],
    "hints": [0, b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2, LENGTH, FINISH],
    "tunnel": [4, SEND, b"HTTP/1.1 200 Connected\r\nContent-Length: 7\r\n\r\nearly", SEND, SEND_LAST, b"late", END, FINISH],
    "no-tunnel": [4, SEND, b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n", SEND, FINISH, ASK_CONNECT, END],
    "upgrade": [5, b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\nearly", SEND, END, FINISH],
    "another-protocol": [5, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: b\r\n\r\n", FINISH],
    "not-upgraded": [5, LENGTH, FINISH, ASK_UPGRADE, LENGTH, FINISH],
    "last": [7, OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", FINISH, ASK_LAST],
    "kept": [0, OK + b"Keep-Alive: timeout=2, max=9\r\nContent-Length: 0\r\n\r\n", FINISH, WAIT, ASK_GET],
    "idle": [0, LENGTH, FINISH, WAIT],
    "slow": [0, OK + b"Content-Length: 50\r\n\r\nhello", WAIT, b"h", WAIT, RESET],
    "half-a-head": [0, b"HTTP/1.1 200", WAIT, END],
    "before-the-request": [0, LENGTH * 2, FINISH, ASK_GET, LENGTH],
    "cut": [0, OK + b"Content-Length: 6\r\n\r\nhello", END, FINISH],
    "two-lengths": [0, OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"],
    "length-and-chunks": [0, OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", FINISH, ASK_GET],
    "let-go": [1, SEND, FINISH, LENGTH],
}


def capture(command):
    """What a client says in its first second to a server that acknowledges its settings and answers nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    said = bytearray()

    def listen():
        connection, _ = listener.accept()
        connection.settimeout(1)
        connection.sendall(frame(SETTINGS, 0, 0, setting(3, 100)) + frame(SETTINGS, 1, 0))
        try:
            while piece := connection.recv(65536):
                said.extend(piece)
        except TimeoutError:
            pass
        connection.close()

    thread = threading.Thread(target=listen)
    thread.start()
    subprocess.run([part.format(address) for part in command], capture_output=True, timeout=20)
    thread.join()
    return bytes(said)


def write(target, name, tape):
    (HERE / target).mkdir(exist_ok=True)
    (HERE / target / (name + ".bin")).write_bytes(tape)


def octets_for_frames(octets):
    """Configuration, a server that has read nothing, then the octets, delivered piece by piece."""
    tape = bytes([0x67, 2])
    for at in range(0, len(octets), 256):
        piece = octets[at:at + 256]
        tape += bytes([9, len(piece) - 1]) + piece + bytes([10, 0])
    return tape


def octets_for_h1(octets):
    """Answered when the content has come; pieces of what the tape itself holds."""
    pieces = [octets[at:at + 15] for at in range(0, len(octets), 15)]
    assert len(pieces) <= 24, "longer than a tape of pieces may be"
    return bytes([0, len(pieces) - 1]) + b"".join(bytes([40, len(piece)]) + piece for piece in pieces)


def exchange_for_h1_client(kind, *steps):
    """A request, then octets that the tape itself holds, and deeds."""
    said = []
    for step in steps:
        if isinstance(step, bytes):
            said += [bytes([41, len(step[at:at + 63])]) + step[at:at + 63] for at in range(0, len(step), 63)]
        else:
            said.append(bytes([48] + step))
    assert len(said) <= 32, "longer than a tape of steps may be"
    return bytes([kind, len(said) - 1]) + b"".join(said)


def main():
    if "--capture" in sys.argv:
        lines = ["# What real clients say first, in hexadecimal; recorded by generate.py --capture."]
        lines += ["%s %s" % (name, capture(command).hex()) for name, command in CLIENTS.items()]
        OPENINGS.write_text("\n".join(lines) + "\n")
    openings = [line.split(" ", 1) for line in OPENINGS.read_text().splitlines() if not line.startswith("#")]
    for name, blocks in RFC.items():
        blocks = [bytes.fromhex(block) for block in blocks]
        tape = b"".join(bytes([0, len(block)]) + block for block in blocks)
        write("hpack", "rfc7541-" + name, bytes([0, 11, 3, 3, 255, 0]) + tape)
        write("hpack", "rfc7541-tight-" + name, bytes([0, 2, 0, 0, 60, 2]) + tape)
        write("hpack", "huffman-" + name, b"\x02" + blocks[-1])
    streams = {name: bytes.fromhex(octets) for name, octets in openings}
    streams.update({name: OPEN + octets for name, octets in HOSTILE.items()})
    streams.update(OTHER)
    for name, octets in streams.items():
        write("frames", name, octets_for_frames(octets))
        write("splits", name, bytes([0x47, 0]) + octets)
        write("splits", name + "-bounds", bytes([0x10, 7]) + octets)
    for name, octets in REQUESTS.items():
        write("h1", name, octets_for_h1(octets))
    for name, steps in EXCHANGES.items():
        write("h1_client", name, exchange_for_h1_client(*steps))
    for name, octets in ANSWERS.items():
        octets = frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0) + octets
        write("splits", "client-" + name, bytes([0x47, 128]) + octets)
        write("splits", "client-" + name + "-bounds", bytes([0x10, 135]) + octets)


if __name__ == "__main__":
    main()
