//! Signatures, as scripts of the smallest kind.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::{AuthPlugin, NONCE, NONCE_FIELD, PluginError, Scene, TIME, sent_at, stamp};
use crate::proto::message::{Message, Value};

/// The script of a witness: push 64 octets.
const PUSH_SIGNATURE: [u8; 2] = [3, 64];
/// Octets of a signature.
const SIGNATURE: usize = 64;
/// The script of a lock: push 32 octets, the key, check the signature.
const PUSH_KEY: [u8; 2] = [3, 32];
const CHECK_SIGNATURE: [u8; 2] = [0x23, 0];
/// Octets of such a lock.
const LOCK: usize = 36;

/// An Ed25519 signature (RFC 8032) over body, nonce and time, in the form in which the Python package's scripts have it.
///
/// Witnesses and locks of that package are programs. This one knows the program that it makes unless told otherwise:
/// one signature, one key.
#[derive(Clone)]
pub struct WitnessAuth {
    key: SigningKey,
    lock: VerifyingKey,
    heeds_peers: bool,
    field: &'static str,
}

impl WitnessAuth {
    /// Signs with the key of `seed` and takes what is signed with it.
    pub fn new(seed: &[u8; 32]) -> WitnessAuth {
        let key = SigningKey::from_bytes(seed);
        WitnessAuth { lock: key.verifying_key(), key, heeds_peers: false, field: "witness" }
    }

    /// Puts the signature into another field than `witness`, as one of two layers has to.
    #[must_use]
    pub fn field(mut self, name: &'static str) -> WitnessAuth {
        self.field = name;
        self
    }

    /// Takes what was signed with another key than its own; `None` when the octets are no key.
    pub fn lock(mut self, key: &[u8; 32]) -> Option<WitnessAuth> {
        self.lock = VerifyingKey::from_bytes(key).ok()?;
        Some(self)
    }

    /// Takes from a peer that has told of a lock of its own what that one opens, in the place of this one's: `lock` in what it
    /// says of itself. That says that it is the peer that introduced itself, and nothing about who may do that.
    #[must_use]
    pub fn heed_peers(mut self) -> WitnessAuth {
        self.heeds_peers = true;
        self
    }

    /// The public key, by which others know what this one has signed.
    pub fn public_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// The lock that its own signatures open, to be told to peers under `lock`.
    pub fn own_lock(&self) -> [u8; LOCK] {
        let mut script = [0; LOCK];
        script[..2].copy_from_slice(&PUSH_KEY);
        script[2..34].copy_from_slice(&self.public_key());
        script[34..].copy_from_slice(&CHECK_SIGNATURE);
        script
    }

    /// The key that a message has to be signed with; none, when the peer's lock is no such one.
    fn lock_for(&self, peer: Option<&Value>) -> Option<VerifyingKey> {
        let Some(script) = peer.filter(|_| self.heeds_peers).and_then(|data| data.entry("lock")) else {
            return Some(self.lock);
        };
        let key = script.as_bytes()?.strip_prefix(&PUSH_KEY)?.strip_suffix(&CHECK_SIGNATURE)?;
        VerifyingKey::from_bytes(key.try_into().ok()?).ok()
    }
}

fn signed(message: &Message, nonce: &[u8], time: [u8; TIME]) -> Vec<u8> {
    let length = (message.uri.len() as u16).to_be_bytes();
    [&length, &message.uri[..], &message.content, nonce, &time].concat()
}

impl AuthPlugin for WitnessAuth {
    fn sign(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let (nonce, time) = stamp(&mut message.fields, scene);
        let signature = self.key.sign(&signed(message, &nonce, time)).to_bytes();
        message.fields.set_octets(self.field, &[&PUSH_SIGNATURE[..], &signature].concat());
        Ok(())
    }

    fn is_genuine(&self, message: &Message, scene: &Scene<'_>) -> bool {
        let fields = &message.fields;
        let (Some(time), Some(nonce)) = (sent_at(fields), fields.octets(NONCE_FIELD)) else { return false };
        // The content is signed in front of it, and could end in it otherwise.
        if nonce.len() != NONCE {
            return false;
        }
        let signature = fields.octets(self.field).and_then(|script| script.strip_prefix(&PUSH_SIGNATURE));
        let Some(Ok(signature)) = signature.map(<[u8; SIGNATURE]>::try_from) else { return false };
        let Some(lock) = self.lock_for(scene.peer) else { return false };
        lock.verify_strict(&signed(message, nonce, time.to_be_bytes()), &Signature::from_bytes(&signature))
            .is_ok()
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
