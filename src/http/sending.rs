//! Content that is made piece by piece, on its way to the peer: a response's or a request's.

use std::{future::poll_fn, rc::Rc};

use bytes::Bytes;

use crate::{
    http::{
        body::{Body, BodyError, Frame},
        wire::Wire,
    },
    proto::h2::{CommandError, StreamKey},
};

/// Why content could not be sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The stream is gone.
    Gone,
    /// Whoever makes the content failed.
    Body(BodyError),
    /// It contradicts what was sent before.
    Refused(CommandError),
}

/// Sends a body to its end, asking it for more only when there is room; ready when the last of it has been
/// handed to the connection.
pub(super) async fn send_content(wire: &Rc<Wire>, key: StreamKey, mut body: Body) -> Result<(), Unsent> {
    loop {
        if !poll_fn(|context| wire.poll_room(key, context)).await {
            return Err(Unsent::Gone);
        }
        let frame = match body.frame().await {
            Some(Ok(Frame::Data(bytes))) if bytes.is_empty() => continue,
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => return Err(Unsent::Body(error)),
            None => None,
        };
        let last = !matches!(frame, Some(Frame::Data(_)));
        let mut core = wire.core.borrow_mut();
        let sent = match frame {
            Some(Frame::Data(bytes)) => core.send_data(key, bytes, false),
            Some(Frame::Trailers(trailers)) => core.send_trailers(key, trailers),
            None => core.send_data(key, Bytes::new(), true),
        };
        drop(core);
        wire.ask_flush();
        match sent {
            Ok(()) if last => return Ok(()),
            Ok(()) => {}
            Err(CommandError::StreamGone | CommandError::ConnectionClosed) => return Err(Unsent::Gone),
            Err(error) => return Err(Unsent::Refused(error)),
        }
    }
}
