//! A new process that goes on with the sockets of the old one.
//!
//! ```text
//!  new ── "wakering handover 1" ─────────────────────► old
//!  new ◄─ "sockets NAME:NAME…", the descriptors ────── old   still serves
//!  new ── "ready" ───────────────────────────────────► old   now stops accepting, and drains
//!  new ◄─ "done" ───────────────────────────────────── old
//! ```
//!
//! The first descriptor is the socket on which the two met, so that the next process finds the new one at the same place,
//! without a moment in which nobody is there. Both ends have one queue of connections; none in it is lost. A new process that
//! dies, or is not ready in time, changes nothing: the old one serves on and waits for another.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use bytes::BytesMut;

use super::{
    inherit::Inherited,
    meeting::{Met, meet, permitted},
};
use crate::{
    error::Elapsed,
    limits::{HANDOVER_LINE, HANDOVER_START, HANDOVER_STEP, INHERITED_MAX, INHERITED_NAME_MAX},
    net::{UnixListener, UnixStream},
    time::timeout,
    trace,
};

const GREETING: &str = "wakering handover 1";
const SOCKETS: &str = "sockets ";
const READY: &str = "ready";
const DONE: &str = "done";
/// The name of the socket on which the processes meet; no user's, since it has a blank.
const MEETING: &str = "the meeting";

/// A place on which one process hands its sockets to the next: a Unix socket with the name of a file.
///
/// A program does the same whether it is the first or the tenth: it [begins](Handover::at), takes its sockets or, as the
/// first, makes them, serves, says that it is [ready](Handover::ready), and [offers](Handover::offer) the sockets on until
/// somebody takes them. Then it drains and ends. No connection is refused on the way: both processes have the same queue of
/// connections, and the old one goes on until the new one is ready.
///
/// Both must be of the same user, or the other one root's: each asks the system who the other is, and the file's mode says so, too.
/// Put the place into a folder in which nobody else may make files, such as systemd's `RuntimeDirectory=`: elsewhere somebody else
/// could be there first, and this process would not start. Beside it lies an empty file of the same name with `.lock` behind it.
///
/// # Examples
///
/// ```no_run
/// use std::{net::TcpListener, os::fd::AsFd, time::Duration};
/// use wakering::{http::{Body, Request, Response, Server}, service::Handover};
///
/// wakering::run(async {
///     let mut handover = Handover::at("/run/hello/handover").await?;
///     let listener = match handover.take("http") {
///         Some(socket) => socket.into_tcp_listener()?,
///         None => TcpListener::bind("127.0.0.1:8080")?,
///     };
///     let hello = || |_: Request<Body>| async { Response::new(Body::from("Hello, World!")) };
///     let server = Server::builder().start_on_all_from(listener.try_clone()?, hello)?;
///     handover.ready().await?; // who served before stops accepting now
///     let successor = handover.offer(&[("http", listener.as_fd())]).await?; // beside a signal, in your program
///     println!("process {:?} has taken over", successor.process_id());
///     drop(listener);
///     server.stop(Duration::from_secs(30)).await;
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: unix(7), `SCM_RIGHTS`.
#[derive(Debug)]
pub struct Handover {
    meeting: UnixListener,
    sockets: Vec<Inherited>,
    predecessor: Option<UnixStream>,
}

/// The process that has taken over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Successor {
    process: Option<i32>,
}

impl Successor {
    /// Its number; `None` where the system does not tell (all but Linux).
    #[must_use]
    pub fn process_id(&self) -> Option<i32> {
        self.process
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Successor").field("process", &self.process).finish()
    }
}

impl Handover {
    /// Takes the sockets of the process that offers them at `path`. When there is none, this process is the first, and `path`
    /// is made; a file that an earlier process has left behind there is replaced.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the process there does not answer within 10 seconds, `InvalidData` when it speaks another language,
    /// `PermissionDenied` when it is not to be had by this user, or is neither this user's nor root's, `AddrInUse` when `path` is a file of another kind; others of
    /// connecting, binding and receiving.
    ///
    /// # Cancellation
    ///
    /// Nothing has changed: the process there serves on.
    pub async fn at(path: impl AsRef<Path>) -> io::Result<Handover> {
        match in_time(meet(path.as_ref())).await? {
            Met::Nobody(meeting) => Ok(Handover { meeting, sockets: Vec::new(), predecessor: None }),
            Met::Predecessor(stream) => in_time(receive(stream)).await,
        }
    }

    /// Whether sockets were taken over from a process that still serves.
    #[must_use]
    pub fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Takes the socket of this name out of those that came; `None` if there is none.
    pub fn take(&mut self, name: &str) -> Option<Inherited> {
        let at = self.sockets.iter().position(|socket| socket.name() == name)?;
        Some(self.sockets.remove(at))
    }

