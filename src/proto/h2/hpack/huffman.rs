//! The static Huffman code (RFC 7541 §5.2 and appendix B), table-driven both ways.
//!
//! Decoding looks at the next `PRIMARY_BITS` bits at once: an entry gives one symbol or, when two whole codes
//! lie within those bits, two. Longer codes (rare octets) fall back on the code being canonical: within one
//! length the codes are consecutive numbers, so a compare per length finds the symbol.
//!
//! Past the end the window is filled with ones, which is what legal padding looks like; a code that needs
//! more bits than there were is the end, and what is left must be fewer than eight ones.

use super::DecodeError;

const EOS: usize = 256;

/// How many bits one look-up covers.
const PRIMARY_BITS: u32 = 10;
const PRIMARY_SIZE: usize = 1 << PRIMARY_BITS;

/// The shortest code has five bits, the longest thirty.
const MIN_CODE_BITS: usize = 5;
const MAX_CODE_BITS: usize = 30;

/// Two symbols, the length of the first code and of both; lengths of 0 mean a code longer than the look-up.
#[derive(Clone, Copy)]
struct Entry {
    symbols: [u8; 2],
    first_bits: u8,
    all_bits: u8,
}

static PRIMARY: [Entry; PRIMARY_SIZE] = primary_table();
static LONG: LongCodes = long_codes();

const fn primary_table() -> [Entry; PRIMARY_SIZE] {
    let mut table = [Entry { symbols: [0; 2], first_bits: 0, all_bits: 0 }; PRIMARY_SIZE];
    let mut symbol = 0;
    while symbol < EOS {
        let (code, bits) = CODES[symbol];
        if bits as u32 <= PRIMARY_BITS {
            let spare = PRIMARY_BITS - bits as u32;
            let first = (code << spare) as usize;
            let mut at = first;
            while at < first + (1 << spare) {
                table[at] = Entry { symbols: [symbol as u8, 0], first_bits: bits, all_bits: bits };
                at += 1;
            }
        }
        symbol += 1;
    }
    let singles = table;
    let mut at = 0;
    while at < PRIMARY_SIZE {
        let first = singles[at];
        if first.first_bits != 0 {
            let second = singles[(at << first.first_bits) & (PRIMARY_SIZE - 1)];
            let all_bits = first.first_bits + second.first_bits;
            if second.first_bits != 0 && all_bits as u32 <= PRIMARY_BITS {
                table[at] = Entry {
                    symbols: [first.symbols[0], second.symbols[0]],
                    first_bits: first.first_bits,
                    all_bits,
                };
            }
        }
        at += 1;
    }
    table
}

/// The canonical code: all symbols in order of their codes, and where each length's codes begin and end.
struct LongCodes {
    symbols: [u16; EOS + 1],
    lengths: [LongLength; MAX_CODE_BITS + 1],
}

#[derive(Clone, Copy)]
struct LongLength {
    /// The first code of this length.
    first: u32,
    /// One past its last code, aligned to the top of 32 bits; 0 where there is no code of this length.
    end: u64,
    /// Where its symbols begin.
    offset: usize,
}

const fn long_codes() -> LongCodes {
    let mut symbols = [0u16; EOS + 1];
    let mut lengths = [LongLength { first: 0, end: 0, offset: 0 }; MAX_CODE_BITS + 1];
    let mut filled = 0;
    let mut bits = MIN_CODE_BITS;
    while bits <= MAX_CODE_BITS {
        let offset = filled;
        let mut first = u32::MAX;
        let mut symbol = 0;
        while symbol <= EOS {
            let (code, length) = CODES[symbol];
            if length as usize == bits {
                if first == u32::MAX {
                    first = code;
                }
                // Symbols ascend within a length, which makes the code canonical; the table would be wrong
                // otherwise, so check it while compiling.
                assert!(code == first + (filled - offset) as u32);
                symbols[filled] = symbol as u16;
                filled += 1;
            }
            symbol += 1;
        }
        if filled > offset {
            let end = (first as u64 + (filled - offset) as u64) << (32 - bits);
            lengths[bits] = LongLength { first, end, offset };
        }
        bits += 1;
    }
    LongCodes { symbols, lengths }
}

