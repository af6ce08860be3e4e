"""The Python package netaio as a server that answers with what it is asked, and as its load; driven like message_echo."""

import argparse
import asyncio
import logging
import sys
import time

from netaio import Body, HMACAuthPlugin, Message, MessageType, Sha256StreamCipherPlugin, TCPClient, TCPServer


def plugins(options):
    found = {}
    if options.secret:
        found["auth_plugin"] = HMACAuthPlugin({"secret": options.secret})
    if options.key:
        found["cipher_plugin"] = Sha256StreamCipherPlugin({"key": options.key})
    return found


async def serve(options):
    host, port = options.addr.split(":")
    server = TCPServer(port=int(port), interface=host, **plugins(options))

    @server.on(MessageType.REQUEST_URI)
    def answer(request, _writer):
        return Message.prepare(Body.prepare(request.body.content, uri=request.body.uri), MessageType.RESPOND_URI)

    await server.start()


async def load(options):
    host, port = options.addr.split(":")
    client = TCPClient(host, int(port), **plugins(options))
    await client.connect()
    # Without it the first request that is answered ends the reader of the others.
    await client.start_receive_loop()
    content = b"x" * options.size

    async def ask(requests):
        left = [requests]

        async def worker(number):
            # Requests for one uri take each other's answers.
            uri = f"echo{number}".encode()
            while left[0] > 0:
                left[0] -= 1
                answer = await client.request(uri, content=content)
                assert answer.body.content == content

        await asyncio.gather(*(worker(number) for number in range(options.in_flight)))

    await ask(options.warm_up)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    await ask(options.requests)
    print(f"done {options.requests} {time.perf_counter() - started:.6f}", flush=True)
    sys.stdin.readline()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    for name in ("addr", "secret", "key"):
        parser.add_argument(f"--{name}")
    for name in ("size", "in-flight", "warm-up", "requests"):
        parser.add_argument(f"--{name}", type=int, default=0)
    options = parser.parse_args()
    logging.disable()
    asyncio.run(serve(options) if options.serve else load(options))


main()
