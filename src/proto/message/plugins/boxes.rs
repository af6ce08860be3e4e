//! Boxes that only one peer can open: X25519, XSalsa20 and Poly1305, as in NaCl.

use crypto_box::{PublicKey, SalsaBox, SecretKey, aead::Aead};

use super::{
    CipherPlugin, PluginError, Scene, ciphertext, plaintext, put_ciphertext, put_plaintext,
    seed::curve_secret,
};
use crate::proto::message::{Message, Value};

/// The nonce, before the box.
const BOX_NONCE: usize = 24;

/// A NaCl `crypto_box` for a peer whose key is in what it says of itself, under `pubkey`, or [is known](BoxCipher::to).
///
/// What a peer says of itself may be anybody's words, unless a code around them, or a session, says whose they are. There is no forward secrecy: who learns a seed can read all that was recorded.
#[derive(Clone)]
pub struct BoxCipher {
    secret: SecretKey,
    /// The only one that it is for, whatever peers say.
    peer: Option<PublicKey>,
    hides_uri: bool,
}

impl BoxCipher {
    /// With the seed of an Ed25519 key, of which the X25519 key is made as in libsodium. The uri stays readable.
    pub fn new(seed: &[u8; 32]) -> BoxCipher {
        BoxCipher { secret: SecretKey::from(curve_secret(seed)), peer: None, hides_uri: false }
    }

    /// For one peer, whose [public key](BoxCipher::public_key) is known beforehand: only it can open what is sealed, and what
    /// is opened only it can have sealed. What peers say of themselves does not matter.
    #[must_use]
    pub fn to(mut self, key: [u8; 32]) -> BoxCipher {
        self.peer = Some(PublicKey::from(key));
        self
    }

    /// Whether the uri is hidden, too; it is not unless told so.
    #[must_use]
    pub fn hide_uri(mut self, hides: bool) -> BoxCipher {
        self.hides_uri = hides;
        self
    }

    /// The public key, to be told to peers under `pubkey`.
    pub fn public_key(&self) -> [u8; 32] {
        *self.secret.public_key().as_bytes()
    }

    fn shared(&self, scene: &Scene<'_>) -> Result<SalsaBox, PluginError> {
        let said = || scene.peer.and_then(peer_key).map(PublicKey::from);
        let key = self.peer.clone().or_else(said).ok_or(PluginError::PeerKey)?;
        Ok(SalsaBox::new(&key, &self.secret))
    }
}

/// The key in what a peer says of itself.
fn peer_key(data: &Value) -> Option<[u8; 32]> {
    data.entry("pubkey")?.as_bytes()?[..].try_into().ok()
}

impl CipherPlugin for BoxCipher {
    fn encrypt(&self, message: &mut Message, scene: &mut Scene<'_>) -> Result<(), PluginError> {
        let shared = self.shared(scene)?;
        let mut nonce = [0; BOX_NONCE];
        (scene.random)(&mut nonce);
        let plain = plaintext(message, self.hides_uri, 0);
        let sealed = shared.encrypt(&nonce.into(), &plain[..]);
        let sealed = sealed.map_err(|_too_long| PluginError::TooLong(plain.len()))?;
        put_ciphertext(message, [&nonce[..], &sealed].concat().into(), self.hides_uri, scene);
        Ok(())
    }

    fn decrypt(&self, message: &mut Message, scene: &Scene<'_>) -> Result<(), PluginError> {
        let shared = self.shared(scene)?;
        let octets = ciphertext(message, self.hides_uri);
        let (nonce, sealed) = octets.split_first_chunk::<BOX_NONCE>().ok_or(PluginError::Garbled)?;
        let plain = shared.decrypt(&(*nonce).into(), sealed).map_err(|_forged| PluginError::Garbled)?;
        put_plaintext(message, plain, self.hides_uri)
    }

    fn is_peer_specific(&self) -> bool {
        self.peer.is_none()
    }
}

impl std::fmt::Debug for BoxCipher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("BoxCipher").field("hides_uri", &self.hides_uri).finish_non_exhaustive()
    }
}
