//! The calls in which the machines differ: what one of them alone has, and what the others say to it.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Request, StatusCode};

use super::Core;
use crate::{
    http::date::Date,
    proto::h2::{CommandError, Priority, Reason, ResponseHead, StreamKey},
};

/// Whether reading may go on that had to wait.
#[inline]
pub(in crate::http) fn resumes(core: &Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.has_events(),
        Core::Http1Client(core) => core.has_events(),
    }
}

/// Whether there is nothing to look at, as between requests of HTTP/1: `poll_event` need not be called then.
#[inline]
pub(in crate::http) fn rests(core: &mut Core, now: u64) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.rests(now),
    }
}

/// Whether the socket's sending direction is to be ended; said once.
#[inline]
pub(in crate::http) fn takes_end(core: &mut Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.takes_end(),
        Core::Http1Client(core) => core.takes_end(),
    }
}

/// Whether the peer may still have to read our last words when its end of the socket is open: a client of HTTP/1 has none.
#[inline]
pub(in crate::http) fn lingers(core: &Core) -> bool {
    match core {
        Core::Http2(_) | Core::Http1(_) => true,
        Core::Http1Client(_) => false,
    }
}

/// Goes away in good order, as a server that has `grace` for it; may be said again with a shorter one.
pub(in crate::http) fn shutdown_within(core: &mut Core, grace: Duration) {
    match core {
        Core::Http2(core) => core.shutdown(),
        Core::Http1(core) => core.shutdown_within(grace),
        Core::Http1Client(core) => core.shutdown(),
    }
}

/// Whether the socket must be reset, so that nobody takes what was sent for whole.
pub(in crate::http) fn breaks_off(core: &Core) -> bool {
    match core {
        Core::Http2(_) => false,
        Core::Http1(core) => core.breaks_off(),
        Core::Http1Client(core) => core.breaks_off(),
    }
}

/// Whether a client that still sends should be heard out for some time, so that it reads its last answer.
pub(in crate::http) fn hears_out(core: &Core) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.hears_out(),
    }
}

/// Begins an answer. One that is `whole` does not depend on what is still to come of its request.
#[inline(always)]
pub(in crate::http) fn respond(
    core: &mut Core,
    stream: StreamKey,
    head: ResponseHead<'_>,
    end: bool,
    whole: bool,
) -> Result<(), CommandError> {
    match core {
        Core::Http2(core) => core.respond_with(stream, head, end),
        Core::Http1(core) => {
            if whole {
                core.answer_is_whole(stream);
            }
            core.respond_with(stream, head, end)
        }
        Core::Http1Client(_) => Err(CommandError::WrongRole),
    }
}

/// Method and target of a request, where they are still known.
pub(in crate::http) fn line(core: &Core, stream: StreamKey) -> Option<String> {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => None,
        Core::Http1(core) => core.line(stream),
    }
}

/// Whether a 101 would open a tunnel.
#[inline]
pub(in crate::http) fn may_upgrade(core: &Core, stream: StreamKey) -> bool {
    match core {
        Core::Http2(_) | Core::Http1Client(_) => false,
        Core::Http1(core) => core.may_upgrade(stream),
    }
}

/// Tells the date to a machine that makes answers of its own which have one.
#[inline]
pub(in crate::http) fn set_date(core: &mut Core, date: &Date, now: u64) {
    match core {
        Core::Http1(core) if core.needs_date(now) => core.set_date(date.at(now).clone(), date.stale_at()),
        Core::Http2(_) | Core::Http1(_) | Core::Http1Client(_) => {}
    }
}

/// Whether the peer ended the connection without a word on this request, although it had answered others.
pub(in crate::http) fn was_unanswered(core: &Core, stream: StreamKey) -> bool {
    match core {
        Core::Http2(_) | Core::Http1(_) => false,
        Core::Http1Client(core) => core.was_unanswered(stream),
    }
}

