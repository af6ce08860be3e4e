//! What the decoder refuses, what it reports, and that the shared state survives what it reports.
//!
//! An `Err` costs the connection (RFC 9113 §4.3); a `Malformed` field and a passed limit cost one message.

use http::header::HeaderValue;
use wakering::internals::hpack::{
    DecodeError, Decoded, Decoder, Defect, Encoder, Excess, Field, FieldKind, FieldLimits,
};

fn decode_with(
    decoder: &mut Decoder,
    block: &[u8],
    limits: &FieldLimits,
) -> Result<(Decoded, Vec<Field>), DecodeError> {
    let mut fields = Vec::new();
    let decoded = decoder.decode(block, limits, |field| fields.push(field))?;
    Ok((decoded, fields))
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<Field>, DecodeError> {
    decode_with(decoder, block, &FieldLimits::default()).map(|(_, fields)| fields)
}

/// A literal with two plain strings; `first` is the representation's first octet.
fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    assert!(name.len() < 127 && value.len() < 127);
    [&[first, name.len() as u8], name, &[value.len() as u8], value].concat()
}

const INDEXED: u8 = 0x40;
const UNINDEXED: u8 = 0x00;

#[test]
fn broken_blocks_cost_the_connection() {
    use DecodeError::*;
    let cases: &[(&str, &[u8], DecodeError)] = &[
        ("index 0 (RFC 7541 §6.1)", &[0x80], InvalidIndex),
        ("index behind an empty dynamic table", &[0xbe], InvalidIndex),
        ("name index behind the table", &[0x7f, 0x00, 0x01, b'x'], InvalidIndex),
        ("name index of an unindexed literal", &[0x0f, 0x40, 0x01, b'x'], InvalidIndex),
        ("huge index", &[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], IntegerOverflow),
        ("index that never ends", &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80], IntegerOverflow),
        ("index that is cut", &[0xff, 0x80], Truncated),
        ("literal without name", &[0x40], Truncated),
        ("literal with cut name", &[0x40, 0x05, b'a'], Truncated),
        ("literal without value", &[0x40, 0x01, b'a'], Truncated),
        ("literal with cut value", &[0x40, 0x01, b'a', 0x02, b'b'], Truncated),
        ("string length that overflows", &[0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f], IntegerOverflow),
        ("string length of 4 GiB", &[0x40, 0x7f, 0x80, 0xff, 0xff, 0xff, 0x0f], Truncated),
        ("size update above the limit", &[0x3f, 0xe2, 0x1f], SizeUpdateTooLarge),
        ("size update behind a field", &[0x82, 0x20], SizeUpdateMisplaced),
        ("three size updates", &[0x20, 0x20, 0x20], SizeUpdateMisplaced),
        ("cut size update", &[0x3f], Truncated),
    ];
    for (what, block, expected) in cases {
        assert_eq!(decode(&mut Decoder::new(4096), block), Err(*expected), "{what}");
    }
}

/// RFC 7541 §5.2: EOS inside, padding of more than seven bits, padding that is not all ones.
#[test]
fn broken_huffman_strings_cost_the_connection() {
    let cases: &[(&str, &[u8], bool)] = &[
        ("empty", &[], true),
        ("'0' and three ones", &[0x07], true),
        ("'0' and three zeros", &[0x00], false),
        ("'0' and a zero among the padding", &[0x06], false),
        ("eight bits of padding", &[0xff], false),
        ("'0', three ones and eight more", &[0x07, 0xff], false),
        ("an eight bit code without padding", &[0xf8], true),
        ("an eight bit code and eight ones", &[0xf8, 0xff], false),
        ("EOS", &[0xff, 0xff, 0xff, 0xfc], false),
        ("EOS and padding", &[0xff, 0xff, 0xff, 0xff], false),
        ("'0' and EOS", &[0x07, 0xff, 0xff, 0xff, 0xff], false),
        ("a long code cut", &[0xff, 0xff], false),
    ];
    for (what, octets, legal) in cases {
        let block = [&[0x00, 0x01, b'a', 0x80 | octets.len() as u8], *octets].concat();
        let result = decode(&mut Decoder::new(4096), &block);
        if *legal {
            assert!(result.is_ok(), "{what}: {result:?}");
        } else {
            assert_eq!(result, Err(DecodeError::InvalidHuffman), "{what}");
        }
    }
}