    /// Says that this process serves: the one before it stops accepting, and drains. Sockets that were not taken are closed.
    ///
    /// Returns when it has heard so. Does nothing in the first process, and when the one before has ended meanwhile.
    ///
    /// # Errors
    ///
    /// `TimedOut` when it does not answer within 10 seconds.
    ///
    /// # Cancellation
    ///
    /// The process before may have been told or not: it stops when it was.
    pub async fn ready(&mut self) -> io::Result<()> {
        self.sockets.clear();
        let Some(mut stream) = self.predecessor.take() else { return Ok(()) };
        let said = in_time(async {
            stream.write_all(format!("{READY}\n").as_bytes()).await?;
            line(&mut stream, &mut Vec::new(), 0).await
        });
        match said.await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            // It is gone, which is as good.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Offers these sockets to processes that come for them, and returns when one of them has them and is ready: this
    /// process is to stop accepting now.
    ///
    /// Processes that come and fail are told of through `tracing`, where that feature is on, and the next one is waited for.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for more than 252 sockets, and for a name that is empty, has more than 255 bytes, or a colon or control
    /// character; else only what makes the meeting place useless.
    ///
    /// # Cancellation
    ///
    /// Nobody has been told to take over; a process that has the sockets and is not ready yet finds this one gone.
    pub async fn offer(&self, sockets: &[(&str, BorrowedFd<'_>)]) -> io::Result<Successor> {
        check(sockets)?;
        loop {
            let (stream, _unnamed) = self.meeting.accept().await?;
            match self.give(stream, sockets).await {
                Ok(successor) => return Ok(successor),
                Err(error) => trace::handover_failed(&error),
            }
        }
    }

    async fn give(
        &self,
        mut stream: UnixStream,
        sockets: &[(&str, BorrowedFd<'_>)],
    ) -> io::Result<Successor> {
        let process = permitted(&stream)?;
        in_time(async {
            expect(GREETING, &mut stream).await?;
            let names: Vec<&str> =
                [MEETING].into_iter().chain(sockets.iter().map(|(name, _)| *name)).collect();
            let text = format!("{SOCKETS}{}\n", names.join(":"));
            let descriptors: Vec<BorrowedFd<'_>> =
                [self.meeting.as_fd()].into_iter().chain(sockets.iter().map(|(_, fd)| *fd)).collect();
            let sent = stream.send_fds(text.as_bytes(), &descriptors).await?;
            stream.write_all(&text.as_bytes()[sent..]).await
        })
        .await?;
        timeout(HANDOVER_START, expect(READY, &mut stream)).await.map_err(late)??;
        // From here on it serves, whether it hears the last word or not.
        let last = format!("{DONE}\n");
        let _ = in_time(stream.write_all(last.as_bytes())).await;
        Ok(Successor { process })
    }
}

/// The new process's part up to the descriptors.
async fn receive(mut stream: UnixStream) -> io::Result<Handover> {
    // Whoever is there goes on to say what this process serves, and has the same queue of connections.
    permitted(&stream)?;
    stream.write_all(format!("{GREETING}\n").as_bytes()).await?;
    let mut descriptors = Vec::new();
    let text = line(&mut stream, &mut descriptors, INHERITED_MAX).await?;
    let names = text.strip_prefix(SOCKETS).ok_or_else(|| foreign(&text))?;
    let names: Vec<&str> = names.split(':').collect();
    if names.len() != descriptors.len() || names[0] != MEETING {
        return Err(foreign(&text));
    }
    let mut sockets: Vec<Inherited> =
        names.into_iter().zip(descriptors).map(|(name, fd)| Inherited::new(name.to_owned(), fd)).collect();
    let meeting = sockets.remove(0).into_unix_listener()?;
    Ok(Handover { meeting: UnixListener::from_std(meeting)?, sockets, predecessor: Some(stream) })
}

async fn expect(word: &str, stream: &mut UnixStream) -> io::Result<()> {
    let text = line(stream, &mut Vec::new(), 0).await?;
    if text == word { Ok(()) } else { Err(foreign(&text)) }
}

/// Reads a line, and puts the descriptors that come with it into `descriptors`.
async fn line(stream: &mut UnixStream, descriptors: &mut Vec<OwnedFd>, most: usize) -> io::Result<String> {
    let (mut text, mut piece) = (BytesMut::new(), [0; 1024]);
    loop {
        let received = stream.recv_fds(&mut piece, most.saturating_sub(descriptors.len())).await?;
        if received.fds_lost {
            return Err(io::Error::other("there is no room for the descriptors that were sent"));
        }
        if received.len == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process has gone away"));
        }
        descriptors.extend(received.fds);
        text.extend_from_slice(&piece[..received.len]);
        if text.ends_with(b"\n") {
            text.truncate(text.len() - 1);
            return String::from_utf8(text.to_vec()).map_err(|_| foreign("bytes that are no text"));
        }
        if text.len() > HANDOVER_LINE {
            return Err(foreign("a line without an end"));
        }
    }
}

fn check(sockets: &[(&str, BorrowedFd<'_>)]) -> io::Result<()> {
    let sound = |name: &str| {
        !name.is_empty()
            && name.len() <= INHERITED_NAME_MAX
            && !name.contains(|it: char| it == ':' || it.is_control())
    };
    if sockets.len() < INHERITED_MAX && sockets.iter().all(|(name, _)| sound(name)) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "too many sockets, or one whose name cannot be handed over",
    ))
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(HANDOVER_STEP, step).await.map_err(late)?
}

fn late(_: Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the other process of the handover does not answer")
}

fn foreign(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no word of a handover: {text:?}"))
}
