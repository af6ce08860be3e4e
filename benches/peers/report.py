"""Records in, words out: the tables, the targets and the page docs/benchmarks.md."""

import platform
import shutil
import subprocess
import tomllib


def values(records, key, **where):
    """The figures `key` of the records that match."""
    return [r[key] for r in records if key in r and all(r.get(name) == value for name, value in where.items())]


def grid(rows):
    """A Markdown table, padded so that it also reads as plain text; the first column to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row):
        cells = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def by_column(head, table, cell):
    """A grid with a row for each server and a column for each load."""
    rows = [[head, *table.columns]]
    for server in table.servers:
        rows.append([server, *(cell(server, column) for column in table.columns)])
    return grid(rows)


def table(name, table, records):
    """All that was measured for one table."""

    def found(key, server, column):
        return values(records, key, table=name, server=server, column=column)

    timed = [r for r in records if r["table"] == name and "cpu_us" in r]

    def cost(server, column):
        spent = found("cpu_us", server, column)
        base = found("cpu_us", table.baseline, column)
        if not spent:
            return "-"
        ratio = f"{min(spent) / min(base):.2f}×" if base else "-"
        return f"{min(spent):.2f} +{(max(spent) / min(spent) - 1) * 100:.0f} % {ratio}"

    def rate(server, column):
        rates = [r["per_second"] for r in timed if (r["server"], r["column"]) == (server, column)]
        return f"{max(rates):,.0f}" if rates else "-"

    def calls(server, column):
        every, writes = found("calls_all", server, column), found("calls_writes", server, column)
        return f"{every[0]:.3f} ({writes[0]:.3f})" if every else "-"

    def counted(server, column):
        every, writes = found("calls_all", server, column), found("calls_writes", server, column)
        requests = table.columns[column][1]
        return f"{writes[0] * requests:,.0f} ({every[0] * requests:,.0f})" if every else "-"

    memory = [["server", "resident, alone", "with 1,000 idle", "per idle connection"]]
    for server in table.servers:
        alone, full, each = (
            values(records, key, table=name, server=server) for key in ("rss_alone", "rss_full", "idle_bytes")
        )
        if alone:
            memory.append([server, f"{alone[0] / 1e6:.1f} MB", f"{full[0] / 1e6:.1f} MB", f"{each[0] / 1024:.1f} KiB"])
    parts = [f"## {table.title}"]
    if table.timed:
        parts += [
            f"Server CPU, µs per request: best round, spread of the rounds, ratio to {table.baseline}.",
            by_column("server", table, cost),
            "System calls per request, of which write calls in brackets.",
            by_column("server", table, calls),
            "Requests per second (best round; the load shares the machine).",
            by_column("server", table, rate),
        ]
    else:
        parts += ["Write calls, and all system calls in brackets.", by_column("server", table, counted)]
    if table.hold:
        parts += ["Memory; an idle connection has had one request answered.", grid(memory)]
    return "\n\n".join(parts)


def groups(name, table, records):
    """What a chart of the table shows: for each column the servers' best cost and its ratio to the baseline."""
    shown = []
    for column in table.columns:
        best = {}
        for server in table.servers:
            if spent := values(records, "cpu_us", table=name, server=server, column=column):
                best[server] = min(spent)
        if base := best.get(table.baseline):
            shown.append((column, [(server, cost, cost / base) for server, cost in best.items()]))
    return shown


KINDS = {"cpu_us": "server CPU", "calls_writes": "write calls", "idle_bytes": "bytes per idle connection"}


def verdict(name, target, records):
    """Whether a target is met (None when it was not measured), and a sentence."""
    where = {"column": target.column} if target.column else {}
    what = " ".join(filter(None, [name, target.column])) + ", " + KINDS[target.key]
    mine = values(records, target.key, table=name, server=target.server, **where)
    what = what if target.peer is None or target.server == "wakering" else f"{what}, {target.server}"
    theirs = values(records, target.key, table=name, server=target.peer, **where) if target.peer else [1]
    if not mine or not theirs:
        return None, f"{what}: not measured"
    figure = min(mine) / min(theirs)
    met = figure <= target.limit
    seen = f"{figure:.3f} × {target.peer}" if target.peer else f"{figure:,.0f}"
    want = f"{target.limit:,} ×" if target.peer else f"{target.limit:,}"
    return met, f"{what}: {seen}, wanted at most {want}: {'met' if met else 'MISSED'}"


def first_line(*command):
    """The first line that a command prints, or `absent`."""
    if not shutil.which(command[0]):
        return "absent"
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return (result.stdout or result.stderr).strip().splitlines()[0]


def cpu_model():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def page(now, root, here, options, body):
    """The text of docs/benchmarks.md."""
    locked = tomllib.loads((here / "Cargo.lock").read_text())["package"]
    crates = {package["name"]: package["version"] for package in locked}
    names = ("tokio", "smol", "async-executor", "async-io", "async-task", "monoio", "hyper", "h2", "loona-hpack")
    peers = ", ".join(f"{name} {crates[name]}" for name in (*names, "rtrb", "crossbeam-queue"))
    commit = first_line("git", "-C", str(root), "rev-parse", "--short", "HEAD")
    command = "benches/peers/run" + "".join(
        [" --quick" if options.quick else "", *(f" --table {name}" for name in options.table or [])]
    )
    return f"""# Benchmarks

Written by `{command} --rounds {options.rounds} --record`; do not edit. Server and load are pinned to a core each, on loopback; a
server with two workers has both cores, and shares one with the load. The servers take turns round by round. Read the
ratios: absolute figures drift with the machine.

- date: {now:%Y-%m-%d %H:%M %Z}, commit {commit}
- machine: {cpu_model()}, {platform.system()} {platform.release()}
- built by {first_line("rustc", "--version")}: {peers}
- installed: {first_line("h2o", "--version")}; {first_line("nghttpd", "--version")}; {first_line("h2load", "--version")}

CPU of a server is the time on CPU of all its threads, in nanoseconds, from `/proc/PID/task/*/schedstat`, between two
points at which it is at rest, divided by the requests between them. System calls are counted in a pass of their own.

Parts run in process, each rival in a program of its own: one thread is timed by its CPU time, the best of five samples;
two threads, pinned to a core each, by the clock, in the middle of a thousand bursts or the best of thirty runs. Memory
is what the allocator handed out and did not get back, in the blocks of glibc's malloc.

{body}
"""
