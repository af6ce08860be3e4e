"""The load of UDP echo servers: datagrams of one size, in trains of 32 or one by one."""

import subprocess

from harness import LOAD_CORE, STEP_SECONDS, Failed, end, read_line, spawn
from loads import say_go

TRAINS = {"64 B, trains": 64, "1,200 B, trains": 1200}
SINGLES = {"64 B, singles": 64, "1,200 B, singles": 1200}


def columns(program):
    """The loads of the table, by name, with how many datagrams each is."""
    trains = {name: (udp_load(program, size), 640_000) for name, size in TRAINS.items()}
    singles = {name: (udp_load(program, size, singles=True), 160_000) for name, size in SINGLES.items()}
    return {**trains, **singles}


def udp_load(program, size, singles=False):
    """A load of datagrams of `size` bytes, 64 of them on their way, as a function of (server, requests, watch, path)."""

    def run(server, requests, watch, _path):
        pid, address = server
        command = [program, "--addr", address, "--size", size]
        command += ["--warm-up", requests // 10, "--requests", requests, *(["--singles"] if singles else [])]
        child = spawn(command, LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            if (line := read_line(child, STEP_SECONDS)) != "ready":
                raise Failed(f"udp_client said {line!r}")
            with watch(pid, requests) as seen:
                say_go(child)
                word, count, seconds = read_line(child, STEP_SECONDS).split()
        finally:
            end(child)
        if word != "done" or int(count) != requests:
            raise Failed("the UDP client did not do what it was asked to")
        return {"per_second": requests / float(seconds), **seen}

    return run
