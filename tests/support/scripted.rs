//! A server that writes its frames by hand, on a thread of its own, for clients to be tried on.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::h2::Raw;
use super::octets::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, PREFACE, SETTINGS, fields, frame, settings,
};

/// A script on its thread; its panic is the test's.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Scripted {
    /// Runs `script` beside the test.
    pub(crate) fn start(script: impl FnOnce(&TcpListener) + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        Scripted { address, thread: thread::spawn(move || script(&listener)) }
    }

    /// Runs `script` with the first connection, once preface and SETTINGS have been exchanged; these are `entries`.
    pub(crate) fn serving(
        entries: &'static [(u16, u32)],
        script: impl FnOnce(&mut Raw) + Send + 'static,
    ) -> Scripted {
        Scripted::start(move |listener| script(&mut accept(listener, entries)))
    }

    /// Waits for the script to end.
    pub(crate) fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Takes the next connection, and exchanges preface and SETTINGS.
pub(crate) fn accept(listener: &TcpListener, entries: &[(u16, u32)]) -> Raw {
    let mut raw = accept_mute(listener);
    raw.send(&settings(entries));
    let mut preface = [0; PREFACE.len()];
    raw.socket.read_exact(&mut preface).expect("a preface");
    assert_eq!(preface, PREFACE);
    let first = raw.read().expect("SETTINGS");
    assert_eq!((first.kind, first.flags, first.stream), (SETTINGS, 0, 0));
    raw.send(&frame(SETTINGS, ACK, 0, &[]));
    raw
}

/// Takes the next connection without a word.
pub(crate) fn accept_mute(listener: &TcpListener) -> Raw {
    let (socket, _) = listener.accept().expect("a client");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    socket.set_nodelay(true).expect("no delay");
    Raw { socket }
}

/// A head with these fields, none of them indexed.
pub(crate) fn head(stream: u32, flags: u8, list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, &fields(list))
}

/// A whole answer 200 with this content.
pub(crate) fn answer(stream: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = head(stream, 0, &[(":status", "200")]);
    bytes.extend(frame(DATA, END_STREAM, stream, content));
    bytes
}

impl Raw {
    /// The stream of the next request head.
    pub(crate) fn request(&mut self) -> u32 {
        self.read_until(|frame| frame.kind == HEADERS).stream
    }

    /// Reads up to the end of a stream's message, and gives its content.
    pub(crate) fn content(&mut self, stream: u32) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let frame = self.read_until(|frame| frame.stream == stream && frame.kind == DATA);
            content.extend(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                return content;
            }
        }
    }

    /// The next frame of this kind.
    pub(crate) fn next(&mut self, kind: u8) -> Frame {
        self.read_until(|frame| frame.kind == kind)
    }
}
