"""requests' client, which speaks HTTP/1.1, against examples/h2_server. Argument: http://HOST:PORT or https://HOST:PORT."""

import sys
from concurrent.futures import ThreadPoolExecutor

import requests

from report import check, pattern, same, version, wait

TEN_MIB = 10 << 20
BASE = sys.argv[-1]

session = requests.Session()
version(f"requests {requests.__version__}")


def ask(method, path, **more):
    answer = session.request(method, BASE + path, timeout=60, **more)
    same((answer.raw.version, answer.status_code), (11, 200))
    return answer


def get():
    same(ask("GET", "/").text, "Hello, World!")


def head():
    answer = ask("HEAD", "/")
    same((answer.headers["content-length"], answer.content), ("13", b""))


def echo(content):
    same(ask("POST", "/echo", data=content).content, content)


def form():
    answer = ask("POST", "/echo", data={"name": "a&b", "empty": ""})
    same((answer.headers["content-type"], answer.text), ("application/x-www-form-urlencoded", "name=a%26b&empty="))


def json():
    same(ask("GET", "/json").json(), {"message": "Hello, World!"})


def up_and_back():
    """It reads no answer before its content is sent: what comes back meanwhile lies in the sockets' buffers."""
    same(ask("POST", "/count", data=pattern(TEN_MIB)).text, str(TEN_MIB))
    echo(pattern(300_000))


def chunked_upload():
    parts = [pattern(50_000)] * 6
    same(ask("POST", "/echo", data=iter(parts)).content, b"".join(parts))


def file_upload():
    sent = ask("POST", "/echo", files={"file": ("name", pattern(300_000))})
    same(pattern(300_000) in sent.content, True)


def streamed():
    answer = ask("GET", f"/bytes?n={TEN_MIB}", stream=True)
    same(sum(len(part) for part in answer.iter_content(70_000)), TEN_MIB)


def cancelled():
    """What is not read to its end costs the connection, and nothing else."""
    for _ in range(20):
        with ask("GET", "/bytes?n=1000000000000", stream=True) as answer:
            same(len(next(answer.iter_content(100_000))), 100_000)
    get()


def at_once():
    with ThreadPoolExecutor(20) as threads:
        answers = threads.map(lambda n: ask("POST", "/echo", data=b"%d" % n).content, range(90))
        same(list(answers), [b"%d" % n for n in range(90)])


def graceful_close():
    answer = ask("GET", f"/bytes?n={TEN_MIB}", stream=True)
    wait()
    same(sum(len(part) for part in answer.iter_content(70_000)), TEN_MIB)


check("GET", get)
check("HEAD", head)
check("JSON", json)
check("POST echoed", echo, b"some words")
check("empty POST", echo, b"")
check("form", form)
check("10 MiB down", streamed)
check("10 MiB up, 300 kB up and back", up_and_back)
check("upload of unknown length", chunked_upload)
check("file of a form", file_upload)
check("90 requests by 20 threads", at_once)
check("cancelled downloads", cancelled)
check("graceful close", graceful_close)
session.close()
