//! Attacks on a running server, one test a row of the attack table: each for a while, beside a polite client on the same
//! worker. The harness holds every one to bounds of memory, processor time and the polite client's answers.

#![cfg(all(target_os = "linux", not(loom)))]
#![expect(clippy::duplicate_mod, reason = "frames as octets are a part of `support` and of `h2_wire`")]

mod support;

#[path = "support/h2_wire.rs"]
mod h2_wire;
#[path = "support/hostile/mod.rs"]
mod hostile;

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, HEADERS, PING, PREFACE, PRIORITY, PSEUDO,
    PUSH_PROMISE, SETTINGS, fields, frame, get, request_block, rst_stream, settings, window_update,
};
use hostile::Attack;
use hostile::foe::{Foe, Over};
use hostile::memory::Counting;
use support::h2::Raw;
use wakering::http::{Config, Reason, Server, Shed, Trip};

#[global_allocator]
static MEMORY: Counting = Counting;

/// The ids of a client's streams.
fn ids() -> impl Iterator<Item = u32> {
    (1..0x7fff_ffff).step_by(2)
}

/// A request for this path.
fn to(path: &str, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut list = PSEUDO.to_vec();
    list[0].1 = method;
    list[3].1 = path;
    list.extend_from_slice(more);
    fields(&list)
}

fn get_from(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, GET, stream, &to(path, "GET", &[]))
}

fn post_to(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &to(path, "POST", &[]))
}

/// Sends these frames for one stream after the other, until the end.
fn for_each_stream(foe: &mut Foe, frames: impl Fn(u32) -> Vec<u8>) -> Result<(), Over> {
    foe.greet(&[])?;
    for id in ids() {
        foe.send(&frames(id))?;
    }
    Ok(())
}

/// Greets, and sends the same bytes until the end.
fn flood(foe: &mut Foe, first: &[u8], bytes: &[u8]) -> Result<(), Over> {
    foe.greet(&[])?;
    foe.send(first)?;
    loop {
        foe.send(bytes)?;
    }
}

/// CVE-2023-44487: requests that are reset as soon as they are made, with and without a handler that waits.
#[test]
fn rapid_reset_is_cut_off() {
    Attack::calmed_by(Trip::ResetFlood).run("rapid reset", |foe, round| {
        let path = if round % 2 == 0 { "/never" } else { "/" };
        for_each_stream(foe, |id| [get_from(id, path), rst_stream(id, 8)].concat())
    });
}

/// CVE-2025-8671: the client makes the server reset the streams, in every way there is.
#[test]
fn made_you_reset_is_cut_off() {
    let ways: [fn(u32) -> Vec<u8>; 6] = [
        |id| [get_from(id, "/never"), window_update(id, 0)].concat(),
        |id| [get_from(id, "/never"), frame(DATA, 0, id, b"x")].concat(),
        |id| [get_from(id, "/never"), window_update(id, 0x7fff_ffff)].concat(),
        |id| [get_from(id, "/never"), frame(PRIORITY, 0, id, &id.to_be_bytes())].concat(),
        |id| {
            [get_from(id, "/never"), frame(PRIORITY, 0, id, &[id.to_be_bytes().as_slice(), &[0]].concat())]
                .concat()
        },
        |id| {
            let head = to("/read", "POST", &[("content-length", "1")]);
            [frame(HEADERS, END_HEADERS, id, &head), frame(DATA, 0, id, b"xx")].concat()
        },
    ];
    Attack::calmed_by(Trip::ResetFlood)
        .run("MadeYouReset", |foe, round| for_each_stream(foe, ways[round as usize % ways.len()]));
}

/// CVE-2019-9514: malformed requests, each of which asks for a RST_STREAM, from a client that reads none.
#[test]
fn a_reset_flood_is_cut_off() {
    let bad = frame(HEADERS, GET, 0, &fields(&[(":method", "GET")]));
    Attack::calmed_by(Trip::ResetFlood).run("reset flood", |foe, round| {
        foe.reads = round % 2 == 0;
        for_each_stream(foe, |id| [&bad[..5], &id.to_be_bytes(), &bad[9..]].concat())
    });
}

