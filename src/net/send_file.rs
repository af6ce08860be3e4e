//! A file to a connection, in the kernel where it can.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    task::{Context, Poll, ready},
};

use crate::{
    limits::SEND_FILE_BYTES,
    net::{bytes::charge, ready::Io, stream::sealed::HasIo, tcp::TcpStream},
    reactor::Direction,
    sys::{descriptor, sendfile, sigpipe},
    worker::context,
};

impl TcpStream {
    /// Sends the bytes of `file` in `range`, and says how many those were: fewer than asked for only where the file ends.
    ///
    /// The kernel hands the file's pages to the connection (sendfile(2): Linux, Android, macOS, FreeBSD, DragonFly).
    /// Elsewhere, for files that it cannot send so, and while `SIGPIPE` has its default action, they are read into the worker's
    /// buffer and written. The file's own position is neither used nor moved.
    ///
    /// A file that is not in the page cache is waited for by the whole worker, as reading a file anywhere outside of
    /// [`spawn_blocking`](crate::spawn_blocking) is.
    ///
    /// # Errors
    ///
    /// As [`write`](TcpStream::write), and those of reading the file; a part may have been sent then.
    ///
    /// # Cancellation
    ///
    /// A part may have been sent, and nothing says how much.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use wakering::net::{TcpListener, TcpStream};
    ///
    /// wakering::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (mut server, _) = listener.accept().await?;
    ///     let file = File::open(std::env::current_exe()?)?;
    ///     assert_eq!(server.send_file(&file, 0..100).await?, 100);
    ///     client.read_exact(&mut [0; 100]).await?;
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn send_file(&mut self, file: impl AsFd, range: Range<u64>) -> io::Result<u64> {
        let way = if sigpipe::kills()? { Way::ReadAndWrite } else { Way::InTheKernel };
        let mut sending = Sending { at: range.start, range, way };
        poll_fn(|cx| sending.poll(cx, self.io(), file.as_fd())).await
    }
}

/// How the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    InTheKernel,
    ReadAndWrite,
}

struct Sending {
    at: u64,
    range: Range<u64>,
    way: Way,
}

impl Sending {
    fn poll(&mut self, cx: &mut Context<'_>, to: &Io, file: BorrowedFd<'_>) -> Poll<io::Result<u64>> {
        while self.at < self.range.end {
            let left = usize::try_from(self.range.end - self.at).unwrap_or(usize::MAX);
            let sent = match self.way {
                Way::InTheKernel => {
                    let most = left.min(SEND_FILE_BYTES);
                    let sent =
                        to.poll_io(cx, Direction::Write, |fd| sendfile::send_file(fd, file, self.at, most));
                    if let Poll::Ready(Ok(sent)) = sent {
                        charge(sent);
                    }
                    sent
                }
                Way::ReadAndWrite => poll_read_and_write(cx, to, file, self.at, left),
            };
            match ready!(sent) {
                Ok(0) => break,
                Ok(sent) => self.at += sent as u64,
                Err(error) if self.way == Way::InTheKernel && cannot_be_sent_so(&error) => {
                    self.way = Way::ReadAndWrite;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(self.at - self.range.start))
    }
}

/// Whether the kernel says that this file, or any, cannot be sent without reading it.
fn cannot_be_sent_so(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Reads a piece into the worker's buffer and writes what the socket takes of it; the rest is read again.
fn poll_read_and_write(
    cx: &mut Context<'_>,
    to: &Io,
    file: BorrowedFd<'_>,
    at: u64,
    most: usize,
) -> Poll<io::Result<usize>> {
    context::with(|worker| {
        worker.with_scratch(|scratch| {
            if descriptor::read_at(file, scratch, at, most)? == 0 {
                return Poll::Ready(Ok(0));
            }
            match ready!(to.poll_send(cx, scratch))? {
                0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => Poll::Ready(Ok(sent)),
            }
        })
    })
}
