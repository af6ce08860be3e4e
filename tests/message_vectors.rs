//! What the Python package puts on the wire, octet for octet, in both directions.
#![cfg(feature = "message")]
#![expect(clippy::unwrap_used, reason = "a test ends at its first failure")]

use bytes::Bytes;
use wakering::internals::message::{
    DecodeError, Decoder, EncodeError, Fields, FieldsError, Kind, Kinds, Message, UnpackError, Value,
    plugins::{AuthPlugin, BoxCipher, CipherPlugin, HmacAuth, PluginError, Scene, StreamCipher, WitnessAuth},
};

/// Type, uri, content, frame.
const PLAIN: [(Kind, &str, &str, &str); 19] = [
    (Kind::REQUEST_URI, "echo", "", "00000300067202e84d4d400000046563686f"),
    (Kind::REQUEST_URI, "echo", "hello", "000003000b9b359cb34d400000046563686f68656c6c6f"),
    (Kind::RESPOND_URI, "echo", "hello", "010003000b9b359cb34d400000046563686f68656c6c6f"),
    (Kind::CREATE_URI, "test1", "hello", "020003000ce6386cfc4d40000005746573743168656c6c6f"),
    (Kind::UPDATE_URI, "test1", "hello", "030003000ce6386cfc4d40000005746573743168656c6c6f"),
    (Kind::DELETE_URI, "test1", "", "0400030007813165324d400000057465737431"),
    (Kind::SUBSCRIBE_URI, "news", "", "050003000678d5412f4d400000046e657773"),
    (Kind::UNSUBSCRIBE_URI, "news", "", "060003000678d5412f4d400000046e657773"),
    (Kind::PUBLISH_URI, "news", "hello", "070003000b3a8d252e4d400000046e65777368656c6c6f"),
    (Kind::NOTIFY_URI, "news", "hello", "080003000b3a8d252e4d400000046e65777368656c6c6f"),
    (Kind::CONFIRM_SUBSCRIBE, "news", "", "0b0003000678d5412f4d400000046e657773"),
    (Kind::CONFIRM_UNSUBSCRIBE, "news", "", "0c0003000678d5412f4d400000046e657773"),
    (Kind::OK, "test1", "stored", "0a0003000de64349e34d40000005746573743173746f726564"),
    (Kind::OK, "", "", "0a0003000241d912ff4d40000000"),
    (
        Kind::ERROR,
        "ERROR",
        "invalid message",
        "14000300162ab916634d400000054552524f52696e76616c6964206d657373616765",
    ),
    (
        Kind::AUTH_ERROR,
        "ERROR",
        "HMAC auth failed",
        "1700030017c7eb481f4d400000054552524f52484d41432061757468206661696c6564",
    ),
    (Kind::NOT_FOUND, "", "not found", "180003000b7fca84a84d400000006e6f7420666f756e64"),
    (Kind::NOT_FOUND, "ERROR", "not found", "18000300104faca4f34d400000054552524f526e6f7420666f756e64"),
    (Kind::NOT_PERMITTED, "", "not permitted", "190003000fae416c854d400000006e6f74207065726d6974746564"),
];

const PEER: &str = "0021a06ed44c4d400000066e657461696f4c400212024110101112131415161718191a1b1c1d1e1f4100";

/// REQUEST_URI echo, secret "test".
const HMAC: &str = "00006000067202e84d4d40030f2d1e4c40020406430274734104654321004c400206224304686d61634120134b1787a58047\
00780aff3c15636ef880c781a3b123e219d3d6b9065204439c4c4002071243056e6f6e63654110101112131415161718191a1b1c1d1e1f00046563686f";

/// CREATE_URI test1 hello: inner "adminpassword" in `camh`, outer "test".
const TWO_LAYERS: &str = "02008e000ce6386cfc4d40040f2d2d1e4c40020406430274734104654321004c40020622430463616d6841208aa2cf51\
0c6b7fe5b5e5a07bf7f97c211454eaf071344f349bb62814c6b73ea74c400206224304686d61634120d2124e649a9afa9fac1944e4dd87ed24ab64cf489\
89a372ea52ff17a555c833a4c4002071243056e6f6e63654110101112131415161718191a1b1c1d1e1f0005746573743168656c6c6f";

