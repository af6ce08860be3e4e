"""Processes of a measurement: started pinned, looked at through /proc, always ended.

Nothing here outlives the driver: every child asks the kernel to be killed with its parent, and the driver kills
what is left when it ends, however it ends. Every wait has a limit.
"""

import atexit
import contextlib
import ctypes
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

STEP_SECONDS = 120
START_SECONDS = 10
PR_SET_PDEATHSIG = 1

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[1] if len(CORES) > 1 else CORES[0]

_children = set()
_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A measurement that could not be made, with the reason."""


def spawn(command, core, **options):
    """Starts a command on one core, or on all when that is None; it is killed when the driver ends.

    Where it may (root), it gets the core before everybody else: what else runs on the machine would empty the
    caches between two requests, and that is no property of the server.
    """

    def settle():
        os.sched_setaffinity(0, CORES if core is None else {core})
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    child = subprocess.Popen([str(word) for word in command], preexec_fn=settle, **options)
    _children.add(child)
    return child


def end(child, first=signal.SIGTERM):
    """Ends a child politely, then not."""
    _children.discard(child)
    if child.poll() is None:
        child.send_signal(first)
        try:
            child.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(START_SECONDS)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


@atexit.register
def _end_all():
    for child in list(_children):
        end(child, signal.SIGKILL)


def end_on_signals():
    """Turns the signals that would end the driver at once into an ordinary exit."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def read_line(child, seconds):
    """One line of a child's standard output (an unbuffered pipe), or Failed."""
    line = b""
    limit = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([child.stdout], [], [], max(0, limit - time.monotonic()))
        piece = os.read(child.stdout.fileno(), 1) if ready else b""
        if not piece:
            why = "fell silent" if not ready else f"ended with code {child.wait(START_SECONDS)}"
            raise Failed(f"{child.args[0]} {why}")
        line += piece
    return line.decode().strip()


def free_port():
    """A port that nobody has at the moment, for servers that do not take port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def announced(command, core=SERVER_CORE):
    """A server of ours or of this package: yields (pid, address) once it says where it listens."""
    child = spawn([*command, "--addr", "127.0.0.1:0"], core, stdout=subprocess.PIPE, bufsize=0)
    try:
        line = read_line(child, START_SECONDS)
        if not line.startswith("listening on "):
            raise Failed(f"{command[0]} said {line!r}")
        yield child.pid, line.removeprefix("listening on ")
    finally:
        end(child)


@contextlib.contextmanager
def installed(command, files):
    """A server of the system's: `command` and `files` are made from (folder, port).

    Yields (pid, address) once the port answers.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, content in files(folder, port).items():
            (folder / name).write_text(content)
        quiet = subprocess.DEVNULL
        child = spawn(command(folder, port), SERVER_CORE, stdout=quiet, stderr=quiet)
        try:
            wait_for_port(child, port)
            yield child.pid, f"127.0.0.1:{port}"
        finally:
            end(child)


def wait_for_port(child, port):
    """Comes back when something accepts on the port."""
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit:
        if child.poll() is not None:
            raise Failed(f"{child.args[0]} ended with code {child.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise Failed(f"{child.args[0]} does not accept on port {port}")


def cpu_ns(pid):
    """Nanoseconds on CPU of all threads of a process."""
    total = 0
    for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            total += int(file.read_text().split()[0])
    return total


def rss_bytes(pid):
    """Resident memory of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"process {pid} has no VmRSS")


WRITES = ("write", "writev", "sendto", "sendmsg", "sendmmsg")


@contextlib.contextmanager
def cpu_watch(pid, requests):
    """Microseconds of CPU per request, of all threads of the server."""
    seen = {}
    before = cpu_ns(pid)
    yield seen
    seen["cpu_us"] = (cpu_ns(pid) - before) / 1000 / requests


@contextlib.contextmanager
def calls_watch(pid, requests):
    """System calls per request: all of them, and those that write.

    `perf stat` counts in the kernel and leaves the server's rhythm as it is; `strace -c` slows it, so that its
    batches grow. The dict stays empty where neither works.
    """
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "counts"
        with_perf = perf_counts_calls()
        if with_perf:
            events = ["raw_syscalls:sys_enter", *(f"syscalls:sys_enter_{name}" for name in WRITES)]
            command = ["perf", "stat", "-x,", "-o", output, "-p", pid, *(w for e in events for w in ("-e", e))]
        elif shutil.which("strace"):
            command = ["strace", "-c", "-f", "-o", output, "-p", pid]
        else:
            yield seen
            return
        counter = spawn(command, LOAD_CORE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        try:
            yield seen
        finally:
            end(counter, signal.SIGINT)
        text = output.read_text() if output.exists() else ""
        counts = perf_result(text) if with_perf else strace_result(text)
        seen.update({f"calls_{kind}": count / requests for kind, count in counts.items()})


def perf_counts_calls():
    """Tells whether `perf stat` may count system calls here."""
    if not shutil.which("perf"):
        return False
    probe = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]
    result = subprocess.run(probe, capture_output=True, text=True, timeout=START_SECONDS)
    return result.returncode == 0 and "not supported" not in result.stderr


def perf_result(text):
    """Reads `perf stat -x,`: value,unit,event,…"""
    values = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            values[fields[2]] = int(fields[0])
    if "raw_syscalls:sys_enter" not in values:
        return {}
    writes = sum(count for event, count in values.items() if event.startswith("syscalls:"))
    return {"all": values["raw_syscalls:sys_enter"], "writes": writes}


def strace_result(text):
    """Reads the table of `strace -c`: % time, seconds, usecs/call, calls, [errors,] syscall."""
    calls = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
            calls[fields[-1]] = int(fields[3])
    return {"all": sum(calls.values()), "writes": sum(calls.get(name, 0) for name in WRITES)} if calls else {}
