//! Properties of the two halves together, and of the decoder on octets that nobody encoded.

use http::header::{HeaderName, HeaderValue};
use proptest::collection::vec;
use proptest::prelude::*;
use wakering::internals::hpack::{Decoder, Encoder, Field, FieldLimits};

/// What happens on a connection, in order.
#[derive(Debug, Clone)]
enum Step {
    /// The decoder's settings change; both sides know before the next block.
    TableSize(u32),
    /// The encoder gives its memory back.
    Rest,
    Block(Vec<(HeaderName, HeaderValue)>),
}

fn name() -> impl Strategy<Value = HeaderName> {
    prop_oneof![
        prop::sample::select(vec![
            "server",
            "date",
            "content-type",
            "content-length",
            "etag",
            "cookie",
            "set-cookie",
            "authorization",
            "accept-encoding",
            "x-request-id",
        ])
        .prop_map(HeaderName::from_static),
        "[a-z0-9!#$%&'*+.^_`|~-]{1,40}"
            .prop_map(|name| HeaderName::from_lowercase(name.as_bytes()).expect("a legal field")),
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let octets = prop_oneof![
        prop::sample::select(vec!["", "0", "gzip, deflate", "wakering", "text/html"])
            .prop_map(|text| text.as_bytes().to_vec()),
        vec(prop_oneof![0x21..0x7fu8, 0x80..=0xffu8], 0..40),
        vec(0x21..0x7fu8, 0..200),
    ];
    (octets, prop::bool::weighted(0.1)).prop_map(|(octets, sensitive)| {
        let mut value = HeaderValue::from_bytes(&octets).expect("a legal field");
        value.set_sensitive(sensitive);
        value
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => prop::sample::select(vec![0, 1, 32, 40, 100, 300, 4096, 10_000]).prop_map(Step::TableSize),
        1 => Just(Step::Rest),
        4 => vec((name(), value()), 0..12).prop_map(Step::Block),
    ]
}

fn roomy() -> FieldLimits {
    FieldLimits { fields: 1000, cookie_crumbs: 1000, list_bytes: 1 << 20, block_bytes: 1 << 20 }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::new();
    let decoded = decoder.decode(block, &roomy(), |field| {
        let Field::Header { name, value, .. } = field else { panic!("{field:?}") };
        fields.push((name, value));
    });
    assert_eq!(decoded.expect("our own block").excess, None);
    fields
}

fn encode(encoder: &mut Encoder, fields: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin_block(&mut out);
    for (name, value) in fields {
        encoder.encode_field(name, value, &mut out);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// What goes in comes out, whatever the table sizes do in between; what was sensitive still is.
    #[test]
    fn blocks_survive_a_round_trip(steps in vec(step(), 1..40)) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        for step in steps {
            match step {
                Step::TableSize(size) => {
                    decoder.set_max_table_size(size as usize);
                    encoder.set_peer_table_size(size);
                }
                Step::Rest => encoder.rest(),
                Step::Block(fields) => {
                    let block = encode(&mut encoder, &fields);
                    let decoded = decode(&mut decoder, &block);
                    prop_assert_eq!(&decoded, &fields);
                    for ((_, one), (_, other)) in decoded.iter().zip(&fields) {
                        prop_assert!(one.is_sensitive() >= other.is_sensitive());
                    }
                }
            }
        }
    }

    /// A block during whose encoding the generation stood still may be sent again until it moves.
    #[test]
    fn a_cached_block_is_valid_for_its_generation(blocks in vec(vec((name(), value()), 0..6), 2..12)) {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
        let mut cached: Option<(u64, Vec<u8>, Vec<_>)> = None;
        for fields in blocks {
            for _ in 0..3 {
                if let Some((generation, block, fields)) = &cached {
                    if *generation == encoder.generation() {
                        prop_assert_eq!(&decode(&mut decoder, block), fields);
                    }
                }
                let before = encoder.generation();
                let block = encode(&mut encoder, &fields);
                prop_assert_eq!(&decode(&mut decoder, &block), &fields);
                if encoder.generation() == before {
                    cached = Some((before, block, fields.clone()));
                }
            }
            // By the third time nothing is left to index, unless it may not be or does not fit.
            prop_assert!(cached.as_ref().is_some_and(|(_, _, cached)| *cached == fields));
        }
    }
}

const SEED: u64 = 0x5eed_7541;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Random octets, and legal blocks with octets changed: any result, but no panic, and nothing above the limits.
#[test]
fn no_octets_make_the_decoder_panic_or_pass_its_limits() {
    println!("seed {SEED:#x}");
    let limits = FieldLimits { fields: 7, cookie_crumbs: 2, list_bytes: 500, block_bytes: 64 };
    let mut state = SEED;
    let (mut good, mut broken, mut over) = (0, 0, 0);
    while broken < 20_000 {
        let mut decoder = Decoder::new(200);
        loop {
            let mut block: Vec<u8> = (0..next(&mut state) % 66).map(|_| next(&mut state) as u8).collect();
            if next(&mut state) % 2 == 0 {
                block = legal_block_with_changes(&mut state);
            }
            let (mut delivered, mut size) = (0, 0);
            let result = decoder.decode(&block, &limits, |field| {
                delivered += 1;
                if let Field::Header { name, value, .. } = field {
                    size += name.as_str().len() + value.len() + 32;
                }
            });
            assert!(delivered <= 9 && size <= 500, "{delivered} fields, {size} octets");
            match result {
                Ok(decoded) => {
                    good += 1;
                    over += u32::from(decoded.excess.is_some());
                }
                Err(_) => {
                    broken += 1;
                    break;
                }
            }
        }
    }
    println!("{good} decoded, of these {over} over a limit; {broken} broken");
    assert!(good > 1000 && over > 100);
}

fn legal_block_with_changes(state: &mut u64) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x41, 0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab];
    block.extend([
        0x90, 0xf4, 0xff, 0x58, 0x86, 0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf, 0xbe, 0xbf, 0x60, 0x01, b'a',
    ]);
    for _ in 0..next(state) % 3 {
        let at = next(state) as usize % block.len();
        block[at] = next(state) as u8;
    }
    block
}
