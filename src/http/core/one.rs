//! HTTP/2 alone.

use std::{sync::Arc, time::Duration};

use ::http::Version;

use crate::{
    http::date::Date,
    proto::h2::{CommandError, Config, Connection, ResponseHead, StreamKey},
};

/// The machine of a connection.
pub(in crate::http) type Core = Connection;

/// What a server's builder was told of other versions.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Older;

impl Older {
    /// What is spoken, by the names of ALPN.
    pub(in crate::http) fn protocols(&self) -> &'static [&'static [u8]] {
        &[b"h2"]
    }

    /// Makes a server's end, of what ALPN has agreed on.
    pub(in crate::http) fn server(&self, config: Arc<Config>, agreed: Option<Version>, now: u64) -> Core {
        let mut core = Connection::server(config, now);
        if agreed == Some(Version::HTTP_2) {
            core.insist();
        }
        core
    }
}

/// Changes the version, as `Event::Http1` asks for; `false` when there is no other.
pub(in crate::http) fn switch(_core: &mut Core, _older: &Older, _secure: bool, _now: u64) -> bool {
    false
}

/// Whether reading may go on that had to wait.
#[inline]
pub(in crate::http) fn resumes(_core: &Core) -> bool {
    false
}

/// Whether the socket's sending direction is to be ended; said once.
#[inline]
pub(in crate::http) fn takes_end(_core: &mut Core) -> bool {
    false
}

/// Goes away in good order, as a server that has `grace` for it; may be said again with a shorter one.
pub(in crate::http) fn shutdown_within(core: &mut Core, _grace: Duration) {
    core.shutdown();
}

/// Whether the socket must be reset, so that nobody takes what was sent for whole.
pub(in crate::http) fn breaks_off(_core: &Core) -> bool {
    false
}

/// Whether a client that still sends should be heard out for some time, so that it reads its last answer.
pub(in crate::http) fn hears_out(_core: &Core) -> bool {
    false
}

/// Begins an answer.
#[inline]
pub(in crate::http) fn respond(
    core: &mut Core,
    stream: StreamKey,
    head: ResponseHead<'_>,
    end: bool,
    _whole: bool,
) -> Result<(), CommandError> {
    core.respond_with(stream, head, end)
}

/// The handler of a stream is gone. Tells whether it was the last, and whether there are events.
#[inline]
pub(in crate::http) fn finish(core: &mut Core, stream: StreamKey) -> (bool, bool) {
    core.finish(stream);
    (core.open_streams() == 0, core.has_events())
}

/// Whether it is HTTP/1.
#[inline]
pub(in crate::http) fn is_http1(_core: &Core) -> bool {
    false
}

/// What is spoken, for people.
pub(in crate::http) fn name(_core: &Core) -> &'static str {
    "HTTP/2"
}

/// What has a number in it.
pub(in crate::http) fn numbered(_core: &Core) -> &'static str {
    "HTTP/2 stream"
}

/// Method and target of a request, where they are still known.
pub(in crate::http) fn line(_core: &Core, _stream: StreamKey) -> Option<String> {
    None
}

/// Whether a 101 would open a tunnel.
#[inline]
pub(in crate::http) fn may_upgrade(_core: &Core, _stream: StreamKey) -> bool {
    false
}

/// Tells the date to a machine that makes answers of its own: this one makes none that have it.
#[inline]
pub(in crate::http) fn set_date(_core: &mut Core, _date: &Date, _now: u64) {}

/// Whether there is nothing to look at: that is what `poll_event` finds.
#[inline]
pub(in crate::http) fn rests(_core: &mut Core, _now: u64) -> bool {
    false
}

/// Whether the peer may still have to read our last words when its end of the socket is open.
#[inline]
pub(in crate::http) fn lingers(_core: &Core) -> bool {
    true
}

/// Which versions a client speaks.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) enum Choice {
    #[default]
    Newest,
}

impl Choice {
    /// What is spoken without being asked.
    pub(in crate::http) fn in_cleartext(self) -> Version {
        match self {
            Choice::Newest => Version::HTTP_2,
        }
    }
}

#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nobody asks without TLS"))]
impl Choice {
    /// What is offered over TLS, by the names of ALPN.
    pub(in crate::http) const OFFERED: &'static [&'static [u8]] = &[b"h2"];
    /// There is nothing older.
    pub(in crate::http) const OFFERED_OLDER: &'static [&'static [u8]] = Choice::OFFERED;

    pub(in crate::http) fn is_older(self) -> bool {
        match self {
            Choice::Newest => false,
        }
    }

    /// What is spoken after this answer by ALPN.
    pub(in crate::http) fn over_tls(
        self,
        chosen: Option<&[u8]>,
        _offered: impl Fn(&[u8]) -> bool,
    ) -> Option<Version> {
        (chosen == Some(b"h2")).then_some(Version::HTTP_2)
    }
}

/// Makes a client's end of a connection.
pub(in crate::http) fn client(config: Arc<Config>, _version: Version, now: u64) -> Core {
    Connection::client(config, now)
}

/// The version that it speaks.
pub(in crate::http) fn version(_core: &Core) -> Version {
    Version::HTTP_2
}

/// Whether the peer ended the connection without a word on this request: HTTP/2 has its own way to say so.
pub(in crate::http) fn was_unanswered(_core: &Core, _stream: StreamKey) -> bool {
    false
}
