//! Other people's traits: programs that are written for them run here, without the runtime that they mostly come with.
//!
//! | feature | brings |
//! |---|---|
//! | `hyper` | `hyper`: executor and timer for hyper 1, whose reading and writing the sockets do themselves |
//! | `tower` | `tower`: a service, such as an axum router or tonic's, as a [`Handler`](crate::http::Handler) |
//!
//! With either, [`http::Body`](crate::http::Body) is an `http_body::Body`. The features `futures-io` and `tokio-io` have no
//! module: they add traits to sockets, tunnels and the connections of [`testing`](crate::testing).
//!
//! Many of these traits ask for `Send`, which nothing here is. [`stay_here`] lends it to a future that stays on its worker.
//!
//! ```text
//! stay.rs    values that stay on their thread while what stands for them is `Send`
//! hyper.rs   executor and timer
//! tower/     services as handlers, and the client as a service
//! ```

#[cfg(feature = "hyper")]
pub mod hyper;
mod stay;
#[cfg(feature = "tower")]
pub mod tower;

pub use self::stay::{Staying, stay_here};
