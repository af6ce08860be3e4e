"""Messages: ours and the Python package netaio, each with a server and a client of its own, one connection."""

import contextlib
import pathlib
import subprocess

import report
from harness import LOAD_CORE, SERVER_CORE, STEP_SECONDS, Failed, announced, end, free_port, read_line, spawn, wait_for_port
from loads import say_go

TITLE = "Messages: requests per second, server and client together"
OURS = "wakering"
PACKAGE = "netaio"
SCRIPT = pathlib.Path(__file__).resolve().parent / "message_netaio.py"
PLUGINS = ["--secret", "a secret", "--key", "a key"]
# What is asked, and how often: of ours, of the package.
CASES = {
    "64 B, one after the other": (["--size", 64, "--in-flight", 1], [], {OURS: 100_000, PACKAGE: 3_000}),
    "64 B, 64 at a time": (["--size", 64, "--in-flight", 64], [], {OURS: 400_000, PACKAGE: 3_000}),
    "60 kB, HMAC and cipher": (["--size", 60_000, "--in-flight", 1], PLUGINS, {OURS: 10_000, PACKAGE: 60}),
    "60 kB, session": (["--size", 60_000, "--in-flight", 1], ["--session", "a secret"], {OURS: 20_000}),
}
# How many times what the package does is wanted.
WANTED = {"64 B, one after the other": 20, "64 B, 64 at a time": 100, "60 kB, HMAC and cipher": 100}


def python(peers):
    """The interpreter that has the package, if there is one; tests/interop/prepare makes it."""
    found = pathlib.Path(peers) / "venv" / "bin" / "python"
    there = found.exists() and subprocess.run([found, "-c", "import netaio"], stderr=subprocess.DEVNULL).returncode == 0
    return found if there else None


def measure(program, interpreter, options, keep, log):
    """Runs every case, round by round, the two in turn."""
    sides = {OURS: [program]}
    if interpreter:
        sides[PACKAGE] = [interpreter, SCRIPT]
    else:
        print("skipped: netaio is not installed (tests/interop/prepare makes a place for it); ours alone is measured")
    for turn in range(options.rounds):
        for case, (load, plugins, requests) in CASES.items():
            for side, command in sides.items():
                if side in requests:
                    count = max(requests[side] // (5 if options.quick else 1), 10)
                    keep(table="message", column=case, server=side, round=turn, per_second=run(command, load, plugins, count))
        log(f"  message: round {turn + 1} of {options.rounds}")


def run(command, load, plugins, requests):
    """Requests per second of one server and one client."""
    with serving(command, plugins) as address:
        words = [*command, "--addr", address, *plugins, *load, "--warm-up", requests // 10, "--requests", requests]
        child = spawn(words, LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            if (line := read_line(child, STEP_SECONDS)) != "ready":
                raise Failed(f"{command[-1]} said {line!r}")
            say_go(child)
            word, count, seconds = read_line(child, STEP_SECONDS).split()
        finally:
            end(child)
    if word != "done" or int(count) != requests:
        raise Failed(f"{command[-1]} did not do what it was asked to")
    return requests / float(seconds)


@contextlib.contextmanager
def serving(command, plugins):
    if len(command) == 1:
        with announced([*command, "--serve", *plugins]) as (_, address):
            yield address
        return
    # The package takes no port 0.
    port = free_port()
    child = spawn([*command, "--serve", "--addr", f"127.0.0.1:{port}", *plugins], SERVER_CORE, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(child, port)
        yield f"127.0.0.1:{port}"
    finally:
        end(child)


def best(records, case, side):
    return max(report.values(records, "per_second", table="message", column=case, server=side), default=None)


def table(records):
    rows = [["requests per second", OURS, PACKAGE, "times"]]
    for case in CASES:
        ours, theirs = best(records, case, OURS), best(records, case, PACKAGE)
        shown = [f"{rate:,.0f}" if rate else "-" for rate in (ours, theirs)]
        rows.append([case, *shown, f"{ours / theirs:,.0f}×" if ours and theirs else "-"])
    words = "Best round. Content of requests and of answers; over the loopback, each process on a core of its own."
    return f"## {TITLE}\n\n{words}\n\n{report.grid(rows)}"


def verdicts(records):
    for case, wanted in WANTED.items():
        ours, theirs = best(records, case, OURS), best(records, case, PACKAGE)
        if not ours or not theirs:
            yield None, f"message, {case}: not measured"
            continue
        yield ours / theirs >= wanted, f"message, {case}: {ours / theirs:.0f} × {PACKAGE}, wanted at least {wanted} ×"
