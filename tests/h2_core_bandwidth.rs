//! Windows that grow to what the path holds: core against core over a simulated link, and a real relay that delays.

#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

#[path = "support/h2_wire.rs"]
mod h2_wire;
#[path = "support/link.rs"]
mod link;
#[path = "support/relay.rs"]
mod relay;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2_wire::{DATA, PING, WINDOW_UPDATE, Wire, frame, get, post};
use http::{HeaderMap, Request, StatusCode};
use link::{GIGABIT, Link, MS, SECOND};
use wakering::internals::h2::{Config, Event, StreamKey};

const MIB: u64 = 1 << 20;
const FIXED: u64 = 65_536;

fn fixed() -> Config {
    Config { adaptive_window: false, ..Config::default() }
}

/// What a transfer came to.
#[derive(Debug)]
struct Transfer {
    /// Bytes a second in all.
    rate: u64,
    /// Bytes a second after the first eighth.
    steady: u64,
    /// PINGs of the receiver.
    pings: u64,
    elapsed: u64,
}

/// Sends `total` bytes one way over 25 ms and 1 Gbit/s.
fn transfer(total: u64, upload: bool, config: &Config) -> Transfer {
    let mut link = Link::new(config.clone(), config.clone(), 25 * MS, GIGABIT);
    let request = if upload { Request::post("http://a/") } else { Request::get("http://a/") };
    let up = link.client.core.request(&request.body(()).unwrap(), !upload).unwrap();
    let (mut left, mut got, mut begun, mut eighth) = (total, 0, 0, 0);
    let mut sending: Option<StreamKey> = upload.then_some(up);
    let block = Bytes::from(vec![7; 1 << 16]);
    while got < total {
        for at_server in [false, true] {
            while let Some(event) = link.poll_event(at_server) {
                match event {
                    Event::Request { stream, .. } if !upload => {
                        let core = &mut link.server.core;
                        core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
                        sending = Some(stream);
                    }
                    Event::Data { stream, data, .. } => {
                        got += data.len() as u64;
                        link.side(at_server).core.release(stream, data.len());
                    }
                    Event::Closed { error } => panic!("{error:?}"),
                    _ => {}
                }
            }
        }
        if let Some(stream) = sending {
            let core = &mut link.side(!upload).core;
            while left > 0 {
                let n = (core.send_capacity(stream) as u64).min(left).min(1 << 16);
                if n == 0 {
                    break;
                }
                left -= n;
                core.send_data(stream, block.slice(..n as usize), left == 0).unwrap();
            }
        }
        if begun == 0 && got > 0 {
            begun = link.now;
        }
        if eighth == 0 && got >= total / 8 {
            eighth = link.now;
        }
        assert!(link.step() || got == total, "nothing moves any more: {got} of {total}");
    }
    let per_second = |bytes: u64, since: u64| bytes * SECOND / (link.now - since);
    Transfer {
        rate: per_second(total, begun),
        steady: per_second(total - total / 8, eighth),
        pings: link.side(upload).sent_pings,
        elapsed: link.now,
    }
}

/// RFC 9113 §5.2.1 leaves the algorithm to us: a window smaller than bandwidth times delay wastes the link.
#[test]
fn one_gib_fills_a_gigabit_over_50_ms_in_both_directions() {
    for upload in [true, false] {
        let done = transfer(1024 * MIB, upload, &Config::default());
        println!("upload {upload}: {done:?}");
        assert!(done.steady >= GIGABIT / 8 * 90 / 100, "{done:?}");
        assert!(done.rate >= GIGABIT / 8 * 75 / 100, "{done:?}");
        assert!(done.pings <= done.elapsed / (50 * MS) + 1, "one a round trip: {done:?}");
    }
}

#[test]
fn a_fixed_window_of_64_kib_is_the_bound_that_it_was() {
    for upload in [true, false] {
        let done = transfer(8 * MIB, upload, &fixed());
        println!("upload {upload}: {done:?}");
        assert!(done.rate <= FIXED * 20 * 11 / 10, "a window a round trip: {done:?}");
        assert_eq!(done.pings, 0);
    }
}

