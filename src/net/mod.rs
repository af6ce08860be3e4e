//! Sockets as futures: TCP and UDP over the current worker's reactor.

pub(crate) mod ready;
