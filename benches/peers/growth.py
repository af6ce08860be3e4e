"""What an operation costs when there is more and more of everything else, up to a million."""

import loads
import parts
import plot
import report
from harness import announced, cpu_watch

TITLE = "Growth: an operation's cost by how much there is"
CONNECTIONS = [10, 100, 1_000, 9_000]
OTHERS = [10, 1_000, 100_000, 1_000_000]
REQUESTS = 60_000
# How much dearer than with the least an operation may be.
LIMIT = 1.2
# What is wanted to stay flat; the rest is shown beside it.
FLAT = [
    "round trip, 10 of the connections at work",
    "spawn and join, others sleep",
    "wake, others sleep",
    "arm and cancel a timer, others pend",
]
IN_PROCESS = {
    "spawn and join, others sleep": "spawn-join",
    "wake, others sleep": "wake-local",
    "arm and cancel a timer, others pend": "timer-cancel",
    "yield, all tasks do": "yield-all",
}


def measure(folder, ours, bare, options, keep, log):
    """Runs every series, size by size, round by round."""
    client = folder / "echo_client"
    servers = {
        "round trip, 10 of the connections at work": (ours, lambda count: (10, count - 10)),
        "round trip, all connections at work": (ours, lambda count: (count, 0)),
        "the same, bare epoll loop": (bare, lambda count: (count, 0)),
    }
    requests = REQUESTS // (5 if options.quick else 1)
    for turn in range(min(options.rounds, 3)):
        for count in CONNECTIONS:
            for series, (program, split) in servers.items():
                active, idle = split(count)
                load = loads.echo_load(client, active, idle)
                with announced([program]) as running:
                    figures = load(running, requests, cpu_watch, "/")
                keep(table="growth", series=series, size=count, round=turn, **figures)
        for others in OTHERS:
            for series, part in IN_PROCESS.items():
                figures = parts.run_part(folder, parts.OURS, f"{part}+{others}", False)
                keep(table="growth", series=series, size=others, round=turn, cpu_us=figures["ns"] / 1000)
        log(f"  growth: round {turn + 1}")


def curves(records):
    """For each series its best cost by size: {name: [(size, µs)]}."""
    found = {}
    for record in (r for r in records if r["table"] == "growth"):
        sizes = found.setdefault(record["series"], {})
        sizes[record["size"]] = min(record["cpu_us"], sizes.get(record["size"], float("inf")))
    return {series: sorted(sizes.items()) for series, sizes in found.items()}


def table(records):
    sizes = sorted({size for points in curves(records).values() for size, _ in points})
    rows = [["µs of CPU for one", *(f"{size:,}" for size in sizes)]]
    for series, points in curves(records).items():
        costs = dict(points)
        cells = [f"{costs[size]:.3g} ({costs[size] / points[0][1]:.2f}×)" if size in costs else "-" for size in sizes]
        rows.append([series, *cells])
    words = "Best round; in brackets the multiple of what it is with the least. Connections are limited by descriptors."
    return f"## {TITLE}\n\n{words}\n\n{report.grid(rows)}"


def chart(records):
    return plot.lines(f"{TITLE} (multiples of the least)", curves(records)) if curves(records) else None


def verdicts(records):
    for series in FLAT:
        points = curves(records).get(series)
        if not points:
            yield None, f"growth, {series}: not measured"
            continue
        (_, least), (size, most) = points[0], max(points, key=lambda point: point[1])
        yield most / least <= LIMIT, f"growth, {series}: {most / least:.2f} × at {size:,}, wanted at most {LIMIT} ×"
