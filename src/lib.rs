//! `wakering` is a small epoll/kqueue runtime that a low-level server embeds, with an HTTP/2 server and client on top.
//!
//! Where to begin:
//!
//! - [`run`] runs a future on a runtime of one worker; [`Runtime::builder`] makes one of several.
//! - [`spawn`] starts a task on this worker, [`spawn_on`] on another, [`spawn_blocking`] a call that blocks.
//! - [`net`] has the sockets, [`time`] and [`signal`] what else a server waits for.
//! - [`net::listen`](mod@net::listen) is the accept loop of a TCP or Unix server: limit, several workers, end.
//! - [`http::Server`] serves HTTP/2, [`http::client::Client`] asks others.
//! - [`Handle::dump`] tells what every task waits for (see [`dump`]), [`Handle::metrics`] what the workers have done.
//! - [`service`] takes sockets from systemd or from the process before, and says when it is ready.
//! - [`Handle::shutdown`] ends the runtime in good order; [`Scope`] and [`CancellationToken`] end parts of the work.
//! - [`channel()`] joins two tasks, on whatever worker. For several senders or receivers, locks and events there are
//!   `async-channel`, `async-lock`, `event-listener` and `futures`, which are tested with this crate.
//! - [`Runtime::turn`] runs it inside another loop, [`time::ManualClock`] without real time. [`testing`] has connections
//!   in memory, with latency and faults.
//!
//! Futures of other crates run as long as they bring no runtime of their own. Nothing here needs `Send`, but for
//! what is sent to another worker.
//!
//! # What is lost when a future is dropped
//!
//! Any future may be dropped before it is done: by [`time::timeout`], by a `select`, with its task or [`Scope`]. Nothing
//! leaks by that and nothing is closed twice. What it had done so far:
//!
//! | dropped while it waits | what is lost |
//! |---|---|
//! | `read`, `recv`, `accept`, `readable` and the like | nothing: bytes, datagrams and connections stay queued |
//! | `write` | nothing: it writes once, in the poll that ends it |
//! | `write_all`, `read_exact`, `read_to_end`, `copy` | how far it got: some bytes are written, or read; use the calls above where that matters |
//! | `connect` | the attempt; its socket is closed |
//! | `sleep`, `timeout` | the timer; of `timeout` also what the future inside loses |
//! | [`Interval::tick`](time::Interval::tick) | nothing: the next call waits for the same tick |
//! | [`JoinHandle`], [`BlockingHandle`] | only the output: the task or job goes on, detached |
//! | [`Scope::join`], [`Scope::close`] | the scope is dropped, which aborts its children |
//! | [`Receiver::recv`] | nothing |
//! | [`Sender::send`] | the value, unsent; [`Sender::ready`] loses nothing |
//! | [`CancellationToken::cancelled`], [`Handle::stopping`], [`Handle::closed`] | nothing |
//! | [`Handle::shutdown`] | only the report: the runtime ends all the same |
//! | a request of [`http::client`] | the exchange: its stream is reset, the connection stays |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `console` | `console`: a page that shows workers, tasks and servers, live |
//! | `futures-io` | the traits `futures_io::{AsyncRead, AsyncWrite}` for stream sockets, tunnels and [`testing::Stream`] |
//! | `hyper` | `adapters::hyper`: a hyper 1 server or client on these sockets, timers and tasks |
//! | `http1` | HTTP/1.0 and 1.1 beside HTTP/2, on the same port: [`http::Builder`] gains `http1`, [`http::client`] `http1_only` and what ALPN chooses |
//! | `message` | the module `message`: requests, answers, publishing and subscribing over TCP and UDP |
//! | `tokio-io` | the traits `tokio::io::{AsyncRead, AsyncWrite}` for the same as `futures-io`, without tokio's runtime |
//! | `tower` | `adapters::tower`: tower's services, such as an axum router, as handlers; the client as a service |
//! | `proxy-protocol` | `net::proxy_header` and `http::Builder::proxy_headers`: the addresses of clients behind proxies |
//! | `tls` | the module `tls`, `http::Builder::tls` and `https` for [`http::client`]; the provider of cryptography is yours |
//! | `tls-ring` | `tls`, with rustls's provider of *ring* as the default one |
//! | `tracing` | spans around polls, and events, for subscribers of the `tracing` crate |
//!
//! The targets of `tracing` are `wakering::task` (TRACE: polls, begin and end of tasks; WARN: stalls; ERROR: panics),
//! `wakering::net` (WARN: connections that were refused), `wakering::http` (WARN: connections that failed; INFO: the end
//! of servers), `wakering::service` (WARN: handovers that failed) and `wakering::runtime` (INFO: the end of runtimes).
//!
//! # Files and child processes
//!
//! Regular files are always ready to a selector, and block all the same: read and write them with
//! [`spawn_blocking`], or with a [`BlockingThread`] where order matters. Pipes, terminals and other descriptors that can
//! be polled are waited for by [`net::AsyncFd`]. So are child processes on Linux, by the descriptor of pidfd_open(2), which
//! becomes readable when the child ends; elsewhere `Child::wait` goes to [`spawn_blocking`].
//!
//! # Forks
//!
//! A child made by fork(2) may drop what it has of a runtime, or forget it; whatever else it asks of it is an error
//! ([`RuntimeError::Forked`]). Descriptors are close-on-exec throughout.
//!
//! # How it is built
//!
//! In floors; a module imports only from lower ones, plus `error`, `limits` and `trace`:
//!
//! ```text
//! 6   adapters   console                 other people's traits over all of it ┊ what it does, shown
//! 5   http   message   testing  service  binds a pure protocol machine to sockets and handlers ┊ connections in memory ┊ started by others
//! 4   net ──► tls channel time signal    futures over sources, deadlines and signals ┊ TLS on streams
//! 3   worker          blocking           the only place where I/O and wake-ups meet
//! 2   reactor         task ──► wake      reactor never sees a task; task never sees a descriptor
//! 1   sys │ proto::{h1, h2, message}     the operating system │ pure protocol machines
//! 0   ring   slab   clock   sync   contain   limits   error   trace
//! ```

