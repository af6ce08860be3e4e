//! Many datagrams by one system call each way.

use std::{
    fmt,
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
};

use crate::{
    limits::{DATAGRAM_BATCH_MAX, DATAGRAM_SEND_MAX, DATAGRAM_UNIT},
    net::udp::{Message, Transmit, UdpSocket, send::Progress},
    reactor::Direction,
    sys::batch::{Inbox, Outbox},
    worker::context,
};

/// The longest that a datagram, or a train that the kernel has put together, can be: its length has 16 bits.
const LONGEST: usize = 65_535;

/// Room for many datagrams, filled by [`UdpSocket::recv_batch`], and to be used again and again.
///
/// All memory is taken when it is made, and the system gives pages only as they are first written: room for 32 messages of
/// 64 KiB costs little where datagrams are short.
pub struct RecvBatch {
    inbox: Inbox,
}

impl RecvBatch {
    /// Room for `messages` (1 to 1,024; more or less is brought there) of `bytes` each (at most 65,535: nothing longer can
    /// come). What is longer is cut, and told.
    #[must_use]
    pub fn new(messages: usize, bytes: usize) -> RecvBatch {
        RecvBatch { inbox: Inbox::new(messages.clamp(1, DATAGRAM_BATCH_MAX), bytes.min(LONGEST)) }
    }

    /// Room for `messages` of any length, which is what [`set_gro`](UdpSocket::set_gro) asks for.
    #[must_use]
    pub fn for_trains(messages: usize) -> RecvBatch {
        RecvBatch::new(messages, LONGEST)
    }

    /// How many messages there is room for.
    pub fn capacity(&self) -> usize {
        self.inbox.room()
    }

    /// How many messages the last receive has brought.
    pub fn len(&self) -> usize {
        self.inbox.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what is in it.
    pub fn clear(&mut self) {
        self.inbox.clear();
    }

    /// Message `index` of the last receive.
    pub fn get(&self, index: usize) -> Option<Message<'_>> {
        self.inbox.get(index).map(|(incoming, bytes)| Message::new(&incoming, bytes))
    }

    /// The messages of the last receive, in the order in which they came.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        (0..self.len()).map(|index| self.get(index).expect("the index is below the number of messages"))
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.messages()).finish()
    }
}

/// Datagrams and trains to be sent by [`UdpSocket::send_batch`]: a queue that borrows their bytes.
///
/// Its memory is used again by way of [`recycle`](SendBatch::recycle), which lets it borrow something else afterwards.
///
/// ```
/// use wakering::net::{SendBatch, Transmit, UdpSocket};
///
/// wakering::run(async {
///     let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///     let mut spare = SendBatch::new();
///     for round in 0..3_u8 {
///         let packets = [[round; 100], [round + 100; 100]];
///         let mut batch = spare.recycle();
///         for packet in &packets {
///             batch.push(Transmit::to(two.local_addr()?, packet));
///         }
///         assert_eq!(one.send_batch(&mut batch).await?, 2);
///         spare = batch.recycle();
///     }
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct SendBatch<'a> {
    queue: Vec<Transmit<'a>>,
    progress: Progress,
    failed: Option<Transmit<'a>>,
    /// The error of the message at the front was told, and whether it was the message's own is not known yet.
    told: Option<Told>,
    outbox: Outbox,
}

/// What tells two errors apart.
type Told = (io::ErrorKind, Option<i32>);

impl<'a> SendBatch<'a> {
    /// An empty one.
    #[must_use]
    pub fn new() -> SendBatch<'a> {
        SendBatch::default()
    }

    /// Adds a message behind those that are still to be sent.
    pub fn push(&mut self, transmit: Transmit<'a>) {
        if self.is_empty() {
            // What was sent makes room.
            self.queue.clear();
            self.progress.rewind();
        }
        self.queue.push(transmit);
    }

    /// How many messages are still to be sent; one of which a part was sent counts.
    pub fn len(&self) -> usize {
        self.queue.len() - self.progress.index()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages that are still to be sent.
    pub fn unsent(&self) -> &[Transmit<'a>] {
        &self.queue[self.progress.index()..]
    }

    /// How many datagrams were sent since the batch was made or recycled; those of a train count one by one.
    pub fn sent(&self) -> usize {
        self.progress.sent
    }

    /// The message that the last error of a send was about, and that was given up for it.
    pub fn failed(&self) -> Option<Transmit<'a>> {
        self.failed
    }

    /// Empties it, and gives its memory to a batch that may borrow other bytes.
    #[must_use]
    pub fn recycle<'b>(mut self) -> SendBatch<'b> {
        self.queue.clear();
        // Nothing is left to convert; the collection takes over the memory.
        let queue = self.queue.into_iter().map(|_| Transmit::to_peer(&[])).collect();
        SendBatch { queue, progress: Progress::default(), failed: None, told: None, outbox: self.outbox }
    }
}

impl<'a> Extend<Transmit<'a>> for SendBatch<'a> {
    fn extend<T: IntoIterator<Item = Transmit<'a>>>(&mut self, messages: T) {
        messages.into_iter().for_each(|transmit| self.push(transmit));
    }
}

impl fmt::Debug for SendBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch").field("unsent", &self.unsent()).field("sent", &self.sent()).finish()
    }
}

