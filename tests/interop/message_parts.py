"""What the peers on the Python package netaio share: messages, plugins by secret and key, and ends on a free port."""

import asyncio
import logging
import socket

import netaio
from netaio import Body, HMACAuthPlugin, Message, Sha256StreamCipherPlugin, TCPServer, UDPNode

from report import version


def begin():
    """Says which package this is, and has it log nothing."""
    version(f"netaio {netaio.version()}")
    logging.disable()


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def outer(words):
    """The outer layer for the arguments [SECRET [KEY]]."""
    plugins = {}
    if len(words) > 0:
        plugins["auth_plugin"] = HMACAuthPlugin({"secret": words[0]})
    if len(words) > 1:
        plugins["cipher_plugin"] = Sha256StreamCipherPlugin({"key": words[1]})
    return plugins


def message(kind, uri, content=b""):
    return Message.prepare(Body.prepare(content, uri=uri), kind)


def loopback_server(**more):
    """A server on a free port. The package takes a port and does not tell which one it was given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return TCPServer(port=port, interface="127.0.0.1", **more)


async def serve(server):
    """Says where the server listens, once it does."""
    serving = asyncio.ensure_future(server.start())
    for _ in range(1000):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            break
    print(f"listening on 127.0.0.1:{server.port}", flush=True)
    await serving


async def serve_datagrams(node):
    """The same for a node."""
    await node.start()
    print(f"listening on 127.0.0.1:{node.port}", flush=True)
    await asyncio.Event().wait()


class LoopbackNode(UDPNode):
    """The package's node, on a free port of the loopback interface, and in no group: it would join one on another."""

    def __init__(self, **more):
        super().__init__(interface="127.0.0.1", ignore_own_ip=False, **more)

    async def start(self):
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        self.port = ours.getsockname()[1]
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=ours)

    def connection_made(self, transport):
        pass

    def multicast(self, *_, **__):
        pass
