"""Boxes and signatures of the Python package netaio, as a server, a client, and a node of datagrams.

Arguments: server | serve | client HOST:PORT | ask HOST:PORT, then plain | signed | witness for the outer layer. The keys are
the ones of tests/interop_message.rs; each end knows the other's box key by what it says of itself.
"""

import asyncio
import sys

import packify
import tapescript
from nacl.signing import SigningKey
from netaio import HMACAuthPlugin, MessageType, Peer, TCPClient, UDPNode
from netaio.asymmetric import TapescriptAuthPlugin, X25519CipherPlugin

from message_parts import LoopbackNode, address, begin, loopback_server, message, serve, serve_datagrams
from report import check, same

begin()
OURS, THEIRS = bytes(range(0x40, 0x60)), bytes(range(0x60, 0x80))
ROLE, WORDS = sys.argv[1], sys.argv[2:]
TARGET = address(WORDS.pop(0)) if ROLE in ("client", "ask") else None


def lock(seed):
    return tapescript.make_single_sig_lock(SigningKey(seed).verify_key)


def witness(**more):
    """Signs with the key of this end, and takes what is signed with that of the other."""
    return TapescriptAuthPlugin({"seed": OURS, "lock": lock(THEIRS), **more})


def box(hides_uri=False):
    return X25519CipherPlugin({"seed": OURS, "encrypt_uri": hides_uri})


# A lock that nothing opens, but that of what the peer says of itself does.
PEERS_LOCK = {"lock": lock(bytes(32)), "use_peer_lock": True}
DATA = packify.pack({"pubkey": bytes(box().pubk), "lock": bytes(lock(OURS))})
OUTER = {"local_peer": Peer(set(), b"python", DATA)}
if WORDS[0] == "signed":
    OUTER["auth_plugin"] = HMACAuthPlugin({"secret": "a secret"})
if WORDS[0] == "witness":
    OUTER["auth_plugin"] = witness()
# Two layers need fields of different names.
INNER = "inner"


def echo(request, _from):
    return message(MessageType.RESPOND_URI, request.body.uri, request.body.content)


def handle(node):
    """Handlers with plugins of their own."""
    kind = MessageType.REQUEST_URI
    node.add_handler((kind, b"box"), echo, cipher_plugin=box())
    node.add_handler((kind, b"witness"), echo, auth_plugin=witness(witness_field=INNER))
    node.add_handler((kind, b"both"), echo, auth_plugin=witness(witness_field=INNER), cipher_plugin=box())
    node.add_handler((kind, b"their lock"), echo, auth_plugin=witness(witness_field=INNER, **PEERS_LOCK))
    # With its uri hidden, a request is known by its type alone.
    node.add_handler(MessageType.UPDATE_URI, lambda it, _: message(MessageType.OK, it.body.uri, it.body.content),
                     cipher_plugin=box(True))


async def tcp_server():
    ours = loopback_server(**OUTER)
    await ours.manage_peers_automatically()
    handle(ours)
    await serve(ours)


async def datagram_server():
    ours = LoopbackNode(**OUTER)
    await ours.manage_peers_automatically()
    handle(ours)
    await serve_datagrams(ours)


async def known(node):
    for _ in range(6000):
        if b"wakering" in node.peers:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("wakering has not introduced itself")


async def ask_all(node, request, send):
    """The package decrypts an answer twice unless its reader runs already (TCP)."""
    done = []

    async def asks(name, uri, **plugins):
        answer = await request(uri, content=b"hello", timeout=30.0, **plugins)
        same((answer.header.message_type, answer.body.content), (MessageType.RESPOND_URI, b"hello"))
        done.append(name)

    await known(node)
    await asks("a box in a request", b"box", cipher_plugin=box())
    await asks("a witness in a request", b"witness", auth_plugin=witness(witness_field=INNER))
    await asks("both in a request", b"both", auth_plugin=witness(witness_field=INNER), cipher_plugin=box())
    await asks("the lock that a peer has told of", b"their lock", auth_plugin=witness(witness_field=INNER, **PEERS_LOCK))
    hidden = asyncio.Queue()
    node.add_handler(MessageType.OK, lambda it, _: hidden.put_nowait((it.body.uri, it.body.content)), cipher_plugin=box(True))
    await send(message(MessageType.UPDATE_URI, b"hidden", b"hello"), cipher_plugin=box(True))
    same(await asyncio.wait_for(hidden.get(), 30), (b"hidden", b"hello"))
    done.append("a box around the uri, too")
    return done


async def client():
    ours = TCPClient(*TARGET, **OUTER)
    await ours.manage_peers_automatically()
    await ours.connect()
    await ours.start_receive_loop()
    try:
        return await ask_all(ours, ours.request, ours.send)
    finally:
        await ours.close()


async def ask():
    ours = LoopbackNode(**OUTER)
    await ours.manage_peers_automatically()
    await ours.start()
    pack = ours.peer_plugin.pack(ours.local_peer)
    ours.send(message(MessageType.ADVERTISE_PEER, b"netaio", pack), TARGET)

    def request(uri, **more):
        return UDPNode.request(ours, uri, TARGET, **more)

    async def send(it, **more):
        ours.send(it, TARGET, **more)

    try:
        return await ask_all(ours, request, send)
    finally:
        ours.transport.close()


def report(act):
    done = asyncio.run(act())
    for name in done:
        check(f"{name} ({WORDS[0]})", lambda: None)


if ROLE in ("server", "serve"):
    asyncio.run({"server": tcp_server, "serve": datagram_server}[ROLE]())
else:
    failed = []
    try:
        report({"client": client, "ask": ask}[ROLE])
    except Exception as error:
        failed.append(error)

    def all_done():
        if failed:
            raise failed[0]

    check(f"boxes and witnesses ({WORDS[0]})", all_done)
