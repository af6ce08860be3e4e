//! A request's content for services that must be `Send`.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    adapters::stay::Stay,
    http::{Body, BodyError},
};

/// A request's content, `Send` in name: it may be held by futures that are, and is read on its worker.
///
/// Content that comes from the peer belongs to its connection, which stays on its worker. Read elsewhere it is an error;
/// collect it first to take it to another thread.
pub struct SendBody {
    content: Content,
}

enum Content {
    /// Goes anywhere.
    Whole(Bytes),
    Stays(Stay<Body>),
}

/// Nothing is moved but for content that is still to come.
impl From<Body> for SendBody {
    fn from(body: Body) -> SendBody {
        let content = body.into_whole().map_or_else(|body| Content::Stays(Stay::new(body)), Content::Whole);
        SendBody { content }
    }
}

/// On another thread than the content's own it becomes content that fails.
impl From<SendBody> for Body {
    fn from(body: SendBody) -> Body {
        match body.content {
            Content::Whole(bytes) => bytes.into(),
            Content::Stays(body) => body.into_inner().unwrap_or_else(|elsewhere| {
                Body::failing(BodyError::source(format!("{elsewhere:?} belongs to another thread")))
            }),
        }
    }
}

impl http_body::Body for SendBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(http_body::Frame::data(std::mem::take(bytes))))),
            Content::Stays(body) => match body.with(|body| body.poll_frame(context)) {
                Ok(frame) => Poll::Ready(ready!(frame).map(|frame| frame.map(http_body::Frame::from))),
                Err(elsewhere) => Poll::Ready(Some(Err(BodyError::source(elsewhere)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.content {
            Content::Whole(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Content::Stays(_) => http_body::SizeHint::default(),
        }
    }
}

impl fmt::Debug for SendBody {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.content {
            Content::Whole(_) => "whole",
            Content::Stays(_) => "incoming",
        };
        out.debug_struct("SendBody").field("kind", &kind).finish()
    }
}
