#!/usr/bin/env python3
"""Writes python.txt beside itself: header blocks encoded by the PyPI package `hpack` (made with 4.1.0).

    pip install hpack==4.1.0 && python3 generate.py

One item a line. `connection` starts afresh with tables of 4,096 octets; `limit N` is a new table size that the
decoder's settings announce and the encoder follows; `block HEX` is one header block; behind it stand its fields,
`= NAME<tab>VALUE` (the value in hexadecimal), or `! NAME<tab>VALUE` where the field is never indexed.
"""

import pathlib
import random

import hpack

SEED = 7541
CONNECTIONS = 21
BLOCKS = 25

AGENTS = [
    "curl/7.88.1",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "h2load nghttp2/1.52.0",
]
PATHS = ["/", "/index.html", "/api/v1/items?page=3&sort=desc", "/static/main.4f2a9c.css", "/favicon.ico"]


def request(rng):
    fields = [
        (":method", rng.choice(["GET", "GET", "POST", "HEAD"])),
        (":scheme", rng.choice(["http", "https"])),
        (":authority", rng.choice(["example.com", "127.0.0.1:8443"])),
        (":path", rng.choice(PATHS)),
        ("user-agent", rng.choice(AGENTS)),
        ("accept", rng.choice(["*/*", "text/html,application/xhtml+xml,application/xml;q=0.9"])),
        ("accept-encoding", rng.choice(["gzip, deflate", "gzip, deflate, br, zstd"])),
    ]
    if rng.random() < 0.4:
        fields.append(("cookie", "session=%032x" % rng.getrandbits(128)))
    return fields


def response(rng):
    return [
        (":status", str(rng.choice([200, 200, 204, 302, 404, 503]))),
        ("server", "wakering"),
        ("date", "Mon, 21 Oct 2013 20:13:%02d GMT" % rng.randrange(60)),
        ("content-type", rng.choice(["text/plain", "application/json", "image/webp"])),
        ("content-length", str(rng.randrange(100000))),
        ("etag", '"%x"' % rng.getrandbits(48)),
    ]


def odd(rng):
    value = bytes(rng.choice([9, 32, *range(33, 127), *range(128, 256)]) for _ in range(rng.randrange(60)))
    return [("x-odd-%d" % rng.randrange(4), value.strip(b" \t"))]


def octets(text):
    return text if isinstance(text, bytes) else text.encode()


def main():
    rng = random.Random(SEED)
    lines = ["# Made by generate.py with the PyPI package hpack; seed %d." % SEED]
    for _ in range(CONNECTIONS):
        encoder = hpack.Encoder()
        lines.append("connection")
        for _ in range(BLOCKS):
            if rng.random() < 0.1:
                # Setting the same size twice makes the package forget to announce it, and of two sizes it
                # announces both, where RFC 7541 4.2 wants the smallest and the last: so they ascend.
                sizes = sorted(rng.sample([0, 64, 128, 512, 4096], rng.choice([1, 2])))
                if sizes[0] != encoder.header_table_size:
                    for size in sizes:
                        encoder.header_table_size = size
                        lines.append("limit %d" % size)
            fields = rng.choice([request, response])(rng)
            if rng.random() < 0.3:
                fields += odd(rng)
            marked = [(n, v, False) for n, v in fields]
            if rng.random() < 0.2:
                # The package would send a pair that its table has as indexed, sensitive or not: a fresh value.
                marked.append((rng.choice(["authorization", "x-secret"]), "%x" % rng.getrandbits(64), True))
            tuples = [(hpack.NeverIndexedHeaderTuple if s else hpack.HeaderTuple)(n, v) for n, v, s in marked]
            lines.append("block " + encoder.encode(tuples, huffman=rng.random() < 0.9).hex())
            lines += ["%s %s\t%s" % ("!" if s else "=", n, octets(v).hex()) for n, v, s in marked]
    target = pathlib.Path(__file__).with_name("python.txt")
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
