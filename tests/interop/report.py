"""What a peer says on standard output, one line a check; tests/support/peer.rs reads it."""

import sys


def version(text):
    print("version", text, flush=True)


def check(name, act, *arguments):
    """Runs one check: it fails when it raises."""
    try:
        act(*arguments)
    except Exception as error:  # the next checks are worth seeing too
        print(f"failed {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
    else:
        print("ok", name, flush=True)


def skipped(name, why):
    print(f"skipped {name}: {why}", flush=True)


def same(found, wanted):
    if found != wanted:
        raise AssertionError(f"{str(found)[:200]!r} instead of {str(wanted)[:200]!r}")


def pattern(length):
    """Bytes in which a lost or doubled piece shows."""
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def wait():
    """Lets the test do its part, such as stopping the server, in the middle of a check."""
    print("waiting", flush=True)
    sys.stdin.readline()
