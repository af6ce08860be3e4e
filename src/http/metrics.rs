//! What a server or a client has done, in numbers that anybody may read at any time.
//!
//! ```text
//! Connection::counts   plain words in the core: one addition each
//!        │ once a turn, what has changed
//!        ▼
//! Meter                one a worker: atomics that this worker alone writes, by a load and a store
//!        │ when asked
//!        ▼
//! Metrics              the sum over workers
//! ```
//!
//! Nothing here is a read-modify-write or a lock on the way of a request. A snapshot is exact up to the last turn of
//! each worker; its numbers are read one after the other, so two of them may be a turn apart.

use std::{
    cell::{Cell, RefCell},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{
    http::{
        core::{self, Core},
        pressure,
    },
    limits::HELD_UNIT,
    proto::h2::{COUNTS, LEVELS, Trip, Trips},
};

/// What a [`Server`](crate::http::Server) or a client has done since it began, and what it holds now.
///
/// Its [`Display`](fmt::Display) is the text format of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Connections that were closed at once because there were too many.
    pub connections_refused: u64,
    /// Requests that were taken (server) or sent (client).
    pub requests: u64,
    /// Those of them in HTTP/1.
    pub requests_http1: u64,
    /// Streams that are open, those included whose handler has not finished.
    pub streams_open: u64,
    /// Handlers under way.
    pub handlers: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Frames sent.
    pub frames_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Streams that peers reset.
    pub resets_received: u64,
    /// Streams that were reset or refused here.
    pub resets_sent: u64,
    /// Received content that nobody has taken yet, in bytes.
    pub held_received: u64,
    /// Output that peers have not taken yet, in bytes.
    pub held_output: u64,
    /// Header lists of requests under way, in bytes.
    pub held_heads: u64,
    /// Bounds that peers ran into.
    pub trips: Trips,
}

/// A place of a [`Meter`]. The first stand in the order of [`Connection::counts`].
#[derive(Clone, Copy)]
enum Place {
    FramesReceived,
    BytesReceived,
    FramesSent,
    BytesSent,
    Requests,
    StreamsOpen,
    HeldReceived,
    HeldOutput,
    HeldHeads,
    Connections,
    ConnectionsOpen,
    ConnectionsRefused,
    Handlers,
    RequestsHttp1,
    ResetsReceived,
    ResetsSent,
}

const REQUESTS: usize = Place::Requests as usize;
/// The first of the levels that are bytes held.
const HELD: usize = Place::HeldReceived as usize;
const PLACES: usize = Place::ResetsSent as usize + 1;
const _: () = assert!(Place::StreamsOpen as usize == LEVELS && Place::HeldHeads as usize + 1 == COUNTS);

/// The numbers of one worker, which writes them; others read.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Meter {
    places: [AtomicU64; PLACES],
    trips: [AtomicU64; Trip::ALL.len()],
    /// What the process has been told that the worker holds.
    told: AtomicU64,
}