#[test]
fn every_prefix_of_a_block_is_a_shorter_block_or_truncated() {
    let block = [&[0x82, 0x84][..], &literal(INDEXED, b"name", b"value"), &[0x87]].concat();
    for end in 0..block.len() {
        let result = decode(&mut Decoder::new(4096), &block[..end]);
        let whole = [0, 1, 2, block.len() - 1].contains(&end);
        assert_eq!(result.is_ok(), whole, "{end}: {result:?}");
    }
}

/// RFC 9113 §8.2.1: such a message is malformed, but the table goes on, and the entry can be referred to.
#[test]
fn malformed_fields_are_reported_and_keep_their_place_in_the_table() {
    let cases: &[(&[u8], &[u8], Defect)] = &[
        (b"Name", b"v", Defect::Name),
        (b"", b"v", Defect::Name),
        (b"na me", b"v", Defect::Name),
        (b"na:me", b"v", Defect::Name),
        (b"na\x7fme", b"v", Defect::Name),
        (b"na\xe4me", b"v", Defect::Name),
        (b":unknown", b"v", Defect::UnknownPseudo),
        (b":", b"v", Defect::UnknownPseudo),
        (b":Method", b"GET", Defect::UnknownPseudo),
        (b"name", b" v", Defect::Value),
        (b"name", b"v ", Defect::Value),
        (b"name", b"\tv", Defect::Value),
        (b"name", b"v\t", Defect::Value),
        (b"name", b"a\rb", Defect::Value),
        (b"name", b"a\nb", Defect::Value),
        (b"name", b"a\0b", Defect::Value),
        (b"name", b"a\x7fb", Defect::Value),
        (b":method", b"", Defect::Method),
        (b":method", b"G ET", Defect::Method),
        (b":scheme", b"", Defect::Scheme),
        (b":scheme", b"ht tp", Defect::Scheme),
        (b":scheme", b"1http", Defect::Scheme),
        (b":authority", b"", Defect::Authority),
        (b":authority", b"a b", Defect::Authority),
        (b":authority", b"a/b", Defect::Authority),
        (b":authority", b"a?b", Defect::Authority),
        (b":authority", b"a#b", Defect::Authority),
        (b":authority", b"[::1", Defect::Authority),
        (b":path", b"", Defect::Path),
        (b":path", b"/a b", Defect::Path),
        (b":path", b"/a#b", Defect::Path),
        (b":path", b"/a?b#", Defect::Path),
        (b":path", b"a", Defect::Path),
        (b":path", b"http://a/", Defect::Path),
        (b":protocol", b"", Defect::Protocol),
        (b":protocol", b"web socket", Defect::Protocol),
        (b":status", b"", Defect::Status),
        (b":status", b"2000", Defect::Status),
        (b":status", b"2x0", Defect::Status),
    ];
    for (name, value, defect) in cases {
        let what = String::from_utf8_lossy(name);
        let mut decoder = Decoder::new(4096);
        let first = literal(INDEXED, b"before", b"1");
        let block = [&first[..], &literal(INDEXED, name, value), &[0xbe, 0xbf]].concat();
        let fields = decode(&mut decoder, &block).unwrap();
        assert_eq!(fields[1], Field::Malformed(*defect), "{what}");
        assert_eq!(fields[2], Field::Malformed(*defect), "{what}");
        assert_eq!(fields[3], fields[0], "{what}");
        let unindexed = decode(&mut decoder, &literal(UNINDEXED, name, value)).unwrap();
        assert_eq!(unindexed, [Field::Malformed(*defect)], "{what}");
    }
}

