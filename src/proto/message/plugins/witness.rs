//! Signatures, as scripts of the smallest kind.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::{AuthPlugin, NONCE_FIELD, PluginError, Scene, stamp, time_of};
use crate::proto::message::Message;

const FIELD: &str = "witness";
/// The script of a witness: push 64 octets.
const PUSH_SIGNATURE: [u8; 2] = [3, 64];
/// Octets of a signature.
const SIGNATURE: usize = 64;

/// An Ed25519 signature (RFC 8032) over body, nonce and time, in the form in which the Python package's scripts have it.
///
/// Witnesses and locks of that package are programs. This one knows the program that it makes unless told otherwise:
/// one signature, one key.
#[derive(Clone)]
pub struct WitnessAuth {
    key: SigningKey,
    lock: VerifyingKey,
}

impl WitnessAuth {
    /// Signs with the key of `seed` and takes what is signed with it.
    pub fn new(seed: &[u8; 32]) -> WitnessAuth {
        let key = SigningKey::from_bytes(seed);
        WitnessAuth { lock: key.verifying_key(), key }
    }

    /// Takes what was signed with another key than its own; `None` when the octets are no key.
    pub fn lock(mut self, key: &[u8; 32]) -> Option<WitnessAuth> {
        self.lock = VerifyingKey::from_bytes(key).ok()?;
        Some(self)
    }

    /// The public key, by which others know what this one has signed.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }
}

fn signed(message: &Message, nonce: &[u8], time: &[u8]) -> Vec<u8> {
    let length = (message.uri.len() as u16).to_be_bytes();
    [&length, &message.uri[..], &message.content, nonce, time].concat()
}

impl AuthPlugin for WitnessAuth {
    fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let (nonce, time) = stamp(&mut message.fields, scene);
        let signature = self.key.sign(&signed(message, &nonce, &time)).to_bytes();
        message.fields.set_octets(FIELD, &[&PUSH_SIGNATURE[..], &signature].concat());
        Ok(())
    }

    fn is_genuine(&self, message: &Message, _scene: &Scene<'_>) -> bool {
        let fields = &message.fields;
        let (Some(time), Some(nonce)) = (time_of(fields), fields.octets(NONCE_FIELD)) else { return false };
        let signature = fields.octets(FIELD).and_then(|script| script.strip_prefix(&PUSH_SIGNATURE));
        let Some(Ok(signature)) = signature.map(<[u8; SIGNATURE]>::try_from) else { return false };
        let signed = signed(message, nonce, &time);
        self.lock.verify_strict(&signed, &Signature::from_bytes(&signature)).is_ok()
    }

    fn refusal(&self) -> &str {
        "tapescript auth failed"
    }
}

impl std::fmt::Debug for WitnessAuth {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WitnessAuth").field("lock", &self.lock).finish_non_exhaustive()
    }
}
