//! HTTP/1 and HTTP/2: which of the machines it is, and how one takes over from another.

mod apart;
mod calls;
mod choice;

use std::sync::Arc;

use ::http::Version;

use crate::proto::{
    h1::{self, Http1},
    h2::{Config, Connection},
};

pub(in crate::http) use self::{
    apart::{
        breaks_off, hears_out, line, lingers, may_upgrade, respond, rests, resumes, set_date,
        shutdown_within, takes_end, was_unanswered,
    },
    calls::finish,
    choice::Choice,
};

/// The machine of a connection.
// HTTP/2 is the common case and not boxed; HTTP/1 takes what is left.
pub(in crate::http) enum Core {
    /// Also while it is not known which it is.
    Http2(Connection),
    Http1(Box<h1::Connection>),
    /// A client's end of HTTP/1.
    Http1Client(Box<h1::Client>),
}

/// What a server's builder was told of other versions.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Older(Option<Arc<Http1>>);

impl Older {
    /// They are spoken, too.
    pub(in crate::http) fn spoken(settings: Arc<Http1>) -> Older {
        Older(Some(settings))
    }

    /// What is spoken, by the names of ALPN.
    pub(in crate::http) fn protocols(&self) -> &'static [&'static [u8]] {
        // Who knows 1.0 alone, such as `curl --http1.0`, offers nothing else, and would not be let in (RFC 7301 §3.2).
        if self.0.is_some() { &[b"h2", b"http/1.1", b"http/1.0"] } else { &[b"h2"] }
    }

    /// Makes a server's end, of what ALPN has agreed on; where it has not, the client's first octets say what it speaks.
    pub(in crate::http) fn server(&self, config: Arc<Config>, agreed: Option<Version>, now: u64) -> Core {
        let mut core = match (agreed, &self.0) {
            (None | Some(Version::HTTP_2), _) | (Some(_), None) => Connection::server(config, now),
            (Some(_older), Some(settings)) => {
                return Core::Http1(Box::new(h1::Connection::server(config, settings.clone(), true, now)));
            }
        };
        if agreed == Some(Version::HTTP_2) {
            core.insist();
        } else if self.0.is_some() {
            core.leave_http1();
        }
        Core::Http2(core)
    }
}

/// Makes a client's end of a connection that speaks this version.
pub(in crate::http) fn client(config: Arc<Config>, version: Version, now: u64) -> Core {
    if version == Version::HTTP_2 {
        Core::Http2(Connection::client(config, now))
    } else {
        Core::Http1Client(Box::new(h1::Client::new(config, now)))
    }
}

/// The version that it speaks.
pub(in crate::http) fn version(core: &Core) -> Version {
    match core {
        Core::Http2(_) => Version::HTTP_2,
        Core::Http1(_) | Core::Http1Client(_) => Version::HTTP_11,
    }
}

/// Changes the version, as `Event::Http1` asks for; `false` when there is no other.
pub(in crate::http) fn switch(core: &mut Core, older: &Older, secure: bool, now: u64) -> bool {
    let Some(settings) = &older.0 else { return false };
    match core {
        Core::Http2(old) => {
            let mut new = Box::new(h1::Connection::server(old.config(), settings.clone(), secure, now));
            if let Some(log) = old.take_log() {
                new.log_frames(log);
            }
            new.receive(old.take_input());
            if old.is_leaving() {
                new.shutdown();
            }
            *core = Core::Http1(new);
        }
        Core::Http1(old) => {
            let Some(upgrade) = old.upgrade().take() else { return true };
            let Some(mut new) = Connection::upgraded(old.config(), now, upgrade.settings()) else {
                // It goes on with the request as if it had not been asked.
                *old.upgrade() = Some(upgrade);
                return true;
            };
            if let Some(log) = old.take_log() {
                new.log_upgraded(log);
            }
            new.begin_upgraded(upgrade.request);
            new.receive(old.take_input());
            *core = Core::Http2(new);
        }
        // It never asks for it.
        Core::Http1Client(_) => return false,
    }
    true
}

/// Whether it is HTTP/1.
#[inline]
pub(in crate::http) fn is_http1(core: &Core) -> bool {
    matches!(core, Core::Http1(_) | Core::Http1Client(_))
}

/// What is spoken, for people.
pub(in crate::http) fn name(core: &Core) -> &'static str {
    match core {
        Core::Http2(_) => "HTTP/2",
        Core::Http1(_) | Core::Http1Client(_) => "HTTP/1",
    }
}

/// What has a number in it.
pub(in crate::http) fn numbered(core: &Core) -> &'static str {
    match core {
        Core::Http2(_) => "HTTP/2 stream",
        Core::Http1(_) | Core::Http1Client(_) => "HTTP/1 request",
    }
}
