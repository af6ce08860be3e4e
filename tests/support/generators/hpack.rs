//! HPACK: the decoder on any octets and under any limits, both halves together, and the Huffman code.

use http::header::{HeaderName, HeaderValue};
use wakering::internals::hpack::{
    DecodeError, Decoded, Decoder, Encoder, Field, FieldLimits, huffman_decode, huffman_encode,
    huffman_max_decoded_len,
};

use super::tape::Tape;

/// Fields for which no limit is ever reached by a run.
const ROOMY: FieldLimits =
    FieldLimits { fields: 1 << 20, cookie_crumbs: 1 << 20, list_bytes: 1 << 30, block_bytes: 1 << 20 };

pub(crate) fn run(data: &[u8]) {
    let mut tape = Tape::new(data);
    match tape.below(3) {
        0 => decode_anything(&mut tape),
        1 => round_trips(&mut tape),
        _ => huffman(tape.rest()),
    }
}

/// Blocks of any octets: a decoder with tight limits must end as one without, deliver a beginning of what that one
/// delivers, stay within its limits, and have the same table afterwards.
fn decode_anything(tape: &mut Tape<'_>) {
    let limits = FieldLimits {
        fields: tape.below(12) as u32,
        cookie_crumbs: tape.below(4) as u32,
        list_bytes: tape.below(1024) as u32,
        block_bytes: 1 << 20,
    };
    let table = tape.pick(&[4096, 0, 64, 200, 65_536]);
    let (mut tight, mut roomy) = (Decoder::new(table), Decoder::new(table));
    while !tape.is_empty() {
        if tape.one_in(8) {
            let size = tape.pick(&[0, 33, 100, 4096, table]);
            tight.set_max_table_size(size);
            roomy.set_max_table_size(size);
        }
        let length = usize::from(tape.byte());
        let block = tape.take(length);
        let (one, some) = decode(&mut tight, block, &limits);
        let (other, all) = decode(&mut roomy, block, &ROOMY);
        assert!(all.starts_with(&some), "limits only cut off the end");
        match (one, other) {
            (Ok(one), Ok(other)) => within(&limits, one, other, some.len(), all.len()),
            (Err(one), Err(other)) => {
                assert_eq!(one, other);
                return;
            }
            (one, other) => panic!("limits decide whether a block is legal: {one:?}, {other:?}"),
        }
        recode(&all);
    }
}

fn decode(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &FieldLimits,
) -> (Result<Decoded, DecodeError>, Vec<Field>) {
    let mut list = Vec::new();
    let decoded = decoder.decode(block, limits, |field: Field| list.push(field));
    (decoded, list)
}

fn within(limits: &FieldLimits, tight: Decoded, roomy: Decoded, some: usize, all: usize) {
    assert_eq!(
        (tight.fields, tight.cookie_crumbs, tight.list_bytes),
        (roomy.fields, roomy.cookie_crumbs, roomy.list_bytes)
    );
    assert_eq!((tight.fields + tight.cookie_crumbs) as usize, all, "every field is counted");
    assert!(some <= (limits.fields + limits.cookie_crumbs) as usize);
    let over = tight.fields > limits.fields
        || tight.cookie_crumbs > limits.cookie_crumbs
        || tight.list_bytes > limits.list_bytes.into();
    assert_eq!(tight.excess.is_some(), over);
    assert_eq!(some < all, over, "without an excess all is delivered, with one less");
    assert_eq!(roomy.excess, None);
}

/// What was decoded can be encoded and comes out the same.
fn recode(list: &[Field]) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    for _ in 0..2 {
        let mut block = Vec::new();
        encoder.begin_block(&mut block);
        let mut expected = Vec::new();
        for field in list {
            if encode(&mut encoder, field, &mut block) {
                expected.push(field.clone());
            }
        }
        let (decoded, seen) = decode(&mut decoder, &block, &ROOMY);
        assert_eq!(decoded.expect("our own block").excess, None);
        assert_same(&seen, &expected);
    }
}

/// Equal but for sensitivity, which the encoder may add and must not drop.
fn assert_same(seen: &[Field], expected: &[Field]) {
    assert_eq!(seen, expected);
    let sensitive = |field: &Field| matches!(field, Field::Header { value, .. } if value.is_sensitive());
    assert!(seen.iter().zip(expected).all(|(seen, expected)| sensitive(seen) >= sensitive(expected)));
}

fn encode(encoder: &mut Encoder, field: &Field, out: &mut Vec<u8>) -> bool {
    match field {
        Field::Method(method) => encoder.encode_method(method, out),
        Field::Scheme(scheme) => encoder.encode_scheme(scheme, out),
        Field::Authority(authority) => encoder.encode_authority(authority.as_str(), out),
        Field::Path(path) => encoder.encode_path(path.as_str(), out),
        Field::Protocol(protocol) => match std::str::from_utf8(protocol) {
            Ok(text) => encoder.encode_protocol(text, out),
            Err(_) => return false,
        },
        Field::Status(status) => encoder.encode_status(*status, out),
        Field::Header { name, value, .. } => encoder.encode_field(name, value, out),
        Field::Malformed(_) => return false,
    }
    true
}

