//! In the steady state a small request and its answer allocate nothing inside the core, nor in the server around it.

#![expect(
    clippy::unwrap_used,
    reason = "tests may unwrap, and clippy takes only what is marked #[test] for one"
)]

use std::future::Future;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use wakering::http::{Body, Server, response_to};
use wakering::internals::h2::{Config, Connection, Event};
use wakering::net::TcpListener;
use wakering::{Runtime, spawn_blocking};

fn carry(from: &mut Connection, to: &mut Connection, scratch: &mut BytesMut) {
    while from.has_output() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = from.poll_transmit(0, &mut slices);
        for slice in &slices[..used] {
            scratch.extend_from_slice(slice);
        }
        let bytes = scratch.split().freeze();
        from.transmitted(bytes.len());
        to.receive(bytes);
    }
}

/// One batch of requests, cut once inside a frame, from the client's command to the client's last event.
fn exchange(
    client: &mut Connection,
    server: &mut Connection,
    scratch: &mut BytesMut,
    request: &Request<()>,
    answer: &HeaderMap,
) -> u32 {
    for _ in 0..50 {
        client.request(request, true).unwrap();
    }
    carry(client, server, scratch);
    while let Some(event) = server.poll_event(0) {
        let Event::Request { stream, request, .. } = event else { panic!("{event:?}") };
        assert!(request.headers().len() == 2);
        server.recycle_head(request);
        server.respond(stream, StatusCode::OK, answer, false).unwrap();
        server.send_data(stream, Bytes::from_static(b"Hello, World!"), true).unwrap();
        server.finish(stream);
    }
    carry(server, client, scratch);
    let mut answered = 0;
    while let Some(event) = client.poll_event(0) {
        match event {
            Event::Response { response, .. } => client.recycle(response.into_parts().0.headers),
            Event::Data { stream, data, end } => {
                client.release(stream, data.len());
                assert!(end);
                client.finish(stream);
                answered += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    answered
}

#[test]
fn a_small_request_allocates_nothing_in_the_steady_state() {
    let mut client = Connection::client(Config::default(), 0);
    let mut server = Connection::server(Config::default(), 0);
    let mut scratch = BytesMut::with_capacity(64 * 1024);
    let request = Request::get("http://127.0.0.1:8080/")
        .header("user-agent", "wakering")
        .header("accept", "*/*")
        .body(())
        .unwrap();
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from_static("13"));
    for _ in 0..20 {
        exchange(&mut client, &mut server, &mut scratch, &request, &answer);
    }
    let mut answered = 0;
    let seen = allocation_counter::measure(|| {
        for _ in 0..20 {
            answered += exchange(&mut client, &mut server, &mut scratch, &request, &answer);
        }
    });
    assert_eq!(answered, 1_000);
    // The wire between the cores allocates: two shared blocks a batch (`BytesMut::freeze`). And the client
    // copies the content it is given, which is its application's: one for each answer.
    let wire = 2 * 20;
    let content = u64::from(answered);
    assert!(
        seen.count_total <= wire + content,
        "{} allocations for {answered} requests, {} allowed",
        seen.count_total,
        wire + content
    );
}

/// The target is 3 KiB for the whole connection, driver and socket included.
#[test]
fn an_idle_connection_owns_little() {
    let mut kept = None;
    let owned = allocation_counter::measure(|| {
        let mut client = Connection::client(Config::default(), 0);
        let mut server = Box::new(Connection::server(Config::default(), 0));
        let mut scratch = BytesMut::with_capacity(64 * 1024);
        let request = Request::get("http://127.0.0.1:8080/")
            .header("user-agent", "wakering")
            .header("accept", "*/*")
            .body(())
            .unwrap();
        let mut answer = HeaderMap::new();
        answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        for _ in 0..20 {
            exchange(&mut client, &mut server, &mut scratch, &request, &answer);
        }
        let rest = server.next_deadline(0).unwrap();
        server.handle_timeout(rest);
        drop(server.take_buffer());
        assert!(!server.is_closed());
        kept = Some(server);
    });
    println!("{} bytes, {} of them the machine", owned.bytes_current, size_of::<Connection>());
    assert!(owned.bytes_current < 1_900, "{} bytes", owned.bytes_current);
    drop(kept);
}

/// At rest the encoder's table goes; the next block says so (RFC 7541 §4.2), and the peer's decoder follows.
#[test]
fn a_connection_that_has_rested_answers_as_before() {
    let mut client = Connection::client(Config::default(), 0);
    let mut server = Connection::server(Config::default(), 0);
    let mut scratch = BytesMut::with_capacity(64 * 1024);
    let request =
        Request::get("http://127.0.0.1:8080/").header("user-agent", "wakering").header("accept", "*/*");
    let request = request.body(()).unwrap();
    let mut answer = HeaderMap::new();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    for _ in 0..3 {
        for _ in 0..3 {
            assert_eq!(exchange(&mut client, &mut server, &mut scratch, &request, &answer), 50);
        }
        for end in [&mut client, &mut server] {
            let rest = end.next_deadline(0).unwrap();
            end.handle_timeout(rest);
            assert!(!end.is_closed());
        }
    }
}

/// A client of bytes: it asks in batches and counts answers, on a thread of its own.
struct Asker {
    socket: TcpStream,
    next: u32,
    /// What every request's block is.
    block: Vec<u8>,
    pending: Vec<u8>,
}

impl Asker {
    /// Requests have the pseudo fields and `fields`, encoded.
    fn connect(address: SocketAddr, fields: &[u8]) -> Asker {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        // GET, http and / of the static table.
        let block = [&[0x82, 0x86, 0x84, 0x01, 9], &b"localhost"[..], fields].concat();
        Asker { socket, next: 1, block, pending: Vec::new() }
    }

    /// `count` requests in one write, then the same number of answers.
    fn ask(&mut self, count: u32) {
        let mut batch = Vec::new();
        for _ in 0..count {
            batch.extend_from_slice(&[0, 0, self.block.len() as u8, 1, 5]);
            batch.extend_from_slice(&self.next.to_be_bytes());
            batch.extend_from_slice(&self.block);
            self.next += 2;
        }
        self.socket.write_all(&batch).unwrap();
        let mut answered = 0;
        while answered < count {
            let mut piece = [0; 16 * 1024];
            let read = self.socket.read(&mut piece).unwrap();
            assert!(read > 0, "the server closed the connection");
            self.pending.extend_from_slice(&piece[..read]);
            answered += self.take_answers();
        }
    }

    /// Takes whole frames off; how many of them ended a stream.
    fn take_answers(&mut self) -> u32 {
        let mut ended = 0;
        while let Some(head) = self.pending.first_chunk::<9>() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            if self.pending.len() < 9 + length {
                break;
            }
            assert!(kind != 3 && kind != 7, "RST_STREAM or GOAWAY");
            ended += u32::from(kind <= 1 && flags & 1 == 1);
            self.pending.drain(..9 + length);
        }
        ended
    }
}

/// Allocations of the server's worker while it answers 2,000 requests that come 50 at a time.
fn allocations_of_server<F>(fields: &[u8], handler: impl Fn(Request<Body>) -> F + 'static) -> u64
where
    F: Future<Output = Response<Body>> + 'static,
{
    let runtime = Runtime::new().unwrap();
    let server = runtime
        .block_on(async { Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), handler).unwrap() })
        .unwrap();
    let address = server.local_addr();
    let mut asker = Asker::connect(address, fields);
    let batches = |mut asker: Asker, count: u32| {
        let job = async move {
            let asking = spawn_blocking(move || {
                (0..count).for_each(|_| asker.ask(50));
                asker
            });
            asking.unwrap().await.unwrap()
        };
        runtime.block_on(job).unwrap()
    };
    asker = batches(asker, 10);
    let mut kept = None;
    let seen = allocation_counter::measure(|| kept = Some(batches(asker, 40)));
    seen.count_total
}

