//! What can be named as an address, and errors that name the address they are about.

use std::{
    fmt, io, iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

use thiserror::Error;

mod sealed {
    pub trait Sealed {}
}

/// One or several socket addresses, known without asking anybody.
///
/// It is `std::net::ToSocketAddrs` without its trap: a string is an address in digits, such as `"127.0.0.1:80"` or
/// `"[::1]:80"`, and never a name that would have to be looked up while the whole worker waits.
///
/// This trait is sealed: it is implemented for the types below and cannot be implemented elsewhere.
///
/// ```
/// use wakering::net::TcpListener;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// assert!(listener.local_addr()?.ip().is_loopback());
/// let error = TcpListener::bind("localhost:0").unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Addresses: sealed::Sealed {
    /// The addresses, in the order in which they are tried.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a string that is not an address.
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>>;
}

impl sealed::Sealed for SocketAddr {}
impl Addresses for SocketAddr {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(*self))
    }
}

impl sealed::Sealed for SocketAddrV4 {}
impl Addresses for SocketAddrV4 {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(SocketAddr::V4(*self)))
    }
}

impl sealed::Sealed for SocketAddrV6 {}
impl Addresses for SocketAddrV6 {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(SocketAddr::V6(*self)))
    }
}

impl sealed::Sealed for (IpAddr, u16) {}
impl Addresses for (IpAddr, u16) {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(SocketAddr::from(*self)))
    }
}

impl sealed::Sealed for (Ipv4Addr, u16) {}
impl Addresses for (Ipv4Addr, u16) {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(SocketAddr::from(*self)))
    }
}

impl sealed::Sealed for (Ipv6Addr, u16) {}
impl Addresses for (Ipv6Addr, u16) {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(iter::once(SocketAddr::from(*self)))
    }
}

impl sealed::Sealed for str {}
impl Addresses for str {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        let address = self.parse::<SocketAddr>().map_err(|_| {
            let text = format!("`{self}` is not an address and port in digits; names are not looked up here");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        Ok(iter::once(address))
    }
}

impl sealed::Sealed for String {}
impl Addresses for String {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        self.as_str().addresses()
    }
}

impl sealed::Sealed for [SocketAddr] {}
impl Addresses for [SocketAddr] {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(self.iter().copied())
    }
}

impl<const N: usize> sealed::Sealed for [SocketAddr; N] {}
impl<const N: usize> Addresses for [SocketAddr; N] {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(self.iter().copied())
    }
}

impl sealed::Sealed for Vec<SocketAddr> {}
impl Addresses for Vec<SocketAddr> {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        Ok(self.iter().copied())
    }
}

impl<T: sealed::Sealed + ?Sized> sealed::Sealed for &T {}
impl<T: Addresses + ?Sized> Addresses for &T {
    fn addresses(&self) -> io::Result<impl Iterator<Item = SocketAddr>> {
        (**self).addresses()
    }
}

/// What was attempted with an address when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressAction {
    /// Listening for connections.
    Listen,
    /// Binding a socket to a local address.
    Bind,
    /// Connecting to a peer.
    Connect,
}

impl fmt::Display for AddressAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressAction::Listen => "listen on",
            AddressAction::Bind => "bind to",
            AddressAction::Connect => "connect to",
        })
    }
}

/// The system's refusal, with the address that it was about.
///
/// Binding and connecting return it inside of an `io::Error` of the same [`kind`](io::Error::kind); `get_ref` and
/// `downcast_ref` bring it back, and [`os_error`](AddressError::os_error) has the error number.
///
/// ```
/// use wakering::net::{AddressError, TcpListener};
///
/// let first = TcpListener::bind("127.0.0.1:0")?;
/// let address = first.local_addr()?;
/// let error = TcpListener::bind(address).unwrap_err();
/// assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
/// assert!(error.to_string().contains(&address.to_string()));
/// let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<AddressError>());
/// assert_eq!(inner.map(AddressError::address), Some(address));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Error)]
#[error("cannot {action} {address}: {source}")]
pub struct AddressError {
    action: AddressAction,
    address: SocketAddr,
    source: io::Error,
}

impl AddressError {
    pub(super) fn wrap(action: AddressAction, address: SocketAddr) -> impl Fn(io::Error) -> io::Error + Copy {
        move |source| io::Error::new(source.kind(), AddressError { action, address, source })
    }

    /// What was attempted.
    pub fn action(&self) -> AddressAction {
        self.action
    }

    /// The address that it was attempted with.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The system's own error, with its number.
    pub fn os_error(&self) -> &io::Error {
        &self.source
    }
}

/// Tries `attempt` with each address in turn, and returns the first success or the last error.
pub(super) fn first_that_works<T>(
    addresses: impl Addresses,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = no_address();
    for address in addresses.addresses()? {
        match attempt(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The error of an empty list of addresses.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the list of addresses is empty")
}
