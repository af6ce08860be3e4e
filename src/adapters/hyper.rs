//! What hyper 1 asks of a runtime: [`Executor`], [`Timer`], and connections that read and write.
//!
//! [`TcpStream`](crate::net::TcpStream), [`UnixStream`](crate::net::UnixStream), the connections of
//! [`testing`](crate::testing) and [`Tunnel`](crate::http::Tunnel) have hyper's traits `Read` and `Write` themselves. Nothing need be `Send`: a
//! connection, its handlers and what they wait for stay on their worker. [`SendIo`] is for those parts of hyper and
//! `hyper-util` that ask for it all the same: upgrades, and the client with a pool.
//!
//! hyper stands on tokio's channels and, for HTTP/2, on its traits; no part of tokio's runtime is in it.
//!
//! # Examples
//!
//! A server and a client, both hyper's:
//!
//! ```
//! use std::convert::Infallible;
//! use http_body_util::{BodyExt, Empty, Full};
//! use hyper::{Request, Response, body::{Bytes, Incoming}, client, server, service::service_fn};
//! use wakering::{adapters::hyper::{Executor, Timer}, net::{TcpListener, TcpStream}};
//!
//! async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     Ok(Response::new(Full::from("Hello, World!")))
//! }
//!
//! wakering::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     wakering::spawn(async move {
//!         while let Ok((stream, _peer)) = listener.accept().await {
//!             let builder = server::conn::http2::Builder::new(Executor).timer(Timer).serve_connection(stream, service_fn(hello));
//!             wakering::spawn(builder);
//!         }
//!     });
//!
//!     let stream = TcpStream::connect(address).await?;
//!     let (mut sender, connection) = client::conn::http2::handshake(Executor, stream).await?;
//!     wakering::spawn(connection);
//!     let request = Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new())?;
//!     let response = sender.send_request(request).await?;
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "Hello, World!");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{self, Read, ReadBufCursor, Write};

use crate::{
    adapters::stay::Stay,
    time::{Sleep, sleep, sleep_until},
    worker,
};

/// Spawns hyper's tasks on the current worker.
///
/// # Panics
///
/// Outside a runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[track_caller]
    fn execute(&self, future: F) {
        drop(worker::spawn(future));
    }
}

/// Tells hyper's deadlines by the worker's timers.
///
/// A sleep stays on the thread that it was made on, and panics when it is polled on another.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

struct Sleeping(Stay<Sleep>);

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleeping(Stay::new(sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleeping(Stay::new(sleep_until(deadline))))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        let moved = sleep.as_mut().downcast_mut_pin::<Sleeping>();
        let moved = moved.map(|sleeping| sleeping.0.with(|sleep| sleep.reset(deadline)));
        if !matches!(moved, Some(Ok(()))) {
            *sleep = self.sleep_until(deadline);
        }
    }
}

impl rt::Sleep for Sleeping {}

impl Future for Sleeping {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.0.with(|sleep| Pin::new(sleep).poll(context));
        polled.expect("a sleep is polled on the thread that it was made on")
    }
}

/// A connection that is `Send` in name, for upgrades and for `hyper-util`'s client.
///
/// It stays on its thread all the same: reading and writing it elsewhere fails, and what is dropped elsewhere is closed by its own
/// thread when that makes the next such value, or at its end.
///
/// # Examples
///
/// ```
/// use wakering::{adapters::hyper::SendIo, net::{TcpListener, TcpStream}};
///
/// fn must_be_send<T: hyper::rt::Read + hyper::rt::Write + Send>(_: T) {}
///
/// wakering::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     must_be_send(SendIo::new(TcpStream::connect(listener.local_addr()?).await?));
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SendIo<T> {
    stream: Stay<T>,
}

impl<T: 'static> SendIo<T> {
    /// Keeps `stream` on this thread.
    pub fn new(stream: T) -> SendIo<T> {
        SendIo { stream: Stay::new(stream) }
    }

    /// Gives the connection back on its own thread.
    ///
    /// # Errors
    ///
    /// On another thread this value itself.
    pub fn into_inner(self) -> Result<T, SendIo<T>> {
        self.stream.into_inner().map_err(|stream| SendIo { stream })
    }

    fn poll<R>(&self, user: impl FnOnce(Pin<&mut T>) -> Poll<io::Result<R>>) -> Poll<io::Result<R>>
    where
        T: Unpin,
    {
        let polled = self.stream.with(|stream| user(Pin::new(stream)));
        polled.unwrap_or_else(|elsewhere| Poll::Ready(Err(io::Error::other(elsewhere))))
    }
}

impl<T: Read + Unpin + 'static> Read for SendIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(context, buffer))
    }
}

impl<T: Write + Unpin + 'static> Write for SendIo<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.with(|stream| stream.is_write_vectored()).unwrap_or_default()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(context))
    }
}
