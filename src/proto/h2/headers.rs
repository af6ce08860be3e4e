//! HEADERS and CONTINUATION: gathering a header block, and what it means for its stream.
//!
//! A block in one frame is decoded where it lies. Whatever is wrong with a stream, its block is decoded all the
//! same: the compression state belongs to the connection.

use http::{HeaderMap, Request, StatusCode, header};

use super::connection::{Connection, Found, Going, Role};
use super::error::{Fault, Reason};
use super::event::Event;
use super::flow::{ReceiveWindow, SendWindow};
use super::frame::{self, END_HEADERS, END_STREAM, Head, Kind, MAX_STREAM_ID};
use super::head::{Asking, HeadSink, Malformed, Shape};
use super::hpack::{DecodeError, Decoded, Field};
use super::output::Part;
use super::priority;
use super::repeats::Facts;
use super::stream::{Asked, Content, Mismatch, Receiving, Sending, StreamKey};
use super::streams::Ending;
use super::trip::Trip;

/// What a HEADERS frame said besides its block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) stream: u32,
    pub(super) end: bool,
    /// The stream depends on itself (RFC 7540 §5.3.1).
    pub(super) circular: bool,
}

/// A header block that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) opening: Opening,
    /// Where the HEADERS frame began in what was received.
    pub(super) offset: u64,
    block: Vec<u8>,
    continuations: u32,
}

/// What a header block is for.
enum Target {
    Request,
    Response(StreamKey),
    Trailers(StreamKey),
    /// Nobody: decoded for the table's sake, then the fault, if any.
    Nobody(Option<Fault>),
}

impl Connection {
    #[inline]
    pub(super) fn on_headers(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        if head.stream == 0 {
            return Err(Fault::protocol("HEADERS on stream 0"));
        }
        let layout =
            frame::headers_layout(head, payload).map_err(|(code, text)| Fault::Connection(code, text))?;
        let opening = Opening {
            stream: head.stream,
            end: head.has(END_STREAM),
            circular: layout.dependency == Some(head.stream) && !self.peer.no_rfc7540_priorities,
        };
        let fragment = &payload[layout.start..layout.end];
        if head.has(END_HEADERS) {
            return self.on_block(opening, fragment, out);
        }
        let (offset, block) = (self.input.offset(), fragment.to_vec());
        self.assembly = Some(Box::new(Assembly { opening, offset, block, continuations: 0 }));
        Ok(())
    }

    pub(super) fn on_continuation(&mut self, head: Head, payload: &[u8], out: &mut Option<Event>) -> Found {
        let Some(mut assembly) = self.assembly.take() else {
            return Err(Fault::protocol("CONTINUATION without a header block"));
        };
        assembly.continuations += 1;
        if assembly.continuations > self.config.continuations {
            return Err(Fault::Bound(Trip::ContinuationFlood));
        }
        if assembly.block.len() + payload.len() > self.config.fields.block_bytes {
            return Err(Fault::Bound(Trip::HeaderBlock));
        }
        assembly.block.extend_from_slice(payload);
        if head.has(END_HEADERS) {
            return self.on_block(assembly.opening, &assembly.block, out);
        }
        self.assembly = Some(assembly);
        Ok(())
    }

    /// A whole header block is there.
    #[inline]
    fn on_block(&mut self, opening: Opening, block: &[u8], out: &mut Option<Event>) -> Found {
        let before = self.last_peer;
        match self.target(opening)? {
            Target::Request => self.on_request(opening, block, out).inspect_err(|fault| {
                if let Fault::Connection(..) | Fault::Bound(_) = fault {
                    // Nobody has seen the stream: GOAWAY must not say so (RFC 9113 §5.4.1).
                    self.last_peer = before;
                }
            }),
            Target::Response(key) => self.on_response(opening, key, block, out),
            Target::Trailers(key) => self.on_trailers(opening, key, block, out),
            Target::Nobody(fault) => {
                self.decode_for_nobody(block)?;
                fault.map_or(Ok(()), Err)
            }
        }
    }

