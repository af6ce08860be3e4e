"""httpx's client against examples/h2_server: HTTP/2, in cleartext with prior knowledge or over TLS, or HTTP/1.1.

Arguments: [--http1] http://HOST:PORT or https://HOST:PORT.
"""

import asyncio
import sys

import httpx

from report import check, pattern, same, skipped, version, wait

TEN_MIB = 10 << 20
OLD = sys.argv[1] == "--http1"
SETTINGS = dict(base_url=sys.argv[-1], http1=OLD, http2=not OLD, timeout=60)

client = httpx.Client(**SETTINGS)
version(f"httpx {httpx.__version__}")


def get():
    answer = client.get("/")
    expected = ("HTTP/1.1" if OLD else "HTTP/2", 200, "Hello, World!")
    same((answer.http_version, answer.status_code, answer.text), expected)


def echo(content):
    same(client.post("/echo", content=content).content, content)


def up_and_back():
    if OLD:
        # It reads no answer before its content is sent: what comes back meanwhile lies in the sockets' buffers.
        same(client.post("/count", content=pattern(TEN_MIB)).text, str(TEN_MIB))
        echo(pattern(300_000))
    else:
        echo(pattern(TEN_MIB))


def chunked_upload():
    parts = [pattern(50_000)] * 6
    same(client.post("/echo", content=iter(parts)).content, b"".join(parts))


def head():
    answer = client.head("/")
    same((answer.headers["content-length"], answer.content), ("13", b""))


def down():
    same(client.get("/bytes", params={"n": TEN_MIB}).content, bytes(TEN_MIB))


def at_once():
    async def all_of_them():
        async with httpx.AsyncClient(**SETTINGS) as client:
            answers = await asyncio.gather(*(client.post("/echo", content=b"%d" % n) for n in range(90)))
            same([answer.content for answer in answers], [b"%d" % n for n in range(90)])

    asyncio.run(all_of_them())


def graceful_close():
    with client.stream("GET", "/bytes", params={"n": TEN_MIB}) as answer:
        wait()
        same(sum(len(part) for part in answer.iter_bytes()), TEN_MIB)


check("GET", get)
check("HEAD", head)
check("POST echoed", echo, b"some words")
check("empty POST", echo, b"")
check("10 MiB down", down)
check("10 MiB up, 300 kB up and back" if OLD else "10 MiB up and back", up_and_back)
check("upload of unknown length", chunked_upload)
check("90 requests at once", at_once)
if OLD:
    check("graceful close", graceful_close)
else:
    skipped("graceful close", "the package h2 takes no frame after GOAWAY")
client.close()
