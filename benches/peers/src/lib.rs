//! What the peer programs share: their command lines, the thin edges over epoll and over batches of datagrams, the parts that are measured in process.

pub mod arguments;
pub mod axum_routes;
pub mod epoll;
pub mod hyper_routes;
pub mod parts;
pub mod udp;
