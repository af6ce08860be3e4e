//! The static Huffman code (RFC 7541 §5.2 and appendix B), table-driven both ways.
//!
//! Decoding looks at the next `PRIMARY_BITS` bits at once: an entry gives one symbol or, when two whole codes
//! lie within those bits, two, and most texts are made of such pairs. What limits it is the chain from one
//! look-up to the next: so the bits that refill the window are loaded a round of look-ups ahead, what a round
//! yields is gathered in a register and stored once, and a round is checked for a long code only at its end,
//! because a long code's entry consumes nothing. Long codes (rare octets) fall back on the code being canonical:
//! within one length the codes are consecutive numbers, so a compare per length finds the symbol.
//!
//! Bits are held complemented. Padding consists of ones, so that past the end a shift brings in what legal
//! padding looks like. No short code consists of ones, so the look-ups stop at the padding by themselves, and the end
//! needs no loop of its own: what is left then must be fewer than eight bits, all of them padding, and a code that has
//! taken bits from behind the end was none.

use super::DecodeError;

const EOS: usize = 256;

/// How many bits one look-up covers: two codes of six bits. The table has 16 KiB.
const PRIMARY_BITS: u32 = 12;
const PRIMARY_SIZE: usize = 1 << PRIMARY_BITS;

/// Look-ups between two refills of the window.
const ROUND: u32 = 4;

// The window has 64 bits when a round begins, and what refills it has 57.
const _: () = assert!(ROUND * PRIMARY_BITS <= 57);

/// The shortest code has five bits, the longest thirty.
const MIN_CODE_BITS: usize = 5;
const MAX_CODE_BITS: usize = 30;

/// One or two symbols and the bits of their codes; nothing at all for a code that is longer than the look-up.
///
/// From the lowest bit: 8 bits the length of all codes (a shift takes them as they are), 8 bits the length of the symbols,
/// 16 bits the symbols. So the sum of a round's entries has both lengths of the round.
#[derive(Clone, Copy)]
struct Entry(u32);

// Neither sum grows into what is beside it, and a register holds the symbols of a round.
const _: () = assert!(ROUND * PRIMARY_BITS < 1 << 8 && ROUND * 16 <= u64::BITS);

impl Entry {
    const NONE: Entry = Entry(0);

    const fn one(symbol: u8, bits: u8) -> Entry {
        Entry(bits as u32 | 8 << 8 | (symbol as u32) << 16)
    }

    const fn and(self, second: Entry) -> Entry {
        let bits = self.bits() + second.bits();
        Entry(bits | 16 << 8 | self.symbols() << 16 | second.symbols() << 24)
    }

    const fn bits(self) -> u32 {
        self.0 & 0xff
    }

    const fn is_one(self) -> bool {
        self.length() == 8
    }

