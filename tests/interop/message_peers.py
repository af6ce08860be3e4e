"""Peers of the Python package netaio: a node in a group, a client, a server. Each knows wakering's by itself.

Arguments: group IP:PORT | client HOST:PORT | server, then [SECRET [KEY]].
"""

import asyncio
import socket
import sys

import packify
from netaio import MessageType, Peer, TCPClient, UDPNode

from message_parts import address, begin, loopback_server, message, outer, serve
from report import check, same, wait

begin()
role, words = sys.argv[1], sys.argv[2:]
target = address(words.pop(0)) if role != "server" else None
OUTER = {"local_peer": Peer(set(), b"python", packify.pack({"name": "python"})), **outer(words)}


async def until(condition):
    """A peer has a minute for what it takes a moment for."""
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


def said(node, name):
    return packify.unpack(node.peers[name].data)


class GroupNode(UDPNode):
    """The package's node, in a group of the loopback interface, on a port that others may have, too."""

    def __init__(self):
        # Its own default handler answers whatever its own multicast brings back to it, for ever.
        super().__init__(
            port=target[1], interface="127.0.0.1", multicast_group=target[0], ignore_own_ip=False,
            default_handler=lambda *_: None, **OUTER
        )

    async def start(self):
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        ours.bind(("0.0.0.0", self.port))
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=ours)


async def group():
    node, heard = GroupNode(), []
    node.add_handler(MessageType.NOTIFY_URI, lambda said, _: heard.append((said.body.uri, said.body.content)))
    await node.start()
    await node.manage_peers_automatically(advertise_every=1)

    async def found():
        await until(lambda: {b"one", b"two"} <= node.peers.keys())
        same(said(node, b"one"), {"name": "one"})

    async def multicast():
        node.multicast(message(MessageType.NOTIFY_URI, b"chat", b"from python"))
        await until(lambda: (b"chat", b"one heard from python") in heard)
        await until(lambda: (b"chat", b"two heard from python") in heard)

    async def broadcast():
        node.broadcast(message(MessageType.NOTIFY_URI, b"direct", b"from python"))
        await until(lambda: heard.count((b"direct", b"you sent from python")) == 2)

    async def left():
        wait()
        await until(lambda: b"two" not in node.peers)
        same(b"one" in node.peers, True)

    async def leave():
        await node.stop_peer_management()
        await asyncio.sleep(0)
        wait()

    for name, act in (
        ("peers find each other by multicast", found),
        ("what is multicast is heard both ways", multicast),
        ("broadcasts to peers, both ways", broadcast),
        ("a peer that stops is gone, at theirs", left),
        ("a peer that stops is gone, at ours", leave),
    ):
        await checked(name, act)
    node.transport.close()


async def checked(name, act):
    failed = []
    try:
        await act()
    except Exception as error:
        failed.append(error)

    def judge():
        if failed:
            raise failed[0]

    check(name, judge)


async def client():
    ours = TCPClient(*target, **OUTER)
    await ours.manage_peers_automatically()
    await ours.connect()
    await ours.start_receive_loop()

    async def found():
        await until(lambda: b"wakering" in ours.peers)
        same(said(ours, b"wakering"), {"name": "wakering"})
        answer = await ours.request(b"who")
        same(answer.body.content, b"python")

    await checked("client and server introduce themselves", found)
    await ours.close()

    async def left():
        wait()

    await checked("a client that closes is gone", left)


async def server():
    ours = loopback_server(**OUTER)
    await ours.manage_peers_automatically()

    @ours.on((MessageType.REQUEST_URI, b"known"))
    def known(request, _writer):
        names = b" ".join(sorted(ours.peers))
        return message(MessageType.RESPOND_URI, request.body.uri, names)

    await serve(ours)


asyncio.run({"group": group, "client": client, "server": server}[role]())
