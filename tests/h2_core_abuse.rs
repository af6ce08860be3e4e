//! Peers that make work and throw it away: each kind ends with the right code, and honest ones pass.

#[path = "support/h2_wire.rs"]
mod h2_wire;

use bytes::Bytes;
use h2_wire::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PREFACE, PRIORITY, SETTINGS,
    Wire, frame, get, post, request_block, rst_stream, settings, window_update,
};
use http::{HeaderMap, StatusCode};
use wakering::internals::h2::{Config, Connection, Event, Reason, Trip};

const SECOND: u64 = 1_000_000_000;
const CALM: Option<u32> = Some(Reason::ENHANCE_YOUR_CALM.0);

/// Lets go of every stream that was reset.
fn finish_dead(wire: &mut Wire) {
    for event in std::mem::take(&mut wire.events) {
        match event {
            Event::Reset { stream, .. } => wire.core.finish(stream),
            Event::Closed { .. } => wire.events.push(event),
            _ => {}
        }
    }
}

/// The bound that ended the connection, which the statistics know too.
fn trip_of(wire: &Wire) -> Option<Trip> {
    let Some(Event::Closed { error: Some(error) }) = wire.events.last() else {
        panic!("no end with an error: {:?}", wire.events.last());
    };
    assert_eq!(error.is_timeout(), error.trip.is_some_and(Trip::is_timeout));
    assert_eq!(error.trip.map(|trip| wire.core.stats().trips.of(trip)), error.trip.map(|_| 1));
    let debug =
        wire.sent_of(GOAWAY).last().map(|frame| String::from_utf8_lossy(&frame.payload[8..]).into_owned());
    let words = error.trip.map_or("", Trip::text);
    assert!(debug.is_none_or(|debug| debug.contains(words)), "the GOAWAY does not say: {words}");
    error.trip
}

/// CVE-2023-44487: HEADERS and RST_STREAM in pairs.
#[test]
fn rapid_reset_ends_after_a_hundred() {
    let mut wire = Wire::server(Config::default());
    for n in 0..100 {
        wire.feed(&[get(2 * n + 1), rst_stream(2 * n + 1, 8)].concat());
        finish_dead(&mut wire);
    }
    assert_eq!(wire.goaway(), None);
    wire.feed(&[get(201), rst_stream(201, 8)].concat());
    assert_eq!(wire.goaway(), CALM);
    assert_eq!(trip_of(&wire), Some(Trip::ResetFlood));
    assert_eq!(wire.core.stats().resets_received, 101);
    assert_eq!(wire.core.stats().streams, 101);
}

/// CVE-2025-8671: the client makes the server reset the streams.
#[test]
fn made_you_reset_ends_after_a_hundred() {
    let provoke: [fn(u32) -> Vec<u8>; 3] = [
        |id| window_update(id, 0),
        |id| frame(DATA, 0, id, &[0; 1]),
        |id| [window_update(id, 0x7fff_ffff), frame(PRIORITY, 0, id, &[0; 4])].concat(),
    ];
    for provocation in provoke {
        let mut wire = Wire::server(Config::default());
        let mut streams = 0;
        while wire.goaway().is_none() {
            let id = 2 * streams + 1;
            wire.feed(&[get(id), provocation(id)].concat());
            finish_dead(&mut wire);
            streams += 1;
            assert!(streams <= 101, "no end");
        }
        assert!(streams > 40);
        assert_eq!(wire.goaway(), CALM);
        assert_eq!(trip_of(&wire), Some(Trip::ResetFlood));
    }
}

#[test]
fn resets_at_an_honest_rate_go_on_for_ever() {
    let mut wire = Wire::server(Config::default());
    for n in 0..2_000u32 {
        wire.now = u64::from(n) * SECOND / 33 + SECOND;
        wire.feed(&[get(2 * n + 1), rst_stream(2 * n + 1, 8)].concat());
        finish_dead(&mut wire);
    }
    assert_eq!(wire.goaway(), None);
}

