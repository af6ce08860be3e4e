"""A server on the Python package netaio for wakering's client. Arguments: [SECRET [KEY]]."""

import asyncio
import sys

from netaio import HMACAuthPlugin, MessageType

from message_parts import begin, loopback_server, message, outer, serve

begin()
server = loopback_server(**outer(sys.argv[1:]))


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


asyncio.run(serve(server))
