//! Clients that do what no library does: one byte at a time, gone in the middle of a request. And the smoke
//! tests that the HTTP/2 servers before this one failed.

mod support;

use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::eventually;
use support::h2::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw, SETTINGS, frame,
    get, is_200, post,
};
use support::server::Server;

const WHOLE: u8 = END_HEADERS | END_STREAM;

#[test]
fn a_simple_get_is_200() {
    let server = Server::start("h2_server", &[]);
    let mut client = Raw::open(server.address);
    client.send(&frame(HEADERS, WHOLE, 1, &get("/")));
    let (head, body) = client.answer(1);
    assert!(is_200(&head), "{head:?}");
    assert_eq!(body, b"Hello, World!");
}

#[test]
fn a_slow_get_does_not_block_a_fast_one() {
    let server = Server::start("h2_server", &[]);
    let mut client = Raw::open(server.address);
    client.send(&frame(HEADERS, WHOLE, 1, &get("/slow?ms=2000")));
    client.send(&frame(HEADERS, WHOLE, 3, &get("/")));
    let first = client.read_until(|frame| frame.kind == HEADERS);
    assert_eq!(first.stream, 3);
    let last = client.read_until(|frame| frame.kind == HEADERS);
    assert_eq!(last.stream, 1);
}

#[test]
fn a_post_is_echoed_in_frames_of_any_size() {
    let server = Server::start("h2_server", &[]);
    let mut client = Raw::open(server.address);
    client.send(&frame(HEADERS, END_HEADERS, 1, &post("/echo")));
    for part in [&b"a"[..], b"", b"bc", b"def"] {
        client.send(&frame(DATA, 0, 1, part));
    }
    client.send(&frame(DATA, END_STREAM, 1, b""));
    let (head, body) = client.answer(1);
    assert!(is_200(&head), "{head:?}");
    assert_eq!(body, b"abcdef");
}

#[test]
fn ten_slow_requests_of_400_ms_take_no_longer_than_one() {
    let server = Server::start("h2_server", &[]);
    // One after the other takes four seconds, two at a time take two. On a quiet machine it is less than 500 ms, and a
    // loaded one does not lose 800 ms every time.
    let mut times = Vec::new();
    for _ in 0..10 {
        let mut client = Raw::open(server.address);
        let started = Instant::now();
        let streams = (0..10).map(|number| 2 * number + 1);
        client.send(
            &streams.flat_map(|id| frame(HEADERS, WHOLE, id, &get("/slow?ms=400"))).collect::<Vec<u8>>(),
        );
        for _ in 0..10 {
            client.read_until(|frame| frame.stream > 0 && frame.flags & END_STREAM != 0);
        }
        times.push(started.elapsed());
        assert!(started.elapsed() >= Duration::from_millis(400), "the answers came too early: {times:?}");
        if started.elapsed() < Duration::from_millis(1200) {
            return;
        }
    }
    panic!("ten concurrent requests took {times:?}");
}

#[test]
fn the_loop_stays_free_while_a_handler_blocks_a_thread() {
    let server = Server::start("h2_server", &[]);
    let mut client = Raw::open(server.address);
    client.send(&frame(HEADERS, WHOLE, 1, &get("/block?ms=2000")));
    for id in [3, 5, 7] {
        client.send(&frame(HEADERS, WHOLE, id, &get("/")));
        let head = client.read_until(|frame| frame.kind == HEADERS);
        assert_eq!(head.stream, id, "the blocked stream must not answer first");
    }
    let (head, _) = client.answer(1);
    assert!(is_200(&head), "{head:?}");
}

#[test]
fn a_client_that_sends_one_byte_at_a_time_is_served() {
    let server = Server::start("h2_server", &[]);
    let mut client = Raw::connect(server.address);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]));
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &post("/echo")));
    bytes.extend(frame(DATA, 0, 1, b"drip "));
    bytes.extend(frame(PING, 0, 0, b"12345678"));
    bytes.extend(frame(DATA, END_STREAM, 1, b"drop"));
    for byte in bytes {
        client.send(&[byte]);
    }
    let (mut body, mut answered, mut ponged) = (Vec::new(), false, false);
    while !answered || !ponged {
        let frame = client.read().expect("the connection goes on");
        match frame.kind {
            DATA => body.extend(frame.payload),
            PING => {
                assert_eq!((frame.flags, frame.payload.as_slice()), (ACK, &b"12345678"[..]));
                ponged = true;
            }
            GOAWAY | RST_STREAM => panic!("{frame:?}"),
            _ => {}
        }
        answered |= frame.stream == 1 && frame.flags & END_STREAM != 0 && frame.kind <= HEADERS;
    }
    assert_eq!(body, b"drip drop");
}

