//! SHA-256, and what the Python package builds of it.

use std::slice::from_ref;

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

/// Blocks that are hashed one behind the other before any digest is looked at.
///
/// They do not depend on each other, and a processor works on two or three at a time if it may: a block that is written by
/// four octets and read by sixteen keeps it waiting until everything before has ended.
const ABREAST: usize = 8;

/// The digests of a key and 0, 1, 2 … behind it, XORed onto octets. Each is of one block, padding included: the key is put
/// into it once, and nothing is buffered.
pub(super) fn apply_key_stream(key: &[u8; DIGEST], octets: &mut [u8]) {
    let mut block = [0; 64];
    block[..DIGEST].copy_from_slice(key);
    block[36] = 0x80;
    block[62..].copy_from_slice(&(36u16 * 8).to_be_bytes());
    let mut blocks = [GenericArray::from(block); ABREAST];
    let mut numbers = 0u32..;
    for pieces in octets.chunks_mut(DIGEST * ABREAST) {
        for (block, number) in blocks.iter_mut().zip(&mut numbers) {
            block[32..36].copy_from_slice(&number.to_be_bytes());
        }
        let mut pads = [START; ABREAST];
        for (pad, block) in pads.iter_mut().zip(&blocks) {
            compress256(pad, from_ref(block));
        }
        xor(pieces, pads.as_flattened());
    }
}

/// XORs words, big-endian, onto no more octets than they have.
fn xor(octets: &mut [u8], words: &[u32]) {
    let (whole, rest) = octets.split_at_mut(octets.len() / 4 * 4);
    let (of_whole, of_rest) = words.split_at(whole.len() / 4);
    for (piece, word) in whole.chunks_exact_mut(4).zip(of_whole) {
        let octets = [piece[0], piece[1], piece[2], piece[3]];
        piece.copy_from_slice(&(u32::from_be_bytes(octets) ^ word).to_be_bytes());
    }
    let last = of_rest.first().map_or([0; 4], |word| word.to_be_bytes());
    rest.iter_mut().zip(last).for_each(|(octet, pad)| *octet ^= pad);
}

/// What the keys of single messages are derived from, for one purpose; what they have in common is hashed once.
#[derive(Clone)]
pub(super) struct Derivation {
    secret: [u8; DIGEST],
    purpose: [u8; DIGEST],
}

impl Derivation {
    pub(super) fn new(secret: &[u8], purpose: &[u8]) -> Derivation {
        Derivation { secret: sha256(&[secret]), purpose: sha256(&[purpose]) }
    }

    /// The key of the message with this nonce.
    pub(super) fn key(&self, nonce: &[u8]) -> [u8; DIGEST] {
        sha256(&[&self.secret, &sha256(&[nonce]), &self.purpose])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_stream_is_of_digests_of_key_and_number_whatever_the_length_is() {
        let key = sha256(&[b"a key"]);
        let stream: Vec<u8> = (0..20u32).flat_map(|number| sha256(&[&key, &number.to_be_bytes()])).collect();
        for length in 0..stream.len() {
            let mut octets = vec![0x5a; length];
            apply_key_stream(&key, &mut octets);
            let plain: Vec<u8> = octets.iter().zip(&stream).map(|(octet, pad)| octet ^ pad).collect();
            assert!(plain == vec![0x5a; length], "{length}");
        }
    }
}
