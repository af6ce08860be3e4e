//! A server of HTTP/1 that writes by hand, on a thread of its own, for clients to be tried on.

#![expect(dead_code, reason = "every test file uses its own part of this")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Keeps the expectation above true in a program that happens to use everything.
const UNUSED: () = ();

/// Long enough for a loaded machine; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A script on its thread; its panic is the test's.
pub(crate) struct ByHand {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl ByHand {
    /// Runs `script` beside the test.
    pub(crate) fn start(script: impl FnOnce(&TcpListener) + Send + 'static) -> ByHand {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        ByHand { address, thread: thread::spawn(move || script(&listener)) }
    }

    /// Runs `script` with the first connection.
    pub(crate) fn serving(script: impl FnOnce(&mut Peer) + Send + 'static) -> ByHand {
        ByHand::start(move |listener| script(&mut accept(listener)))
    }

    /// The target with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for the script to end.
    pub(crate) fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Takes the next connection.
pub(crate) fn accept(listener: &TcpListener) -> Peer {
    let (socket, _) = listener.accept().expect("a client");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    socket.set_nodelay(true).expect("no delay");
    Peer { socket, rest: Vec::new() }
}

/// A client's connection.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    /// What was read and not looked at.
    rest: Vec<u8>,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The request line.
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Asked {
    /// The only field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} twice: {self:?}");
        value
    }
}

impl Peer {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the client reads");
    }

    /// A whole answer 200 with this content.
    pub(crate) fn answer(&mut self, content: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len()));
    }

    /// The next request with its content.
    pub(crate) fn request(&mut self) -> Asked {
        self.maybe_request().expect("a request, not the end")
    }

    /// The next request, or `None` at the end of the connection.
    pub(crate) fn maybe_request(&mut self) -> Option<Asked> {
        let mut asked = self.maybe_head()?;
        if asked.field("transfer-encoding").is_some() {
            self.chunks(&mut asked);
        } else if let Some(length) = asked.field("content-length") {
            let length = length.parse().expect("a length");
            asked.content = self.octets(length);
        }
        Some(asked)
    }

    /// The next request's head.
    pub(crate) fn head(&mut self) -> Asked {
        self.maybe_head().expect("a request, not the end")
    }

    fn maybe_head(&mut self) -> Option<Asked> {
        while !contains(&self.rest, b"\r\n\r\n") {
            if !self.read() {
                assert!(
                    self.rest.is_empty(),
                    "a part of a request: {:?}",
                    String::from_utf8_lossy(&self.rest)
                );
                return None;
            }
        }
        let line = self.line();
        let fields = self.fields();
        Some(Asked { line, fields, content: Vec::new(), trailers: Vec::new() })
    }

    /// Lines up to an empty one.
    fn fields(&mut self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return fields;
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
            fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.rest.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8(self.rest[..end].to_vec()).expect("a line in ASCII");
                self.rest.drain(..end + 2);
                assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
                return line;
            }
            assert!(self.read(), "the end inside a line: {:?}", String::from_utf8_lossy(&self.rest));
        }
    }

    /// Exactly so many octets.
    pub(crate) fn octets(&mut self, count: usize) -> Vec<u8> {
        while self.rest.len() < count {
            assert!(self.read(), "the end inside content: {} of {count}", self.rest.len());
        }
        self.rest.drain(..count).collect()
    }

    /// One chunk; empty for the last.
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let line = self.line();
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
        let content = self.octets(size);
        if size > 0 {
            assert_eq!(self.octets(2), b"\r\n");
        }
        content
    }

    fn chunks(&mut self, asked: &mut Asked) {
        loop {
            let piece = self.chunk();
            if piece.is_empty() {
                break;
            }
            asked.content.extend(piece);
        }
        asked.trailers = self.fields();
    }

    /// Whether the connection ends here, without another octet; a reset is an end, too.
    pub(crate) fn ends(&mut self) -> bool {
        self.rest.is_empty() && !self.read()
    }

    /// Reads and forgets up to the end; says how much it was.
    pub(crate) fn drain(&mut self) -> usize {
        let mut count = self.rest.len();
        self.rest.clear();
        while self.read() {
            count += self.rest.len();
            self.rest.clear();
        }
        count
    }

    /// Reads on; false at the end of the connection.
    fn read(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut piece) {
                Ok(n) => {
                    self.rest.extend_from_slice(&piece[..n]);
                    return n > 0;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
                Err(error) => panic!("{error} behind {:?}", String::from_utf8_lossy(&self.rest)),
            }
        }
    }
}

fn contains(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}
