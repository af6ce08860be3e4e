//! A server on a thread of its own, and a client that is the protocol core on a blocking socket: what comes is told as
//! events, in order, interim responses and all.
#![expect(dead_code, reason = "every test file uses its own part of this")]

use std::{
    io::{IoSlice, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use wakering::{
    http::{Builder, Config, Handler, HeaderMap, Method, Request, Server, Stopped},
    internals::h2::{CommandError, Connection, Event, Reason, StreamKey},
    net::TcpListener,
};

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// Long enough for a loaded machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server on a thread of its own, until it is told to stop.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: mpsc::Sender<Duration>,
    stopped: thread::JoinHandle<Stopped>,
}

impl Serving {
    /// Starts a server of one worker with the handler that `make` makes there.
    pub(crate) fn start<H: Handler>(builder: Builder, make: impl FnOnce() -> H + Send + 'static) -> Self {
        let (report, address) = mpsc::channel();
        let (stop, end) = mpsc::channel();
        let serving = move || async move {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let server = builder.start(listener, make()).expect("a server");
            report.send(server.local_addr()).expect("the test waits");
            let end = wakering::spawn_blocking(move || end.recv().unwrap_or_default());
            let grace = end.expect("a thread").await.expect("the word");
            server.stop(grace).await
        };
        let stopped = thread::spawn(move || wakering::run(serving()).expect("a runtime"));
        Serving { address: address.recv().expect("the server starts"), stop, stopped }
    }

    /// Starts one with the defaults.
    pub(crate) fn plain<H: Handler>(make: impl FnOnce() -> H + Send + 'static) -> Self {
        Serving::start(Server::builder(), make)
    }

    /// Stops it and tells how it ended.
    pub(crate) fn stop(self, grace: Duration) -> Stopped {
        self.stop.send(grace).expect("the server runs");
        self.stopped.join().expect("the server's thread")
    }
}

/// What a stream brought.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Statuses and fields of the interim responses.
    pub(crate) interim: Vec<(u16, HeaderMap)>,
    /// The final status; 0 when there was none.
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// Why it was reset, if it was.
    pub(crate) reset: Option<Reason>,
}

/// The protocol core on a blocking socket.
pub(crate) struct Client {
    pub(crate) core: Connection,
    socket: TcpStream,
}

impl Client {
    pub(crate) fn connect(server: &Serving) -> Client {
        Client::with(server.address, Config::default())
    }

    pub(crate) fn with(address: SocketAddr, config: Config) -> Client {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        socket.set_nodelay(true).expect("no delay");
        Client { core: Connection::client(config, 0), socket }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address")
    }

    /// A request to this server.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<()> {
        let server = self.socket.peer_addr().expect("an address");
        let uri = format!("http://{server}{path}");
        Request::builder().method(method).uri(uri).body(()).expect("a request")
    }

    /// Sends a request's head. `end`: there is no content.
    pub(crate) fn send(&mut self, request: &Request<()>, end: bool) -> StreamKey {
        let stream = self.core.request(request, end).expect("a stream");
        self.flush();
        stream
    }

    pub(crate) fn data(&mut self, stream: StreamKey, data: &[u8], end: bool) -> Result<(), CommandError> {
        let sent = self.core.send_data(stream, Bytes::copy_from_slice(data), end);
        self.flush();
        sent
    }

    /// Sends a request without content and reads its answer.
    pub(crate) fn ask(&mut self, method: Method, path: &str) -> Answer {
        let request = self.request(method, path);
        let stream = self.send(&request, true);
        self.answer(stream)
    }

    /// Reads until the stream's answer is complete or the stream is dead.
    pub(crate) fn answer(&mut self, stream: StreamKey) -> Answer {
        let mut answer = Answer::default();
        while !self.take(stream, &mut answer) {}
        self.core.finish(stream);
        self.flush();
        answer
    }

    /// Takes the next event into the answer; true at its end.
    pub(crate) fn take(&mut self, wanted: StreamKey, answer: &mut Answer) -> bool {
        match self.event().expect("the connection goes on") {
            Event::Informational { stream, response } if stream == wanted => {
                answer.interim.push((response.status().as_u16(), response.headers().clone()));
                false
            }
            Event::Response { stream, response, end } if stream == wanted => {
                answer.status = response.status().as_u16();
                answer.headers = response.headers().clone();
                end
            }
            Event::Data { stream, data, end } if stream == wanted => {
                self.core.release(stream, data.len());
                answer.content.extend_from_slice(&data);
                end
            }
            Event::Trailers { stream, trailers } if stream == wanted => {
                answer.trailers = Some(trailers);
                true
            }
            Event::Reset { stream, reason, .. } if stream == wanted => {
                answer.reset = Some(reason);
                true
            }
            Event::Closed { error } => panic!("the connection ended: {error:?}"),
            _other => false,
        }
    }

    /// The next event, waiting for it; `None` when the server ends the connection.
    pub(crate) fn event(&mut self) -> Option<Event> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(event) = self.core.poll_event(0) {
                return Some(event);
            }
            self.flush();
            if self.core.has_events() {
                continue;
            }
            match self.socket.read(&mut buffer).expect("news in time") {
                0 => return None,
                n => self.core.receive(Bytes::copy_from_slice(&buffer[..n])),
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        while self.core.has_output() {
            let mut slices = [IoSlice::new(&[]); 64];
            let used = self.core.poll_transmit(0, &mut slices);
            // A server that is gone is noticed when reading.
            let written = self.socket.write_vectored(&slices[..used]).unwrap_or(usize::MAX);
            if written == usize::MAX {
                return;
            }
            self.core.transmitted(written);
        }
    }
}