#[test]
fn a_good_name_can_be_borrowed_from_a_malformed_field() {
    let mut decoder = Decoder::new(4096);
    let block = [&literal(INDEXED, b"name", b"a\nb")[..], &[0x7e, 0x01, b'v']].concat();
    let fields = decode(&mut decoder, &block).unwrap();
    assert_eq!(fields[0], Field::Malformed(Defect::Value));
    let expected = Field::Header {
        name: "name".parse().unwrap(),
        value: HeaderValue::from_static("v"),
        kind: FieldKind::Ordinary,
    };
    assert_eq!(fields[1], expected);
}

/// Index 1 is `:authority` with an empty value, which no request may have; as a name it is fine.
#[test]
fn the_static_authority_lends_its_name_only() {
    let mut decoder = Decoder::new(4096);
    assert_eq!(decode(&mut decoder, &[0x81]).unwrap(), [Field::Malformed(Defect::Authority)]);
    let fields = decode(&mut decoder, &[0x41, 0x01, b'a', 0xbe]).unwrap();
    assert_eq!(fields, [Field::Authority("a".parse().unwrap()), Field::Authority("a".parse().unwrap())]);
}

#[test]
fn legal_oddities_pass() {
    let mut decoder = Decoder::new(4096);
    let empty_value = decode(&mut decoder, &literal(UNINDEXED, b"name", b"")).unwrap();
    assert!(matches!(&empty_value[..], [Field::Header { value, .. }] if value.is_empty()));
    let inner_blank = decode(&mut decoder, &literal(UNINDEXED, b"name", b"a \t b\xe4")).unwrap();
    assert!(matches!(&inner_blank[..], [Field::Header { .. }]));
    // Index 2 with zero continuation octets as padding.
    assert_eq!(decode(&mut decoder, &[0xff, 0x80, 0x80, 0x00]), Err(DecodeError::InvalidIndex));
    assert_eq!(decode(&mut decoder, &[]), Ok(Vec::new()));
}

/// RFC 7541 §2.3.2.
#[test]
fn duplicate_entries_are_no_error() {
    let mut decoder = Decoder::new(4096);
    let block = [literal(INDEXED, b"a", b"1").repeat(3), vec![0xbe, 0xbf, 0xc0]].concat();
    let fields = decode(&mut decoder, &block).unwrap();
    assert_eq!(fields.len(), 6);
    assert!(fields.iter().all(|field| field == &fields[0]));
}

/// RFC 7541 §6.2.3 and §7.1.3: who hands such a field on uses the same representation.
#[test]
fn a_never_indexed_field_is_sent_on_as_such() {
    for first in [0x10, 0x40] {
        let block = literal(first, b"x-plain", b"secret");
        let fields = decode(&mut Decoder::new(4096), &block).unwrap();
        let [Field::Header { name, value, .. }] = &fields[..] else { panic!("{fields:?}") };
        let mut encoder = Encoder::new();
        for _ in 0..3 {
            let mut out = Vec::new();
            encoder.encode_field(name, value, &mut out);
            assert_eq!(out[0] & 0xf0 == 0x10, first == 0x10);
        }
    }
}