#[test]
fn resets_of_streams_that_are_answered_cost_nothing() {
    let mut wire = Wire::server(Config::default());
    for n in 0..1_000 {
        wire.feed(&get(2 * n + 1));
        let stream = wire.stream();
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
        wire.core.finish(stream);
        wire.feed(&rst_stream(2 * n + 1, 8));
        wire.events.clear();
    }
    assert_eq!(wire.goaway(), None);
}

/// A stream that was reset still counts while its handler runs: resets do not buy more handlers.
#[test]
fn resets_do_not_buy_more_handlers() {
    let mut wire = Wire::server(Config { reset_burst: 10_000, ..Config::default() });
    for n in 0..1_000 {
        wire.feed(&[get(2 * n + 1), rst_stream(2 * n + 1, 8)].concat());
    }
    let started = wire.events.iter().filter(|event| matches!(event, Event::Request { .. })).count();
    assert_eq!(started, 256);
    assert_eq!(wire.core.open_streams(), 256);
}

#[test]
fn empty_data_that_ends_nothing_is_counted_and_tiny_data_is_not() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    wire.feed(&frame(DATA, 0, 1, b"x").repeat(20_000));
    assert_eq!(wire.goaway(), None, "streaming with tiny messages is legal");
    wire.feed(&frame(DATA, 0, 1, b"").repeat(1_000));
    assert_eq!(wire.goaway(), None);
    wire.feed(&frame(DATA, 0, 1, b""));
    assert_eq!(wire.goaway(), CALM);
    assert_eq!(trip_of(&wire), Some(Trip::GlitchFlood));
}

#[test]
fn priority_churn_is_counted() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&frame(PRIORITY, 0, 7, &[0; 5]).repeat(1_000));
    assert_eq!(wire.goaway(), None);
    wire.feed(&frame(PRIORITY, 0, 7, &[0; 5]));
    assert_eq!(wire.goaway(), CALM);
}

/// CVE-2016-6581 and its kin: the list is measured before anything is made of it.
#[test]
fn a_head_above_the_limits_is_answered_431_and_the_connection_goes_on() {
    // 96 fields of 177 bytes each pass 16 KiB, in a frame that does not.
    let long = "v".repeat(126);
    let many: Vec<(&str, &str)> = vec![("x-many", "1"); 101];
    let large: Vec<(&str, &str)> = vec![("x-large-large-large", long.as_str()); 96];
    let crumbs: Vec<(&str, &str)> = vec![("cookie", "a=b"); 257];
    let kinds = [Trip::HeaderFields, Trip::HeaderList, Trip::CookieCrumbs];
    for (list, kind) in [many, large, crumbs].into_iter().zip(kinds) {
        let mut wire = Wire::server(Config::default());
        wire.feed(&frame(HEADERS, GET, 1, &request_block("GET", &list)));
        assert!(wire.events.is_empty());
        let head = wire.sent_of(HEADERS);
        assert_eq!(head.len(), 1);
        assert_eq!((head[0].flags, head[0].stream), (END_STREAM | END_HEADERS, 1));
        assert_eq!(wire.core.stats().trips.of(kind), 1);
        assert_eq!(wire.core.stats().trips.total(), 1);
        wire.feed(&get(3));
        assert!(matches!(wire.events[..], [Event::Request { .. }]));
    }
}

#[test]
fn as_many_crumbs_as_browsers_send_are_joined() {
    let mut wire = Wire::server(Config::default());
    let crumbs: Vec<(&str, &str)> = vec![("cookie", "a=b"); 256];
    wire.feed(&frame(HEADERS, GET, 1, &request_block("GET", &crumbs)));
    let Some(Event::Request { request, .. }) = wire.events.first() else { panic!("{:?}", wire.events) };
    assert_eq!(request.headers().len(), 1);
    assert_eq!(request.headers()["cookie"].len(), 256 * 5 - 2);
}