    /// Bits of the symbols.
    const fn length(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    const fn symbols(self) -> u32 {
        self.0 >> 16
    }
}

/// Indexed by complemented bits.
static PRIMARY: [Entry; PRIMARY_SIZE] = primary_table();
static LONG: LongCodes = long_codes();

const fn primary_table() -> [Entry; PRIMARY_SIZE] {
    let mut singles = [Entry::NONE; PRIMARY_SIZE];
    let mut symbol = 0;
    while symbol < EOS {
        let (code, bits) = CODES[symbol];
        if bits as u32 <= PRIMARY_BITS {
            let spare = PRIMARY_BITS - bits as u32;
            let first = (code << spare) as usize;
            let mut at = first;
            while at < first + (1 << spare) {
                singles[at] = Entry::one(symbol as u8, bits);
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut table = [Entry::NONE; PRIMARY_SIZE];
    let mut at = 0;
    while at < PRIMARY_SIZE {
        let first = singles[at];
        let second = singles[(at << first.bits()) & (PRIMARY_SIZE - 1)];
        let pair = first.is_one() && second.is_one() && first.bits() + second.bits() <= PRIMARY_BITS;
        table[!at & (PRIMARY_SIZE - 1)] = if pair { first.and(second) } else { first };
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
pub const fn max_decoded_len(encoded: usize) -> usize {
    encoded * 8 / MIN_CODE_BITS
}

/// Slack behind the decoded octets that [`decode`] may write to: it stores eight octets at a time, and may have taken one
/// for a symbol whose last bits are padding before it sees that the string has come to its end.
pub(super) const DECODE_SLACK: usize = 9;

/// Decodes `input` into `out` and returns the length.
///
/// `out` must have room for [`max_decoded_len`] octets and nine more.
///
/// # Errors
///
/// EOS, or wrong padding.
///
/// # Panics
///
/// When `out` is too short.
pub fn decode(input: &[u8], out: &mut [u8]) -> Result<usize, DecodeError> {
    let mut reader = Reader { input, last: last_word(input), at: 0 };
    let mut written = 0;
    let mut window = reader.window();
    loop {
        // Loaded before it is needed, so that no look-up waits for it.
        let ahead = reader.ahead();
        let (mut entry, mut sum, mut text) = (Entry::NONE, Entry(0), 0);
        for _ in 0..ROUND {
            entry = PRIMARY[(window >> (64 - PRIMARY_BITS)) as usize];
            window <<= entry.bits() & 63;
            text |= u64::from(entry.symbols()) << (sum.0 >> 8 & 63);
            sum = Entry(sum.0.wrapping_add(entry.0));
        }
        out[written..written + 8].copy_from_slice(&text.to_le_bytes());
        written += (sum.length() / 8) as usize;
        reader.at += sum.bits() as usize;
        if entry.length() > 0 {
            window |= ahead >> (64 - sum.bits());
            continue;
        }
        // Padding stops the look-ups as a long code does.
        match reader.left() {
            Some(8..) => {
                out[written] = reader.long_symbol()?;
                written += 1;
                window = reader.window();
            }
            Some(_) if window == 0 => return Ok(written),
            Some(_) | None => return Err(DecodeError::InvalidHuffman),
        }
    }
}

/// Where in the string the decoder is.
struct Reader<'a> {
    input: &'a [u8],
    /// The last eight octets, fewer if there are fewer.
    last: u64,
    /// Bits consumed.
    at: usize,
}

impl Reader<'_> {
    /// Bits that are left; `None` when a code took more than there were.
    fn left(&self) -> Option<usize> {
        (self.input.len() * 8).checked_sub(self.at)
    }

    /// Eight octets from `octet` on, complemented, and zeros, which are padding, behind the last.
    #[inline(always)]
    fn word(&self, octet: usize) -> u64 {
        match self.input.get(octet..).and_then(<[u8]>::first_chunk) {
            Some(chunk) => !u64::from_be_bytes(*chunk),
            None => {
                let missing = (octet + 8 - self.input.len()) as u32 * 8;
                (!self.last).checked_shl(missing).unwrap_or(0)
            }
        }
    }

    /// The next 64 bits.
    fn window(&self) -> u64 {
        let octet = self.at / 8;
        let ninth = self.word(octet + 8) >> 56;
        self.word(octet) << (self.at % 8) | ninth >> (8 - self.at % 8)
    }

    /// The 57 bits at least that follow the next 64.
    #[inline(always)]
    fn ahead(&self) -> u64 {
        self.word(self.at / 8 + 8) << (self.at % 8)
    }

    /// Decodes one symbol whose code is longer than a look-up.
    #[cold]
    fn long_symbol(&mut self) -> Result<u8, DecodeError> {
        let (symbol, bits) = find_long_symbol((!self.window() >> 32) as u32);
        let symbol = u8::try_from(symbol).map_err(|_| DecodeError::InvalidHuffman)?;
        self.at += bits as usize;
        // A code that goes on behind the end is cut off.
        self.left().map(|_| symbol).ok_or(DecodeError::InvalidHuffman)
    }
}

/// The last eight octets of `input`, or all of them in the low bits.
#[inline]
fn last_word(input: &[u8]) -> u64 {
    if let Some(chunk) = input.last_chunk() {
        return u64::from_be_bytes(*chunk);
    }
    match (input.first_chunk(), input.last_chunk()) {
        (Some(head), Some(tail)) => {
            let shift = (input.len() - 4) * 8;
            u64::from(u32::from_be_bytes(*head)) << shift | u64::from(u32::from_be_bytes(*tail))
        }
        _ => input.iter().fold(0, |word, &octet| word << 8 | u64::from(octet)),
    }
}

/// Finds the code at the top of `window` by its length; `EOS` is a symbol here.
fn find_long_symbol(window: u32) -> (u16, u32) {
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
pub fn encode(text: &[u8], out: &mut Vec<u8>) {
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