/// A header block that never ends, in full frames and in tiny ones.
#[test]
fn a_continuation_flood_is_cut_off() {
    Attack::calmed_by(Trip::ContinuationFlood).run("CONTINUATION flood", |foe, _| {
        let begin = frame(HEADERS, END_STREAM, 1, &to("/", "GET", &[]));
        flood(foe, &begin, &frame(CONTINUATION, 0, 1, &fields(&[("x-more", "1")])))
    });
    Attack::calmed_by(Trip::HeaderBlock).run("CONTINUATION flood of full frames", |foe, _| {
        let begin = frame(HEADERS, END_STREAM, 1, &to("/", "GET", &[]));
        flood(foe, &begin, &frame(CONTINUATION, 0, 1, &fields(&[("x-more", "1")]).repeat(1_600)))
    });
}

/// CVE-2026-33871: CONTINUATION frames of no length pass a bound on bytes.
#[test]
fn a_continuation_flood_of_no_length_is_cut_off() {
    Attack::calmed_by(Trip::ContinuationFlood).run("empty CONTINUATION flood", |foe, _| {
        flood(foe, &frame(HEADERS, END_STREAM, 1, &[]), &frame(CONTINUATION, 0, 1, &[]).repeat(100))
    });
}

/// CVE-2016-6581: one large field in the table, and then a byte for every copy of it.
#[test]
fn an_hpack_bomb_is_cut_off() {
    let mut plant = fields(&PSEUDO);
    plant.extend_from_slice(&[0x40, 6]);
    plant.extend_from_slice(b"x-bomb");
    plant.extend_from_slice(&[0x7f, 0x81, 0x1e]);
    plant.extend_from_slice(&[b'b'; 0x7f + 0x0f01]);
    let bomb = [fields(&PSEUDO), vec![0xbe; 16_000]].concat();
    let outcome = Attack::calmed_by(Trip::ResetFlood).run("HPACK bomb", |foe, _| {
        foe.greet(&[])?;
        foe.send(&frame(HEADERS, GET, 1, &plant))?;
        for id in ids().skip(1) {
            foe.send(&frame(HEADERS, GET, id, &bomb))?;
        }
        Ok(())
    });
    assert!(outcome.metrics.trips.of(Trip::HeaderList) > 0, "{:?}", outcome.metrics);
}

/// CVE-2026-49975: fields of one byte each, by the hundred thousand.
#[test]
fn a_bomb_of_tiny_indexed_fields_is_cut_off() {
    // `accept-encoding: gzip, deflate` is entry 16 of the static table.
    let bomb = [fields(&PSEUDO), vec![0x90; 16_000]].concat();
    let outcome = Attack::calmed_by(Trip::ResetFlood).run("bomb of tiny fields", |foe, _| {
        foe.greet(&[(4, 0)])?;
        for id in ids() {
            foe.send(&frame(HEADERS, GET, id, &bomb))?;
        }
        Ok(())
    });
    assert!(outcome.metrics.trips.of(Trip::HeaderFields) > 0, "{:?}", outcome.metrics);
}

/// CVE-2026-47774: the same with cookie crumbs, which are joined to one field.
#[test]
fn a_bomb_of_cookie_crumbs_is_cut_off() {
    // `cookie` with no value is entry 32 of the static table.
    let bomb = [fields(&PSEUDO), vec![0xa0; 16_000]].concat();
    let outcome = Attack::calmed_by(Trip::ResetFlood).run("bomb of cookie crumbs", |foe, _| {
        foe.greet(&[(4, 0)])?;
        for id in ids() {
            foe.send(&frame(HEADERS, GET, id, &bomb))?;
        }
        Ok(())
    });
    assert!(outcome.metrics.trips.of(Trip::CookieCrumbs) > 0, "{:?}", outcome.metrics);
}

