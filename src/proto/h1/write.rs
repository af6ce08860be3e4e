//! What both ends write alike: a field, and content as its framing has it.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

use crate::limits;
use crate::proto::h2::Output;

#[inline]
pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a piece of content, as a chunk where that is how it goes; an empty piece is none, and ends nothing.
pub(super) fn write_content(output: &mut Output, data: Bytes, chunked: bool) {
    if data.is_empty() {
        return;
    }
    if chunked {
        output.append(|out| write_hex(data.len(), out));
    }
    if data.len() <= limits::H2_COPY_BYTES {
        output.copy(&data);
    } else {
        output.splice(data);
    }
    if chunked {
        output.copy(b"\r\n");
    }
}

/// A chunk's line.
fn write_hex(length: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        let digit = (length >> (4 * at) & 0xf) as u8;
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::write_hex;

    #[test]
    fn a_chunks_line_is_its_length_in_hex() {
        for length in [0, 1, 9, 10, 15, 16, 255, 4096, 65_536, usize::MAX] {
            let mut out = Vec::new();
            write_hex(length, &mut out);
            assert_eq!(out, format!("{length:x}\r\n").into_bytes());
        }
    }
}