#[test]
fn names_with_a_meaning_are_told_apart() {
    let cases = [
        ("cookie", FieldKind::Cookie),
        ("content-length", FieldKind::ContentLength),
        ("host", FieldKind::Host),
        ("te", FieldKind::Te),
        ("expect", FieldKind::Expect),
        ("priority", FieldKind::Priority),
        ("connection", FieldKind::ConnectionSpecific),
        ("keep-alive", FieldKind::ConnectionSpecific),
        ("proxy-connection", FieldKind::ConnectionSpecific),
        ("transfer-encoding", FieldKind::ConnectionSpecific),
        ("upgrade", FieldKind::ConnectionSpecific),
        ("cookie2", FieldKind::Ordinary),
    ];
    for (name, expected) in cases {
        // Literal, from the dynamic table, and as a borrowed name.
        let block = [&literal(INDEXED, name.as_bytes(), b"1")[..], &[0xbe, 0x7e, 0x01, b'2']].concat();
        for field in decode(&mut Decoder::new(4096), &block).unwrap() {
            assert!(matches!(field, Field::Header { kind, .. } if kind == expected), "{name}: {field:?}");
        }
    }
    // The static table's own names.
    for index in 15..=61u8 {
        let [Field::Header { name, kind, .. }] =
            &decode(&mut Decoder::new(4096), &[0x80 | index]).unwrap()[..]
        else {
            panic!("index {index}")
        };
        assert_eq!(*kind, FieldKind::of(name), "{name}");
    }
}

#[test]
fn entries_are_evicted_by_size_and_too_large_ones_empty_the_table() {
    let mut decoder = Decoder::new(70);
    decode(&mut decoder, &literal(INDEXED, b"a", b"1")).unwrap();
    decode(&mut decoder, &literal(INDEXED, b"b", b"2")).unwrap();
    assert!(decode(&mut decoder, &[0xbe, 0xbf]).is_ok());
    // Borrows the name of the entry that its own insertion evicts (RFC 7541 §4.4).
    let fields = decode(&mut decoder, &[0x7f, 0x00, 0x03, b'3', b'3', b'3', 0xbe]).unwrap();
    assert!(matches!(&fields[1], Field::Header { name, value, .. } if name == "a" && value == "333"));
    assert!(decode(&mut decoder, &[0xbf]).is_ok());
    assert_eq!(decode(&mut decoder, &[0xc0]), Err(DecodeError::InvalidIndex));
    let mut decoder = Decoder::new(70);
    decode(&mut decoder, &literal(INDEXED, b"a", b"1")).unwrap();
    decode(&mut decoder, &literal(INDEXED, b"b", &[b'x'; 40])).unwrap();
    assert_eq!(decode(&mut decoder, &[0xbe]), Err(DecodeError::InvalidIndex));
}

#[test]
fn size_updates_follow_the_settings() {
    // Lowered: the next block must begin with an update at most that large (RFC 7541 §4.2).
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(100);
    assert_eq!(decode(&mut decoder, &[0x82]), Err(DecodeError::SizeUpdateMissing));
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(100);
    assert_eq!(decode(&mut decoder, &[0x3f, 0x46, 0x82]), Err(DecodeError::SizeUpdateTooLarge));
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(100);
    assert!(decode(&mut decoder, &[0x3f, 0x45, 0x82]).is_ok());
    assert!(decode(&mut decoder, &[0x82]).is_ok(), "once is enough");
    // Lowered and raised before the next block: the low point must be signalled, then the end point may be.
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(0);
    decoder.set_max_table_size(4096);
    assert!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]).is_ok());
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(0);
    decoder.set_max_table_size(4096);
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x1f, 0x82]), Err(DecodeError::SizeUpdateMissing));
    // Raised: the peer need not use it.
    let mut decoder = Decoder::new(4096);
    decoder.set_max_table_size(8192);
    assert!(decode(&mut decoder, &[0x82]).is_ok());
    assert!(decode(&mut decoder, &[0x3f, 0xe1, 0x3f, 0x82]).is_ok());
}

#[test]
fn a_size_update_to_zero_empties_the_table() {
    let mut decoder = Decoder::new(4096);
    decode(&mut decoder, &literal(INDEXED, b"a", b"1")).unwrap();
    decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f]).unwrap();
    assert_eq!(decode(&mut decoder, &[0xbe]), Err(DecodeError::InvalidIndex));
}

fn limits(fields: u32, cookie_crumbs: u32, list_bytes: u32) -> FieldLimits {
    FieldLimits { fields, cookie_crumbs, list_bytes, ..FieldLimits::default() }
}

