//! The authentication fields of a message: names and packed values.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::{
    pack::{UnpackError, Value, pack_pairs},
    plugins::{NONCE_FIELD, TIME_FIELD},
    requests::{NUMBER, REPEATED},
};
use crate::limits::MESSAGE_FIELDS;

/// What plugins say of a message: a nonce, a time, a code that authenticates it.
///
/// A handful of pairs, looked up one after the other. Names that are no text are left out when fields are read, and of
/// two of one name the later counts.
///
/// Invariant: of one name there is one field, in `number` or in `more`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// In place, and small: most messages between two of ours have nothing else.
    number: Option<Number>,
    more: Vec<Pair>,
}

type Pair = (Cow<'static, str>, Value);

/// A request's number, or an answer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Number {
    of: Of,
    value: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Request,
    Answer,
}

impl Of {
    #[inline]
    fn named(name: &[u8]) -> Option<Of> {
        [Of::Request, Of::Answer].into_iter().find(|of| of.name().as_bytes() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Of::Request => NUMBER,
            Of::Answer => REPEATED,
        }
    }
}

impl Number {
    fn new(name: &str, value: &Value) -> Option<Number> {
        let Value::Int(value) = value else { return None };
        Some(Number { of: Of::named(name.as_bytes())?, value: u32::try_from(*value).ok()? })
    }

    fn name(self) -> &'static str {
        self.of.name()
    }

    fn value(self) -> Value {
        Value::Int(self.value.into())
    }
}

/// Why octets are no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldsError {
    /// They are no packed value.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// They are another value than a map.
    #[error("authentication fields are no map")]
    NoMap,
    /// There are more than 64 of them.
    #[error("there are {0} authentication fields")]
    TooMany(usize),
}

impl Fields {
    /// The packed form of no fields at all.
    pub(crate) const EMPTY: [u8; 3] = [0x4d, 0x40, 0];

    /// No fields.
    pub const fn new() -> Fields {
        Fields { number: None, more: Vec::new() }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value.into_owned())
    }

    /// The octets of a field, if that is what it has.
    pub fn octets(&self, name: &str) -> Option<&Bytes> {
        self.more.iter().find(|(found, _)| found == name)?.1.as_bytes()
    }

    /// Whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.number.is_some_and(|number| number.name() == name)
            || self.more.iter().any(|(found, _)| found == name)
    }

    /// Whether a request has a number.
    pub(super) fn is_numbered(&self) -> bool {
        self.number.is_some_and(|number| number.of == Of::Request) || self.contains(NUMBER)
    }

    /// Whether a number is repeated.
    pub(super) fn is_answer(&self) -> bool {
        self.number.is_some_and(|number| number.of == Of::Answer) || self.contains(REPEATED)
    }

    /// Sets a request's number.
    pub(super) fn set_number(&mut self, number: u64) {
        match u32::try_from(number) {
            Ok(value) if self.number.is_none() && self.more.is_empty() => {
                self.number = Some(Number { of: Of::Request, value });
            }
            Ok(_) | Err(_) => self.set(NUMBER, Value::Int(number.into())),
        }
    }

    /// The number that is repeated, if it is one.
    #[inline]
    pub(super) fn repeated(&self) -> Option<i128> {
        if let Some(Number { of: Of::Answer, value }) = self.number {
            return Some(value.into());
        }
        if self.more.is_empty() {
            return None;
        }
        let (_, Value::Int(number)) = self.more.iter().find(|(name, _)| name == REPEATED)? else {
            return None;
        };
        Some(*number)
    }

    /// Repeats the number of a request, whatever it is.
    #[inline]
    pub(super) fn repeat(&mut self, request: &Fields) {
        match request.number {
            Some(Number { of: Of::Request, value }) if self.is_empty() => {
                self.number = Some(Number { of: Of::Answer, value });
            }
            Some(_) | None => {
                if let Some(number) = request.get(NUMBER) {
                    self.set(REPEATED, number);
                }
            }
        }
    }

    /// The numbers alone.
    #[inline]
    pub(super) fn numbers(&self) -> Fields {
        let mut numbers = Fields { number: self.number, more: Vec::new() };
        if !self.more.is_empty() {
            let is_number = |(name, _): &&Pair| *name == NUMBER || *name == REPEATED;
            numbers.more = self.more.iter().filter(is_number).cloned().collect();
        }
        numbers
    }

    /// Forgets what a message had on an earlier way, so that it is one of its own: its number as a request, and what the layers
    /// of that way shared.
    #[inline]
    pub(crate) fn renew(&mut self) {
        self.number = self.number.filter(|number| number.of == Of::Answer);
        if !self.more.is_empty() {
            self.more.retain(|(name, _)| !([NUMBER, NONCE_FIELD, TIME_FIELD].contains(&&**name)));
        }
    }

    /// Forgets which request it answers.
    #[inline]
    pub(crate) fn answer_nothing(&mut self) {
        self.number = self.number.filter(|number| number.of == Of::Request);
        if !self.more.is_empty() {
            self.more.retain(|(name, _)| name != REPEATED);
        }
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Value) {
        let number = Number::new(name, &value);
        if let Some(at) = self.more.iter().position(|(found, _)| found == name) {
            if number.is_none() || self.number.is_some() {
                self.more[at].1 = value;
                return;
            }
            self.more.remove(at);
        }
        if self.number.is_none_or(|number| number.name() == name) {
            self.number = number;
        }
        if self.number.is_none() || self.number != number {
            self.more.push((owned(name), value));
        }
    }

    /// Sets a field to octets.
    pub fn set_octets(&mut self, name: &str, octets: &[u8]) {
        self.set(name, Value::Bytes(Bytes::copy_from_slice(octets)));
    }

    /// Takes a field away; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        self.number = self.number.filter(|number| number.name() != name);
        self.more.retain(|(found, _)| found != name);
        self.len() < before
    }

    /// Octets that they take in memory, about.
    #[inline]
    pub(super) fn memory(&self) -> usize {
        self.more.iter().map(|(name, value)| size_of::<Pair>() + name.len() + value.memory()).sum()
    }

    /// The same in memory of their own.
    pub(super) fn detached(&self) -> Fields {
        let detached = |(name, value): &Pair| (name.clone(), value.detached());
        Fields { number: self.number, more: self.more.iter().map(detached).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.number.is_none() && self.more.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.number.is_some()) + self.more.len()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Cow<'_, Value>)> {
        let number = self.number.map(|number| (number.name(), Cow::Owned(number.value())));
        number.into_iter().chain(self.more.iter().map(|(name, value)| (&**name, Cow::Borrowed(value))))
    }

    #[inline]
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        match self.number {
            None if self.more.is_empty() => out.extend_from_slice(&Fields::EMPTY),
            Some(number) if self.more.is_empty() => pack_number(number, out),
            Some(_) | None => self.pack_any(out),
        }
    }

    fn pack_any(&self, out: &mut Vec<u8>) {
        let packed =
            |(name, value): (&str, Cow<'_, Value>)| (Value::Str(name.to_owned()).packed(), value.packed());
        pack_pairs(self.iter().map(packed), out);
    }

    /// Puts the fields in `range` of a frame where none are.
    #[inline]
    pub(crate) fn unpack_into(&mut self, frame: &Bytes, range: Range<usize>) -> Result<(), FieldsError> {
        let octets = &frame[range.clone()];
        self.number = unpack_number(octets);
        if self.number.is_none() && octets != Fields::EMPTY {
            *self = Fields::unpack_any(frame, range)?;
        }
        Ok(())
    }

    fn unpack_any(frame: &Bytes, range: Range<usize>) -> Result<Fields, FieldsError> {
        let Value::Map(pairs) = Value::unpack(&frame.slice(range))? else { return Err(FieldsError::NoMap) };
        if pairs.len() > MESSAGE_FIELDS {
            return Err(FieldsError::TooMany(pairs.len()));
        }
        let mut fields = Fields::new();
        for (name, value) in pairs {
            if let Value::Str(name) = name {
                fields.set(&name, value);
            }
        }
        Ok(fields)
    }
}

