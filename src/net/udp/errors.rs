//! Errors of datagrams that were sent earlier: which, and who said so.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
    task::{Context, Poll},
};

use crate::{
    limits::KEPT_ERRORS,
    net::udp::UdpSocket,
    reactor::Direction,
    sys::error_queue::{self, QueuedError},
};

/// What became of a datagram that was sent earlier; taken by [`UdpSocket::take_report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ErrorReport {
    /// The number of the error, as `io::Error::from_raw_os_error` takes it.
    pub os_error: i32,
    /// Where the datagram was sent to.
    pub target: Option<SocketAddr>,
    /// Who reported it: the target, or a router on the way.
    pub reporter: Option<IpAddr>,
    /// Type and code of the ICMP message; `None` when this host has found out by itself.
    pub icmp: Option<(u8, u8)>,
    /// The longest packet that the way takes, where the datagram was too long for it.
    pub mtu: Option<u32>,
}

impl ErrorReport {
    /// The error as the call that it surfaced in has returned it.
    pub fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(self.os_error)
    }
}

impl From<QueuedError> for ErrorReport {
    fn from(queued: QueuedError) -> ErrorReport {
        let QueuedError { number, target, reporter, icmp, mtu } = queued;
        ErrorReport { os_error: number, target, reporter, icmp, mtu }
    }
}

/// The reports that were taken off the kernel's queue.
#[derive(Debug, Default)]
pub(super) struct Reports {
    on: Cell<bool>,
    /// The number of the last error that a call returned, until its report is taken off the queue.
    surfaced: Cell<Option<i32>>,
    kept: RefCell<VecDeque<QueuedError>>,
}

impl UdpSocket {
    /// Asks the kernel to keep a report of each datagram that failed on its way (`IP_RECVERR`), for
    /// [`take_report`](UdpSocket::take_report), and to return its error on an unconnected socket, too.
    ///
    /// Each error is still returned once, by the call that meets it. 64 reports are kept, then the oldest go.
    ///
    /// # Errors
    ///
    /// `Unsupported` elsewhere than on Linux and Android; others of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::UdpSocket;
    ///
    /// wakering::run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0")?;
    ///     # if cfg!(target_os = "linux") {
    ///     socket.set_error_reports(true)?;
    ///     let nobody = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    ///     socket.send_to(b"anybody?", nobody).await?;
    ///     let error = socket.recv(&mut [0; 16]).await.unwrap_err();
    ///     assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    ///     let report = socket.take_report()?.expect("of the error");
    ///     assert_eq!((report.target, report.icmp), (Some(nobody), Some((3, 3))));
    ///     # }
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_error_reports(&self, on: bool) -> io::Result<()> {
        error_queue::set_kept(self.io.fd(), on)?;
        self.reports.on.set(on);
        Ok(())
    }

    /// Takes the oldest report, if there is one.
    ///
    /// # Errors
    ///
    /// The system's, of recvmsg(2).
    pub fn take_report(&self) -> io::Result<Option<ErrorReport>> {
        if let Some(report) = self.reports.kept.borrow_mut().pop_front() {
            return Ok(Some(report.into()));
        }
        self.reports.surfaced.set(None);
        Ok(error_queue::take(self.io.fd())?.map(ErrorReport::from))
    }

    /// [`Io::poll_io`](crate::net::ready::Io::poll_io) on a socket that may have a queue of errors.
    pub(super) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut op: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_io(cx, direction, |fd| self.reported(fd, op(fd)))
    }

    pub(super) fn try_io<R>(
        &self,
        direction: Direction,
        op: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io.try_io(direction, |fd| self.reported(fd, op(fd)))
    }

    /// Empties the kernel's queue before a wait: as long as something is in it, selectors that report states and not edges
    /// would end every wait at once.
    ///
    /// Taking a report off takes its error off the socket. An error that came after the attempt, and that no call has
    /// returned, is returned here.
    fn reported<R>(&self, fd: BorrowedFd<'_>, outcome: io::Result<R>) -> io::Result<R> {
        let error = match outcome {
            Err(error) if self.reports.on.get() => error,
            done => return done,
        };
        if error.kind() != io::ErrorKind::WouldBlock {
            self.reports.surfaced.set(error.raw_os_error());
            return Err(error);
        }
        let surfaced = self.reports.surfaced.get();
        let mut owed = None;
        let mut kept = self.reports.kept.borrow_mut();
        while let Ok(Some(report)) = error_queue::take(fd) {
            self.reports.surfaced.set(None);
            if surfaced != Some(report.number) {
                owed = owed.or(Some(report.number));
            }
            if kept.len() == KEPT_ERRORS {
                kept.pop_front();
            }
            kept.push_back(report);
        }
        Err(owed.map_or(error, io::Error::from_raw_os_error))
    }
}
