"""The http.server of Python's library, for wakering's client; with a certificate and its key as arguments over TLS, where
it knows nothing of ALPN. A line on standard input stops it."""

import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from report import version


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, content):
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self):
        url = urlsplit(self.path)
        match url.path:
            case "/":
                self.answer(200, b"Hello, World!")
            case "/bytes":
                left = int(parse_qs(url.query)["n"][0])
                self.send_response(200)
                if secure:
                    # Its connections end without a close_notify, so that other content could not be told from a part of it.
                    self.send_header("content-length", str(left))
                else:
                    self.send_header("connection", "close")
                self.end_headers()
                while left > 0:
                    length = min(left, 64 << 10)
                    left -= length
                    self.wfile.write(bytes(length))
            case "/early":
                self.send_response_only(103)
                self.send_header("link", "</style.css>; rel=preload")
                self.end_headers()
                self.answer(200, b"Hello, World!")
            case _:
                self.answer(404, b"not found")

    do_HEAD = do_GET

    def do_POST(self):
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            content = self.rfile.read(int(self.headers["content-length"]))
            return self.answer(200, str(len(content)).encode() if self.path == "/count" else content)
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        # Trailers.
        while self.rfile.readline() != b"\r\n":
            pass
        self.answer(200, content)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # 200 connections come at once.
    request_queue_size = 128

    def handle_error(self, request, address):
        # A client that goes away in the middle is no fault.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, address)


secure = len(sys.argv) > 2
server = Server(("127.0.0.1", 0), Handler)
if secure:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[1:3])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
version(f"http.server of Python {sys.version.split()[0]}")
print("listening on %s:%d" % server.server_address, flush=True)
sys.stdin.readline()
server.shutdown()
