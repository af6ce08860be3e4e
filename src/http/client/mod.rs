//! HTTP clients: requests on one connection, or on a pool of them.
//!
//! [`Client`] keeps connections to as many hosts as it is asked for, and sends a request again where that is safe.
//!
//! [`connect`] makes a connection in HTTP/2 with prior knowledge and gives a handle, [`SendRequest`], from which any
//! number of tasks of the worker may send. It ends when the last handle is gone and the last response has
//! come.
//!
//! ```text
//! pool.rs      a client of many hosts
//! host.rs      the connections to one of them, and who waits for room
//! handle.rs    connecting, and the handle
//! link.rs      a connection as its handles see it: who waits for room, why it ended
//! response.rs  one request under way
//! target.rs    a request as it is sent
//! older.rs     HTTP/1.1 instead
//! error.rs     why there is no response
//! ```
//!
//! # Examples
//!
//! ```
//! use wakering::{http::{Body, Request, Response, Server, client}, net::TcpListener};
//!
//! wakering::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let _server = Server::start(listener, |request: Request<Body>| async move {
//!         Response::new(request.into_body())
//!     })?;
//!
//!     let mut connection = client::connect(address).await?;
//!     connection.ready().await?;
//!     let request = Request::post(format!("http://{address}/echo")).body("Hello, World!".into())?;
//!     let response = connection.send(request).await?;
//!     assert_eq!(response.status(), 200);
//!     assert_eq!(response.into_body().collect(1000).await?, "Hello, World!");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod handle;
mod host;
mod link;
#[cfg(feature = "http1")]
mod older;
mod pool;
mod response;
mod target;

pub use self::{
    error::{Error, Kind},
    handle::{Builder, SendRequest, builder, connect, handshake},
    pool::{Call, Client, ClientBuilder},
    response::ResponseFuture,
};

#[cfg(test)]
mod tests;
