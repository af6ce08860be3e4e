//! HTTP servers and clients: the pure protocol machines of `proto` bound to sockets and handlers. They speak HTTP/2 and,
//! with the feature `http1`, HTTP/1.0 and 1.1.
//!
//! A handler is an async function from a [`Request`] to a [`Response`], both of the `http` crate, with a
//! streaming [`Body`]. A [`Server`] accepts connections on the current worker, or on every worker of the
//! runtime, and calls the handler for each request. [`client`] is the other side: requests on one connection, or on
//! a pool of them.
//!
//! ```text
//! connection.rs  one task a connection, in either role: reads, hands bytes to the core and events on; alarm.rs: its timer
//! transport.rs   what its bytes go over; secure/: TLS there, or its absence; secure_api.rs: what the user sees of it
//! core.rs        which version of HTTP it speaks
//! wire.rs        the connection as its streams see it: core, socket, flush; wire/streams.rs: what comes and goes for each
//! mailbox.rs     what waits on its streams: heads.rs for a client's responses, incoming.rs for content
//! service.rs     a server's end: requests to handlers
//! exchange.rs    one request: from the handler's answer to the last frame
//! handler.rs     what answers requests
//! hooks.rs       what the user is told of connections that come and go
//! place.rs       what a handler can learn of its connection, and say before its answer
//! body.rs        content, either way; body_traits.rs: as `http_body` has it; body_parts.rs: for adapters
//! tunnel.rs      both directions of a stream as one; tunnel_bytes.rs: for the traits of `futures_io` (tunnel_traits.rs),
//!                hyper and tokio
//! sending.rs     content that is made piece by piece, on its way to the peer
//! client/        requests, and a pool of connections to send them on
//! server.rs      accepting; front_*.rs: what is read before the protocol begins; builder_*.rs: settings of features
//! members.rs     the connections of a worker, and how they end; life.rs: who waits for that
//! metrics.rs     what was done, in numbers; told.rs: what dumps say
//! pressure.rs    ceilings on memory; settings.rs: those by which nothing would move
//! admission.rs   how many connections there may be
//! stop.rs        the word that ends a server, from any thread
//! date.rs        the `date` field, made once a second
//! ```
//!
//! The handler runs in the connection's turn, with no borrow of the connection held. Most handlers are
//! done at once; one that has to wait becomes a task where it lies, and ends with its stream. What the turn's
//! requests have produced leaves in one vectored write after the tasks have run.

mod admission;
mod alarm;
mod body;
#[cfg(feature = "tower")]
mod body_parts;
#[cfg(any(feature = "hyper", feature = "tower"))]
mod body_traits;
#[cfg(feature = "http1")]
mod builder_http1;
#[cfg(feature = "proxy-protocol")]
mod builder_proxy;
pub mod client;
mod connection;
mod core;
mod date;
mod exchange;
#[cfg(not(feature = "proxy-protocol"))]
#[path = "front_none.rs"]
mod front;
#[cfg(feature = "proxy-protocol")]
#[path = "front_proxy.rs"]
mod front;
mod handler;
mod heads;
mod hooks;
mod incoming;
mod life;
mod mailbox;
mod members;
mod metrics;
mod place;
mod pressure;
#[cfg(feature = "tls")]
#[path = "secure/on.rs"]
mod secure;
#[cfg(not(feature = "tls"))]
#[path = "secure/off.rs"]
mod secure;
#[cfg(feature = "tls")]
mod secure_api;
mod sending;
mod server;
mod service;
mod settings;
mod stop;
mod told;
mod transport;
mod tunnel;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod tunnel_bytes;
#[cfg(feature = "hyper")]
mod tunnel_hyper;
#[cfg(feature = "tokio-io")]
mod tunnel_tokio;
#[cfg(feature = "futures-io")]
mod tunnel_traits;
mod wire;

pub use ::http::{
    Error, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};

#[cfg(feature = "http1")]
pub use crate::proto::h1::Http1;
pub use crate::proto::h2::{
    CommandError, Config, ConnectionError, Direction, FieldLimits, FrameLog, Held, Kind, LoggedFrame,
    NoToken, Priority, Protocol, Reason, Stats, Trip, Trips,
};

pub use self::{
    body::{Body, BodyError, Content, Frame, Sender, Unwanted},
    handler::{Handler, WithPlace, response_to, with_place},
    hooks::{BadResponse, ConnectionEnd, ConnectionInfo, ConnectionReport},
    life::{ServerHandle, Shutdown, Stopped, Stuck, WaitsForItself},
    metrics::{Meters, Metrics},
    place::Place,
    pressure::{Pressure, Shed},
    server::{Builder, Server},
    tunnel::Tunnel,
};
