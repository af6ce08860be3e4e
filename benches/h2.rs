//! The HTTP/2 core by itself: frames in, requests through a server core, and core against core.
//!
//! Every figure is for one request or one frame. `server/…` feeds recorded client bytes (as h2load sends them:
//! after the first request every field is in the dynamic table), so it is the cost that a server pays.

#![expect(clippy::unwrap_used, reason = "a bench stops at the first surprise")]
#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use wakering::internals::h2::{Config, Connection, Event};

const BATCH: usize = 100;
const BODY: &[u8] = b"Hello, World!";

/// Writes everything out, into nothing.
fn drain(core: &mut Connection) -> usize {
    let mut total = 0;
    while core.has_output() {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = core.poll_transmit(0, &mut slices);
        let bytes = black_box(&slices[..used]).iter().map(|slice| slice.len()).sum();
        core.transmitted(bytes);
        total += bytes;
    }
    total
}

/// Moves everything from one core to the other.
fn carry(from: &mut Connection, to: &mut Connection, scratch: &mut BytesMut) {
    while from.has_output() {
        let mut slices = [IoSlice::new(&[]); 64];
        let used = from.poll_transmit(0, &mut slices);
        for slice in &slices[..used] {
            scratch.extend_from_slice(slice);
        }
        let bytes = scratch.split().freeze();
        from.transmitted(bytes.len());
        to.receive(bytes);
    }
}

fn answer_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("13"));
    headers.insert(header::DATE, HeaderValue::from_static("Fri, 20 Nov 2026 20:28:15 GMT"));
    headers
}

/// Answers every request that has come; the map of each request goes back, as the driver's answer map does.
fn serve(server: &mut Connection, headers: &HeaderMap) -> usize {
    let mut served = 0;
    while let Some(event) = server.poll_event(0) {
        if let Event::Request { stream, request, .. } = event {
            server.respond(stream, StatusCode::OK, headers, false).unwrap();
            server.send_data(stream, Bytes::from_static(BODY), true).unwrap();
            server.finish(stream);
            server.recycle_head(black_box(request));
            served += 1;
        }
    }
    served
}

/// A server, and the bytes of a batch of requests whose stream ids are to be filled in.
struct Recorded {
    server: Connection,
    batch: Vec<u8>,
    ids: Vec<usize>,
    next: u32,
    headers: HeaderMap,
}

impl Recorded {
    fn new() -> Recorded {
        let (mut client, mut server) = pair();
        let headers = answer_headers();
        let request = Request::get("http://127.0.0.1:8080/")
            .header("user-agent", "h2load nghttp2/1.52.0")
            .body(())
            .unwrap();
        let mut scratch = BytesMut::new();
        client.request(&request, true).unwrap();
        carry(&mut client, &mut server, &mut scratch);
        serve(&mut server, &headers);
        carry(&mut server, &mut client, &mut scratch);
        while let Some(event) = client.poll_event(0) {
            if let Event::Data { stream, end: true, .. } = event {
                client.finish(stream);
            }
        }
        drain(&mut client);
        let (mut batch, mut ids) = (Vec::new(), Vec::new());
        client.request(&request, true).unwrap();
        let mut slices = [IoSlice::new(&[]); 4];
        let used = client.poll_transmit(0, &mut slices);
        let one: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        for _ in 0..BATCH {
            ids.push(batch.len() + 5);
            batch.extend_from_slice(&one);
        }
        Recorded { server, batch, ids, next: 3, headers }
    }

    /// The next batch; the copy stands for the read from a socket.
    fn bytes(&mut self, scratch: &mut BytesMut) -> Bytes {
        for at in &self.ids {
            self.batch[*at..*at + 4].copy_from_slice(&self.next.to_be_bytes());
            self.next += 2;
        }
        scratch.extend_from_slice(&self.batch);
        scratch.split().freeze()
    }
}

fn pair() -> (Connection, Connection) {
    let mut client = Connection::client(Config::default(), 0);
    let mut server = Connection::server(Config::default(), 0);
    let mut scratch = BytesMut::new();
    for _ in 0..2 {
        carry(&mut client, &mut server, &mut scratch);
        assert!(server.poll_event(0).is_none());
        carry(&mut server, &mut client, &mut scratch);
        assert!(client.poll_event(0).is_none());
    }
    (client, server)
}

