//! What connections and their halves have in common, so that splitting and copying are written once.

use crate::net::ready::Io;

pub(crate) mod sealed {
    use super::Io;

    /// Whatever stands on a watched descriptor.
    pub trait HasIo {
        fn io(&self) -> &Io;
    }
}

/// What bytes can be read from: a connection, or a half of one.
///
/// This trait is sealed: it is implemented for the types of this module and cannot be implemented elsewhere.
pub trait Reader: sealed::HasIo {}

/// What bytes can be written to: a connection, or a half of one.
///
/// This trait is sealed: it is implemented for the types of this module and cannot be implemented elsewhere.
pub trait Writer: sealed::HasIo {}

/// A connection that carries bytes both ways: a [`TcpStream`](super::TcpStream) or a [`UnixStream`](super::UnixStream).
///
/// This trait is sealed: it is implemented for the types of this module and cannot be implemented elsewhere.
pub trait Stream: Reader + Writer {}