#[cfg(not(target_pointer_width = "64"))]
compile_error!("wakering packs its waker handles into 64-bit pointers");

#[cfg(any(feature = "hyper", feature = "tower"))]
pub mod adapters;
mod blocking;
mod channel;
mod clock;
#[cfg(feature = "console")]
pub mod console;
mod contain;
mod error;
pub mod http;
mod limits;
#[cfg(feature = "message")]
pub mod message;
pub mod net;
mod proto;
mod reactor;
mod ring;
pub mod service;
pub mod signal;
mod slab;
mod sync;
mod sys;
mod task;
pub mod testing;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
mod trace;
mod wake;
mod worker;

pub use blocking::{BlockingHandle, BlockingThread};
pub use channel::{Receiver, SendError, Sender, TryRecvError, TrySendError, channel};
pub use error::{Elapsed, JoinError, RuntimeError, SpawnError};
pub use task::{AbortHandle, JoinHandle, TaskId};
pub use worker::{
    Builder, Handle, RemoteJoinHandle, Runtime, YieldNow, dump, metrics, run, spawn, spawn_blocking,
    spawn_named, spawn_on, yield_now,
};
pub use worker::{
    CancellationToken, Cancelled, DropGuard, Local, LocalKey, NoValue, Outcome, Scope, ScopeError, Shutdown,
    ShutdownReport, Turn, WithLocal,
};

#[doc(hidden)]
pub mod internals {
    pub mod clock {
        pub use crate::clock::{Clock, NEVER, TimerKey, Wheel};
    }
    pub mod ring {
        pub use crate::ring::{Consumer, Full, Producer, Ring};
    }
    pub mod slab {
        pub use crate::slab::{Key, Slab};
    }
    pub mod h2 {
        pub use crate::proto::h2::{
            CommandError, Config, Connection, ConnectionError, Direction, Event, Held, Kind, LoggedFrame,
            Priority, Protocol, Reason, Role, Stats, StreamKey, Trip, Trips,
        };
    }
    #[cfg(feature = "http1")]
    pub mod h1 {
        pub use crate::proto::h1::{Client, Connection, Http1};
    }
    pub mod hpack {
        pub use crate::proto::h2::hpack::{
            DecodeError, Decoded, Decoder, Defect, Encoder, Excess, Field, FieldKind, FieldLimits, FieldSink,
            huffman_decode, huffman_encode, huffman_max_decoded_len,
        };
    }
    #[cfg(feature = "message")]
    pub mod message {
        pub use crate::proto::message::{
            Begun, Channel, DecodeError, Decoder, EncodeError, Fields, FieldsError, Kind, Kinds, Message,
            Offer, Order, Replays, Requests, Session, Ticket, TooMany, UnpackError, Value, repeat_number,
        };

        pub mod plugins {
            pub use crate::proto::message::plugins::{
                AuthPlugin, Binding, BoxCipher, CipherPlugin, HmacAuth, PluginError, Scene, StreamCipher,
                WitnessAuth,
            };
        }
    }
    pub mod sys {
        pub use crate::sys::{
            Bell, CLOSE_DEREGISTERS, Call, Event, Interest, Readiness, SHORT_READ_RULE, Selector,
            TELLS_RESETS, Token, pin_to_cpu, process_id,
        };
    }
    pub mod faults {
        pub use crate::sys::faults::{ON, refuse};
    }
    pub mod wake {
        pub use crate::wake::{
            AtDoor, Bounds, Doorbell, Entry, Handle, Lane, Mailbox, Table, TableFull, WakeStats, claim,
            entry, use_overflow_only, wake,
        };
    }
}

/// The README's example, compiled with the other examples of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples of the page on TLS.
#[cfg(all(doctest, feature = "tls-ring"))]
#[doc = include_str!("../docs/tls.md")]
struct Tls;

/// The examples of the page on hangs.
#[cfg(doctest)]
#[doc = include_str!("../docs/hangs.md")]
struct Hangs;

/// The example of the page on proxies.
#[cfg(all(doctest, feature = "proxy-protocol"))]
#[doc = include_str!("../docs/behind-a-proxy.md")]
struct BehindAProxy;

/// The pages of the guide, each with its examples.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/getting-started.md")]
#[doc = include_str!("../docs/guide/tcp-server.md")]
#[doc = include_str!("../docs/guide/udp-server.md")]
#[doc = include_str!("../docs/guide/http.md")]
#[doc = include_str!("../docs/guide/shutdown.md")]
#[doc = include_str!("../docs/guide/embedding.md")]
#[doc = include_str!("../docs/guide/tuning.md")]
#[doc = include_str!("../docs/guide/migrating.md")]
struct Guide;

/// The page of the guide on TLS.
#[cfg(all(doctest, feature = "http1", feature = "tls-ring"))]
#[doc = include_str!("../docs/guide/tls.md")]
struct GuideTls;

/// The page of the guide that needs features.
#[cfg(all(doctest, feature = "hyper", feature = "tokio-io", feature = "tower"))]
#[doc = include_str!("../docs/guide/ecosystem.md")]
struct Ecosystem;
