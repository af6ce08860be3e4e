//! Who sent a message, and who can read it: codes that authenticate, and ciphers.
//!
//! A message passes two layers, the inner one of a handler or a call, the outer one of a node. On its way out: inner
//! cipher, inner code, outer cipher, outer code; on its way in the reverse. A code covers the body as the ciphers
//! before it have left it. Layers need names of their own for their fields, but for the nonce and the time, which the
//! first layer sets and the others keep.
//!
//! These four are what the Python package has, with its weaknesses: the type of a message is covered by none of them,
//! and nothing keeps an old message from being sent again. [`HmacAuth`] can bind both, in a field that the package ignores;
//! where both ends can, a [`Session`](super::Session) is what protects.

mod boxes;
mod digest;
mod mac;
mod seed;
mod stream;
mod witness;

pub use self::{boxes::BoxCipher, mac::HmacAuth, stream::StreamCipher, witness::WitnessAuth};

use std::fmt;

use bytes::Bytes;

use super::{Fields, Message, Value};
use crate::limits::MESSAGE_BODY_BYTES;

/// Octets of a nonce.
pub(crate) const NONCE: usize = 16;

/// Octets of a time.
const TIME: usize = 4;

/// The field with the nonce, which layers share.
pub(crate) const NONCE_FIELD: &str = "nonce";
/// The field with the time of sending, which layers share.
pub(crate) const TIME_FIELD: &str = "ts";

/// What a plugin knows of the world while it works on one message.
pub struct Scene<'a> {
    /// Seconds since 1970.
    pub unix_time: u32,
    /// Fills octets with random ones that nobody can foresee.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// What the peer has said of itself, if it has.
    pub peer: Option<&'a Value>,
}

/// Tells who sent a message.
pub trait AuthPlugin {
    /// Adds the fields that prove where the message comes from.
    ///
    /// # Errors
    ///
    /// [`PluginError`], when that cannot be done.
    fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError>;

    /// Whether the message comes from where its fields say.
    fn is_genuine(&self, message: &Message, scene: &Scene<'_>) -> bool;

    /// Binds to the code of a signed message what the code does not cover: the type, the other fields. Those who do not know
    /// of it ignore what that adds. Does nothing in a plugin that has no such thing.
    fn bind(&self, message: &mut Message) {
        let _as_it_is = message;
    }

    /// What a genuine message has been bound to.
    fn binding(&self, message: &Message) -> Binding {
        let _any = message;
        Binding::Unknown
    }

    /// What the sender of a message that is not genuine is told.
    fn refusal(&self) -> &str;

    /// Whether each receiver needs a code of its own.
    fn is_peer_specific(&self) -> bool {
        false
    }
}

/// Whether the type of a message and its fields are covered by its code, which the Python package's are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Binding {
    /// The plugin has no such thing.
    Unknown,
    /// They are not.
    Absent,
    /// They are, and the message was sent at this time.
    Bound {
        /// Seconds since 1970.
        time: u32,
    },
    /// They were, and are others now.
    Forged,
}

/// Keeps a message from everybody but its receiver.
pub trait CipherPlugin {
    /// Replaces the message's body by one that only the receiver can read.
    ///
    /// # Errors
    ///
    /// [`PluginError`]; the message is as it was then.
    fn encrypt(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError>;

    /// Replaces such a body by what it was.
    ///
    /// # Errors
    ///
    /// [`PluginError`]; the message is as it was then.
    fn decrypt(&self, message: &mut Message, scene: &Scene<'_>) -> Result<(), PluginError>;

    /// Whether each receiver needs a body of its own.
    fn is_peer_specific(&self) -> bool {
        false
    }
}

/// Why a plugin cannot do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A field that it needs is missing, or is no octets.
    #[error("the authentication field {0:?} is missing or is no octets")]
    Field(&'static str),
    /// The peer's key is not known.
    #[error("the peer has not said what its key is")]
    PeerKey,
    /// What was decrypted is no body: another key, or another message.
    #[error("what was decrypted is no body: the keys differ, or somebody has changed it")]
    Garbled,
    /// The same message has come before.
    #[error("the message has come before")]
    Replayed,
    /// The message's time is too far from ours.
    #[error("the message was sent {0} s from now, or seems so: the clocks differ, or somebody has kept it")]
    Late(u32),
    /// Whether it has come before is not known: too many have come to remember those of its time, or our clock was set back.
    #[error(
        "the message was sent {0} s from now, and too many have come to remember which of that time: the clocks differ"
    )]
    Crowded(u32),
    /// There is no session with the peer, and one is required.
    #[error("a session is required, and there is none with this peer")]
    NoSession,
    /// The body is too long with what is added to it.
    #[error(
        "uri and content would have {0} octets when they are sealed, and a message holds {MESSAGE_BODY_BYTES}"
    )]
    TooLong(usize),
    /// It panicked, which the panic hook has told of.
    #[error("the plugin failed")]
    Panicked,
}

