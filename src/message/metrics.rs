//! What a node has done, in numbers.

use std::{cell::Cell, fmt};

use crate::message::{error::RequestError, link::Link, node::Node};

/// What a server, a client or a node of datagrams has done since it began, and what it holds now.
///
/// Its [`Display`](fmt::Display) is the text format of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that are open.
    pub connections_open: u64,
    /// Connections that are sealed in a session.
    pub sessions_open: u64,
    /// Messages that came, those included that were refused.
    pub received: u64,
    /// Messages that were sent, or wait to be written.
    pub sent: u64,
    /// Messages that were not sent because a peer read too slowly, none of which it had asked for; by datagrams those, of whatever
    /// kind, for which the system took no more.
    pub dropped: u64,
    /// Bytes that wait for peers to read them, or for the system to send them.
    pub queued_bytes: u64,
    /// Requests that were made, those included that there was no connection for.
    pub requests: u64,
    /// Requests that had no answer in their time, or for so long no connection.
    pub timeouts: u64,
    /// Requests that failed in another way: there was no connection, or it ended, or what came is not the peer's. Those that were
    /// given up are in neither number.
    pub failed: u64,
    /// Messages that did not come through a layer or a session.
    pub refused: u64,
    /// What came and was no message: with a wrong checksum, of an unknown type, of another protocol.
    pub malformed: u64,
    /// Datagrams that there was no room for: as many handlers as may be were at work.
    pub surplus: u64,
    /// Errors that a host was not told, because it was told many by datagrams just before.
    pub untold: u64,
    /// Handlers at work.
    pub handlers: u64,
}

/// Counted where it happens; a node is one worker's.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: Cell<u64>,
    pub(super) received: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// Of the connections that are over.
    pub(super) dropped: Cell<u64>,
    pub(super) requests: Cell<u64>,
    pub(super) timeouts: Cell<u64>,
    pub(super) failed: Cell<u64>,
    pub(super) refused: Cell<u64>,
    pub(super) malformed: Cell<u64>,
}

impl Counts {
    /// Counts a request that has no answer.
    pub(super) fn note(&self, error: &RequestError) {
        count(if error.is_timeout() { &self.timeouts } else { &self.failed }, 1);
    }

    /// The same of one that has not been counted before.
    pub(super) fn note_unsent(&self, error: &RequestError) {
        count(&self.requests, 1);
        self.note(error);
    }
}

/// Counts one more, or some.
pub(super) fn count(place: &Cell<u64>, more: u64) {
    place.set(place.get().wrapping_add(more));
}

impl Metrics {
    pub(super) fn of(node: &Node) -> Metrics {
        let (links, counts) = (node.links(), &node.counts);
        let sum = |of: fn(&Link) -> u64| links.iter().map(|link| of(link)).sum::<u64>();
        Metrics {
            connections: counts.connections.get(),
            connections_open: links.len() as u64,
            sessions_open: sum(|link| link.guard.is_sealed().into()),
            received: counts.received.get(),
            sent: counts.sent.get(),
            dropped: counts.dropped.get() + sum(Link::dropped),
            queued_bytes: sum(Link::queued_bytes),
            requests: counts.requests.get(),
            timeouts: counts.timeouts.get(),
            failed: counts.failed.get(),
            refused: counts.refused.get(),
            malformed: counts.malformed.get(),
            surplus: 0,
            untold: 0,
            handlers: sum(Link::handlers),
        }
    }

    /// Adds those of another worker.
    pub(super) fn add(&mut self, other: &Metrics) {
        self.connections += other.connections;
        self.connections_open += other.connections_open;
        self.sessions_open += other.sessions_open;
        self.received += other.received;
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.queued_bytes += other.queued_bytes;
        self.requests += other.requests;
        self.timeouts += other.timeouts;
        self.failed += other.failed;
        self.refused += other.refused;
        self.malformed += other.malformed;
        self.surplus += other.surplus;
        self.untold += other.untold;
        self.handlers += other.handlers;
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { connections, connections_open, sessions_open, received, sent, .. } = *self;
        let Metrics { dropped, queued_bytes, requests, timeouts, refused, .. } = *self;
        let Metrics { malformed, surplus, untold, handlers, failed, .. } = *self;
        let lines = [
            ("connections_total", "counter", "Connections that were opened.", connections),
            ("connections_open", "gauge", "Connections that are open.", connections_open),
            ("sessions_open", "gauge", "Connections that are sealed in a session.", sessions_open),
            ("received_total", "counter", "Messages that came.", received),
            ("sent_total", "counter", "Messages that were sent.", sent),
            ("dropped_total", "counter", "Messages not sent because as many waited as may.", dropped),
            ("queued_bytes", "gauge", "Bytes that wait to be written.", queued_bytes),
            ("requests_total", "counter", "Requests that were made.", requests),
            ("timeouts_total", "counter", "Requests without an answer in their time.", timeouts),
            ("failed_total", "counter", "Requests that failed otherwise.", failed),
            ("refused_total", "counter", "Messages that no layer let through.", refused),
            ("malformed_total", "counter", "What came and was no message.", malformed),
            ("surplus_total", "counter", "Datagrams that there was no room for.", surplus),
            ("untold_total", "counter", "Errors that hosts were not told, being too many.", untold),
            ("handlers", "gauge", "Handlers at work.", handlers),
        ];
        for (name, kind, help, value) in lines {
            writeln!(out, "# HELP wakering_message_{name} {help}")?;
            writeln!(out, "# TYPE wakering_message_{name} {kind}")?;
            writeln!(out, "wakering_message_{name} {value}")?;
        }
        Ok(())
    }
}
