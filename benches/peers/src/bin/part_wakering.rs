//! The parts of `wakering`.

use std::future::Future;
use std::hint::black_box;
use std::io::IoSlice;
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use wakering::internals::h2::{Config, Connection, Event};
use wakering::internals::hpack::{
    Decoder, Encoder, Field, FieldLimits, FieldSink, huffman_decode, huffman_encode, huffman_max_decoded_len,
};
use wakering::internals::ring::{self, Ring};
use wakering_peers::parts::heads::FRAMES;
use wakering_peers::parts::memory::Counting;
use wakering_peers::parts::ring::{CAPACITY, Consumer, Producer, across, alone};
use wakering_peers::parts::tasks::{Runtime, Sockets, Timers};
use wakering_peers::parts::{Part, heads, memory, tasks, tell_best, timers, wakes};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Ours;

impl Runtime for Ours {
    fn block_on<F: Future<Output: 'static> + 'static>(future: F) -> F::Output {
        let runtime = wakering::Runtime::new().expect("a runtime is built");
        runtime
            .block_on(async { wakering::spawn(future).await.expect("nothing panics") })
            .expect("no runtime runs here")
    }

    fn spawn<F: Future<Output = ()> + 'static>(future: F) -> impl Future<Output = ()> + 'static {
        let task = wakering::spawn(future);
        async { task.await.expect("nothing panics") }
    }

    fn forget<F: Future<Output = ()> + 'static>(future: F) {
        drop(wakering::spawn(future));
    }

    fn yield_now() -> impl Future<Output = ()> {
        wakering::yield_now()
    }
}

impl Timers for Ours {
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        wakering::time::sleep(duration)
    }
}

impl Sockets for Ours {
    async fn hold(stream: TcpStream) {
        let mut stream = wakering::net::TcpStream::from_std(stream).expect("a socket");
        drop(stream.read_with(|bytes| bytes.len()).await);
    }
}

struct Push(ring::Producer<'static, u64>);

impl Producer for Push {
    fn push(&mut self, value: u64) -> bool {
        self.0.push(value).is_ok()
    }
}

struct Pop(ring::Consumer<'static, u64>);

impl Consumer for Pop {
    fn pop(&mut self) -> Option<u64> {
        self.0.pop()
    }
}

fn queue() -> (Push, Pop) {
    let ring = Box::leak(Box::new(Ring::new(CAPACITY)));
    (Push(ring.producer().expect("a new ring")), Pop(ring.consumer().expect("a new ring")))
}

/// Clones what a request is made of and drops it.
struct Sink;

impl FieldSink for Sink {
    fn take(&mut self, field: Field) {
        drop(black_box(field));
    }

    #[inline]
    fn share(&mut self, field: &Field) {
        match field {
            Field::Header { name, value, .. } => drop(black_box((name.clone(), value.clone()))),
            Field::Method(method) => drop(black_box(method.clone())),
            Field::Scheme(scheme) => drop(black_box(scheme.clone())),
            Field::Authority(authority) => drop(black_box(authority.clone())),
            Field::Path(path) => drop(black_box(path.clone())),
            Field::Protocol(_) | Field::Status(_) | Field::Malformed(_) => drop(black_box(field.clone())),
        }
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) {
    let limits = FieldLimits::default();
    black_box(decoder.decode(block, &limits, Sink)).expect("a legal block");
}

fn encode() {
    let (fields, mut encoder, mut out) = (heads::answer(), Encoder::new(), Vec::with_capacity(1024));
    tell_best(500_000, |count| {
        for _ in 0..count {
            out.clear();
            encoder.begin_block(&mut out);
            encoder.encode_status(black_box(StatusCode::OK), &mut out);
            for (name, value) in black_box(&fields) {
                encoder.encode_field(name, value, &mut out);
            }
            black_box(&mut out);
        }
    });
}

fn decode_huffman() {
    let coded = heads::agent_coded();
    let mut plain = vec![0; huffman_max_decoded_len(coded.len()) + 8];
    tell_best(500_000, |count| {
        (0..count).for_each(|_| _ = black_box(huffman_decode(black_box(&coded), black_box(&mut plain))));
    });
}

fn encode_huffman() {
    let mut coded = Vec::with_capacity(256);
    tell_best(500_000, |count| {
        for _ in 0..count {
            coded.clear();
            huffman_encode(black_box(heads::AGENT.as_bytes()), &mut coded);
            black_box(&mut coded);
        }
    });
}

/// Moves everything from one core to the other.
fn carry(from: &mut Connection, to: &mut Connection) {
    while from.has_output() {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = from.poll_transmit(0, &mut slices);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        from.transmitted(bytes.len());
        to.receive(bytes.into());
    }
}

/// A client in the middle of a response, which gets content, credit and answers to pings. It acts upon them, too: it
/// counts, and gives credit back.
fn frames() {
    let (mut client, mut server) =
        (Connection::client(Config::default(), 0), Connection::server(Config::default(), 0));
    let request = Request::get("http://127.0.0.1/").body(()).expect("a legal request");
    client.request(&request, true).expect("a stream is free");
    for _ in 0..4 {
        carry(&mut client, &mut server);
        while let Some(event) = server.poll_event(0) {
            if let Event::Request { stream, .. } = event {
                server.respond(stream, StatusCode::OK, &HeaderMap::new(), false).expect("the stream is open");
            }
        }
        carry(&mut server, &mut client);
        while client.poll_event(0).is_some() {}
    }
    let bytes = Bytes::from(heads::frames());
    tell_best(FRAMES * 50_000, |count| {
        for _ in 0..count / FRAMES {
            client.receive(black_box(bytes.clone()));
            while let Some(event) = client.poll_event(0) {
                let Event::Data { stream, data, .. } = black_box(event) else { continue };
                client.release(stream, data.len());
            }
            while client.has_output() {
                let mut slices = [IoSlice::new(&[]); 16];
                let used = client.poll_transmit(0, &mut slices);
                let bytes = slices[..used].iter().map(|slice| slice.len()).sum();
                client.transmitted(bytes);
            }
        }
    });
}

const MORE: &[Part] = &[
    ("ring", |_| {
        let (producer, consumer) = queue();
        alone(producer, consumer);
    }),
    ("ring-across", |_| across(queue)),
    ("hpack-decode", |_| heads::steady(|| Decoder::new(4096), decode)),
    ("hpack-decode-first", |_| heads::first(|| Decoder::new(4096), decode)),
    ("hpack-encode", |_| encode()),
    ("huffman-decode", |_| decode_huffman()),
    ("huffman-encode", |_| encode_huffman()),
    ("frame-parse", |_| frames()),
];

fn main() {
    wakering_peers::parts::main(&[
        &tasks::parts::<Ours>(),
        &wakes::parts::<Ours>(),
        &timers::parts::<Ours>(),
        &memory::parts::<Ours>(),
        MORE,
    ]);
}
