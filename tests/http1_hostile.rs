//! Clients of HTTP/1 that mean harm: what they can make the server hold, and a polite client that is served meanwhile.
//! Judged by bytes and counts, never by time.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "support/http1.rs"]
mod http1;
#[path = "support/serving.rs"]
mod serving;

use std::{
    future::pending,
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
                if request.uri().path() == "/never" {
                    pending::<()>().await;
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
fn a_client_that_is_gone_is_noticed_also_while_its_requests_wait() {
    if !wakering::internals::sys::TELLS_RESETS {
        println!("SKIPPED: this backend tells of a reset only who reads or writes");
        return;
    }
    let victim = Victim::start();
    let mut client = connect(victim.address());
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /never HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    victim.wait_for("the second is at work", |metrics| metrics.handlers == 1 && metrics.requests == 2);
    // More than is read of what waits behind a request.
    client.set_nonblocking(true).unwrap();
    let many = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(10_000);
    let mut refused = 0;
    while refused < 50 {
        refused = if client.write(&many).is_ok() { 0 } else { refused + 1 };
        thread::sleep(Duration::from_millis(1));
    }
    client.set_nonblocking(false).unwrap();
    assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    // Closed with an answer unread it is reset.
    drop(client);
    victim.wait_for("it is gone", |metrics| metrics.connections_open == 0 && metrics.handlers == 0);
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

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

/// What a client that does not end looks like to the server, and what ends it.
struct Attack {
    what: &'static str,
    clients: usize,
    /// Sent at once, and then again and again.
    begin: &'static str,
    again: &'static str,
    /// The client says that it sends nothing more.
    ends: bool,
    trip: Option<Trip>,
}

fn attacks() -> Vec<Attack> {
    let slow =
        |what, begin, again, trip| Attack { what, clients: 20, begin, again, ends: false, trip: Some(trip) };
    vec![
        slow("a head octet by octet", "GET / HTTP/1.1\r\nhost: a\r\nx: ", "y", Trip::HeaderTimeout),
        slow("one behind a request", "GET / HTTP/1.1\r\nhost: a\r\n\r\nG", "E", Trip::HeaderTimeout),
        slow("fields one by one", "GET / HTTP/1.1\r\n", "x: y\r\n", Trip::HeaderTimeout),
        slow(
            "content octet by octet",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 900000\r\n\r\n",
            "x",
            Trip::BodyRate,
        ),
        slow(
            "a chunk octet by octet",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nfffff\r\n",
            "x",
            Trip::BodyRate,
        ),
        slow(
            "trailers octet by octet",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
            "y",
            Trip::BodyRate,
        ),
        slow("nothing at all", "", "", Trip::PrefaceTimeout),
        slow("half a preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nS", "", Trip::PrefaceTimeout),
        slow("nothing behind a request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", Trip::IdleTimeout),
        slow("empty lines", "\r\n\r\n", "\r\n", Trip::IdleTimeout),
        Attack {
            clients: 5,
            ..slow(
                "an answer that nobody reads",
                "GET /large HTTP/1.1\r\nhost: a\r\n\r\n",
                "",
                Trip::SendStall,
            )
        },
        Attack {
            trip: None,
            ..slow(
                "content that is left over",
                "POST /unread HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n",
                "x",
                Trip::BodyRate,
            )
        },
        Attack {
            ends: true,
            trip: None,
            ..slow(
                "an end before the answer",
                "GET /never HTTP/1.1\r\nhost: a\r\n\r\n",
                "",
                Trip::IdleTimeout,
            )
        },
    ]
}

/// A server with little patience, which tells what lives on its worker.
fn impatient(meters: &Meters) -> Serving {
    let short = Duration::from_millis(150);
    let config = Config {
        preface_timeout: short,
        header_timeout: short,
        idle_timeout: short,
        discard_timeout: short,
        send_timeout: short,
        body_grace: short,
        min_body_rate: 1_000_000,
        ..Config::default()
    };
    let http1 = Http1 { half_closed: short, ..Http1::default() };
    let builder = Server::builder().http1(http1).http2(config).meters(meters.clone());
    Serving::start(builder, || {
        |mut request: Request<Body>| async move {
            match request.uri().path() {
                "/large" => return Response::new(Body::from(vec![7; 16 << 20])),
                "/never" => std::future::pending().await,
                "/unread" => {}
                "/census" => {
                    let dump = wakering::Handle::current().dump();
                    let worker = &dump.workers[0];
                    let text = format!("{} tasks, {} sources", worker.tasks.len(), worker.sources);
                    return Response::new(Body::from(text));
                }
                _ => while let Some(Ok(_)) = request.body_mut().data().await {},
            }
            Response::new(Body::from("0"))
        }
    })
}

/// Asks politely, and again where the server had no patience with a thread that was held up.
fn census(address: SocketAddr) -> String {
    let end = Instant::now() + FOR_EVER;
    loop {
        let came = http1::exchange(
            address,
            b"GET /census HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            usize::MAX,
        );
        if came.starts_with(b"HTTP/1.1 200 ") {
            return String::from_utf8(answers(&came).remove(0).content).unwrap();
        }
        assert!(Instant::now() < end, "a polite client is not served");
    }
}

/// Carries an attack out until the server has rid itself of all of it; the most that it held meanwhile.
fn carry_out(attack: &Attack, address: SocketAddr, meters: &Meters) -> u64 {
    let before = meters.read();
    let mut sockets: Vec<TcpStream> = (0..attack.clients).map(|_| connect(address)).collect();
    for socket in &mut sockets {
        socket.write_all(attack.begin.as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
        if attack.ends {
            socket.shutdown(std::net::Shutdown::Write).unwrap();
        }
    }
    let (end, mut most) = (Instant::now() + FOR_EVER, 0);
    loop {
        let now = meters.read();
        most = most.max(now.held_received + now.held_output + now.held_heads);
        let left = now.connections_open + now.streams_open + now.handlers;
        let held = now.held_received + now.held_output + now.held_heads;
        if left + held == 0 && now.connections >= before.connections + attack.clients as u64 {
            return most;
        }
        assert!(Instant::now() < end, "{}: {now:?}", attack.what);
        for socket in &mut sockets {
            // It fails where the server has had enough.
            let _ = socket.write(attack.again.as_bytes());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_does_not_end_is_ended_by_a_deadline_and_leaves_nothing_behind() {
    let meters = Meters::new();
    let server = impatient(&meters);
    let settled = || {
        let end = Instant::now() + FOR_EVER;
        while meters.read().connections_open > 0 {
            assert!(Instant::now() < end, "{:?}", meters.read());
            thread::sleep(Duration::from_millis(2));
        }
    };
    census(server.address);
    settled();
    let at_rest = census(server.address);
    for attack in attacks() {
        settled();
        let before = meters.read().trips;
        let most = carry_out(&attack, server.address, &meters);
        let now = meters.read();
        let Attack { what, clients, .. } = attack;
        if let Some(trip) = attack.trip {
            assert_eq!(now.trips.of(trip) - before.of(trip), clients as u64, "{what}: {:?}", now.trips);
        }
        let bound = if what.contains("nobody reads") { 17 << 20 } else { 64 << 10 };
        assert!(most <= clients as u64 * bound, "{what}: {most} bytes were held");
        // What ended last may still be on its way out.
        let end = Instant::now() + FOR_EVER;
        while census(server.address) != at_rest {
            assert!(Instant::now() < end, "{what}: {} at last, {at_rest} before", census(server.address));
        }
    }
    server.stop(FOR_EVER);
}

#[test]
fn load_is_shed_with_503_above_the_ceiling_on_memory() {
    let meters = Meters::new();
    let builder = Server::builder().http1(Http1::default()).meters(meters.clone());
    let server = Serving::start(builder.memory_ceilings(64 * 1024, usize::MAX), || {
        |request: Request<Body>| async move {
            let _unread = request;
            std::future::pending::<Response<Body>>().await
        }
    });
    let mut full = connect(server.address);
    let wait_for = |wanted: &dyn Fn(&Metrics) -> bool| {
        let end = Instant::now() + FOR_EVER;
        while !wanted(&meters.read()) {
            assert!(Instant::now() < end, "{:?}", meters.read());
            thread::sleep(Duration::from_millis(2));
        }
    };
    full.write_all(format!("{POST}content-length: 100000\r\n\r\n").as_bytes()).unwrap();
    wait_for(&|now| now.handlers == 1);
    full.write_all(&[7; 100_000]).unwrap();
    wait_for(&|now| now.held_received >= 65_536);
    let said = http1::exchange(server.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", usize::MAX);
    let said = answers(&said);
    assert_eq!((said[0].status, said[0].field("connection")), (503, Some("close")));
    assert_eq!(meters.read().trips.of(Trip::Shed), 1);
    drop(full);
    server.stop(Duration::ZERO);
}

#[test]
fn who_has_connected_ahead_may_be_silent_as_long_as_others() {
    let meters = Meters::new();
    let config = Config { preface_timeout: Duration::from_millis(20), ..Config::default() };
    let builder = Server::builder().http1(Http1::default()).http2(config).meters(meters.clone());
    let server = Serving::start(builder, || |_: Request<Body>| async { Response::new(Body::from("0")) });
    let (mut ahead, mut half) = (connect(server.address), connect(server.address));
    half.write_all(b"PRI * HT").unwrap();
    assert_eq!(read_to_end(&mut half).len(), 0, "who has begun is to go on");
    // Longer than that was given to the other, which came later.
    ahead.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut ahead, false).status, 200);
    drop(half);
    let end = Instant::now() + FOR_EVER;
    while meters.read().trips.of(Trip::PrefaceTimeout) < 1 {
        assert!(Instant::now() < end, "{:?}", meters.read());
        thread::sleep(Duration::from_millis(2));
    }
    server.stop(FOR_EVER);
}
