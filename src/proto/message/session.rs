//! Sessions: what two of ours protect a connection with, instead of the plugins of the protocol's first implementation.
//!
//! ```text
//! asks     REQUEST_URI, field "offer":   version 1 ‖ its ephemeral X25519 key
//! answers  RESPOND_URI, field "accept":  version 1 ‖ its own; sealed already, which proves that it has the secret
//! ```
//!
//! Who does not know of sessions sees a request for a uri that it does not have, and says so.
//!
//! Among datagrams an offer proves by itself that it is new, and from who has the secret: whoever copies one would otherwise
//! make sessions that nobody has asked for. It has the field `proof`: seconds since 1970 (4) ‖ HKDF-Expand(psk, "offer" ‖
//! these ‖ the field `offer`, 32); and each passes once.
//!
//! ```text
//! psk    = HKDF-Extract(salt "wakering message session 1", the shared secret)
//! keys   = HKDF-Expand(HKDF-Extract(salt psk, X25519), who offers ‖ who accepts, 68)
//!        = 32 octets for what the offering end sends ‖ 32 for what the other sends ‖ 4 that name the session
//! ```
//!
//! HKDF (RFC 5869) is over SHA-256. Neither secret alone gives the keys: who learns the shared one later reads nothing of
//! what was recorded, and who has not got it can be neither end.
//!
//! A sealed message has the field `seal` (session ‖ seconds since 1970 ‖ number, 4 + 4 + 8 octets), no uri, and as its
//! content ChaCha20-Poly1305 (RFC 8439) over uri length ‖ uri ‖ content, with the nonce 0000 ‖ number and, as associated
//! data, its type and its packed fields: nothing of it can be changed, moved, or come twice.

use std::fmt;

use bytes::Bytes;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};
use curve25519_dalek::MontgomeryPoint;
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{
    Kind, Message, Order, Replays,
    plugins::{PluginError, Scene, plaintext, put_plaintext},
    replays::{Window, in_time},
};
use crate::limits::{MESSAGE_BODY_BYTES, MESSAGE_TIME_WINDOW};

/// What an offer asks for.
pub(crate) const OFFER_URI: &str = "wakering/session";
const OFFER: &str = "offer";
const ACCEPT: &str = "accept";
const SEAL: &str = "seal";
const PROOF: &str = "proof";

const SALT: &[u8] = b"wakering message session 1";
const VERSION: u8 = 1;
/// Octets of a Poly1305 tag.
const TAG: usize = 16;

/// Protects what two of ours say to each other: nobody else can read it, change it, move it or send it again.
///
/// Each connection has keys of its own. Towards a peer that does not know of sessions it is off, unless it is
/// [required](Session::require): whoever can change what is on the way can otherwise have it be off, too.
///
/// # Examples
///
/// ```
/// use wakering::message::{Builder, Session};
///
/// let builder = Builder::new().session(Session::new("a long random secret").require(true));
/// # drop(builder);
/// ```
#[derive(Clone)]
pub struct Session {
    psk: [u8; 32],
    required: bool,
    window: u32,
}

impl Session {
    /// With a secret that both ends have: a long random one, since who answers can try guesses at a short one. An empty one is
    /// taken, and is everybody's.
    pub fn new(secret: impl AsRef<[u8]>) -> Session {
        let (psk, _) = Hkdf::<Sha256>::extract(Some(SALT), secret.as_ref());
        Session { psk: psk.into(), required: false, window: MESSAGE_TIME_WINDOW }
    }

    /// Whether nothing is said to, or heard from, a peer without a session; by default that is.
    #[must_use]
    pub fn require(mut self, required: bool) -> Session {
        self.required = required;
        self
    }

    /// How many seconds the clocks of both ends may be apart; 300 by default.
    #[must_use]
    pub fn window(mut self, seconds: u32) -> Session {
        self.window = seconds;
        self
    }

    /// Whether nothing is said without.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Begins: the request to be sent, and what its answer is given to.
    pub fn offer(&self, scene: &mut Scene<'_>) -> (Offer, Message) {
        let ephemeral = Ephemeral::new(scene);
        let mut message = Message::new(Kind::REQUEST_URI, OFFER_URI, "");
        message.fields.set_octets(OFFER, &ephemeral.announcement());
        (Offer { ephemeral }, message)
    }

    /// Begins among datagrams. The offer passes once, and not with who made it.
    pub fn offer_once(&self, replays: &Replays, scene: &mut Scene<'_>) -> (Offer, Message) {
        let (offer, mut message) = self.offer(scene);
        let announcement = offer.ephemeral.announcement();
        let time = scene.unix_time.to_be_bytes();
        message.fields.set_octets(PROOF, &[&time[..], &self.proof(time, &announcement)].concat());
        // Somebody may send it back, and let this end speak to itself.
        let _ = replays.admit(&offer.ephemeral.public, scene.unix_time, scene.unix_time);
        (offer, message)
    }

