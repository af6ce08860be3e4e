//! What the peer programs share: their command lines and the thin edge over epoll.

pub mod arguments;
pub mod epoll;