/// Runs batches until `wanted` operations are done, and scales the time to exactly that many.
fn timed(wanted: u64, mut batch: impl FnMut() -> usize) -> Duration {
    let mut done = 0u64;
    let start = Instant::now();
    while done < wanted {
        done += batch() as u64;
    }
    start.elapsed().mul_f64(wanted as f64 / done as f64)
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("h2/request");
    group.throughput(Throughput::Elements(1));
    group.bench_function("server", |bencher| {
        bencher.iter_custom(|wanted| {
            let mut recorded = Recorded::new();
            let mut scratch = BytesMut::with_capacity(64 * 1024);
            timed(wanted, || {
                if recorded.next > 1 << 30 {
                    recorded = Recorded::new();
                }
                let bytes = recorded.bytes(&mut scratch);
                recorded.server.receive(bytes);
                let served = serve(&mut recorded.server, &recorded.headers);
                drain(&mut recorded.server);
                served
            })
        });
    });
    group.bench_function("http_types_alone", |bencher| {
        let request = Request::get("http://127.0.0.1:8080/").header("user-agent", "h2load").body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let uri = parts.uri.into_parts();
        let (scheme, authority) = (uri.scheme.unwrap(), uri.authority.unwrap());
        let (path, agent) = (uri.path_and_query.unwrap(), parts.headers["user-agent"].clone());
        let mut spare = HeaderMap::new();
        bencher.iter(|| {
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(scheme.clone());
            parts.authority = Some(authority.clone());
            parts.path_and_query = Some(path.clone());
            let mut request = Request::new(());
            *request.uri_mut() = http::Uri::from_parts(parts).unwrap();
            spare.append(header::USER_AGENT, agent.clone());
            *request.headers_mut() = std::mem::take(&mut spare);
            spare = black_box(request).into_parts().0.headers;
            spare.clear();
        });
    });
    group.bench_function("core_against_core", |bencher| {
        bencher.iter_custom(|wanted| {
            let (mut client, mut server) = pair();
            let headers = answer_headers();
            let request =
                Request::get("http://127.0.0.1:8080/").header("user-agent", "h2load").body(()).unwrap();
            let mut scratch = BytesMut::with_capacity(64 * 1024);
            timed(wanted, || {
                for _ in 0..BATCH {
                    client.request(&request, true).unwrap();
                }
                carry(&mut client, &mut server, &mut scratch);
                serve(&mut server, &headers);
                carry(&mut server, &mut client, &mut scratch);
                let mut answered = 0;
                while let Some(event) = client.poll_event(0) {
                    match event {
                        Event::Data { stream, end: true, .. } => {
                            client.finish(stream);
                            answered += 1;
                        }
                        Event::Response { response, .. } => {
                            client.recycle(black_box(response).into_parts().0.headers);
                        }
                        other => panic!("{other:?}"),
                    }
                }
                answered
            })
        });
    });
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("h2/frame");
    group.throughput(Throughput::Elements(1));
    let kinds: [(&str, Vec<u8>); 2] = [
        ("unknown", [&[0, 0, 8, 77, 0, 0, 0, 0, 1][..], &[0; 8]].concat()),
        ("window_update", vec![0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    for (name, frame) in kinds {
        let (_, mut server) = pair();
        let block = Bytes::from(frame.repeat(1000));
        let mut total = 0u64;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|wanted| {
                timed(wanted, || {
                    total += 1000;
                    if total > 1 << 30 {
                        (_, server) = pair();
                        total = 0;
                    }
                    server.receive(block.clone());
                    assert!(server.poll_event(0).is_none());
                    1000
                })
            });
        });
    }
    group.finish();
}

/// Content through both cores, windows and all: time for one byte of a MiB each way.
fn transfers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("h2/transfer");
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("download_1_mib", |bencher| {
        let (mut client, mut server) = pair();
        let request = Request::get("http://127.0.0.1:8080/").body(()).unwrap();
        let body = Bytes::from(vec![7; 1 << 20]);
        bencher.iter(|| {
            client.request(&request, true).unwrap();
            let mut got = 0;
            while got < body.len() {
                let mut scratch = BytesMut::with_capacity(256 * 1024);
                carry(&mut client, &mut server, &mut scratch);
                while let Some(event) = server.poll_event(0) {
                    if let Event::Request { stream, .. } = event {
                        server.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
                        server.send_data(stream, body.clone(), true).unwrap();
                        server.finish(stream);
                    }
                }
                while server.has_output() {
                    carry(&mut server, &mut client, &mut scratch);
                    while let Some(event) = client.poll_event(0) {
                        if let Event::Data { stream, data, end } = event {
                            got += data.len();
                            client.release(stream, data.len());
                            if end {
                                client.finish(stream);
                            }
                        }
                    }
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, requests, frames, transfers);
criterion_main!(benches);
