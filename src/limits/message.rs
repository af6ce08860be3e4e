//! The bounds of the message protocol.

use std::time::Duration;

// proto::message

/// Uri and content of a message that is sent, as in the protocol's first implementation, which refuses more.
pub(crate) const MESSAGE_BODY_BYTES: usize = 65_422;
/// How deep packed values may be nested: authentication fields are a map of pairs, and peers' records little more.
pub(crate) const PACKED_DEPTH: usize = 16;
/// Authentication fields of one message, since each is looked for among the others: two layers of all plugins have a dozen.
pub(crate) const MESSAGE_FIELDS: usize = 64;
/// Requests under way to one peer; further ones wait.
pub(crate) const MESSAGE_REQUESTS: usize = 1024;
/// Bytes of requests under way to one peer, as long as those are more than it has handlers for: the rest of them has to fit into
/// what it holds ([`MESSAGE_HELD_BYTES`]), or its reader would not come to the answers that lie behind.
pub(crate) const MESSAGE_REQUEST_BYTES: usize = 3 * MESSAGE_HELD_BYTES / 4;
/// The same over datagrams, where nothing makes who asks wait: what a peer has no room for is dropped, and a peer of ours has
/// room for so many of one address.
pub(crate) const MESSAGE_DATAGRAM_REQUESTS: usize = MESSAGE_HANDLERS;
/// Requests to one peer that wait for their turn; past that the caller is told.
pub(crate) const MESSAGE_WAITING: usize = 4096;
/// Their bytes: some five hundred of the longest.
pub(crate) const MESSAGE_WAITING_BYTES: usize = 32 << 20;
/// Requests by datagrams in a row that may go unanswered before who has repeated numbers is believed without them again: fewer are
/// lost so now and then, and another that has come to its address does not wait for long.
pub(crate) const MESSAGE_UNANSWERED: u8 = 3;
/// How long, in nanoseconds, a late answer is waited for before the next request for its uri goes out to a peer that repeats no
/// numbers: as long again as one that is not late has by default.
pub(crate) const MESSAGE_LATE_ANSWER_NANOS: u64 = 10_000_000_000;
/// How far a message's time may be from ours, in seconds: clocks that are kept by hand, and what a slow reader queues.
pub(crate) const MESSAGE_TIME_WINDOW: u32 = 300;
/// Nonces that are remembered against replay, 2 MiB of them; past that, the oldest second is closed instead. Of the time that is
/// now, and of the seconds about it, as many more are.
pub(crate) const MESSAGE_NONCES: usize = 1 << 18;
/// Seconds by which clocks that are set by others are apart, at most, and for which a message is under way: times that are so
/// near to ours are taken for as long as any is.
pub(crate) const MESSAGE_CLOCK_SLACK: u32 = 5;
/// Sealed datagrams that may come behind later ones: what a burst may be shuffled by.
pub(crate) const MESSAGE_REPLAY_WINDOW: u64 = 128;

// message

