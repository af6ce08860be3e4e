//! Parts of a file as content: read by threads that may wait, when there is room to send.

use std::{
    collections::VecDeque,
    fs::File,
    future::Future,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use wakering::{
    BlockingHandle,
    http::{self, BodyError, Frame},
    spawn_blocking,
};

/// What is read at a time, and so what a download holds in memory.
const CHUNK: u64 = 128 * 1024;

/// What is read together with opening the file.
const SMALL: u64 = 64 * 1024;

pub(crate) enum Piece {
    Bytes(Bytes),
    File(Range<u64>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(range) => range.end - range.start,
        }
    }
}

pub(crate) struct Content {
    file: Arc<File>,
    pieces: VecDeque<Piece>,
    length: u64,
    reading: Option<BlockingHandle<io::Result<Bytes>>>,
}

impl Content {
    pub(crate) fn new(file: File, pieces: Vec<Piece>) -> Content {
        let length = pieces.iter().map(Piece::length).sum();
        Content { file: Arc::new(file), pieces: pieces.into(), length, reading: None }
    }

    /// All of it at once, if that is not much; for threads that may wait.
    pub(crate) fn small(self) -> Result<Bytes, Content> {
        if self.length > SMALL {
            return Err(self);
        }
        let mut all = BytesMut::new();
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => all.extend_from_slice(bytes),
                Piece::File(range) => match read(&self.file, range.clone()) {
                    Ok(bytes) => all.extend_from_slice(&bytes),
                    // It fails again, and tells the client by resetting the stream.
                    Err(_) => return Err(self),
                },
            }
        }
        Ok(all.freeze())
    }

    /// Has the next chunk read.
    fn begin(&mut self, range: Range<u64>) -> Result<(), BodyError> {
        let end = range.end.min(range.start + CHUNK);
        if end < range.end {
            self.pieces.push_front(Piece::File(end..range.end));
        }
        let file = self.file.clone();
        let job = spawn_blocking(move || read(&file, range.start..end));
        self.reading = Some(job.map_err(BodyError::source)?);
        Ok(())
    }
}

impl http::Content for Content {
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                let bytes = read.map_err(BodyError::source)?.map_err(BodyError::source)?;
                return Poll::Ready(Some(Ok(Frame::Data(bytes))));
            }
            match self.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::Data(bytes)))),
                Some(Piece::File(range)) if range.is_empty() => {}
                Some(Piece::File(range)) => self.begin(range)?,
            }
        }
    }

    fn exact_length(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// Reads all of a range; a file that has become shorter is an error.
fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed((range.end - range.start) as usize);
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.freeze())
}
