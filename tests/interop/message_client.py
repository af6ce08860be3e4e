"""The client of the Python package netaio against examples/message_server. Arguments: HOST:PORT [SECRET [KEY]]."""

import asyncio
import sys

from netaio import HMACAuthPlugin, MessageType, TCPClient

from message_parts import address, begin, message, outer
from report import check, pattern, same

begin()
TARGET = address(sys.argv[1])
OUTER = outer(sys.argv[2:])


async def ask(kind, uri, content=b"", timeout=5.0, plugins=None):
    client = TCPClient(*TARGET, **(OUTER if plugins is None else plugins))
    await client.connect()
    try:
        answer = await client.request(uri, message_type=kind, content=content, timeout=timeout)
        return answer.header.message_type, answer.body.uri, answer.body.content
    finally:
        await client.close()


def echo():
    for content in (b"", b"hello", pattern(60_000)):
        answer = asyncio.run(ask(MessageType.REQUEST_URI, b"echo", content))
        same(answer, (MessageType.RESPOND_URI, b"echo", content))


def store():
    made = asyncio.run(ask(MessageType.CREATE_URI, b"a/b", b"one"))
    same(made[:2], (MessageType.OK, b"a/b"))
    same(asyncio.run(ask(MessageType.REQUEST_URI, b"a/b")), (MessageType.RESPOND_URI, b"a/b", b"one"))
    same(asyncio.run(ask(MessageType.UPDATE_URI, b"a/b", b"two"))[:2], (MessageType.OK, b"a/b"))
    same(asyncio.run(ask(MessageType.REQUEST_URI, b"a/b"))[2], b"two")
    same(asyncio.run(ask(MessageType.DELETE_URI, b"a/b"))[:2], (MessageType.OK, b"a/b"))
    same(asyncio.run(ask(MessageType.REQUEST_URI, b"a/b"))[:2], (MessageType.NOT_FOUND, b"a/b"))


async def news():
    client = TCPClient(*TARGET, **OUTER)
    heard, confirmed, published = [], asyncio.Event(), asyncio.Event()

    @client.on(MessageType.CONFIRM_SUBSCRIBE)
    def confirm(answer, _writer):
        same(answer.body.uri, b"news")
        confirmed.set()

    @client.on((MessageType.NOTIFY_URI, b"news"))
    def notified(answer, _writer):
        heard.append(answer.body.content)

    @client.on(MessageType.OK)
    def done(_answer, _writer):
        published.set()

    await client.connect()
    await client.start_receive_loop()
    await client.send(message(MessageType.SUBSCRIBE_URI, b"news"))
    await asyncio.wait_for(confirmed.wait(), 5)
    await client.send(message(MessageType.PUBLISH_URI, b"news", b"first"))
    await asyncio.wait_for(published.wait(), 5)
    for _ in range(100):
        if heard:
            break
        await asyncio.sleep(0.05)
    same(heard, [b"first"])
    await client.close()


def refused():
    plugins = {"auth_plugin": HMACAuthPlugin({"secret": "another"})}
    try:
        answer = asyncio.run(ask(MessageType.REQUEST_URI, b"echo", b"x", 1.0, plugins))
    except (TimeoutError, asyncio.TimeoutError):
        return  # the package waits for an answer with the uri that it asked for
    same(answer[0], MessageType.AUTH_ERROR)


check("echo, up to 60 kB", echo)
check("create, read, update, delete", store)
check("subscribe, publish, be notified", lambda: asyncio.run(news()))
if OUTER:
    check("a wrong secret gets nothing", refused)
