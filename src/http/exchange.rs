//! One request, from the handler's answer to the last frame.

use std::{future::poll_fn, rc::Rc};

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{
    http::{
        body::{Body, Frame, Kind},
        date::Date,
        wire::Wire,
    },
    proto::h2::{Reason, StreamKey},
    worker::context,
};

/// The right, and the duty, to answer one request.
///
/// Dropping it unanswered resets the stream: the handler panicked or was cancelled.
pub(super) struct Exchange {
    wire: Rc<Wire>,
    date: Rc<Date>,
    key: StreamKey,
    /// The request is a HEAD: the response's content is left out.
    head_only: bool,
    answered: bool,
}

impl Exchange {
    pub(super) fn new(wire: Rc<Wire>, date: Rc<Date>, key: StreamKey, head_only: bool) -> Self {
        Exchange { wire, date, key, head_only, answered: false }
    }

    /// Sends the response; ready when its content has been handed to the connection.
    pub(super) async fn answer(mut self, response: Response<Body>) {
        let (parts, body) = response.into_parts();
        let mut fields = parts.headers;
        self.complete_fields(parts.status, &mut fields, &body);
        let bodiless = self.head_only || !may_have_content(parts.status);
        let end = bodiless || body.is_empty();
        let head = self.wire.core.borrow_mut().respond(self.key, parts.status, &fields, end);
        if head.is_err() {
            // Either the stream is gone, or the handler made a field that HTTP/2 forbids: the drop says so.
            return;
        }
        if !end {
            match body.kind {
                Kind::Empty => {}
                Kind::Full(bytes) => {
                    if self.wire.core.borrow_mut().send_data(self.key, bytes, true).is_err() {
                        return;
                    }
                }
                kind @ (Kind::Incoming(_) | Kind::Streaming(_)) => {
                    self.wire.ask_flush();
                    if self.stream(Body { kind }).await.is_err() {
                        return;
                    }
                }
            }
        }
        self.answered = true;
    }

    /// Sends content piece by piece, each when there is room.
    async fn stream(&mut self, mut body: Body) -> Result<(), ()> {
        loop {
            if !poll_fn(|context| self.wire.poll_room(self.key, context)).await {
                return Err(());
            }
            let sent = match body.frame().await {
                Some(Ok(Frame::Data(bytes))) if bytes.is_empty() => continue,
                Some(Ok(Frame::Data(bytes))) => {
                    self.wire.core.borrow_mut().send_data(self.key, bytes, false).map(|()| false)
                }
                Some(Ok(Frame::Trailers(trailers))) => {
                    self.wire.core.borrow_mut().send_trailers(self.key, trailers).map(|()| true)
                }
                Some(Err(_error)) => return Err(()),
                None => {
                    self.wire.core.borrow_mut().send_data(self.key, bytes::Bytes::new(), true).map(|()| true)
                }
            };
            self.wire.ask_flush();
            match sent {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_gone) => return Err(()),
            }
        }
    }

    /// Adds `date` and `content-length` where the handler left them out.
    fn complete_fields(&self, status: StatusCode, fields: &mut HeaderMap, body: &Body) {
        if !fields.contains_key(header::DATE) {
            let now = context::with(context::Context::turn_time);
            fields.insert(header::DATE, self.date.at(now));
        }
        if may_have_content(status) && !fields.contains_key(header::CONTENT_LENGTH) {
            if let Some(length) = body.exact_length() {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            }
        }
    }
}

/// RFC 9110 §6.4.1: these have no content, whatever the fields say.
fn may_have_content(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.answered {
            self.wire.core.borrow_mut().reset(self.key, Reason::INTERNAL_ERROR);
        }
        self.wire.forget(self.key);
        self.wire.ask_flush();
    }
}