#[test]
fn limits_hold_to_the_field_and_to_the_octet() {
    let block = [0x82, 0x84, 0x87]; // 42 + 38 + 44 octets
    let check = |limits: FieldLimits| {
        let (decoded, fields) = decode_with(&mut Decoder::new(4096), &block, &limits).unwrap();
        assert_eq!((decoded.fields, decoded.list_bytes), (3, 124));
        (decoded.excess, fields.len())
    };
    assert_eq!(check(limits(3, 0, 124)), (None, 3));
    assert_eq!(check(limits(2, 0, 124)), (Some(Excess::Fields), 2));
    assert_eq!(check(limits(3, 0, 123)), (Some(Excess::ListBytes), 2));
    assert_eq!(check(limits(0, 0, 124)), (Some(Excess::Fields), 0));
}

/// RFC 9113 §8.2.3 lets a client split cookies: crumbs have a limit of their own.
#[test]
fn cookie_crumbs_are_counted_apart() {
    let crumbs = [literal(INDEXED, b"cookie", b"a=1"), vec![0xbe; 9], vec![0x82]].concat();
    let (decoded, fields) = decode_with(&mut Decoder::new(4096), &crumbs, &limits(1, 10, 10_000)).unwrap();
    assert_eq!((decoded.excess, fields.len()), (None, 11));
    let (decoded, fields) = decode_with(&mut Decoder::new(4096), &crumbs, &limits(1, 9, 10_000)).unwrap();
    assert_eq!((decoded.excess, fields.len()), (Some(Excess::CookieCrumbs), 9));
    assert_eq!(decoded.cookie_crumbs, 10);
}

/// The message is refused, the next one is understood.
#[test]
fn the_table_goes_on_behind_a_passed_limit() {
    let mut decoder = Decoder::new(4096);
    let block =
        [&literal(INDEXED, b"a", b"1")[..], &literal(INDEXED, b"b", b"2"), &literal(UNINDEXED, b"c", b"3")]
            .concat();
    let (decoded, fields) = decode_with(&mut decoder, &block, &limits(0, 0, 10_000)).unwrap();
    assert_eq!((decoded.excess, decoded.fields, fields.len()), (Some(Excess::Fields), 3, 0));
    let fields = decode(&mut decoder, &[0xbe, 0xbf]).unwrap();
    let names: Vec<_> = fields
        .iter()
        .map(|field| if let Field::Header { name, .. } = field { name.as_str() } else { "" })
        .collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(decode(&mut decoder, &[0xc0]), Err(DecodeError::InvalidIndex));
}

/// CVE-2016-6581: a large entry referred to by one octet, again and again.
#[test]
fn a_bomb_is_counted_and_not_delivered() {
    let mut decoder = Decoder::new(4096);
    let mut block = vec![0x40, 0x01, b'a', 0x7f, 0x81, 0x1e]; // value of 3,968 octets
    block.extend([b'x'; 3968]);
    decode(&mut decoder, &block).unwrap();
    let bomb = vec![0xbe; 28_000];
    let (decoded, fields) = decode_with(&mut decoder, &bomb, &FieldLimits::default()).unwrap();
    assert_eq!(decoded.excess, Some(Excess::ListBytes));
    assert_eq!(decoded.list_bytes, 28_000 * 4_001);
    assert_eq!(fields.len(), 4);
}

#[test]
fn a_block_over_the_hard_cap_is_not_read() {
    let limits = FieldLimits { block_bytes: 10, ..FieldLimits::default() };
    assert!(decode_with(&mut Decoder::new(4096), &[0x82; 10], &limits).is_ok());
    assert_eq!(decode_with(&mut Decoder::new(4096), &[0x82; 11], &limits), Err(DecodeError::BlockTooLong));
}

fn block(encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    out
}

