"""The loads: each warms a server up, then puts requests on it under the eye of a watch.

A watch is a context manager of (process id, requests) from `harness`; it yields a dict that it fills when the
requests are done.
"""

import contextlib
import re
import socket
import subprocess
import tempfile
import time

from harness import LOAD_CORE, START_SECONDS, STEP_SECONDS, Failed, end, read_line, rss_bytes, spawn

IDLE_CONNECTIONS = 1000
# After this a server has put away what it needs only for a connection at work.
REST_SECONDS = 0.6


def say_go(child):
    """Lets an echo client make its next step."""
    child.stdin.write(b"\n")


@contextlib.contextmanager
def echo_client(program, address, connections, warm_up, requests, idle=0):
    """An echo client that has connected and warmed up, and now waits for a line."""
    command = [program, "--addr", address, "--connections", connections]
    command += ["--warm-up", warm_up, "--requests", requests]
    command += ["--idle", idle]
    child = spawn(command, LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        if (line := read_line(child, STEP_SECONDS)) != "ready":
            raise Failed(f"echo_client said {line!r}")
        yield child
    finally:
        end(child)


def echo_load(program, connections, idle=0):
    """A load of `connections` in a closed loop, as a function of (server, requests, watch, path).

    `idle` more connections make one round trip at the beginning, and rest.
    """

    def run(server, requests, watch, _path):
        pid, address = server
        warm_up = max(requests // 10, connections)
        with echo_client(program, address, connections, warm_up, requests, idle) as child:
            with watch(pid, requests) as seen:
                say_go(child)
                word, count, seconds = read_line(child, STEP_SECONDS).split()
        if word != "done" or int(count) != requests:
            raise Failed("the echo client did not do what it was asked to")
        return {"per_second": requests / float(seconds), **seen}

    return run


@contextlib.contextmanager
def content(size):
    """The arguments of h2load that make it send `size` bytes with each request."""
    if not size:
        yield []
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(size))
        file.flush()
        yield ["-d", file.name]


def h2load(arguments, size=0, urls=1):
    """A load of `h2load -t1 …`, as a function of (server, requests, watch, path).

    `size` bytes go with each request, and requests of a connection take turns among so many `urls`.
    """

    def once(url, requests):
        with content(size) as sent:
            asked = [url] if urls == 1 else [f"{url}?n={number}" for number in range(urls)]
            command = ["h2load", "-t1", *arguments, *sent, "-n", requests, *asked]
            child = spawn(command, LOAD_CORE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                output = child.communicate(timeout=STEP_SECONDS)[0].decode()
            finally:
                end(child)
        counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        rate = re.search(r"finished in .*?, ([\d.]+) req/s", output)
        if not counts or not rate or [int(n) for n in counts.groups()] != [requests, 0, 0, 0]:
            raise Failed(f"h2load: {counts.group(0) if counts else output[-300:]}")
        return float(rate.group(1))

    def run(server, requests, watch, path):
        pid, address = server
        url = f"http://{address}{path}"
        once(url, max(requests // 10, 100))
        with watch(pid, requests) as seen:
            rate = once(url, requests)
        return {"per_second": rate, **seen}

    return run


@contextlib.contextmanager
def idle_echo(program, address, count):
    """`count` connections that have made one round trip each and rest."""
    with echo_client(program, address, count, count, 0):
        yield


# GET / by four fields: three from the static table, the authority literal and not indexed.
_REQUEST = bytes([0x82, 0x84, 0x86, 0x01, 9]) + b"localhost"
_OPENING = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # SETTINGS, empty
    + bytes([0, 0, len(_REQUEST), 1, 5, 0, 0, 0, 1])  # HEADERS: END_STREAM, END_HEADERS, stream 1
    + _REQUEST
)
_SETTINGS_ACK = bytes([0, 0, 0, 4, 1, 0, 0, 0, 0])


def ask_once(address):
    """One HTTP/2 connection that has had one answer and rests."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), START_SECONDS)
    connection.sendall(_OPENING)
    pending = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise Failed("the server closed an idle connection")
        pending += piece
        while len(pending) >= 9 and len(pending) >= 9 + int.from_bytes(pending[:3]):
            kind, flags, stream = pending[3], pending[4], int.from_bytes(pending[5:9])
            pending = pending[9 + int.from_bytes(pending[:3]) :]
            if kind == 4 and not flags & 1:
                connection.sendall(_SETTINGS_ACK)
            if stream == 1 and flags & 1:
                return connection


@contextlib.contextmanager
def idle_http1(_program, address, count):
    """`count` HTTP/1.1 connections that have had one answer each and rest."""
    host, port = address.rsplit(":", 1)
    connections = []
    try:
        for _ in range(count):
            connection = socket.create_connection((host, int(port)), START_SECONDS)
            connections.append(connection)
            connection.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"Hello, World!"):
                piece = connection.recv(65536)
                if not piece:
                    raise Failed("the server closed an idle connection")
                answer += piece
        yield
    finally:
        for connection in connections:
            connection.close()


@contextlib.contextmanager
def idle_http2(_program, address, count):
    """`count` HTTP/2 connections that have had one answer each and rest."""
    connections = []
    try:
        for _ in range(count):
            connections.append(ask_once(address))
        yield
    finally:
        for connection in connections:
            connection.close()


def idle_memory(hold, program, server):
    """Resident memory of a server at rest, with idle connections, and what one of them takes."""
    pid, address = server
    with hold(program, address, 1):
        pass
    time.sleep(REST_SECONDS)
    alone = rss_bytes(pid)
    with hold(program, address, IDLE_CONNECTIONS):
        time.sleep(REST_SECONDS)
        full = rss_bytes(pid)
    return {"rss_alone": alone, "rss_full": full, "idle_bytes": (full - alone) / IDLE_CONNECTIONS}
