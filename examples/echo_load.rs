//! Loads a TCP echo server and checks every byte that comes back.
//!
//! `cargo run --release --example echo_load -- --addr 127.0.0.1:7000 --concurrency 64 --duration 10`
//!
//! A connection is a task that makes rounds: it writes its messages and reads their echoes at the same time, so that a
//! round may be larger than all the buffers between here and the server. `--help` tells the arguments, what the report
//! says and the codes.

#[path = "support/latency.rs"]
mod latency;
#[path = "support/load_line.rs"]
mod load_line;
#[path = "support/load_report.rs"]
mod load_report;
#[path = "support/tell.rs"]
mod tell;

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, pending, poll_fn},
    io::{self, Write},
    pin::pin,
    process::{self, ExitCode},
    rc::Rc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use latency::Latencies;
use load_line::{HELP, LoadLine, Output};
use load_report::{Progress, Report};
use tell::tell;
use wakering::{
    net::{TcpConnector, TcpStream},
    signal::{self, Kind, Signal},
    spawn,
    time::{sleep, timeout},
};

/// Connections that are made at the same time: a listener's queue holds as many on every system.
const CONNECTING: usize = 100;
/// A prime, so that no message is like the one before it.
const PATTERN: usize = 65_521;
/// How far apart in the pattern two connections begin.
const STEP: usize = 7_919;
/// The code of a process that a signal ended: as a shell reports one that Ctrl-C killed.
const SIGNALLED: u8 = 130;

fn main() -> ExitCode {
    let line = match LoadLine::parse(std::env::args_os()) {
        Ok(Some(line)) => line,
        Ok(None) => {
            return ExitCode::from(u8::from(io::stdout().write_all(HELP.as_bytes()).is_err()));
        }
        Err(error) => {
            tell!("echo_load: {}", error.to_string().replace('\n', " "));
            return ExitCode::from(2);
        }
    };
    let error = match wakering::run(run(Rc::new(line))) {
        Ok(Ok(Outcome::Whole)) => return ExitCode::SUCCESS,
        Ok(Ok(Outcome::NotBegun)) => {
            tell!("echo_load: a signal came before the measured rounds");
            return ExitCode::from(SIGNALLED);
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tell!("echo_load: {error}");
    ExitCode::FAILURE
}

/// How a run ended that met no fault.
enum Outcome {
    /// With a report, also when a signal shortened it.
    Whole,
    /// By a signal, before there was anything to report.
    NotBegun,
}

async fn run(line: Rc<LoadLine>) -> Result<Outcome, Fault> {
    let mut signals = signal::any([Kind::INTERRUPT, Kind::TERMINATE]).map_err(Fault::System)?;
    let begun = unless(&mut signals, begin(&line)).await;
    let Some(begun) = begun else { return Ok(Outcome::NotBegun) };
    let connections = begun.map_err(|fault| without_rounds(&line, fault))?;
    let load = Measured::start(line.clone(), line.duration, connections);
    let progress = spawn(show_progress(load.clone()));
    let ended = unless(&mut signals, load.end()).await;
    progress.abort();
    let stats = load.stats.borrow();
    let report = Report {
        line: &line,
        elapsed: load.elapsed(ended.is_none()),
        latencies: &stats.latencies,
        interrupted: ended.is_none(),
        error: ended.as_ref().and_then(|ended| ended.as_ref().err()).map(ToString::to_string),
    };
    report.print().map_err(Fault::System)?;
    ended.unwrap_or(Ok(())).map(|()| Outcome::Whole)
}

/// The fault, told by the report of a run that has measured nothing where it is read by a program.
fn without_rounds(line: &LoadLine, fault: Fault) -> Fault {
    if line.output == Output::Text {
        return fault;
    }
    let (elapsed, latencies) = (Duration::ZERO, &Latencies::new());
    let report = Report { line, elapsed, latencies, interrupted: false, error: Some(fault.to_string()) };
    report.print().err().map_or(fault, Fault::System)
}

/// The output of `future`, or `None` if a signal comes first. After that a second one ends the process.
async fn unless<F: Future>(signals: &mut Signal, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let output = poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => signals.poll_recv(cx).map(|_| None),
    })
    .await;
    if output.is_none() {
        let again = signal::any([Kind::INTERRUPT, Kind::TERMINATE]);
        spawn(async move {
            if let Ok(mut signals) = again {
                drop(signals.recv().await);
                process::exit(SIGNALLED.into());
            }
        });
    }
    output
}

