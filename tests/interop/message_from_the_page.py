"""A peer of the message protocol, written from docs/message.md alone: what it asks must be answered.

Arguments: an address HOST:PORT for each of plain, hmac, cipher, witness, box, session (TCP), then session (datagrams). Only
curves and ciphers come from a library (PyNaCl).
"""

import hashlib
import hmac
import os
import socket
import struct
import sys
import time
import zlib

from nacl import bindings, public, signing

from report import check, same, version

version(f"Python {sys.version.split()[0]}")
REQUEST_URI, RESPOND_URI, DELETE_URI, OK, ADVERTISE_PEER, PEER_DISCOVERED = 0, 1, 4, 10, 9, 13
ERROR, AUTH_ERROR, NOT_FOUND = 20, 23, 24


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


# Packed values.


def wide(kind, length):
    width = 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4
    return bytes([{1: 0x40, 2: 0x80, 4: 0xC0}[width] | kind]), length.to_bytes(width, "big")


def pack(value):
    if isinstance(value, (bytes, str)):
        octets = value.encode() if isinstance(value, str) else value
        return b"".join(wide(3 if isinstance(value, str) else 1, len(octets))) + octets
    if isinstance(value, int):
        code, octets = wide(4, value)
        return code + octets
    if isinstance(value, dict):
        items, kind = sorted(pack(pair) for pair in value.items()), 13
    else:
        items, kind = [pack(item) for item in value], 12
    code, count = wide(kind, len(items))
    longest = max(map(len, items), default=0)
    width = 1 if longest < 1 << 8 else 2 if longest < 1 << 16 else 4
    lengths = b"".join(len(item).to_bytes(width, "big") for item in items)
    return code + {1: b"\x40", 2: b"\x80", 4: b"\xc0"}[width] + count + lengths + b"".join(items)


def unpack(octets):
    width, kind, rest = {0: 0, 1: 1, 2: 2, 3: 4}[octets[0] >> 6], octets[0] & 0x3F, octets[1:]
    if kind in (12, 13):
        each, rest = {0x40: 1, 0x80: 2, 0xC0: 4}[rest[0]], rest[1:]
    number, rest = int.from_bytes(rest[:width], "big"), rest[width:]
    if kind in (1, 2):
        return rest[:number]
    if kind == 3:
        return rest[:number].decode()
    if kind == 4:
        return number
    lengths = [int.from_bytes(rest[at * each:(at + 1) * each], "big") for at in range(number)]
    rest, items = rest[number * each:], []
    for length in lengths:
        items.append(unpack(rest[:length]))
        rest = rest[length:]
    return dict(items) if kind == 13 else tuple(items)


# Frames.


class Message:
    def __init__(self, kind, uri=b"", content=b"", fields=None):
        self.kind, self.uri, self.content, self.fields = kind, uri, content, dict(fields or {})

    def body(self):
        return struct.pack(">H", len(self.uri)) + self.uri + self.content

    def octets(self):
        fields, body = pack(self.fields), self.body()
        return struct.pack(">BHHI", self.kind, len(fields), len(body), zlib.crc32(body)) + fields + body

    @staticmethod
    def read(octets):
        kind, fields, body, checksum = struct.unpack(">BHHI", octets[:9])
        found, rest = unpack(octets[9:9 + fields]), octets[9 + fields:9 + fields + body]
        same(zlib.crc32(rest), checksum)
        uri = int.from_bytes(rest[:2], "big")
        return Message(kind, rest[2:2 + uri], rest[2 + uri:], found)


class Stream:
    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=60)

    def exactly(self, length):
        octets = b""
        while len(octets) < length:
            piece = self.socket.recv(length - len(octets))
            if not piece:
                raise EOFError("the connection has ended")
            octets += piece
        return octets

    def send(self, message):
        self.socket.sendall(message.octets())

    def receive(self):
        head = self.exactly(9)
        _, fields, body, _ = struct.unpack(">BHHI", head)
        return Message.read(head + self.exactly(fields + body))


class Air:
    def __init__(self, address):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(60)
        self.socket.connect(address)

    def send(self, message):
        self.socket.send(message.octets())

    def receive(self):
        return Message.read(self.socket.recv(1 << 16))


def ask(stream, message):
    stream.send(message)
    return stream.receive()


def echoed(answer, kind=RESPOND_URI, content=b"hello"):
    same((answer.kind, answer.uri, answer.content), (kind, b"echo", content))


def hello(kind=REQUEST_URI, **fields):
    return Message(kind, b"echo", b"hello", fields)


