//! Sockets that were opened by who started the process. sd_listen_fds(3), systemd.socket(5).

use std::{
    env, fmt, io,
    net::{TcpListener, UdpSocket},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::{UnixDatagram, UnixListener},
    },
    process,
};

use thiserror::Error;

use crate::{
    limits::{INHERITED_MAX, INHERITED_NAME_MAX},
    sys::inherit::{self, SocketKind},
};

/// What a socket without a name is called, as sd_listen_fds_with_names(3) has it.
const NAMELESS: &str = "unknown";

/// A socket that came from another process: from the service manager, or from the process before.
///
/// It becomes one of the standard library, which goes to any thread; `from_std` of the sockets in [`net`](crate::net), and
/// [`Share::of`](crate::net::listen::Share::of), take it on. Dropping it closes the descriptor.
pub struct Inherited {
    name: String,
    kind: SocketKind,
    fd: OwnedFd,
}

/// A socket is not of the kind that was asked for.
#[derive(Debug, Error)]
#[error("the inherited socket `{name}` is not of the kind {wanted:?} but {found:?}")]
#[non_exhaustive]
pub struct WrongKind {
    /// Its name.
    pub name: String,
    /// The kind that was asked for.
    pub wanted: SocketKind,
    /// The kind that it is.
    pub found: SocketKind,
    /// The socket itself.
    pub socket: OwnedFd,
}