/// All that comes before the measured rounds.
async fn begin(line: &Rc<LoadLine>) -> Result<Vec<Connection>, Fault> {
    let ready = RefCell::new(Vec::new());
    let most = line.timeout.saturating_mul(2);
    let progress = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            load_report::show_connecting(ready.borrow().len(), line.concurrency);
        }
    };
    let mut progress = pin!(progress);
    let mut prepared = pin!(timeout(most, prepare(line, &ready)));
    let prepared = poll_fn(|cx| {
        // It never ends by itself.
        let _: Poll<std::convert::Infallible> = progress.as_mut().poll(cx);
        prepared.as_mut().poll(cx)
    });
    match prepared.await {
        Ok(prepared) => prepared?,
        Err(_late) => {
            return Err(Fault::Slow { made: ready.borrow().len(), of: line.concurrency, after: most });
        }
    }
    let connections = ready.take();
    if line.warm_up.is_zero() {
        return Ok(connections);
    }
    let warm_up = Measured::start(line.clone(), line.warm_up, connections);
    warm_up.end().await?;
    Ok(warm_up.connections())
}

/// Connects, and makes the first round of every connection: what accepting costs is not measured.
async fn prepare(line: &Rc<LoadLine>, ready: &RefCell<Vec<Connection>>) -> Result<(), Fault> {
    let pattern = Rc::new(Pattern::new());
    let made = || ready.borrow().len();
    while made() < line.concurrency {
        let numbers = made()..line.concurrency.min(made() + CONNECTING);
        let connecting: Vec<_> = numbers
            .map(|number| {
                let (line, pattern) = (line.clone(), pattern.clone());
                spawn(async move {
                    let mut connection = Connection::open(&line, number, pattern).await?;
                    connection.round(&line).await.map(|_| connection)
                })
            })
            .collect();
        for connection in connecting {
            let connection = connection.await.map_err(|error| Fault::System(io::Error::other(error)))??;
            ready.borrow_mut().push(connection);
        }
    }
    Ok(())
}

async fn show_progress(load: Rc<Measured>) {
    let mut progress = Progress::new(&load.line);
    loop {
        sleep(Duration::from_secs(1)).await;
        progress.show(load.began.elapsed(), load.stats.borrow().latencies.count);
    }
}

/// A stretch of time in which all connections make rounds.
struct Measured {
    line: Rc<LoadLine>,
    began: Instant,
    until: Instant,
    stats: RefCell<Stats>,
    at_work: Cell<usize>,
    waiting: RefCell<Option<Waker>>,
}

struct Stats {
    latencies: Latencies,
    last: Instant,
    rested: Vec<Connection>,
    fault: Option<Fault>,
}

impl Measured {
    fn start(line: Rc<LoadLine>, duration: Duration, connections: Vec<Connection>) -> Rc<Measured> {
        let began = Instant::now();
        // A year is as good as for ever, and every system's clock can tell it.
        let until = began + duration.min(Duration::from_secs(365 * 24 * 3600));
        let stats = Stats { latencies: Latencies::new(), last: began, rested: Vec::new(), fault: None };
        let load = Rc::new(Measured {
            line,
            began,
            until,
            stats: RefCell::new(stats),
            at_work: Cell::new(connections.len()),
            waiting: RefCell::new(None),
        });
        for connection in connections {
            spawn(load.clone().work(connection));
        }
        load
    }

