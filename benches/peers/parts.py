"""The parts of a runtime, measured in process: who has which part, what is wanted of ours, and what it grows to.

A program `part_NAME` runs one part and prints its figures (`ns 12.3`); the rivals take turns, and the best round of
each counts. One thread is timed by its CPU time; two threads that work together by the clock, pinned to a core each.
"""

import dataclasses
import subprocess

import plot
import report
from harness import CORES, SERVER_CORE, Failed, end, spawn

OURS = "wakering"
PART_SECONDS = 60
TASKS = ["tokio", "smol", "monoio", "async-task"]


@dataclasses.dataclass
class Part:
    """One line of a table: at most `limits[peer]` times the peer's figure is wanted."""

    name: str
    what: str
    peers: list
    limits: dict
    key: str = "ns"
    both_cores: bool = False
    # At most so many of a figure, whoever the peers are.
    most: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Group:
    """A table of parts."""

    title: str
    parts: list


def groups():
    """Every table of parts."""
    far = {"peers": ["tokio", "smol"], "both_cores": True}
    codec = ["h2", "loona"]
    return {
        "parts-tasks": Group(
            "Tasks and wakes, ns",
            [
                Part("wake-local", "wake to poll, same worker", TASKS, {"tokio": 0.5, "smol": 0.5}),
                Part("spawn-join", "spawn and join an empty task", TASKS, {"tokio": 0.7, "smol": 0.7}),
                Part("yield", "yield, round of 1,000 tasks", TASKS, {"tokio": 0.7, "smol": 0.7}),
                Part("wake-far-awake", "wake across threads, awake", limits={"tokio": 0.7, "smol": 0.7}, **far),
                Part(
                    "wake-far-parked",
                    "wake across threads, parked",
                    limits={"tokio": 1.0, "smol": 1.0},
                    most={"writes": 1.0},
                    **far,
                ),
                Part("burst-far-awake", "a wake of 64, awake", limits={"tokio": 0.7}, most={"ns": 120}, **far),
                Part(
                    "burst-far-parked",
                    "a wake of 64, parked before",
                    limits={"tokio": 1.0},
                    most={"ns": 120, "writes": 0.02},
                    **far,
                ),
            ],
        ),
        "parts-timers": Group(
            "Timers, ns",
            [
                Part("timer-cancel", "arm and cancel", TASKS[:3], {"tokio": 0.5, "smol": 0.5}),
                Part("timer-cancel+1000000", "… with 1,000,000 pending", TASKS[:3], {"tokio": 0.5, "smol": 0.5}),
                Part("timer-fire", "spawn, arm, fire, join", TASKS[:3], {"tokio": 0.5, "smol": 0.5}),
            ],
        ),
        "parts-rings": Group(
            "Rings, ns for a value",
            [
                Part("ring", "push and pop, one thread", ["rtrb", "crossbeam"], {"rtrb": 1.0}),
                Part("ring-across", "from thread to thread", ["rtrb", "crossbeam"], {"rtrb": 1.0}, both_cores=True),
            ],
        ),
        "parts-hpack": Group(
            "HPACK and frames, ns",
            [
                Part("hpack-decode", "a browser's head, seen before", ["h2"], {"h2": 0.7}),
                Part("hpack-decode-first", "a browser's first head", ["h2"], {"h2": 0.7}),
                Part("hpack-encode", "an answer's head", codec, {"h2": 0.7, "loona": 0.7}),
                Part("huffman-decode", "Huffman, 101 octets, decode", codec, {"h2": 0.7, "loona": 0.7}),
                Part("huffman-encode", "Huffman, 101 octets, encode", ["h2"], {"h2": 0.7}),
                Part("frame-parse", "a frame (WINDOW_UPDATE, DATA, PING)", ["h2"], {"h2": 0.5}),
            ],
        ),
        "parts-memory": Group(
            "Memory of what sleeps, bytes each",
            [
                Part("memory-task", "a task that waits", TASKS[:3], {}, "bytes"),
                Part("memory-sleeping-task", "a task that sleeps", TASKS[:3], {"tokio": 0.5}, "bytes"),
                Part("memory-timer", "a timer, in a box", TASKS[:3], {"tokio": 0.5}, "bytes"),
                Part(
                    "memory-connection",
                    "a task that waits for a connection",
                    TASKS[:3],
                    {"tokio": 0.5},
                    "bytes",
                    most={"bytes": 350},
                ),
            ],
        ),
    }


