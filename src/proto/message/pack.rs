//! Packed values: how authentication fields and peers' records are written.
//!
//! A value begins with a code octet: the upper two bits say how wide the length behind it is (1, 2 or 4 octets, or
//! none), the lower six what it is. Integers are big-endian throughout.
//!
//! ```text
//! none        00                                     bool     06, one octet
//! octets, str code, length, octets                   f64      07, eight octets
//! integer     code, magnitude in the width of the code; over 32 bits: width 0, one octet of size, magnitude
//! container   code, width of the items' lengths, count, that many lengths, the items one behind the other
//! ```
//!
//! A set's items, and a map's pairs, stand in the order of their packed octets; a decoder takes any order, any width,
//! and octets behind the value, as the Python package `packify` does, whose format this is.
//!
//! Invariant: what [`Value::unpack`] costs is bounded by the octets it is given: a length is believed only when the
//! octets are there, and values are nested at most [`PACKED_DEPTH`](crate::limits::PACKED_DEPTH) deep.

use bytes::{BufMut, Bytes};

use crate::limits::PACKED_DEPTH;

/// One packed value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    None,
    /// True or false.
    Bool(bool),
    /// A whole number that fits.
    Int(i128),
    /// A larger one: its sign and its magnitude, big-endian.
    BigInt {
        /// Below zero.
        negative: bool,
        /// Without its sign, big-endian.
        magnitude: Bytes,
    },
    /// A floating-point number.
    Float(f64),
    /// A decimal number, as its digits are written.
    Decimal(String),
    /// Text.
    Str(String),
    /// Octets.
    Bytes(Bytes),
    /// Octets again: Python tells `bytes` and `bytearray` apart.
    ByteArray(Bytes),
    /// Some values.
    List(Vec<Value>),
    /// Some values: Python tells lists and tuples apart.
    Tuple(Vec<Value>),
    /// Values without an order, each once.
    Set(Vec<Value>),
    /// Pairs without an order.
    Map(Vec<(Value, Value)>),
    /// A value of a class of the peer's, by its name, in a form of its own.
    Named {
        /// The class.
        name: String,
        /// What it has packed.
        data: Bytes,
    },
}

/// Why octets are no packed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The octets end before the value does.
    #[error("a packed value is cut off")]
    CutOff,
    /// No value begins with this code.
    #[error("no packed value begins with the code {0:#04x}")]
    Code(u8),
    /// The items' lengths have no such width.
    #[error("the items' lengths of a packed container have no width {0:#04x}")]
    Width(u8),
    /// Text that is not UTF-8, or no decimal number.
    #[error("packed text is not what it should be")]
    Text,
    /// An item of a map that is no pair.
    #[error("an item of a packed map is no pair")]
    Pair,
    /// Values in values in values.
    #[error("packed values are nested more than {PACKED_DEPTH} deep")]
    Deep,
}

const NONE: u8 = 0;
const BYTES: u8 = 1;
const BYTE_ARRAY: u8 = 2;
const STR: u8 = 3;
const INT: u8 = 4;
const NEGATIVE_INT: u8 = 5;
const BOOL: u8 = 6;
const FLOAT: u8 = 7;
const DECIMAL: u8 = 8;
const LIST: u8 = 10;
const SET: u8 = 11;
const TUPLE: u8 = 12;
const MAP: u8 = 13;
const BIG_INT: u8 = 14;
const NEGATIVE_BIG_INT: u8 = 15;
const NAMED: u8 = 20;

/// How wide a length is: the upper two bits of a code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    None,
    One,
    Two,
    Four,
}

impl Width {
    fn of(code: u8) -> Width {
        match code >> 6 {
            0 => Width::None,
            1 => Width::One,
            2 => Width::Two,
            _ => Width::Four,
        }
    }

    /// The narrowest that `length` fits; lengths come from memory that exists.
    fn fitting(length: usize) -> Width {
        match u32::try_from(length) {
            Ok(0..=0xff) => Width::One,
            Ok(0x100..=0xffff) => Width::Two,
            Ok(_) => Width::Four,
            Err(_) => Width::None,
        }
    }

