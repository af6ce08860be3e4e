//! HPACK, the header compression of HTTP/2 (RFC 7541), both ways.
//!
//! The decoder keeps each dynamic-table entry *parsed*: an indexed field costs a table look-up and the cheap
//! clone of an `http` type, never a second validation. What cannot be parsed is kept too, as a defect, because
//! a malformed field ends a stream (RFC 9113 §8.2.1) while the table that both ends share must go on.
//!
//! Invariants:
//!
//! - An `Err` from [`Decoder::decode`] means that the shared state is lost: the connection must end with
//!   `COMPRESSION_ERROR`. Everything that a single stream can be blamed for is reported through `Ok`.
//! - A field is counted against the limits before anything is allocated for it.
//! - After a block passed a limit its remaining fields are read for the table's sake and not delivered; the
//!   work for them is bounded by the block's encoded length, and that by [`FieldLimits::block_bytes`].

mod common;
mod decoder;
mod encoder;
mod field;
mod huffman;
mod index;
mod integer;
mod static_table;
mod table;

pub use decoder::{Decoded, Decoder, Excess, FieldLimits};
pub use encoder::Encoder;
pub use field::{Defect, Field, FieldKind, FieldSink};
pub(crate) use field::{authority, is_authority, is_token};
pub use huffman::{
    decode as huffman_decode, encode as huffman_encode, max_decoded_len as huffman_max_decoded_len,
};

/// Why a header block could not be decoded: the compression state of the connection is lost
/// (`COMPRESSION_ERROR`, RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The block ends inside a field representation.
    #[error("header block ends inside a field")]
    Truncated,
    /// An integer does not fit 32 bits (RFC 7541 §5.1).
    #[error("integer overflow in a header block")]
    IntegerOverflow,
    /// Index 0, or one past the end of the dynamic table (RFC 7541 §2.3.3).
    #[error("header field index out of range")]
    InvalidIndex,
    /// A Huffman string holds EOS, or padding that is too long or not all ones (RFC 7541 §5.2).
    #[error("invalid Huffman string in a header block")]
    InvalidHuffman,
    /// A dynamic table size update above the limit that our settings announced (RFC 7541 §6.3).
    #[error("dynamic table size update above the settings' limit")]
    SizeUpdateTooLarge,
    /// A dynamic table size update behind a field, or a third one (RFC 7541 §4.2).
    #[error("dynamic table size update out of place")]
    SizeUpdateMisplaced,
    /// The settings' limit was lowered and the peer did not follow (RFC 7541 §4.2).
    #[error("dynamic table size update missing after the limit was lowered")]
    SizeUpdateMissing,
    /// The encoded block is longer than [`FieldLimits::block_bytes`]; nothing of it was read.
    #[error("encoded header block too long")]
    BlockTooLong,
}