/// A name that outlives what it stands in; those of the plugins need no memory.
fn owned(name: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 5] = ["hmac", "nonce", "ts", "iv", "seal"];
    match KNOWN.into_iter().find(|known| *known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// Octets of a number's name.
const NAME: usize = 2;
const _: () = assert!(NUMBER.len() == NAME && REPEATED.len() == NAME);

/// A map of one pair that is a number, up to its value. What lies between the map and the name depends on the width of
/// the value, in octets.
const fn before_name(width: u8) -> [u8; 11] {
    let (of_name, of_value) = (2 + NAME as u8, 1 + width);
    // The map: one pair, so long. The pair: two items, so long. The name: text, so long.
    [0x4d, 0x40, 1, 5 + of_name + of_value, 0x4c, 0x40, 2, of_name, of_value, 0x43, NAME as u8]
}

/// How a number is written that is so wide.
struct Shape {
    width: usize,
    before_name: [u8; 11],
    code: u8,
}

const ONE: Shape = Shape { width: 1, before_name: before_name(1), code: 0x44 };
const TWO: Shape = Shape { width: 2, before_name: before_name(2), code: 0x84 };
const FOUR: Shape = Shape { width: 4, before_name: before_name(4), code: 0xc4 };

/// Octets of the widest.
const LONGEST: usize = 11 + NAME + 1 + 4;

/// Packs a number that is all that there is, as [`Value::pack`] would.
#[inline]
fn pack_number(number: Number, out: &mut Vec<u8>) {
    let shape = match number.value {
        0..=0xff => &ONE,
        0x100..=0xffff => &TWO,
        0x1_0000.. => &FOUR,
    };
    let mut octets = [0; LONGEST];
    octets[..11].copy_from_slice(&shape.before_name);
    octets[11..11 + NAME].copy_from_slice(number.name().as_bytes());
    octets[11 + NAME] = shape.code;
    // The last octets of the value, moved to the front.
    let value = number.value << (32 - 8 * shape.width);
    octets[12 + NAME..].copy_from_slice(&value.to_be_bytes());
    out.extend_from_slice(&octets[..12 + NAME + shape.width]);
}

/// Reads what [`pack_number`] writes; what is written otherwise is no less right, and read otherwise.
#[inline]
fn unpack_number(octets: &[u8]) -> Option<Number> {
    let (before, rest) = octets.split_first_chunk::<11>()?;
    let (name, rest) = rest.split_first_chunk::<NAME>()?;
    let (shape, code, value) = match *rest {
        [code, a] => (&ONE, code, u32::from(a)),
        [code, a, b] => (&TWO, code, u16::from_be_bytes([a, b]).into()),
        [code, a, b, c, d] => (&FOUR, code, u32::from_be_bytes([a, b, c, d])),
        _ => return None,
    };
    if *before != shape.before_name || code != shape.code {
        return None;
    }
    Some(Number { of: Of::named(name)?, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::message::{Kind, Kinds, Message};

    fn packed(fields: &Fields) -> Bytes {
        let mut out = Vec::new();
        fields.pack(&mut out);
        out.into()
    }

    #[test]
    fn a_message_that_is_detached_holds_nothing_of_what_came_with_it() {
        let octets = || Value::Bytes(b"octets"[..].into());
        let named = Value::Named { name: "a".into(), data: b"data"[..].into() };
        let big = Value::BigInt { negative: true, magnitude: vec![1; 20].into() };
        let list = Value::List(vec![octets(), Value::Tuple(vec![named]), Value::Set(vec![big])]);
        let mut message = Message::new(Kind::REQUEST_URI, "uri", "content");
        message.fields.set("id", Value::Int(1));
        message.fields.set("a", Value::Map(vec![(Value::Str("b".into()), list), (octets(), Value::None)]));
        message.fields.set("b", Value::ByteArray(b"octets"[..].into()));
        let mut received = message.to_octets().expect("it fits");
        received.resize(100_000, 0);
        let received = Bytes::from(received);
        let parts = Message::from_octets(received.clone(), &Kinds::new()).expect("it is one");
        let detached = parts.detached();
        assert!(detached == parts && detached.memory() == parts.memory());
        assert!((600..2000).contains(&detached.memory()), "{}", detached.memory());
        assert!(!received.is_unique());
        drop(parts);
        assert!(received.is_unique());
    }

    #[test]
    fn fields_are_set_and_go_whatever_they_are() {
        let all = ["id", "a", "re", "b"];
        for gone in all {
            for value in [Value::Int(7), Value::Int(-1), Value::Int(1 << 32), Value::Str("x".into())] {
                let mut fields = Fields::new();
                all.iter().for_each(|name| fields.set(name, Value::Int(1)));
                fields.set(gone, value.clone());
                assert_eq!((fields.len(), fields.get(gone)), (4, Some(value.clone())), "{gone}");
                assert!(fields.contains(gone) && fields.remove(gone) && !fields.remove(gone), "{gone}");
                assert_eq!(
                    (fields.len(), fields.get(gone), fields.contains(gone)),
                    (3, None, false),
                    "{gone}"
                );
                let mut left: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
                left.sort_unstable();
                let mut wanted: Vec<&str> = all.into_iter().filter(|name| *name != gone).collect();
                wanted.sort_unstable();
                assert_eq!(left, wanted);
                fields.set(gone, value.clone());
                assert_eq!((fields.len(), fields.get(gone)), (4, Some(value)), "{gone}");
            }
        }
    }

    #[test]
    fn one_number_is_packed_as_any_value_is_and_read_as_any_is() {
        for name in ["id", "re", "", "ID", "\u{e4}", "ids", &"n".repeat(300)] {
            for number in [0, 1, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, 1 << 40, -1, i128::MAX] {
                let mut fields = Fields::new();
                fields.set(name, Value::Int(number));
                let pair = (Value::Str(name.to_owned()), Value::Int(number));
                let octets = packed(&fields);
                assert_eq!(octets, Value::Map(vec![pair]).packed(), "{name} {number}");
                let mut unpacked = Fields::new();
                unpacked.unpack_into(&octets, 0..octets.len()).expect("they are fields");
                assert_eq!(unpacked, fields, "{name} {number}");
            }
        }
    }

    /// Every octet of such fields changed to every value: the short way and the long one say the same.
    #[test]
    fn the_short_way_reads_nothing_that_the_long_one_reads_otherwise() {
        let mut read = 0;
        for number in [3, 300, 70_000] {
            let octets = packed(&Fields { number: Number::new("id", &Value::Int(number)), more: Vec::new() });
            for at in 0..octets.len() {
                for value in 0..=255 {
                    let mut changed = octets.to_vec();
                    changed[at] = value;
                    let Some(number) = unpack_number(&changed) else { continue };
                    let long = Value::unpack(&Bytes::from(changed));
                    let pair = (Value::Str(number.name().to_owned()), number.value());
                    assert_eq!(long, Ok(Value::Map(vec![pair])), "{at} {value}");
                    read += 1;
                }
            }
        }
        assert!(read > 7 * 255, "{read}");
    }
}