#[test]
fn a_peer_that_does_not_read_gets_no_more_streams_and_is_not_read_from() {
    let mut wire = Wire::server(Config { waiting_acks: u32::MAX, ..Config::default() });
    let mut large = HeaderMap::new();
    let mut id = 1;
    let mut refused = None;
    while wire.core.wants_input() {
        wire.core.receive(Bytes::from(get(id)));
        match wire.core.poll_event(0) {
            Some(Event::Request { stream, .. }) => {
                assert_eq!(refused, None, "no stream after the first refusal");
                // A field that changes is not indexed.
                let value = [&[b'~'; 1_000][..], id.to_string().as_bytes()].concat();
                large.insert("x-large", http::HeaderValue::from_bytes(&value).unwrap());
                wire.core.respond(stream, StatusCode::OK, &large, true).unwrap();
                wire.core.finish(stream);
            }
            None => {
                refused.get_or_insert(wire.core.output_len());
                // What control frames cost goes on piling up.
                wire.core.receive(Bytes::from(frame(h2_wire::PING, 0, 0, &[0; 8]).repeat(100)));
                assert!(wire.core.poll_event(0).is_none());
            }
            other => panic!("{other:?}"),
        }
        id += 2;
    }
    let limit = Config::default().output_bytes;
    assert!(refused.is_some_and(|bytes| bytes > limit && bytes < limit + 64 * 1024), "{refused:?}");
    wire.flush();
    assert!(wire.core.wants_input());
    wire.feed(&get(id));
    assert!(matches!(wire.events[..], [Event::Request { .. }]));
}

#[test]
fn one_client_cannot_make_a_connection_hold_more_than_its_windows() {
    let mut wire = Wire::server(Config::default());
    for n in 0..256 {
        wire.feed(&post(2 * n + 1, &[]));
    }
    let mut delivered = 0;
    'flood: for n in 0..256 {
        for _ in 0..4 {
            wire.feed(&frame(DATA, 0, 2 * n + 1, &[7; 16_384]));
            if wire.goaway().is_some() {
                break 'flood;
            }
            delivered += 16_384;
        }
    }
    assert_eq!(wire.goaway(), Some(Reason::FLOW_CONTROL_ERROR.0));
    assert_eq!(delivered, 1 << 20);
}

/// Deadlines: the preface, a header block, SETTINGS, idleness.
#[test]
fn each_deadline_ends_the_connection_with_its_reason() {
    let at = |wire: &mut Wire, seconds: u64| {
        wire.now = seconds * SECOND;
        assert!(wire.core.next_deadline(0).is_some_and(|due| due <= wire.now));
        wire.core.handle_timeout(wire.now - 1);
        assert!(!wire.core.is_closed(), "too early");
        wire.core.handle_timeout(wire.now);
        wire.turn();
        assert!(wire.core.is_closed(), "at {seconds} s");
        assert!(matches!(wire.events.last(), Some(Event::Closed { .. })));
    };
    let mut silent = Wire::new(Connection::server(Config::default(), 0));
    at(&mut silent, 5);
    assert!(silent.sent.is_empty());

    let mut half = Wire::new(Connection::server(Config::default(), 0));
    half.feed(PREFACE);
    half.feed(&settings(&[])[..5]);
    at(&mut half, 5);

    let mut no_ack = Wire::new(Connection::server(Config::default(), 0));
    no_ack.feed(&[PREFACE, &settings(&[])].concat());
    at(&mut no_ack, 10);
    assert_eq!(no_ack.goaway(), Some(Reason::SETTINGS_TIMEOUT.0));

    let mut dripping = Wire::server(Config::default());
    dripping.feed(&frame(HEADERS, END_STREAM, 1, &[0x82]));
    at(&mut dripping, 10);

    let mut idle = Wire::server(Config::default());
    at(&mut idle, 60);
    assert_eq!(idle.goaway(), Some(0));

    let trips = [silent, half, no_ack, dripping, idle].map(|wire| trip_of(&wire));
    let expected = [
        Trip::PrefaceTimeout,
        Trip::PrefaceTimeout,
        Trip::SettingsTimeout,
        Trip::HeaderTimeout,
        Trip::IdleTimeout,
    ];
    assert_eq!(trips, expected.map(Some));
}

