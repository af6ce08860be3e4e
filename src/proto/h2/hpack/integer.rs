//! Prefixed integers (RFC 7541 §5.1).
//!
//! A value that does not fit 32 bits is an error: no index, length or table size that we accept comes near
//! it, so an encoding that long is either an attack or a bug.

use super::DecodeError;

/// Takes an integer whose first octet keeps `prefix` low bits, off the front of `input`.
///
/// Padding with zero continuation octets is legal but bounded: the fifth continuation octet must be the last.
#[inline]
pub(super) fn decode(input: &mut &[u8], prefix: u32) -> Result<u32, DecodeError> {
    let (&first, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
    *input = rest;
    let mask = u8::MAX >> (8 - prefix);
    let low = first & mask;
    if low < mask { Ok(u32::from(low)) } else { decode_rest(input, mask) }
}

fn decode_rest(input: &mut &[u8], mask: u8) -> Result<u32, DecodeError> {
    let mut value = u64::from(mask);
    for shift in [0, 7, 14, 21, 28] {
        let (&octet, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
        *input = rest;
        value += u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| DecodeError::IntegerOverflow);
        }
    }
    Err(DecodeError::IntegerOverflow)
}

/// Appends `value` with a prefix of `prefix` bits; `pattern` fills the bits of the first octet above it.
#[inline]
pub(super) fn encode(value: u32, prefix: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = u8::MAX >> (8 - prefix);
    match u8::try_from(value) {
        Ok(small) if small < mask => out.push(pattern | small),
        _ => encode_rest(value - u32::from(mask), pattern | mask, out),
    }
}

fn encode_rest(mut value: u32, first: u8, out: &mut Vec<u8>) {
    out.push(first);
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u32, prefix: u32) -> Vec<u8> {
        let mut out = Vec::new();
        encode(value, prefix, 0, &mut out);
        out
    }

    /// RFC 7541 appendix C.1.
    #[test]
    fn the_rfc_examples_hold_both_ways() {
        for (value, prefix, octets) in
            [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 8, &[0x2a])]
        {
            assert_eq!(encoded(value, prefix), octets);
            let mut input = octets;
            assert_eq!(decode(&mut input, prefix), Ok(value));
            assert!(input.is_empty());
        }
    }

    #[test]
    fn every_prefix_carries_the_borders() {
        for prefix in 4..=8 {
            let mask = (1u32 << prefix) - 1;
            for value in [0, 1, mask - 1, mask, mask + 1, mask + 127, mask + 128, 65_535, u32::MAX] {
                let octets = encoded(value, prefix);
                let mut input = &octets[..];
                assert_eq!(decode(&mut input, prefix), Ok(value), "{value} in {prefix} bits");
                assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn a_cut_integer_is_truncated() {
        for octets in [&[][..], &[0x1f], &[0x1f, 0x80], &[0x1f, 0xff, 0xff]] {
            assert_eq!(decode(&mut { octets }, 5), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn more_than_32_bits_overflow() {
        assert_eq!(
            decode(&mut &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f][..], 5),
            Err(DecodeError::IntegerOverflow)
        );
        assert_eq!(decode(&mut &[0x1f, 0xe0, 0xff, 0xff, 0xff, 0x0f][..], 5), Ok(u32::MAX));
        let endless = [0x80; 16];
        assert_eq!(decode(&mut &[&[0x1f][..], &endless].concat()[..], 5), Err(DecodeError::IntegerOverflow));
    }
}
