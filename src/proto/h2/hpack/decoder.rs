//! Header blocks to fields (RFC 7541 §3 and §6).

use crate::limits;

use super::field::{Field, FieldKind, FieldSink, Name};
use super::table::{Content, ENTRY_OVERHEAD, Entry, Table};
use super::{DecodeError, huffman, integer, static_table};

/// What a header block may amount to before it is over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldLimits {
    /// Fields, pseudo-header fields included and cookie crumbs not.
    pub fields: u32,
    /// `cookie` fields.
    pub cookie_crumbs: u32,
    /// Sum of name, value and 32 octets a field (`SETTINGS_MAX_HEADER_LIST_SIZE`, RFC 9113 §6.5.2).
    pub list_bytes: u32,
    /// Encoded octets; a longer block is not read at all and costs the connection.
    pub block_bytes: usize,
}

impl Default for FieldLimits {
    fn default() -> FieldLimits {
        FieldLimits {
            fields: limits::HEADER_FIELDS,
            cookie_crumbs: limits::COOKIE_CRUMBS,
            list_bytes: limits::HEADER_LIST_BYTES,
            block_bytes: limits::HEADER_BLOCK_BYTES,
        }
    }
}

/// The limit that a header block passed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// [`FieldLimits::fields`]
    Fields,
    /// [`FieldLimits::cookie_crumbs`]
    CookieCrumbs,
    /// [`FieldLimits::list_bytes`]
    ListBytes,
}

/// What a whole header block amounted to, fields that were not delivered included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Fields without cookie crumbs.
    pub fields: u32,
    /// Cookie crumbs.
    pub cookie_crumbs: u32,
    /// Sum of name, value and 32 octets a field.
    pub list_bytes: u64,
    /// The limit that was passed, if any: from there on nothing was delivered, and the message must be
    /// refused (a server may answer 431). The compression state is right nevertheless.
    pub excess: Option<Excess>,
}

/// The receiving half of a connection's header compression.
pub struct Decoder {
    table: Table,
    /// The table size that our settings allow.
    limit: usize,
    /// The lowest that `limit` has been since the last block, when that is below the table's size: the next
    /// block must begin with a size update at most this large (RFC 7541 §4.2).
    due_update: Option<usize>,
}

impl Decoder {
    /// Makes a decoder whose table may grow to `max_table_size` octets, which must be what the peer believes:
    /// 4,096 until it has acknowledged settings that say otherwise.
    pub fn new(max_table_size: usize) -> Decoder {
        Decoder { table: Table::new(max_table_size), limit: max_table_size, due_update: None }
    }

    /// Changes whenever the dynamic table does; `None` while a size update is due. A block during whose decoding it did
    /// not change means the same as long as the generation is still the same.
    #[inline]
    pub fn generation(&self) -> Option<u64> {
        if self.due_update.is_some() { None } else { Some(self.table.generation()) }
    }

    /// Takes over `SETTINGS_HEADER_TABLE_SIZE` once the peer has acknowledged it.
    pub fn set_max_table_size(&mut self, max_table_size: usize) {
        self.limit = max_table_size;
        let lowest = self.due_update.map_or(max_table_size, |lowest| lowest.min(max_table_size));
        self.due_update = (lowest < self.table.max_size()).then_some(lowest);
    }

