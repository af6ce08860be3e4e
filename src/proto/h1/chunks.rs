//! The chunked transfer coding as it is received (RFC 9112 §7.1).
//!
//! One octet after the other changes the state, so that it does not matter how the octets come in pieces, and nothing
//! of a chunk's line is kept but its number.

use http::StatusCode;

use super::refusal::Refusal;
use crate::limits;
use crate::proto::h2::Trip;

/// Where in the coding the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Digits of a chunk's size.
    Size {
        value: u64,
        digits: u8,
    },
    /// Blanks behind the size, which only an extension may follow.
    Blank {
        value: u64,
    },
    Extension {
        value: u64,
        quoted: Quoted,
    },
    /// The CR of a chunk's line was read.
    LineEnd {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The last chunk was read: the trailer section, which others read.
    Trailers,
}

/// How far a quoted string of an extension has come: a semicolon in it means nothing (RFC 9110 §5.6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoted {
    No,
    Yes,
    /// Behind a backslash.
    Pair,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    place: Place,
    /// Octets of extensions that may still come.
    extensions: u32,
}

/// What the octets that were read come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More octets are needed.
    Nothing,
    /// This many octets of content come next.
    Content(u64),
    /// The trailer section comes next.
    Trailers,
}

impl Chunks {
    pub(super) fn new() -> Chunks {
        Chunks { place: Place::Size { value: 0, digits: 0 }, extensions: limits::H1_CHUNK_EXTENSION_BYTES }
    }

    /// Whether the peer may be silent: no chunk has begun.
    pub(super) fn is_between(&self) -> bool {
        self.place == Place::Size { value: 0, digits: 0 }
    }

    /// Reads up to the next content or the trailers; returns also how many octets were used up.
    pub(super) fn read(&mut self, octets: &[u8]) -> Result<(usize, Found), Refusal> {
        for (used, &octet) in octets.iter().enumerate() {
            match self.place {
                Place::Data { left } => return Ok((used, Found::Content(left))),
                Place::Trailers => return Ok((used, Found::Trailers)),
                place => self.place = self.step(place, octet)?,
            }
        }
        let over = self.place == Place::Trailers;
        Ok((octets.len(), if over { Found::Trailers } else { Found::Nothing }))
    }

    /// Notes content that was taken.
    pub(super) fn took(&mut self, n: u64) {
        if let Place::Data { left } = self.place {
            let left = left.saturating_sub(n);
            self.place = if left == 0 { Place::DataCr } else { Place::Data { left } };
        }
    }