impl fmt::Debug for Scene<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Scene").field("unix_time", &self.unix_time).finish_non_exhaustive()
    }
}

/// When a message was sent, as its fields say. In codes it stands beside other octets, so that it has four and no others:
/// what is longer or shorter could have its ends from there.
pub(crate) fn sent_at(fields: &Fields) -> Option<u32> {
    match fields.get(TIME_FIELD)? {
        // Older peers write a number.
        Value::Int(0) => None,
        Value::Int(seconds) => u32::try_from(seconds).ok(),
        other => Some(u32::from_be_bytes(<[u8; TIME]>::try_from(&other.as_bytes()?[..]).ok()?)),
    }
}

/// Sets nonce and time, unless another layer has.
fn stamp(fields: &mut Fields, scene: &mut Scene<'_>) -> (Bytes, [u8; TIME]) {
    let kept = fields.octets(NONCE_FIELD).filter(|nonce| nonce.len() == NONCE).cloned();
    let nonce = kept.unwrap_or_else(|| {
        let mut nonce = [0; NONCE];
        (scene.random)(&mut nonce);
        Bytes::copy_from_slice(&nonce)
    });
    let time = sent_at(fields).unwrap_or(scene.unix_time).to_be_bytes();
    fields.set(NONCE_FIELD, Value::Bytes(nonce.clone()));
    fields.set_octets(TIME_FIELD, &time);
    (nonce, time)
}

/// The body as ciphers see it: with its uri, if that is to be hidden too; and room behind it.
pub(super) fn plaintext(message: &Message, with_uri: bool, room: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(2 + message.uri.len() + message.content.len() + room);
    if with_uri {
        // A uri that does not fit makes a body that is refused when it is framed.
        plain.extend_from_slice(&u16::try_from(message.uri.len()).unwrap_or(u16::MAX).to_be_bytes());
        plain.extend_from_slice(&message.uri);
    }
    plain.extend_from_slice(&message.content);
    plain
}

/// Puts a ciphertext in the body's place. With the uri in it, it is cut in two anywhere, so that its length tells
/// nothing; the receiver joins the halves.
fn put_ciphertext(message: &mut Message, ciphertext: Bytes, with_uri: bool, scene: &mut Scene<'_>) {
    if !with_uri {
        message.content = ciphertext;
        return;
    }
    let mut octets = [0; 8];
    (scene.random)(&mut octets);
    // A uri has two octets of length before it, so that there are two at least.
    let at = 1 + (u64::from_be_bytes(octets) % (ciphertext.len() as u64 - 1)) as usize;
    let mut uri = ciphertext;
    message.content = uri.split_off(at);
    message.uri = uri;
}

/// The ciphertext of a body.
fn ciphertext(message: &Message, with_uri: bool) -> Vec<u8> {
    let mut octets = Vec::with_capacity(message.uri.len() + message.content.len());
    if with_uri {
        octets.extend_from_slice(&message.uri);
    }
    octets.extend_from_slice(&message.content);
    octets
}

/// Puts what was decrypted in the body's place.
pub(super) fn put_plaintext(
    message: &mut Message,
    plain: Vec<u8>,
    with_uri: bool,
) -> Result<(), PluginError> {
    let mut plain = Bytes::from(plain);
    if with_uri {
        if plain.len() < 2 {
            return Err(PluginError::Garbled);
        }
        let length = usize::from(u16::from_be_bytes([plain[0], plain[1]]));
        if plain.len() - 2 < length {
            return Err(PluginError::Garbled);
        }
        let _length = plain.split_to(2);
        message.uri = plain.split_to(length);
    }
    message.content = plain;
    Ok(())
}
