//! A client that writes whatever frames it likes, and notes how the server ends it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::h2_wire::{ACK, DATA, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, frame, settings};

/// Why an attack goes no further: the connection has ended, or time is up.
#[derive(Debug)]
pub(crate) struct Over;

/// What one connection of an attacker came to.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Code and words of the last GOAWAY.
    pub(crate) goaway: Option<(u32, String)>,
    /// Streams that were reset, by code.
    pub(crate) resets: BTreeMap<u32, u64>,
    /// Header blocks, those of status 200 among them, and DATA bytes.
    pub(crate) heads: u64,
    pub(crate) fine: u64,
    pub(crate) content: u64,
    /// The server ended the connection.
    pub(crate) ended: bool,
}

pub(crate) struct Foe {
    socket: TcpStream,
    until: Instant,
    /// Whether it reads while it attacks.
    pub(crate) reads: bool,
    /// Whether it acknowledges the server's PING and SETTINGS.
    pub(crate) polite: bool,
    inbox: Vec<u8>,
    pub(crate) seen: Seen,
}

impl Foe {
    /// Connects without a word.
    pub(crate) fn connect(address: SocketAddr, until: Instant) -> Foe {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_nodelay(true).expect("no delay");
        socket.set_write_timeout(Some(Duration::from_millis(20))).expect("a time limit");
        Foe { socket, until, reads: true, polite: true, inbox: Vec::new(), seen: Seen::default() }
    }

    /// As many more connections to the same server; fewer when it takes no more.
    pub(crate) fn more(&self, connections: usize) -> Vec<Foe> {
        let address = self.socket.peer_addr();
        let one = |address| Foe::connect(address, self.until);
        (0..connections).filter_map(|_| address.as_ref().ok().copied().map(one)).collect()
    }

    /// Preface, settings, and the acknowledgement of the server's.
    pub(crate) fn greet(&mut self, entries: &[(u16, u32)]) -> Result<(), Over> {
        self.send(&[PREFACE, &settings(entries), &frame(SETTINGS, ACK, 0, &[])].concat())
    }

    /// Writes all of it, and takes in what the server says meanwhile.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        let mut left = bytes;
        while !left.is_empty() {
            self.go_on()?;
            match self.socket.write(left) {
                Ok(n) => {
                    self.seen.sent += n as u64;
                    left = &left[n..];
                }
                Err(error) if is_wait(&error) => {}
                Err(_gone) => return self.end(),
            }
        }
        self.go_on()
    }

    /// Ready to go on, after a look at what came.
    pub(crate) fn go_on(&mut self) -> Result<(), Over> {
        if self.reads {
            self.drain();
        }
        if self.is_over() || Instant::now() >= self.until { Err(Over) } else { Ok(()) }
    }

    /// Waits until the server ends the connection, or time is up; drips `bytes` meanwhile, one every few milliseconds.
    pub(crate) fn drip(&mut self, bytes: &[u8]) -> Result<(), Over> {
        for byte in bytes {
            self.send(&[*byte])?;
            self.rest()?;
        }
        Ok(())
    }

    /// Does nothing for a while but listen.
    pub(crate) fn rest(&mut self) -> Result<(), Over> {
        self.listen(Duration::from_millis(5));
        if self.is_over() || Instant::now() >= self.until { Err(Over) } else { Ok(()) }
    }

    /// Takes in one byte, as a reader who is slow on purpose.
    pub(crate) fn sip(&mut self) -> Result<(), Over> {
        self.socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a time limit");
        self.take(&mut [0]);
        self.rest_without_reading()
    }

    /// Lets a little time pass.
    pub(crate) fn rest_without_reading(&mut self) -> Result<(), Over> {
        std::thread::sleep(Duration::from_millis(5));
        if self.is_over() || Instant::now() >= self.until { Err(Over) } else { Ok(()) }
    }

    /// Whether the server has ended it.
    pub(crate) fn is_over(&self) -> bool {
        self.seen.ended || self.seen.goaway.is_some()
    }

    fn end(&mut self) -> Result<(), Over> {
        self.seen.ended = true;
        Err(Over)
    }

    fn drain(&mut self) {
        self.socket.set_nonblocking(true).expect("a socket");
        let mut room = [0; 16 * 1024];
        while self.take(&mut room) {}
        self.socket.set_nonblocking(false).expect("a socket");
    }

    /// Waits for something to come.
    pub(crate) fn hear(&mut self) {
        self.listen(Duration::from_secs(1));
    }

    fn listen(&mut self, limit: Duration) {
        self.socket.set_read_timeout(Some(limit)).expect("a time limit");
        self.take(&mut [0; 16 * 1024]);
    }

    /// One read; whether it brought anything.
    fn take(&mut self, room: &mut [u8]) -> bool {
        match self.socket.read(room) {
            Ok(0) => self.seen.ended = true,
            Ok(n) => {
                self.seen.received += n as u64;
                self.inbox.extend_from_slice(&room[..n]);
                self.parse();
                return true;
            }
            Err(error) if is_wait(&error) => {}
            Err(_reset) => self.seen.ended = true,
        }
        false
    }

    fn parse(&mut self) {
        let mut at = 0;
        while let Some(head) = self.inbox.get(at..at + 9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = self.inbox.get(at + 9..at + 9 + length) else { break };
            match kind {
                GOAWAY => {
                    let code = u32::from_be_bytes(payload[4..8].try_into().expect("four bytes"));
                    self.seen.goaway = Some((code, String::from_utf8_lossy(&payload[8..]).into_owned()));
                }
                RST_STREAM => {
                    let code = u32::from_be_bytes(payload.try_into().expect("four bytes"));
                    *self.seen.resets.entry(code).or_default() += 1;
                }
                HEADERS => {
                    self.seen.heads += 1;
                    self.seen.fine += u64::from(crate::support::h2::is_200(payload));
                }
                DATA => self.seen.content += length as u64,
                PING if flags & ACK == 0 && self.polite => {
                    let pong = frame(PING, ACK, 0, payload);
                    // A server that is gone will be noticed by the next write.
                    let _ = self.socket.write(&pong);
                }
                _ => {}
            }
            at += 9 + length;
        }
        self.inbox.drain(..at);
    }

    /// Hears the server out to the end of the connection, if it ends it within `limit`.
    pub(crate) fn hear_out(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.seen.ended && Instant::now() < end {
            self.listen(Duration::from_millis(20));
        }
    }
}

fn is_wait(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