/// REQUEST_URI echo hello, key "test": with the uri hidden and cut after 3; with the uri readable; the first within HMAC.
const STREAM: [&str; 3] = [
    "00001f000d4d62d6764d40011b4c40020412430269764110a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00032a35edf3f3c598e7bdca71",
    "00001f000ba169be3c4d40011b4c40020412430269764110a0a1a2a3a4a5a6a7a8a9aaabacadaeaf00046563686f4254e4fcf4",
    "00007c000d4d62d6764d40040f1b2d1e4c40020406430274734104654321004c40020412430269764110a0a1a2a3a4a5a6a7a8a9aaabacadaeaf4c\
400206224304686d6163412002a0270e31d36cb25eb84c0f8844bb04f0a0104f729e480eb96aa8f5c1c475e94c4002071243056e6f6e6365411010111213\
1415161718191a1b1c1d1e1f00032a35edf3f3c598e7bdca71",
];

/// REQUEST_URI echo hello from the seed 00…1f to the seed 20…3f; what the receiver says of itself.
const BOX: &str = "0000030033d35dee694d400000046563686fc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7fef15a87629da46e500e\
4130c23b110f74a26c4c68";
const BOX_PEER: &str =
    "4d40012f4c4002082243067075626b657941205730800ab340fcb18ce5111eda9d705f91388b41e4544cbd103ba5942db2233e";
const BOX_SENDER: &str = "4701d08488451f545a409fb58ae3e58581ca40ac3f7f114698cd71deac73ca01";

/// REQUEST_URI echo, the seed 00…1f.
const WITNESS: &str = "00008500067202e84d4d40030f1e524c40020406430274734104654321004c4002071243056e6f6e6365411010111213141516\
1718191a1b1c1d1e1f4c4002094443077769746e65737341420340812dc429d2744b815c54e74ac3d77d42014b44a3f6a6caf805b3484e12f2e999a9affa\
59638810b33b8e1e2b898c6c74b5c91994b9bcc92313d03aa31e38830000046563686f";

