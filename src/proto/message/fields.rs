//! The authentication fields of a message: names and packed values.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;

use super::pack::{UnpackError, Value, pack_pairs};

/// What plugins say of a message: a nonce, a time, a code that authenticates it.
///
/// A handful of pairs, looked up one after the other. Names that are no text are left out when fields are read, and of
/// two of one name the later counts.
///
/// Invariant: `more` is empty while there is no `first`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// In place: most messages between two of ours have just a number.
    first: Option<Pair>,
    more: Vec<Pair>,
}

type Pair = (Cow<'static, str>, Value);

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
}

impl Fields {
    /// The packed form of no fields at all.
    pub(crate) const EMPTY: [u8; 3] = [0x4d, 0x40, 0];

    /// No fields.
    pub const fn new() -> Fields {
        Fields { first: None, more: Vec::new() }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The octets of a field, if that is what it has.
    pub fn octets(&self, name: &str) -> Option<&Bytes> {
        self.get(name)?.as_bytes()
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.first.iter_mut().chain(&mut self.more).find(|(found, _)| found == name) {
            Some(pair) => pair.1 = value,
            None => self.push((owned(name), value)),
        }
    }

    /// Sets a field to octets.
    pub fn set_octets(&mut self, name: &str, octets: &[u8]) {
        self.set(name, Value::Bytes(Bytes::copy_from_slice(octets)));
    }

    /// Takes a field away; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.len();
        if self.first.as_ref().is_some_and(|(found, _)| found == name) {
            self.first = if self.more.is_empty() { None } else { Some(self.more.remove(0)) };
        } else {
            self.more.retain(|(found, _)| found != name);
        }
        self.len() < before
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.first.iter().chain(&self.more).map(|(name, value)| (&**name, value))
    }

    /// Adds a field of another name than there are.
    fn push(&mut self, pair: Pair) {
        match self.first {
            None => self.first = Some(pair),
            Some(_) => self.more.push(pair),
        }
    }

    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        let Some((name, value)) = &self.first else { return out.extend_from_slice(&Fields::EMPTY) };
        if let (Value::Int(number), true) = (value, self.more.is_empty()) {
            if pack_numbered(name, *number, out) {
                return;
            }
        }
        let packed = self.iter().map(|(name, value)| (Value::Str(name.to_owned()).packed(), value.packed()));
        pack_pairs(packed, out);
    }

    /// The fields in `range` of a frame.
    pub(crate) fn unpack(frame: &Bytes, range: Range<usize>) -> Result<Fields, FieldsError> {
        let octets = &frame[range.clone()];
        if octets == Fields::EMPTY {
            return Ok(Fields::new());
        }
        let mut fields = Fields::new();
        if let Some(pair) = unpack_numbered(octets) {
            fields.push(pair);
            return Ok(fields);
        }
        let Value::Map(pairs) = Value::unpack(&frame.slice(range))? else { return Err(FieldsError::NoMap) };
        for (name, value) in pairs {
            if let Value::Str(name) = name {
                fields.set(&name, value);
            }
        }
        Ok(fields)
    }
}

/// A name that outlives what it stands in; those that plugins and requests use need no memory.
fn owned(name: &str) -> Cow<'static, str> {
    const KNOWN: [&str; 7] = ["id", "re", "hmac", "nonce", "ts", "iv", "seal"];
    match KNOWN.into_iter().find(|known| *known == name) {
        Some(known) => Cow::Borrowed(known),
        None => Cow::Owned(name.to_owned()),
    }
}

/// Before the lengths of a map of one pair, and before those of the pair's name and value.
const ONE_PAIR: [u8; 3] = [0x4d, 0x40, 1];
const PAIR: [u8; 3] = [0x4c, 0x40, 2];
/// The code of text, and of numbers of 1, 2 and 4 octets.
const TEXT: u8 = 0x43;
const NUMBERS: [(u8, usize); 3] = [(0x44, 1), (0x84, 2), (0xc4, 4)];