    fn bits(self) -> u8 {
        (self as u8) << 6
    }

    fn octets(self) -> usize {
        match self {
            Width::None => 0,
            Width::One => 1,
            Width::Two => 2,
            Width::Four => 4,
        }
    }

    fn put(self, number: usize, out: &mut Vec<u8>) {
        let octets = (number as u64).to_be_bytes();
        out.extend_from_slice(&octets[octets.len() - self.octets()..]);
    }
}

impl Value {
    /// Appends the value's packed form.
    ///
    /// # Panics
    ///
    /// When a length does not fit into 32 bits.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Value::None => out.push(NONE),
            Value::Bool(value) => out.extend_from_slice(&[BOOL, u8::from(*value)]),
            Value::Int(value) => pack_int(*value < 0, &value.unsigned_abs().to_be_bytes(), out),
            Value::BigInt { negative, magnitude } => pack_int(*negative, magnitude, out),
            Value::Float(value) => {
                out.push(FLOAT);
                out.put_f64(*value);
            }
            Value::Decimal(digits) => pack_octets(DECIMAL, digits.as_bytes(), out),
            Value::Str(text) => pack_octets(STR, text.as_bytes(), out),
            Value::Bytes(octets) => pack_octets(BYTES, octets, out),
            Value::ByteArray(octets) => pack_octets(BYTE_ARRAY, octets, out),
            Value::List(items) => pack_items(LIST, &packed(items), out),
            Value::Tuple(items) => pack_items(TUPLE, &packed(items), out),
            Value::Set(items) => {
                let mut items = packed(items);
                items.sort_unstable();
                pack_items(SET, &items, out);
            }
            Value::Map(pairs) => {
                pack_pairs(pairs.iter().map(|(key, value)| (key.packed(), value.packed())), out);
            }
            Value::Named { name, data } => {
                let width = wide_enough(name.len().max(data.len()));
                out.push(width.bits() | NAMED);
                width.put(name.len(), out);
                width.put(data.len(), out);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(data);
            }
        }
    }

    /// The value's packed form.
    pub fn packed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.pack(&mut out);
        out
    }

    /// The value that `octets` begin with; what stands behind it is not looked at.
    ///
    /// # Errors
    ///
    /// [`UnpackError`]; never a panic, whatever the octets are.
    pub fn unpack(octets: &Bytes) -> Result<Value, UnpackError> {
        unpack(&mut octets.clone(), PACKED_DEPTH)
    }

    /// Octets that it refers to, about.
    pub(super) fn memory(&self) -> usize {
        match self {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
            Value::BigInt { magnitude: octets, .. } | Value::Bytes(octets) | Value::ByteArray(octets) => {
                octets.len()
            }
            Value::Decimal(text) | Value::Str(text) => text.len(),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => memory(items),
            Value::Map(pairs) => {
                let of_pair = |(key, value): &(Value, Value)| {
                    size_of::<(Value, Value)>() + key.memory() + value.memory()
                };
                pairs.iter().map(of_pair).sum()
            }
            Value::Named { name, data } => name.len() + data.len(),
        }
    }

    /// The same value, which refers to no octets that it shares with others.
    pub(super) fn detached(&self) -> Value {
        let copy = |octets: &Bytes| Bytes::copy_from_slice(octets);
        match self {
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Decimal(_)
            | Value::Str(_) => self.clone(),
            Value::BigInt { negative, magnitude } => {
                Value::BigInt { negative: *negative, magnitude: copy(magnitude) }
            }
            Value::Bytes(octets) => Value::Bytes(copy(octets)),
            Value::ByteArray(octets) => Value::ByteArray(copy(octets)),
            Value::List(items) => Value::List(detached(items)),
            Value::Tuple(items) => Value::Tuple(detached(items)),
            Value::Set(items) => Value::Set(detached(items)),
            Value::Map(pairs) => {
                let pair = |(key, value): &(Value, Value)| (key.detached(), value.detached());
                Value::Map(pairs.iter().map(pair).collect())
            }
            Value::Named { name, data } => Value::Named { name: name.clone(), data: copy(data) },
        }
    }

    /// The octets of `bytes` or of a `bytearray`.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Value::Bytes(octets) | Value::ByteArray(octets) => Some(octets),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt { .. } | Value::Float(_) => None,
            Value::Decimal(_) | Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Set(_) => None,
            Value::Map(_) | Value::Named { .. } => None,
        }
    }

    /// What a map has under a name.
    pub fn entry(&self, name: &str) -> Option<&Value> {
        let Value::Map(pairs) = self else { return None };
        let is_it = |key: &Value| matches!(key, Value::Str(text) if text == name);
        pairs.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }
}

