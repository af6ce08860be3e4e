//! Sockets as futures: TCP and UDP over the current worker's reactor.

mod addresses;
mod connect;
mod listener;
pub(crate) mod ready;
mod split;
mod tcp;
mod tcp_options;
#[cfg(feature = "futures-io")]
mod traits;
mod transfer;
mod udp;

pub use addresses::{AddressAction, AddressError, Addresses};
pub use connect::TcpConnector;
pub use listener::{TcpListener, TcpListenerBuilder};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use tcp::TcpStream;
pub use udp::{Datagram, UdpSocket, UdpSocketBuilder};
