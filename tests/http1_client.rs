//! `http::client` over HTTP/1.1 against servers that write by hand.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "http1_client/exchanges.rs"]
mod exchanges;
#[path = "support/http1_server.rs"]
mod http1_server;
#[path = "http1_client/machine.rs"]
mod machine;
#[path = "http1_client/malformed.rs"]
mod malformed;
#[path = "http1_client/pool.rs"]
mod pool;
#[path = "http1_client/told.rs"]
mod told;
