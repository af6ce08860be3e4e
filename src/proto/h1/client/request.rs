//! A request's head to bytes.
//!
//! Names and values are of types that cannot hold a line's end, and the target is checked, so that nothing can be injected
//! into a head.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request};

use super::super::fields::list;
use super::super::write::write_field;
use super::connection::Client;
use super::exchange::{Asked, Exchange, Receiving, Sending};
use crate::proto::h2::{CommandError, Content, StreamKey, parse_length};

/// What the fields of a request mean to us.
#[derive(Default)]
struct Checked {
    length: Option<u64>,
    /// The connection is to be closed afterwards.
    closes: bool,
    upgrades: bool,
    te: bool,
}

/// How a request goes out.
struct Plan {
    asked: Asked,
    sending: Sending,
    chunked: bool,
    to_send: Content,
    /// There is no content.
    end: bool,
}

impl Client {
    /// Sends a request's head. `end`: there is no content.
    ///
    /// The target names the authority, which becomes the `host` field. Content of which `content-length` says nothing goes
    /// out in chunks. `connection` may ask for `close`; what else it has to say is said by itself. With an `upgrade` field,
    /// or CONNECT, content without a length is what goes through the tunnel that the answer opens.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing was sent then.
    pub fn request<B>(&mut self, request: &Request<B>, end: bool) -> Result<StreamKey, CommandError> {
        if self.request_room()? == 0 {
            return Err(CommandError::TooManyStreams);
        }
        let checked = check_fields(request)?;
        let target = target(request)?;
        let plan = plan(request, &checked, end)?;
        if plan.chunked && self.old {
            return Err(CommandError::UnknownLength);
        }
        self.tally.requests = self.tally.requests.wrapping_add(1);
        let begin = self.output.end();
        self.write_request(request, target, &checked, &plan);
        self.persists = !checked.closes;
        let exchange = Exchange {
            number: self.tally.requests,
            begin,
            receiving: Receiving::Head,
            sending: plan.sending,
            asked: plan.asked,
            head_only: request.method() == Method::HEAD,
            tunnel: false,
            held: true,
            answered: false,
            chunked: plan.chunked,
            to_send: plan.to_send,
            early: Bytes::new(),
            early_end: false,
            wants_room: false,
            unreleased: 0,
            list_bytes: 0,
            interims: 0,
        };
        let key = exchange.key();
        self.exchange = Some(exchange);
        self.timers.clocks.busy();
        Ok(key)
    }

    fn write_request<B>(&mut self, request: &Request<B>, target: &str, checked: &Checked, plan: &Plan) {
        self.write_lines(plan.end, |out| {
            for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\nhost: "] {
                out.extend_from_slice(part.as_bytes());
            }
            let authority = request.uri().authority().map_or("", |authority| authority.as_str());
            out.extend_from_slice(authority.as_bytes());
            out.extend_from_slice(b"\r\n");
            for (name, value) in request.headers() {
                // RFC 9110 §10.1.1: what is not there is not to be asked for.
                let left_out = *name == header::HOST
                    || *name == header::CONNECTION
                    || (*name == header::EXPECT && plan.end && is_continue(value));
                if !left_out {
                    write_field(name, value, out);
                }
            }
            if plan.chunked {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
            let options = [(checked.closes, "close"), (checked.upgrades, "upgrade"), (checked.te, "te")];
            let mut before = "connection: ";
            for (_said, option) in options.into_iter().filter(|(said, _option)| *said) {
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(option.as_bytes());
                before = ", ";
            }
            out.extend_from_slice(if before == ", " { b"\r\n\r\n" } else { b"\r\n" });
        });
    }
}

fn is_continue(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// The target as the request line has it (RFC 9112 §3.2): the path and query, or the authority of a CONNECT.
fn target<B>(request: &Request<B>) -> Result<&str, CommandError> {
    let uri = request.uri();
    let authority = uri.authority().ok_or(CommandError::Target)?;
    // RFC 9110 §4.2.4: user information is not sent.
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return Err(CommandError::Target);
    }
    let target = match *request.method() {
        Method::CONNECT => {
            authority.port().ok_or(CommandError::Target)?;
            authority.as_str()
        }
        _ => uri.path_and_query().map(|path| path.as_str()).filter(|path| !path.is_empty()).unwrap_or("/"),
    };
    // A URI may have letters that a request line has no place for.
    if target.bytes().all(|octet| octet.is_ascii_graphic()) { Ok(target) } else { Err(CommandError::Target) }
}

/// What the method, the fields and `end` say of the content, and of the answer.
fn plan<B>(request: &Request<B>, checked: &Checked, end: bool) -> Result<Plan, CommandError> {
    let connects = request.method() == Method::CONNECT;
    if (connects && checked.length.is_some()) || (end && checked.length.is_some_and(|length| length > 0)) {
        return Err(CommandError::ContentLength);
    }
    let asked = match *request.method() {
        Method::CONNECT => Asked::Connect,
        _ if checked.upgrades => {
            Asked::Upgrade(request.headers().get_all(header::UPGRADE).iter().cloned().collect())
        }
        _ => Asked::Content,
    };
    let for_tunnel = asked.is_tunnel() && checked.length.is_none();
    let sending = match (end, for_tunnel) {
        (true, _) => Sending::Ended,
        (false, true) => Sending::Undecided,
        (false, false) => Sending::Body,
    };
    let chunked = sending == Sending::Body && checked.length.is_none();
    let to_send = checked.length.map_or(Content::Free, Content::Remaining);
    Ok(Plan { asked, sending, chunked, to_send, end })
}

/// Checks fields that are to be sent. The framing is ours, and so is what concerns the connection but for the wish to
/// close it.
fn check_fields<B>(request: &Request<B>) -> Result<Checked, CommandError> {
    let mut checked = Checked::default();
    for (name, value) in request.headers() {
        let forbidden = match *name {
            header::CONTENT_LENGTH => {
                let length = parse_length(value).ok_or(CommandError::ContentLength)?;
                checked.length.replace(length).is_some()
            }
            header::CONNECTION => !options(value, &mut checked.closes),
            header::UPGRADE => {
                checked.upgrades = true;
                request.method() == Method::CONNECT
            }
            header::TE => {
                checked.te = true;
                // RFC 9112 §7.4: a coding that is offered has to be read.
                !value.as_bytes().eq_ignore_ascii_case(b"trailers")
            }
            header::HOST => {
                let authority = request.uri().authority();
                !authority.is_some_and(|it| value.as_bytes().eq_ignore_ascii_case(it.as_str().as_bytes()))
            }
            header::TRANSFER_ENCODING => true,
            _ => matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings"),
        };
        if forbidden {
            return Err(CommandError::ForbiddenField);
        }
    }
    Ok(checked)
}

/// Checks fields behind the content.
pub(super) fn check_trailers(trailers: &HeaderMap) -> Result<(), CommandError> {
    if super::super::fields::NOT_IN_TRAILERS.iter().any(|name| trailers.contains_key(name)) {
        return Err(CommandError::ForbiddenField);
    }
    Ok(())
}

/// Reads a `connection` field; whether it names only what is said by itself.
fn options(value: &HeaderValue, closes: &mut bool) -> bool {
    let known: [&[u8]; 3] = [b"keep-alive", b"upgrade", b"te"];
    list(value).all(|option| {
        let close = option.eq_ignore_ascii_case(b"close");
        *closes |= close;
        close || known.iter().any(|it| it.eq_ignore_ascii_case(option))
    })
}