    /// Decides what a header block on this stream means (RFC 9113 §5.1).
    #[inline]
    fn target(&mut self, opening: Opening) -> Result<Target, Fault> {
        let id = opening.stream;
        let from_peer = id % 2 == u32::from(self.role == Role::Server);
        if from_peer && id > self.last_peer {
            return self.opens(opening);
        }
        let Some(key) = self.streams.find(id) else { return self.late_headers(id, from_peer) };
        let Some(stream) = self.streams.get(key).filter(|stream| !stream.dead) else {
            return self.late_headers(id, from_peer);
        };
        if opening.circular {
            return Ok(Target::Nobody(Some(Fault::Stream(id, Reason::PROTOCOL_ERROR, "depends on itself"))));
        }
        match stream.receiving {
            Receiving::Head => Ok(Target::Response(key)),
            // RFC 9113 §8.5: nothing but DATA goes through a tunnel.
            Receiving::Body if stream.asked == Asked::Tunnel => {
                Ok(Target::Nobody(Some(Fault::Stream(id, Reason::PROTOCOL_ERROR, "HEADERS in a tunnel"))))
            }
            Receiving::Body if opening.end => Ok(Target::Trailers(key)),
            Receiving::Body => Ok(Target::Nobody(Some(Fault::Stream(
                id,
                Reason::PROTOCOL_ERROR,
                "trailers without END_STREAM",
            )))),
            Receiving::Ended if stream.sending == Sending::Ended => {
                Err(Fault::Connection(Reason::STREAM_CLOSED, "HEADERS on a closed stream"))
            }
            Receiving::Ended => {
                Ok(Target::Nobody(Some(Fault::Stream(id, Reason::STREAM_CLOSED, "HEADERS after END_STREAM"))))
            }
        }
    }

    /// A stream that the peer opens.
    #[inline]
    fn opens(&mut self, opening: Opening) -> Result<Target, Fault> {
        let id = opening.stream;
        if self.role == Role::Client {
            return Err(Fault::protocol("a server opened a stream although push is off"));
        }
        let expected = if self.last_peer == 0 { 1 } else { self.last_peer + 2 };
        if id > expected {
            self.endings.note_skipped(expected, id);
        }
        self.last_peer = id;
        if let Going::Final(_) = self.going {
            // What belongs to it may be on its way too (RFC 9113 §6.8).
            self.endings.note(id, Ending::OwnReset);
            return Ok(Target::Nobody(None));
        }
        if opening.circular {
            return Ok(Target::Nobody(Some(Fault::Stream(id, Reason::PROTOCOL_ERROR, "depends on itself"))));
        }
        if self.streams.len() >= self.config.max_concurrent_streams {
            return Ok(self.refuse_bound(id, Trip::Concurrency));
        }
        if self.output.len() > self.config.output_bytes {
            return Ok(self.refuse_bound(id, Trip::OutputQueue));
        }
        if self.held().total() > self.config.connection_bytes {
            return Ok(self.refuse_bound(id, Trip::ConnectionBytes));
        }
        Ok(Target::Request)
    }

    /// HEADERS on a stream that is not there any more.
    #[cold]
    fn late_headers(&mut self, id: u32, from_peer: bool) -> Result<Target, Fault> {
        if self.is_idle_id(id) {
            return Err(Fault::protocol("HEADERS on an idle stream that is not the peer's to open"));
        }
        match self.endings.of(id) {
            Ending::Skipped if from_peer => Err(Fault::protocol("stream ids do not ascend")),
            Ending::Complete | Ending::Skipped => {
                Err(Fault::Connection(Reason::STREAM_CLOSED, "HEADERS on a closed stream"))
            }
            Ending::PeerReset => {
                Ok(Target::Nobody(Some(Fault::Stream(id, Reason::STREAM_CLOSED, "HEADERS after RST_STREAM"))))
            }
            Ending::OwnReset | Ending::Forgotten => Ok(Target::Nobody(None)),
        }
    }

    /// Rejects a stream that was not opened; costs the peer nothing but the stream.
    fn refuse(&mut self, id: u32, reason: Reason) {
        self.write_reset(id, reason);
        self.endings.note(id, Ending::OwnReset);
    }

    #[cold]
    fn refuse_bound(&mut self, id: u32, trip: Trip) -> Target {
        self.note_trip(trip);
        self.refuse(id, trip.reason());
        Target::Nobody(None)
    }

    fn decode_for_nobody(&mut self, block: &[u8]) -> Result<(), Fault> {
        let config = &self.config;
        self.decoder.decode(block, &config.fields, |_: Field| {}).map(|_| ()).map_err(undecodable)
    }

    /// A head without fields, made before if there is one.
    #[inline]
    fn blank(&mut self) -> Box<Request<()>> {
        self.spare.take().unwrap_or_default()
    }