/// Once the window has found its size, the round trip is measured ever more rarely.
#[test]
fn measuring_comes_to_rest() {
    let half = transfer(512 * MIB, true, &Config::default());
    let whole = transfer(1024 * MIB, true, &Config::default());
    assert!(whole.pings <= half.pings + 6, "{} then {}", half.pings, whole.pings);
}

/// Answers every PING of ours after this long.
fn pong(wire: &mut Wire, trip: u64) -> usize {
    let pings: Vec<Vec<u8>> = wire.sent_of(PING).iter().map(|frame| frame.payload.clone()).collect();
    wire.sent.retain(|frame| frame.kind != PING);
    wire.now += trip;
    for payload in &pings {
        wire.feed(&frame(PING, 1, 0, payload));
    }
    pings.len()
}

/// No PING on a connection that receives no content, or little.
#[test]
fn a_connection_without_uploads_sends_no_ping() {
    let mut wire = Wire::server(Config::default());
    for n in 0..1_000 {
        wire.feed(&get(2 * n + 1));
        let stream = wire.stream();
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(stream, Bytes::from(vec![1; 50]), true).unwrap();
        wire.core.finish(stream);
        wire.events.clear();
    }
    wire.turn();
    assert!(wire.sent_of(PING).is_empty());
    wire.feed(&post(3_001, &[]));
    wire.feed(&frame(DATA, 0, 3_001, &[1; 16_000]));
    release(&mut wire, 3_001);
    assert!(wire.sent_of(PING).is_empty(), "half a window has not been used up");
    wire.feed(&frame(DATA, 0, 3_001, &[1; 16_384]).repeat(2));
    release(&mut wire, 3_001);
    assert_eq!(wire.sent_of(PING).len(), 1);
    wire.feed(&frame(DATA, 0, 3_001, &[1; 16_384]).repeat(2));
    release(&mut wire, 3_001);
    assert_eq!(wire.sent_of(PING).len(), 1, "one at a time");
    assert!(wire.events.is_empty(), "the application hears nothing of it");
}

/// Releases what came on this stream; forgets the other events.
fn release(wire: &mut Wire, id: u32) -> u64 {
    let mut total = 0;
    for event in std::mem::take(&mut wire.events) {
        if let Event::Data { stream, data, .. } = event {
            if wire.core.stream_id(stream) == Some(id) {
                wire.core.release(stream, data.len());
                total += data.len() as u64;
            }
        }
    }
    wire.turn();
    total
}

/// Credit that this stream (0: the connection) has been given.
fn credit(wire: &Wire, id: u32) -> u64 {
    let updates = wire.sent_of(WINDOW_UPDATE);
    updates.iter().filter(|frame| frame.stream == id).map(|frame| u64::from(frame.word(0))).sum()
}

/// Uploads as fast as the windows allow, a round trip of 50 ms each time, until the window grows no more.
fn grow(wire: &mut Wire, id: u32, rounds: u32) -> u64 {
    let mut sent = 0;
    for _ in 0..rounds {
        let stream = 65_536 + credit(wire, id) - sent;
        let n = stream / 16_384;
        for _ in 0..n {
            wire.feed(&frame(DATA, 0, id, &[1; 16_384]));
            release(wire, id);
        }
        sent += n * 16_384;
        pong(wire, 50 * MS);
        assert_eq!(wire.goaway(), None);
    }
    65_536 + credit(wire, id) - sent
}

/// On a short burst the answer to the PING comes before the content that the WINDOW_UPDATE beside it set free, and all of a
/// window has come before the first byte of it is released.
#[test]
fn a_burst_that_comes_behind_the_answer_counts() {
    let mut wire = Wire::server(Config { max_stream_window: 1 << 20, ..Config::default() });
    wire.feed(&post(1, &[]));
    let mut sent = 0;
    for _ in 0..20 {
        let n = (65_536 + credit(&wire, 1) - sent) / 16_384;
        wire.feed(&frame(DATA, 0, 1, &[1; 16_384]).repeat(n as usize));
        release(&mut wire, 1);
        sent += n * 16_384;
        pong(&mut wire, 50 * MS);
    }
    assert!(65_536 + credit(&wire, 1) - sent >= (1 << 20) - 65_536);
    assert_eq!(wire.goaway(), None);
}

