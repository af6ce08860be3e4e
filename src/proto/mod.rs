//! Pure protocol machines: bytes and time come in as arguments, events and bytes are polled out.

#[forbid(unsafe_code)]
pub(crate) mod h2;
