//! TLS for streams, by [rustls], on both sides; feature `tls`.
//!
//! | for | there is |
//! |---|---|
//! | a server of your own | [`TlsAcceptor`] for the connections of an accept loop, or [`TlsListener`] |
//! | a client of your own | [`TlsConnector`] |
//! | HTTP | [`http::Builder::tls`](crate::http::Builder::tls), [`http::client::ClientBuilder::tls`](crate::http::client::ClientBuilder::tls) |
//!
//! Both work over [`TcpStream`](crate::net::TcpStream) and [`UnixStream`](crate::net::UnixStream), and give a [`TlsStream`].
//!
//! # Cryptography
//!
//! rustls leaves it to a provider, and so does this crate: make the configuration with the one you want, or switch on the
//! feature `tls-ring`, which brings rustls's provider of *ring* and makes it the default one. The crate is given out again
//! as [`rustls`], so that its version is the one that is used here.
//!
//! # What is kept of a session
//!
//! The state of the protocol and its keys. Buffers belong to the thread: records are opened and sealed in them, and a
//! connection holds only what cannot be otherwise: a part of a record that has come, sealed bytes that the socket has not
//! taken. Once that has passed it is freed.
//!
//! ```text
//! acceptor.rs   a server's handshakes; anteroom.rs: how many at a time
//! listener.rs   connections that have shaken hands
//! connector.rs  a client's handshakes
//! stream.rs     what they make; traits.rs: as `futures_io` has it; info.rs: what was agreed on
//! secured.rs    a session and its socket: what reads and writes wait for
//! session.rs    a session without socket: bytes in, bytes out; octets.rs: its buffers
//! error.rs      how it fails
//! ```
//!
//! Sources: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 6066 (SNI), RFC 7301 (ALPN).
//!
//! [rustls]: https://docs.rs/rustls

mod acceptor;
mod anteroom;
mod connector;
mod error;
mod info;
mod listener;
mod octets;
mod secured;
mod session;
mod stream;
#[cfg(feature = "futures-io")]
mod traits;

pub(crate) use self::secured::Secured;
pub use ::rustls;

pub use self::{
    acceptor::{TlsAcceptor, TlsMetrics},
    connector::TlsConnector,
    error::TlsError,
    info::TlsInfo,
    listener::TlsListener,
    stream::{TlsReadHalf, TlsStream, TlsWriteHalf},
};