    /// Decodes one whole header block and hands its fields to `sink` in order.
    ///
    /// # Errors
    ///
    /// The connection's compression state is lost; it must be closed with `COMPRESSION_ERROR`, or with
    /// `ENHANCE_YOUR_CALM` for [`DecodeError::BlockTooLong`].
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &FieldLimits,
        mut sink: impl FieldSink,
    ) -> Result<Decoded, DecodeError> {
        if block.len() > limits.block_bytes {
            return Err(DecodeError::BlockTooLong);
        }
        let mut reading = Reading { input: block, tally: Tally::new(limits), scratch: None };
        self.take_size_updates(&mut reading.input)?;
        while let Some(&first) = reading.input.first() {
            if first & 0x80 != 0 {
                let index = integer::decode(&mut reading.input, 7)?;
                self.indexed(index as usize, &mut reading.tally, &mut sink)?;
            } else {
                self.literal(&mut reading, Literal::of(first)?, &mut sink)?;
            }
        }
        Ok(reading.tally.finish())
    }

    /// At most two, at the beginning: the lowest and the last of the sizes chosen since the last block.
    #[inline]
    fn take_size_updates(&mut self, input: &mut &[u8]) -> Result<(), DecodeError> {
        for _ in 0..2 {
            if input.first().is_none_or(|first| first & 0xe0 != 0x20) {
                break;
            }
            let size = integer::decode(input, 5)? as usize;
            if size > self.limit {
                return Err(DecodeError::SizeUpdateTooLarge);
            }
            if self.due_update.is_some_and(|due| size <= due) {
                self.due_update = None;
            }
            self.table.set_max_size(size);
        }
        if self.due_update.is_some() { Err(DecodeError::SizeUpdateMissing) } else { Ok(()) }
    }

    #[inline]
    fn indexed(
        &mut self,
        index: usize,
        tally: &mut Tally<'_>,
        sink: &mut impl FieldSink,
    ) -> Result<(), DecodeError> {
        if let Some((field, size)) = static_table::sized_field(index) {
            let is_cookie = matches!(field, Field::Header { kind: FieldKind::Cookie, .. });
            if tally.admit(size, is_cookie) {
                sink.share(field);
            }
            return Ok(());
        }
        let entry = self.dynamic(index)?;
        if tally.admit(entry.size as usize, entry.is_cookie()) {
            entry.content.deliver(sink);
        }
        Ok(())
    }

    #[inline]
    fn dynamic(&self, index: usize) -> Result<&Entry, DecodeError> {
        let age = index.checked_sub(static_table::LEN + 1).ok_or(DecodeError::InvalidIndex)?;
        self.table.get(age).ok_or(DecodeError::InvalidIndex)
    }

    #[inline(never)]
    fn literal(
        &mut self,
        reading: &mut Reading<'_>,
        kind: Literal,
        sink: &mut impl FieldSink,
    ) -> Result<(), DecodeError> {
        let (name, name_len) = self.literal_name(reading, kind)?;
        let value = StringLiteral::take(&mut reading.input)?.text(&mut reading.scratch)?;
        let size = name_len + value.len() + ENTRY_OVERHEAD;
        let admitted = reading.tally.admit(size, name.is_cookie());
        let stored = kind == Literal::Indexed && self.table.make_room(size);
        if !admitted && !stored {
            return Ok(());
        }
        let content = match name.with_value(value, kind == Literal::NeverIndexed) {
            Ok(field) => Content::Field(field),
            Err((name, defect)) => Content::Defective { name, defect },
        };
        if !stored {
            sink.take(content.into_field());
            return Ok(());
        }
        if admitted {
            content.deliver(sink);
        }
        self.table.insert(Entry { content, name_len: name_len as u32, size: size as u32 });
        Ok(())
    }

    /// The name of a literal and the length of its octets.
    fn literal_name(&self, reading: &mut Reading<'_>, kind: Literal) -> Result<(Name, usize), DecodeError> {
        let prefix = if kind == Literal::Indexed { 6 } else { 4 };
        let index = integer::decode(&mut reading.input, prefix)? as usize;
        if index == 0 {
            let octets = StringLiteral::take(&mut reading.input)?.text(&mut reading.scratch)?;
            return Ok((Name::parse(octets), octets.len()));
        }
        if let (Some(field), Some((name, _))) = (static_table::field(index), static_table::text(index)) {
            let parsed = if index == 1 { Name::Authority } else { field.name() };
            return Ok((parsed, name.len()));
        }
        let entry = self.dynamic(index)?;
        Ok((entry.name(), entry.name_len as usize))
    }
}

/// A block while it is decoded.
struct Reading<'a> {
    /// What has not been read.
    input: &'a [u8],
    tally: Tally<'a>,
    /// Made for the first literal: most blocks have none.
    scratch: Option<Scratch>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Indexed,
    NotIndexed,
    NeverIndexed,
}