/// The rest of those two: heads just below the limits, held by handlers whose answers wait for windows that stay closed but
/// for drips of one byte.
#[test]
fn what_a_closed_window_pins_is_let_go() {
    let config =
        Config { stall_timeout: Duration::from_millis(200), min_body_rate: 10_000, ..Config::default() };
    let mut head = to("/pin", "GET", &[]);
    head.extend([0x90; 90]);
    head.extend([0xa0; 250]);
    let memory = 8 << 20;
    let attack = Attack { memory, length: Duration::from_secs(1), ..Attack::calmed_by(Trip::ResetFlood) };
    let outcome = attack.with(config).run("bomb behind a closed window", |foe, _| {
        foe.greet(&[(4, 0)])?;
        for id in ids().take(200) {
            foe.send(&frame(HEADERS, GET, id, &head))?;
        }
        loop {
            for id in ids().take(200) {
                foe.send(&window_update(id, 1))?;
            }
            foe.rest_without_reading()?;
        }
    });
    assert!(outcome.metrics.trips.of(Trip::StreamStall) >= 100, "{:?}", outcome.metrics);
}

/// CVE-2019-9512: PINGs whose answers pile up.
#[test]
fn a_ping_flood_is_cut_off() {
    Attack::calmed_by(Trip::PingFlood).run("PING flood", |foe, round| {
        foe.reads = round % 2 == 0;
        flood(foe, &[], &frame(PING, 0, 0, &[7; 8]).repeat(200))
    });
}

/// CVE-2019-9515: SETTINGS whose acknowledgements pile up.
#[test]
fn a_settings_flood_is_cut_off() {
    Attack::calmed_by(Trip::SettingsFlood).run("SETTINGS flood", |foe, round| {
        foe.reads = round % 2 == 0;
        flood(foe, &[], &settings(&[(4, 1 << 20)]).repeat(200))
    });
    Attack::calmed_by(Trip::SettingsEntries)
        .run("SETTINGS of a thousand entries", |foe, _| flood(foe, &[], &settings(&[(0x77, 1); 1_000])));
}

/// CVE-2019-9518: frames without content that end nothing.
#[test]
fn a_flood_of_empty_frames_is_cut_off() {
    Attack::calmed_by(Trip::GlitchFlood)
        .run("empty DATA", |foe, _| flood(foe, &post_to(1, "/read"), &frame(DATA, 0, 1, &[]).repeat(100)));
    Attack::calmed_by(Trip::GlitchFlood).run("empty DATA with padding", |foe, _| {
        flood(foe, &post_to(1, "/read"), &frame(DATA, 8, 1, &[1, 0]).repeat(100))
    });
}

/// The legal counterpart: streaming with messages of one byte.
#[test]
fn streaming_with_tiny_frames_stays_legal() {
    let outcome = Attack::default().run("tiny DATA", |foe, _| {
        foe.greet(&[])?;
        foe.send(&[post_to(1, "/echo"), window_update(0, 1 << 24), window_update(1, 1 << 24)].concat())?;
        for round in 0.. {
            foe.send(&frame(DATA, 0, 1, b"x").repeat(500))?;
            // Most of it has come back before more is sent, which is less than the server's windows take.
            while foe.seen.content < 500 * round {
                foe.rest()?;
            }
        }
        Ok(())
    });
    assert!(outcome.seen[0].content > 5_000, "{:?}", outcome.seen);
}

/// CVE-2019-9513 and the like.
#[test]
fn priority_churn_is_cut_off() {
    Attack::calmed_by(Trip::GlitchFlood).run("PRIORITY churn", |foe, _| {
        flood(foe, &[], &ids().take(100).flat_map(|id| frame(PRIORITY, 0, id, &[0; 5])).collect::<Vec<u8>>())
    });
}

