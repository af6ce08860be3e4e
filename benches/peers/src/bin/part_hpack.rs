//! Header compression and frames of other crates: `h2` (its own source, since it does not export it) and
//! `loona-hpack`, which goes back to the crate `hpack`.

use std::hint::black_box;
use std::io::{self, Cursor};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_lite::Stream;
use http::{HeaderName, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wakering_peers::parts::heads::FRAMES;
use wakering_peers::parts::{Part, heads, tell_best};

use hpack::{Decoder, Encoder, Header};

/// What h2's module `hpack` turns its errors into.
mod frame {
    #[derive(Debug)]
    pub(crate) enum Error {
        Hpack(#[expect(dead_code, reason = "only made")] crate::hpack::DecoderError),
    }
}

include!(concat!(env!("OUT_DIR"), "/h2_hpack.rs"));

struct H2 {
    decoder: Decoder,
    bytes: BytesMut,
}

impl H2 {
    fn new() -> H2 {
        H2 { decoder: Decoder::new(4096), bytes: BytesMut::with_capacity(1024) }
    }

    fn decode(&mut self, block: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(block);
        let mut cursor = Cursor::new(&mut self.bytes);
        let decoded = self.decoder.decode(&mut cursor, |header| {
            black_box(header);
            ControlFlow::Continue(())
        });
        decoded.expect("a legal block");
    }
}

fn h2_encode() {
    let (fields, mut encoder) = (heads::answer(), Encoder::new(4096, 0));
    let mut out = BytesMut::with_capacity(1024);
    tell_best(500_000, |count| {
        for _ in 0..count {
            out.clear();
            let status = [Header::<Option<HeaderName>>::Status(black_box(StatusCode::OK))];
            let rest = black_box(&fields).iter();
            let rest =
                rest.map(|(name, value)| Header::Field { name: Some(name.clone()), value: value.clone() });
            encoder.encode(status.into_iter().chain(rest), &mut out);
            black_box(&mut out);
        }
    });
}

fn h2_huffman_decode() {
    let (coded, mut plain) = (heads::agent_coded(), BytesMut::with_capacity(1024));
    tell_best(500_000, |count| {
        for _ in 0..count {
            plain.clear();
            black_box(hpack::huffman::decode(black_box(&coded), &mut plain)).expect("legal code");
            plain.reserve(1024);
        }
    });
}

fn h2_huffman_encode() {
    let mut coded = BytesMut::with_capacity(1024);
    tell_best(500_000, |count| {
        for _ in 0..count {
            coded.clear();
            hpack::huffman::encode(black_box(heads::AGENT.as_bytes()), &mut coded);
            black_box(&mut coded);
        }
    });
}

/// The same frames without end, as many at a time as there is room for.
struct Frames {
    bytes: Vec<u8>,
    next: usize,
}

impl AsyncRead for Frames {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while buffer.remaining() > 0 {
            let rest = &self.bytes[self.next..];
            let taken = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..taken]);
            self.next = (self.next + taken) % self.bytes.len();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Frames {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Bytes to frames by h2's codec; nobody acts upon them.
fn h2_frames() {
    let frames = Frames { bytes: heads::frames(), next: 0 };
    let mut codec = Box::pin(h2::Codec::<Frames, Bytes>::new(frames));
    let mut context = Context::from_waker(Waker::noop());
    tell_best(FRAMES * 50_000, |count| {
        for _ in 0..count {
            let Poll::Ready(Some(Ok(frame))) = codec.as_mut().poll_next(&mut context) else {
                panic!("no frame")
            };
            black_box(frame);
        }
    });
}

fn loona_encode() {
    let (fields, mut encoder) = (heads::answer(), loona_hpack::Encoder::new());
    let mut out = Vec::with_capacity(1024);
    tell_best(200_000, |count| {
        for _ in 0..count {
            out.clear();
            let rest =
                black_box(&fields).iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
            let all = std::iter::once((&b":status"[..], &b"200"[..])).chain(rest);
            encoder.encode_into(all, &mut out).expect("a vector takes all");
            black_box(&mut out);
        }
    });
}

fn loona_huffman_decode() {
    let (coded, mut decoder) = (heads::agent_coded(), loona_hpack::huffman::HuffmanDecoder::new());
    tell_best(5_000, |count| {
        (0..count).for_each(|_| drop(black_box(decoder.decode(black_box(&coded)))));
    });
}

const PARTS: &[Part] = &[
    ("h2:hpack-decode", |_| heads::steady(H2::new, H2::decode)),
    ("h2:hpack-decode-first", |_| heads::first(H2::new, H2::decode)),
    ("h2:hpack-encode", |_| h2_encode()),
    ("h2:huffman-decode", |_| h2_huffman_decode()),
    ("h2:huffman-encode", |_| h2_huffman_encode()),
    ("h2:frame-parse", |_| h2_frames()),
    ("loona:hpack-encode", |_| loona_encode()),
    ("loona:huffman-decode", |_| loona_huffman_decode()),
];

fn main() {
    wakering_peers::parts::main(&[PARTS]);
}
