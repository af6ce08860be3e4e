//! The Python package's stream cipher over SHA-256.

use super::{
    CipherPlugin, NONCE, PluginError, Scene, ciphertext,
    digest::{Derivation, apply_key_stream, sha256},
    plaintext, put_ciphertext, put_plaintext,
};
use crate::proto::message::Message;

/// A key stream of digests, with a shared key and an initial value for each message.
///
/// Nothing in it tells whether the message was changed: use it inside a code that authenticates.
#[derive(Clone)]
pub struct StreamCipher {
    keys: Derivation,
    field: &'static str,
    hides_uri: bool,
}

impl StreamCipher {
    /// With a key that both ends have; the uri is hidden, too.
    pub fn new(key: impl AsRef<[u8]>) -> StreamCipher {
        let keys = Derivation::new(&sha256(&[key.as_ref()]), b"enc");
        StreamCipher { keys, field: "iv", hides_uri: true }
    }

    /// Puts the initial value into another field than `iv`, as one of two layers has to.
    #[must_use]
    pub fn field(mut self, name: &'static str) -> StreamCipher {
        self.field = name;
        self
    }

    /// Whether the uri is hidden; it is unless told otherwise. In a handler's own layer it hides which handler that is: one for
    /// a uri is found only without.
    #[must_use]
    pub fn hide_uri(mut self, hides: bool) -> StreamCipher {
        self.hides_uri = hides;
        self
    }

    /// Applies the key stream, which is the same both ways.
    fn apply(&self, iv: &[u8], octets: &mut [u8]) {
        apply_key_stream(&self.keys.key(iv), octets);
    }
}

impl CipherPlugin for StreamCipher {
    fn encrypt(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let mut iv = [0; NONCE];
        (scene.random)(&mut iv);
        let mut octets = plaintext(message, self.hides_uri, 0);
        self.apply(&iv, &mut octets);
        message.fields.set_octets(self.field, &iv);
        put_ciphertext(message, octets.into(), self.hides_uri, scene);
        Ok(())
    }

    fn decrypt(&self, message: &mut Message, _scene: &Scene<'_>) -> Result<(), PluginError> {
        let iv = message.fields.octets(self.field).ok_or(PluginError::Field(self.field))?;
        let mut octets = ciphertext(message, self.hides_uri);
        self.apply(iv, &mut octets);
        put_plaintext(message, octets, self.hides_uri)
    }
}

impl std::fmt::Debug for StreamCipher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = out.debug_struct("StreamCipher");
        debug.field("field", &self.field).field("hides_uri", &self.hides_uri).finish_non_exhaustive()
    }
}