/// Frames of types that nobody knows are ignored, however many.
#[test]
fn unknown_frames_are_ignored_and_cost_next_to_nothing() {
    Attack { nanos_per_byte: 60, ..Attack::default() }.run("unknown frames", |foe, round| {
        let size = [0, 1, 100, 16_384][round as usize % 4];
        flood(foe, &[], &frame(0x77, 0xff, 3, &vec![7; size]).repeat(1 + 2_000 / (size + 1)))
    });
}

/// WINDOW_UPDATE is legal, however often.
#[test]
fn window_updates_of_one_byte_cost_next_to_nothing() {
    Attack { nanos_per_byte: 60, ..Attack::default() }.run("WINDOW_UPDATE flood", |foe, _| {
        flood(foe, &get_from(1, "/never"), &[window_update(0, 1), window_update(1, 1)].concat().repeat(50))
    });
}

/// Many streams, each with a handler that waits: the concurrency limit, never a connection error.
#[test]
fn more_streams_than_allowed_are_refused() {
    let attack = Attack { trip: Some(Trip::Concurrency), ..Attack::default() };
    let outcome = attack.run("concurrency", |foe, _| for_each_stream(foe, |id| get_from(id, "/never")));
    // One connection more was made during the warm-up.
    let taken = outcome.metrics.requests - outcome.asked;
    assert!(taken <= 256 * (outcome.connections + 1), "{taken} requests were taken");
    assert!(
        outcome.seen[0].resets.keys().all(|code| *code == Reason::REFUSED_STREAM.0),
        "{:?}",
        outcome.seen[0]
    );
}

/// CVE-2019-9517: windows wide open, and a socket that is not read.
#[test]
fn a_reader_who_never_reads_is_ended() {
    let config = Config { send_timeout: Duration::from_millis(300), ..Config::default() };
    let attack = Attack { trip: Some(Trip::SendStall), length: Duration::from_secs(1), ..Attack::default() };
    attack.with(config).run("internal buffering", |foe, _| {
        foe.reads = false;
        foe.greet(&[(4, 0x7fff_ffff)])?;
        foe.send(&window_update(0, 0x7fff_0000))?;
        for id in ids().take(200) {
            foe.send(&get_from(id, "/endless"))?;
        }
        loop {
            foe.rest_without_reading()?;
        }
    });
}

/// Answers pile up in front of a socket that is not read: new streams are refused, and the old ones kept.
#[test]
fn a_reader_who_never_reads_gets_no_more_streams() {
    let attack = Attack { trip: Some(Trip::OutputQueue), ..Attack::default() };
    attack.run("large heads that are not read", |foe, _| {
        foe.reads = false;
        for_each_stream(foe, |id| get_from(id, "/large-head"))
    });
}

/// CVE-2019-9511: a window that is opened byte by byte costs its stream, and one for the whole connection the connection.
#[test]
fn a_dribble_of_credit_is_ended() {
    let config =
        Config { stall_timeout: Duration::from_millis(200), min_body_rate: 10_000, ..Config::default() };
    let drip = |stream: u32| {
        move |foe: &mut Foe, _: u32| {
            foe.greet(&[(4, if stream > 0 { 0 } else { 1 << 20 })])?;
            foe.send(&get_from(1, "/endless"))?;
            while foe.seen.resets.is_empty() {
                foe.send(&window_update(stream, 1))?;
                foe.rest_without_reading()?;
            }
            Ok(())
        }
    };
    let attack = Attack { trip: Some(Trip::StreamStall), ..Attack::default() };
    let outcome = attack.with(config.clone()).run("data dribble", drip(1));
    assert!(
        outcome.seen.iter().any(|it| it.resets.contains_key(&Reason::ENHANCE_YOUR_CALM.0)),
        "{outcome:?}"
    );
    Attack::calmed_by(Trip::StreamStall).with(config).run("data dribble of all streams", drip(0));
}

