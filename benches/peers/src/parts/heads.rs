//! Header blocks and frames: the same fields and bytes for every rival.

use std::hint::black_box;

use http::{HeaderName, HeaderValue, header};
use wakering::internals::hpack::{Encoder, huffman_encode};

use super::tell_best;

/// What a browser sends for a script.
pub const BROWSER: &[(&str, &str)] = &[
    (":method", "GET"),
    (":authority", "www.example.com"),
    (":scheme", "https"),
    (":path", "/static/assets/app.4f2a9c71.js?v=20240612"),
    ("sec-ch-ua", "\"Not/A)Brand\";v=\"8\", \"Chromium\";v=\"126\", \"Google Chrome\";v=\"126\""),
    ("sec-ch-ua-mobile", "?0"),
    ("user-agent", AGENT),
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

/// The string of the Huffman parts: 101 octets.
pub const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

/// The fields of a server's answer, beside its status.
pub fn answer() -> [(HeaderName, HeaderValue); 4] {
    let value = HeaderValue::from_static;
    [
        (header::SERVER, value("wakering")),
        (header::DATE, value("Mon, 21 Oct 2013 20:13:21 GMT")),
        (header::CONTENT_TYPE, value("text/plain; charset=utf-8")),
        (header::CONTENT_LENGTH, value("13")),
    ]
}

/// The browser's head four times on one connection: the path is a literal each time, all else is indexed once it has
/// been seen twice.
pub fn browser_blocks() -> [Vec<u8>; 4] {
    let mut encoder = Encoder::new();
    std::array::from_fn(|_| block(&mut encoder))
}

fn block(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    for &(name, value) in BROWSER {
        match name {
            ":method" => encoder.encode_method(&value.parse().expect("legal"), &mut out),
            ":scheme" => encoder.encode_scheme(&value.parse().expect("legal"), &mut out),
            ":authority" => encoder.encode_authority(value, &mut out),
            ":path" => {
                // A fresh encoder has not seen the path before and writes the literal that we want.
                let mut path = Vec::new();
                Encoder::new().encode_path(value, &mut path);
                out.extend(path);
            }
            _ => {
                encoder.encode_field(&name.parse().expect("legal"), &value.parse().expect("legal"), &mut out)
            }
        }
    }
    out
}

/// [`AGENT`] as Huffman code.
pub fn agent_coded() -> Vec<u8> {
    let mut coded = Vec::new();
    huffman_encode(AGENT.as_bytes(), &mut coded);
    coded
}

/// Measures `decode`, which gets a block, with a state that has seen those before.
pub fn steady<S>(new: impl Fn() -> S, decode: impl Fn(&mut S, &[u8])) {
    let blocks = browser_blocks();
    let mut state = new();
    blocks.iter().for_each(|block| decode(&mut state, block));
    let [.., seen] = blocks;
    tell_best(200_000, |count| (0..count).for_each(|_| decode(&mut state, black_box(&seen))));
}

/// Measures `decode` of a first block with a new state each.
pub fn first<S>(new: impl Fn() -> S, decode: impl Fn(&mut S, &[u8])) {
    let [first, ..] = browser_blocks();
    tell_best(50_000, |count| (0..count).for_each(|_| decode(&mut new(), black_box(&first))));
}

/// Frames of a connection at work, none with a header block: content, credit, an answer to a ping.
pub fn frames() -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..8 {
        bytes.extend([0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 13]); // WINDOW_UPDATE
        bytes.extend([0, 0, 13, 0, 0, 0, 0, 0, 1]); // DATA
        bytes.extend(b"Hello, World!");
        bytes.extend([0, 0, 8, 6, 1, 0, 0, 0, 0]); // PING, an answer
        bytes.extend([7; 8]);
    }
    bytes
}

/// Frames in [`frames`].
pub const FRAMES: u64 = 24;
