//! A response's content, as the server takes it.

use std::{
    any::Any,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};

use crate::{
    adapters::tower::{BoxError, SendBody},
    http::{Body, BodyError, Content, Frame},
};

/// Content of another make, and a piece that was taken out of it already.
struct Foreign<B> {
    body: Pin<Box<B>>,
    taken: Option<Frame>,
    /// Of all of it, if that was known at first.
    length: Option<u64>,
}

/// Content of ours is given back as it is; what is there in one piece is not streamed.
pub(super) fn content<B>(body: B, context: &mut Context<'_>) -> Body
where
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    if body.is_end_stream() {
        return Body::empty();
    }
    let mut body = Some(body);
    if let Some(own) = (&mut body as &mut dyn Any).downcast_mut::<Option<Body>>() {
        return own.take().unwrap_or_default();
    }
    if let Some(own) = (&mut body as &mut dyn Any).downcast_mut::<Option<SendBody>>() {
        return own.take().map(Body::from).unwrap_or_default();
    }
    body.map(|body| boxed(body, context)).unwrap_or_default()
}

fn boxed<B>(body: B, context: &mut Context<'_>) -> Body
where
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    let length = body.size_hint().exact();
    let mut body = Foreign { body: Box::pin(body), taken: None, length };
    if length.is_none() {
        return Body::streaming(body);
    }
    // Most content of a known length is one piece, which needs no stream.
    match Pin::new(&mut body).poll_frame(context) {
        Poll::Ready(Some(Ok(Frame::Data(bytes)))) if body.ends_behind(&bytes) => bytes.into(),
        Poll::Ready(Some(Ok(frame))) => {
            body.taken = Some(frame);
            Body::streaming(body)
        }
        Poll::Ready(Some(Err(error))) => Body::failing(error),
        Poll::Ready(None) => Body::empty(),
        Poll::Pending => Body::streaming(body),
    }
}

impl<B: http_body::Body> Foreign<B> {
    fn ends_behind(&self, first: &Bytes) -> bool {
        self.length == Some(first.len() as u64) && self.body.is_end_stream()
    }
}

impl<B> Content for Foreign<B>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(frame) = self.taken.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            let Some(frame) = ready!(self.body.as_mut().poll_frame(context)) else {
                return Poll::Ready(None);
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Some(Err(failure(error.into())))),
            };
            let frame = match frame.into_data() {
                Ok(mut data) => return Poll::Ready(Some(Ok(Frame::Data(bytes(&mut data))))),
                Err(frame) => frame.into_trailers(),
            };
            if let Ok(trailers) = frame {
                return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
            }
            // Kinds of frames that are not known yet carry nothing that HTTP/2 could send.
        }
    }

    fn exact_length(&self) -> Option<u64> {
        self.length
    }
}

/// Not copied where it is `Bytes` already.
fn bytes(data: &mut impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// An error of ours that went through somebody's hands is still ours.
fn failure(error: BoxError) -> BodyError {
    match error.downcast::<BodyError>() {
        Ok(own) => *own,
        Err(other) => BodyError::source(other),
    }
}