/// A socket that is read a byte at a time.
#[test]
fn a_dribbling_reader_is_ended() {
    let config = Config { send_timeout: Duration::from_millis(300), ..Config::default() };
    let attack = Attack { trip: Some(Trip::SendStall), length: Duration::from_secs(1), ..Attack::default() };
    attack.with(config).run("dribbling reader", |foe, _| {
        foe.reads = false;
        foe.greet(&[(4, 0x7fff_ffff)])?;
        foe.send(&window_update(0, 0x7fff_0000))?;
        foe.send(&get_from(1, "/endless"))?;
        loop {
            foe.sip()?;
        }
    });
}

/// Content that was announced and comes byte by byte: in frames of its own, and within one frame.
#[test]
fn a_slow_body_is_ended() {
    let config = Config { body_grace: Duration::from_millis(200), ..Config::default() };
    let head = to("/read", "POST", &[("content-length", "100000")]);
    let attack = Attack { trip: Some(Trip::BodyRate), ..Attack::default() };
    let outcome = attack.with(config.clone()).run("slow body", |foe, _| {
        foe.greet(&[])?;
        foe.send(&frame(HEADERS, END_HEADERS, 1, &head))?;
        while foe.seen.resets.is_empty() {
            foe.send(&frame(DATA, 0, 1, b"x"))?;
            foe.rest()?;
        }
        Ok(())
    });
    assert!(
        outcome.seen.iter().any(|it| it.resets.contains_key(&Reason::ENHANCE_YOUR_CALM.0)),
        "{outcome:?}"
    );
    Attack::calmed_by(Trip::BodyRate).with(config).run("slow frame", |foe, _| {
        foe.greet(&[])?;
        foe.send(&post_to(1, "/read"))?;
        foe.drip(&frame(DATA, 0, 1, &[7; 16_000]))
    });
}

/// A peer that does not answer when it is asked whether it is there.
#[test]
fn a_silent_peer_is_ended() {
    let (interval, timeout) = (Duration::from_millis(150), Duration::from_millis(150));
    let config =
        Config { keep_alive_interval: Some(interval), keep_alive_timeout: timeout, ..Config::default() };
    let attack =
        Attack { trip: Some(Trip::KeepAlive), code: Some(Reason::NO_ERROR), foes: 4, ..Attack::default() };
    attack.with(config).run("silence", |foe, _| {
        foe.polite = false;
        foe.greet(&[])?;
        foe.send(&get_from(1, "/never"))?;
        loop {
            foe.rest()?;
        }
    });
}

/// No preface, half of one, and one byte after the other.
#[test]
fn a_slow_preface_is_ended() {
    let config = Config { preface_timeout: Duration::from_millis(150), ..Config::default() };
    let attack = Attack { trip: Some(Trip::PrefaceTimeout), foes: 4, ..Attack::default() }.with(config);
    attack.run("slow preface", |foe, round| match round % 3 {
        0 => loop {
            foe.rest()?;
        },
        1 => foe.drip(&PREFACE[..20]).and_then(|()| {
            loop {
                foe.rest()?;
            }
        }),
        _ => foe.drip(&[PREFACE, &settings(&[(0x77, 1); 30])].concat()),
    });
}

/// A header block that comes byte by byte, within its frame and in several.
#[test]
fn a_slow_header_block_is_ended() {
    let config = Config { header_timeout: Duration::from_millis(150), ..Config::default() };
    let attack = Attack {
        trip: Some(Trip::HeaderTimeout),
        code: Some(Reason::NO_ERROR),
        foes: 4,
        ..Attack::default()
    };
    attack.with(config).run("slow header block", |foe, round| {
        foe.greet(&[])?;
        if round % 2 == 0 {
            return foe.drip(&frame(HEADERS, GET, 1, &request_block("GET", &[("x-slow", &"s".repeat(100))])));
        }
        foe.send(&frame(HEADERS, END_STREAM, 1, &to("/", "GET", &[])))?;
        for _ in 0..7 {
            foe.drip(&frame(CONTINUATION, 0, 1, &fields(&[("x-slow", "s")])))?;
        }
        Ok(())
    });
}