/// `user-agent: test`, not indexed.
const AGENT: &[u8] = b"\x0f\x2b\x04test";

/// What a turn and the test's own job may allocate, the date's renewal included.
const ASIDE: u64 = 40;

#[test]
fn a_server_allocates_nothing_for_a_small_request() {
    let seen = allocations_of_server(&[], |_| async { Response::new(Body::from("Hello, World!")) });
    assert!(seen <= ASIDE, "{seen} allocations for 2,000 requests");
}

/// A header map with a field in it owns two blocks. That of the answer is the handler's; afterwards it serves the next
/// request, whose own the handler has.
#[test]
fn a_server_allocates_what_one_header_map_owns() {
    let seen = allocations_of_server(AGENT, |_| async {
        let mut response = Response::new(Body::from("Hello, World!"));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    });
    assert!(seen <= 2 * 2_000 + ASIDE, "{seen} allocations for 2,000 requests");
}

#[test]
fn an_answer_in_the_memory_of_its_request_allocates_nothing() {
    let seen = allocations_of_server(AGENT, |mut request| async move {
        let mut response = response_to(&mut request, "Hello, World!");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response
    });
    assert!(seen <= ASIDE, "{seen} allocations for 2,000 requests");
}

#[test]
fn a_handler_that_waits_costs_one_allocation_more() {
    let seen = allocations_of_server(AGENT, |_| async {
        wakering::yield_now().await;
        Response::new(Body::from("Hello, World!"))
    });
    assert!(seen <= 3 * 2_000 + ASIDE, "{seen} allocations for 2,000 requests");
}
