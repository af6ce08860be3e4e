//! HPACK: request heads as common clients send them, responses as a server sends them, Huffman alone.
//!
//! `steady` is a connection that has seen the same fields before, `first` a fresh one. A decoded field is handed
//! over and dropped, which is what a connection that builds no request from it would pay.

#![expect(missing_docs, reason = "criterion_group! makes an undocumented function")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, SERVER};
use wakering::internals::hpack::{
    Decoder, Encoder, Field, FieldLimits, FieldSink, huffman_decode, huffman_encode, huffman_max_decoded_len,
};

const H2LOAD: &[(&str, &str)] = &[
    (":path", "/"),
    (":scheme", "http"),
    (":authority", "127.0.0.1:8080"),
    (":method", "GET"),
    ("user-agent", "h2load nghttp2/1.52.0"),
];

const CURL: &[(&str, &str)] = &[
    (":method", "GET"),
    (":path", "/index.html?x=1"),
    (":scheme", "http"),
    (":authority", "localhost:8080"),
    ("user-agent", "curl/7.88.1"),
    ("accept", "*/*"),
];

const CHROMIUM: &[(&str, &str)] = &[
    (":method", "GET"),
    (":authority", "www.example.com"),
    (":scheme", "https"),
    (":path", "/static/assets/app.4f2a9c71.js?v=20240612"),
    ("sec-ch-ua", "\"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\""),
    ("sec-ch-ua-mobile", "?0"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    ),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("accept", "*/*"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-dest", "script"),
    ("referer", "https://www.example.com/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cookie", "session=8f7e6d5c4b3a29180706f5e4d3c2b1a0; theme=dark; lang=en"),
    ("priority", "u=1"),
];

/// A head as browsers encode it: the path is a literal each time, all else is indexed once seen.
fn request_block(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    for &(name, value) in fields {
        match name {
            ":method" => encoder.encode_method(&value.parse().expect("a legal field"), &mut out),
            ":scheme" => encoder.encode_scheme(&value.parse().expect("a legal field"), &mut out),
            ":authority" => encoder.encode_authority(value, &mut out),
            ":path" => {
                // A fresh encoder has not seen the path before and writes the literal that we want.
                let mut path = Vec::new();
                Encoder::new().encode_path(value, &mut path);
                out.extend(path);
            }
            _ => encoder.encode_field(
                &name.parse().expect("a legal field"),
                &value.parse().expect("a legal field"),
                &mut out,
            ),
        }
    }
    out
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

fn decode(decoder: &mut Decoder, limits: &FieldLimits, block: &[u8]) {
    let decoded = decoder.decode(black_box(block), limits, Sink);
    black_box(decoded).expect("a legal block");
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack/decode");
    let limits = FieldLimits::default();
    for (name, fields) in [("h2load", H2LOAD), ("curl", CURL), ("chromium", CHROMIUM)] {
        let mut encoder = Encoder::new();
        let blocks: Vec<Vec<u8>> = (0..4).map(|_| request_block(&mut encoder, fields)).collect();
        let mut decoder = Decoder::new(4096);
        blocks.iter().for_each(|block| decode(&mut decoder, &limits, block));
        group.bench_function(format!("{name}/steady"), |bencher| {
            bencher.iter(|| decode(&mut decoder, &limits, &blocks[3]));
        });
        group.bench_function(format!("{name}/first"), |bencher| {
            bencher.iter_batched_ref(
                || Decoder::new(4096),
                |decoder| decode(decoder, &limits, &blocks[0]),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Status, server, date, type and length: what every answer of the server has.
fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack/encode");
    let value = HeaderValue::from_static;
    let fields = [
        (SERVER, value("wakering")),
        (DATE, value("Mon, 21 Oct 2013 20:13:21 GMT")),
        (CONTENT_TYPE, value("text/plain; charset=utf-8")),
        (CONTENT_LENGTH, value("13")),
    ];
    let mut out = Vec::with_capacity(1024);
    let mut encoder = Encoder::new();
    let mut respond = |encoder: &mut Encoder, fields: &[(HeaderName, HeaderValue)]| {
        out.clear();
        encoder.begin_block(&mut out);
        encoder.encode_status(black_box(StatusCode::OK), &mut out);
        for (name, value) in black_box(fields) {
            encoder.encode_field(name, value, &mut out);
        }
        black_box(&mut out).len()
    };
    group.bench_function("response/steady", |bencher| {
        bencher.iter(|| respond(&mut encoder, &fields));
    });
    group.bench_function("response/first", |bencher| {
        bencher.iter_batched_ref(Encoder::new, |encoder| respond(encoder, &fields), BatchSize::SmallInput);
    });
    let mut varying = Vec::new();
    for length in 0..64 {
        let mut fields = fields.clone().to_vec();
        fields[3].1 = HeaderValue::from(10_000 + length * 977);
        fields.push((
            http::header::ETAG,
            HeaderValue::try_from(format!("\"{length:x}\"")).expect("a legal field"),
        ));
        varying.push(fields);
    }
    let mut turn = 0;
    group.bench_function("response/varying-length-and-etag", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % varying.len();
            respond(&mut encoder, &varying[turn])
        });
    });
    group.finish();
}

fn huffman(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hpack/huffman");
    for text in ["127.0.0.1:8080", CHROMIUM[6].1] {
        let mut coded = Vec::new();
        huffman_encode(text.as_bytes(), &mut coded);
        let mut plain = vec![0; huffman_max_decoded_len(coded.len()) + 8];
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("decode/{}", text.len()), |bencher| {
            bencher.iter(|| huffman_decode(black_box(&coded), black_box(&mut plain)));
        });
        group.bench_function(format!("encode/{}", text.len()), |bencher| {
            bencher.iter(|| {
                coded.clear();
                huffman_encode(black_box(text.as_bytes()), &mut coded);
                coded.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decoding, encoding, huffman);
criterion_main!(benches);