/// One writer: a load and a store lose nothing.
#[inline]
fn add(place: &AtomicU64, n: u64) {
    place.store(place.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Meter {
    fn new() -> Meter {
        Meter {
            places: [const { AtomicU64::new(0) }; PLACES],
            trips: [const { AtomicU64::new(0) }; Trip::ALL.len()],
            told: AtomicU64::new(0),
        }
    }

    fn read(&self, place: Place) -> u64 {
        self.places[place as usize].load(Relaxed)
    }

    #[inline]
    fn add(&self, place: Place, n: u64) {
        add(&self.places[place as usize], n);
    }

    /// Bytes that the worker holds for its peers.
    #[inline]
    pub(super) fn held(&self) -> usize {
        let places = [Place::HeldReceived, Place::HeldOutput, Place::HeldHeads];
        places.iter().fold(0, |sum, place| sum + self.read(*place)) as usize
    }

    /// Handlers under way.
    pub(super) fn handlers(&self) -> usize {
        self.read(Place::Handlers) as usize
    }

    /// Tells the process what the worker holds, when that is a unit more or less, or nothing.
    #[cold]
    fn tell_process(&self) {
        let (held, told) = (self.held() as u64, self.told.load(Relaxed));
        if held.abs_diff(told) >= HELD_UNIT as u64 || (held == 0 && told > 0) {
            self.told.store(held, Relaxed);
            pressure::tell_process(held.wrapping_sub(told) as i64);
        }
    }

    /// A connection was turned away.
    pub(super) fn refused(&self) {
        self.add(Place::ConnectionsRefused, 1);
    }

    /// A connection was opened.
    pub(super) fn opened(&self) {
        self.add(Place::Connections, 1);
        self.add(Place::ConnectionsOpen, 1);
    }

    /// A connection is gone.
    pub(super) fn closed(&self) {
        self.add(Place::ConnectionsOpen, 1_u64.wrapping_neg());
    }

    /// A handler was called.
    #[inline]
    pub(super) fn began(&self) {
        self.add(Place::Handlers, 1);
    }

    /// A handler is gone.
    #[inline]
    pub(super) fn finished(&self) {
        self.add(Place::Handlers, 1_u64.wrapping_neg());
    }

    fn add_to(&self, sum: &mut Metrics) {
        let levels: [(&mut u64, Place); 6] = [
            (&mut sum.connections_open, Place::ConnectionsOpen),
            (&mut sum.streams_open, Place::StreamsOpen),
            (&mut sum.handlers, Place::Handlers),
            (&mut sum.held_received, Place::HeldReceived),
            (&mut sum.held_output, Place::HeldOutput),
            (&mut sum.held_heads, Place::HeldHeads),
        ];
        for (to, place) in levels {
            *to += self.read(place);
        }
        let sums: [(&mut u64, Place); 10] = [
            (&mut sum.connections, Place::Connections),
            (&mut sum.connections_refused, Place::ConnectionsRefused),
            (&mut sum.requests, Place::Requests),
            (&mut sum.requests_http1, Place::RequestsHttp1),
            (&mut sum.frames_received, Place::FramesReceived),
            (&mut sum.frames_sent, Place::FramesSent),
            (&mut sum.bytes_received, Place::BytesReceived),
            (&mut sum.bytes_sent, Place::BytesSent),
            (&mut sum.resets_received, Place::ResetsReceived),
            (&mut sum.resets_sent, Place::ResetsSent),
        ];
        for (to, place) in sums {
            *to += self.read(place);
        }
        for (trip, count) in Trip::ALL.into_iter().zip(&self.trips) {
            sum.trips.add(trip, count.load(Relaxed));
        }
    }
}

/// Reads the numbers of a server or a client, or of several together, from any thread.
///
/// It may be made first and given to the builder, so that a handler can show them.
///
/// # Examples
///
/// ```
/// use wakering::{http::{Body, Meters, Request, Response, Server}, net::TcpListener};
///
/// wakering::run(async {
///     let meters = Meters::new();
///     let shown = meters.clone();
///     let handler = move |_: Request<Body>| {
///         let text = shown.read().to_string();
///         async move { Response::new(Body::from(text)) }
///     };
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let server = Server::builder().meters(meters).start(listener, handler)?;
///     assert_eq!(server.metrics().requests, 0);
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Meters {
    workers: Arc<Mutex<Vec<Arc<Meter>>>>,
}

impl Meters {
    /// Makes one that nobody writes to yet.
    #[must_use]
    pub fn new() -> Meters {
        Meters::default()
    }

    /// Sums up what there is now.
    #[must_use]
    pub fn read(&self) -> Metrics {
        let mut sum = Metrics::default();
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.add_to(&mut sum);
        }
        sum
    }

    /// A meter of its own for one more worker.
    pub(super) fn join(&self) -> Arc<Meter> {
        let meter = Arc::new(Meter::new());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(meter.clone());
        meter
    }
}

/// What one connection has put into its worker's meter.
#[derive(Debug)]
pub(super) struct Ledger {
    meter: Arc<Meter>,
    counts: Cell<[u32; COUNTS]>,
    rare: Cell<u32>,
    rarities: RefCell<Option<Box<(u32, u32, Trips)>>>,
    closed: Cell<bool>,
}

impl Ledger {
    /// Opens the book of a new connection.
    pub(super) fn open(meter: Arc<Meter>) -> Ledger {
        meter.opened();
        Ledger {
            meter,
            counts: Cell::default(),
            rare: Cell::new(0),
            rarities: RefCell::default(),
            closed: Cell::new(false),
        }
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Adds what has changed since the last time; the connection's numbers may have wrapped meanwhile.
    #[inline]
    pub(super) fn publish(&self, core: &Core) {
        if self.closed.get() {
            return;
        }
        let new = core.counts();
        if core::is_http1(core) {
            let requests = new[REQUESTS].wrapping_sub(self.counts.get()[REQUESTS]);
            self.meter.add(Place::RequestsHttp1, u64::from(requests));
        }
        self.settle(new);
        if core.rare() != self.rare.get() {
            self.publish_rarities(core);
        }
    }

    #[inline]
    fn settle(&self, new: [u32; COUNTS]) {
        let old = self.counts.replace(new);
        for (at, place) in self.meter.places.iter().take(COUNTS).enumerate() {
            let grown = new[at].wrapping_sub(old[at]);
            // A level may fall: its difference has a sign.
            add(place, if at < LEVELS { u64::from(grown) } else { i64::from(grown as i32) as u64 });
        }
        if new[HELD..] != old[HELD..] {
            self.meter.tell_process();
        }
    }

    #[cold]
    fn publish_rarities(&self, core: &Core) {
        self.rare.set(core.rare());
        let (received, sent, trips) = core.rarities();
        let mut known = self.rarities.borrow_mut();
        let known = known.get_or_insert_default();
        self.meter.add(Place::ResetsReceived, u64::from(received - known.0));
        self.meter.add(Place::ResetsSent, u64::from(sent - known.1));
        for ((trip, count), place) in trips.iter().zip(&self.meter.trips) {
            add(place, count - known.2.of(trip));
        }
        **known = (received, sent, trips);
    }

    /// Another machine takes over, which counts from nought. What the one before had done is published.
    pub(super) fn restart(&self, new: &Core) {
        self.settle_levels();
        self.counts.set([0; COUNTS]);
        self.rare.set(0);
        self.rarities.take();
        self.publish(new);
    }

    fn settle_levels(&self) {
        let mut last = self.counts.get();
        last[LEVELS..].fill(0);
        self.settle(last);
    }

    /// Adds the rest, and takes the levels back: the connection is gone.
    pub(super) fn close(&self, core: &Core) {
        if self.closed.get() {
            return;
        }
        self.publish(core);
        self.settle_levels();
        self.closed.set(true);
        self.meter.closed();
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut put = |kind: &str, name: &str, help: &str, value: u64| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            writeln!(out, "# HELP wakering_http_{name}{suffix} {help}")?;
            writeln!(out, "# TYPE wakering_http_{name}{suffix} {kind}")?;
            writeln!(out, "wakering_http_{name}{suffix} {value}")
        };
        put("counter", "connections", "Connections opened.", self.connections)?;
        put("gauge", "connections_open", "Connections open.", self.connections_open)?;
        put("counter", "connections_refused", "Connections turned away.", self.connections_refused)?;
        put("counter", "requests", "Requests taken or sent.", self.requests)?;
        put("counter", "requests_http1", "Requests in HTTP/1.", self.requests_http1)?;
        put("gauge", "streams_open", "Streams open.", self.streams_open)?;
        put("gauge", "handlers", "Handlers under way.", self.handlers)?;
        put("counter", "frames_received", "Frames received.", self.frames_received)?;
        put("counter", "frames_sent", "Frames sent.", self.frames_sent)?;
        put("counter", "received_bytes", "Bytes received.", self.bytes_received)?;
        put("counter", "sent_bytes", "Bytes sent.", self.bytes_sent)?;
        put("counter", "resets_received", "Streams reset by peers.", self.resets_received)?;
        put("counter", "resets_sent", "Streams reset or refused here.", self.resets_sent)?;
        put("gauge", "held_received_bytes", "Received content not taken yet.", self.held_received)?;
        put("gauge", "held_output_bytes", "Output that peers have not taken yet.", self.held_output)?;
        put("gauge", "held_heads_bytes", "Header lists of requests under way.", self.held_heads)?;
        let name = "wakering_http_trips_total";
        writeln!(out, "# HELP {name} Bounds that peers ran into.\n# TYPE {name} counter")?;
        for (trip, count) in self.trips.iter() {
            writeln!(out, "{name}{{bound=\"{}\"}} {count}", trip.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_a_type_for_every_number_and_names_every_trip() {
        let mut metrics = Metrics { connections: 3, streams_open: 2, ..Metrics::default() };
        metrics.trips.add(Trip::ResetFlood, 7);
        let text = metrics.to_string();
        assert!(
            text.contains(
                "# TYPE wakering_http_connections_total counter\nwakering_http_connections_total 3\n"
            )
        );
        assert!(text.contains("# TYPE wakering_http_streams_open gauge\nwakering_http_streams_open 2\n"));
        assert!(text.contains("wakering_http_trips_total{bound=\"reset_flood\"} 7\n"));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap();
            let name = name.split('{').next().unwrap();
            assert!(
                text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
                "{line}"
            );
            assert!(value.parse::<u64>().is_ok(), "{line}");
        }
        assert_eq!(text.lines().filter(|line| line.contains("{bound=")).count(), Trip::ALL.len());
    }

    #[test]
    fn two_workers_are_summed_and_a_closed_connection_leaves_its_sums_but_no_levels() {
        let meters = Meters::new();
        let (one, two) = (meters.join(), meters.join());
        let config = std::sync::Arc::new(crate::proto::h2::Config::default());
        let core = crate::http::core::client(config, ::http::Version::HTTP_2, 0);
        let first = Ledger::open(one);
        first.publish(&core);
        let second = Ledger::open(two.clone());
        two.began();
        second.publish(&core);
        second.publish(&core);
        let both = meters.read();
        assert_eq!((both.connections, both.connections_open, both.handlers), (2, 2, 1));
        assert!(both.frames_sent > 0 && both.held_output > 0);
        second.close(&core);
        second.publish(&core);
        two.finished();
        let left = meters.read();
        assert_eq!((left.connections, left.connections_open, left.handlers), (2, 1, 0));
        assert_eq!(left.frames_sent, both.frames_sent);
        assert_eq!(left.held_output * 2, both.held_output);
    }
}
