//! Frame heads: the nine bytes before every payload, and the fixed layouts of the small frames.
//!
//! Frames are read where they lie: [`Head::parse`] looks at nine borrowed bytes, the payload stays a slice of
//! the received block. Nothing here keeps state or decides what a frame means.

use super::error::Reason;

/// Length of a frame head (RFC 9113 §4.1).
pub(super) const HEAD_LEN: usize = 9;

/// What a client sends first (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// END_STREAM on DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// ACK on SETTINGS and PING.
pub(super) const ACK: u8 = 0x1;
/// END_HEADERS on HEADERS, PUSH_PROMISE and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
/// PADDED on DATA, HEADERS and PUSH_PROMISE.
pub(super) const PADDED: u8 = 0x8;
/// PRIORITY on HEADERS.
pub(super) const PRIORITY: u8 = 0x20;

/// Frame type (RFC 9113 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Content of a message.
    Data,
    /// Opens a stream or ends it with trailers.
    Headers,
    /// Deprecated priority signal: checked and ignored.
    Priority,
    /// Ends a stream at once.
    RstStream,
    /// Parameters of the connection.
    Settings,
    /// Announces a pushed stream; never accepted here.
    PushPromise,
    /// Round trip and liveness.
    Ping,
    /// Ends the connection in good order.
    GoAway,
    /// Gives flow-control credit.
    WindowUpdate,
    /// Goes on with a header block.
    Continuation,
    /// Says where else an origin is served (RFC 7838 §4).
    AltSvc,
    /// Says for which origins the connection serves (RFC 8336).
    Origin,
    /// Says how urgent a stream is (RFC 9218 §7.1).
    PriorityUpdate,
    /// Anything else: ignored (RFC 9113 §5.5).
    Unknown(u8),
}

impl Kind {
    /// The type for a code.
    #[inline]
    pub(super) const fn from_code(code: u8) -> Kind {
        match code {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::GoAway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            0xa => Kind::AltSvc,
            0xc => Kind::Origin,
            0x10 => Kind::PriorityUpdate,
            other => Kind::Unknown(other),
        }
    }

    /// The code on the wire.
    #[inline]
    pub(super) const fn code(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::RstStream => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::AltSvc => 0xa,
            Kind::Origin => 0xc,
            Kind::PriorityUpdate => 0x10,
            Kind::Unknown(code) => code,
        }
    }

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Data => "DATA",
            Kind::Headers => "HEADERS",
            Kind::Priority => "PRIORITY",
            Kind::RstStream => "RST_STREAM",
            Kind::Settings => "SETTINGS",
            Kind::PushPromise => "PUSH_PROMISE",
            Kind::Ping => "PING",
            Kind::GoAway => "GOAWAY",
            Kind::WindowUpdate => "WINDOW_UPDATE",
            Kind::Continuation => "CONTINUATION",
            Kind::AltSvc => "ALTSVC",
            Kind::Origin => "ORIGIN",
            Kind::PriorityUpdate => "PRIORITY_UPDATE",
            Kind::Unknown(_) => "unknown",
        }
    }
}

/// A frame head, read or to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Length of the payload in bytes, 24 bits.
    pub(super) length: u32,
    /// Frame type.
    pub(super) kind: Kind,
    /// Flags; bits that the type does not define are ignored.
    pub(super) flags: u8,
    /// Stream identifier, 31 bits; 0 is the connection.
    pub(super) stream: u32,
}

impl Head {
    /// Reads a head; the reserved bit of the stream identifier is ignored (RFC 9113 §4.1).
    #[inline]
    pub(super) fn parse(bytes: &[u8; HEAD_LEN]) -> Head {
        let [a, b, c, d, flags, e, f, g, h] = *bytes;
        let first = u32::from_be_bytes([a, b, c, d]);
        Head {
            length: first >> 8,
            kind: Kind::from_code(d),
            flags,
            stream: u32::from_be_bytes([e, f, g, h]) & MAX_STREAM_ID,
        }
    }

