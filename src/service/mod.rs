//! A server as a service: what the process has from who started it, and what it says back.
//!
//! | for | there is |
//! |---|---|
//! | sockets that systemd has opened (socket activation) | [`inherited`] |
//! | telling that the service is ready, is stopping, what it does; the watchdog | [`notify`], [`keep_watchdog`] |
//! | a new process that goes on with the sockets of the old one, so that nobody is refused | [`Handover`] |
//!
//! All of it does nothing where nobody has asked for it: a process that was started by hand inherits no socket and notifies
//! nobody. So a program has these calls and runs everywhere.
//!
//! ```no_run
//! use std::{net::TcpListener, time::Duration};
//! use wakering::{http::{Body, Request, Response, Server}, service::{self, State}, signal};
//!
//! wakering::run(async {
//!     let listener = match service::inherited()?.into_iter().next() {
//!         Some(socket) => socket.into_tcp_listener()?,
//!         None => TcpListener::bind("127.0.0.1:8080")?,
//!     };
//!     let hello = || |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) };
//!     let server = Server::builder().start_on_all_from(listener, hello)?;
//!     let mut signals = signal::any([signal::Kind::INTERRUPT, signal::Kind::TERMINATE])?;
//!     service::notify(&[State::Ready]).await?;
//!     wakering::spawn(service::keep_watchdog());
//!     signals.recv().await?;
//!     service::notify(&[State::Stopping]).await?;
//!     server.stop(Duration::from_secs(10)).await;
//!     Ok::<(), std::io::Error>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The units for it, and what to set in front of it, are in `docs/behind-a-proxy.md`.

mod handover;
mod inherit;
mod meeting;
mod notify;

pub use self::{
    handover::{Handover, Successor},
    inherit::{Inherited, WrongKind, inherited},
    notify::{State, keep_watchdog, notify, watchdog_timeout},
};
pub use crate::sys::inherit::SocketKind;