    /// Decodes into a sink, which stays where it is: it is large.
    #[inline]
    fn decode(&mut self, sink: &mut HeadSink<'_>, block: &[u8]) -> Result<Decoded, Fault> {
        let config = &self.config;
        self.decoder.decode(block, &config.fields, sink).map_err(undecodable)
    }

    #[inline]
    fn on_request(&mut self, opening: Opening, block: &[u8], out: &mut Option<Event>) -> Found {
        let id = opening.stream;
        let mut request = self.blank();
        let generation = self.decoder.generation();
        let known = match (&mut self.asked, generation) {
            (Some(known), Some(generation)) => known.repeat(block, generation, &mut request),
            (Some(_) | None, _) => None,
        };
        let facts = match known {
            Some(facts) => facts,
            None => match self.read_request(opening, block, &mut request)? {
                Some(facts) => facts,
                None => return Ok(()),
            },
        };
        let asked = Asked::by(request.method());
        let to_receive = match asked {
            Asked::Content | Asked::HeadOnly => content_rule(facts.length, opening)?,
            Asked::Tunnel => Content::Free,
        };
        let key = self.streams.insert(
            id,
            SendWindow::new(self.peer.initial_window),
            ReceiveWindow::new(self.stream_window),
        );
        self.timers.busy();
        self.tally.streams += 1;
        self.tally.heads += facts.head_bytes as usize;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.receiving = if opening.end { Receiving::Ended } else { Receiving::Body };
            stream.to_receive = to_receive;
            stream.asked = asked;
            stream.head_bytes = facts.head_bytes;
            stream.priority = priority::of_new(&mut self.ready, id, facts.priority);
        }
        if !opening.end && matches!(to_receive, Content::Remaining(_)) {
            self.watch_upload(key, request.headers().contains_key(header::EXPECT));
        }
        *out = Some(Event::Request { stream: key, request, end: opening.end });
        Ok(())
    }

    /// Decodes a request's head, and takes note of it in case it comes again; `None` when it was refused.
    fn read_request(
        &mut self,
        opening: Opening,
        block: &[u8],
        request: &mut Request<()>,
    ) -> Result<Option<Facts>, Fault> {
        let generation = self.decoder.generation();
        let asking = if self.config.connect_protocol { Asking::No } else { Asking::Never };
        let mut sink = HeadSink::new(Shape::Request, asking, request);
        let decoded = self.decode(&mut sink, block)?;
        if let Some(excess) = decoded.excess {
            self.refuse_too_large(opening, excess.into())?;
            return Ok(None);
        }
        sink.request().map_err(|text| self.bad_request(opening.stream, text))?;
        // Within the limits, or it would have been refused.
        let (length, priority) = (sink.content_length(), sink.priority());
        let facts = Facts { length, head_bytes: decoded.list_bytes as u32, priority };
        // The first request of a connection may be its only one.
        let first = opening.stream == 1;
        if let Some(generation) = generation.filter(|_| !first && generation == self.decoder.generation()) {
            self.asked.get_or_insert_default().note(block, generation, request, facts);
        }
        Ok(Some(facts))
    }

    /// The head is malformed: the client learns it as 400 (RFC 9113 §8.2.1) before the stream is reset.
    #[cold]
    fn bad_request(&mut self, id: u32, text: Malformed) -> Fault {
        self.write_status(id, StatusCode::BAD_REQUEST, false);
        malformed(id, text)
    }

    /// Answers without the application.
    fn write_status(&mut self, id: u32, status: StatusCode, end: bool) {
        let encoder = &mut self.encoder;
        self.output.block(
            self.peer.max_frame_size as usize,
            |out| {
                encoder.begin_block(out);
                encoder.encode_status(status, out);
            },
            |length, part| block_head(length, part, id, end),
        );
    }

    /// The head passed a limit: the client learns it as 431 (RFC 6585 §5), and it counts as a stream that died.
    #[cold]
    fn refuse_too_large(&mut self, opening: Opening, trip: Trip) -> Found {
        self.note_trip(trip);
        if !self.charge_reset() {
            return Err(Fault::Bound(Trip::ResetFlood));
        }
        self.write_status(opening.stream, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, true);
        if !opening.end {
            self.refuse(opening.stream, Reason::NO_ERROR);
        }
        Ok(())
    }

    fn on_response(
        &mut self,
        opening: Opening,
        key: StreamKey,
        block: &[u8],
        out: &mut Option<Event>,
    ) -> Found {
        let id = opening.stream;
        let mut head = self.blank();
        let mut sink = HeadSink::new(Shape::Response, Asking::Never, &mut head);
        if let Some(excess) = self.decode(&mut sink, block)?.excess {
            return Err(Fault::StreamBound(id, excess.into()));
        }
        let length = sink.content_length();
        let response = sink.response().map_err(|text| malformed(id, text))?;
        self.spare = Some(head);
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if response.status().is_informational() {
            if opening.end {
                return Err(malformed(id, "an interim response that ends the stream"));
            }
            let held = stream.held;
            self.charge_glitch()?;
            if held {
                *out = Some(Event::Informational { stream: key, response });
            }
            return Ok(());
        }
        let status = response.status();
        let bare = has_no_content(stream.asked, status);
        stream.asked = stream.asked.answered(status);
        stream.to_receive = match length {
            _ if bare => Content::Forbidden,
            _ if stream.asked == Asked::Tunnel => Content::Free,
            length => content_rule(length, opening)?,
        };
        stream.receiving = if opening.end { Receiving::Ended } else { Receiving::Body };
        let held = stream.held;
        if !opening.end && matches!(stream.to_receive, Content::Remaining(_)) {
            self.watch();
        }
        self.retire(key);
        if held {
            *out = Some(Event::Response { stream: key, response, end: opening.end });
        }
        Ok(())
    }

    fn on_trailers(
        &mut self,
        opening: Opening,
        key: StreamKey,
        block: &[u8],
        out: &mut Option<Event>,
    ) -> Found {
        let id = opening.stream;
        let mut head = self.blank();
        let mut sink = HeadSink::new(Shape::Trailers, Asking::Never, &mut head);
        if let Some(excess) = self.decode(&mut sink, block)?.excess {
            return Err(Fault::StreamBound(id, excess.into()));
        }
        let trailers: HeaderMap = sink.trailers().map_err(|text| malformed(id, text))?;
        self.spare = Some(head);
        let Some(stream) = self.streams.get_mut(key) else { return Ok(()) };
        if stream.to_receive.take(0, true) == Err(Mismatch) {
            return Err(malformed(id, "content shorter than content-length"));
        }
        stream.receiving = Receiving::Ended;
        let held = stream.held;
        self.retire(key);
        if held {
            *out = Some(Event::Trailers { stream: key, trailers });
        }
        Ok(())
    }
}