#[test]
fn clients_that_vanish_in_the_middle_leave_nothing_behind() {
    let server = Server::start("h2_server", &[]);
    let mut probe = Raw::open(server.address);
    let base = server.descriptors();
    let request = frame(HEADERS, WHOLE, 1, &get("/slow?ms=60000"));
    let upload = frame(HEADERS, END_HEADERS, 1, &post("/echo"));
    let endless = frame(HEADERS, WHOLE, 1, &get("/bytes?n=1099511627776"));
    for (number, bytes) in [&request, &upload, &endless].into_iter().cycle().take(30).enumerate() {
        let mut client = Raw::open(server.address);
        // Some vanish in the middle of the frame, some after it, some after they closed their side.
        let cut = if number % 2 == 0 { bytes.len() } else { bytes.len() / 2 };
        client.send(&bytes[..cut]);
        if number % 4 == 0 {
            client.socket.shutdown(Shutdown::Write).expect("still connected");
        }
    }
    for cut in [0, 1, 5, 23, 24, 28] {
        let mut client = Raw::connect(server.address);
        client.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()[..cut]);
    }
    let back = eventually(Duration::from_secs(60), || server.descriptors() <= base);
    assert!(back, "{} descriptors, {base} before", server.descriptors());
    probe.send(&frame(HEADERS, WHOLE, 1, &get("/")));
    assert_eq!(probe.answer(1).1, b"Hello, World!");
}

#[test]
fn callers_that_vanish_end_their_calls() {
    let server = Server::start("grpc_echo", &[]);
    let mut probe = Raw::open(server.address);
    let mut ask = (1..).step_by(2).map(|id| {
        probe.send(&frame(HEADERS, END_HEADERS, id, &call("Waits")));
        probe.send(&frame(DATA, END_STREAM, id, b""));
        let message = probe.answer(id).1.split_off(5);
        String::from_utf8(message).expect("two numbers")
    });
    let calls = 12;
    let mut clients = Vec::new();
    for number in 0..calls {
        let mut client = Raw::open(server.address);
        client.send(&frame(HEADERS, END_HEADERS, 1, &call("Wait")));
        // Beside it a stream that is answered for as long as somebody reads.
        client.send(&frame(HEADERS, END_HEADERS, 3, &call("Count")));
        client.send(&frame(DATA, if number % 2 == 0 { END_STREAM } else { 0 }, 3, b"\0\0\0\0\x0a1000000000"));
        client.read_until(|frame| frame.kind == DATA && frame.stream == 3);
        clients.push(client);
    }
    let wanted = format!("{calls} 0");
    assert!(eventually(Duration::from_secs(60), || ask.next().expect("an answer") == wanted));
    drop(clients);
    let wanted = format!("{calls} {calls}");
    assert!(eventually(Duration::from_secs(60), || ask.next().expect("an answer") == wanted));
}

/// The header block of a call to `grpc_echo`.
fn call(method: &str) -> Vec<u8> {
    let mut block = post(&format!("/wakering.Echo/{method}"));
    // `content-type` is entry 31 of the static table (RFC 7541 §6.2.2).
    block.extend([0x0f, 31 - 15, 16]);
    block.extend(b"application/grpc");
    block
}

#[test]
fn a_reader_who_stops_does_not_fill_the_servers_memory() {
    let server = Server::start("h2_server", &[]);
    let mut probe = Raw::open(server.address);
    let base = server.resident_kib();
    let mut client = Raw::open(server.address);
    // The widest windows that there are; only the socket's own buffers may hold anything back.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]));
    client.send(&frame(8, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()));
    client.send(&frame(HEADERS, WHOLE, 1, &get("/bytes?n=1099511627776")));
    client.read_until(|frame| frame.kind == DATA);
    for id in (1..=15).step_by(2) {
        probe.send(&frame(HEADERS, WHOLE, id, &get("/slow?ms=100")));
        probe.answer(id);
    }
    let grown = server.resident_kib().saturating_sub(base);
    assert!(grown < 8 * 1024, "{grown} KiB for one client that does not read");
}

#[test]
fn an_http_1_request_gets_words_and_the_connection_ends() {
    let server = Server::start("h2_server", &["--http2-only"]);
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"]
    {
        let mut client = Raw::connect(server.address);
        client.send(request.as_bytes());
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut client.socket, &mut answer)
            .expect("the server closes in good order");
        assert!(answer.starts_with("HTTP/1.1 505 "), "{answer:?}");
        assert!(answer.contains("\r\n\r\n"), "{answer:?}");
    }
}