# Plugins.


def stamp(message):
    message.fields.setdefault("nonce", os.urandom(16))
    message.fields.setdefault("ts", struct.pack(">I", int(time.time())))


def first_code(message, secret):
    key = H(H(H(secret)), H(message.fields["nonce"]), H(b"mac")).ljust(136, b"\0")
    inner, outer = bytes(it ^ 0x36 for it in key), bytes(it ^ 0x5C for it in key)
    return H(outer, H(inner, message.fields["ts"], message.body()))


def second_code(message, secret, names):
    covered = struct.pack(">BH", message.kind, len(names)) + names
    for name in names.decode().split(","):
        packed = pack(message.fields[name])
        covered += struct.pack(">I", len(packed)) + packed
    return mac(H(H(H(secret)), H(message.fields["nonce"]), H(b"bind")), covered)


def sign(message, secret):
    stamp(message)
    message.fields["hmac"] = first_code(message, secret)
    return message


def bind(message, secret):
    names = ",".join(message.fields).encode()
    message.fields["hmac+"] = second_code(message, secret, names) + names
    return message


def is_bound(message, secret):
    code, names = message.fields["hmac+"][:32], message.fields["hmac+"][32:]
    listed = names.decode().split(",")
    same({"hmac", "nonce", "ts"} <= set(listed), True)
    same(all(name in listed for name in ("id", "re") if name in message.fields), True)
    same(code, second_code(message, secret, names))


def stream_cipher(iv, key, octets):
    k, pad = H(H(H(key)), H(iv), H(b"enc")), b""
    for number in range(len(octets) // 32 + 1):
        pad += H(k, struct.pack(">I", number))
    return bytes(one ^ other for one, other in zip(octets, pad))


def hide(message, key):
    message.fields["iv"] = os.urandom(16)
    hidden = stream_cipher(message.fields["iv"], key, message.body())
    message.uri, message.content = hidden[:3], hidden[3:]
    return message


def show(message, key):
    plain = stream_cipher(message.fields["iv"], key, message.uri + message.content)
    length = int.from_bytes(plain[:2], "big")
    message.uri, message.content = plain[2:2 + length], plain[2 + length:]
    return message


# Sessions.


class Session:
    def __init__(self, secret):
        self.psk = mac(b"wakering message session 1", secret)
        self.secret, self.sent = os.urandom(32), 0
        self.public = bindings.crypto_scalarmult_base(self.secret)

    def expand(self, key, info, length):
        octets, block, number = b"", b"", 1
        while len(octets) < length:
            block = mac(key, block, info, bytes([number]))
            octets, number = octets + block, number + 1
        return octets[:length]

    def offer(self, proves):
        message = Message(REQUEST_URI, b"wakering/session", b"", {"offer": b"\1" + self.public, "id": 1})
        if proves:
            now = struct.pack(">I", int(time.time()))
            message.fields["proof"] = now + self.expand(self.psk, b"offer" + now + message.fields["offer"], 32)
        return message

    def accepted(self, message):
        same((message.kind, message.fields["accept"][:1], message.fields["re"]), (RESPOND_URI, b"\1", 1))
        theirs = message.fields["accept"][1:]
        shared = mac(self.psk, bindings.crypto_scalarmult(self.secret, theirs))
        keys = self.expand(shared, self.public + theirs, 68)
        self.sends, self.receives, self.name = keys[:32], keys[32:64], keys[64:]
        return self.open(message)

    def seal(self, message):
        number = struct.pack(">Q", self.sent)
        self.sent += 1
        message.fields["seal"] = self.name + struct.pack(">I", int(time.time())) + number
        bound = bytes([message.kind]) + pack(message.fields)
        message.content = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
            message.body(), bound, bytes(4) + number, self.sends
        )
        message.uri = b""
        return message

    def open(self, message):
        seal = message.fields["seal"]
        same((seal[:4], message.uri), (self.name, b""))
        bound = bytes([message.kind]) + pack(message.fields)
        body = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
            message.content, bound, bytes(4) + seal[8:], self.receives
        )
        length = int.from_bytes(body[:2], "big")
        message.uri, message.content = body[2:2 + length], body[2 + length:]
        return message


# What is asked.


