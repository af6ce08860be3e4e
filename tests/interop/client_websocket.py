"""WebSockets over HTTP/2 (RFC 8441) with the Python packages h2 and wsproto, against examples/websocket_echo. Argument:
HOST:PORT."""

import socket
import sys

import h2
import h2.config
import h2.connection
import h2.events
import h2.settings
import wsproto
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from report import check, pattern, same, version

version(f"h2 {h2.__version__}, wsproto {wsproto.__version__}")
CONNECT_PROTOCOL = h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL


class Client:
    """One connection, and what came on each of its streams."""

    def __init__(self):
        host, port = sys.argv[1].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.streams = {}
        while not self.h2.remote_settings.get(CONNECT_PROTOCOL):
            self.turn()

    def ask(self, **other):
        fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": "/", ":authority": "test"}
        fields |= {"sec-websocket-version": "13"} | {name.replace("_", "-"): value for name, value in other.items()}
        fields = {name: value for name, value in fields.items() if value}
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = {"status": "", "received": bytearray(), "end": ""}
        self.h2.send_headers(stream, [*fields.items()])
        while not self.streams[stream]["status"]:
            self.turn()
        return stream

    def turn(self):
        self.socket.sendall(self.h2.data_to_send())
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError("the server closed the connection")
        for event in self.h2.receive_data(data):
            seen = self.streams.get(getattr(event, "stream_id", None))
            match event:
                case h2.events.ResponseReceived():
                    seen["status"] = dict(event.headers)[":status"]
                case h2.events.DataReceived():
                    seen["received"] += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    seen["end"] = "end"
                case h2.events.StreamReset():
                    seen["end"] = f"reset {int(event.error_code)}"
        self.socket.sendall(self.h2.data_to_send())


class WebSocket:
    """One of them, on a stream of its own."""

    def __init__(self, client):
        self.client = client
        self.stream = client.ask()
        same(client.streams[self.stream]["status"], "200")
        self.frames = Connection(ConnectionType.CLIENT)
        self.events = []

    def send(self, event):
        view = memoryview(self.frames.send(event))
        while len(view) > 0:
            h2_ = self.client.h2
            room = min(h2_.local_flow_control_window(self.stream), h2_.max_outbound_frame_size, len(view))
            if room == 0:
                self.client.turn()
                continue
            h2_.send_data(self.stream, bytes(view[:room]))
            view = view[room:]
        self.client.socket.sendall(self.client.h2.data_to_send())

    def receive(self):
        seen = self.client.streams[self.stream]
        while not self.events:
            if seen["received"]:
                self.frames.receive_data(bytes(seen["received"]))
                seen["received"].clear()
                self.events += self.frames.events()
            elif seen["end"]:
                raise EOFError(seen["end"])
            else:
                self.client.turn()
        return self.events.pop(0)

    def message(self):
        """The next message, whole; pongs are passed over."""
        text, parts = None, []
        while True:
            event = self.receive()
            if isinstance(event, Pong):
                continue
            parts.append(event.data)
            if event.message_finished:
                return (type(event), type(event.data)().join(parts))


def text_and_bytes():
    socket_ = WebSocket(Client())
    socket_.send(TextMessage(data="grüße"))
    same(socket_.message(), (TextMessage, "grüße"))
    socket_.send(BytesMessage(data=b"\0\1\2"))
    same(socket_.message(), (BytesMessage, b"\0\1\2"))


def fragments():
    socket_ = WebSocket(Client())
    socket_.send(TextMessage(data="one ", message_finished=False))
    socket_.send(Ping(payload=b"between"))
    socket_.send(TextMessage(data="message"))
    same(socket_.receive(), Pong(payload=bytearray(b"between")))
    same(socket_.message(), (TextMessage, "one message"))


def megabyte():
    socket_ = WebSocket(Client())
    data = pattern(1 << 20)
    socket_.send(BytesMessage(data=data))
    kind, back = socket_.message()
    same((kind, len(back), back == data), (BytesMessage, len(data), True))


def many():
    client = Client()
    sockets = [WebSocket(client) for _ in range(20)]
    for number, socket_ in enumerate(sockets):
        socket_.send(TextMessage(data=f"socket {number}"))
    for number, socket_ in reversed([*enumerate(sockets)]):
        same(socket_.message(), (TextMessage, f"socket {number}"))


def closing():
    client = Client()
    socket_ = WebSocket(client)
    socket_.send(CloseConnection(code=1000, reason="done"))
    answer = socket_.receive()
    same((type(answer), answer.code), (CloseConnection, 1000))
    client.h2.end_stream(socket_.stream)
    seen = client.streams[socket_.stream]
    while not seen["end"]:
        client.turn()
    same(seen["end"], "end")
    other = WebSocket(client)  # the connection goes on
    other.send(TextMessage(data="still here"))
    same(other.message(), (TextMessage, "still here"))


def refusals():
    client = Client()
    for fields, status in [
        ({":method": "GET", ":protocol": ""}, "405"),
        ({":protocol": "chat"}, "501"),
        ({"sec-websocket-version": "8"}, "400"),
    ]:
        stream = client.ask(**fields)
        same(client.streams[stream]["status"], status)
        client.h2.reset_stream(stream, 8)


check("text and bytes come back", text_and_bytes)
check("a message in fragments, with a ping between them", fragments)
check("a message of one MiB through the windows", megabyte)
check("twenty sockets on one connection", many)
check("the closing handshake ends the stream, not the connection", closing)
check("what is no WebSocket is refused by status", refusals)