/// How many octets the decoded form of `encoded` octets can have at most.
pub(super) const fn max_decoded_len(encoded: usize) -> usize {
    encoded * 8 / MIN_CODE_BITS
}

/// Slack behind the decoded octets that [`decode`] may write to: it stores two symbols at a time.
pub(super) const DECODE_SLACK: usize = 1;

/// Decodes `input` into `out` and returns the length.
///
/// `out` must have room for [`max_decoded_len`] and [`DECODE_SLACK`] octets.
pub(super) fn decode(mut input: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    let mut written = 0;
    // The next bits of the string stand at the top; behind the last of them there are only ones.
    let mut window = u64::MAX;
    let mut bits = 0u32;
    loop {
        if bits < 32 {
            bits = refill(&mut input, &mut window, bits);
        }
        let entry = PRIMARY[(window >> (64 - PRIMARY_BITS)) as usize];
        let (symbols, used, count) = if entry.first_bits == 0 {
            let (symbol, used) = long_symbol((window >> 32) as u32);
            if used > bits {
                break;
            }
            let symbol = u8::try_from(symbol).map_err(|_| DecodeError::InvalidHuffman)?;
            ([symbol, 0], used, 1)
        } else if u32::from(entry.all_bits) <= bits {
            let count = 1 + usize::from(entry.all_bits != entry.first_bits);
            (entry.symbols, u32::from(entry.all_bits), count)
        } else if u32::from(entry.first_bits) <= bits {
            (entry.symbols, u32::from(entry.first_bits), 1)
        } else {
            break;
        };
        out[written..written + 2].copy_from_slice(&symbols);
        written += count;
        window = (window << used) | ((1 << used) - 1);
        bits -= used;
    }
    let padding_is_legal = bits < 8 && window == u64::MAX;
    if padding_is_legal { Ok(written) } else { Err(DecodeError::InvalidHuffman) }
}

/// Puts as many whole octets behind the `bits` valid ones as there is room and input for.
#[inline]
fn refill(input: &mut &[u8], window: &mut u64, mut bits: u32) -> u32 {
    if let Some((word, _)) = input.split_first_chunk::<8>() {
        // Everything below the valid bits is ones: replace it with the input's bits.
        let next = u64::from_be_bytes(*word);
        let octets = (63 - bits) / 8;
        let kept = !(u64::MAX >> bits);
        let filled = bits + octets * 8;
        *window = (*window & kept) | (next >> bits) | (u64::MAX >> filled);
        *input = &input[octets as usize..];
        return filled;
    }
    while bits <= 56 {
        let Some((&octet, rest)) = input.split_first() else { break };
        *input = rest;
        let shift = 56 - bits;
        *window &= !(u64::from(!octet) << shift);
        bits += 8;
    }
    bits
}

/// Finds the code at the top of `window` by its length; `EOS` is a symbol here.
#[cold]
fn long_symbol(window: u32) -> (u16, u32) {
    let mut bits = PRIMARY_BITS as usize + 1;
    while u64::from(window) >= LONG.lengths[bits].end && bits < MAX_CODE_BITS {
        bits += 1;
    }
    let length = &LONG.lengths[bits];
    let at = length.offset + ((window >> (32 - bits)) - length.first) as usize;
    (LONG.symbols[at], bits as u32)
}

/// The length of the Huffman form of `text`.
#[inline]
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&octet| usize::from(CODE_BITS[usize::from(octet)])).sum();
    bits.div_ceil(8)
}

/// Appends the Huffman form of `text`.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let mut window = 0u64;
    let mut bits = 0u32;
    for &octet in text {
        let (code, length) = CODES[usize::from(octet)];
        window = (window << length) | u64::from(code);
        bits += u32::from(length);
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((window >> bits) as u32).to_be_bytes());
        }
    }
    while bits >= 8 {
        bits -= 8;
        out.push((window >> bits) as u8);
    }
    if bits > 0 {
        // Padding is the beginning of EOS: ones.
        out.push((window << (8 - bits)) as u8 | (0xff >> bits));
    }
}

static CODE_BITS: [u8; EOS] = {
    let mut lengths = [0; EOS];
    let mut symbol = 0;
    while symbol < EOS {
        lengths[symbol] = CODES[symbol].1;
        symbol += 1;
    }
    lengths
};