def plain(stream):
    echoed(ask(stream, hello()))
    numbered = ask(stream, hello(id=7))
    echoed(numbered)
    same(numbered.fields, {"re": 7})
    missing = ask(stream, Message(REQUEST_URI, b"nothing"))
    same((missing.kind, missing.uri), (NOT_FOUND, b"nothing"))
    damaged = bytearray(hello().octets())
    damaged[5] ^= 1
    stream.socket.sendall(damaged)
    told = stream.receive()
    same((told.kind, told.uri, told.content), (ERROR, b"ERROR", b"invalid message"))
    echoed(ask(stream, hello()))
    stream.socket.sendall(b"\x0e" + hello().octets()[1:])
    same(stream.socket.recv(1), b"")


def signed(stream):
    answer = ask(stream, sign(hello(), b"test"))
    echoed(answer)
    same(answer.fields["hmac"], first_code(answer, b"test"))
    refused = ask(stream, sign(hello(), b"another"))
    same((refused.kind, refused.uri, refused.content), (AUTH_ERROR, b"ERROR", b"HMAC auth failed"))


def bound(address):
    request = bind(sign(hello(id=7), b"test"), b"test")
    answer = ask(Stream(address), request)
    echoed(answer)
    is_bound(answer, b"test")
    same(ask(Stream(address), request).kind, AUTH_ERROR)
    request = bind(sign(hello(id=7), b"test"), b"test")
    request.kind = DELETE_URI
    same(ask(Stream(address), request).kind, AUTH_ERROR)


def encrypted(stream):
    answer = ask(stream, sign(hide(hello(), b"a key"), b"test"))
    same(answer.fields["hmac"], first_code(answer, b"test"))
    echoed(show(answer, b"a key"))


def witnessed(stream):
    seed = bytes(range(32))

    def signature(message):
        return message.body() + message.fields["nonce"] + message.fields["ts"]

    request = hello()
    stamp(request)
    key = signing.SigningKey(seed)
    request.fields["witness"] = b"\x03\x40" + key.sign(signature(request)).signature
    answer = ask(stream, request)
    echoed(answer)
    key.verify_key.verify(signature(answer), answer.fields["witness"][2:])


def boxed(stream):
    secret = hashlib.sha512(bytes(range(32))).digest()[:32]
    key = public.PrivateKey(secret)
    said = pack((b"the page", pack({"pubkey": bytes(key.public_key)})))
    found = ask(stream, Message(ADVERTISE_PEER, b"netaio", said))
    same((found.kind, found.uri), (PEER_DISCOVERED, b"netaio"))
    identity, data = unpack(found.content)
    same(identity, b"wakering")
    box = public.Box(key, public.PublicKey(unpack(data)["pubkey"]))
    answer = ask(stream, Message(REQUEST_URI, b"echo", bytes(box.encrypt(b"hello"))))
    echoed(answer, content=answer.content)
    same(box.decrypt(answer.content), b"hello")


def sealed(stream, proves):
    session = Session(b"a long random secret")
    offer = session.offer(proves)
    session.accepted(ask(stream, offer))
    for number in range(2, 5):
        answer = session.open(ask(stream, session.seal(hello(id=number))))
        echoed(answer)
        same(answer.fields["re"], number)
    return session, offer


def sealed_stream(stream):
    session, _ = sealed(stream, False)
    message = session.seal(hello(id=9))
    message.kind = DELETE_URI
    try:
        ask(stream, message)
    except (EOFError, ConnectionError):
        return
    raise AssertionError("what was changed did not end the connection")


def sealed_air(air):
    session, offer = sealed(air, True)
    changed = session.seal(hello(id=9))
    changed.kind = DELETE_URI
    again = session.seal(hello(id=10))
    # Neither what was changed nor what comes again is answered, nor an offer that was made before.
    for message in (changed, offer, again, again):
        air.send(message)
    echoed(session.open(air.receive()))
    echoed(session.open(ask(air, session.seal(hello(id=11)))))
    same(ask(air, hello(id=12)).kind, AUTH_ERROR)


def main():
    words = [word.rsplit(":", 1) for word in sys.argv[1:]]
    addresses = [(host, int(port)) for host, port in words]
    check("frames and packed values", lambda: plain(Stream(addresses[0])))
    check("HMAC", lambda: signed(Stream(addresses[1])))
    check("bound codes", lambda: bound(addresses[1]))
    check("stream cipher", lambda: encrypted(Stream(addresses[2])))
    check("witness", lambda: witnessed(Stream(addresses[3])))
    check("introductions and boxes", lambda: boxed(Stream(addresses[4])))
    check("session", lambda: sealed_stream(Stream(addresses[5])))
    check("session by datagrams", lambda: sealed_air(Air(addresses[6])))


main()
