"""A server on the Python package netaio for wakering's client. Arguments: [SECRET [KEY]]."""

import asyncio
import logging
import socket
import sys

import netaio
from netaio import Body, HMACAuthPlugin, Message, MessageType, Sha256StreamCipherPlugin, TCPServer

from report import version

version(f"netaio {netaio.version()}")
logging.disable()
outer = {}
if len(sys.argv) > 1:
    outer["auth_plugin"] = HMACAuthPlugin({"secret": sys.argv[1]})
if len(sys.argv) > 2:
    outer["cipher_plugin"] = Sha256StreamCipherPlugin({"key": sys.argv[2]})
# The package takes a port and does not tell which one it was given.
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = TCPServer(port=port, interface="127.0.0.1", **outer)


def message(kind, uri, content=b""):
    return Message.prepare(Body.prepare(content, uri=uri), kind)


@server.on((MessageType.REQUEST_URI, b"echo"))
def echo(request, _writer):
    return message(MessageType.RESPOND_URI, request.body.uri, request.body.content)


@server.on((MessageType.REQUEST_URI, b"slow"))
async def slow(request, _writer):
    await asyncio.sleep(0.05)
    return message(MessageType.RESPOND_URI, request.body.uri, request.body.content)


@server.on(MessageType.CREATE_URI)
def create(request, _writer):
    return message(MessageType.OK, request.body.uri)


@server.on(
    (MessageType.DELETE_URI, b"inner"),
    auth_plugin=HMACAuthPlugin({"secret": "inner", "hmac_field": "camh"}),
)
def delete(request, _writer):
    return message(MessageType.OK, request.body.uri, b"deleted")


@server.on(MessageType.SUBSCRIBE_URI)
def subscribe(request, writer):
    server.subscribe(request.body.uri, writer)
    return message(MessageType.CONFIRM_SUBSCRIBE, request.body.uri)


@server.on(MessageType.PUBLISH_URI)
async def publish(request, _writer):
    await server.notify(request.body.uri, message(MessageType.NOTIFY_URI, request.body.uri, request.body.content))
    return message(MessageType.OK, request.body.uri)


async def serve():
    serving = asyncio.ensure_future(server.start())
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            break
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await serving


asyncio.run(serve())