impl Literal {
    /// By the first octet of a representation that is not indexed.
    fn of(first: u8) -> Result<Literal, DecodeError> {
        match first >> 4 {
            0b0000 => Ok(Literal::NotIndexed),
            0b0001 => Ok(Literal::NeverIndexed),
            0b0010 | 0b0011 => Err(DecodeError::SizeUpdateMisplaced),
            _ => Ok(Literal::Indexed),
        }
    }
}

/// A string as it stands in the block (RFC 7541 §5.2).
struct StringLiteral<'a> {
    octets: &'a [u8],
    huffman: bool,
}

impl<'a> StringLiteral<'a> {
    fn take(input: &mut &'a [u8]) -> Result<StringLiteral<'a>, DecodeError> {
        let huffman = input.first().ok_or(DecodeError::Truncated)? & 0x80 != 0;
        let len = integer::decode(input, 7)? as usize;
        let (octets, rest) = input.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        *input = rest;
        Ok(StringLiteral { octets, huffman })
    }

    /// The octets that it stands for, decoded into the scratch if need be.
    #[inline]
    fn text<'b>(self, scratch: &'b mut Option<Scratch>) -> Result<&'b [u8], DecodeError>
    where
        'a: 'b,
    {
        if self.huffman {
            scratch.get_or_insert_with(Scratch::new).decode(self.octets)
        } else {
            Ok(self.octets)
        }
    }
}

/// Room to decode a Huffman string: on the stack for the usual ones.
struct Scratch {
    small: [u8; Scratch::SMALL],
    large: Vec<u8>,
}

impl Scratch {
    const SMALL: usize = 256;

    fn new() -> Scratch {
        Scratch { small: [0; Scratch::SMALL], large: Vec::new() }
    }

    #[inline]
    fn decode(&mut self, octets: &[u8]) -> Result<&[u8], DecodeError> {
        let room = huffman::max_decoded_len(octets.len()) + huffman::DECODE_SLACK;
        let out = if room <= Scratch::SMALL {
            &mut self.small[..]
        } else {
            self.large.resize(room, 0);
            &mut self.large[..]
        };
        let len = huffman::decode(octets, out)?;
        Ok(&out[..len])
    }
}

/// Counts a block's fields against its limits: what is left of each, below zero once it is passed.
struct Tally<'a> {
    limits: &'a FieldLimits,
    fields: i64,
    cookie_crumbs: i64,
    list_bytes: i64,
    excess: Option<Excess>,
}

impl<'a> Tally<'a> {
    fn new(limits: &'a FieldLimits) -> Tally<'a> {
        Tally {
            limits,
            fields: limits.fields.into(),
            cookie_crumbs: limits.cookie_crumbs.into(),
            list_bytes: limits.list_bytes.into(),
            excess: None,
        }
    }

    /// Counts a field; true when it may be delivered.
    #[inline]
    fn admit(&mut self, size: usize, is_cookie: bool) -> bool {
        self.list_bytes -= size as i64;
        self.fields -= i64::from(!is_cookie);
        self.cookie_crumbs -= i64::from(is_cookie);
        // Nothing is ever added, so that what is below zero stays there.
        let within = (self.list_bytes | self.fields | self.cookie_crumbs) >= 0;
        if !within && self.excess.is_none() {
            self.note_excess();
        }
        within
    }

    #[cold]
    fn note_excess(&mut self) {
        self.excess = Some(if self.list_bytes < 0 {
            Excess::ListBytes
        } else if self.fields < 0 {
            Excess::Fields
        } else {
            Excess::CookieCrumbs
        });
    }

    fn finish(self) -> Decoded {
        Decoded {
            fields: (i64::from(self.limits.fields) - self.fields) as u32,
            cookie_crumbs: (i64::from(self.limits.cookie_crumbs) - self.cookie_crumbs) as u32,
            list_bytes: (i64::from(self.limits.list_bytes) - self.list_bytes) as u64,
            excess: self.excess,
        }
    }
}
