//! The end of a connection on which the peer is told why.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use super::{Stream, end, ready::Io};
use crate::{limits::LINGER, worker::timer::Timer};

/// Ends our side, and reads and forgets until the peer has ended its own, for [`LINGER`] at most: a socket that is closed with
/// input unread is reset, and the reset may overtake what was said last.
pub(crate) async fn part<S: Stream>(stream: &S) {
    let io = stream.io();
    if end(io).is_err() {
        return; // it has gone
    }
    let mut limit = Timer::after(LINGER);
    poll_fn(|context| {
        if poll_forget(io, context).is_ready() {
            return Poll::Ready(());
        }
        // Who goes on after that had time to read.
        limit.poll_elapsed(context)
    })
    .await;
}

/// Ready at the end, whichever it is.
fn poll_forget(io: &Io, context: &mut Context<'_>) -> Poll<()> {
    // In the worker's memory; each read counts, since the worker has others to look after.
    while let Ok(1..) = ready!(io.poll_recv_with(context, &mut Some(<[u8]>::len))) {}
    Poll::Ready(())
}
