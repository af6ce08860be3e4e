"""Python's http.client, which speaks HTTP/1.1, against examples/h2_server. Argument: http://HOST:PORT or https://HOST:PORT."""

import http.client
import platform
import sys
from urllib.parse import urlsplit

from report import check, pattern, same, version, wait

TEN_MIB = 10 << 20
TARGET = urlsplit(sys.argv[-1])


def connect():
    kind = http.client.HTTPSConnection if TARGET.scheme == "https" else http.client.HTTPConnection
    return kind(TARGET.hostname, TARGET.port, timeout=60)


class Old:
    """Of 1.0, as http.client spoke it in its first versions."""

    def __enter__(self):
        self.connection = connect()
        self.connection._http_vsn, self.connection._http_vsn_str = 10, "HTTP/1.0"
        return self.connection

    def __exit__(self, *_):
        self.connection.close()


connection = connect()
version(f"Python {platform.python_version()}")


def ask(method, path, over=None, status=200, **more):
    over = over or connection
    over.request(method, path, **more)
    answer = over.getresponse()
    content = answer.read()
    same((answer.version, answer.status), (11, status))
    return answer, content


def get():
    same(ask("GET", "/")[1], b"Hello, World!")


def head():
    answer, content = ask("HEAD", "/")
    same((answer.getheader("content-length"), content), ("13", b""))


def kept():
    """http.client opens another connection by itself when the server closes one."""
    get()
    socket = connection.sock
    for _ in range(100):
        get()
    same(connection.sock is socket and socket is not None, True)


def closed():
    answer, _ = ask("GET", "/", headers={"connection": "close"})
    same((answer.getheader("connection"), connection.sock), ("close", None))


def old():
    with Old() as one:
        one.request("GET", "/")
        answer = one.getresponse()
        same((answer.getheader("connection"), answer.read(), one.sock), ("close", b"Hello, World!", None))
    with Old() as one:
        for _ in range(2):
            one.request("POST", "/echo", body=b"words", headers={"connection": "keep-alive"})
            same(one.getresponse().read(), b"words")


def echo(content):
    same(ask("POST", "/echo", body=content)[1], content)


def up_and_back():
    """It reads no answer before its content is sent: what comes back meanwhile lies in the sockets' buffers."""
    same(ask("POST", "/count", body=pattern(TEN_MIB))[1], b"%d" % TEN_MIB)
    echo(pattern(300_000))


def chunked_upload():
    parts = [pattern(50_000)] * 6
    same(ask("POST", "/echo", body=iter(parts), encode_chunked=True)[1], b"".join(parts))


def down():
    same(ask("GET", f"/bytes?n={TEN_MIB}")[1], bytes(TEN_MIB))


def refused():
    """Content that nobody reads: the answer comes all the same, and so does the next one."""
    ask("POST", "/json", status=405, body=b"unread")
    get()


def expected():
    """It does not wait for 100 (Continue), and passes over it."""
    same(ask("POST", "/echo", body=b"words", headers={"expect": "100-continue"})[1], b"words")


def many_fields():
    fields = {f"x-{number}": "v" * 50 for number in range(80)}
    _, content = ask("GET", "/headers", headers=fields)
    same(content.count(b'["x-'), 80)


def graceful_close():
    connection.request("GET", f"/bytes?n={TEN_MIB}")
    answer = connection.getresponse()
    wait()
    same(len(answer.read()), TEN_MIB)


check("GET", get)
check("HEAD", head)
check("100 requests on one connection", kept)
check("a connection closed on request", closed)
check("HTTP/1.0, once and kept alive", old)
check("POST echoed", echo, b"some words")
check("empty POST", echo, b"")
check("10 MiB down", down)
check("10 MiB up, 300 kB up and back", up_and_back)
check("upload of unknown length", chunked_upload)
check("content that is refused", refused)
check("content with expect", expected)
check("80 fields", many_fields)
check("graceful close", graceful_close)
connection.close()