    /// The nine bytes.
    #[inline]
    pub(super) fn encode(self) -> [u8; HEAD_LEN] {
        let [a, b, c, d] = ((self.length << 8) | u32::from(self.kind.code())).to_be_bytes();
        let [e, f, g, h] = self.stream.to_be_bytes();
        [a, b, c, d, self.flags, e, f, g, h]
    }

    /// Whether a flag is set.
    #[inline]
    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Largest stream identifier, and largest window: both are 31 bits.
pub(super) const MAX_STREAM_ID: u32 = 0x7fff_ffff;

/// Reads a big-endian 32-bit number at `at`; the caller has checked the length.
#[inline]
pub(super) fn u32_at(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// What stands before the header block in a HEADERS payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadersLayout {
    /// Where the fragment starts in the payload.
    pub(super) start: usize,
    /// Where it ends (padding follows).
    pub(super) end: usize,
    /// The deprecated dependency, when the PRIORITY flag is set.
    pub(super) dependency: Option<u32>,
}

/// Finds the header block fragment of a HEADERS payload.
///
/// # Errors
///
/// A payload too short for its flags is FRAME_SIZE_ERROR, padding that eats the fragment is PROTOCOL_ERROR
/// (RFC 9113 §6.2).
#[inline]
pub(super) fn headers_layout(head: Head, payload: &[u8]) -> Result<HeadersLayout, (Reason, &'static str)> {
    let mut start = 0;
    let mut end = payload.len();
    let mut padding = 0;
    if head.has(PADDED) {
        let Some(&length) = payload.first() else {
            return Err((Reason::FRAME_SIZE_ERROR, "no room for the padding length"));
        };
        padding = usize::from(length);
        start = 1;
    }
    let mut dependency = None;
    if head.has(PRIORITY) {
        let Some(word) = u32_at(payload, start).filter(|_| payload.len() >= start + 5) else {
            return Err((Reason::FRAME_SIZE_ERROR, "no room for the priority fields"));
        };
        dependency = Some(word & MAX_STREAM_ID);
        start += 5;
    }
    if padding > end - start {
        return Err((Reason::PROTOCOL_ERROR, "padding longer than the payload"));
    }
    end -= padding;
    Ok(HeadersLayout { start, end, dependency })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_the_round_trip() {
        for code in 0..=255u8 {
            let head =
                Head { length: 0x00ab_cdef, kind: Kind::from_code(code), flags: 0x25, stream: 0x7fff_fff1 };
            assert_eq!(Head::parse(&head.encode()), head);
            assert_eq!(head.kind.code(), code);
        }
    }

    #[test]
    fn the_reserved_bit_of_the_stream_is_ignored() {
        let head = Head::parse(&[0, 0, 0, 0, 0, 0x80, 0, 0, 1]);
        assert_eq!(head.stream, 1);
    }

    #[test]
    fn layout_strips_padding_and_priority() {
        let head = Head { length: 0, kind: Kind::Headers, flags: PADDED | PRIORITY, stream: 1 };
        let payload = [2, 0x80, 0, 0, 3, 16, b'x', b'y', 0, 0];
        let layout = headers_layout(head, &payload).unwrap();
        assert_eq!((layout.start, layout.end, layout.dependency), (6, 8, Some(3)));
    }

    #[test]
    fn padding_may_fill_the_payload_but_not_pass_it() {
        let head = Head { length: 0, kind: Kind::Headers, flags: PADDED, stream: 1 };
        assert_eq!(headers_layout(head, &[2, 0, 0]).map(|l| l.end - l.start), Ok(0));
        assert_eq!(headers_layout(head, &[3, 0, 0]).unwrap_err().0, Reason::PROTOCOL_ERROR);
        assert_eq!(headers_layout(head, &[]).unwrap_err().0, Reason::FRAME_SIZE_ERROR);
    }

    #[test]
    fn a_short_priority_is_a_frame_size_error() {
        let head = Head { length: 0, kind: Kind::Headers, flags: PRIORITY, stream: 1 };
        assert_eq!(headers_layout(head, &[0, 0, 0, 0]).unwrap_err().0, Reason::FRAME_SIZE_ERROR);
    }
}