const NAMES: [&str; 20] = [
    "server",
    "date",
    "content-type",
    "content-length",
    "etag",
    "cookie",
    "set-cookie",
    "authorization",
    "proxy-authorization",
    "accept-encoding",
    "accept",
    "x-request-id",
    "x-a",
    "x-b",
    "te",
    "host",
    "vary",
    "location",
    "grpc-status",
    "priority",
];

/// What goes in comes out, block after block, while the table's size changes and sizes are announced late.
fn round_trips(tape: &mut Tape<'_>) {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut remembered: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let mut kept: Option<(u64, Vec<u8>, Vec<Field>)> = None;
    while !tape.is_empty() {
        for _ in 0..tape.below(16) / 13 {
            let size = tape.pick(&[0, 1, 32, 40, 100, 300, 4096, 10_000]);
            decoder.set_max_table_size(size as usize);
            encoder.set_peer_table_size(size);
        }
        let mut block = Vec::new();
        encoder.begin_block(&mut block);
        let (start, generation) = (block.len(), encoder.generation());
        let mut list = Vec::new();
        for _ in 0..tape.below(12) {
            let field = field(tape, &mut remembered);
            assert!(encode(&mut encoder, &field, &mut block));
            list.push(field);
        }
        let (decoded, seen) = decode(&mut decoder, &block, &ROOMY);
        assert_eq!(decoded.expect("our own block").fields as usize, list.len() - crumbs(&list));
        assert_same(&seen, &list);
        if encoder.generation() == generation {
            kept = Some((generation, block.split_off(start), list));
        }
        if let Some((_, block, list)) = kept.as_ref().filter(|kept| kept.0 == encoder.generation()) {
            assert_same(&decode(&mut decoder, block, &ROOMY).1, list);
        }
    }
}

fn crumbs(list: &[Field]) -> usize {
    list.iter().filter(|field| matches!(field, Field::Header { name, .. } if name == "cookie")).count()
}

fn field(tape: &mut Tape<'_>, remembered: &mut Vec<(HeaderName, HeaderValue)>) -> Field {
    let (name, value) = if tape.one_in(3) && !remembered.is_empty() {
        remembered[tape.below(remembered.len())].clone()
    } else {
        (name(tape), value(tape))
    };
    if remembered.len() < 64 {
        remembered.push((name.clone(), value.clone()));
    }
    let kind = wakering::internals::hpack::FieldKind::of(&name);
    Field::Header { name, value, kind }
}

fn name(tape: &mut Tape<'_>) -> HeaderName {
    if tape.one_in(4) {
        let length = 1 + tape.below(60);
        let octets: Vec<u8> =
            (0..length).map(|_| b"abcdefghijklmnopqrstuvwxyz0123456789-_"[tape.below(38)]).collect();
        return HeaderName::from_lowercase(&octets).expect("octets of a name");
    }
    HeaderName::from_static(tape.pick(&NAMES))
}

fn value(tape: &mut Tape<'_>) -> HeaderValue {
    let text = tape.pick(&[&b""[..], b"0", b"gzip, deflate", b"wakering", b"a=b; c=d", b"text/html"]);
    let mut octets = text.to_vec();
    if tape.one_in(2) {
        let length = tape.pick(&[1, 3, 19, 20, 40, 130, 255, 300]);
        octets =
            tape.take(length).iter().map(|octet| if *octet < 0x21 { octet | 0x41 } else { *octet }).collect();
        octets.iter_mut().filter(|octet| **octet == 0x7f).for_each(|octet| *octet = b'~');
    }
    let mut value = HeaderValue::from_bytes(&octets).expect("octets of a value");
    value.set_sensitive(tape.one_in(5));
    value
}

/// The code is one to one: what can be encoded decodes, and what decodes is the encoding of what it decodes to.
fn huffman(octets: &[u8]) {
    let mut coded = Vec::new();
    huffman_encode(octets, &mut coded);
    assert_eq!(unhuffman(&coded).expect("our own code"), octets);
    if let Some(text) = unhuffman(octets) {
        let mut again = Vec::new();
        huffman_encode(&text, &mut again);
        assert_eq!(again, octets);
    }
}

fn unhuffman(coded: &[u8]) -> Option<Vec<u8>> {
    // The room that the decoder asks for besides.
    let mut out = vec![0; huffman_max_decoded_len(coded.len()) + 64];
    let length = huffman_decode(coded, &mut out).ok()?;
    out.truncate(length);
    Some(out)
}
