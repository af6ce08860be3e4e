//! What the peer programs share: their command lines, the thin edge over epoll, the parts that are measured in process.

pub mod arguments;
pub mod epoll;
pub mod parts;