fn octets(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().map(|digit| (digit as char).to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>().into()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn seed(first: u8) -> [u8; 32] {
    std::array::from_fn(|at| first + at as u8)
}

/// Runs `body` where the time is that of the vectors, and random octets count up from the next of `firsts`.
fn scene<R>(firsts: &[u64], peer: Option<&Value>, body: impl FnOnce(&mut Scene<'_>) -> R) -> R {
    let mut firsts = firsts.iter();
    let mut random = |octets: &mut [u8]| {
        let first = *firsts.next().expect("the vector has no more random octets");
        match octets.len() {
            // Where a ciphertext is cut.
            8 => octets.copy_from_slice(&first.to_be_bytes()),
            _ => octets.iter_mut().zip(0..).for_each(|(octet, at)| *octet = (first + at) as u8),
        }
    };
    body(&mut Scene { unix_time: 0x6543_2100, random: &mut random, peer })
}

fn read(datagram: Bytes) -> Result<Message, DecodeError> {
    Message::from_octets(datagram, &Kinds::new())
}

fn request(content: &'static str) -> Message {
    Message::new(Kind::REQUEST_URI, "echo", content)
}

#[test]
fn frames_are_those_of_the_package_both_ways() {
    for (kind, uri, content, frame) in PLAIN {
        let message = Message::new(kind, uri, content);
        assert_eq!(hex(&message.to_octets().unwrap()), frame, "{kind}");
        assert_eq!(read(octets(frame)).unwrap(), message);
    }
    for (kind, number) in
        [(Kind::ADVERTISE_PEER, "09"), (Kind::PEER_DISCOVERED, "0d"), (Kind::DISCONNECT, "1e")]
    {
        let id: Bytes = (0x10..0x20).collect::<Vec<u8>>().into();
        let peer = Value::Tuple(vec![Value::Bytes(id), Value::Bytes(Bytes::new())]);
        let message = Message::new(kind, "netaio", peer.packed());
        let frame = format!("{number}0003{PEER}");
        assert_eq!(hex(&message.to_octets().unwrap()), frame);
        let read = read(octets(&frame)).unwrap();
        assert_eq!((&read, Value::unpack(&read.content)), (&message, Ok(peer)));
    }
}

#[test]
fn packed_values_are_those_of_the_package_both_ways() {
    let text = |text: &str| Value::Str(text.to_owned());
    let id = Value::Bytes((0x10..0x20).collect::<Vec<u8>>().into());
    let data = Value::Map(vec![(text("a"), Value::Int(1))]);
    let peer = Value::Tuple(vec![id, Value::Bytes(data.packed().into())]);
    let cases = [
        (Value::None, "00"),
        (Value::Bool(true), "0601"),
        (Value::Int(5), "4405"),
        (Value::Int(0), "4400"),
        (Value::Int(300), "84012c"),
        (Value::Int(70_000), "c400011170"),
        (Value::Int(1 << 40), "0406010000000000"),
        (Value::Int(-1), "4501"),
        (Value::Float(1.5), "073ff8000000000000"),
        (text("abc"), "4303616263"),
        (Value::Bytes(Bytes::from_static(b"abc")), "4103616263"),
        (Value::List(vec![Value::Int(1), Value::Int(2)]), "4a4002020244014402"),
        (Value::Tuple(Vec::new()), "4c4000"),
        (Value::Map(Vec::new()), "4d4000"),
        (peer, "4c400212104110101112131415161718191a1b1c1d1e1f410e4d40010a4c400203024301614401"),
    ];
    for (value, packed) in cases {
        assert_eq!(hex(&value.packed()), packed, "{value:?}");
        assert_eq!(Value::unpack(&octets(packed)), Ok(value));
    }
    let long = Value::Map(vec![(text("k"), Value::Bytes(vec![b'x'; 300].into()))]).packed();
    assert_eq!(hex(&long[..18]), "4d800101394c80020003012f43016b81012c");
}

#[test]
fn hmac_is_that_of_the_package_both_ways() {
    let auth = HmacAuth::new("test");
    scene(&[0x10], None, |scene| {
        let mut message = request("");
        auth.sign(&mut message, scene).unwrap();
        assert_eq!(hex(&message.to_octets().unwrap()), HMAC);
        let received = read(octets(HMAC)).unwrap();
        assert!(auth.is_genuine(&received, scene) && !HmacAuth::new("other").is_genuine(&received, scene));
    });
}

#[test]
fn layers_share_nonce_and_time() {
    let (inner, outer) = (HmacAuth::new("adminpassword").field("camh"), HmacAuth::new("test"));
    scene(&[0x10], None, |scene| {
        let mut message = Message::new(Kind::CREATE_URI, "test1", "hello");
        inner.sign(&mut message, scene).unwrap();
        outer.sign(&mut message, scene).unwrap();
        assert_eq!(hex(&message.to_octets().unwrap()), TWO_LAYERS);
        let received = read(octets(TWO_LAYERS)).unwrap();
        assert!(inner.is_genuine(&received, scene) && outer.is_genuine(&received, scene));
    });
}

#[test]
fn the_stream_cipher_is_that_of_the_package_both_ways() {
    for (frame, cipher, random) in [
        (STREAM[0], StreamCipher::new("test"), &[0xa0, 2][..]),
        (STREAM[1], StreamCipher::new("test").hide_uri(false), &[0xa0]),
    ] {
        scene(random, None, |scene| {
            let mut message = request("hello");
            cipher.encrypt(&mut message, scene).unwrap();
            assert_eq!(hex(&message.to_octets().unwrap()), frame);
            let mut received = read(octets(frame)).unwrap();
            cipher.decrypt(&mut received, scene).unwrap();
            assert_eq!((&received.uri[..], &received.content[..]), (&b"echo"[..], &b"hello"[..]));
        });
    }
}

#[test]
fn a_code_covers_the_encrypted_body() {
    let (cipher, auth) = (StreamCipher::new("test"), HmacAuth::new("test"));
    scene(&[0xa0, 2, 0x10], None, |scene| {
        let mut message = request("hello");
        cipher.encrypt(&mut message, scene).unwrap();
        auth.sign(&mut message, scene).unwrap();
        assert_eq!(hex(&message.to_octets().unwrap()), STREAM[2]);
        let mut received = read(octets(STREAM[2])).unwrap();
        assert!(auth.is_genuine(&received, scene));
        cipher.decrypt(&mut received, scene).unwrap();
        assert_eq!((&received.uri[..], &received.content[..]), (&b"echo"[..], &b"hello"[..]));
    });
}

#[test]
fn boxes_are_those_of_the_package_both_ways() {
    let (sender, receiver) = (BoxCipher::new(&seed(0)), BoxCipher::new(&seed(0x20)));
    assert_eq!(hex(&sender.public_key()), BOX_SENDER);
    let data = Value::unpack(&octets(BOX_PEER)).unwrap();
    scene(&[0xc0], Some(&data), |scene| {
        let mut message = request("hello");
        sender.encrypt(&mut message, scene).unwrap();
        assert_eq!(hex(&message.to_octets().unwrap()), BOX);
    });
    let sender = Bytes::copy_from_slice(&sender.public_key());
    let data = Value::Map(vec![(Value::Str("pubkey".to_owned()), Value::Bytes(sender))]);
    scene(&[], Some(&data), |scene| {
        let mut received = read(octets(BOX)).unwrap();
        receiver.decrypt(&mut received, scene).unwrap();
        assert_eq!(&received.content[..], b"hello");
        let mut forged = read(octets(BOX)).unwrap();
        forged.content = [b"!", &forged.content[1..]].concat().into();
        assert_eq!(receiver.decrypt(&mut forged, scene), Err(PluginError::Garbled));
    });
    scene(&[], None, |scene| {
        assert_eq!(receiver.encrypt(&mut request(""), scene), Err(PluginError::PeerKey));
    });
}

#[test]
fn witnesses_are_those_of_the_package_both_ways() {
    let auth = WitnessAuth::new(&seed(0));
    scene(&[0x10], None, |scene| {
        let mut message = request("");
        auth.sign(&mut message, scene).unwrap();
        assert_eq!(hex(&message.to_octets().unwrap()), WITNESS);
        let mut received = read(octets(WITNESS)).unwrap();
        assert!(auth.is_genuine(&received, scene));
        let other = WitnessAuth::new(&seed(1));
        assert!(!other.is_genuine(&received, scene));
        assert!(other.lock(&auth.public_key()).unwrap().is_genuine(&received, scene));
        received.uri = "echo?".into();
        assert!(!auth.is_genuine(&received, scene));
    });
}

#[test]
fn a_witness_is_judged_by_the_lock_that_the_peer_has_told_of_where_that_is_wanted() {
    let (theirs, own) = (WitnessAuth::new(&seed(0)), WitnessAuth::new(&seed(1)).heed_peers());
    let lock = theirs.own_lock();
    assert_eq!(hex(&lock), format!("0320{}2300", hex(&theirs.public_key())));
    let tells = |lock: &[u8]| {
        Value::Map(vec![(Value::Str("lock".to_owned()), Value::Bytes(Bytes::copy_from_slice(lock)))])
    };
    let received = read(octets(WITNESS)).unwrap();
    let judged = |auth: &WitnessAuth, data: Option<&Value>| {
        scene(&[], data, |scene| auth.is_genuine(&received, scene))
    };
    assert!(judged(&own, Some(&tells(&lock))));
    assert!(!judged(&WitnessAuth::new(&seed(1)), Some(&tells(&lock))), "unless it is wanted");
    assert!(judged(&theirs.clone().heed_peers(), None), "who has told of none is judged by the own one");
    for other in [&own.own_lock()[..], &lock[1..], b""] {
        assert!(!judged(&theirs.clone().heed_peers(), Some(&tells(other))));
    }
    let mut elsewhere = request("");
    let renamed = theirs.clone().field("inner");
    scene(&[0x10], None, |scene| renamed.sign(&mut elsewhere, scene).unwrap());
    assert!(scene(&[], None, |scene| renamed.is_genuine(&elsewhere, scene)));
    assert!(!scene(&[], None, |scene| theirs.is_genuine(&elsewhere, scene)));
}

// Bounds and what is no message.

#[test]
fn a_body_holds_as_much_as_the_package_sends() {
    let fits = Message::new(Kind::OK, "", vec![7; 65_422]);
    let octets = fits.to_octets().unwrap();
    assert_eq!((octets.len(), read(octets.into()).unwrap()), (65_436, fits));
    let over = Message::new(Kind::OK, "x", vec![7; 65_422]);
    let mut out = b"before".to_vec();
    assert_eq!((over.encode(&mut out), &out[..]), (Err(EncodeError::Body(65_423)), &b"before"[..]));
    let mut message = request("");
    message.fields.set_octets("big", &[0; 70_000]);
    assert!(matches!(message.encode(&mut out), Err(EncodeError::Fields(70_000..))));
    assert_eq!(out, b"before");
}

#[test]
fn messages_come_out_however_the_stream_is_cut() {
    let stream: Vec<u8> = PLAIN.iter().flat_map(|(.., frame)| octets(frame)).collect();
    for cut in 1..stream.len() {
        let mut decoder = Decoder::new(Kinds::new());
        let mut kinds = Vec::new();
        for piece in stream.chunks(cut) {
            decoder.receive(piece);
            while let Some(message) = decoder.poll_message().unwrap() {
                kinds.push(message.kind);
            }
        }
        assert!(
            kinds.iter().eq(PLAIN.iter().map(|(kind, ..)| kind)) && !decoder.is_inside(),
            "pieces of {cut}"
        );
    }
}

#[test]
fn a_wrong_checksum_costs_one_message() {
    let mut decoder = Decoder::new(Kinds::new());
    let mut wrong = octets(PLAIN[1].3).to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    decoder.receive(&wrong);
    decoder.receive(&octets(PLAIN[2].3));
    let error = decoder.poll_message().unwrap_err();
    assert!(error.is_recoverable() && error.to_string().contains("REQUEST_URI"), "{error}");
    assert_eq!(decoder.poll_message().unwrap().unwrap().kind, Kind::RESPOND_URI);
}

#[test]
fn what_is_no_message_ends_the_stream_with_its_reason() {
    let cases: [(&[u8], DecodeError); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", DecodeError::Kind(b'G')),
        (b"\x0e", DecodeError::Kind(14)),
        (&[0, 0, 0, 0, 2, 0, 0, 0, 0], DecodeError::NoFields),
        (&[0, 0, 3, 0, 1, 0, 0, 0, 0], DecodeError::Body(1)),
        (&[0, 0, 1, 0, 2, 0x41, 0xd9, 0x12, 0xff, 0, 0, 0], DecodeError::Fields(FieldsError::NoMap)),
        (&[0, 0, 1, 0, 2, 0x41, 0xd9, 0x12, 0xff, 9, 0, 0], FieldsError::Unpack(UnpackError::Code(9)).into()),
    ];
    for (stream, wanted) in cases {
        let mut decoder = Decoder::new(Kinds::new());
        decoder.receive(stream);
        let found = decoder.poll_message();
        assert_eq!(found, Err(wanted));
        decoder.receive(&octets(PLAIN[0].3));
        assert_eq!(decoder.poll_message(), Err(wanted), "where the next begins is not known");
    }
    let uri = read(octets("0000030002beb40c3d4d40000009"));
    assert!(matches!(uri, Err(DecodeError::Checksum { .. } | DecodeError::Uri { .. })), "{uri:?}");
    let frame = octets(PLAIN[0].3);
    for length in 1..frame.len() {
        assert_eq!(read(frame.slice(..length)), Err(DecodeError::CutOff(length)));
    }
    let custom = Kind::custom(200).unwrap();
    let octets = Message::new(custom, "", "").to_octets().unwrap();
    assert_eq!(read(octets.clone().into()), Err(DecodeError::Kind(200)));
    assert_eq!(
        Message::from_octets(octets.into(), &Kinds::new().with(custom)).unwrap().kind.to_string(),
        "type 200"
    );
    let trailing = [&frame[..], b"trailing"].concat();
    assert_eq!(read(trailing.into()).unwrap(), request(""));
}

#[test]
fn packed_values_are_bounded_by_their_octets() {
    let cases = [
        ("", UnpackError::CutOff),
        ("41", UnpackError::CutOff),
        ("41ff", UnpackError::CutOff),
        ("01", UnpackError::Code(1)),
        ("49", UnpackError::Code(0x49)),
        ("4a0000", UnpackError::Width(0)),
        ("4a4100", UnpackError::Width(0x41)),
        ("cac0ffffffff", UnpackError::CutOff),
        ("4a400100", UnpackError::CutOff),
        ("4d40010200", UnpackError::CutOff),
        ("4d4001024401", UnpackError::Pair),
        ("4302ffff", UnpackError::Text),
        ("4801ff", UnpackError::Text),
        ("4803616263", UnpackError::Text),
    ];
    for (packed, wanted) in cases {
        assert_eq!(Value::unpack(&octets(packed)), Err(wanted), "{packed}");
    }
    let mut nested = Value::Int(1);
    for _ in 0..15 {
        nested = Value::List(vec![nested]);
    }
    assert_eq!(Value::unpack(&nested.packed().into()), Ok(nested.clone()));
    nested = Value::List(vec![nested]);
    assert_eq!(Value::unpack(&nested.packed().into()), Err(UnpackError::Deep));
}

#[test]
fn numbers_of_any_size_come_back() {
    for value in [i128::MAX, i128::MIN + 1, -256, -65_536, u32::MAX.into(), i128::from(u32::MAX) + 1] {
        assert_eq!(Value::unpack(&Value::Int(value).packed().into()), Ok(Value::Int(value)));
    }
    for length in [17, 255, 256, 1000] {
        let value = Value::BigInt { negative: length % 2 == 1, magnitude: vec![1; length].into() };
        assert_eq!(Value::unpack(&value.packed().into()), Ok(value));
    }
}

#[test]
fn fields_are_found_by_name_and_the_last_of_one_name_counts() {
    let pair = |name: Value, value: i128| (name, Value::Int(value));
    let name = || Value::Str("a".to_owned());
    // Written by hand: an encoder of maps writes no name twice.
    let packed = Value::Map(vec![pair(name(), 1), pair(name(), 2), pair(Value::Int(3), 4)]).packed();
    let mut frame = octets(PLAIN[13].3).to_vec();
    frame.splice(9..12, packed.iter().copied());
    frame[2] = packed.len() as u8;
    let fields = read(frame.into()).unwrap().fields;
    assert_eq!((fields.len(), fields.get("a")), (1, Some(Value::Int(2))));
    assert_eq!(Fields::new(), read(octets(PLAIN[13].3)).unwrap().fields);
}

#[test]
fn no_octets_make_a_decoder_panic() {
    let seed = std::env::var("WAKERING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1u64);
    println!("WAKERING_SEED={seed}");
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let frames: Vec<Bytes> =
        [HMAC, TWO_LAYERS, STREAM[0], BOX, WITNESS, PLAIN[2].3].iter().map(|frame| octets(frame)).collect();
    let (auth, cipher) = (HmacAuth::new("test"), StreamCipher::new("test"));
    for _ in 0..20_000 {
        let mut frame = frames[next() % frames.len()].to_vec();
        for _ in 0..1 + next() % 4 {
            let at = next() % frame.len();
            frame[at] = next() as u8;
        }
        frame.truncate(1 + next() % frame.len());
        let mut decoder = Decoder::new(Kinds::new());
        decoder.receive(&frame);
        while let Ok(Some(_)) = decoder.poll_message() {}
        let mut body = frames[next() % frames.len()].to_vec();
        let at = 9 + next() % (body.len() - 9);
        body[at] = next() as u8;
        let _ = Value::unpack(&Bytes::from(body[9..].to_vec()));
        if let Ok(mut message) = read(body.into()) {
            scene(&[], None, |scene| {
                let _ = (auth.is_genuine(&message, scene), cipher.decrypt(&mut message, scene));
            });
        }
    }
}
