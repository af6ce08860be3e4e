//! What an exchange of authenticated, encrypted messages takes at least: octets with their SHA-256 in front, XORed with digests
//! of numbers, there and back, between two loops that never sleep and do nothing else.
//!
//! A sender cannot begin to send before it has the digest, a receiver cannot answer before it has compared it, and SHA-256
//! hashes one block after the other. The key stream has a block for every 32 octets, which do not depend on each other.
//! `--plain` leaves it out. `--serve` is the end that answers; the load speaks with its driver as `echo_client` does.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256, compress256, digest::generic_array::GenericArray};
use wakering_peers::arguments::{Arguments, announce, wait_for_driver};

const DIGEST: usize = 32;
/// Blocks of the key stream that are hashed one behind the other, and so by the processor several at a time.
const ABREAST: usize = 8;
const SILENCE: Duration = Duration::from_secs(10);

fn main() -> io::Result<()> {
    let arguments = Arguments::read(&["addr", "size", "warm-up", "requests"], &["serve", "plain"]);
    let mut message = vec![b'x'; DIGEST + arguments.value("size", 60_000)];
    if arguments.flag("serve") {
        let listener = TcpListener::bind(arguments.addr())?;
        announce(listener.local_addr()?);
        let mut end = End::new(listener.accept()?.0, &arguments)?;
        while end.receive(&mut message)? {
            end.send(&mut message)?;
        }
        return Ok(());
    }
    let mut end = End::new(TcpStream::connect_timeout(&arguments.addr(), SILENCE)?, &arguments)?;
    end.ask(&mut message, arguments.value("warm-up", 0))?;
    println!("ready");
    wait_for_driver()?;
    let requests = arguments.value("requests", 0);
    let started = Instant::now();
    end.ask(&mut message, requests)?;
    println!("done {requests} {:.6}", started.elapsed().as_secs_f64());
    wait_for_driver()
}

struct End {
    stream: TcpStream,
    encrypts: bool,
}

impl End {
    fn new(stream: TcpStream, arguments: &Arguments) -> io::Result<End> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(End { stream, encrypts: !arguments.flag("plain") })
    }

    fn ask(&mut self, message: &mut [u8], requests: u64) -> io::Result<()> {
        for _ in 0..requests {
            self.send(message)?;
            if !self.receive(message)? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Puts the digest in front and sends it all.
    fn send(&mut self, message: &mut [u8]) -> io::Result<()> {
        let digest = Sha256::digest(&message[DIGEST..]);
        message[..DIGEST].copy_from_slice(&digest);
        self.apply_key_stream(message);
        let mut sent = 0;
        while sent < message.len() {
            sent += spin(|| self.stream.write(&message[sent..]))?;
        }
        Ok(())
    }

    /// Takes one message and compares its digest; false when the peer has ended.
    fn receive(&mut self, message: &mut [u8]) -> io::Result<bool> {
        let mut received = 0;
        while received < message.len() {
            match spin(|| self.stream.read(&mut message[received..]))? {
                0 if received == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => received += count,
            }
        }
        self.apply_key_stream(message);
        let (digest, octets) = message.split_at(DIGEST);
        if Sha256::digest(octets)[..] == *digest { Ok(true) } else { Err(ErrorKind::InvalidData.into()) }
    }

    /// XORs a compression of each number onto 32 octets.
    fn apply_key_stream(&self, octets: &mut [u8]) {
        if !self.encrypts {
            return;
        }
        let (mut blocks, mut numbers) = ([GenericArray::from([b'k'; 64]); ABREAST], 0u32..);
        for pieces in octets.chunks_mut(DIGEST * ABREAST) {
            let mut pads = [[0u32; 8]; ABREAST];
            for (block, number) in blocks.iter_mut().zip(&mut numbers) {
                block[32..36].copy_from_slice(&number.to_be_bytes());
            }
            for (pad, block) in pads.iter_mut().zip(&blocks) {
                compress256(pad, std::slice::from_ref(block));
            }
            for (piece, word) in pieces.as_chunks_mut().0.iter_mut().zip(pads.as_flattened()) {
                *piece = (u32::from_be_bytes(*piece) ^ word).to_be_bytes();
            }
        }
    }
}

/// Tries until the socket is ready; an end that hears nothing for `SILENCE` gives up.
fn spin(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let started = Instant::now();
    loop {
        for _ in 0..1000 {
            match attempt() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
                outcome => return outcome,
            }
        }
        if started.elapsed() > SILENCE {
            return Err(io::Error::new(ErrorKind::TimedOut, "the other end has fallen silent"));
        }
    }
}