impl UdpSocket {
    /// Receives what is there, up to the room in `batch`, and says how many messages that is; waits for the first.
    ///
    /// One system call (`recvmmsg`) on Linux and Android, one a message elsewhere. Nothing is allocated.
    ///
    /// # Errors
    ///
    /// As [`recv`](UdpSocket::recv): once, and the batch is empty then. An error that comes up behind received datagrams is
    /// that of the next call.
    ///
    /// # Cancellation
    ///
    /// No datagram is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use wakering::net::{RecvBatch, UdpSocket};
    ///
    /// wakering::run(async {
    ///     let (one, two) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    ///     one.send_to(b"first", two.local_addr()?).await?;
    ///     one.send_to(b"", two.local_addr()?).await?;
    ///     let mut batch = RecvBatch::new(32, 2048);
    ///     assert_eq!(two.recv_batch(&mut batch).await?, 2);
    ///     for message in batch.messages() {
    ///         for datagram in message.datagrams() {
    ///             println!("{} bytes from {}", datagram.len(), message.source);
    ///         }
    ///     }
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv_batch(cx, batch)).await
    }

    fn poll_recv_batch(&self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        let received = ready!(self.poll_io(cx, Direction::Read, |fd| batch.inbox.recv(fd)))?;
        self.received(batch, received);
        Poll::Ready(Ok(received))
    }

    /// Receives what is there now, as [`recv_batch`](UdpSocket::recv_batch) does.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is nothing; else as [`recv_batch`](UdpSocket::recv_batch).
    pub fn try_recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        let received = self.try_io(Direction::Read, |fd| batch.inbox.recv(fd))?;
        self.received(batch, received);
        Ok(received)
    }

    fn received(&self, batch: &RecvBatch, received: usize) {
        if received < batch.capacity() {
            // The call has met the end of the queue, and what comes later is an edge.
            self.io.clear_after_short_read();
        }
        charge(received - 1 + batch.inbox.bytes() / DATAGRAM_UNIT);
    }

    /// Sends all of `batch`, and says how many datagrams that were; waits as often as the kernel has no room.
    ///
    /// One system call (`sendmmsg`) for 64 messages on Linux and Android, one a message elsewhere; a message may be a train
    /// that the kernel cuts up. Nothing is allocated once the batch has been as full before.
    ///
    /// # Errors
    ///
    /// Those of [`send_message`](UdpSocket::send_message). An error ends the call, and what lies before it was sent
    /// ([`SendBatch::sent`]). The message that it was about is given up ([`SendBatch::failed`]), with what of a train was not
    /// sent yet; or it was about an earlier datagram (an ICMP message), and none is. Either way the rest is still in
    /// the batch, and the next call goes on with it.
    ///
    /// # Cancellation
    ///
    /// What was sent has left the batch, the rest is in it.
    pub async fn send_batch(&self, batch: &mut SendBatch<'_>) -> io::Result<usize> {
        let before = batch.sent();
        poll_fn(|cx| {
            while !batch.is_empty() {
                let (sent, mut failure) = (batch.sent(), None);
                let attempt = |_: std::os::fd::BorrowedFd<'_>| self.send_some(batch, &mut failure);
                ready!(self.poll_io(cx, Direction::Write, attempt))?;
                charge((batch.sent() - sent).saturating_sub(1));
                if let Some(error) = failure {
                    return Poll::Ready(Err(error));
                }
            }
            Poll::Ready(Ok(batch.sent() - before))
        })
        .await
    }

    /// Sends of `batch` what the kernel takes now, and says how many datagrams that were.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when it takes none; else as [`send_batch`](UdpSocket::send_batch).
    pub fn try_send_batch(&self, batch: &mut SendBatch<'_>) -> io::Result<usize> {
        let before = batch.sent();
        while !batch.is_empty() {
            let mut failure = None;
            let attempt = self.try_io(Direction::Write, |_| self.send_some(batch, &mut failure));
            match attempt {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && batch.sent() > before => break,
                Err(error) => return Err(error),
                Ok(()) => {}
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(batch.sent() - before)
    }

    /// Makes one call. An error other than `WouldBlock` is put into `failure`.
    fn send_some(&self, batch: &mut SendBatch<'_>, failure: &mut Option<io::Error>) -> io::Result<()> {
        let SendBatch { queue, progress, failed, told, outbox } = batch;
        *failed = None;
        let told_before = told.take();
        let some = self.attempt(queue, progress, |fd, units| outbox.send(fd, units.take(DATAGRAM_SEND_MAX)));
        let error = match some {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                *told = told_before;
                return Err(error);
            }
            Err(error) => error,
            Ok(()) => return Ok(()),
        };
        // Whose error is it? An ICMP message's is told once: the same datagram passes when it is sent again.
        let name = |error: &io::Error| -> Told { (error.kind(), error.raw_os_error()) };
        let is_own = told_before == Some(name(&error)) || {
            let again = self.attempt(queue, progress, |fd, units| outbox.send(fd, units.take(1)));
            // Without room now, it is seen when there is.
            let blocks = again.as_ref().is_err_and(|again| again.kind() == io::ErrorKind::WouldBlock);
            *told = blocks.then(|| name(&error));
            again.is_err_and(|again| name(&again) == name(&error))
        };
        if is_own {
            *failed = queue.get(progress.index()).copied();
            progress.skip();
        }
        if told_before != Some(name(&error)) {
            *failure = Some(error);
        }
        Ok(())
    }
}

/// Takes budget for work that was more than one system call.
fn charge(units: usize) {
    if units > 0 {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        context::try_with(|worker| worker.inspect(|worker| worker.tasks().charge(units)).is_some());
    }
}