impl From<WrongKind> for io::Error {
    fn from(error: WrongKind) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl Inherited {
    pub(super) fn new(name: String, fd: OwnedFd) -> Inherited {
        Inherited { name, kind: inherit::kind(fd.as_fd()), fd }
    }

    /// The name that it was handed over with: `FileDescriptorName=` of the unit, by default the unit's own name;
    /// `unknown` when there was none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, by what the system says of it.
    #[must_use]
    pub fn kind(&self) -> SocketKind {
        self.kind
    }

    /// It as a TCP listener.
    ///
    /// # Errors
    ///
    /// [`WrongKind`] for any other kind.
    pub fn into_tcp_listener(self) -> Result<TcpListener, WrongKind> {
        self.checked(SocketKind::TcpListener).map(TcpListener::from)
    }

    /// It as a UDP socket.
    ///
    /// # Errors
    ///
    /// [`WrongKind`] for any other kind.
    pub fn into_udp_socket(self) -> Result<UdpSocket, WrongKind> {
        self.checked(SocketKind::Udp).map(UdpSocket::from)
    }

    /// It as a Unix listener.
    ///
    /// # Errors
    ///
    /// [`WrongKind`] for any other kind.
    pub fn into_unix_listener(self) -> Result<UnixListener, WrongKind> {
        self.checked(SocketKind::UnixListener).map(UnixListener::from)
    }

    /// It as a Unix socket for datagrams.
    ///
    /// # Errors
    ///
    /// [`WrongKind`] for any other kind.
    pub fn into_unix_datagram(self) -> Result<UnixDatagram, WrongKind> {
        self.checked(SocketKind::UnixDatagram).map(UnixDatagram::from)
    }

    /// The descriptor, whatever it is.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    fn checked(self, wanted: SocketKind) -> Result<OwnedFd, WrongKind> {
        let Inherited { name, kind: found, fd } = self;
        if found == wanted { Ok(fd) } else { Err(WrongKind { name, wanted, found, socket: fd }) }
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for Inherited {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Inherited")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("fd", &self.fd)
            .finish()
    }
}

/// Takes the sockets that the service manager has opened for this process, in the order of its units (`LISTEN_FDS`,
/// `LISTEN_PID`, `LISTEN_FDNAMES`); none when it has not.
///
/// Descriptors are made close-on-exec, and each is asked what [kind](Inherited::kind) it is. They are handed out once: a
/// second call finds none. The variables stay as they are, since changing them is not safe beside other threads; children
/// do not mind them, as `LISTEN_PID` names this process.
///
/// To be called first of all: the numbers are believed to be the manager's, and what else had opened a descriptor of such a
/// number without close-on-exec would have to share it.
///
/// # Errors
///
/// `InvalidData` when the variables contradict themselves, or name a descriptor that was not there when the process was
/// started; `EBADF` for one that is not open. All of the descriptors are closed then.
///
/// # Examples
///
/// ```
/// for socket in wakering::service::inherited()? {
///     println!("{}: {:?}", socket.name(), socket.kind());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Source: sd_listen_fds(3).
pub fn inherited() -> io::Result<Vec<Inherited>> {
    let Some(names) = announced(|name| env::var(name).ok(), process::id())? else { return Ok(Vec::new()) };
    let Some(descriptors) = inherit::take(names.len())? else { return Ok(Vec::new()) };
    Ok(names.into_iter().zip(descriptors).map(|(name, fd)| Inherited::new(name, fd)).collect())
}

/// The names of the sockets that the environment announces to the process `own`; `None` when it announces none.
fn announced(variable: impl Fn(&str) -> Option<String>, own: u32) -> io::Result<Option<Vec<String>>> {
    let (Some(process), Some(count)) = (variable("LISTEN_PID"), variable("LISTEN_FDS")) else {
        return Ok(None);
    };
    let process: u32 = number("LISTEN_PID", &process)?;
    if process != own {
        return Ok(None); // meant for a process that has started this one
    }
    let count: usize = number("LISTEN_FDS", &count)?;
    if count > INHERITED_MAX {
        return Err(invalid(&format!("LISTEN_FDS={count} is more than {INHERITED_MAX}")));
    }
    let listed = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names: Vec<String> = listed.split(':').map(str::to_owned).collect();
    if listed.is_empty() {
        names.clear();
    }
    if names.len() > count || names.iter().any(|name| name.len() > INHERITED_NAME_MAX) {
        return Err(invalid(
            "LISTEN_FDNAMES has more names than there are descriptors, or one that is too long",
        ));
    }
    names.resize(count, NAMELESS.to_owned());
    Ok(Some(names))
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> io::Result<T> {
    text.parse().map_err(|_| invalid(&format!("{name}={text:?} is no number")))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: u32 = 77;

    fn names(variables: &[(&str, &str)]) -> io::Result<Option<Vec<String>>> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        announced(variable, OWN)
    }

    #[test]
    fn nothing_is_announced_without_the_variables_or_to_another_process() {
        assert_eq!(names(&[]).unwrap(), None);
        assert_eq!(names(&[("LISTEN_FDS", "1")]).unwrap(), None);
        assert_eq!(names(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "78")]).unwrap(), None);
    }

    #[test]
    fn names_come_in_order_and_what_has_none_is_unknown() {
        let two = [("LISTEN_FDS", "2"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "http:dns")];
        assert_eq!(names(&two).unwrap().unwrap(), ["http", "dns"]);
        assert_eq!(names(&two[..2]).unwrap().unwrap(), ["unknown", "unknown"]);
        let one = [("LISTEN_FDS", "2"), ("LISTEN_PID", "77"), ("LISTEN_FDNAMES", "http")];
        assert_eq!(names(&one).unwrap().unwrap(), ["http", "unknown"]);
        assert_eq!(names(&[("LISTEN_FDS", "0"), ("LISTEN_PID", "77")]).unwrap().unwrap(), [""; 0]);
    }

    #[test]
    fn variables_that_contradict_themselves_are_an_error() {
        for (count, process, listed) in [
            ("x", "77", "a"),
            ("1", "x", "a"),
            ("-1", "77", ""),
            ("254", "77", ""),
            ("1", "77", "a:b"),
            ("", "77", ""),
        ] {
            let error = names(&[("LISTEN_FDS", count), ("LISTEN_PID", process), ("LISTEN_FDNAMES", listed)]);
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData, "{count} {process} {listed}");
        }
    }

    #[test]
    fn a_socket_of_another_kind_is_refused_and_not_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inherited = Inherited::new("dns".to_owned(), listener.into());
        assert_eq!((inherited.name(), inherited.kind()), ("dns", SocketKind::TcpListener));
        let refused = inherited.into_udp_socket().unwrap_err();
        let text = "the inherited socket `dns` is not of the kind Udp but TcpListener";
        assert_eq!(refused.to_string(), text);
        let again = Inherited::new(refused.name, refused.socket).into_tcp_listener().unwrap();
        assert_eq!(again.local_addr().unwrap(), address);
    }

    #[test]
    fn every_kind_of_socket_is_known() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let found = [
            OwnedFd::from(client),
            one.into(),
            UdpSocket::bind("[::1]:0").or_else(|_| UdpSocket::bind("127.0.0.1:0")).unwrap().into(),
            UnixDatagram::unbound().unwrap().into(),
            std::fs::File::open("/dev/null").unwrap().into(),
        ]
        .map(|fd| Inherited::new(String::new(), fd).kind());
        let known = [
            SocketKind::TcpStream,
            SocketKind::UnixStream,
            SocketKind::Udp,
            SocketKind::UnixDatagram,
            SocketKind::Other,
        ];
        assert_eq!(found, known);
    }
}