/// What a value is made of has been counted, but for what it refers to.
fn memory(items: &[Value]) -> usize {
    items.iter().map(|item| size_of::<Value>() + item.memory()).sum()
}

fn detached(items: &[Value]) -> Vec<Value> {
    items.iter().map(Value::detached).collect()
}

fn packed(items: &[Value]) -> Vec<Vec<u8>> {
    items.iter().map(Value::packed).collect()
}

/// The width of a length that has to have one.
fn wide_enough(length: usize) -> Width {
    let width = Width::fitting(length);
    assert!(width != Width::None, "a packed length has 32 bits, and {length} has more");
    width
}

fn pack_octets(code: u8, octets: &[u8], out: &mut Vec<u8>) {
    let width = wide_enough(octets.len());
    out.push(width.bits() | code);
    width.put(octets.len(), out);
    out.extend_from_slice(octets);
}

/// `magnitude` is big-endian and may begin with zeros.
fn pack_int(negative: bool, magnitude: &[u8], out: &mut Vec<u8>) {
    let zeros = magnitude.iter().take_while(|&&octet| octet == 0).count();
    let magnitude = &magnitude[zeros..];
    let small = if negative && !magnitude.is_empty() { NEGATIVE_INT } else { INT };
    let width = match magnitude.len() {
        0 | 1 => Width::One,
        2 => Width::Two,
        3 | 4 => Width::Four,
        5..=255 => {
            out.push(small);
            Width::One.put(magnitude.len(), out);
            out.extend_from_slice(magnitude);
            return;
        }
        length => {
            out.push(if negative { NEGATIVE_BIG_INT } else { BIG_INT });
            wide_enough(length);
            Width::Four.put(length, out);
            out.extend_from_slice(magnitude);
            return;
        }
    };
    out.push(width.bits() | small);
    out.resize(out.len() + width.octets() - magnitude.len(), 0);
    out.extend_from_slice(magnitude);
}

fn pack_items(code: u8, items: &[Vec<u8>], out: &mut Vec<u8>) {
    let counts = wide_enough(items.len());
    let lengths = wide_enough(items.iter().map(Vec::len).max().unwrap_or(0));
    out.push(counts.bits() | code);
    out.push(lengths.bits());
    counts.put(items.len(), out);
    for item in items {
        lengths.put(item.len(), out);
    }
    for item in items {
        out.extend_from_slice(item);
    }
}

/// Appends a map of packed keys to packed values.
pub(super) fn pack_pairs(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>, out: &mut Vec<u8>) {
    let mut items: Vec<Vec<u8>> = pairs
        .map(|(key, value)| {
            let mut pair = Vec::with_capacity(key.len() + value.len() + 8);
            pack_items(TUPLE, &[key, value], &mut pair);
            pair
        })
        .collect();
    items.sort_unstable();
    pack_items(MAP, &items, out);
}