    fn step(&mut self, place: Place, octet: u8) -> Result<Place, Refusal> {
        match (place, octet) {
            (Place::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 16 {
                    return Err(Refusal::bad("a chunk's size does not fit 64 bits"));
                }
                let digit = (octet as char).to_digit(16).unwrap_or(0);
                Ok(Place::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
            }
            (Place::Size { digits: 0, .. }, _) => Err(Refusal::bad("a chunk has no size")),
            (Place::Size { value, .. }, b'\r') => Ok(Place::LineEnd { value }),
            (Place::Size { value, .. } | Place::Blank { value }, b';') => {
                self.charge()?;
                Ok(Place::Extension { value, quoted: Quoted::No })
            }
            (Place::Size { value, .. } | Place::Blank { value }, b' ' | b'\t') => {
                self.charge()?;
                Ok(Place::Blank { value })
            }
            (Place::Size { .. } | Place::Blank { .. }, _) => Err(Refusal::bad("a chunk's size is no number")),
            (Place::Extension { value, quoted: Quoted::No }, b'\r') => Ok(Place::LineEnd { value }),
            (Place::Extension { value, quoted }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.charge()?;
                Ok(Place::Extension { value, quoted: quoted.after(octet) })
            }
            (Place::Extension { .. }, _) => Err(Refusal::bad("a chunk extension has a control character")),
            (Place::LineEnd { value: 0 }, b'\n') => Ok(Place::Trailers),
            (Place::LineEnd { value }, b'\n') => Ok(Place::Data { left: value }),
            (Place::LineEnd { .. }, _) => Err(Refusal::bad("a chunk's line does not end in CRLF")),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => Ok(Place::Size { value: 0, digits: 0 }),
            (Place::DataCr | Place::DataLf, _) => Err(Refusal::bad("a chunk does not end in CRLF")),
            (Place::Data { .. } | Place::Trailers, _) => Ok(place),
        }
    }

    /// Counts an octet of extensions. They mean nothing to us, and cost the peer little (RFC 9112 §7.1.1).
    fn charge(&mut self) -> Result<(), Refusal> {
        let left = self.extensions.checked_sub(1);
        self.extensions = left.ok_or(Refusal::bound(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the chunk extensions are too long",
            Trip::GlitchFlood,
        ))?;
        Ok(())
    }
}

impl Quoted {
    fn after(self, octet: u8) -> Quoted {
        match (self, octet) {
            (Quoted::No, b'"') => Quoted::Yes,
            (Quoted::No, _) | (Quoted::Yes, b'"') => Quoted::No,
            (Quoted::Yes, b'\\') => Quoted::Pair,
            (Quoted::Yes | Quoted::Pair, _) => Quoted::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a chunked message, and what follows its last chunk.
    fn decode(mut octets: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
        let (mut chunks, mut content) = (Chunks::new(), Vec::new());
        loop {
            let (used, found) = chunks.read(octets).map_err(|refusal| refusal.text)?;
            octets = &octets[used..];
            match found {
                Found::Nothing => return Err("incomplete"),
                Found::Trailers => return Ok((content, octets)),
                Found::Content(left) => {
                    let n = octets.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    content.extend_from_slice(&octets[..n]);
                    octets = &octets[n..];
                    chunks.took(n as u64);
                }
            }
        }
    }

    #[test]
    fn chunks_extensions_and_leading_zeros_are_read() {
        let all = b"5\r\nhello\r\n006 ; a=\"x;\\\"y\" ;b\r\n world\r\n0\r\nx: y\r\n\r\n";
        assert_eq!(decode(all), Ok((b"hello world".to_vec(), &b"x: y\r\n\r\n"[..])));
        assert_eq!(decode(b"A\r\n0123456789\r\n0\r\n"), Ok((b"0123456789".to_vec(), &b""[..])));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for (octets, text) in [
            (&b"\r\n"[..], "a chunk has no size"),
            (b"x\r\n", "a chunk has no size"),
            (b"-1\r\n", "a chunk has no size"),
            (b" 5\r\n", "a chunk has no size"),
            (b"0x5\r\n", "a chunk's size is no number"),
            (b"5 \r\n", "a chunk's size is no number"),
            (b"5\n", "a chunk's size is no number"),
            (b"5\rx", "a chunk's line does not end in CRLF"),
            (b"5\r\nhelloX", "a chunk does not end in CRLF"),
            (b"5\r\nhello\n", "a chunk does not end in CRLF"),
            (b"5\r\nhello\rX", "a chunk does not end in CRLF"),
            (b"5;a\0\r\n", "a chunk extension has a control character"),
            (b"5;a\n", "a chunk extension has a control character"),
            (b"5;a=\"\r\n", "a chunk extension has a control character"),
            (b"10000000000000000\r\n", "a chunk's size does not fit 64 bits"),
        ] {
            assert_eq!(decode(octets), Err(text), "{:?}", String::from_utf8_lossy(octets));
        }
    }

    #[test]
    fn extensions_are_bounded_over_the_whole_message() {
        let chunk = format!("1;{}\r\nx\r\n", "a".repeat(1000));
        let long = chunk.repeat(limits::H1_CHUNK_EXTENSION_BYTES as usize / 1000 + 1);
        assert_eq!(decode(long.as_bytes()), Err("the chunk extensions are too long"));
    }
}
