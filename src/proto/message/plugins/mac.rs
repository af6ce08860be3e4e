//! HMAC as the Python package computes it.

use hkdf::hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{
    AuthPlugin, Binding, NONCE_FIELD, PluginError, Scene, TIME, TIME_FIELD,
    digest::{DIGEST, Derivation, sha256},
    sent_at, stamp,
};
use crate::{
    limits::MESSAGE_FIELDS,
    proto::message::{Message, NUMBER, REPEATED},
};

/// The block that keys are padded to. SHA-256 has blocks of 64 octets, and HMAC (RFC 2104) takes those: this is not
/// HMAC, and code made for HMAC gives other values.
const BLOCK: usize = 136;

/// A code over time and body, with a key that is derived from a shared secret and the message's nonce.
///
/// It does not cover the message's type, nor the other fields, and a message that was recorded passes again. Between two of
/// ours a second code, which others ignore, covers those, and the nonces of recent messages are remembered: such a message
/// does not pass again without its second code either.
///
/// # Examples
///
/// ```
/// # use wakering::internals::message::{Kind, Message, plugins::{AuthPlugin, HmacAuth, Scene}};
/// let auth = HmacAuth::new("a secret");
/// let mut message = Message::new(Kind::REQUEST_URI, "echo", "hello");
/// let mut scene = Scene { unix_time: 1_700_000_000, random: &mut |octets| octets.fill(7), peer: None };
/// auth.sign(&mut message, &mut scene)?;
/// assert!(auth.is_genuine(&message, &scene));
/// message.content = "hallo".into();
/// assert!(!auth.is_genuine(&message, &scene));
/// # Ok::<(), wakering::internals::message::plugins::PluginError>(())
/// ```
#[derive(Clone)]
pub struct HmacAuth {
    keys: Derivation,
    binding_keys: Derivation,
    field: &'static str,
    bound: String,
}

impl HmacAuth {
    /// With a secret that both ends have; an empty one is taken, and is everybody's.
    pub fn new(secret: impl AsRef<[u8]>) -> HmacAuth {
        let secret = sha256(&[secret.as_ref()]);
        let (keys, binding_keys) = (Derivation::new(&secret, b"mac"), Derivation::new(&secret, b"bind"));
        HmacAuth { keys, binding_keys, field: "hmac", bound: "hmac+".to_owned() }
    }

    /// Puts the code into another field than `hmac`, as one of two layers has to; the second one into a field of that name
    /// and a plus sign.
    #[must_use]
    pub fn field(mut self, name: &'static str) -> HmacAuth {
        self.field = name;
        self.bound = format!("{name}+");
        self
    }

    /// HMAC (RFC 2104) over the type and the named fields, of which the first code is one: it stands for the body.
    fn second_code(&self, names: &str, message: &Message) -> Option<Hmac<Sha256>> {
        let nonce = message.fields.octets(NONCE_FIELD)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.binding_keys.key(nonce)).ok()?;
        mac.update(&[message.kind.number()]);
        mac.update(&u16::try_from(names.len()).ok()?.to_be_bytes());
        mac.update(names.as_bytes());
        for name in names.split(',') {
            let packed = message.fields.get(name)?.packed();
            mac.update(&u32::try_from(packed.len()).ok()?.to_be_bytes());
            mac.update(&packed);
        }
        Some(mac)
    }

    fn code(&self, nonce: &[u8], time: [u8; TIME], message: &Message) -> [u8; DIGEST] {
        let mut key = [0; BLOCK];
        key[..DIGEST].copy_from_slice(&self.keys.key(nonce));
        let length = (message.uri.len() as u16).to_be_bytes();
        let inner = sha256(&[&key.map(|octet| octet ^ 0x36), &time, &length, &message.uri, &message.content]);
        sha256(&[&key.map(|octet| octet ^ 0x5c), &inner])
    }
}

impl AuthPlugin for HmacAuth {
    fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let (nonce, time) = stamp(&mut message.fields, scene);
        let code = self.code(&nonce, time, message);
        message.fields.set_octets(self.field, &code);
        // Of an earlier code.
        message.fields.remove(&self.bound);
        Ok(())
    }

    fn is_genuine(&self, message: &Message, _scene: &Scene<'_>) -> bool {
        let fields = &message.fields;
        let (Some(time), Some(nonce)) = (sent_at(fields), fields.octets(NONCE_FIELD)) else { return false };
        let Some(code) = fields.octets(self.field) else { return false };
        self.code(nonce, time.to_be_bytes(), message).ct_eq(code).into()
    }

    fn bind(&self, message: &mut Message) {
        message.fields.remove(&self.bound);
        // A name with a comma in it cannot be told from two.
        let mut names: Vec<&str> =
            message.fields.iter().map(|(name, _)| name).filter(|name| !name.contains(',')).collect();
        names.sort_unstable();
        let names = names.join(",");
        if let Some(code) = self.second_code(&names, message) {
            let octets = [&code.finalize().into_bytes()[..], names.as_bytes()].concat();
            message.fields.set_octets(&self.bound, &octets);
        }
    }

    fn binding(&self, message: &Message) -> Binding {
        if !message.fields.contains(&self.bound) {
            return Binding::Absent;
        }
        let octets =
            message.fields.octets(&self.bound).and_then(|octets| octets.split_first_chunk::<DIGEST>());
        let Some((code, Ok(names))) = octets.map(|(code, names)| (code, std::str::from_utf8(names))) else {
            return Binding::Forged;
        };
        // Each is looked for among all fields, and covers its value: as many as there may be fields, and each once.
        let is_again = |(at, name)| names.split(',').take(at).any(|other| other == name);
        if names.split(',').count() > MESSAGE_FIELDS || names.split(',').enumerate().any(is_again) {
            return Binding::Forged;
        }
        let is_named = |name: &str| names.split(',').any(|named| named == name);
        let left_out = |name: &str| message.fields.contains(name) && !is_named(name);
        if !is_named(self.field) || [NONCE_FIELD, TIME_FIELD, NUMBER, REPEATED].into_iter().any(left_out) {
            return Binding::Forged;
        }
        let (Some(mac), Some(time)) = (self.second_code(names, message), sent_at(&message.fields)) else {
            return Binding::Forged;
        };
        match mac.verify_slice(code) {
            Ok(()) => Binding::Bound { time },
            Err(_differs) => Binding::Forged,
        }
    }

    fn refusal(&self) -> &str {
        "HMAC auth failed"
    }
}

impl std::fmt::Debug for HmacAuth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HmacAuth").field("field", &self.field).finish_non_exhaustive()
    }
}
