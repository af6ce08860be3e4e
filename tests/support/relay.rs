//! A relay on the loopback address that holds every byte for a while, in each direction: a long path without a network.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Reads that may be on their way in one direction, of 64 KiB at most each: what a path of 1 Gbit/s and 250 ms holds.
const READS: usize = 512;

/// Accepts one connection after the other, for as long as the test lives.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
}

impl Relay {
    /// Relays to `target`, `delay` each way.
    pub(crate) fn start(target: SocketAddr, delay: Duration) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(target).expect("the target accepts");
                carry(&near, &far, delay);
                carry(&far, &near, delay);
            }
        });
        Relay { address }
    }
}

/// Carries one direction, with a thread that takes the time of what comes and one that waits until it is due.
fn carry(from: &TcpStream, to: &TcpStream, delay: Duration) {
    let (sender, receiver) = sync_channel(READS);
    for socket in [from, to] {
        socket.set_nodelay(true).expect("no delay");
    }
    let (from, to) = (from.try_clone().expect("a descriptor"), to.try_clone().expect("a descriptor"));
    thread::spawn(move || take(from, &sender, delay));
    thread::spawn(move || put(to, &receiver));
}

fn take(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if sender.send((Instant::now() + delay, buffer[..n].to_vec())).is_err() {
            return;
        }
    }
}

fn put(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
