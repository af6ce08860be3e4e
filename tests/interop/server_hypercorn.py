"""An ASGI application on hypercorn, for wakering's client: in cleartext; with the argument http1 in HTTP/1.1 alone, and with a
certificate and its key behind that over TLS. A line on standard input stops it."""

import asyncio
import importlib.metadata
import socket
import sys
from urllib.parse import parse_qs

from hypercorn.asyncio import serve
from hypercorn.config import Config

from report import version


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    async def respond(status, *fields):
        await send({"type": "http.response.start", "status": status, "headers": fields})

    async def body(content, more=False):
        await send({"type": "http.response.body", "body": content, "more_body": more})

    match scope["path"]:
        case "/echo":
            await respond(200)
            more = True
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    return
                more = event.get("more_body", False)
                await body(event.get("body", b""), more)
        case "/bytes":
            left = int(parse_qs(scope["query_string"].decode())["n"][0])
            await respond(200)
            while left > 0:
                length = min(left, 64 << 10)
                left -= length
                await body(bytes(length), True)
            await body(b"")
        case "/early":
            await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
            await respond(200)
            await body(b"Hello, World!")
        case "/":
            await respond(200)
            await body(b"Hello, World!")
        case _:
            await respond(404)
            await body(b"not found")


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = config.accesslog = None
    config.h2_max_concurrent_streams = 250
    config.graceful_timeout = 30
    if len(sys.argv) > 1:
        config.alpn_protocols = ["http/1.1"]
    if len(sys.argv) > 3:
        config.certfile, config.keyfile = sys.argv[2:4]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    asyncio.ensure_future(loop.run_in_executor(None, sys.stdin.readline)).add_done_callback(lambda _: stop.set())
    version(f"hypercorn {importlib.metadata.version('hypercorn')}")
    print("listening on %s:%d" % listener.getsockname(), flush=True)
    await serve(application, config, shutdown_trigger=stop.wait)


asyncio.run(main())
