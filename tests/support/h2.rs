//! A client that speaks just enough HTTP/2 to be awkward: it writes frames by hand, byte by byte if need be.
//!
//! Header blocks use the static table and plain literals only, so that no state is shared with what is tested.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) use super::octets::*;

/// A connection whose every read has a time limit, so that silence is a failure.
pub(crate) struct Raw {
    pub(crate) socket: TcpStream,
}

impl Raw {
    /// Connects without a word.
    pub(crate) fn connect(address: SocketAddr) -> Raw {
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
        socket.set_nodelay(true).expect("no delay");
        Raw { socket }
    }

    /// Connects, sends preface and empty settings, and acknowledges the server's.
    pub(crate) fn open(address: SocketAddr) -> Raw {
        let mut raw = Raw::connect(address);
        raw.send(PREFACE);
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        let settings = raw.read_until(|frame| frame.kind == SETTINGS && frame.flags & ACK == 0);
        assert_eq!(settings.stream, 0);
        raw.send(&frame(SETTINGS, ACK, 0, &[]));
        raw
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    /// The next frame; `None` at the end of the connection, however it came.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        match self.socket.read_exact(&mut head) {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
            {
                return None;
            }
            Err(error) => panic!("no frame: {error}"),
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).expect("a whole frame");
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first bytes that come, if any do.
    pub(crate) fn try_read(&mut self) -> Option<Vec<u8>> {
        let mut room = vec![0; 1024];
        let count = self.socket.read(&mut room).ok().filter(|count| *count > 0)?;
        room.truncate(count);
        Some(room)
    }

    /// Reads up to the first frame that fits.
    pub(crate) fn read_until(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.read().expect("the connection goes on");
            if fits(&frame) {
                return frame;
            }
        }
    }

    /// Reads the whole answer on a stream: its header block and its body; trailers are passed over.
    pub(crate) fn answer(&mut self, stream: u32) -> (Vec<u8>, Vec<u8>) {
        let (mut block, mut body) = (Vec::new(), Vec::new());
        loop {
            let frame = self.read_until(|frame| frame.stream == stream);
            match frame.kind {
                HEADERS if block.is_empty() => block = frame.payload,
                HEADERS if frame.flags & END_STREAM != 0 => {}
                DATA => body.extend(frame.payload),
                kind => panic!("frame type {kind} on stream {stream}"),
            }
            if frame.flags & END_STREAM != 0 {
                return (block, body);
            }
        }
    }
}

/// The header block of a request without a body: `:method GET`, `:scheme http`, `:path`, `:authority`.
pub(crate) fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    literal(&mut block, 4, path);
    literal(&mut block, 1, "localhost");
    block
}

/// The header block of a `POST`.
pub(crate) fn post(path: &str) -> Vec<u8> {
    let mut block = get(path);
    block[0] = 0x83;
    block
}

/// A literal that is not indexed, with its name from the static table (RFC 7541 §6.2.2).
fn literal(block: &mut Vec<u8>, name: u8, value: &str) {
    block.push(name);
    block.push(u8::try_from(value.len()).ok().filter(|length| *length < 127).expect("a short value"));
    block.extend(value.bytes());
}

/// Is this the header block of an answer 200? `:status 200` is entry 8 of the static table; a size update of the
/// dynamic table may stand before it.
pub(crate) fn is_200(block: &[u8]) -> bool {
    block.iter().find(|byte| **byte & 0xe0 != 0x20) == Some(&0x88)
}
