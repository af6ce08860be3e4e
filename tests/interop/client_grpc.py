"""grpcio's client against examples/grpc_echo; messages are raw bytes. Arguments: HOST:PORT, or https://HOST:PORT, where
WAKERING_AUTHORITY names the file of the certificate that is trusted, and `proxied` when something stands between."""

import os
import pathlib
import queue
import sys

import grpc

from report import check, pattern, same, skipped, version, wait

SERVICE = "/wakering.Echo/"
LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
LONG = 60  # seconds; only a call that hangs waits so long

if sys.argv[1].startswith("https://"):
    trust = grpc.ssl_channel_credentials(pathlib.Path(os.environ["WAKERING_AUTHORITY"]).read_bytes())
    channel = grpc.secure_channel(sys.argv[1].removeprefix("https://"), trust, options=LIMITS)
else:
    channel = grpc.insecure_channel(sys.argv[1], options=LIMITS)
unary = channel.unary_unary
version(f"grpcio {grpc.__version__}")


def fails_with(code, act):
    try:
        act()
    except grpc.RpcError as error:
        same(error.code(), code)
        return error
    raise AssertionError(f"no error instead of {code}")


def echo(*messages):
    for message in messages:
        same(unary(SERVICE + "Unary")(message, timeout=LONG), message)


def several_at_once():
    calls = [unary(SERVICE + "Unary").future(b"call %d" % n, timeout=LONG) for n in range(200)]
    for n, call in enumerate(calls):
        same(call.result(), b"call %d" % n)


def client_streaming():
    parts = [b"part %d " % n for n in range(1000)]
    same(channel.stream_unary(SERVICE + "Join")(iter(parts), timeout=LONG), b"".join(parts))


def client_streaming_cut_short():
    endless = (b"%d" % n for n in range(10**9))
    same(channel.stream_unary(SERVICE + "First")(endless, timeout=LONG), b"0")


def server_streaming():
    answers = channel.unary_stream(SERVICE + "Count")(b"1000", timeout=LONG)
    same([int(answer) for answer in answers], list(range(1000)))


def ping_pong():
    questions = queue.SimpleQueue()
    answers = channel.stream_stream(SERVICE + "Chat")(iter(questions.get, None), timeout=LONG)
    for n in range(200):
        questions.put(b"%d" % n)
        same(next(answers), b"%d" % n)
    questions.put(None)
    same(list(answers), [])


def large_both_ways():
    parts = [pattern(1 << 20)] * 10
    same(list(channel.stream_stream(SERVICE + "Chat")(iter(parts), timeout=LONG)), parts)


def error_status():
    error = fails_with(grpc.StatusCode.FAILED_PRECONDITION, lambda: unary(SERVICE + "Fail")(b"9", timeout=LONG))
    same(error.details(), "as you wished: 100 % ✗")


def error_after_messages():
    call = channel.unary_stream(SERVICE + "Count")(b"no number", timeout=LONG)
    fails_with(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(call))


def unknown_method():
    fails_with(grpc.StatusCode.UNIMPLEMENTED, lambda: unary(SERVICE + "Nothing")(b"", timeout=LONG))


def too_large():
    call = lambda: unary(SERVICE + "Unary")(bytes(17 << 20), timeout=LONG)
    fails_with(grpc.StatusCode.RESOURCE_EXHAUSTED, call)


def waits(begun, ended):
    # The server may learn of either a moment later.
    for _ in range(5000):
        answer = unary(SERVICE + "Waits")(b"", timeout=LONG)
        if answer == b"%d %d" % (begun, ended):
            return
    raise AssertionError(f"{answer} calls of Wait have begun and ended, not {begun} and {ended}")


def deadline():
    fails_with(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: unary(SERVICE + "Wait")(b"", timeout=0.2))
    waits(1, 1)


def cancelled_call():
    call = unary(SERVICE + "Wait").future(b"", timeout=LONG)
    waits(2, 1)
    call.cancel()
    waits(2, 2)


def cancelled_stream():
    answers = channel.unary_stream(SERVICE + "Count")(b"1000000000", timeout=LONG)
    same([next(answers), next(answers)], [b"0", b"1"])
    answers.cancel()
    echo(b"the channel goes on")


def graceful_close():
    answers = channel.unary_stream(SERVICE + "Count")(b"100000", timeout=LONG)
    same(next(answers), b"0")
    wait()
    same(sum(1 for _ in answers), 99999)


def early(name, act):
    """An answer before the end of the upload."""
    if "proxied" in sys.argv:
        skipped(name, "whoever passes it on may cancel the upload first")
    else:
        check(name, act)


check("unary", echo, b"hello", bytes(range(256)))
check("empty message", echo, b"")
check("8 MiB message", echo, pattern(8 << 20))
check("200 calls at once", several_at_once)
check("client streaming", client_streaming)
early("client streaming answered early", client_streaming_cut_short)
check("server streaming", server_streaming)
check("bidirectional, one by one", ping_pong)
check("bidirectional, 10 MiB each way", large_both_ways)
check("error status", error_status)
check("error instead of messages", error_after_messages)
check("unknown method", unknown_method)
early("message over the limit", too_large)
check("deadline exceeded", deadline)
check("cancelled call", cancelled_call)
check("cancelled stream", cancelled_stream)
check("graceful close", graceful_close)
channel.close()
