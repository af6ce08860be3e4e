//! A bounded ring from one producer to one consumer.
//!
//! The ring is an array whose length is a power of two, and two counters that only grow (and wrap): `tail`,
//! how many values were ever pushed, and `head`, how many were ever taken. Value *i* lives in slot *i* mod
//! length. Only the producer writes `tail`, only the consumer writes `head`, so neither needs more than a
//! store to publish its step:
//!
//! ```text
//!             head ──► taken up to here                tail ──► pushed up to here
//!   ┄ free ┄┄┄┄┄┄┄┄┄┄│ value │ value │ value │ value │┄┄┄┄┄ free ┄┄┄┄┄
//!                     consumer reads here             producer writes here
//! ```
//!
//! Each side remembers the last value that it saw of the other's counter and reads the shared one again only
//! when the remembered one says "full" or "empty": in a burst the two cores do not fight for a cache line.
//!
//! Who may push is settled at run time: [`Ring::producer`] lends the one producing end to whoever asks first,
//! and dropping the [`Producer`] gives it back; the next holder goes on at the tail that the last one left.
//! The consuming end works the same way. This is what lets a lane of the wake path pass from a thread that
//! ended to one that begins, and it makes the interface safe: there is no way to get two producers.
//!
//! Values that are left are dropped with the ring. Those of the wake path are `Copy`: they may be drained in one step.
//! [`owned`] has ends that keep the ring alive, for channels.
//!
//! This is one of the three places in the crate that may say `unsafe`; all of it is in [`spsc`].

mod owned;
mod spsc;

pub(crate) use owned::{OwnedConsumer, OwnedProducer, ends};
pub use spsc::{Consumer, Full, Producer, Ring};
