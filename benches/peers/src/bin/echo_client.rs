//! Load for a TCP echo server: a closed loop of fixed-size messages over N connections, every answer compared.
//!
//! It speaks with its driver over standard output and input, so that the server is looked at between two points
//! at which it has nothing to do:
//!
//! 1. connects, makes `--warm-up` round trips, makes one on each of `--idle` more connections, prints `ready`, waits
//!    for a line;
//! 2. makes `--requests` round trips, prints `done REQUESTS SECONDS`, waits for a line;
//! 3. closes its connections and ends. A server that answers wrongly, or not for ten seconds, ends it with code 1.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use wakering_peers::arguments::{Arguments, wait_for_driver};
use wakering_peers::epoll::{self, Epoll};

const SILENCE: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    /// Marks each message, so that an answer to another one is not taken for this one's.
    stamp: u64,
    sent: usize,
    received: usize,
}

struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    message: Vec<u8>,
    scratch: Vec<u8>,
    to_start: u64,
    in_flight: usize,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr", "connections", "size", "warm-up", "requests", "idle"], &[]);
    let connections: usize = arguments.value("connections", 64);
    let size: usize = arguments.value("size", 1024);
    let mut load = Load::connect(arguments.addr(), connections.max(1), size.max(16))?;
    load.make(arguments.value("warm-up", 0))?;
    let _idle = Load::idle(arguments.addr(), arguments.value("idle", 0), size.max(16))?;
    println!("ready");
    wait_for_driver()?;
    let requests = arguments.value("requests", 0);
    let started = Instant::now();
    load.make(requests)?;
    println!("done {requests} {:.6}", started.elapsed().as_secs_f64());
    wait_for_driver()
}

impl Load {
    fn connect(addr: SocketAddr, count: usize, size: usize) -> io::Result<Load> {
        let epoll = Epoll::new()?;
        let mut connections = Vec::with_capacity(count);
        for index in 0..count as u64 {
            let stream = TcpStream::connect_timeout(&addr, SILENCE)?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll.add(stream.as_raw_fd(), epoll::IN | epoll::OUT | epoll::EDGE, index)?;
            connections.push(Connection { stream, stamp: index << 32, sent: 0, received: 0 });
        }
        let message = (0..size).map(|index| index as u8).collect();
        // One byte more than is due, so that a server that sends too much is found out.
        Ok(Load { epoll, connections, message, scratch: vec![0; size + 1], to_start: 0, in_flight: 0 })
    }

    /// Connections that have made a round trip each, and rest.
    fn idle(addr: SocketAddr, count: usize, size: usize) -> io::Result<Load> {
        let mut load = Load::connect(addr, count, size)?;
        load.make(count as u64)?;
        Ok(load)
    }

    /// Makes `count` round trips and comes back when none is under way.
    fn make(&mut self, count: u64) -> io::Result<()> {
        self.to_start = count;
        for index in 0..self.connections.len() {
            self.start(index)?;
        }
        while self.in_flight > 0 {
            self.epoll.wait(Some(SILENCE))?;
            if self.epoll.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "the server has fallen silent"));
            }
            for event in 0..self.epoll.len() {
                let (index, _) = self.epoll.event(event);
                self.go_on(index as usize)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize) -> io::Result<()> {
        if self.to_start == 0 {
            return Ok(());
        }
        self.to_start -= 1;
        self.in_flight += 1;
        let connection = &mut self.connections[index];
        connection.stamp += 1;
        connection.sent = 0;
        connection.received = 0;
        self.stamp(index);
        self.send(index)
    }

    fn go_on(&mut self, index: usize) -> io::Result<()> {
        let size = self.message.len();
        if self.connections[index].received == size {
            return Ok(());
        }
        self.stamp(index);
        if self.connections[index].sent < size {
            self.send(index)?;
        }
        let connection = &mut self.connections[index];
        if connection.sent == 0 {
            return Ok(());
        }
        let received = match connection.stream.read(&mut self.scratch) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed")),
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let from = connection.received;
        let matches = self.message.get(from..from + received) == Some(&self.scratch[..received]);
        if !matches {
            return Err(io::Error::new(ErrorKind::InvalidData, "the answer is not what was sent"));
        }
        connection.received += received;
        if connection.received == size {
            self.in_flight -= 1;
            self.start(index)?;
        }
        Ok(())
    }

    /// Makes the shared message this connection's, at both ends of it.
    fn stamp(&mut self, index: usize) {
        let stamp = self.connections[index].stamp.to_le_bytes();
        let tail = self.message.len() - stamp.len();
        self.message[..stamp.len()].copy_from_slice(&stamp);
        self.message[tail..].copy_from_slice(&stamp);
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        match connection.stream.write(&self.message[connection.sent..]) {
            Ok(sent) => connection.sent += sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