    /// Makes rounds until the time is over or something is wrong.
    async fn work(self: Rc<Self>, mut connection: Connection) {
        loop {
            match connection.round(&self.line).await {
                Ok((latency, now)) => {
                    let mut stats = self.stats.borrow_mut();
                    stats.latencies.add(latency);
                    stats.last = now;
                    if now < self.until {
                        continue;
                    }
                    stats.rested.push(connection);
                }
                Err(fault) => _ = self.stats.borrow_mut().fault.get_or_insert(fault),
            }
            break;
        }
        self.at_work.set(self.at_work.get() - 1);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Resolves when every connection has finished its last round, or with the first fault.
    async fn end(&self) -> Result<(), Fault> {
        poll_fn(|cx| {
            if let Some(fault) = self.stats.borrow_mut().fault.take() {
                return Poll::Ready(Err(fault));
            }
            if self.at_work.get() == 0 {
                return Poll::Ready(Ok(()));
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn connections(&self) -> Vec<Connection> {
        std::mem::take(&mut self.stats.borrow_mut().rested)
    }

    /// From the beginning to the end of the last round, or until now if the run is broken off.
    fn elapsed(&self, broken_off: bool) -> Duration {
        let end = if broken_off { Instant::now() } else { self.stats.borrow().last };
        end.duration_since(self.began)
    }
}

/// One connection, and where it is in the pattern.
struct Connection {
    stream: TcpStream,
    number: usize,
    pattern: Rc<Pattern>,
    position: usize,
}

impl Connection {
    async fn open(line: &LoadLine, number: usize, pattern: Rc<Pattern>) -> Result<Connection, Fault> {
        let connecting = async {
            let stream = TcpConnector::new().happy_eyeballs(true).connect(&line.addrs[..]).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let connected = timeout(line.timeout, connecting).await;
        let connected = connected.unwrap_or_else(|_| {
            let text = format!("cannot connect to {}: no answer within {:?}", line.addr, line.timeout);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        });
        let stream = connected.map_err(|error| Fault::Connect { number, of: line.concurrency, error })?;
        Ok(Connection { stream, number, pattern, position: number * STEP % PATTERN })
    }

    /// Sends the messages of a round while it reads their echoes; says how long that took and when it ended.
    async fn round(&mut self, line: &LoadLine) -> Result<(Duration, Instant), Fault> {
        let began = Instant::now();
        let (total, back) = (line.round(), Cell::new(0));
        let number = self.number;
        let fault = |what| Fault::Round { number, back: back.get(), line: line.clone(), what };
        match timeout(line.timeout, self.exchange(total, &back)).await {
            Ok(Ok(())) => {}
            Ok(Err(what)) => return Err(fault(what)),
            Err(_) => return Err(fault(What::Late)),
        }
        self.position = (self.position + total) % PATTERN;
        let now = Instant::now();
        Ok((now - began, now))
    }

    async fn exchange(&mut self, total: usize, back: &Cell<usize>) -> Result<(), What> {
        let (pattern, position) = (&*self.pattern, self.position);
        let (mut reader, mut writer) = self.stream.split();
        let mut write = pin!(async {
            let mut sent = 0;
            while sent < total {
                sent += writer.write(pattern.at(position + sent, total - sent)).await.map_err(What::Send)?;
            }
            // The round ends with what is read.
            pending().await
        });
        let mut read = pin!(async {
            while back.get() < total {
                let check = |bytes: &[u8]| pattern.check(position, back, total, bytes);
                reader.read_with(check).await.map_err(What::Receive)??;
            }
            Ok(())
        });
        poll_fn(|cx| match write.as_mut().poll(cx) {
            Poll::Pending => read.as_mut().poll(cx),
            Poll::Ready(failed) => Poll::Ready(failed),
        })
        .await
    }
}

/// Bytes without rhyme that repeat after a prime; twice in a row, so that a piece that begins anywhere is whole.
struct Pattern(Vec<u8>);

impl Pattern {
    fn new() -> Pattern {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let once: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(PATTERN)
        .collect();
        Pattern(once.repeat(2))
    }

    /// At most so many bytes from a position on, at least one if one is asked for.
    fn at(&self, position: usize, most: usize) -> &[u8] {
        &self.0[position % PATTERN..][..most.min(PATTERN)]
    }

    /// Compares what came with what is due in the round that begins at `position`, and counts what was right.
    fn check(&self, position: usize, back: &Cell<usize>, total: usize, bytes: &[u8]) -> Result<(), What> {
        if bytes.is_empty() {
            return Err(What::Closed);
        }
        if bytes.len() > total - back.get() {
            return Err(What::Surplus(bytes.len() - (total - back.get())));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let due = self.at(position + back.get(), rest.len());
            let (now, later) = rest.split_at(due.len());
            if let Some(at) = first_difference(now, due) {
                back.set(back.get() + at);
                return Err(What::Wrong { came: now[at], due: due[at] });
            }
            back.set(back.get() + now.len());
            rest = later;
        }
        Ok(())
    }
}

fn first_difference(came: &[u8], due: &[u8]) -> Option<usize> {
    if came == due { None } else { came.iter().zip(due).position(|(came, due)| came != due) }
}

/// Why a run failed.
enum Fault {
    Connect {
        number: usize,
        of: usize,
        error: io::Error,
    },
    /// Connecting took too long in all.
    Slow {
        made: usize,
        of: usize,
        after: Duration,
    },
    Round {
        number: usize,
        back: usize,
        line: LoadLine,
        what: What,
    },
    System(io::Error),
}

/// What was wrong with a round.
enum What {
    Wrong { came: u8, due: u8 },
    Surplus(usize),
    Closed,
    Late,
    Send(io::Error),
    Receive(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, back, line, what) = match self {
            Fault::Connect { number, of, error } => {
                return write!(f, "connection {} of {of}: {error}", number + 1);
            }
            Fault::Slow { made, of, after } => {
                return write!(
                    f,
                    "connecting took longer than {after:?}: {made} of {of} connections were made"
                );
            }
            Fault::Round { number, back, line, what } => (number + 1, back, line, what),
            Fault::System(error) => return error.fmt(f),
        };
        write!(f, "connection {number}: ")?;
        let so_far = format!("{back} of {} bytes of a round had come back", line.round());
        match what {
            What::Wrong { came, due } => {
                let (byte, message) = (back % line.msize, back / line.msize + 1);
                write!(
                    f,
                    "byte {byte} of message {message} came back as {came:#04x} and was sent as {due:#04x}"
                )
            }
            What::Surplus(count) => write!(f, "{count} bytes more came back than were sent"),
            What::Closed => write!(f, "the server closed the connection when {so_far}"),
            What::Late => write!(f, "no whole echo within {:?}: {so_far}", line.timeout),
            What::Send(error) => write!(f, "sending failed when {so_far}: {error}"),
            What::Receive(error) => write!(f, "receiving failed when {so_far}: {error}"),
        }
    }
}