#[test]
fn a_window_grows_to_its_bound_and_the_measuring_ends() {
    let config = Config { max_stream_window: 1 << 20, ..Config::default() };
    let mut wire = Wire::server(config);
    wire.feed(&post(1, &[]));
    let window = grow(&mut wire, 1, 20);
    assert!(((1 << 20) - 65_536..=1 << 20).contains(&window), "{window}");
    wire.sent.clear();
    wire.feed(&frame(DATA, 0, 1, &[1; 16_384]).repeat(30));
    release(&mut wire, 1);
    assert!(wire.sent_of(PING).is_empty());
}

/// A stream whose window has grown and whose reader stops holds its own window; the others go on, and have room to grow.
#[test]
fn a_slow_reader_holds_only_its_own_stream() {
    let mut wire = Wire::server(Config { max_stream_window: 1 << 20, ..Config::default() });
    wire.feed(&post(1, &[]));
    let window = grow(&mut wire, 1, 20);
    for _ in 0..window / 16_384 {
        wire.feed(&frame(DATA, 0, 1, &[1; 16_384]));
    }
    wire.events.clear();
    for id in [3, 5, 7] {
        wire.feed(&post(id, &[]));
        let room = grow(&mut wire, id, 20);
        assert!(room >= 2 * 65_536, "stream {id} has {room}");
    }
    // And many that have not grown, each with a reader that stops: the rest still moves.
    for n in 0..8 {
        wire.feed(&post(9 + 2 * n, &[]));
        wire.feed(&frame(DATA, 0, 9 + 2 * n, &[1; 16_384]).repeat(4));
    }
    wire.events.clear();
    wire.feed(&post(101, &[]));
    grow(&mut wire, 101, 5);
    assert_eq!(wire.goaway(), None);
}

/// Whatever it does, a peer cannot make a connection hold more than `max_connection_window`.
#[test]
fn unread_content_never_passes_the_bound_of_the_connection() {
    let config = Config { max_stream_window: 1 << 20, max_connection_window: 2 << 20, ..Config::default() };
    let mut wire = Wire::server(config);
    for id in [1, 3, 5, 7, 9] {
        wire.feed(&post(id, &[]));
        grow(&mut wire, id, 20);
    }
    wire.sent.clear();
    let mut held = 0;
    for id in (1..).step_by(2).take(100) {
        if id > 9 {
            wire.feed(&post(id, &[]));
        }
        for _ in 0..200 {
            wire.feed(&frame(DATA, 0, id, &[1; 4_096]));
            let fine = wire.goaway().is_none() && wire.resets().iter().all(|&(reset, _)| reset != id);
            held += if fine { 4_096 } else { 0 };
            if !fine {
                break;
            }
        }
    }
    assert_eq!(wire.goaway(), Some(3));
    assert!(held <= 2 << 20, "{held}");
}

