//! `http_body::Body` for our content.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::http::body::{Body, BodyError, Frame};

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let frame = ready!(Body::poll_frame(&mut self, context));
        Poll::Ready(frame.map(|frame| frame.map(http_body::Frame::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.exact_length().map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

impl From<Frame> for http_body::Frame<Bytes> {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Data(bytes) => http_body::Frame::data(bytes),
            Frame::Trailers(trailers) => http_body::Frame::trailers(trailers),
        }
    }
}