/// A connection on which nothing happens but PINGs.
#[test]
fn an_idle_connection_is_ended() {
    let config = Config { idle_timeout: Duration::from_millis(400), ..Config::default() };
    let length = Duration::from_secs(1);
    let attack = Attack {
        trip: Some(Trip::IdleTimeout),
        code: Some(Reason::NO_ERROR),
        foes: 4,
        length,
        ..Attack::default()
    };
    attack.with(config).run("idle", |foe, _| {
        foe.greet(&[])?;
        loop {
            foe.send(&frame(PING, 0, 0, &[1; 8]))?;
            foe.rest()?;
        }
    });
}

/// SETTINGS that are never acknowledged.
#[test]
fn settings_that_are_not_acknowledged_end_the_connection() {
    let config = Config { settings_timeout: Duration::from_millis(150), ..Config::default() };
    let attack = Attack {
        trip: Some(Trip::SettingsTimeout),
        code: Some(Reason::SETTINGS_TIMEOUT),
        ..Attack::default()
    };
    attack.with(config).run("no SETTINGS ACK", |foe, _| {
        foe.send(&[PREFACE, &settings(&[])].concat())?;
        loop {
            foe.rest()?;
        }
    });
}

/// Settings out of range, and windows driven over the top: a code of the protocol's own, and the connection is freed.
#[test]
fn bad_settings_and_windows_end_the_connection() {
    let protocol: [Vec<u8>; 4] = [
        settings(&[(5, 0)]),
        settings(&[(5, 1 << 24)]),
        settings(&[(2, 2)]),
        frame(PUSH_PROMISE, 4, 1, &[0; 4]),
    ];
    let attack = Attack { code: Some(Reason::PROTOCOL_ERROR), ..Attack::default() };
    attack.run("bad settings", |foe, round| flood(foe, &[], &protocol[round as usize % protocol.len()]));
    let flow: [Vec<u8>; 3] = [
        settings(&[(4, 1 << 31)]),
        window_update(0, 0x7fff_ffff),
        [get_from(1, "/never"), window_update(1, 0x7fff_0000), settings(&[(4, 0x7fff_ffff)])].concat(),
    ];
    let attack = Attack { code: Some(Reason::FLOW_CONTROL_ERROR), ..Attack::default() };
    attack.run("bad windows", |foe, round| flood(foe, &[], &flow[round as usize % flow.len()]));
}

/// Once the parser is dead it stays dead, whatever else comes.
#[test]
fn nothing_is_parsed_after_the_end() {
    let attack = Attack { code: Some(Reason::PROTOCOL_ERROR), ..Attack::default() };
    let outcome = attack.run("frames after the end", |foe, _| {
        let mut bytes = frame(DATA, 0, 0, b"to nobody");
        bytes.extend(ids().take(200).flat_map(get));
        bytes.extend(frame(PING, 0, 0, &[0; 8]).repeat(100));
        flood(foe, &[], &bytes)
    });
    assert!(outcome.seen.iter().all(|it| it.heads == 0), "{:?}", outcome.seen);
    // The polite client's alone.
    assert!(outcome.seen.len() > 3);
}