#[test]
fn a_connection_with_a_stream_is_not_idle_and_becomes_so_when_the_stream_ends() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    assert_eq!(wire.core.next_deadline(0), None);
    let stream = wire.stream();
    wire.now = 500 * SECOND;
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
    wire.core.finish(stream);
    wire.turn();
    // First it gives memory back, soon.
    let rest = wire.core.next_deadline(wire.now).unwrap();
    assert!(rest < 501 * SECOND);
    wire.core.handle_timeout(rest);
    assert_eq!(wire.core.next_deadline(rest), Some(560 * SECOND));
    // PING does not keep it alive.
    wire.now = 559 * SECOND;
    wire.feed(&frame(h2_wire::PING, 0, 0, &[0; 8]));
    assert_eq!(wire.core.next_deadline(wire.now), Some(560 * SECOND));
}

/// The shutdown does not wait for a PING for ever.
#[test]
fn a_client_that_does_not_confirm_the_goaway_is_told_the_last_stream_anyway() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    wire.core.shutdown();
    wire.turn();
    wire.now = 10 * SECOND;
    wire.core.handle_timeout(wire.now);
    wire.turn();
    let lasts: Vec<u32> = wire.sent_of(GOAWAY).iter().map(|frame| frame.word(0)).collect();
    assert_eq!(lasts, [0x7fff_ffff, 1]);
    assert!(!wire.core.is_closed(), "the stream goes on");
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), true).unwrap();
    wire.core.finish(stream);
    wire.turn();
    assert!(wire.core.is_closed());
}

#[test]
fn a_second_settings_ack_is_a_protocol_error() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&frame(SETTINGS, ACK, 0, &[]));
    assert_eq!(wire.goaway(), Some(Reason::PROTOCOL_ERROR.0));
}

#[test]
fn floods_of_every_other_kind_have_their_own_trip() {
    let settings_entries: Vec<(u16, u32)> = vec![(0x77, 0); 33];
    let continuations =
        [frame(HEADERS, END_STREAM, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[]).repeat(9)].concat();
    let long = [
        frame(HEADERS, END_STREAM, 1, &[0; 16_384]),
        frame(CONTINUATION, 0, 1, &[0; 16_384]),
        frame(CONTINUATION, 0, 1, &[0; 1]),
    ];
    let cases = [
        (continuations, Trip::ContinuationFlood),
        (long.concat(), Trip::HeaderBlock),
        (settings(&settings_entries), Trip::SettingsEntries),
        (settings(&[]).repeat(17), Trip::SettingsFlood),
        (frame(h2_wire::PING, 0, 0, &[0; 8]).repeat(17), Trip::PingFlood),
    ];
    for (bytes, trip) in cases {
        let mut wire = Wire::server(Config::default());
        wire.feed(&bytes);
        assert_eq!(wire.goaway(), CALM, "{trip:?}");
        assert_eq!(trip_of(&wire), Some(trip));
    }
}

#[test]
fn refused_streams_are_counted_by_the_bound_that_refused_them() {
    let mut wire = Wire::server(Config { max_concurrent_streams: 1, ..Config::default() });
    wire.feed(&[get(1), get(3)].concat());
    assert_eq!(wire.resets(), [(3, Reason::REFUSED_STREAM.0)]);
    let stats = wire.core.stats();
    assert_eq!((stats.trips.of(Trip::Concurrency), stats.trips.total()), (1, 1));
    assert_eq!((stats.streams, stats.streams_open, stats.resets_sent), (1, 1, 1));
    let mut wire = Wire::server(Config { output_bytes: 0, ..Config::default() });
    wire.feed(&[frame(h2_wire::PING, 0, 0, &[0; 8]), get(1)].concat());
    assert_eq!(wire.resets(), [(1, Reason::REFUSED_STREAM.0)]);
    assert_eq!(wire.core.stats().trips.of(Trip::OutputQueue), 1);
}

