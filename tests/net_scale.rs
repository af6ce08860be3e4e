//! Many of everything, and nothing of it afterwards: connections that come and go, that are idle, timers, and one peer that
//! floods. The clients are another process, so that descriptors and memory are the server's alone.
//!
//! `WAKERING_SCALE=full` runs the full numbers where a run of the suite takes a tenth.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/net.rs"]
mod support;

use std::{
    env, fs,
    future::{Future, poll_fn},
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream as StdStream},
    pin::Pin,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use support::FOR_EVER;
use wakering::{
    Runtime,
    net::{TcpListener, TcpStream, listen::listen},
    spawn,
    time::{self, Sleep},
};

const ROLE: &str = "WAKERING_SCALE_ROLE";

/// What the issue of a run is: a tenth of it unless the full one is asked for.
fn scaled(full: usize) -> usize {
    if env::var("WAKERING_SCALE").is_ok_and(|it| it == "full") { full } else { full / 10 }
}

// ---- the client process

/// Connects from as many source ports as there are: every eight of them to another address of this host.
struct Clients {
    port: u16,
    open: Vec<StdStream>,
    flood: Option<Arc<AtomicBool>>,
}

impl Clients {
    fn connect(&self, number: usize) -> StdStream {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (number % 8) as u8), self.port));
        let stream = StdStream::connect(address).unwrap();
        stream.set_read_timeout(Some(FOR_EVER)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn ask(mut stream: &StdStream) {
        stream.write_all(&[7; 64]).unwrap();
        stream.read_exact(&mut [0; 64]).unwrap();
    }

    /// Opens connections, each with one question and its answer.
    fn open(&mut self, count: usize) {
        for number in 0..count {
            let stream = self.connect(number);
            Clients::ask(&stream);
            self.open.push(stream);
        }
    }

    /// Connections that come and go: every other one with a question, every third one ends with a reset.
    fn cycle(&self, count: usize) {
        for number in 0..count {
            let stream = self.connect(number);
            if number % 2 == 0 {
                Clients::ask(&stream);
            }
            if number % 3 == 0 {
                support::reset(stream);
            }
        }
    }

    /// The 99th hundredth of the time to an answer, in nanoseconds, over all open connections in turn.
    fn quiet(&self, rounds: usize) -> u128 {
        let mut times = Vec::with_capacity(rounds * self.open.len());
        for _ in 0..rounds {
            for stream in &self.open {
                let start = Instant::now();
                Clients::ask(stream);
                times.push(start.elapsed().as_nanos());
            }
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// One connection that sends as much as it can and reads what comes back.
    fn flood(&mut self) {
        let stop = Arc::new(AtomicBool::new(false));
        self.flood = Some(stop.clone());
        let mut sender = self.connect(0);
        let mut reader = sender.try_clone().unwrap();
        thread::spawn(move || {
            let bytes = vec![1; 1 << 16];
            while !stop.load(Ordering::Relaxed) && sender.write_all(&bytes).is_ok() {}
            drop(sender.shutdown(std::net::Shutdown::Write));
        });
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 18];
            while reader.read(&mut bytes).is_ok_and(|count| count > 0) {}
        });
    }

    fn obey(&mut self, order: &str) -> String {
        let (verb, number) = order.split_once(' ').unwrap_or((order, "0"));
        let number = number.parse().unwrap();
        match verb {
            "open" => self.open(number),
            "cycle" => self.cycle(number),
            "close" => self.open.clear(),
            "quiet" => return self.quiet(number).to_string(),
            "flood" => self.flood(),
            "calm" => self.flood.take().unwrap().store(true, Ordering::Relaxed),
            other => panic!("{other}"),
        }
        String::from("0")
    }
}

/// In the client process: obeys until its standard input ends.
fn clients() {
    let port = env::var(ROLE).unwrap().parse().unwrap();
    let mut clients = Clients { port, open: Vec::new(), flood: None };
    println!();
    for order in std::io::stdin().lines() {
        println!("done {}", clients.obey(order.unwrap().trim()));
    }
}

// ---- the server process

struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// `kind`: extra words before the program.
    fn start(test: &str, port: u16, kind: &[&str]) -> Peer {
        let program = env::current_exe().unwrap();
        let mut words = kind.to_vec();
        words.push(program.to_str().unwrap());
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--exact", test, "--nocapture"])
            .env(ROLE, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Peer { child, orders, answers: BufReader::new(answers) }
    }

    fn order(&mut self, order: &str) -> u64 {
        writeln!(self.orders, "{order}").unwrap();
        loop {
            let mut line = String::new();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the client process ended");
            if let Some(number) = line.trim().strip_prefix("done ") {
                return number.parse().unwrap();
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server that gives back what it gets, on a runtime of one worker on this thread, and its clients elsewhere.
struct Scene {
    runtime: Runtime,
    port: u16,
    peer: Option<Peer>,
    /// Connections that the clients have opened and closed so far.
    opened: usize,
    closed: usize,
}

impl Scene {
    fn start(test: &str) -> Scene {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let port = runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let serving = listen(listener).serve(|stream, _| {
                ACCEPTED.fetch_add(1, Ordering::Relaxed);
                let echoing = async move {
                    echo(stream).await;
                    ENDED.fetch_add(1, Ordering::Relaxed);
                };
                FUTURE.store(size_of_val(&echoing), Ordering::Relaxed);
                echoing
            });
            spawn(serving);
            port
        });
        let port = port.unwrap();
        Scene { runtime, port, peer: Some(Peer::start(test, port, &[])), opened: 0, closed: 0 }
    }

    /// Has the clients do something while the server serves them; returns their answer.
    fn order(&mut self, order: &str) -> u64 {
        let mut peer = self.peer.take().unwrap();
        let (verb, number) = order.split_once(' ').unwrap_or((order, "0"));
        let number: usize = number.parse().unwrap();
        match verb {
            "open" => self.opened += number,
            "cycle" => (self.opened, self.closed) = (self.opened + number, self.closed + number),
            "close" => self.closed = self.opened,
            _ => {}
        }
        let (opened, closed) = (self.opened, self.closed);
        let heard_of_all =
            move || ACCEPTED.load(Ordering::Relaxed) >= opened && ENDED.load(Ordering::Relaxed) >= closed;
        let order = order.to_owned();
        let obeyed = self.runtime.block_on(async move {
            let obeyed = wakering::spawn_blocking(move || {
                let answer = peer.order(&order);
                (peer, answer)
            });
            let obeyed = obeyed.unwrap().await.unwrap();
            let patience = Instant::now() + FOR_EVER / 2;
            while !heard_of_all() && Instant::now() < patience {
                time::sleep(Duration::from_millis(1)).await;
            }
            // It sleeps once more, with nothing to do.
            time::sleep(Duration::from_millis(20)).await;
            obeyed
        });
        let (peer, answer) = obeyed.unwrap();
        self.peer = Some(peer);
        answer
    }

    /// As `order`: how many more bytes this thread, which is the worker's, has allocated afterwards.
    fn growth(&mut self, orders: &[&str]) -> i64 {
        measure(|| {
            for order in orders {
                self.order(order);
            }
        })
        .bytes_current
    }
}

/// The size of `echo`'s future, which is the server's own state of a connection.
static FUTURE: AtomicUsize = AtomicUsize::new(0);
/// Connections that the server has taken, and those that it has seen the end of.
static ACCEPTED: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

async fn echo(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    loop {
        let left = reader.read_with(|bytes| {
            let written = writer.try_write(bytes).unwrap_or(0);
            (bytes.is_empty(), bytes[written..].to_vec())
        });
        match left.await {
            Ok((false, left)) if left.is_empty() => {}
            Ok((false, left)) if writer.write_all(&left).await.is_ok() => {}
            Ok(_) | Err(_) => return,
        }
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// What was closed last may be about to be closed by the server, too.
fn expect_descriptors(open: usize) {
    let patience = Instant::now() + Duration::from_secs(60);
    while descriptors() != open && Instant::now() < patience {
        thread::yield_now();
    }
    assert_eq!(descriptors(), open);
}

fn resident_kib() -> i64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).map_or(0, |pages| pages.parse::<i64>().unwrap() * 4)
}

/// Runs a test in a process of its own, since it counts what the process has; says whether this is that process.
fn alone(name: &str, test: fn(&str)) {
    const ALONE: &str = "WAKERING_SCALE_ALONE";
    if env::var_os(ROLE).is_some() {
        return clients();
    }
    if env::var_os(ALONE).is_some() {
        return test(name);
    }
    // As many descriptors as the system lets us have.
    let script = format!("ulimit -n $(ulimit -Hn) 2>/dev/null\nexec \"$0\" --exact {name} --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(env::current_exe().unwrap()).env(ALONE, "1").stdin(Stdio::null());
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    said.lines().filter(|line| line.starts_with("scale:")).for_each(|line| println!("{line}"));
    assert!(ended.status.success() && said.contains("1 passed"), "{}: {said}", ended.status);
}

#[test]
fn connections_that_come_and_go_leave_no_descriptor_and_no_memory() {
    alone("connections_that_come_and_go_leave_no_descriptor_and_no_memory", |name| {
        let mut scene = Scene::start(name);
        scene.order("cycle 1000");
        let (open, resident) = (descriptors(), resident_kib());
        let count = scaled(100_000);
        let cycle = format!("cycle {count}");
        let bytes = scene.growth(&[&cycle]);
        let more = resident_kib() - resident;
        println!("scale: {count} connections came and went: {bytes} bytes and {more} KiB resident more");
        expect_descriptors(open);
        assert!(bytes < 16 * 1024, "{bytes} bytes more after {count} connections");
        assert!(more < 1024, "{more} KiB resident more after {count} connections");
    });
}

#[test]
fn nine_thousand_idle_connections_take_350_bytes_each_and_leave_nothing() {
    alone("nine_thousand_idle_connections_take_350_bytes_each_and_leave_nothing", |name| {
        let mut scene = Scene::start(name);
        scene.growth(&["open 100", "close"]);
        let open = descriptors();
        let grown = scene.growth(&["open 9000"]);
        let own = FUTURE.load(Ordering::Relaxed) as i64;
        let each = grown / 9000 - own;
        println!("scale: {each} bytes for each of 9,000 idle connections, beside a future of {own}");
        assert!(descriptors() >= open + 9000);
        assert!(each <= 350, "{each} bytes for each");
        scene.order("close");
        expect_descriptors(open);
        let resident = resident_kib();
        let again = scene.growth(&["open 9000", "close"]);
        let more = resident_kib() - resident;
        println!("scale: a second 9,000 leave {again} bytes and {more} KiB resident more");
        expect_descriptors(open);
        assert!(again < 16 * 1024, "{again} bytes more");
        assert!(more < 1024, "{more} KiB resident more");
    });
}

#[test]
fn a_million_timers_leave_no_memory() {
    alone("a_million_timers_leave_no_memory", |_| {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let count = scaled(1_000_000);
        let round = || {
            runtime.block_on(async {
                cancel_timers(count).await;
                fire_timers(count).await;
            })
        };
        round().unwrap();
        let (open, resident) = (descriptors(), resident_kib());
        let bytes = measure(|| round().unwrap()).bytes_current;
        let more = resident_kib() - resident;
        println!(
            "scale: {count} timers cancelled and {count} fired: {bytes} bytes and {more} KiB resident more"
        );
        expect_descriptors(open);
        // A word for each timer would be 800 kB. Lists may have grown once more, when more fired in one turn than before.
        assert!(bytes < 64 * 1024, "{bytes} bytes more");
        assert!(more < 1024, "{more} KiB resident more");
    });
}

async fn armed(mut timers: Vec<Sleep>) -> Vec<Sleep> {
    poll_fn(|cx| {
        for timer in &mut timers {
            let _pending = Pin::new(timer).poll(cx);
        }
        Poll::Ready(())
    })
    .await;
    timers
}

/// Deadlines from a millisecond to a week.
async fn cancel_timers(count: usize) {
    let after = |number: usize| Duration::from_micros(1000 + (number * 7919 % 604_800) as u64 * 1_000_000);
    let timers = armed((0..count).map(|number| time::sleep(after(number))).collect()).await;
    drop(timers);
}

/// Deadlines within a quarter of a second, all awaited.
async fn fire_timers(count: usize) {
    let after = |number: usize| Duration::from_micros((number * 7919 % 250_000) as u64);
    let timers = armed((0..count).map(|number| time::sleep(after(number))).collect()).await;
    for timer in timers {
        timer.await;
    }
}

#[test]
fn a_peer_that_floods_keeps_ninety_nine_quiet_ones_waiting_less_than_five_times_as_long() {
    alone("a_peer_that_floods_keeps_ninety_nine_quiet_ones_waiting_less_than_five_times_as_long", |name| {
        let mut scene = Scene::start(name);
        // On few processors the flood's own work would hold the quiet clients up, which is not what is asked.
        let mut flood = Peer::start(name, scene.port, &["nice", "-n", "19"]);
        scene.order("open 99");
        scene.order("quiet 2");
        let mut ratios = Vec::new();
        // Times of a machine that others use too: the best of some tries.
        while ratios.len() < 30 {
            let alone = scene.order("quiet 10");
            flood.order("flood");
            let beside = scene.order("quiet 10");
            flood.order("calm");
            println!("scale: p99 {} µs alone, {} µs beside a flood", alone / 1000, beside / 1000);
            ratios.push(beside as f64 / alone as f64);
            if beside < alone * 5 {
                return;
            }
        }
        panic!("p99 beside a flood over p99 alone: {ratios:?}");
    });
}
