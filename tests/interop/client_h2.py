"""A client on the Python package h2, which judges every frame it gets, against examples/h2_server. Argument: HOST:PORT."""

import socket
import sys

import h2
import h2.config
import h2.connection
import h2.events
import h2.settings

from report import check, pattern, same, skipped, version

TEN_MIB = 10 << 20
version(f"h2 {h2.__version__}")


class Client:
    """One connection; `window` is the flow-control window of its streams."""

    def __init__(self, window=65_535):
        host, port = sys.argv[1].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.seen = {}
        self.pong = None

    def ask(self, method, path, *fields, content=None, trailers=None, end=True):
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path), *fields]
        self.seen[stream] = {"informed": [], "status": "", "fields": {}, "content": bytearray(), "trailers": [], "end": ""}
        self.h2.send_headers(stream, head, end_stream=end and content is None and trailers is None)
        if content is not None:
            self.send(stream, content, end=trailers is None)
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)
        self.flush()
        return stream

    def send(self, stream, content, end=True):
        view = memoryview(content)
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(view))
            if room == 0 and len(view) > 0:
                self.turn()
                continue
            piece, view = view[:room], view[room:]
            self.h2.send_data(stream, bytes(piece), end_stream=end and len(view) == 0)
            if len(view) == 0:
                return self.flush()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def turn(self):
        """Sends what is due and takes what comes."""
        self.flush()
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError("the server closed the connection")
        for event in self.h2.receive_data(data):
            self.on(event)
        self.flush()

    def on(self, event):
        seen = self.seen.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.InformationalResponseReceived():
                seen["informed"].append(dict(event.headers)[":status"])
            case h2.events.ResponseReceived():
                seen["fields"] = dict(event.headers)
                seen["status"] = seen["fields"][":status"]
            case h2.events.DataReceived():
                seen["content"] += event.data
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                seen["trailers"] = event.headers
            case h2.events.StreamEnded():
                seen["end"] = "ended"
            case h2.events.StreamReset():
                seen["end"] = f"reset {event.error_code}"
            case h2.events.PingAckReceived():
                self.pong = event.ping_data

    def answer(self, stream):
        while not self.seen[stream]["end"]:
            self.turn()
        same(self.seen[stream]["end"], "ended")
        return self.seen[stream]


def get(client):
    answer = client.answer(client.ask("GET", "/"))
    same((answer["status"], bytes(answer["content"])), ("200", b"Hello, World!"))


def head():
    client = Client()
    answer = client.answer(client.ask("HEAD", "/"))
    same((answer["fields"]["content-length"], bytes(answer["content"])), ("13", b""))


def echo(content):
    client = Client()
    same(bytes(client.answer(client.ask("POST", "/echo", content=content))["content"]), content)


def down(window):
    client = Client(window=window)
    same(len(client.answer(client.ask("GET", f"/bytes?n={TEN_MIB}"))["content"]), TEN_MIB)


def trailers():
    client, fields = Client(), [("x-sum", "1"), ("x-sum", "2")]
    answer = client.answer(client.ask("POST", "/echo", content=b"words", trailers=fields))
    same((bytes(answer["content"]), answer["trailers"]), (b"words", fields))


def expect_continue():
    client = Client()
    stream = client.ask("POST", "/echo", ("expect", "100-continue"), end=False)
    while not client.seen[stream]["informed"]:
        client.turn()
    client.send(stream, b"words")
    answer = client.answer(stream)
    same((answer["informed"], bytes(answer["content"])), (["100"], b"words"))


def early_hints():
    client = Client()
    same(client.answer(client.ask("GET", "/early"))["informed"], ["103"])


def at_once():
    client = Client()
    for stream in [client.ask("GET", "/") for _ in range(100)]:
        same(bytes(client.answer(stream)["content"]), b"Hello, World!")


def smaller_tables():
    client = Client()
    for size in (0, 100, 4096, 65_536):
        client.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        get(client)
        get(client)


def ping():
    client = Client()
    client.h2.ping(b"12345678")
    while client.pong != b"12345678":
        client.turn()


def old_priorities():
    client = Client()
    client.h2.prioritize(1, weight=200, depends_on=0, exclusive=True)
    get(client)


def cancelled():
    client = Client()
    for _ in range(20):
        stream = client.ask("GET", "/bytes?n=1000000000000")
        while not client.seen[stream]["content"]:
            client.turn()
        client.h2.reset_stream(stream, error_code=8)
        client.flush()
    get(client)


check("GET", lambda: get(Client()))
check("HEAD", head)
check("POST echoed", echo, b"some words")
check("empty POST", echo, b"")
check("10 MiB down", down, 65_535)
check("1 MiB windows", down, 1 << 20)
# The echo has to be read while the upload goes on: `send` does so whenever its window is empty.
check("10 MiB up and back", echo, pattern(TEN_MIB))
check("trailers both ways", trailers)
check("100 Continue", expect_continue)
check("103 Early Hints", early_hints)
check("100 requests at once", at_once)
check("other sizes of the header table", smaller_tables)
check("PING", ping)
check("PRIORITY", old_priorities)
check("cancelled downloads", cancelled)
skipped("graceful close", "it takes no frame after GOAWAY")
