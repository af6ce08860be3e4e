//! Pure protocol machines: no I/O and no clock. Bytes and the time come in as arguments, events and bytes are
//! polled out; that is what lets two machines be wired back to back in a test, split at every byte.

#[cfg(feature = "http1")]
#[forbid(unsafe_code)]
pub(crate) mod h1;
#[forbid(unsafe_code)]
pub(crate) mod h2;
#[cfg(feature = "message")]
#[forbid(unsafe_code)]
pub(crate) mod message;