/// Packs one short name and number, as most messages between two of ours have; false when they are not of that kind.
fn pack_numbered(name: &str, number: i128, out: &mut Vec<u8>) -> bool {
    let (Ok(number), true) = (u32::try_from(number), name.len() < 64) else { return false };
    let octets = number.to_be_bytes();
    let size = match number {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000.. => 4,
    };
    let Some((code, _)) = NUMBERS.into_iter().find(|(_, octets)| *octets == size) else { return false };
    let (of_name, of_value) = (name.len() as u8 + 2, size as u8 + 1);
    out.extend_from_slice(&ONE_PAIR);
    out.push(5 + of_name + of_value);
    out.extend_from_slice(&PAIR);
    out.extend_from_slice(&[of_name, of_value, TEXT, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    out.push(code);
    out.extend_from_slice(&octets[4 - size..]);
    true
}

/// Reads what [`pack_numbered`] writes; what is written otherwise is no less right, and read otherwise.
fn unpack_numbered(octets: &[u8]) -> Option<Pair> {
    let (length, rest) = octets.strip_prefix(&ONE_PAIR)?.split_first()?;
    let [of_name, of_value, TEXT, name, rest @ ..] = rest.strip_prefix(&PAIR)? else { return None };
    let is_tight = usize::from(*of_name) == usize::from(*name) + 2
        && usize::from(*length) == 5 + usize::from(*of_name) + usize::from(*of_value)
        && rest.len() == usize::from(*name) + usize::from(*of_value);
    if !is_tight {
        return None;
    }
    let (name, value) = rest.split_at(usize::from(*name));
    let (code, number) = value.split_first()?;
    if !NUMBERS.contains(&(*code, number.len())) {
        return None;
    }
    let number = number.iter().fold(0i128, |number, octet| number << 8 | i128::from(*octet));
    Some((owned(std::str::from_utf8(name).ok()?), Value::Int(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(fields: &Fields) -> Bytes {
        let mut out = Vec::new();
        fields.pack(&mut out);
        out.into()
    }

    #[test]
    fn fields_keep_their_order_whichever_goes() {
        let all = ["a", "b", "c"];
        for gone in all {
            let mut fields = Fields::new();
            all.iter().for_each(|name| fields.set(name, Value::Str((*name).to_owned())));
            assert!(fields.remove(gone) && !fields.remove(gone) && fields.get(gone).is_none(), "{gone}");
            let left: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
            assert_eq!(left, all.into_iter().filter(|name| *name != gone).collect::<Vec<_>>());
            assert_eq!((fields.len(), fields.is_empty()), (2, false));
            fields.set(gone, Value::None);
            assert_eq!(fields.iter().last(), Some((gone, &Value::None)));
        }
    }

    #[test]
    fn one_number_is_packed_as_any_value_is_and_read_as_any_is() {
        for name in ["", "id", "re", "\u{e4}", &"n".repeat(63), &"n".repeat(64), &"n".repeat(300)] {
            for number in [0, 1, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, 1 << 40, -1, i128::MAX] {
                let mut fields = Fields::new();
                fields.set(name, Value::Int(number));
                let pair = (Value::Str(name.to_owned()), Value::Int(number));
                let octets = packed(&fields);
                assert_eq!(octets, Value::Map(vec![pair]).packed(), "{name} {number}");
                assert_eq!(Fields::unpack(&octets, 0..octets.len()), Ok(fields), "{name} {number}");
            }
        }
    }

    /// Every octet of such fields changed to every value: the short way and the long one say the same.
    #[test]
    fn the_short_way_reads_nothing_that_the_long_one_reads_otherwise() {
        let mut fields = Fields::new();
        fields.set("id", Value::Int(300));
        let octets = packed(&fields);
        let mut read = 0;
        for at in 0..octets.len() {
            for value in 0..=255 {
                let mut changed = octets.to_vec();
                changed[at] = value;
                let Some((name, number)) = unpack_numbered(&changed) else { continue };
                let long = Value::unpack(&Bytes::from(changed));
                assert_eq!(long, Ok(Value::Map(vec![(Value::Str(name.into()), number)])), "{at} {value}");
                read += 1;
            }
        }
        assert!(read > 255, "{read}");
    }
}
