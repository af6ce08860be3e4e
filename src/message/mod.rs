//! Typed messages between peers, over TCP and UDP: requests and answers, publishing and subscribing.
//!
//! Octet for octet the protocol of the Python package `netaio` 0.0.9, in both roles, so that either end may be that. A
//! message has a [`Kind`], a uri, content, and fields for plugins that authenticate it. A [`Server`] has handlers for kinds
//! and uris, and [`Servers`] are one on every worker; a [`Client`] connects to servers and asks them; on either end handlers get what
//! comes unasked. A [`UdpNode`] is both at once, by datagrams.
//!
//! ```text
//! builder  settings        node     what connections have in common        server, client
//! peer     the far end: what it is told and asked, and what becomes of what it says     asks     who waits for which answer
//! link     one connection: reader, writer                     queue    what waits to be written
//! handlers those of one connection, at work                   deadlines    one timer for all that it waits for
//! routes   which handler a message goes to                    topics   who has subscribed to what
//! layer    plugins around messages                            error    what goes wrong
//! guard    what protects one connection: a layer, or a session    seals   the sessions with one address
//! late     requests without an answer in time
//! metrics  what a node has done                              servers  a server on each worker
//! parting  in which order connections go
//! ending   the end on the worker, and who sees to it          life     who waits for it, on whatever thread
//! udp      a node of datagrams: its sockets, the addresses that it knows, multicast
//! peers    who has introduced itself, and by which addresses it is reached
//! ```
//!
//! # What differs from the package
//!
//! - Any number of requests may be under way on a connection, and each gets its own answer or its own error: between two of
//!   ours they are numbered in a field that the package ignores; with the package, requests for one uri take turns.
//! - A request ends with its connection, at once, with the cause.
//! - Cancelling a request loses nothing of the stream, and its answer goes to nobody else.
//! - A handler in an inner layer never sees a message that the layer refuses.
//! - Everything has a bound: what waits for a slow peer, how long a message may take to come, handlers at work, topics.
//!
//! # Who can read and change what is said
//!
//! Between two of ours, nobody who has not the secret of a [`Session`] that both require. The plugins of a [`Layer`] are the
//! package's: their codes cover neither the type of a message nor its fields, and a message that was recorded passes again,
//! unless the peer can bind them ([`Layer::only_bound`]). On a network that is not trusted require sessions, or use a tunnel.

mod asks;
mod builder;
mod client;
mod deadlines;
mod ending;
mod error;
mod guard;
mod handlers;
mod host;
mod late;
mod layer;
mod life;
mod link;
mod metrics;
mod node;
mod parting;
mod peer;
mod peers;
mod queue;
mod routes;
mod seals;
mod server;
mod servers;
mod topics;
mod udp;

pub use self::{
    builder::Builder,
    client::{Client, Reconnect, Remote},
    error::{LinkEnd, RequestError, SendError},
    late::{AutoReconnect, Late, Waited},
    layer::Layer,
    life::{ServerHandle, Shutdown, Stopped, WaitsForItself},
    metrics::Metrics,
    peer::Peer,
    peers::{Introduction, PeerEvent, PeerRecord},
    queue::SlowPeer,
    routes::{Incoming, Key},
    server::Server,
    servers::{Servers, Stuck},
    udp::{Group, Ignored, UdpNode},
};
pub use crate::proto::message::{
    DecodeError, EncodeError, Fields, FieldsError, Kind, Kinds, Message, Replays, Session, TooMany,
    UnpackError, Value,
    plugins::{
        AuthPlugin, Binding, BoxCipher, CipherPlugin, HmacAuth, PluginError, Scene, StreamCipher, WitnessAuth,
    },
};
