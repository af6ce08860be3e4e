//! A TCP listener whose connections have shaken hands.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
};

use super::{acceptor::TlsAcceptor, stream::TlsStream};
use crate::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    worker,
};

/// A TCP listener that hands out connections once they have shaken hands.
///
/// Handshakes run in tasks of their own: a slow one holds up nobody, and one that fails is nobody's error but counted by
/// [`TlsAcceptor::metrics`]. They begin while somebody waits in [`accept`](TlsListener::accept). Dropping the listener ends
/// those that are under way.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tls-ring")] {
/// use wakering::{net::{TcpListener, TcpStream}, tls::{TlsAcceptor, TlsConnector, TlsListener, rustls}};
///
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let certificate = made.cert.der().clone();
/// # let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
/// # let mut roots = rustls::RootCertStore::empty();
/// # roots.add(certificate.clone())?;
/// # let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
/// let server = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
///
/// wakering::run(async move {
///     let listener = TlsListener::new(TcpListener::bind("127.0.0.1:0")?, TlsAcceptor::new(server));
///     let address = listener.get_ref().local_addr()?;
///     wakering::spawn(async move {
///         let stream = TcpStream::connect(address).await?;
///         let mut stream = TlsConnector::new(client).connect("localhost", stream).await?;
///         stream.write_all(b"ping").await?;
///         stream.shutdown().await
///     });
///     let (mut stream, _peer) = listener.accept().await?;
///     let mut text = [0; 4];
///     stream.read_exact(&mut text).await?;
///     assert_eq!(&text, b"ping");
///     assert_eq!(stream.info().server_name(), Some("localhost"));
///     Ok::<(), std::io::Error>(())
/// })??;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    desk: Rc<Desk>,
}

/// Where tasks leave what has shaken hands.
#[derive(Default)]
struct Desk {
    ready: RefCell<VecDeque<(TlsStream, SocketAddr)>>,
    /// Who waits for that, by number, the longest first.
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    /// The number of who comes next.
    next: Cell<u64>,
    /// Those that shake hands; some of them may be through.
    tasks: RefCell<Vec<AbortHandle>>,
}

impl Desk {
    fn leave(&self, stream: TlsStream, peer: SocketAddr) {
        self.ready.borrow_mut().push_back((stream, peer));
        self.call_next();
    }

    /// Wakes one of those that wait, if there is something for it.
    fn call_next(&self) {
        if self.ready.borrow().is_empty() {
            return;
        }
        let called = self.waiting.borrow_mut().pop_front();
        if let Some((_number, waker)) = called {
            waker.wake();
        }
    }
}

/// A place in the line of those that wait. Who gives it up has the next one called, as it may have been called itself.
struct Place<'a> {
    desk: &'a Desk,
    number: u64,
}

impl Place<'_> {
    fn at(desk: &Desk) -> Place<'_> {
        let number = desk.next.get();
        desk.next.set(number + 1);
        Place { desk, number }
    }

    fn wait(&self, waker: &Waker) {
        let mut waiting = self.desk.waiting.borrow_mut();
        match waiting.iter_mut().find(|(number, _waker)| *number == self.number) {
            Some((_number, known)) => known.clone_from(waker),
            None => waiting.push_back((self.number, waker.clone())),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.desk.waiting.borrow_mut();
        let at = waiting.iter().position(|(number, _waker)| *number == self.number);
        let ours = at.and_then(|at| waiting.remove(at));
        drop(waiting);
        drop(ours);
        self.desk.call_next();
    }
}

enum Next {
    Connection(TcpStream, SocketAddr),
    Ready(TlsStream, SocketAddr),
}

impl TlsListener {
    /// Accepts from `listener`, with handshakes by `acceptor`.
    #[must_use]
    pub fn new(listener: TcpListener, acceptor: TlsAcceptor) -> TlsListener {
        TlsListener { listener, acceptor, desk: Rc::default() }
    }

    /// The listener below, for its address.
    #[must_use]
    pub fn get_ref(&self) -> &TcpListener {
        &self.listener
    }

    /// Waits for a connection that has shaken hands. Several tasks may wait at once; each connection goes to one of them.
    ///
    /// # Errors
    ///
    /// Only what makes the listener useless; see [`TcpListener::accept`].
    ///
    /// # Panics
    ///
    /// Outside a runtime.
    ///
    /// # Cancellation
    ///
    /// Nothing is lost: handshakes go on, and the next call has them.
    pub async fn accept(&self) -> io::Result<(TlsStream, SocketAddr)> {
        let place = Place::at(&self.desk);
        loop {
            let next = {
                let mut accepting = pin!(self.listener.accept());
                poll_fn(|context| {
                    if let Some((stream, peer)) = self.desk.ready.borrow_mut().pop_front() {
                        return Poll::Ready(Ok(Next::Ready(stream, peer)));
                    }
                    place.wait(context.waker());
                    accepting.as_mut().poll(context).map_ok(|(stream, peer)| Next::Connection(stream, peer))
                })
                .await?
            };
            match next {
                Next::Ready(stream, peer) => return Ok((stream, peer)),
                Next::Connection(stream, peer) => self.begin(stream, peer),
            }
        }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr) {
        let (acceptor, desk) = (self.acceptor.clone(), self.desk.clone());
        let task = worker::spawn(async move {
            // It is counted, and the client has been told.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            desk.leave(stream, peer);
        });
        let mut tasks = self.desk.tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(task.abort_handle());
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        let tasks = self.desk.tasks.take();
        tasks.iter().for_each(AbortHandle::abort);
    }
}

impl std::fmt::Debug for TlsListener {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TlsListener")
            .field("listener", &self.listener)
            .field("acceptor", &self.acceptor)
            .finish_non_exhaustive()
    }
}
