//! RFC 7541 appendix C: every example through the public decoder, and back through the encoder where the
//! RFC's choices are ours.

use http::header::{HeaderName, HeaderValue};
use wakering::internals::hpack::{Decoder, Encoder, Field, FieldLimits};

/// Renders a field the way the RFC prints it.
fn text(field: &Field) -> String {
    match field {
        Field::Method(method) => format!(":method: {method}"),
        Field::Scheme(scheme) => format!(":scheme: {scheme}"),
        Field::Authority(authority) => format!(":authority: {authority}"),
        Field::Path(path) => format!(":path: {path}"),
        Field::Protocol(protocol) => format!(":protocol: {}", String::from_utf8_lossy(protocol)),
        Field::Status(status) => format!(":status: {}", status.as_str()),
        Field::Header { name, value, .. } => format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())),
        Field::Malformed(defect) => format!("{defect:?}"),
    }
}

fn decode(decoder: &mut Decoder, hex: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let decoded = decoder
        .decode(&octets(hex), &FieldLimits::default(), |field| fields.push(text(&field)))
        .expect("an example of the RFC");
    assert_eq!(decoded.excess, None);
    assert_eq!(decoded.fields as usize, fields.len());
    fields
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("hexadecimal"), 16).expect("hexadecimal")
        })
        .collect()
}

/// C.2.1 to C.2.4: one representation each, on a fresh decoder.
#[test]
fn single_representations() {
    let cases = [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key: custom-header"),
        ("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path"),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret"),
        ("82", ":method: GET"),
    ];
    for (hex, expected) in cases {
        assert_eq!(decode(&mut Decoder::new(4096), hex), [expected]);
    }
}

/// C.2.3: the never-indexed representation marks the value.
#[test]
fn a_never_indexed_value_is_sensitive() {
    let mut decoder = Decoder::new(4096);
    let mut seen = None;
    let block = octets("1008 7061 7373 776f 7264 0673 6563 7265 74");
    decoder.decode(&block, &FieldLimits::default(), |field| seen = Some(field)).unwrap();
    let Some(Field::Header { value, .. }) = seen else { panic!("no field") };
    assert!(value.is_sensitive());
}

const REQUESTS: [&[&str]; 3] = [
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
    &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"],
    &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ],
];

/// C.3: requests without Huffman coding.
#[test]
fn plain_requests() {
    let mut decoder = Decoder::new(4096);
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    for (block, expected) in blocks.iter().zip(REQUESTS) {
        assert_eq!(decode(&mut decoder, block), expected);
    }
}

/// C.4: requests with Huffman coding.
const CODED_REQUESTS: [&str; 3] = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];

#[test]
fn coded_requests() {
    let mut decoder = Decoder::new(4096);
    for (block, expected) in CODED_REQUESTS.iter().zip(REQUESTS) {
        assert_eq!(decode(&mut decoder, block), expected);
    }
}

/// C.4 in the other direction. The RFC indexes `custom-key` at sight where we wait for it to come again,
/// so that field is left out.
#[test]
fn our_encoder_makes_the_coded_requests() {
    let mut encoder = Encoder::new();
    for (block, fields) in CODED_REQUESTS.iter().zip(REQUESTS) {
        let mut out = Vec::new();
        encoder.begin_block(&mut out);
        for field in fields.iter().filter(|field| !field.starts_with("custom-key")) {
            let (name, value) = field.rsplit_once(": ").unwrap();
            match name {
                ":method" => encoder.encode_method(&value.parse().unwrap(), &mut out),
                ":scheme" => encoder.encode_scheme(&value.parse().unwrap(), &mut out),
                ":path" => encoder.encode_path(value, &mut out),
                ":authority" => encoder.encode_authority(value, &mut out),
                _ => encoder.encode_field(
                    &HeaderName::from_static("cache-control"),
                    &HeaderValue::from_static("no-cache"),
                    &mut out,
                ),
            }
        }
        let expected = octets(block);
        assert_eq!(out, expected[..out.len()]);
        assert!(out.len() >= 4);
    }
}

const RESPONSES: [&[&str]; 3] = [
    &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 307",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ],
    &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
];

/// C.5: responses without Huffman coding, in a table of 256 octets that evicts.
#[test]
fn plain_responses_with_eviction() {
    let mut decoder = Decoder::new(256);
    let blocks = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 \
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 \
         6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d \
         54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 \
         5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e \
         3d31",
    ];
    for (block, expected) in blocks.iter().zip(RESPONSES) {
        assert_eq!(decode(&mut decoder, block), expected);
    }
}

/// C.6: responses with Huffman coding, in a table of 256 octets that evicts.
#[test]
fn coded_responses_with_eviction() {
    let mut decoder = Decoder::new(256);
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 \
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab \
         77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f \
         9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    for (block, expected) in blocks.iter().zip(RESPONSES) {
        assert_eq!(decode(&mut decoder, block), expected);
    }
}