/// Code and its length in bits, by symbol (RFC 7541 appendix B).
static CODES: [(u32, u8); EOS + 1] = [
    (0x1ff8, 13),
    (0x7fffd8, 23),
    (0xfffffe2, 28),
    (0xfffffe3, 28),
    (0xfffffe4, 28),
    (0xfffffe5, 28),
    (0xfffffe6, 28),
    (0xfffffe7, 28),
    (0xfffffe8, 28),
    (0xffffea, 24),
    (0x3ffffffc, 30),
    (0xfffffe9, 28),
    (0xfffffea, 28),
    (0x3ffffffd, 30),
    (0xfffffeb, 28),
    (0xfffffec, 28),
    (0xfffffed, 28),
    (0xfffffee, 28),
    (0xfffffef, 28),
    (0xffffff0, 28),
    (0xffffff1, 28),
    (0xffffff2, 28),
    (0x3ffffffe, 30),
    (0xffffff3, 28),
    (0xffffff4, 28),
    (0xffffff5, 28),
    (0xffffff6, 28),
    (0xffffff7, 28),
    (0xffffff8, 28),
    (0xffffff9, 28),
    (0xffffffa, 28),
    (0xffffffb, 28),
    (0x14, 6),
    (0x3f8, 10),
    (0x3f9, 10),
    (0xffa, 12),
    (0x1ff9, 13),
    (0x15, 6),
    (0xf8, 8),
    (0x7fa, 11),
    (0x3fa, 10),
    (0x3fb, 10),
    (0xf9, 8),
    (0x7fb, 11),
    (0xfa, 8),
    (0x16, 6),
    (0x17, 6),
    (0x18, 6),
    (0x0, 5),
    (0x1, 5),
    (0x2, 5),
    (0x19, 6),
    (0x1a, 6),
    (0x1b, 6),
    (0x1c, 6),
    (0x1d, 6),
    (0x1e, 6),
    (0x1f, 6),
    (0x5c, 7),
    (0xfb, 8),
    (0x7ffc, 15),
    (0x20, 6),
    (0xffb, 12),
    (0x3fc, 10),
    (0x1ffa, 13),
    (0x21, 6),
    (0x5d, 7),
    (0x5e, 7),
    (0x5f, 7),
    (0x60, 7),
    (0x61, 7),
    (0x62, 7),
    (0x63, 7),
    (0x64, 7),
    (0x65, 7),
    (0x66, 7),
    (0x67, 7),
    (0x68, 7),
    (0x69, 7),
    (0x6a, 7),
    (0x6b, 7),
    (0x6c, 7),
    (0x6d, 7),
    (0x6e, 7),
    (0x6f, 7),
    (0x70, 7),
    (0x71, 7),
    (0x72, 7),
    (0xfc, 8),
    (0x73, 7),
    (0xfd, 8),
    (0x1ffb, 13),
    (0x7fff0, 19),
    (0x1ffc, 13),
    (0x3ffc, 14),
    (0x22, 6),
    (0x7ffd, 15),
    (0x3, 5),
    (0x23, 6),
    (0x4, 5),
    (0x24, 6),
    (0x5, 5),
    (0x25, 6),
    (0x26, 6),
    (0x27, 6),
    (0x6, 5),
    (0x74, 7),
    (0x75, 7),
    (0x28, 6),
    (0x29, 6),
    (0x2a, 6),
    (0x7, 5),
    (0x2b, 6),
    (0x76, 7),
    (0x2c, 6),
    (0x8, 5),
    (0x9, 5),
    (0x2d, 6),
    (0x77, 7),
    (0x78, 7),
    (0x79, 7),
    (0x7a, 7),
    (0x7b, 7),
    (0x7ffe, 15),
    (0x7fc, 11),
    (0x3ffd, 14),
    (0x1ffd, 13),
    (0xffffffc, 28),
    (0xfffe6, 20),
    (0x3fffd2, 22),
    (0xfffe7, 20),
    (0xfffe8, 20),
    (0x3fffd3, 22),
    (0x3fffd4, 22),
    (0x3fffd5, 22),
    (0x7fffd9, 23),
    (0x3fffd6, 22),
    (0x7fffda, 23),
    (0x7fffdb, 23),
    (0x7fffdc, 23),
    (0x7fffdd, 23),
    (0x7fffde, 23),
    (0xffffeb, 24),
    (0x7fffdf, 23),
    (0xffffec, 24),
    (0xffffed, 24),
    (0x3fffd7, 22),
    (0x7fffe0, 23),
    (0xffffee, 24),
    (0x7fffe1, 23),
    (0x7fffe2, 23),
    (0x7fffe3, 23),
    (0x7fffe4, 23),
    (0x1fffdc, 21),
    (0x3fffd8, 22),
    (0x7fffe5, 23),
    (0x3fffd9, 22),
    (0x7fffe6, 23),
    (0x7fffe7, 23),
    (0xffffef, 24),
    (0x3fffda, 22),
    (0x1fffdd, 21),
    (0xfffe9, 20),
    (0x3fffdb, 22),
    (0x3fffdc, 22),
    (0x7fffe8, 23),
    (0x7fffe9, 23),
    (0x1fffde, 21),
    (0x7fffea, 23),
    (0x3fffdd, 22),
    (0x3fffde, 22),
    (0xfffff0, 24),
    (0x1fffdf, 21),
    (0x3fffdf, 22),
    (0x7fffeb, 23),
    (0x7fffec, 23),
    (0x1fffe0, 21),
    (0x1fffe1, 21),
    (0x3fffe0, 22),
    (0x1fffe2, 21),
    (0x7fffed, 23),
    (0x3fffe1, 22),
    (0x7fffee, 23),
    (0x7fffef, 23),
    (0xfffea, 20),
    (0x3fffe2, 22),
    (0x3fffe3, 22),
    (0x3fffe4, 22),
    (0x7ffff0, 23),
    (0x3fffe5, 22),
    (0x3fffe6, 22),
    (0x7ffff1, 23),
    (0x3ffffe0, 26),
    (0x3ffffe1, 26),
    (0xfffeb, 20),
    (0x7fff1, 19),
    (0x3fffe7, 22),
    (0x7ffff2, 23),
    (0x3fffe8, 22),
    (0x1ffffec, 25),
    (0x3ffffe2, 26),
    (0x3ffffe3, 26),
    (0x3ffffe4, 26),
    (0x7ffffde, 27),
    (0x7ffffdf, 27),
    (0x3ffffe5, 26),
    (0xfffff1, 24),
    (0x1ffffed, 25),
    (0x7fff2, 19),
    (0x1fffe3, 21),
    (0x3ffffe6, 26),
    (0x7ffffe0, 27),
    (0x7ffffe1, 27),
    (0x3ffffe7, 26),
    (0x7ffffe2, 27),
    (0xfffff2, 24),
    (0x1fffe4, 21),
    (0x1fffe5, 21),
    (0x3ffffe8, 26),
    (0x3ffffe9, 26),
    (0xffffffd, 28),
    (0x7ffffe3, 27),
    (0x7ffffe4, 27),
    (0x7ffffe5, 27),
    (0xfffec, 20),
    (0xfffff3, 24),
    (0xfffed, 20),
    (0x1fffe6, 21),
    (0x3fffe9, 22),
    (0x1fffe7, 21),
    (0x1fffe8, 21),
    (0x7ffff3, 23),
    (0x3fffea, 22),
    (0x3fffeb, 22),
    (0x1ffffee, 25),
    (0x1ffffef, 25),
    (0xfffff4, 24),
    (0xfffff5, 24),
    (0x3ffffea, 26),
    (0x7ffff4, 23),
    (0x3ffffeb, 26),
    (0x7ffffe6, 27),
    (0x3ffffec, 26),
    (0x3ffffed, 26),
    (0x7ffffe7, 27),
    (0x7ffffe8, 27),
    (0x7ffffe9, 27),
    (0x7ffffea, 27),
    (0x7ffffeb, 27),
    (0xffffffe, 28),
    (0x7ffffec, 27),
    (0x7ffffed, 27),
    (0x7ffffee, 27),
    (0x7ffffef, 27),
    (0x7fffff0, 27),
    (0x3ffffee, 26),
    (0x3fffffff, 30),
];
