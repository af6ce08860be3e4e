//! ALTSVC (RFC 7838 §4) and ORIGIN (RFC 8336): what a server says about where else, and for whom else, it serves.
//!
//! Both are advice: whatever is out of place is ignored unread, as their RFCs demand; only a payload in its place that is
//! too short for the lengths in it is an error (RFC 9113 §4.2).

use http::Uri;
use http::header::HeaderValue;

use super::connection::{Connection, Found, Phase, Role};
use super::error::{CommandError, Fault};
use super::event::Event;
use super::frame::{Head, Kind};
use super::stream::{Sending, StreamKey};
use crate::limits;

/// Flags of ORIGIN whose meaning is to be defined: a frame that has one of them is ignored (RFC 8336 §2.2).
const ORIGIN_RESERVED: u8 = 0x0f;

impl Connection {
    /// Says where else an origin is served (server): an ALTSVC frame. `value` is that of an `alt-svc` field.
    ///
    /// # Errors
    ///
    /// [`CommandError::Target`] when `origin` is no origin, [`CommandError::Busy`] before the client's preface.
    pub fn advertise(&mut self, origin: &str, value: &HeaderValue) -> Result<(), CommandError> {
        if !is_origin(origin) {
            return Err(CommandError::Target);
        }
        self.write_alt_svc(0, origin, value)
    }

    /// Says where else the origin of this stream's request is served (server).
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn advertise_on(&mut self, stream: StreamKey, value: &HeaderValue) -> Result<(), CommandError> {
        let target = self.streams.get(stream).filter(|stream| stream.held && !stream.is_closed());
        let target = target.ok_or(CommandError::StreamGone)?;
        if target.sending == Sending::Ended {
            // Nothing follows END_STREAM (RFC 9113 §5.1).
            return Err(CommandError::WrongState);
        }
        let id = target.id;
        self.write_alt_svc(id, "", value)
    }

    fn write_alt_svc(&mut self, stream: u32, origin: &str, value: &HeaderValue) -> Result<(), CommandError> {
        match (self.phase, self.role) {
            (Phase::Dead, _) => return Err(CommandError::ConnectionClosed),
            (_, Role::Client) => return Err(CommandError::WrongRole),
            (Phase::Preface, _) => return Err(CommandError::Busy),
            (Phase::FirstSettings | Phase::Open, Role::Server) => {}
        }
        let payload = alt_svc(origin, value).ok_or(CommandError::ForbiddenField)?;
        self.write_frame(Kind::AltSvc, 0, stream, &payload);
        Ok(())
    }

    /// Sends what the configuration has to say, behind our SETTINGS.
    #[cold]
    pub(super) fn advise(&mut self) {
        let config = self.config.clone();
        for payload in origin_sets(&config.origins) {
            self.write_frame(Kind::Origin, 0, 0, &payload);
        }
        for (origin, value) in &config.alt_svc {
            if let Some(payload) = alt_svc(origin, value).filter(|_| is_origin(origin)) {
                self.write_frame(Kind::AltSvc, 0, 0, &payload);
            }
        }
    }

    #[cold]
    pub(super) fn on_alt_svc(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        self.charge_glitch()?;
        // A server is not told such things (RFC 7838 §4).
        if self.role == Role::Server {
            return Ok(());
        }
        let Some((origin, value)) = entry(payload) else {
            return Err(Fault::size("ALTSVC is shorter than its origin"));
        };
        // On a stream the origin is the stream's.
        if origin.is_empty() == (head.stream == 0) {
            return Ok(());
        }
        let stream = match head.stream {
            0 => None,
            id => {
                match self.streams.find(id).filter(|&key| self.streams.get(key).is_some_and(|it| it.held)) {
                    Some(key) => Some(key),
                    None => return Ok(()),
                }
            }
        };
        let origin = std::str::from_utf8(origin).ok().filter(|origin| stream.is_some() || is_origin(origin));
        if let (Some(origin), Ok(value)) = (origin, HeaderValue::from_bytes(value)) {
            *out = Some(Event::AltSvc { stream, origin: origin.to_owned(), value });
        }
        Ok(())
    }

    #[cold]
    pub(super) fn on_origin(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        self.charge_glitch()?;
        if self.role == Role::Server || head.stream != 0 || head.flags & ORIGIN_RESERVED != 0 {
            return Ok(());
        }
        let mut origins = Vec::new();
        let mut rest = payload;
        while !rest.is_empty() {
            let Some((origin, after)) = entry(rest) else {
                return Err(Fault::size("ORIGIN ends inside an origin"));
            };
            rest = after;
            // One that cannot be read is passed over (RFC 8336 §2.2).
            if let Some(origin) = std::str::from_utf8(origin).ok().filter(|origin| is_origin(origin)) {
                origins.push(origin.to_owned());
            }
        }
        *out = Some(Event::Origins { origins });
        Ok(())
    }
}

/// Splits off a text that its length of two bytes stands before.
fn entry(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn put_entry(payload: &mut Vec<u8>, text: &str) -> Option<()> {
    payload.extend_from_slice(&u16::try_from(text.len()).ok()?.to_be_bytes());
    payload.extend_from_slice(text.as_bytes());
    Some(())
}

/// The payload of an ALTSVC frame, if it fits one.
fn alt_svc(origin: &str, value: &HeaderValue) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(2 + origin.len() + value.len());
    put_entry(&mut payload, origin)?;
    payload.extend_from_slice(value.as_bytes());
    (payload.len() <= limits::H2_FRAME_BYTES as usize).then_some(payload)
}

/// The payloads of ORIGIN frames for a set: each adds to it.
fn origin_sets(origins: &[String]) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    for origin in origins.iter().filter(|origin| is_origin(origin)) {
        let length = 2 + origin.len();
        match payloads.last_mut() {
            Some(last) if last.len() + length <= limits::H2_FRAME_BYTES as usize => {
                put_entry(last, origin);
            }
            Some(_) | None => {
                let mut payload = Vec::with_capacity(length);
                if put_entry(&mut payload, origin).is_some() && length <= limits::H2_FRAME_BYTES as usize {
                    payloads.push(payload);
                }
            }
        }
    }
    payloads
}

/// Whether a text is the ASCII serialization of an origin (RFC 6454 §6.2): scheme, host, and a port unless it is the
/// scheme's own.
pub(super) fn is_origin(text: &str) -> bool {
    let Ok(uri) = Uri::try_from(text) else { return false };
    let named = uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty());
    named && !text.contains(['@', '#']) && uri.query().is_none() && uri.path() == "/" && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port() {
        for good in ["https://a.example", "http://127.0.0.1:8080", "https://[::1]:443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "null",
            "a.example",
            "https://",
            "https://a/",
            "https://a/x",
            "https://a?x",
            "https://u@a",
            "https://a#x",
            "/x",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_large_set_takes_several_frames_and_what_is_no_origin_is_left_out() {
        let mut origins: Vec<String> = (0..2_000).map(|n| format!("https://host-{n}.example")).collect();
        origins.push("no origin".into());
        let payloads = origin_sets(&origins);
        assert!(payloads.len() > 1 && payloads.iter().all(|it| it.len() <= limits::H2_FRAME_BYTES as usize));
        let bytes: usize = payloads.iter().map(Vec::len).sum();
        assert_eq!(bytes, origins[..2_000].iter().map(|origin| 2 + origin.len()).sum::<usize>());
        assert!(origin_sets(&[]).is_empty());
    }
}