    /// Lets an offer pass once, within its time.
    ///
    /// # Errors
    ///
    /// [`PluginError::Field`] without a proof, [`PluginError::Garbled`] when it is of another secret, [`PluginError::Late`],
    /// [`PluginError::Replayed`].
    pub fn admit(&self, offer: &Message, replays: &Replays, now: u32) -> Result<(), PluginError> {
        let announcement = offer.fields.octets(OFFER).ok_or(PluginError::Field(OFFER))?;
        let proof = offer.fields.octets(PROOF).and_then(|proof| proof.split_first_chunk::<4>());
        let (time, code) = proof.ok_or(PluginError::Field(PROOF))?;
        if !bool::from(self.proof(*time, announcement)[..].ct_eq(code)) {
            return Err(PluginError::Garbled);
        }
        let key = announcement.get(1..).unwrap_or_default();
        replays.admit(key, u32::from_be_bytes(*time), now)
    }

    fn proof(&self, time: [u8; 4], announcement: &[u8]) -> [u8; 32] {
        let mut proof = [0; 32];
        let psk = Hkdf::<Sha256>::from_prk(&self.psk).expect("the secret is as long as a digest");
        let expanded = psk.expand_multi_info(&[b"offer", &time, announcement], &mut proof);
        expanded.expect("one digest is not too much to ask for");
        proof
    }

    /// Whether a message offers a session.
    pub fn is_offer(message: &Message) -> bool {
        message.kind == Kind::REQUEST_URI && message.fields.contains(OFFER)
    }

    /// Takes an offer: the session, and its first message, to be sent when the number of the offer is repeated in it and
    /// it is [sealed](Channel::seal). None, if it offers what is not understood.
    pub fn accept(&self, offer: &Message, order: Order, scene: &mut Scene<'_>) -> Option<(Channel, Message)> {
        let theirs = announced(offer, OFFER)?;
        let own = Ephemeral::new(scene);
        let [out, back, id] = self.keys(&own, &theirs, &theirs, &own.public)?;
        let mut message = Message::new(Kind::RESPOND_URI, OFFER_URI, "");
        message.fields.set_octets(ACCEPT, &own.announcement());
        Some((Channel::new(self, &back, &out, &id, order), message))
    }

    /// The keys of both directions, and the session's name.
    fn keys(
        &self,
        own: &Ephemeral,
        theirs: &[u8; 32],
        offering: &[u8; 32],
        accepting: &[u8; 32],
    ) -> Option<[[u8; 32]; 3]> {
        let shared = MontgomeryPoint(*theirs).mul_clamped(own.secret).to_bytes();
        // A point of small order: the other end adds nothing of its own (RFC 7748 §6.1).
        if shared == [0; 32] {
            return None;
        }
        let mut keys = [0; 68];
        let derived = Hkdf::<Sha256>::new(Some(&self.psk), &shared);
        derived.expand_multi_info(&[offering, accepting], &mut keys).ok()?;
        let mut parts = [[0; 32]; 3];
        for (part, octets) in parts.iter_mut().zip(keys.chunks(32)) {
            part[..octets.len()].copy_from_slice(octets);
        }
        Some(parts)
    }
}

/// A key pair of one connection.
struct Ephemeral {
    secret: [u8; 32],
    public: [u8; 32],
}

impl Ephemeral {
    fn new(scene: &mut Scene<'_>) -> Ephemeral {
        let mut secret = [0; 32];
        (scene.random)(&mut secret);
        Ephemeral { secret, public: MontgomeryPoint::mul_base_clamped(secret).to_bytes() }
    }

    fn announcement(&self) -> [u8; 33] {
        let mut octets = [VERSION; 33];
        octets[1..].copy_from_slice(&self.public);
        octets
    }
}

fn announced(message: &Message, field: &str) -> Option<[u8; 32]> {
    let (version, key) = message.fields.octets(field)?.split_first()?;
    if *version == VERSION { key.try_into().ok() } else { None }
}

/// A session that was offered.
pub struct Offer {
    ephemeral: Ephemeral,
}

impl Offer {
    /// Whether a message accepts an offer; the seal on it is still to be broken.
    pub fn is_accepted_by(message: &Message) -> bool {
        message.kind == Kind::RESPOND_URI && message.fields.contains(ACCEPT)
    }

    /// The session, after the answer that accepts it.
    ///
    /// # Errors
    ///
    /// [`PluginError`]: the peer has another secret, or is not who answered.
    pub fn accepted(
        &self,
        session: &Session,
        answer: &mut Message,
        order: Order,
        now: u32,
    ) -> Result<Channel, PluginError> {
        let theirs = announced(answer, ACCEPT).ok_or(PluginError::Field(ACCEPT))?;
        let keys = session.keys(&self.ephemeral, &theirs, &self.ephemeral.public, &theirs);
        let [out, back, id] = keys.ok_or(PluginError::Garbled)?;
        let mut channel = Channel::new(session, &out, &back, &id, order);
        channel.open(answer, now)?;
        Ok(channel)
    }
}

