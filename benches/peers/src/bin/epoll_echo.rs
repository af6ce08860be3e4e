//! A bare epoll loop that echoes TCP: the floor that a runtime is measured against.
//!
//! One thread, edge-triggered, one 64 KiB scratch for all connections, an event goes straight to `recv` and
//! `send`. A read that returns less than was asked for has drained the socket, so a round trip costs two
//! system calls and its share of a wait. Nothing here could be left out of a correct server: what a runtime
//! costs above it is what the runtime costs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::epoll::{self, Epoll};

const SCRATCH: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    /// What the peer's window had no room for; nothing is read while there is some.
    unsent: Vec<u8>,
}

enum Outcome {
    Open,
    Closed,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// By descriptor number, which the kernel keeps small.
    connections: Vec<Option<Connection>>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &[]);
    let listener = TcpListener::bind(arguments.addr())?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), epoll::IN | epoll::EDGE, listener.as_raw_fd() as u64)?;
    announce(listener.local_addr()?);
    Server { epoll, listener, connections: Vec::new() }.run()
}

impl Server {
    fn run(&mut self) -> io::Result<()> {
        let listener = self.listener.as_raw_fd() as u64;
        let mut scratch = vec![0; SCRATCH];
        loop {
            self.epoll.wait(None)?;
            for index in 0..self.epoll.len() {
                let (key, readiness) = self.epoll.event(index);
                if key == listener {
                    self.accept()?;
                    continue;
                }
                let place = &mut self.connections[key as usize];
                let Some(connection) = place else { continue };
                if let Outcome::Closed = connection.echo(&mut scratch, readiness) {
                    *place = None;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let fd = stream.as_raw_fd();
            self.epoll.add(fd, epoll::IN | epoll::OUT | epoll::EDGE, fd as u64)?;
            let place = fd as usize;
            if place >= self.connections.len() {
                self.connections.resize_with(place + 1, || None);
            }
            self.connections[place] = Some(Connection { stream, unsent: Vec::new() });
        }
    }
}

impl Connection {
    /// Moves bytes until the socket has no more of them or takes no more of them.
    fn echo(&mut self, scratch: &mut [u8], readiness: u32) -> Outcome {
        // After the peer has closed its side the end of the stream is still to be read: no new edge tells of it.
        let closing = readiness & epoll::PEER_CLOSED != 0;
        loop {
            if !self.unsent.is_empty() {
                match self.stream.write(&self.unsent) {
                    Ok(sent) => drop(self.unsent.drain(..sent)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                    Err(_) => return Outcome::Closed,
                }
                continue;
            }
            let received = match self.stream.read(scratch) {
                Ok(0) => return Outcome::Closed,
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Open,
                Err(_) => return Outcome::Closed,
            };
            match self.stream.write(&scratch[..received]) {
                Ok(sent) if sent < received => self.unsent.extend_from_slice(&scratch[sent..received]),
                Ok(_) if received < scratch.len() && !closing => return Outcome::Open,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(&scratch[..received]);
                }
                Err(_) => return Outcome::Closed,
            }
        }
    }
}
