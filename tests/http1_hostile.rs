//! Clients of HTTP/1 that mean harm: what they can make the server hold, and a polite client that is served meanwhile.
//! Judged by bytes and counts, never by time.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/http1.rs"]
mod http1;
#[path = "support/serving.rs"]
mod serving;

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use http1::{answers, connect, read_answer, read_to_end};
use serving::Serving;
use wakering::http::{Body, Config, Http1, Meters, Metrics, Request, Response, Server, Trip};

/// Long enough for a loaded machine; only a failing test waits so long.
const FOR_EVER: Duration = Duration::from_secs(30);

/// What the server may hold for one client: its output twice over, a read beyond it, and little more.
const HELD: u64 = 768 * 1024;

struct Victim {
    server: Serving,
    meters: Meters,
}

impl Victim {
    fn start() -> Victim {
        let meters = Meters::new();
        let builder = Server::builder().http1(Http1::default()).meters(meters.clone());
        // A body that takes its time must not end these tests.
        let builder = builder.http2(Config { body_grace: FOR_EVER, ..Config::default() });
        let server = Serving::start(builder, || {
            |mut request: Request<Body>| async move {
                if request.uri().path() == "/large" {
                    return Response::new(Body::from(vec![7; 16 << 20]));
                }
                let mut count = 0;
                while let Some(Ok(bytes)) = request.body_mut().data().await {
                    count += bytes.len();
                }
                Response::new(Body::from(count.to_string()))
            }
        });
        Victim { server, meters }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) {
        let end = Instant::now() + FOR_EVER;
        while !wanted(&self.meters.read()) {
            assert!(Instant::now() < end, "{what}: {:?}", self.meters.read());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// A client that does nothing wrong gets every answer; returns the most that the server held meanwhile.
    fn serves_politely(&self) -> u64 {
        let (mut polite, mut most) = (connect(self.address()), 0);
        for _ in 0..50 {
            polite.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
            assert_eq!(read_answer(&mut polite, false).content, b"0");
            let held = self.meters.read();
            most = most.max(held.held_received + held.held_output + held.held_heads);
        }
        most
    }
}

/// Writes until the server has gone; everything that it said.
fn until_refused(address: SocketAddr, begin: &[u8], again: &[u8]) -> Vec<u8> {
    let mut socket = connect(address);
    socket.write_all(begin).unwrap();
    let mut sender = socket.try_clone().unwrap();
    let again = again.to_vec();
    // It may go on for as long as a server lingers that wants its last words to be read.
    let sending = thread::spawn(move || while sender.write_all(&again).is_ok() {});
    let said = read_to_end(&mut socket);
    drop(socket.shutdown(std::net::Shutdown::Both));
    sending.join().unwrap();
    said
}

#[test]
fn what_does_not_end_is_refused_at_its_bound() {
    let victim = Victim::start();
    let junk = "y".repeat(8 * 1024);
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    for (what, begin, again, status) in [
        ("a request line", "GET /".to_owned(), junk.clone(), 414),
        ("a field", format!("{head}x: "), junk.clone(), 431),
        ("fields", head.to_owned(), "x: y\r\n".repeat(1000), 431),
        ("a chunk extension", format!("{chunked}1;"), junk.clone(), 413),
        ("chunk extensions", chunked.clone(), "1;a=b\r\nx\r\n".repeat(1000), 413),
        ("a trailer", format!("{chunked}0\r\nx: "), junk, 431),
        ("trailers", format!("{chunked}0\r\n"), "x: y\r\n".repeat(1000), 431),
    ] {
        let said = answers(&until_refused(victim.address(), begin.as_bytes(), again.as_bytes()));
        assert_eq!(said.iter().map(|answer| answer.status).collect::<Vec<_>>(), [status], "{what}");
        victim.serves_politely();
    }
    let trips = victim.meters.read().trips;
    assert!(trips.of(Trip::HeaderBlock) > 0 && trips.of(Trip::HeaderFields) > 0, "{trips:?}");
    victim.server.stop(FOR_EVER);
}

#[test]
fn a_request_line_of_8000_octets_is_taken() {
    let victim = Victim::start();
    let mut socket = connect(victim.address());
    let target = "a".repeat(8000 - "GET / HTTP/1.1\r\n".len());
    socket.write_all(format!("GET /{target} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut socket, false).status, 200);
    victim.server.stop(FOR_EVER);
}

#[test]
fn hundreds_of_half_heads_cost_what_they_are_long() {
    let victim = Victim::start();
    let half = b"GET / HTTP/1.1\r\nhost: a\r\nx: ";
    let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(victim.address())).collect();
    for octet in half {
        slow.iter_mut().for_each(|socket| socket.write_all(&[*octet]).unwrap());
    }
    let all = (half.len() * slow.len()) as u64;
    victim.wait_for("all of it came", |metrics| metrics.held_received == all);
    assert!(victim.serves_politely() < all + 1024, "{:?}", victim.meters.read());
    // And they are clients like others when they go on.
    for socket in &mut slow {
        socket.write_all(b"y\r\n\r\n").unwrap();
        assert_eq!(read_answer(socket, false).status, 200);
    }
    victim.server.stop(FOR_EVER);
}

#[test]
fn a_flood_of_requests_whose_answers_nobody_reads_is_held_back() {
    let victim = Victim::start();
    let flood = connect(victim.address());
    let mut sender = flood.try_clone().unwrap();
    let many = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1000);
    // 27 MB: it ends when the connection does.
    let sending = thread::spawn(move || (0..1000).take_while(|_| sender.write_all(&many).is_ok()).count());
    victim.wait_for("its socket is full", |metrics| metrics.held_output > 64 * 1024);
    let most = victim.serves_politely();
    assert!(most < HELD, "{most} bytes are held");
    let served = victim.meters.read().requests;
    flood.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(sending.join().unwrap() < 1000, "{served} requests were taken");
    // Closed with answers unread it is reset: the server learns of it although it reads nothing.
    drop(flood);
    victim.wait_for("it is gone", |metrics| metrics.held_output == 0 && metrics.held_received == 0);
    victim.server.stop(FOR_EVER);
}

#[test]
fn a_download_that_nobody_reads_holds_no_more_than_it_is() {
    let victim = Victim::start();
    let mut lazy = connect(victim.address());
    lazy.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    victim.wait_for("it waits", |metrics| metrics.held_output > 0);
    // One that sends ahead behind it gets no second one.
    lazy.write_all(&b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n".repeat(20)).unwrap();
    victim.serves_politely();
    let held = victim.meters.read().held_output;
    assert!(held <= (16 << 20) + 1024, "{held} bytes are held");
    drop(lazy);
    victim.wait_for("it is gone", |metrics| metrics.held_output == 0);
    victim.server.stop(FOR_EVER);
}

#[test]
fn content_octet_by_octet_that_nobody_reads_lies_in_few_pieces() {
    const OCTETS: usize = 50_000;
    let meters = Meters::new();
    let builder = Server::builder().http1(Http1::default()).meters(meters.clone());
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    let server = Serving::start(builder, move || {
        move |mut request: Request<Body>| {
            let gate = gate.clone();
            async move {
                let wait = wakering::spawn_blocking(move || gate.lock().unwrap().recv().is_ok());
                wait.unwrap().await.unwrap();
                let (mut pieces, mut octets) = (0, 0);
                while octets < OCTETS {
                    octets += request.body_mut().data().await.unwrap().unwrap().len();
                    pieces += 1;
                }
                Response::new(Body::from(pieces.to_string()))
            }
        }
    });
    let mut socket = connect(server.address);
    socket.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    socket.write_all(&b"1\r\nx\r\n".repeat(OCTETS)).unwrap();
    let end = Instant::now() + FOR_EVER;
    while meters.read().held_received < OCTETS as u64 {
        assert!(Instant::now() < end, "{:?}", meters.read());
        thread::sleep(Duration::from_millis(2));
    }
    open.send(()).unwrap();
    socket.write_all(b"0\r\n\r\n").unwrap();
    let pieces: usize = String::from_utf8(read_answer(&mut socket, false).content).unwrap().parse().unwrap();
    assert!(pieces < 50, "{pieces} pieces");
    server.stop(FOR_EVER);
}

#[test]
fn content_octet_by_octet_in_chunks_is_counted_and_not_gathered() {
    let victim = Victim::start();
    let mut socket = connect(victim.address());
    socket.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let mut most = 0;
    for _ in 0..20 {
        socket.write_all(&b"1\r\nx\r\n".repeat(5000)).unwrap();
        most = most.max(victim.serves_politely());
    }
    socket.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut socket, false).content, b"100000");
    assert!(most < HELD, "{most} bytes were held");
    victim.server.stop(FOR_EVER);
}