/// One end of a session.
pub struct Channel {
    id: [u8; 4],
    window: u32,
    sends: ChaCha20Poly1305,
    sent: u64,
    receives: ChaCha20Poly1305,
    received: Window,
}

impl Channel {
    fn new(session: &Session, sends: &[u8; 32], receives: &[u8; 32], id: &[u8; 32], order: Order) -> Channel {
        Channel {
            id: [id[0], id[1], id[2], id[3]],
            window: session.window,
            sends: ChaCha20Poly1305::new(sends.into()),
            sent: 0,
            receives: ChaCha20Poly1305::new(receives.into()),
            received: Window::new(order),
        }
    }

    /// The session's name, as it stands in the seals.
    pub fn name(&self) -> [u8; 4] {
        self.id
    }

    /// In which session a message is sealed, if it is.
    pub fn named(message: &Message) -> Option<[u8; 4]> {
        let seal = message.fields.get(SEAL)?;
        // What is no seal is in no session that there is.
        Some(seal.as_bytes().and_then(|seal| seal.first_chunk().copied()).unwrap_or_default())
    }

    /// Whether a message is sealed, in whatever session.
    pub fn is_sealed(message: &Message) -> bool {
        message.fields.contains(SEAL)
    }

    /// Seals a message that is sent, which has all its fields.
    ///
    /// # Errors
    ///
    /// [`PluginError::TooLong`]: 18 octets are added to its body. The message is as it was then.
    pub fn seal(&mut self, message: &mut Message, now: u32) -> Result<(), PluginError> {
        let length = 2 + message.uri.len() + message.content.len() + TAG;
        if length > MESSAGE_BODY_BYTES || self.sent == u64::MAX {
            return Err(PluginError::TooLong(length));
        }
        let mut seal = [0; 16];
        seal[..4].copy_from_slice(&self.id);
        seal[4..8].copy_from_slice(&now.to_be_bytes());
        seal[8..].copy_from_slice(&self.sent.to_be_bytes());
        message.fields.set_octets(SEAL, &seal);
        let mut body = plaintext(message, true, TAG);
        let sealed = self.sends.encrypt_in_place_detached(&nonce(self.sent), &bound(message), &mut body);
        let tag = sealed.map_err(|_too_long| PluginError::TooLong(length))?;
        body.extend_from_slice(&tag);
        self.sent += 1;
        (message.uri, message.content) = (Bytes::new(), body.into());
        Ok(())
    }

    /// Breaks the seal of a message that has come.
    ///
    /// # Errors
    ///
    /// [`PluginError`]; the message is as it was then, and the session, too.
    pub fn open(&mut self, message: &mut Message, now: u32) -> Result<(), PluginError> {
        let seal = message.fields.octets(SEAL).and_then(|seal| <[u8; 16]>::try_from(&seal[..]).ok());
        let seal = seal.ok_or(PluginError::Field(SEAL))?;
        let (id, rest) = seal.split_at(4);
        let number = u64::from_be_bytes(std::array::from_fn(|at| rest[4 + at]));
        let time = u32::from_be_bytes(std::array::from_fn(|at| rest[at]));
        if id != self.id {
            return Err(PluginError::Garbled);
        }
        if !self.received.is_new(number) {
            return Err(PluginError::Replayed);
        }
        let at = message.content.len().checked_sub(TAG).filter(|_| message.uri.is_empty());
        let (sealed, tag) = message.content.split_at(at.ok_or(PluginError::Garbled)?);
        let mut body = sealed.to_vec();
        let opened =
            self.receives.decrypt_in_place_detached(&nonce(number), &bound(message), &mut body, tag.into());
        opened.map_err(|_forged| PluginError::Garbled)?;
        // Only now is the time known to be the sender's.
        in_time(time, now, self.window)?;
        put_plaintext(message, body, true)?;
        self.received.note(number);
        message.fields.remove(SEAL);
        Ok(())
    }
}

fn nonce(number: u64) -> chacha20poly1305::Nonce {
    let mut nonce = chacha20poly1305::Nonce::default();
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// What is bound to the body: the type and all fields.
fn bound(message: &Message) -> Vec<u8> {
    let mut octets = Vec::with_capacity(64);
    octets.push(message.kind.number());
    message.fields.pack(&mut octets);
    octets
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Session").field("required", &self.required).finish_non_exhaustive()
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Offer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Channel").field("id", &self.id).field("sent", &self.sent).finish_non_exhaustive()
    }
}
