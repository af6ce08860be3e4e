//! Addresses of Unix sockets: file names, abstract names, none. unix(7).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fmt, io, mem, ptr};

use libc::{sa_family_t, sockaddr, sockaddr_un, socklen_t};

use super::addr::Storage;
use super::unix_os::ABSTRACT_NAMES;

/// Where the name begins in the kernel's struct.
const NAME_AT: usize = mem::offset_of!(sockaddr_un, sun_path);

/// The address of a Unix socket.
///
/// Strings and paths convert into [`UnixAddr::Path`], so that most calls are given just these.
///
/// ```
/// use wakering::net::UnixAddr;
///
/// assert_eq!(UnixAddr::from("/run/a.sock").to_string(), "/run/a.sock");
/// assert_eq!(UnixAddr::Abstract(b"a\0b".to_vec()).to_string(), "@a\\0b");
/// ```
///
/// Source: unix(7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum UnixAddr {
    /// No name: one of a pair, or a socket that was not bound.
    Unnamed,
    /// The name of a file. It must be shorter than 108 bytes, 104 on the BSDs and macOS.
    Path(PathBuf),
    /// A name that is no file's and that ends with its last socket (Linux): up to 107 bytes of any kind.
    Abstract(Vec<u8>),
}

impl UnixAddr {
    /// The file's name, if that is what it is.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            UnixAddr::Path(path) => Some(path),
            UnixAddr::Unnamed | UnixAddr::Abstract(_) => None,
        }
    }
}

impl fmt::Display for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnixAddr::Unnamed => f.write_str("an unnamed socket"),
            UnixAddr::Path(path) => path.display().fmt(f),
            UnixAddr::Abstract(name) => {
                write!(f, "@{}", name.escape_ascii().to_string().replace("\\x00", "\\0"))
            }
        }
    }
}

impl From<&UnixAddr> for UnixAddr {
    fn from(address: &UnixAddr) -> UnixAddr {
        address.clone()
    }
}

impl From<&Path> for UnixAddr {
    fn from(path: &Path) -> UnixAddr {
        UnixAddr::Path(path.into())
    }
}

impl From<&PathBuf> for UnixAddr {
    fn from(path: &PathBuf) -> UnixAddr {
        UnixAddr::Path(path.clone())
    }
}

impl From<PathBuf> for UnixAddr {
    fn from(path: PathBuf) -> UnixAddr {
        UnixAddr::Path(path)
    }
}

impl From<&str> for UnixAddr {
    fn from(path: &str) -> UnixAddr {
        UnixAddr::Path(path.into())
    }
}

impl From<String> for UnixAddr {
    fn from(path: String) -> UnixAddr {
        UnixAddr::Path(path.into())
    }
}

/// An address for the kernel to read.
pub(super) struct RawUnixAddr {
    raw: sockaddr_un,
    length: socklen_t,
}

impl RawUnixAddr {
    /// # Errors
    ///
    /// `InvalidInput` for a name that is too long, that is empty, or that is a path with a NUL in it; `Unsupported` for
    /// an abstract name where there are none.
    pub(super) fn new(address: &UnixAddr) -> io::Result<RawUnixAddr> {
        // SAFETY: sockaddr_un is integers and a byte array only, for which all zeros is a value.
        let mut raw: sockaddr_un = unsafe { mem::zeroed() };
        raw.sun_family = libc::AF_UNIX as sa_family_t;
        let room = raw.sun_path.len();
        let (name, first, length) = match address {
            UnixAddr::Unnamed => return Err(invalid("a socket without a name cannot be named")),
            UnixAddr::Path(path) => {
                let name = path.as_os_str().as_bytes();
                (name, 0, name.len() + 1)
            }
            UnixAddr::Abstract(name) if ABSTRACT_NAMES => (name.as_slice(), 1, name.len() + 1),
            UnixAddr::Abstract(_) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no abstract names"));
            }
        };
        if first == 0 && (name.is_empty() || name.contains(&0)) {
            return Err(invalid("the name of a socket's file is empty or has a NUL in it"));
        }
        if length > room {
            return Err(invalid("the name of the socket is too long"));
        }
        for (to, from) in raw.sun_path[first..].iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        Ok(RawUnixAddr { raw, length: (NAME_AT + length) as socklen_t })
    }

    /// Pointer and length, valid for as long as `self` is borrowed.
    pub(super) fn as_in(&self) -> (*const sockaddr, socklen_t) {
        (ptr::from_ref(&self.raw).cast(), self.length)
    }
}

/// What the kernel has written.
pub(super) fn decode(storage: &Storage) -> UnixAddr {
    match storage.as_bytes().get(NAME_AT..) {
        // Unnamed: the family alone, or, on the BSDs, an empty name.
        None | Some([]) => UnixAddr::Unnamed,
        Some([0, name @ ..]) if ABSTRACT_NAMES => UnixAddr::Abstract(name.to_vec()),
        Some([0, ..]) => UnixAddr::Unnamed,
        Some(name) => {
            let end = name.iter().position(|octet| *octet == 0).unwrap_or(name.len());
            UnixAddr::Path(OsStr::from_bytes(&name[..end]).into())
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_system_cannot_take_are_refused_before_it_is_asked() {
        let refused = |address: UnixAddr| RawUnixAddr::new(&address).err().map(|error| error.kind());
        assert_eq!(refused(UnixAddr::from("")), Some(io::ErrorKind::InvalidInput));
        assert_eq!(refused(UnixAddr::from("a\0b")), Some(io::ErrorKind::InvalidInput));
        assert_eq!(refused(UnixAddr::from("x".repeat(108))), Some(io::ErrorKind::InvalidInput));
        assert_eq!(refused(UnixAddr::Unnamed), Some(io::ErrorKind::InvalidInput));
        assert_eq!(refused(UnixAddr::from("x".repeat(103))), None);
        let abstract_name =
            if ABSTRACT_NAMES { io::ErrorKind::InvalidInput } else { io::ErrorKind::Unsupported };
        assert_eq!(refused(UnixAddr::Abstract(vec![7; 108])), Some(abstract_name));
    }
}