#[test]
fn a_reset_says_which_rule_was_broken() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[post(1, &[]), window_update(1, 0), post(3, &[]), rst_stream(3, 8)].concat());
    let texts: Vec<(bool, &str)> = wire
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Reset { remote, text, .. } => Some((*remote, *text)),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [(false, "WINDOW_UPDATE of 0"), (true, "")]);
}

#[test]
fn statistics_count_frames_and_bytes_both_ways() {
    let mut wire = Wire::server(Config::default());
    let before = wire.core.stats();
    let ping = frame(h2_wire::PING, 0, 0, &[0; 8]);
    wire.feed(&[ping, post(1, &[]), frame(DATA, 0, 1, b"x")].concat());
    wire.core.respond(wire.stream(), StatusCode::OK, &HeaderMap::new(), true).unwrap();
    wire.turn();
    let after = wire.core.stats();
    assert_eq!(after.frames_received - before.frames_received, 3);
    assert_eq!(after.bytes_received - before.bytes_received, (17 + post(1, &[]).len() + 10) as u64);
    let sent: usize = wire.sent.iter().map(|frame| 9 + frame.payload.len()).sum();
    assert_eq!(after.frames_sent - before.frames_sent, wire.sent.len() as u64);
    assert_eq!(after.bytes_sent - before.bytes_sent, sent as u64);
}

#[test]
fn what_a_connection_holds_is_accounted_and_returns_to_zero() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&[settings(&[(4, 100)]), post(1, &[]), frame(DATA, 0, 1, &[7; 300])].concat());
    let stream = wire.stream();
    // Name, value and 32 octets a field (RFC 9113 §6.5.2).
    let list: usize =
        h2_wire::PSEUDO.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>() + 1;
    let held = wire.core.held();
    assert_eq!((held.received, held.output, held.heads), (300, 0, list));
    wire.core.release(stream, 100);
    assert_eq!(wire.core.held().received, 200);
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; 5_000]), false).unwrap();
    wire.flush();
    assert_eq!(wire.core.held().output, 4_900, "the window takes 100");
    wire.feed(&rst_stream(1, 8));
    assert_eq!(wire.core.held().output, 0);
    wire.core.finish(stream);
    assert_eq!(wire.core.held().total(), 0);
    assert_eq!(wire.core.stats().streams_open, 0);
}

#[test]
fn a_connection_that_lost_its_socket_has_nothing_to_write_any_more() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&post(1, &[]));
    let stream = wire.stream();
    wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
    wire.core.send_data(stream, Bytes::from(vec![1; 100_000]), false).unwrap();
    assert!(wire.core.has_output());
    wire.core.abandon();
    wire.core.reset(stream, Reason::INTERNAL_ERROR);
    wire.core.finish(stream);
    assert!(wire.core.is_closed() && !wire.core.has_output() && !wire.core.has_events());
    assert_eq!((wire.core.held().total(), wire.core.open_streams()), (0, 0));
    assert!(wire.core.poll_event(0).is_none());
}

#[test]
fn a_connection_that_holds_too_much_gets_no_more_streams() {
    let mut wire = Wire::server(Config { connection_bytes: 1_000, ..Config::default() });
    wire.feed(&[post(1, &[]), frame(DATA, 0, 1, &[7; 1_000]), get(3)].concat());
    assert_eq!(wire.resets(), [(3, Reason::REFUSED_STREAM.0)]);
    assert_eq!(wire.core.stats().trips.of(Trip::ConnectionBytes), 1);
    let stream = wire.stream();
    wire.core.release(stream, 1_000);
    wire.feed(&get(5));
    assert!(matches!(wire.events.last(), Some(Event::Request { .. })));
}

#[test]
fn a_shed_request_is_refused_or_answered_and_leaves_nothing() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&get(1));
    wire.core.shed(wire.stream(), None);
    wire.feed(&get(3));
    wire.core.shed(wire.stream(), Some(StatusCode::SERVICE_UNAVAILABLE));
    wire.turn();
    assert_eq!(wire.resets(), [(1, Reason::REFUSED_STREAM.0)]);
    let heads = wire.sent_of(HEADERS);
    assert_eq!((heads.len(), heads[0].stream, heads[0].flags), (1, 3, END_STREAM | END_HEADERS));
    assert_eq!((wire.core.open_streams(), wire.core.held().total()), (0, 0));
    assert_eq!(wire.core.stats().trips.of(Trip::Shed), 2);
}

