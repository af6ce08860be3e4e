//! SHA-256, and what the Python package builds of it.

use sha2::{Digest, Sha256};

/// Octets of a digest.
pub(super) const DIGEST: usize = 32;

/// A digest of some octets one behind the other.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A key for one message and one purpose.
pub(super) fn derive_key(secret: &[u8], nonce: &[u8], purpose: &[u8]) -> [u8; DIGEST] {
    sha256(&[&sha256(&[secret]), &sha256(&[nonce]), &sha256(&[purpose])])
}
