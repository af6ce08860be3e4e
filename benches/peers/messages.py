"""Messages: ours and the Python package netaio, each with a server and a client of its own, one connection."""

import contextlib
import pathlib
import subprocess

import report
from harness import LOAD_CORE, SERVER_CORE, STEP_SECONDS, Failed, announced, end, free_port, read_line, spawn, wait_for_port
from loads import say_go

TITLE = "Messages: requests per second, server and client together"
OURS = "wakering"
SPINS = "wakering, spinning"
PACKAGE = "netaio"
FLOOR = "bare loops"
PLAIN = "no cipher"
# Workers that go on looking for so many microseconds before they sleep: the other end may be at work for as long.
SPIN = ["--spin", 500]
SCRIPT = pathlib.Path(__file__).resolve().parent / "message_netaio.py"
PLUGINS = ["--secret", "a secret", "--key", "a key"]
# Requests, and answers, have about 100 octets with their frames.
ONE_BY_ONE = "64 B, one after the other"
SEALED = "60 kB, HMAC and cipher"
# What is asked, and how often: of ours, of the package.
CASES = {
    ONE_BY_ONE: (["--size", 64, "--in-flight", 1], [], {OURS: 100_000, PACKAGE: 3_000}),
    "64 B, 64 at a time": (["--size", 64, "--in-flight", 64], [], {OURS: 1_000_000, PACKAGE: 3_000}),
    SEALED: (["--size", 60_000, "--in-flight", 1], PLUGINS, {OURS: 10_000, PACKAGE: 60}),
    "60 kB, session": (["--size", 60_000, "--in-flight", 1], ["--session", "a secret"], {OURS: 20_000}),
}
# How many times what the package does is wanted.
WANTED = {ONE_BY_ONE: 20, "64 B, 64 at a time": 100, SEALED: 100}


def python(peers):
    """The interpreter that has the package, if there is one; tests/interop/prepare makes it."""
    found = pathlib.Path(peers) / "venv" / "bin" / "python"
    there = found.exists() and subprocess.run([found, "-c", "import netaio"], stderr=subprocess.DEVNULL).returncode == 0
    return found if there else None


def measure(program, interpreter, options, keep, log):
    """Runs every case, round by round, all in turn."""
    sides = {OURS: [program], SPINS: [program]}
    if interpreter:
        sides[PACKAGE] = [interpreter, SCRIPT]
    else:
        print("skipped: netaio is not installed (tests/interop/prepare makes a place for it); ours alone is measured")
    share = 5 if options.quick else 1
    for turn in range(options.rounds):
        for case, (load, plugins, requests) in CASES.items():
            for side, command in sides.items():
                count = requests.get(OURS if side == SPINS else side)
                if count:
                    words = [*plugins, *(SPIN if side == SPINS else [])]
                    rate = run(command, load, words, max(count // share, 10))
                    keep(table="message", column=case, server=side, round=turn, per_second=rate)
        for case, floor in FLOORS.items():
            rate = floor(program, CASES[case][2][OURS] // share)
            keep(table="message", column=case, server=FLOOR, round=turn, per_second=rate)
        rate = hashed(program, CASES[SEALED][2][OURS] // share, "--plain")
        keep(table="message", column=SEALED, server=PLAIN, round=turn, per_second=rate)
        log(f"  message: round {turn + 1} of {options.rounds}")


def bare(program, requests):
    """Round trips per second of as many octets through two bare epoll loops: what the system takes."""
    with announced([program.with_name("epoll_echo")]) as (_, address):
        words = ["--addr", address, "--connections", 1, "--size", 100]
        return load_of([program.with_name("echo_client"), *words], requests)


def hashed(program, requests, *words):
    """Round trips per second of contents with nothing but their SHA-256, and a key stream of it, through two loops that spin."""
    command = [program.with_name("message_floor"), *words, *CASES[SEALED][0][:2]]
    with announced([*command, "--serve"]) as (_, address):
        return load_of([*command, "--addr", address], requests)


# The same octets by programs that do nothing else, measured beside.
FLOORS = {ONE_BY_ONE: bare, SEALED: hashed}


def run(command, load, plugins, requests):
    """Requests per second of one server and one client."""
    with serving(command, plugins) as address:
        return load_of([*command, "--addr", address, *plugins, *load], requests)


def load_of(words, requests):
    """Requests per second of a load that speaks with its driver."""
    words = [*words, "--warm-up", requests // 10, "--requests", requests]
    child = spawn(words, LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        if (line := read_line(child, STEP_SECONDS)) != "ready":
            raise Failed(f"{words[0]} said {line!r}")
        say_go(child)
        word, count, seconds = read_line(child, STEP_SECONDS).split()
    finally:
        end(child)
    if word != "done" or int(count) != requests:
        raise Failed(f"{words[0]} did not do what it was asked to")
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


def ours(records, case):
    """The better of ours."""
    return max(filter(None, (best(records, case, side) for side in (OURS, SPINS))), default=None)


def table(records):
    rows = [["requests per second", OURS, SPINS, PACKAGE, "times", FLOOR]]
    for case in CASES:
        rates = {side: best(records, case, side) for side in (OURS, SPINS, PACKAGE, FLOOR)}
        shown = {side: f"{rate:,.0f}" if rate else "-" for side, rate in rates.items()}
        theirs = rates[PACKAGE]
        times = f"{ours(records, case) / theirs:,.1f}×" if theirs and ours(records, case) else "-"
        rows.append([case, shown[OURS], shown[SPINS], shown[PACKAGE], times, shown[FLOOR]])
    words = (
        "Best round. Content of requests and of answers; over the loopback, each process on a core of its own. Spinning: "
        f"`Builder::spin` of {SPIN[1]} µs at both ends; `times` is of the better of ours. {FLOOR}: as many octets back and "
        "forth between two loops that do nothing with them, and sleep; of 60 kB, loops that spin, and make the hashes "
        "that the format has, of code and key stream, by the same crate; without the key stream they make "
        f"{best(records, SEALED, PLAIN) or 0:,.0f}."
    )
    return f"## {TITLE}\n\n{words}\n\n{report.grid(rows)}"


def verdicts(records):
    for case, wanted in WANTED.items():
        rate, theirs = ours(records, case), best(records, case, PACKAGE)
        if not rate or not theirs:
            yield None, f"message, {case}: not measured"
            continue
        beside = [f"{side}: {best(records, case, side) / theirs:.1f} ×" for side in (FLOOR, PLAIN)] if case == SEALED else []
        floor = f" ({', '.join(beside)})" if beside else ""
        yield rate / theirs >= wanted, f"message, {case}: {rate / theirs:.1f} × {PACKAGE}, wanted at least {wanted} ×{floor}"
