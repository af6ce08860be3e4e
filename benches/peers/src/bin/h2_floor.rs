//! The floor under an HTTP/2 server: a bare epoll loop that looks at frame heads only and answers every request, once
//! it has ended, with the same bytes.
//!
//! It decodes nothing, checks nothing and minds no window (h2load opens 1 GiB of them, and it opens as much), so it is
//! not a server. Content is counted where it lies.
//! It shows what the sockets and the frames themselves cost, below which nobody can come.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::epoll::{self, Epoll};

const SCRATCH: usize = 64 * 1024;
const HEAD: usize = 9;
const PREFACE: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const END_STREAM: u8 = 0x1;

/// What a peer may send before it hears of more, on a stream and in all.
const WINDOW: u32 = 1 << 30;
/// `SETTINGS_INITIAL_WINDOW_SIZE` of that.
const SETTING: [u8; 6] = [0, 4, 0x40, 0, 0, 0];

/// `:status 200`, `content-length: 13` and `content-type: text/plain`, the two not indexed.
const FIELDS: &[u8] = b"\x88\x0f\x0d\x0213\x0f\x10\x0atext/plain";
const HELLO: &[u8] = b"Hello, World!";

struct Connection {
    stream: TcpStream,
    /// The start of a frame whose rest has not come.
    partial: Vec<u8>,
    unsent: Vec<u8>,
    greeted: bool,
    /// Content of the frame at hand that has not come.
    content: usize,
    /// The stream that ends with it.
    ends: Option<u32>,
    /// Content that came since the window was opened.
    taken: u32,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    let listener = TcpListener::bind(arguments.addr())?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    let listener_key = listener.as_raw_fd() as u64;
    epoll.add(listener.as_raw_fd(), epoll::IN | epoll::EDGE, listener_key)?;
    announce(listener.local_addr()?);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut scratch = vec![0; SCRATCH];
    loop {
        epoll.wait(None)?;
        for index in 0..epoll.len() {
            let (key, readiness) = epoll.event(index);
            if key == listener_key {
                accept(&listener, &epoll, &mut connections)?;
                continue;
            }
            let place = &mut connections[key as usize];
            let Some(connection) = place else { continue };
            if connection.serve(&mut scratch, readiness & epoll::PEER_CLOSED != 0).is_err() {
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    connections: &mut Vec<Option<Connection>>,
) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let place = stream.as_raw_fd() as usize;
        epoll.add(stream.as_raw_fd(), epoll::IN | epoll::OUT | epoll::EDGE, place as u64)?;
        if place >= connections.len() {
            connections.resize_with(place + 1, || None);
        }
        let mut unsent = Vec::new();
        push_frame(&mut unsent, SETTINGS, 0, 0, &SETTING);
        push_frame(&mut unsent, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        connections[place] = Some(Connection {
            stream,
            partial: Vec::new(),
            unsent,
            greeted: false,
            content: 0,
            ends: None,
            taken: 0,
        });
    }
}

impl Connection {
    /// Reads until the socket is drained, then writes once; an error means that the connection is over.
    fn serve(&mut self, scratch: &mut [u8], closing: bool) -> io::Result<()> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(received) => {
                    self.take(&scratch[..received]);
                    if received < scratch.len() && !closing {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, input: &[u8]) {
        if self.partial.is_empty() {
            let used = self.answer(input);
            self.partial.extend_from_slice(&input[used..]);
            return;
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(input);
        let used = self.answer(&joined);
        joined.drain(..used);
        self.partial = joined;
    }

    /// Answers the whole frames of `input` and returns their length.
    fn answer(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        if !self.greeted {
            if input.len() < PREFACE {
                return 0;
            }
            self.greeted = true;
            at = PREFACE;
        }
        loop {
            at += self.count(&input[at..]);
            let Some(&[a, b, c, kind, flags, s0, s1, s2, s3]) = input.get(at..at + HEAD) else { break };
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let stream = u32::from_be_bytes([s0, s1, s2, s3]);
            if kind == DATA {
                at += HEAD;
                self.content = length;
                self.ends = (flags & END_STREAM != 0).then_some(stream);
                self.open_window(length as u32);
                continue;
            }
            let Some(payload) = input.get(at + HEAD..at + HEAD + length) else { break };
            at += HEAD + length;
            match kind {
                HEADERS if flags & END_STREAM != 0 => self.respond(stream),
                SETTINGS | PING if flags & ACK == 0 => {
                    let back = if kind == PING { payload } else { &[] };
                    push_frame(&mut self.unsent, kind, ACK, 0, back);
                }
                _ => {}
            }
        }
        at
    }

    /// Passes over content; its last piece may end a request.
    fn count(&mut self, input: &[u8]) -> usize {
        let here = self.content.min(input.len());
        self.content -= here;
        if self.content == 0 {
            if let Some(stream) = self.ends.take() {
                self.respond(stream);
            }
        }
        here
    }

    fn respond(&mut self, stream: u32) {
        push_frame(&mut self.unsent, HEADERS, END_HEADERS, stream, FIELDS);
        push_frame(&mut self.unsent, DATA, END_STREAM, stream, HELLO);
    }

    fn open_window(&mut self, taken: u32) {
        self.taken += taken;
        if self.taken >= WINDOW / 2 {
            push_frame(&mut self.unsent, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
    }
}

fn push_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags, s0, s1, s2, s3]);
    out.extend_from_slice(payload);
}
