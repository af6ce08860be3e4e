//! A bare epoll loop that echoes UDP: the floor that a runtime is measured against.
//!
//! One thread, edge-triggered. As it is, one recvmsg and one sendmsg a train, put together and cut up by the kernel (GRO and
//! GSO). With `--batches`, recvmmsg and sendmmsg of single datagrams. A receive that brings less than there is room for
//! has met the end of the queue.

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use wakering_peers::arguments::{Arguments, announce};
use wakering_peers::epoll::{self, Epoll};
use wakering_peers::udp::{self, LONGEST, Messages};

const BATCH: usize = 32;

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr"], &["batches"]);
    let socket = udp::socket(arguments.addr())?;
    socket.set_nonblocking(true)?;
    let (count, size) = if arguments.flag("batches") { (BATCH, 2048) } else { (1, LONGEST) };
    if count == 1 {
        udp::coalesce(&socket)?;
    }
    let mut epoll = Epoll::new()?;
    let fd = socket.as_raw_fd();
    epoll.add(fd, epoll::IN | epoll::EDGE, 0)?;
    announce(socket.local_addr()?);
    let mut messages = Messages::new(count, size);
    let mut used = 0;
    loop {
        epoll.wait(None)?;
        loop {
            used = match messages.receive(fd, used, 0) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    used = 0;
                    break;
                }
                Err(error) => return Err(error),
            };
            for at in 0..used {
                messages.answer(at);
            }
            let mut sent = 0;
            while sent < used {
                sent += messages.send(fd, sent, used)?;
            }
            if used < count {
                break;
            }
        }
    }
}
