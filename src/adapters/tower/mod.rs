//! tower's services behind [`http::Server`](crate::http::Server), and our client as one of them.
//!
//! [`handler`] takes any `tower::Service<Request<Body>>` whose response has an `http_body::Body`. Services whose bounds ask for
//! `Send`, as axum's and tonic's do, are given to [`send_handler`] and get [`SendBody`] instead of [`Body`]. Nothing
//! else changes: back-pressure, trailers and cancellation are the server's.
//!
//! [`http::client::Client`](crate::http::client::Client) is a service from requests to responses, for tower's middleware.
//!
//! ```text
//! handler.rs   a service as a handler
//! foreign.rs   a response's content, as the server takes it
//! send.rs      a request's content, for services that must be `Send`
//! client.rs    our client as a service
//! ```

mod client;
mod foreign;
mod handler;
mod send;

pub use self::{
    handler::{Answering, Late, ServiceHandler, handler, send_handler},
    send::SendBody,
};

#[doc(no_inline)]
pub use crate::http::Body;

/// What services fail with, as tower has it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