/// What servers say.
impl Core {
    #[inline]
    pub(in crate::http) fn inform(
        &mut self,
        stream: StreamKey,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.inform(stream, status, headers),
            Core::Http1(core) => core.inform(stream, status, headers),
            Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline]
    pub(in crate::http) fn shed(&mut self, stream: StreamKey, status: Option<StatusCode>) {
        match self {
            Core::Http2(core) => core.shed(stream, status),
            Core::Http1(core) => core.shed(stream),
            Core::Http1Client(_) => {}
        }
    }

    #[inline(always)]
    pub(in crate::http) fn recycle_head(&mut self, head: Box<Request<()>>) {
        match self {
            Core::Http2(core) => core.recycle_head(head),
            Core::Http1(core) => core.recycle_head(head),
            Core::Http1Client(_) => drop(head),
        }
    }

    #[inline(always)]
    pub(in crate::http) fn take_head(&mut self) -> Option<Box<Request<()>>> {
        match self {
            Core::Http2(core) => core.take_head(),
            Core::Http1(core) => core.take_head(),
            Core::Http1Client(_) => None,
        }
    }
}

/// What clients say, and ask.
impl Core {
    pub(in crate::http) fn request<B>(
        &mut self,
        request: &Request<B>,
        end: bool,
    ) -> Result<StreamKey, CommandError> {
        match self {
            Core::Http2(core) => core.request(request, end),
            Core::Http1(_) => Err(CommandError::WrongRole),
            Core::Http1Client(core) => core.request(request, end),
        }
    }

    #[inline]
    pub(in crate::http) fn request_room(&self) -> Result<usize, CommandError> {
        match self {
            Core::Http2(core) => core.request_room(),
            Core::Http1(_) => Err(CommandError::WrongRole),
            Core::Http1Client(core) => core.request_room(),
        }
    }

    #[inline]
    pub(in crate::http) fn detach(&mut self, stream: StreamKey) -> bool {
        match self {
            Core::Http2(core) => core.detach(stream),
            Core::Http1(_) => false,
            Core::Http1Client(core) => core.detach(stream),
        }
    }

    #[inline]
    pub(in crate::http) fn release_late(&mut self, n: usize) {
        match self {
            Core::Http2(core) => core.release_late(n),
            Core::Http1(_) => {}
            Core::Http1Client(core) => core.release_late(n),
        }
    }

    #[inline]
    pub(in crate::http) fn output_written(&self) -> u64 {
        match self {
            Core::Http2(core) => core.output_written(),
            Core::Http1(_) => 0,
            Core::Http1Client(core) => core.output_written(),
        }
    }

    #[inline]
    pub(in crate::http) fn output_end(&self) -> u64 {
        match self {
            Core::Http2(core) => core.output_end(),
            Core::Http1(_) => 0,
            Core::Http1Client(core) => core.output_end(),
        }
    }
}

/// What HTTP/2 has and HTTP/1 has not, or in other words.
impl Core {
    #[inline]
    pub(in crate::http) fn goaway(&mut self, reason: Reason, debug: &[u8]) {
        match self {
            Core::Http2(core) => core.goaway(reason, debug),
            Core::Http1(core) => core.goaway(),
            Core::Http1Client(core) => core.goaway(),
        }
    }

    pub(in crate::http) fn prioritize(
        &mut self,
        stream: StreamKey,
        priority: Priority,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.prioritize(stream, priority),
            Core::Http1(_) | Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline]
    pub(in crate::http) fn advertise_on(
        &mut self,
        stream: StreamKey,
        value: &HeaderValue,
    ) -> Result<(), CommandError> {
        match self {
            Core::Http2(core) => core.advertise_on(stream, value),
            Core::Http1(_) | Core::Http1Client(_) => Err(CommandError::WrongRole),
        }
    }

    #[inline]
    pub(in crate::http) fn takes_connect_protocol(&self) -> Option<bool> {
        match self {
            Core::Http2(core) => core.takes_connect_protocol(),
            Core::Http1(_) | Core::Http1Client(_) => Some(false),
        }
    }
}