/// Whether a response has no content, whatever its fields say (RFC 9110 §6.4.1).
#[inline]
pub(super) fn has_no_content(asked: Asked, status: StatusCode) -> bool {
    asked == Asked::HeadOnly || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// The rule that a content-length makes.
#[inline]
fn content_rule(length: Option<u64>, opening: Opening) -> Result<Content, Fault> {
    match length {
        None => Ok(Content::Free),
        Some(1..) if opening.end => Err(malformed(opening.stream, "content-length without content")),
        Some(length) => Ok(Content::Remaining(length)),
    }
}

#[cold]
fn malformed(id: u32, text: Malformed) -> Fault {
    Fault::Stream(id, Reason::PROTOCOL_ERROR, text)
}

#[cold]
fn undecodable(error: DecodeError) -> Fault {
    let (reason, text) = match error {
        DecodeError::Truncated => (Reason::COMPRESSION_ERROR, "header block ends inside a field"),
        DecodeError::IntegerOverflow => (Reason::COMPRESSION_ERROR, "integer overflow in a header block"),
        DecodeError::InvalidIndex => (Reason::COMPRESSION_ERROR, "header field index out of range"),
        DecodeError::InvalidHuffman => (Reason::COMPRESSION_ERROR, "invalid Huffman string"),
        DecodeError::SizeUpdateTooLarge => (Reason::COMPRESSION_ERROR, "table size update above the limit"),
        DecodeError::SizeUpdateMisplaced => (Reason::COMPRESSION_ERROR, "table size update out of place"),
        DecodeError::SizeUpdateMissing => (Reason::COMPRESSION_ERROR, "table size update missing"),
        DecodeError::BlockTooLong => return Fault::Bound(Trip::HeaderBlock),
    };
    Fault::Connection(reason, text)
}

/// The head of a HEADERS frame, or of the CONTINUATION that a long block needs.
#[inline]
pub(super) fn block_head(length: u32, part: Part, stream: u32, end: bool) -> Head {
    let kind = if part.first { Kind::Headers } else { Kind::Continuation };
    let end_stream = if part.first && end { END_STREAM } else { 0 };
    let end_headers = if part.last { END_HEADERS } else { 0 };
    Head { length, kind, flags: end_stream | end_headers, stream: stream & MAX_STREAM_ID }
}
