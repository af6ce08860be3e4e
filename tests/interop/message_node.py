"""A node of datagrams on the Python package netaio, for wakering's nodes.

Arguments: serve | ask HOST:PORT, then [SECRET [KEY]]. Who serves answers wakering's node; who asks is a client of
examples/message_server --udp.
"""

import asyncio
import sys

from netaio import HMACAuthPlugin, MessageType

from message_parts import LoopbackNode, address, begin, message, outer, serve_datagrams
from report import check, pattern, same

begin()
role, words = sys.argv[1], sys.argv[2:]
target = address(words.pop(0)) if role == "ask" else None
INNER = HMACAuthPlugin({"secret": "inner", "hmac_field": "camh"})


async def serve():
    node = LoopbackNode(**outer(words))

    @node.on((MessageType.REQUEST_URI, b"echo"))
    def echo(request, _addr):
        return message(MessageType.RESPOND_URI, request.body.uri, request.body.content)

    @node.on(MessageType.CREATE_URI)
    def create(request, _addr):
        return message(MessageType.OK, request.body.uri)

    @node.on((MessageType.DELETE_URI, b"inner"), auth_plugin=INNER)
    def delete(request, _addr):
        return message(MessageType.OK, request.body.uri, b"deleted")

    @node.on(MessageType.SUBSCRIBE_URI)
    def subscribe(request, addr):
        node.subscribe(request.body.uri, addr)
        return message(MessageType.CONFIRM_SUBSCRIBE, request.body.uri)

    @node.on(MessageType.PUBLISH_URI)
    def publish(request, _addr):
        node.notify(request.body.uri, message(MessageType.NOTIFY_URI, request.body.uri, request.body.content))
        return message(MessageType.OK, request.body.uri)

    await serve_datagrams(node)


async def asking(act, plugins=None):
    node = LoopbackNode(**outer(words if plugins is None else plugins))
    await node.start()
    try:
        return await act(node)
    finally:
        await node.stop()


def ask(kind, uri, content=b"", timeout=5.0, plugins=None):
    async def act(node):
        answer = await node.request(uri, target, message_type=kind, content=content, timeout=timeout)
        return answer.header.message_type, answer.body.uri, answer.body.content

    return asyncio.run(asking(act, plugins))


def echo():
    for content in (b"", b"hello", pattern(60_000)):
        same(ask(MessageType.REQUEST_URI, b"echo", content), (MessageType.RESPOND_URI, b"echo", content))


def store():
    same(ask(MessageType.CREATE_URI, b"a/b", b"one")[:2], (MessageType.OK, b"a/b"))
    same(ask(MessageType.REQUEST_URI, b"a/b"), (MessageType.RESPOND_URI, b"a/b", b"one"))
    same(ask(MessageType.UPDATE_URI, b"a/b", b"two")[:2], (MessageType.OK, b"a/b"))
    same(ask(MessageType.REQUEST_URI, b"a/b")[2], b"two")
    same(ask(MessageType.DELETE_URI, b"a/b")[:2], (MessageType.OK, b"a/b"))
    same(ask(MessageType.REQUEST_URI, b"a/b")[:2], (MessageType.NOT_FOUND, b"a/b"))


def news():
    async def act(node):
        heard, confirmed = asyncio.Queue(), asyncio.Event()
        node.add_handler(MessageType.CONFIRM_SUBSCRIBE, lambda *_: confirmed.set())
        node.add_handler((MessageType.NOTIFY_URI, b"news"), lambda said, _: heard.put_nowait(said.body.content))
        node.send(message(MessageType.SUBSCRIBE_URI, b"news"), target)
        await asyncio.wait_for(confirmed.wait(), 10)
        answer = await node.request(b"news", target, message_type=MessageType.PUBLISH_URI, content=b"first")
        same(answer.header.message_type, MessageType.OK)
        same(await asyncio.wait_for(heard.get(), 10), b"first")

    asyncio.run(asking(act))


def unanswered():
    """What the package's default handler answers to anything must end there."""

    async def act(node):
        counted = []
        received = node.datagram_received

        def count(data, addr):
            counted.append(data[0])
            received(data, addr)

        node.datagram_received = count
        for kind in (MessageType.NOT_FOUND, MessageType.OK, MessageType.PEER_DISCOVERED, MessageType.ERROR):
            node.send(message(kind, b"ERROR"), target)
        answer = await node.request(b"echo", target, content=b"the last")
        same(answer.body.content, b"the last")
        same(counted, [MessageType.RESPOND_URI.value])

    asyncio.run(asking(act))


def refused():
    try:
        answer = ask(MessageType.REQUEST_URI, b"echo", b"x", 1.0, ["another"])
    except (TimeoutError, asyncio.TimeoutError):
        return  # the package waits for an answer with the uri that it asked for
    same(answer[0], MessageType.AUTH_ERROR)


if role == "serve":
    asyncio.run(serve())
else:
    check("echo, up to 60 kB", echo)
    check("create, read, update, delete", store)
    check("subscribe, publish, be notified", news)
    check("answers are not answered", unanswered)
    if words:
        check("a wrong secret gets nothing", refused)
