//! A small protocol of typed messages, without I/O and without a clock; octet for octet that of the Python package
//! `netaio` 0.0.9.
//!
//! ```text
//! frame    a message as octets, and octets as messages     kind     what a message is
//! fields   what plugins say of a message                   pack     the values that fields and peers' records have
//! requests which request a message answers                 line     requests one behind the other
//! plugins  who sent it, and who can read it                replays  what keeps it from passing twice
//! session  both, between two of ours
//! ```
//!
//! Nothing here panics on what a peer sends, and what a message costs is bounded by its octets.

mod fields;
mod frame;
mod kind;
mod line;
mod pack;
pub(crate) mod plugins;
mod replays;
mod requests;
mod session;

pub use self::{
    fields::{Fields, FieldsError},
    frame::{DecodeError, Decoder, EncodeError, Message},
    kind::{Kind, Kinds},
    pack::{UnpackError, Value},
    replays::Replays,
    requests::{Begun, Order, Requests, Ticket, TooMany, repeat_number},
    session::{Channel, Offer, Session},
};
pub(crate) use self::{
    frame::frame_bytes,
    requests::{Asked, NUMBER, REPEATED, is_answer, is_numbered},
    session::OFFER_URI,
};
