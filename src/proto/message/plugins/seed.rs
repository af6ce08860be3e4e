//! Keys out of a seed.

use ed25519_dalek::SigningKey;

/// The secret of the X25519 key that belongs to the Ed25519 key of a seed: the first half of SHA-512 of the seed, as
/// `crypto_sign_ed25519_sk_to_curve25519` of libsodium has it; the curve's own code clamps it.
pub(super) fn curve_secret(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).to_scalar_bytes()
}
