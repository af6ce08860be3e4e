"""A cold release build of a server that says hello over HTTP/2, dependencies and all: ours, and tokio with hyper."""

import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

import report
from harness import Failed

TITLE = "Cold release build of a hello server"
SECONDS = 900
CRATES = 14
RATIO = 0.6

OURS = """\
use wakering::http::{Body, Request, Response, Server};
use wakering::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    wakering::run(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Server::start(listener, |_: Request<Body>| async { Response::new(Body::from("hello")) })?;
        wakering::signal::ctrl_c().await?;
        server.stop(std::time::Duration::from_secs(5)).await;
        Ok(())
    })?
}
"""

HYPER = """\
use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let service = hyper::service::service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
        });
        tokio::spawn(async move {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
"""

HYPER_CRATES = """\
http-body-util = "0.1"
hyper = { version = "1", features = ["server", "http2"] }
hyper-util = { version = "0.1", features = ["tokio"] }
tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "signal"] }
"""


def measure(root, keep, log):
    """Builds each once, from nothing, what is to be downloaded aside."""
    for name, code, crates in (
        ("wakering", OURS, f'wakering = {{ path = "{root}" }}\n'),
        ("tokio and hyper", HYPER, HYPER_CRATES),
    ):
        with tempfile.TemporaryDirectory() as folder:
            keep(table="build", server=name, **cold(pathlib.Path(folder), code, crates))
        log(f"  build: {name}")


def cold(folder, code, crates):
    """Seconds of the clock and of CPU, and how many crates were compiled."""
    (folder / "src").mkdir()
    (folder / "src/main.rs").write_text(code)
    manifest = '[package]\nname = "hello"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n'
    (folder / "Cargo.toml").write_text(manifest + crates)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder / "target")}
    environment.pop("RUSTFLAGS", None)
    run = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": SECONDS}
    subprocess.run(["cargo", "fetch"], check=True, **run)
    before, started = children_seconds(), time.monotonic()
    built = subprocess.run(["cargo", "build", "--release"], **run)
    wall, cpu = time.monotonic() - started, children_seconds() - before
    if built.returncode:
        raise Failed(f"cargo build: {built.stderr[-500:]}")
    compiled = sum(line.strip().startswith("Compiling") for line in built.stderr.splitlines())
    size = (folder / "target/release/hello").stat().st_size
    shutil.rmtree(folder / "target")
    # The server itself is no dependency.
    return {"wall_s": wall, "cpu_s": cpu, "crates": compiled - 1, "program_bytes": size}


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(records):
    rows = [["server", "CPU seconds", "seconds", "crates", "program"]]
    for r in (r for r in records if r["table"] == "build"):
        size = f"{r['program_bytes'] / 1e6:.1f} MB"
        rows.append([r["server"], f"{r['cpu_s']:.1f}", f"{r['wall_s']:.1f}", str(r["crates"]), size])
    return f"## {TITLE}\n\nFrom nothing, what is downloaded aside.\n\n{report.grid(rows)}"


def verdicts(records):
    found = {r["server"]: r for r in records if r["table"] == "build"}
    ours, theirs = found["wakering"], found["tokio and hyper"]
    ratio = ours["cpu_s"] / theirs["cpu_s"]
    yield ratio <= RATIO, f"build, CPU: {ratio:.2f} × tokio and hyper, wanted at most {RATIO} ×"
    yield ours["crates"] <= CRATES, f"build, crates: {ours['crates']}, wanted at most {CRATES}"
