//! A load for UDP echo servers: a fixed number of datagrams on their way, each answer compared with what was sent.
//!
//! `--size BYTES` a datagram; they are sent 32 at once, as a train that the kernel cuts up or, with `--singles`, one by one by
//! sendmmsg. It warms the server up with `--warm-up` datagrams, says `ready`, waits for a line, and does `--requests`.
//! A datagram that does not come back within a second ends it with code 1.

use std::io::{self, BufRead};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use wakering_peers::arguments::Arguments;
use wakering_peers::udp::{self, LONGEST, Messages};

/// Datagrams sent at once.
const TRAIN: usize = 32;
/// Datagrams on their way: no more than an ordinary receive buffer holds of the longer ones.
const WINDOW: usize = 64;

struct Client {
    socket: UdpSocket,
    size: usize,
    outgoing: Messages,
    /// Messages of one send.
    count: usize,
    incoming: Messages,
    used: usize,
    expected: Vec<u8>,
}

impl Client {
    fn new(server: SocketAddr, size: usize, singles: bool) -> io::Result<Client> {
        let socket = udp::socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        udp::coalesce(&socket)?;
        let (count, len) = if singles { (TRAIN, size) } else { (1, TRAIN * size) };
        let mut outgoing = Messages::new(count, len);
        let expected: Vec<u8> = (0..size).map(|at| (at * 7 + 1) as u8).collect();
        for at in 0..count {
            for datagram in outgoing.bytes(at, len).chunks_mut(size) {
                datagram.copy_from_slice(&expected);
            }
            outgoing.to_peer(at, len, (!singles).then_some(size));
        }
        Ok(Client {
            socket,
            size,
            outgoing,
            count,
            incoming: Messages::new(WINDOW, LONGEST),
            used: 0,
            expected,
        })
    }

    fn run(&mut self, requests: usize) -> io::Result<()> {
        let fd = self.socket.as_raw_fd();
        let (mut sent, mut back) = (0, 0);
        while back < requests {
            while sent < requests && sent + TRAIN <= back + WINDOW {
                let mut done = 0;
                while done < self.count {
                    done += self.outgoing.send(fd, done, self.count)?;
                }
                sent += TRAIN;
            }
            self.used = self.incoming.receive(fd, self.used, libc::MSG_WAITFORONE)?;
            for at in 0..self.used {
                let len = self.incoming.len(at);
                for datagram in self.incoming.bytes(at, len).chunks(self.size) {
                    if datagram != self.expected {
                        return Err(io::Error::other("an answer differs from what was sent"));
                    }
                    back += 1;
                }
            }
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr", "size", "warm-up", "requests"], &["singles"]);
    let size = arguments.value("size", 64);
    let mut client = Client::new(arguments.addr(), size, arguments.flag("singles"))?;
    let whole = |requests: usize| requests.div_ceil(TRAIN) * TRAIN;
    client.run(whole(arguments.value("warm-up", 1000)))?;
    println!("ready");
    io::stdin().lock().read_line(&mut String::new())?;
    let (requests, start) = (whole(arguments.value("requests", 100_000)), Instant::now());
    client.run(requests)?;
    println!("done {requests} {:.6}", start.elapsed().as_secs_f64());
    Ok(())
}