fn unpack(rest: &mut Bytes, depth: usize) -> Result<Value, UnpackError> {
    let depth = depth.checked_sub(1).ok_or(UnpackError::Deep)?;
    let code = take(rest, 1)?[0];
    let width = Width::of(code);
    match code & 0x3f {
        NONE => Ok(Value::None),
        BOOL => Ok(Value::Bool(take(rest, 1)?[0] != 0)),
        FLOAT => {
            let mut octets = [0; 8];
            octets.copy_from_slice(&take(rest, 8)?);
            Ok(Value::Float(f64::from_be_bytes(octets)))
        }
        kind @ (INT | NEGATIVE_INT) => {
            let length = if width == Width::None { number(rest, Width::One)? } else { width.octets() };
            Ok(int(kind == NEGATIVE_INT, take(rest, length)?))
        }
        kind @ (BIG_INT | NEGATIVE_BIG_INT) => {
            let length = number(rest, Width::Four)?;
            Ok(int(kind == NEGATIVE_BIG_INT, take(rest, length)?))
        }
        // What follows has a length, and a length has a width.
        BYTES..=NAMED if width == Width::None => Err(UnpackError::Code(code)),
        BYTES => Ok(Value::Bytes(counted(rest, width)?)),
        BYTE_ARRAY => Ok(Value::ByteArray(counted(rest, width)?)),
        STR => Ok(Value::Str(text(&counted(rest, width)?)?)),
        DECIMAL => decimal(&counted(rest, width)?),
        LIST => Ok(Value::List(items(rest, width, depth)?)),
        TUPLE => Ok(Value::Tuple(items(rest, width, depth)?)),
        SET => Ok(Value::Set(items(rest, width, depth)?)),
        MAP => Ok(Value::Map(items(rest, width, depth)?.into_iter().map(pair).collect::<Result<_, _>>()?)),
        NAMED => {
            let (name, data) = (number(rest, width)?, number(rest, width)?);
            Ok(Value::Named { name: text(&take(rest, name)?)?, data: take(rest, data)? })
        }
        _ => Err(UnpackError::Code(code)),
    }
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, UnpackError> {
    if rest.len() < length { Err(UnpackError::CutOff) } else { Ok(rest.split_to(length)) }
}

fn number(rest: &mut Bytes, width: Width) -> Result<usize, UnpackError> {
    let octets = take(rest, width.octets())?;
    // At most 32 bits.
    Ok(octets.iter().fold(0, |number, &octet| number << 8 | usize::from(octet)))
}

fn counted(rest: &mut Bytes, width: Width) -> Result<Bytes, UnpackError> {
    let length = number(rest, width)?;
    take(rest, length)
}

fn text(octets: &[u8]) -> Result<String, UnpackError> {
    std::str::from_utf8(octets).map(str::to_owned).map_err(|_not_utf8| UnpackError::Text)
}

/// What Python's `Decimal` takes, but for its rarer ways to write a number that is none.
fn decimal(octets: &[u8]) -> Result<Value, UnpackError> {
    let digits = text(octets)?;
    let is_one = digits.parse::<f64>().is_ok();
    if is_one { Ok(Value::Decimal(digits)) } else { Err(UnpackError::Text) }
}

fn int(negative: bool, magnitude: Bytes) -> Value {
    let mut wide = [0; 16];
    let zeros = magnitude.iter().take_while(|&&octet| octet == 0).count();
    let digits = &magnitude[zeros..];
    if let Some(start) = wide.len().checked_sub(digits.len()) {
        wide[start..].copy_from_slice(digits);
        if let Ok(value) = i128::try_from(u128::from_be_bytes(wide)) {
            return Value::Int(if negative { -value } else { value });
        }
    }
    Value::BigInt { negative, magnitude: magnitude.slice(zeros..) }
}

fn items(rest: &mut Bytes, width: Width, depth: usize) -> Result<Vec<Value>, UnpackError> {
    let code = take(rest, 1)?[0];
    let lengths = Width::of(code);
    if lengths == Width::None || code & 0x3f != 0 {
        return Err(UnpackError::Width(code));
    }
    let count = number(rest, width)?;
    // Before anything is allocated for them: the table has to be there.
    let size = count.checked_mul(lengths.octets()).ok_or(UnpackError::CutOff)?;
    let mut table = take(rest, size)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(&mut table, lengths)?;
        items.push(unpack(&mut take(rest, length)?, depth)?);
    }
    Ok(items)
}

fn pair(item: Value) -> Result<(Value, Value), UnpackError> {
    match item {
        Value::Tuple(mut items) if items.len() == 2 => match (items.pop(), items.pop()) {
            (Some(value), Some(key)) => Ok((key, value)),
            (Some(_) | None, Some(_) | None) => Err(UnpackError::Pair),
        },
        _ => Err(UnpackError::Pair),
    }
}
