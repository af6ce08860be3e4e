//! Sockets as futures, over the current worker's reactor.
//!
//! | for | there is |
//! |---|---|
//! | TCP | [`TcpStream`], [`TcpConnector`] (options, happy eyeballs), [`TcpListener`] |
//! | a TCP or Unix server | [`listen`](mod@listen): the accept loop, with a limit, on one worker or on several, and its end |
//! | UDP | [`UdpSocket`], with batches and segmentation |
//! | Unix sockets | [`UnixStream`], [`UnixListener`], [`UnixDatagram`], descriptors passed and credentials told |
//! | connections that a proxy passes on | `proxy_header` (feature `proxy-protocol`): whose they are |
//! | any other descriptor | [`AsyncFd`]: pipes, terminals, pidfds |
//! | moving bytes on | [`copy`], [`copy_bidirectional`], [`TcpStream::send_file`], [`TcpStream::send_zero_copy`] |
//!
//! Calls wait for as long as it takes: [`time::timeout`](crate::time::timeout) gives them a limit.
//!
//! A socket is registered with the selector when a future first has to wait on it, and belongs to that worker from
//! then on: to wait on it in another runtime is an error. No socket is `Send`: what moves between threads are the
//! descriptors, by `into_std` and `from_std`.
//!
//! ```compile_fail,E0277
//! fn to_another_thread<T: Send>(_: T) {}
//! to_another_thread(wakering::net::UdpSocket::bind("127.0.0.1:0").expect("a free port"));
//! ```
//! ```compile_fail,E0277
//! fn to_another_thread<T: Send>(_: T) {}
//! to_another_thread(wakering::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>(_: &T) {}
//! fn check(stream: wakering::net::TcpStream) {
//!     shared(&stream);
//! }
//! ```

mod accept;
mod addresses;
mod async_fd;
mod bytes;
mod connect;
mod copy;
pub mod listen;
mod listener;
#[cfg(feature = "tls")]
mod parting;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_header;
mod race;
pub(crate) mod ready;
mod send_file;
mod share;
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
mod spare;
mod split;
mod stream;
mod tcp;
mod tcp_options;
#[cfg(feature = "futures-io")]
mod traits;
#[cfg(feature = "hyper")]
mod traits_hyper;
#[cfg(feature = "tokio-io")]
mod traits_tokio;
mod transfer;
pub mod udp;
mod unix_datagram;
mod unix_listener;
mod unix_stream;
mod zero_copy;

pub use addresses::{AddressAction, AddressError, Addresses};
pub use async_fd::{AsyncFd, NotReady, ReadyGuard, WaitError};
pub use connect::TcpConnector;
pub use copy::{copy, copy_bidirectional};
pub use listen::listen;
pub use listener::{TcpListener, TcpListenerBuilder};
pub use split::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, Share, Shared, SharedWriter, WriteHalf,
};
pub use stream::{Reader, Stream, Writer};
pub use tcp::TcpStream;
pub use tcp_options::TcpInfo;
pub use udp::{
    Datagram, Ecn, ErrorReport, Message, RecvBatch, SendBatch, Transmit, UdpSocket, UdpSocketBuilder,
    interface_index,
};
pub use unix_datagram::{UnixDatagram, UnixReceived};
pub use unix_listener::UnixListener;
pub use unix_stream::{ReceivedFds, UCred, UnixStream};
pub use zero_copy::ZeroCopied;

#[cfg(feature = "tls")]
pub(crate) use parting::part;
#[cfg(feature = "tls")]
pub(crate) use transfer::end;

pub use crate::sys::unix::UnixAddr;
