//! Messages as octets, and octets as messages.
//!
//! The same frame over TCP and, one a datagram, over UDP. Integers are big-endian.
//!
//! ```text
//! 0  type of the message                         1 octet
//! 1  length of the authentication fields         2, never 0: no fields are 3 octets
//! 3  length of the body                          2, at least 2
//! 5  CRC-32 (as in zlib) of the body             4
//! 9  authentication fields, a packed map
//!    body: 2 octets length of the uri, the uri, the content
//! ```
//!
//! There is no magic number and no version. The checksum covers the body alone and is no protection against anybody:
//! neither the type nor the fields are in it.

use bytes::{Buf, Bytes, BytesMut};

use super::{Fields, FieldsError, Kind, Kinds};
use crate::limits::MESSAGE_BODY_BYTES;

/// Octets before the fields.
pub(crate) const HEADER: usize = 9;

/// One message.
///
/// # Examples
///
/// ```
/// # use wakering::internals::message::{Kind, Kinds, Message};
/// let message = Message::new(Kind::REQUEST_URI, "echo", "hello");
/// let octets = message.to_octets()?;
/// assert_eq!(Message::from_octets(octets.into(), &Kinds::new())?, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What plugins say of it.
    pub fields: Fields,
    /// What it is about; usually text.
    pub uri: Bytes,
    /// The rest.
    pub content: Bytes,
}

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Uri and content are too long together.
    #[error("uri and content have {0} octets together, and a message holds {MESSAGE_BODY_BYTES}")]
    Body(usize),
    /// The fields are too long.
    #[error("the authentication fields have {0} octets, and a message holds 65,535")]
    Fields(usize),
}

/// Why octets are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The checksum is not the body's. The frame is whole, and the next one may be fine.
    #[error("a {kind} whose checksum is {said:#010x}, and whose body's is {found:#010x}")]
    Checksum {
        /// The type that the frame gives.
        kind: Kind,
        /// The checksum in the frame.
        said: u32,
        /// The checksum of its body.
        found: u32,
    },
    /// A type that is not understood here.
    #[error("a message of type {0}, which is not understood")]
    Kind(u8),
    /// Fields of no length: even none have one.
    #[error("a message whose authentication fields have no length")]
    NoFields,
    /// Fields that are none.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// A body without room for the length of its uri.
    #[error("a message whose body has {0} octets, and at least 2 are needed")]
    Body(usize),
    /// A uri that is longer than the body that it stands in.
    #[error("a message whose uri has {uri} octets, in a body of {body}")]
    Uri {
        /// The length that is given.
        uri: usize,
        /// The octets that there are.
        body: usize,
    },
    /// A datagram that ends before its message does.
    #[error("a datagram of {0} octets, which ends before its message does")]
    CutOff(usize),
}

impl DecodeError {
    /// Whether the stream of messages goes on behind it.
    pub fn is_recoverable(self) -> bool {
        matches!(self, DecodeError::Checksum { .. })
    }
}

impl Message {
    /// A message without fields.
    pub fn new(kind: Kind, uri: impl Into<Bytes>, content: impl Into<Bytes>) -> Message {
        Message { kind, fields: Fields::new(), uri: uri.into(), content: content.into() }
    }

    /// Appends the message's frame.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; nothing is appended then.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let length = self.uri.len() + self.content.len();
        let body = 2 + length;
        let (Ok(body), true) = (u16::try_from(body), length <= MESSAGE_BODY_BYTES) else {
            return Err(EncodeError::Body(length));
        };
        let start = out.len();
        out.reserve(HEADER + 2 + length + 18 + 48 * self.fields.len());
        out.extend_from_slice(&[0; HEADER]);
        self.fields.pack(out);
        let fields = out.len() - start - HEADER;
        let Ok(fields) = u16::try_from(fields) else {
            out.truncate(start);
            return Err(EncodeError::Fields(fields));
        };
        let begins = out.len();
        // Not longer than the body, which fits.
        out.extend_from_slice(&(self.uri.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.uri);
        out.extend_from_slice(&self.content);
        let checksum = crc32fast::hash(&out[begins..]);
        let [fields, body] = [fields, body].map(u16::to_be_bytes);
        let [a, b, c, d] = checksum.to_be_bytes();
        let head = [self.kind.number(), fields[0], fields[1], body[0], body[1], a, b, c, d];
        out[start..start + HEADER].copy_from_slice(&head);
        Ok(())
    }

