//! SHA-256, and what the Python package builds of it.

use sha2::{Digest, Sha256, compress256, digest::generic_array::GenericArray};

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

/// What SHA-256 begins with (FIPS 180-4 §5.3.3).
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The digests of a key and 0, 1, 2 … behind it, XORed onto octets. Each is of one block, padding included: the key is put
/// into it once, and nothing is buffered.
pub(super) fn apply_key_stream(key: &[u8; DIGEST], octets: &mut [u8]) {
    let mut block = [0; 64];
    block[..DIGEST].copy_from_slice(key);
    block[36] = 0x80;
    block[62..].copy_from_slice(&(36u16 * 8).to_be_bytes());
    for (piece, number) in octets.chunks_mut(DIGEST).zip(0u32..) {
        block[32..36].copy_from_slice(&number.to_be_bytes());
        let mut state = START;
        compress256(&mut state, &[GenericArray::from(block)]);
        let mut pad = [0; DIGEST];
        pad.chunks_exact_mut(4)
            .zip(state)
            .for_each(|(octets, word)| octets.copy_from_slice(&word.to_be_bytes()));
        piece.iter_mut().zip(pad).for_each(|(octet, pad)| *octet ^= pad);
    }
}

/// A key for one message and one purpose.
pub(super) fn derive_key(secret: &[u8], nonce: &[u8], purpose: &[u8]) -> [u8; DIGEST] {
    sha256(&[&sha256(&[secret]), &sha256(&[nonce]), &sha256(&[purpose])])
}