/// What another server behind us could take for a second request, a second field or another length.
#[test]
fn requests_that_smuggle_are_rejected() {
    let fields: [&[(&str, &str)]; 16] = [
        &[("content-length", "0"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "chunked")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "+5")],
        &[("content-length", "5, 5")],
        &[("connection", "close")],
        &[("upgrade", "h2c")],
        &[("te", "gzip")],
        &[("x-smuggle", "a\r\nx-other: b")],
        &[("x-smuggle", "a\nb")],
        &[("x-smuggle", "a\rb")],
        &[("x-smuggle", "a\0b")],
        &[("x-smuggle\r\nx-other", "b")],
        &[("x smuggle", "b")],
        &[("X-Smuggle", "b")],
        &[("host", "elsewhere")],
    ];
    let pseudo: [&[(&str, &str)]; 6] = [
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/ HTTP/1.1\r\nhost: b")],
        &[(":method", "GET / HTTP/1.1\r\n"), (":scheme", "http"), (":authority", "a"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a\r\nx: y"), (":path", "/")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "no-slash")],
        &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":path", "/b")],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("x", "y"), (":authority", "a")],
    ];
    let blocks: Vec<Vec<u8>> = fields
        .iter()
        .map(|list| request_block("POST", list))
        .chain(pseudo.iter().map(|list| h2_wire::fields(list)))
        .collect();
    let attack =
        Attack { trip: Some(Trip::ResetFlood), code: Some(Reason::ENHANCE_YOUR_CALM), ..Attack::default() };
    let outcome = attack.run("smuggling", |foe, round| {
        let block = &blocks[round as usize % blocks.len()];
        for_each_stream(foe, |id| frame(HEADERS, END_HEADERS, id, block))
    });
    assert!(outcome.seen.len() >= blocks.len(), "only {} connections", outcome.seen.len());
    for seen in &outcome.seen {
        // A 400 perhaps, but never the page.
        assert_eq!(seen.content, 0, "an answer to a smuggler: {seen:?}");
        assert!(seen.resets.keys().all(|code| *code == Reason::PROTOCOL_ERROR.0), "{seen:?}");
    }
}

/// A handler that answers with a field that HTTP/2 forbids, or contradicts itself: the client sees 500 and nothing of it.
#[test]
fn answers_that_smuggle_do_not_go_out() {
    let outcome = Attack::default().run("smuggling by answers", |foe, _| {
        foe.greet(&[])?;
        for (id, path) in ids().zip(["/te", "/upgrade", "/blank", "/lies"].into_iter().cycle()) {
            foe.send(&get_from(id, path))?;
            foe.rest()?;
        }
        Ok(())
    });
    for seen in &outcome.seen {
        // The content of each would have been thirteen bytes.
        assert!(seen.heads > 10 && seen.content == 0 && seen.resets.is_empty(), "{seen:?}");
    }
}

/// The acknowledgement of SETTINGS that nobody sent, a trick to confuse the count.
#[test]
fn acknowledgements_that_nobody_waits_for_end_the_connection() {
    let attack = Attack { code: Some(Reason::PROTOCOL_ERROR), ..Attack::default() };
    attack.run("SETTINGS ACK flood", |foe, _| flood(foe, &[], &frame(SETTINGS, ACK, 0, &[]).repeat(100)));
}

/// Content for a window that was never given.
#[test]
fn content_beyond_the_window_ends_the_stream_and_then_the_connection() {
    let attack = Attack { code: Some(Reason::FLOW_CONTROL_ERROR), memory: 4 << 20, ..Attack::default() };
    attack.run("content beyond the window", |foe, _| {
        foe.greet(&[])?;
        for id in ids().take(64) {
            foe.send(&post_to(id, "/never"))?;
            for _ in 0..4 {
                foe.send(&frame(DATA, 0, id, &[7; 16_384]))?;
            }
        }
        Ok(())
    });
}

/// More connections than a listener takes, each idle: the rest is closed at once.
#[test]
fn a_connection_flood_meets_the_limits_of_its_listener() {
    for (builder, limit) in
        [(Server::builder().max_connections(20), 20), (Server::builder().max_connections_per_address(10), 10)]
    {
        let attack = Attack { builder, ..Attack::default() };
        let outcome = attack.run(&format!("connection flood against {limit}"), |foe, _| {
            let mut all = foe.more(100);
            foe.greet(&[])?;
            loop {
                // The polite client is one of those that are taken, and the first of these another.
                let open = all.iter_mut().filter_map(|other| other.go_on().ok()).count();
                if open + 2 <= limit {
                    return Ok(());
                }
                foe.rest()?;
            }
        });
        assert!(outcome.metrics.connections_refused > 50, "{:?}", outcome.metrics);
    }
}

