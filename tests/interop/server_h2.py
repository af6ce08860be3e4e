"""A server on the Python package h2, which judges every frame it gets, for wakering's client: one thread a connection."""

import socket
import threading
from urllib.parse import parse_qs, urlsplit

import h2
import h2.config
import h2.connection
import h2.events
import h2.exceptions

from report import version


class Connection:
    def __init__(self, peer):
        self.socket = peer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        # What is still to be sent: content, then trailers, then nothing more.
        self.waiting = {}

    def serve(self):
        self.h2.initiate_connection()
        while True:
            self.flush()
            self.socket.sendall(self.h2.data_to_send())
            data = self.socket.recv(65_536)
            if not data:
                return
            try:
                events = self.h2.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                print(f"failed a frame of the client: {error}", flush=True)
                self.socket.sendall(self.h2.data_to_send())
                return
            for event in events:
                self.on(event)

    def on(self, event):
        match event:
            case h2.events.RequestReceived():
                self.begin(event.stream_id, dict(event.headers))
            case h2.events.DataReceived():
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.waiting:
                    self.waiting[event.stream_id]["content"] += event.data
            case h2.events.TrailersReceived():
                self.waiting[event.stream_id]["trailers"] = event.headers
            case h2.events.StreamEnded():
                if event.stream_id in self.waiting:
                    self.waiting[event.stream_id]["complete"] = True
            case h2.events.StreamReset():
                self.waiting.pop(event.stream_id, None)

    def begin(self, stream, fields):
        url = urlsplit(fields[":path"])
        if fields.get("expect") == "100-continue":
            self.h2.send_headers(stream, [(":status", "100")])
        if url.path == "/early":
            self.h2.send_headers(stream, [(":status", "103"), ("link", "</style.css>; rel=preload")])
        content = bytearray()
        if url.path in ("/", "/early"):
            content += b"Hello, World!"
        elif url.path == "/bytes":
            content += bytes(int(parse_qs(url.query)["n"][0]))
        known = url.path in ("/", "/early", "/bytes", "/echo")
        self.h2.send_headers(stream, [(":status", "200" if known else "404")])
        if fields[":method"] == "HEAD":
            content.clear()
        complete = url.path != "/echo"
        self.waiting[stream] = {"content": content, "sent": 0, "trailers": None, "complete": complete}

    def flush(self):
        for stream, state in list(self.waiting.items()):
            while state["sent"] < len(state["content"]):
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if room == 0:
                    break
                piece = bytes(state["content"][state["sent"] : state["sent"] + room])
                self.h2.send_data(stream, piece)
                state["sent"] += len(piece)
            else:
                if state["complete"]:
                    self.end(stream, state["trailers"])

    def end(self, stream, trailers):
        del self.waiting[stream]
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(stream)


def serve(peer):
    try:
        Connection(peer).serve()
    except OSError:
        pass  # the client is gone
    peer.close()


listener = socket.create_server(("127.0.0.1", 0))
version(f"h2 {h2.__version__}")
print("listening on %s:%d" % listener.getsockname(), flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