    /// The message's frame.
    ///
    /// # Errors
    ///
    /// As [`encode`](Message::encode).
    pub fn to_octets(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode(&mut out)?;
        Ok(out)
    }

    /// Octets that it takes in memory, about.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Message>() + self.uri.len() + self.content.len() + self.fields.memory()
    }

    /// The same message in memory of its own: parts of what was received hold all that was received with them.
    pub(crate) fn detached(&self) -> Message {
        let copy = |octets: &Bytes| Bytes::copy_from_slice(octets);
        Message {
            kind: self.kind,
            fields: self.fields.detached(),
            uri: copy(&self.uri),
            content: copy(&self.content),
        }
    }

    /// The message of a datagram; what stands behind it is ignored.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn from_octets(datagram: Bytes, kinds: &Kinds) -> Result<Message, DecodeError> {
        let cut_off = DecodeError::CutOff(datagram.len());
        let head = Head::read(&datagram, kinds)?.ok_or(cut_off)?;
        if datagram.len() < head.frame() {
            return Err(cut_off);
        }
        let mut message = None;
        head.message_into(&datagram, &mut message)?;
        message.ok_or(cut_off)
    }
}

/// Octets of the frame that `octets` begin with, one of ours.
pub(crate) fn frame_bytes(octets: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([octets[at], octets[at + 1]]));
    HEADER + length(1) + length(3)
}

/// The first octets of a frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    fields: usize,
    body: usize,
    checksum: u32,
}

impl Head {
    /// Reads and judges what there is of a head: a peer that speaks something else is found out by its first octets.
    #[inline]
    fn read(octets: &[u8], kinds: &Kinds) -> Result<Option<Head>, DecodeError> {
        let Some(&number) = octets.first() else { return Ok(None) };
        let kind = kinds.get(number).ok_or(DecodeError::Kind(number))?;
        let Some(mut head) = octets.get(1..HEADER) else { return Ok(None) };
        let (fields, body, checksum) = (head.get_u16(), head.get_u16(), head.get_u32());
        if fields == 0 {
            return Err(DecodeError::NoFields);
        }
        if body < 2 {
            return Err(DecodeError::Body(body.into()));
        }
        Ok(Some(Head { kind, fields: fields.into(), body: body.into(), checksum }))
    }

    #[inline]
    fn frame(&self) -> usize {
        HEADER + self.fields + self.body
    }

    /// Puts there the message in the whole frame that `octets` begin with.
    #[inline]
    fn message_into(&self, octets: &Bytes, into: &mut Option<Message>) -> Result<(), DecodeError> {
        let frame = &octets[..self.frame()];
        let start = HEADER + self.fields;
        let body = &frame[start..];
        let found = crc32fast::hash(body);
        if found != self.checksum {
            return Err(DecodeError::Checksum { kind: self.kind, said: self.checksum, found });
        }
        // The body has two octets at least.
        let uri = usize::from(u16::from_be_bytes([body[0], body[1]]));
        if uri > self.body - 2 {
            return Err(DecodeError::Uri { uri, body: self.body - 2 });
        }
        let content = start + 2 + uri;
        let message = into.insert(Message {
            kind: self.kind,
            fields: Fields::new(),
            uri: octets.slice(start + 2..content),
            content: octets.slice(content..start + self.body),
        });
        let unpacked = message.fields.unpack_into(octets, HEADER..start);
        if unpacked.is_err() {
            *into = None;
        }
        Ok(unpacked?)
    }
}

