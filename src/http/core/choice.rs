//! Which versions of HTTP a client speaks, and what that makes of ALPN.

use ::http::Version;

/// Which versions a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::http) enum Choice {
    /// In cleartext HTTP/2, and over TLS what the server prefers.
    #[default]
    Newest,
    /// In cleartext HTTP/1.1, and over TLS what the server prefers.
    OlderInCleartext,
    /// HTTP/1.1 alone.
    Older,
}

impl Choice {
    /// What is spoken without being asked.
    pub(in crate::http) fn in_cleartext(self) -> Version {
        match self {
            Choice::Newest => Version::HTTP_2,
            Choice::OlderInCleartext | Choice::Older => Version::HTTP_11,
        }
    }
}

#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody asks without TLS"))]
impl Choice {
    const HTTP1: &'static [u8] = b"http/1.1";
    /// What is offered over TLS, by the names of ALPN.
    pub(in crate::http) const OFFERED: &'static [&'static [u8]] = &[b"h2", Choice::HTTP1];
    /// The same of a client that speaks HTTP/1.1 alone.
    pub(in crate::http) const OFFERED_OLDER: &'static [&'static [u8]] = &[Choice::HTTP1];

    pub(in crate::http) fn is_older(self) -> bool {
        self == Choice::Older
    }

    /// What is spoken after this answer by ALPN. A server that knows none of it speaks HTTP/1.1, if that was offered.
    pub(in crate::http) fn over_tls(
        self,
        chosen: Option<&[u8]>,
        offered: impl Fn(&[u8]) -> bool,
    ) -> Option<Version> {
        match chosen {
            Some(b"h2") if self != Choice::Older => Some(Version::HTTP_2),
            Some(Choice::HTTP1) => Some(Version::HTTP_11),
            None if offered(Choice::HTTP1) => Some(Version::HTTP_11),
            Some(_) | None => None,
        }
    }
}