/// Many streams, a small window of the connection, and content that is released in any order: all end, both ways.
#[test]
fn no_order_of_releases_ends_in_a_deadlock() {
    for seed in 1..=8_u64 {
        let config = Config { connection_window: 65_535, max_concurrent_streams: 100, ..Config::default() };
        let mut link = Link::new(config.clone(), config, MS, GIGABIT);
        let mut random = Random(seed);
        let (mut left, mut held, mut ended) = (Vec::new(), Vec::new(), 0);
        for _ in 0..60 {
            let request = Request::post("http://a/").body(()).unwrap();
            left.push((link.client.core.request(&request, false).unwrap(), 100_000_usize));
        }
        while ended < 120 {
            for at_server in [false, true] {
                while let Some(event) = link.poll_event(at_server) {
                    match event {
                        Event::Request { stream, .. } => {
                            let core = &mut link.server.core;
                            core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
                            left.push((stream, 100_000));
                        }
                        Event::Data { stream, data, end } => {
                            held.push((at_server, stream, data.len()));
                            ended += u32::from(end);
                        }
                        Event::Closed { .. } | Event::Reset { .. } => panic!("{event:?}"),
                        _ => {}
                    }
                }
            }
            for (place, (stream, left)) in left.iter_mut().enumerate() {
                let core = &mut link.side(place >= 60).core;
                let n = core.send_capacity(*stream).min(*left);
                if n > 0 && *left > 0 {
                    *left -= n;
                    core.send_data(*stream, Bytes::from(vec![1; n]), *left == 0).unwrap();
                }
            }
            // Half of what is held goes back, chosen blindly.
            for _ in 0..held.len().div_ceil(2) {
                let (at_server, stream, n) = held.swap_remove(random.below(held.len()));
                link.side(at_server).core.release(stream, n);
            }
            assert!(link.step() || !held.is_empty(), "seed {seed}: {ended} of 120 ended");
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
}

/// What goes through the relay.
const LENGTH: u64 = 64 * MIB;

/// A server on a thread of its own, whose handler reads its request to the end and says how long it was; who sends nothing
/// gets the same the other way.
fn start_server() -> (SocketAddr, mpsc::Sender<()>, thread::JoinHandle<()>) {
    use wakering::http::{Body, Response, Server};
    let (report, address) = mpsc::channel();
    let (stop, stopped) = mpsc::channel::<()>();
    let serving = thread::spawn(move || {
        let run = wakering::run(async move {
            let listener = wakering::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let handler = |request: wakering::http::Request<Body>| async move {
                let mut body = request.into_body();
                let mut length = 0;
                while let Some(Ok(frame)) = body.frame().await {
                    if let wakering::http::Frame::Data(data) = frame {
                        length += data.len();
                    }
                }
                let answer =
                    if length > 0 { length.to_string().into_bytes() } else { vec![7; LENGTH as usize] };
                Response::new(Body::from(answer))
            };
            let server = Server::start(listener, handler).unwrap();
            report.send(server.local_addr()).unwrap();
            let _ = wakering::spawn_blocking(move || stopped.recv()).unwrap().await;
            server.stop(Duration::from_secs(1)).await;
        });
        run.unwrap();
    });
    (address.recv().unwrap(), stop, serving)
}

/// hyper uploads 64 MiB to our server through a relay that holds every byte for 25 ms each way. A window of 64 KiB would
/// take 51 seconds.
#[test]
fn an_upload_through_50_ms_is_not_bound_by_the_first_window() {
    use http_body_util::{BodyExt, Full};
    let (server, stop, serving) = start_server();
    let relay = relay::Relay::start(server, Duration::from_millis(25));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(relay.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(socket);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        let begun = Instant::now();
        let body = Full::new(Bytes::from(vec![7; LENGTH as usize]));
        let request = Request::post("http://localhost/").body(body).unwrap();
        let response = client.send_request(request).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, LENGTH.to_string());
        begun.elapsed()
    });
    drop(runtime);
    compare(took);
    stop.send(()).unwrap();
    serving.join().unwrap();
}

/// Against a window of 64 KiB for each round trip of 50 ms.
fn compare(took: Duration) {
    let fixed = Duration::from_millis(50) * u32::try_from(LENGTH / FIXED).unwrap();
    println!("{took:?}; a fixed window would take {fixed:?}");
    assert!(took * 2 < fixed, "{took:?}, and a fixed window would take {fixed:?}");
}

/// The same the other way: our client grows its windows too.
#[test]
fn a_download_through_50_ms_is_not_bound_by_the_first_window() {
    use wakering::http::{Body, client};
    let (server, stop, serving) = start_server();
    let relay = relay::Relay::start(server, Duration::from_millis(25));
    let took = wakering::run(async move {
        let mut client = client::connect(relay.address).await.unwrap();
        let begun = Instant::now();
        let request = Request::get("http://localhost/").body(Body::empty()).unwrap();
        let mut body = client.send(request).await.unwrap().into_body();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            length += piece.unwrap().len() as u64;
        }
        assert_eq!(length, LENGTH);
        begun.elapsed()
    });
    compare(took.unwrap());
    stop.send(()).unwrap();
    serving.join().unwrap();
}
