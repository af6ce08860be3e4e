//! HMAC as the Python package computes it.

use subtle::ConstantTimeEq;

use super::{
    AuthPlugin, NONCE_FIELD, PluginError, Scene,
    digest::{DIGEST, derive_key, sha256},
    stamp, time_of,
};
use crate::proto::message::Message;

/// The block that keys are padded to. SHA-256 has blocks of 64 octets, and HMAC (RFC 2104) takes those: this is not
/// HMAC, and code made for HMAC gives other values.
const BLOCK: usize = 136;

/// A code over time and body, with a key that is derived from a shared secret and the message's nonce.
///
/// It does not cover the message's type, nor the other fields, and a message that was recorded passes again.
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
    secret: [u8; DIGEST],
    field: &'static str,
}

impl HmacAuth {
    /// With a secret that both ends have.
    pub fn new(secret: impl AsRef<[u8]>) -> HmacAuth {
        HmacAuth { secret: sha256(&[secret.as_ref()]), field: "hmac" }
    }

    /// Puts the code into another field than `hmac`, as one of two layers has to.
    #[must_use]
    pub fn field(mut self, name: &'static str) -> HmacAuth {
        self.field = name;
        self
    }

    fn code(&self, nonce: &[u8], time: &[u8], message: &Message) -> [u8; DIGEST] {
        let mut key = [0; BLOCK];
        key[..DIGEST].copy_from_slice(&derive_key(&self.secret, nonce, b"mac"));
        let length = (message.uri.len() as u16).to_be_bytes();
        let inner = sha256(&[&key.map(|octet| octet ^ 0x36), time, &length, &message.uri, &message.content]);
        sha256(&[&key.map(|octet| octet ^ 0x5c), &inner])
    }
}

impl AuthPlugin for HmacAuth {
    fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let (nonce, time) = stamp(&mut message.fields, scene);
        let code = self.code(&nonce, &time, message);
        message.fields.set_octets(self.field, &code);
        Ok(())
    }

    fn is_genuine(&self, message: &Message, _scene: &Scene<'_>) -> bool {
        let fields = &message.fields;
        let (Some(time), Some(nonce)) = (time_of(fields), fields.octets(NONCE_FIELD)) else { return false };
        let Some(code) = fields.octets(self.field) else { return false };
        self.code(nonce, &time, message).ct_eq(code).into()
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