/// Two hundred streams stall at once; the connection ends with one GOAWAY and not with one for each.
#[test]
fn a_connection_ends_once_however_many_streams_are_slow() {
    let mut wire = Wire::server(Config::default());
    wire.feed(&settings(&[(4, 0)]));
    for n in 0..200 {
        wire.feed(&get(2 * n + 1));
        let stream = wire.stream();
        wire.core.respond(stream, StatusCode::OK, &HeaderMap::new(), false).unwrap();
        wire.core.send_data(stream, Bytes::from_static(b"waits"), true).unwrap();
        wire.core.finish(stream);
    }
    wire.turn();
    while !wire.core.is_closed() {
        wire.now += SECOND;
        assert!(wire.now < 120 * SECOND, "nothing happens");
        wire.core.handle_timeout(wire.now);
        wire.turn();
    }
    assert_eq!(wire.sent_of(GOAWAY).len(), 1);
    assert_eq!(trip_of(&wire), Some(Trip::ResetFlood));
    assert_eq!(wire.core.stats().trips.of(Trip::StreamStall), 101);
}

/// A server may be hostile too: the client keeps to the same bounds.
#[test]
fn a_server_that_floods_its_client_runs_into_the_same_bounds() {
    let status = |code: &str| h2_wire::fields(&[(":status", code)]);
    let head = frame(HEADERS, END_HEADERS, 1, &status("200"));
    let cases = [
        (frame(HEADERS, END_HEADERS, 1, &status("103")).repeat(1_001), Trip::GlitchFlood),
        ([head, frame(DATA, 0, 1, &[]).repeat(1_001)].concat(), Trip::GlitchFlood),
        (frame(h2_wire::PING, 0, 0, &[0; 8]).repeat(17), Trip::PingFlood),
        (settings(&[]).repeat(17), Trip::SettingsFlood),
        (settings(&[(0x77, 0); 33]), Trip::SettingsEntries),
        (
            [frame(HEADERS, 0, 1, &status("200")), frame(CONTINUATION, 0, 1, &[]).repeat(9)].concat(),
            Trip::ContinuationFlood,
        ),
    ];
    let request = http::Request::get("http://a/").body(()).unwrap();
    for (bytes, trip) in cases {
        let mut wire = Wire::client(Config::default());
        wire.core.request(&request, true).unwrap();
        wire.feed(&bytes);
        assert_eq!(wire.goaway(), CALM, "{trip:?}");
        assert_eq!(trip_of(&wire), Some(trip));
    }
}

/// A bomb in a response costs its stream, and nothing of it is kept.
#[test]
fn a_bomb_in_a_response_costs_its_stream_only() {
    let head = h2_wire::fields(&[(":status", "200")]);
    for (filler, trip) in [(0x90, Trip::HeaderFields), (0xa0, Trip::CookieCrumbs)] {
        let mut wire = Wire::client(Config::default());
        let request = http::Request::get("http://a/").body(()).unwrap();
        let stream = wire.core.request(&request, true).unwrap();
        wire.feed(&frame(HEADERS, END_HEADERS, 1, &[head.clone(), vec![filler; 16_000]].concat()));
        assert_eq!(wire.resets(), [(1, Reason::ENHANCE_YOUR_CALM.0)]);
        let Some(Event::Reset { remote: false, text, .. }) = wire.events.last() else {
            panic!("{:?}", wire.events);
        };
        assert_eq!(*text, trip.text());
        assert_eq!(wire.core.stats().trips.of(trip), 1);
        wire.core.finish(stream);
        assert_eq!((wire.core.open_streams(), wire.core.held().total()), (0, 0));
        assert!(!wire.core.is_closed());
    }
}