/// Without a limit an idle connection costs little.
#[test]
fn a_flood_of_idle_connections_costs_little_each() {
    let attack = Attack { memory: 300 * 6 * 1024, ..Attack::default() };
    attack.run("three hundred idle connections", |foe, _| {
        let mut all = foe.more(299);
        foe.greet(&[])?;
        all.iter_mut().try_for_each(|other| other.greet(&[]))?;
        loop {
            foe.rest()?;
        }
    });
}

/// Handlers that do not read, and clients that send all that their windows allow: load is shed before the ceiling.
#[test]
fn load_is_shed_before_the_ceiling_on_memory() {
    const CEILING: usize = 4 << 20;
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let builder = Server::builder().memory_ceilings(CEILING, usize::MAX).on_pressure(move |pressure| {
        seen.fetch_max(pressure.worker, Relaxed);
        // Those who hold nothing are served all the same: the polite client among them.
        if pressure.connection.received > 0 { Shed::Refuse } else { Shed::Serve }
    });
    let attack = Attack { builder, trip: Some(Trip::Shed), foes: 8, memory: 6 << 20, ..Attack::default() };
    let outcome = attack.run("uploads that nobody reads", |foe, _| {
        foe.greet(&[])?;
        for id in ids().take(15) {
            foe.send(&post_to(id, "/never"))?;
            for _ in 0..4 {
                foe.send(&frame(DATA, 0, id, &[7; 16_000]))?;
            }
            foe.rest()?;
        }
        loop {
            foe.rest()?;
        }
    });
    assert!(most.load(Relaxed) < CEILING, "{} of {CEILING}", most.load(Relaxed));
    assert!(outcome.seen.iter().all(|it| it.resets.keys().all(|code| *code == Reason::REFUSED_STREAM.0)));
}

/// Pieces of content that are large enough to share the read buffer, in the midst of frames that are thrown away: what is
/// pinned is about what the windows allow, and not the blocks.
#[test]
fn small_pieces_of_content_do_not_pin_large_blocks() {
    let piece =
        |id: u32| [frame(DATA, 0, id, &[7; 4_096]), frame(0x77, 0, 0, &[0; 15_000]).repeat(4)].concat();
    Attack { memory: 4 << 20, ..Attack::default() }.run("pinned blocks", |foe, _| {
        foe.greet(&[])?;
        for id in ids().take(15) {
            foe.send(&post_to(id, "/never"))?;
            for _ in 0..15 {
                foe.send(&piece(id))?;
            }
        }
        loop {
            foe.rest()?;
        }
    });
}

/// A process without descriptors turns connections away, serves those that it has, and takes new ones as soon as it can.
#[test]
fn a_server_without_descriptors_goes_on() {
    let Some(prlimit) = support::program("prlimit") else { return };
    let server = support::server::Server::start("h2_server", &[]);
    let mut polite = Raw::open(server.address);
    let limit = format!("--nofile={0}:{0}", server.descriptors() + 10);
    let limited = Command::new(prlimit).args(["--pid", &server.pid().to_string(), &limit]).status();
    assert!(limited.is_ok_and(|status| status.success()), "prlimit");
    let before = server.processor_time();
    let flood: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(server.address).expect("a queue")).collect();
    for id in (1..200).step_by(2) {
        polite.send(&get_from(id, "/"));
        assert_eq!(polite.answer(id).1, b"Hello, World!");
    }
    let spent = server.processor_time() - before;
    assert!(spent < Duration::from_secs(2), "{spent:?} of processor for 200 connections and 100 answers");
    drop(flood);
    let served = support::eventually(Duration::from_secs(60), || {
        let mut late = Raw::connect(server.address);
        let hello = [PREFACE, &settings(&[]), &get_from(1, "/")].concat();
        late.socket.write_all(&hello).is_ok() && late.try_read().is_some()
    });
    assert!(served, "nobody is served after the flood");
}
