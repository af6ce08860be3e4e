//! What HPACK allocates: nothing for what both ends know already, and nothing for what is over a limit.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderValue, SERVER};
use http::{Method, StatusCode, uri::Scheme};
use wakering::internals::hpack::{Decoder, Encoder, Excess, FieldLimits};

fn count(work: impl FnOnce()) -> (u64, u64) {
    let info = allocation_counter::measure(work);
    (info.count_total, info.bytes_max)
}

fn request(encoder: &mut Encoder, out: &mut Vec<u8>) {
    out.clear();
    encoder.begin_block(out);
    encoder.encode_method(&Method::GET, out);
    encoder.encode_scheme(&Scheme::HTTP, out);
    encoder.encode_authority("example.com", out);
    encoder.encode_path("/some/path?with=query", out);
    encoder.encode_field(&SERVER, &HeaderValue::from_static("wakering"), out);
}

#[test]
fn a_head_that_was_seen_before_allocates_nothing_either_way() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let (limits, mut out) = (FieldLimits::default(), Vec::with_capacity(256));
    for _ in 0..3 {
        request(&mut encoder, &mut out);
        decoder.decode(&out, &limits, drop).unwrap();
    }
    let (allocations, _) = count(|| {
        for _ in 0..100 {
            request(&mut encoder, &mut out);
            decoder.decode(&out, &limits, drop).unwrap();
        }
    });
    assert_eq!(out.len(), 5, "all indexed");
    assert_eq!(allocations, 0);
}

/// New dates push old ones out of the encoder's table; its arena is used again and again.
#[test]
fn a_table_that_turns_over_allocates_nothing_after_warm_up() {
    let mut encoder = Encoder::new();
    let mut out = Vec::with_capacity(256);
    let dates: Vec<HeaderValue> = (0..86_400)
        .step_by(7)
        .map(|second| {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let date = format!("Mon, 21 Oct 2013 {hour:02}:{minute:02}:{second:02} GMT");
            HeaderValue::try_from(date).unwrap()
        })
        .collect();
    let lengths: Vec<HeaderValue> = (0..50).map(|length: usize| length.into()).collect();
    let mut respond = |date: &HeaderValue, turn: usize| {
        out.clear();
        encoder.begin_block(&mut out);
        encoder.encode_status(StatusCode::OK, &mut out);
        encoder.encode_field(&DATE, date, &mut out);
        encoder.encode_field(&CONTENT_TYPE, &HeaderValue::from_static("text/plain"), &mut out);
        encoder.encode_field(&CONTENT_LENGTH, &lengths[turn % 50], &mut out);
    };
    let (warm_up, rest) = dates.split_at(1000);
    warm_up.iter().enumerate().for_each(|(length, date)| respond(date, length));
    let (allocations, _) = count(|| rest.iter().enumerate().for_each(|(length, date)| respond(date, length)));
    // A content-length is made into a HeaderValue by the test, one allocation each.
    assert!(allocations <= rest.len() as u64, "{allocations} allocations for {} dates", rest.len());
}

/// CVE-2016-6581 and the like: ten thousand references to a large entry, ten thousand small literals.
#[test]
fn fields_over_a_limit_cost_no_memory() {
    let mut decoder = Decoder::new(4096);
    let limits = FieldLimits::default();
    let mut entry = vec![0x40, 0x01, b'a', 0x7f, 0x81, 0x1e];
    entry.extend([b'x'; 3968]);
    decoder.decode(&entry, &limits, drop).unwrap();
    decoder.decode(&[0xbe], &limits, drop).unwrap();
    let references = vec![0xbe; 10_000];
    let literals = [0x0f, 0x10, 0x01, b'v'].repeat(8_000);
    for (block, excess, allowed) in
        [(references, Excess::ListBytes, 0), (literals, Excess::Fields, u64::from(limits.fields))]
    {
        let (allocations, most) = count(|| {
            let mut delivered = 0;
            let decoded = decoder.decode(&block, &limits, |_| delivered += 1).unwrap();
            assert_eq!(decoded.excess, Some(excess));
            assert!(delivered <= limits.fields);
        });
        assert!(allocations <= allowed, "{excess:?}: {allocations} allocations");
        assert!(most < 200, "{excess:?}: {most} octets at a time");
    }
}