/// Bytes that wait to be written to one peer: sixteen of the largest messages. Once for what it has not asked for, once for
/// requests, and half of it for answers, behind which no further handler is called.
pub(crate) const MESSAGE_QUEUE_BYTES: usize = 1 << 20;
/// By how much answers may be beyond that before nothing is read any more although answers are waited for: what all handlers of
/// a connection may have answered at once, and as much of errors.
pub(crate) const MESSAGE_BEYOND_BYTES: usize = 2 * MESSAGE_HANDLERS * (1 << 16);
/// Bytes of one connection that the system may hold unsent; once half of them have gone it takes more. Left to itself, Linux
/// takes more when a third of the send buffer is free, which may be 1.3 MB: at 40 kB a second that is longer than a write waits.
pub(crate) const MESSAGE_NOT_SENT_BYTES: u32 = 128 * 1024;
/// Messages of one write: more would not fit into a socket's buffer if they are of any size.
pub(crate) const MESSAGE_BATCH_FRAMES: usize = 64;
/// Bytes after which no more messages go into a write.
pub(crate) const MESSAGE_BATCH_BYTES: usize = 192 * 1024;
/// A message to many that is no longer than this is copied for each: referring to it costs as much.
pub(crate) const MESSAGE_COPIED_BYTES: usize = 1024;
/// Messages of one connection that are dealt with before others have their turn, so that many small ones that no handler wants
/// cost those little: some tenths of a millisecond. More than most reads bring of answers, for which nobody is to wait.
pub(crate) const MESSAGE_READ_TURN: u32 = 256;
/// Messages of one connection that are read although as many handlers are at work as may be, since some of those wait for
/// answers of the same peer, which lie behind them: as many as a peer of ours may have under way.
pub(crate) const MESSAGE_HELD: usize = MESSAGE_REQUESTS;
/// The bytes of these; those that a peer of ours does not count, layers' fields, are a quarter at most.
pub(crate) const MESSAGE_HELD_BYTES: usize = 1 << 20;
/// Handlers of one connection at a time; further messages wait in the socket.
pub(crate) const MESSAGE_HANDLERS: usize = 64;
/// Handlers of one connection that are called one behind the other: then what they have answered goes out, so that its
/// receiver is at work while the others are called. Half of those that there may be at a time: two batches, one at each end.
pub(crate) const MESSAGE_TURN: usize = MESSAGE_HANDLERS / 2;
/// Handlers of a node of datagrams at a time, over all its peers; what comes then is dropped, as datagrams are.
pub(crate) const MESSAGE_NODE_HANDLERS: usize = 1024;
/// One host may have half of them, from whatever ports: those who share an address are many, and leave room for others.
pub(crate) const MESSAGE_HOST_HANDLERS: usize = MESSAGE_NODE_HANDLERS / 2;
/// Addresses of which a node of datagrams knows something: half of them may have subscribed, and as many as there are handlers
/// may be answered at a time.
pub(crate) const MESSAGE_SOURCES: usize = 4096;
/// Addresses that may have subscribed at a node of datagrams; past that those go that were heard from longest ago.
pub(crate) const MESSAGE_SUBSCRIBERS: usize = MESSAGE_SOURCES / 2;
const _: () = assert!(MESSAGE_SUBSCRIBERS + MESSAGE_NODE_HANDLERS <= MESSAGE_SOURCES);
/// Memory of all subscriptions at a node of datagrams, about; past that as above. Every address may have some hundred short
/// topics, but not all addresses as much as one may.
pub(crate) const MESSAGE_NODE_TOPIC_BYTES: usize = 32 << 20;
/// One host may have the eighth part of both: it has thousands of addresses at hand, and drives nobody out with them.
pub(crate) const MESSAGE_HOST_SHARE: usize = 8;
/// How long a subscription lasts without a word from its address. Peers of the protocol's first implementation subscribe once
/// and may say nothing ever after: a day is longer than any of them is likely to be silent and there.
pub(crate) const MESSAGE_SUBSCRIPTION_EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// Errors that one host is told within a second: honest peers make few mistakes, and its address may be a victim's.
pub(crate) const MESSAGE_COMPLAINTS: u32 = 100;
/// A uri that is not found and no longer than this is repeated to who asked: what is left of a message, and of a datagram, holds
/// the text and the fields of two layers.
pub(crate) const MESSAGE_REPEATED_URI: usize = 65_000;
/// How long a node of datagrams waits after an error of its socket, which may come again.
pub(crate) const MESSAGE_READ_PAUSE: Duration = Duration::from_millis(10);
/// Attempts to send a datagram while errors of earlier ones come in its way; each of them takes all that are known by then.
pub(crate) const MESSAGE_SEND_TRIES: u32 = 4;
/// Peers that a node knows; further ones are not noted, unless one host has more than its share of them and theirs has not.
pub(crate) const MESSAGE_PEERS: usize = 1024;
/// Calls of a handler in a row that did not wait, after which no note is kept any more of what the next one is about: dumps
/// want to know of handlers that wait, and others need not pay for them.
pub(crate) const MESSAGE_CALM_CALLS: u8 = 64;
/// Addresses of one peer by datagram; the one that it was not heard from for longest goes first.
pub(crate) const MESSAGE_PEER_ADDRESSES: usize = 8;
/// Connections of one peer to one worker; it is not noted on further ones, and not answered what it says of itself.
pub(crate) const MESSAGE_PEER_CONNECTIONS: usize = 1024;
/// Octets of what a peer says of itself, its id included: several keys and names.
pub(crate) const MESSAGE_INTRODUCTION_BYTES: usize = 4096;
/// Octets of a peer's id, which stands in two tables: the protocol's first implementation has 16.
pub(crate) const MESSAGE_PEER_ID_BYTES: usize = 255;
/// Values in what a peer says of itself: a value that is packed in one octet takes 32 when it is unpacked. More of them are kept
/// as the octets that they came in.
pub(crate) const MESSAGE_INTRODUCTION_VALUES: usize = 256;
/// How often a node tells its group that it is there, as in the protocol's first implementation, …
pub(crate) const MESSAGE_ADVERTISE_EVERY: Duration = Duration::from_secs(20);
/// … and how long a peer is known of which nothing is heard: three times that.
pub(crate) const MESSAGE_PEER_EXPIRY: Duration = Duration::from_secs(60);
/// Topics that one peer may have subscribed to.
pub(crate) const MESSAGE_SUBSCRIPTIONS: usize = 1024;
/// Octets of the topics of one peer: one of any length, or as many as there may be of 64 octets each.
pub(crate) const MESSAGE_TOPIC_BYTES: usize = 64 * 1024;
/// What a subscription costs beside the octets of its topic, about: its place in two tables, and the end that it is of.
pub(crate) const MESSAGE_SUBSCRIPTION_COST: usize = 256;
const _: () = assert!(
    MESSAGE_TOPIC_BYTES + MESSAGE_SUBSCRIPTIONS * MESSAGE_SUBSCRIPTION_COST
        <= MESSAGE_NODE_TOPIC_BYTES / MESSAGE_HOST_SHARE
);
/// How long a message may take from its first byte to its last.
pub(crate) const MESSAGE_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a write may wait for a peer that takes nothing of it.
pub(crate) const MESSAGE_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long handlers may go on when the peer has ended its side: it looks the same as one that has gone, and most have.
pub(crate) const MESSAGE_HALF_CLOSED: Duration = Duration::from_secs(1);
/// How long a connection may be silent; those that have subscribed to something may be so for ever.
pub(crate) const MESSAGE_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long an answer is waited for; as in the protocol's first implementation.
pub(crate) const MESSAGE_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Handlers of late requests at work in one node; past that, nobody is told: the first ones are busy with the same peers.
pub(crate) const MESSAGE_LATE_HANDLERS: usize = 64;
/// How long a peer has to say whether it takes part in a session. One that does not know of them may never answer.
pub(crate) const MESSAGE_OFFER_TIMEOUT: Duration = Duration::from_secs(5);
/// Offers of a session that are sent to an address, until one is answered: datagrams are lost.
pub(crate) const MESSAGE_OFFER_TRIES: u32 = 5;
/// How long an address is not offered a session again that it did not take.
pub(crate) const MESSAGE_DECLINED: Duration = Duration::from_secs(60);
/// Sessions with one address: one, and those of both ends that begin anew at once.
pub(crate) const MESSAGE_SEALS: usize = 3;
/// How long the last words of a connection have to be written when it ends, but for that of a server that stops, which has
/// its grace; and how long a socket stays open for a peer that goes on sending.
pub(crate) const MESSAGE_LAST_WORDS: Duration = Duration::from_secs(1);
/// The first pause before a lost connection is made again, …
pub(crate) const MESSAGE_RECONNECT_LEAST: Duration = Duration::from_millis(50);
/// … which doubles up to this.
pub(crate) const MESSAGE_RECONNECT_MOST: Duration = Duration::from_secs(5);
