//! Content as the adapters make and take it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;

use crate::http::body::{Body, BodyError, Content, Frame, Kind};

impl Body {
    /// Content that fails before its first piece.
    pub(crate) fn failing(error: BodyError) -> Body {
        Body::streaming(Failing(Some(error)))
    }

    /// The bytes, if they are all here.
    pub(crate) fn into_whole(self) -> Result<Bytes, Body> {
        match self.kind {
            Kind::Empty => Ok(Bytes::new()),
            Kind::Full(bytes) => Ok(bytes),
            kind @ (Kind::Incoming(_) | Kind::Streaming(_)) => Err(Body { kind }),
        }
    }
}

struct Failing(Option<BodyError>);

impl Content for Failing {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}
