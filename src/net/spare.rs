//! Reading into the buffers of other crates.

use std::{
    io,
    task::{Context, Poll, ready},
};

use crate::{
    net::{bytes::charge, ready::Io},
    reactor::Direction,
    sys::spare::Spare,
};

impl Io {
    /// Appends what there is to `buffer`; without room it is done at once.
    pub(crate) fn poll_recv_spare(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut impl Spare,
    ) -> Poll<io::Result<()>> {
        let room = buffer.room();
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let read = ready!(self.poll_io(cx, Direction::Read, |fd| buffer.recv(fd)))?;
        self.after_read(read, room);
        charge(read);
        Poll::Ready(Ok(()))
    }
}
