"""httpx's client over HTTP/2 with prior knowledge against examples/h2_server. Argument: http://HOST:PORT."""

import asyncio
import sys

import httpx

from report import check, pattern, same, skipped, version

TEN_MIB = 10 << 20
SETTINGS = dict(base_url=sys.argv[1], http1=False, http2=True, timeout=60)

client = httpx.Client(**SETTINGS)
version(f"httpx {httpx.__version__}")


def get():
    answer = client.get("/")
    same((answer.http_version, answer.status_code, answer.text), ("HTTP/2", 200, "Hello, World!"))


def echo(content):
    same(client.post("/echo", content=content).content, content)


def chunked_upload():
    parts = [pattern(50_000)] * 20
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


check("GET", get)
check("HEAD", head)
check("POST echoed", echo, b"some words")
check("empty POST", echo, b"")
check("10 MiB down", down)
check("10 MiB up and back", echo, pattern(TEN_MIB))
check("upload of unknown length", chunked_upload)
check("90 requests at once", at_once)
skipped("graceful close", "the package h2 takes no frame after GOAWAY")
client.close()