/// RFC 7541 §4.2: the lowest and the last size, once, and only if they changed.
#[test]
fn the_encoder_announces_its_table_sizes() {
    let mut encoder = Encoder::new();
    assert_eq!(block(&mut encoder), []);
    encoder.set_peer_table_size(4096);
    assert_eq!(block(&mut encoder), []);
    encoder.set_peer_table_size(0);
    assert_eq!(block(&mut encoder), [0x20]);
    assert_eq!(block(&mut encoder), []);
    encoder.set_peer_table_size(30);
    encoder.set_peer_table_size(10);
    encoder.set_peer_table_size(20);
    assert_eq!(block(&mut encoder), [0x2a, 0x34]);
    encoder.set_peer_table_size(u32::MAX);
    assert_eq!(block(&mut encoder), [0x3f, 0xe1, 0x1f]);
}

fn encode(encoder: &mut Encoder, name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode_field(
        &name.parse().expect("a legal field"),
        &value.parse().expect("a legal field"),
        &mut out,
    );
    out
}

#[test]
fn stable_names_are_indexed_at_sight_and_others_when_they_repeat() {
    let mut encoder = Encoder::new();
    let before = encoder.generation();
    assert_eq!(encode(&mut encoder, "server", "wakering")[0] & 0xc0, 0x40);
    assert_ne!(encoder.generation(), before);
    let after = encoder.generation();
    assert_eq!(encode(&mut encoder, "server", "wakering"), [0xbe]);
    for value in 0..50 {
        let octets = encode(&mut encoder, "etag", &format!("value {value}"));
        assert_eq!(octets[0] & 0xf0, 0x00, "{value}");
    }
    assert_eq!(encoder.generation(), after);
    assert_eq!(encode(&mut encoder, "x-custom", "a")[0] & 0xf0, 0x00);
    assert_eq!(encode(&mut encoder, "x-custom", "a")[0] & 0xc0, 0x40);
    assert_eq!(encode(&mut encoder, "x-custom", "a"), [0xbe]);
    // The name alone is borrowed from the dynamic table.
    assert_eq!(encode(&mut encoder, "x-custom", "b"), [0x0f, 62 - 15, 0x01, b'b']);
}

/// RFC 7541 §7.1.3.
#[test]
fn secrets_are_never_indexed() {
    let mut encoder = Encoder::new();
    for _ in 0..3 {
        for (name, value) in [("authorization", "Basic x"), ("proxy-authorization", "y"), ("cookie", "a=b")] {
            assert_eq!(encode(&mut encoder, name, value)[0] & 0xf0, 0x10, "{name}");
        }
        assert_eq!(encode(&mut encoder, "set-cookie", "a=b")[0] & 0xf0, 0x00);
        let mut value = HeaderValue::from_static("secret");
        value.set_sensitive(true);
        let mut out = Vec::new();
        encoder.encode_field(&"server".parse().unwrap(), &value, &mut out);
        assert_eq!(out[0] & 0xf0, 0x10);
    }
    assert_eq!(encoder.generation(), 0);
}

#[test]
fn the_static_tables_pairs_cost_one_octet() {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    for status in [200, 204, 206, 304, 400, 404, 500] {
        encoder.encode_status(status.try_into().unwrap(), &mut out);
    }
    encoder.encode_method(&"GET".parse().unwrap(), &mut out);
    encoder.encode_method(&"POST".parse().unwrap(), &mut out);
    encoder.encode_path("/", &mut out);
    encoder.encode_path("/index.html", &mut out);
    encoder.encode_scheme(&"http".parse().unwrap(), &mut out);
    encoder.encode_scheme(&"https".parse().unwrap(), &mut out);
    out.extend(encode(&mut encoder, "accept-encoding", "gzip, deflate"));
    let expected = [8, 9, 10, 11, 12, 13, 14, 2, 3, 4, 5, 6, 7, 16].map(|index| 0x80 | index);
    assert_eq!(out, expected);
}