/// Messages out of a stream of octets, however it is cut.
///
/// It holds what has come of a message that is not whole, at most 131,079 octets, and owns nothing otherwise. A read
/// that is cancelled loses nothing: what has been received is here.
///
/// Messages are parts of what was received, which is frozen when one of them is whole; what there is of the last one is
/// copied out of it, so that no octet is moved twice however it drips in.
///
/// Invariant: what is frozen comes before what is in the buffer, and is moved there before anything is put behind it.
#[derive(Debug)]
pub struct Decoder {
    kinds: Kinds,
    frozen: Bytes,
    buffer: BytesMut,
    broken: Option<DecodeError>,
}

impl Decoder {
    /// One at the beginning of a stream of these types of messages.
    pub fn new(kinds: Kinds) -> Decoder {
        Decoder { kinds, frozen: Bytes::new(), buffer: BytesMut::new(), broken: None }
    }

    /// Takes octets that have come.
    pub fn receive(&mut self, octets: &[u8]) {
        self.thaw();
        self.buffer.extend_from_slice(octets);
    }

    /// The next message that is whole.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. After one that [`is_recoverable`](DecodeError::is_recoverable) the next message follows; any
    /// other is the end: where a message begins is not known any more, and the same error comes again.
    pub fn poll_message(&mut self) -> Result<Option<Message>, DecodeError> {
        let mut message = None;
        self.poll_into(&mut message)?;
        Ok(message)
    }

    /// The same, put in its place at once, and whether there is one. What is moved as soon as it is written has the processor
    /// wait until the writing has ended, and that more than once costs more than reading the frame.
    ///
    /// # Errors
    ///
    /// As [`poll_message`](Decoder::poll_message); nothing is put there then.
    #[inline]
    pub(crate) fn poll_into(&mut self, into: &mut Option<Message>) -> Result<bool, DecodeError> {
        if into.is_some() {
            *into = None;
        }
        let polled = self.next(into);
        if let Err(error) = &polled {
            self.note(*error);
        }
        polled
    }

    /// Whether a message has begun that is not whole: the end of the stream would cut it off.
    pub fn is_inside(&self) -> bool {
        !(self.buffer.is_empty() && self.frozen.is_empty())
    }

    #[inline]
    fn next(&mut self, into: &mut Option<Message>) -> Result<bool, DecodeError> {
        if self.frozen.is_empty() && !self.freeze()? {
            return Ok(false);
        }
        match Head::read(&self.frozen, &self.kinds)? {
            Some(head) if self.frozen.len() >= head.frame() => {
                let read = head.message_into(&self.frozen, into);
                self.frozen.advance(head.frame());
                read.map(|()| true)
            }
            Some(_) | None => {
                self.thaw();
                Ok(false)
            }
        }
    }

    /// Freezes what has come, if it begins with a message that is whole.
    fn freeze(&mut self) -> Result<bool, DecodeError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        match Head::read(&self.buffer, &self.kinds)? {
            Some(head) if self.buffer.len() >= head.frame() => {
                self.frozen = std::mem::take(&mut self.buffer).freeze();
                Ok(true)
            }
            Some(_) | None => {
                self.frozen = Bytes::new();
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                Ok(false)
            }
        }
    }

    /// Puts what is frozen where more can be put behind it; nothing is there by then.
    fn thaw(&mut self) {
        if !self.frozen.is_empty() {
            self.buffer = BytesMut::from(&self.frozen[..]);
        }
        self.frozen = Bytes::new();
    }

    #[cold]
    fn note(&mut self, error: DecodeError) {
        if !error.is_recoverable() {
            self.broken = Some(error);
            self.frozen = Bytes::new();
            self.buffer = BytesMut::new();
        }
    }
}