# Who is in a program with others, under a name of its own.
SHARED = {"rtrb": "rings", "crossbeam": "rings", "h2": "hpack", "loona": "hpack"}


def run_part(folder, rival, name, both_cores):
    """The figures of one run of a part; `PART+N` is with N others about."""
    name, _, others = name.partition("+")
    if rival in SHARED:
        name = f"{rival}:{name}"
    program = folder / f"part_{SHARED.get(rival, rival).replace('-', '_')}"
    command = [program, "--part", name, *(["--others", others] if others else [])]
    child = spawn(command, None if both_cores else SERVER_CORE, stdout=subprocess.PIPE)
    try:
        output = child.communicate(timeout=PART_SECONDS)[0].decode()
    finally:
        end(child)
    if child.returncode:
        raise Failed(f"{program.name} --part {name} ended with code {child.returncode}")
    return {key: float(value) for key, value in (line.split() for line in output.splitlines())}


def measure(name, group, folder, rounds, keep, log):
    """Runs the parts of a table, rival by rival, round by round."""
    for part in group.parts:
        if part.both_cores and len(CORES) < 2:
            log(f"skipped: {part.what} needs two cores")
            continue
        for turn in range(rounds):
            for rival in [OURS, *part.peers]:
                figures = run_part(folder, rival, part.name, part.both_cores)
                keep(table=name, part=part.name, rival=rival, round=turn, **figures)
        log(f"  {name} {part.name}: {rounds} rounds")


def best(records, name, part, rival, key):
    """The best of the rounds, or None."""
    found = report.values(records, key, table=name, part=part.name, rival=rival)
    return min(found, default=None)


def number(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def table(name, group, records):
    """A row for each part, a column for each rival; in brackets how many times its figure ours is."""
    rivals = list(dict.fromkeys(peer for part in group.parts for peer in part.peers))
    rows = [["part", OURS, *rivals]]
    notes = []
    for part in group.parts:
        ours = best(records, name, part, OURS, part.key)
        if ours is None:
            continue
        row = [part.what, number(ours)]
        for rival in rivals:
            theirs = best(records, name, part, rival, part.key)
            row.append("-" if theirs is None else f"{number(theirs)} ({ours / theirs:.2f}×)")
        rows.append(row)
        writes = {rival: best(records, name, part, rival, "writes") for rival in [OURS, *part.peers]}
        if writes[OURS] is not None:
            told = ", ".join(f"{rival} {count:.3f}" for rival, count in writes.items() if count is not None)
            notes.append(f"Write calls a wake, {part.what}: {told}.")
    words = f"## {group.title}\n\nBest round of each; in brackets, ours as a multiple of theirs."
    return "\n\n".join([words, report.grid(rows), *notes])


def chart(name, group, records):
    """The chart of a table, as SVG."""
    shown = []
    for part in group.parts:
        ours = best(records, name, part, OURS, part.key)
        if ours is None:
            continue
        costs = {rival: best(records, name, part, rival, part.key) for rival in [OURS, *part.peers]}
        shown.append((part.what, [(rival, cost, cost / ours) for rival, cost in costs.items() if cost is not None]))
    unit = "B" if group.parts[0].key == "bytes" else "ns"
    return plot.chart(f"{group.title}: multiples of {OURS}", OURS, shown, unit) if shown else None


def verdicts(name, group, records):
    """Whether each target is met (None when it was not measured), and a sentence."""
    for part in group.parts:
        ours = best(records, name, part, OURS, part.key)
        for peer, limit in part.limits.items():
            theirs = best(records, name, part, peer, part.key)
            if ours is None or theirs is None:
                yield None, f"{name}, {part.what}: not measured"
                continue
            ratio = ours / theirs
            yield ratio <= limit, f"{name}, {part.what}: {ratio:.2f} × {peer}, wanted at most {limit} ×"
        for key, limit in part.most.items():
            if (figure := best(records, name, part, OURS, key)) is not None:
                yield figure <= limit, f"{name}, {part.what}: {figure:,.3g} {key}, wanted at most {limit:,}"
