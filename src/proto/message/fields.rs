//! The authentication fields of a message: names and packed values.

use bytes::Bytes;

use super::pack::{UnpackError, Value, pack_pairs};

/// What plugins say of a message: a nonce, a time, a code that authenticates it.
///
/// A handful of pairs, looked up one after the other. Names that are no text are left out when fields are read, and of
/// two of one name the later counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    pairs: Vec<(String, Value)>,
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
}

impl Fields {
    /// The packed form of no fields at all.
    pub(crate) const EMPTY: [u8; 3] = [0x4d, 0x40, 0];

    /// No fields.
    pub const fn new() -> Fields {
        Fields { pairs: Vec::new() }
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// The octets of a field, if that is what it has.
    pub fn octets(&self, name: &str) -> Option<&Bytes> {
        self.get(name)?.as_bytes()
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.pairs.iter_mut().find(|(found, _)| found == name) {
            Some(pair) => pair.1 = value,
            None => self.pairs.push((name.to_owned(), value)),
        }
    }

    /// Sets a field to octets.
    pub fn set_octets(&mut self, name: &str, octets: &[u8]) {
        self.set(name, Value::Bytes(Bytes::copy_from_slice(octets)));
    }

    /// Takes a field away; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.pairs.len();
        self.pairs.retain(|(found, _)| found != name);
        self.pairs.len() < before
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        if self.pairs.is_empty() {
            out.extend_from_slice(&Fields::EMPTY);
            return;
        }
        let packed =
            self.pairs.iter().map(|(name, value)| (Value::Str(name.clone()).packed(), value.packed()));
        pack_pairs(packed, out);
    }

    pub(crate) fn unpack(octets: &Bytes) -> Result<Fields, FieldsError> {
        if octets[..] == Fields::EMPTY {
            return Ok(Fields::new());
        }
        let Value::Map(pairs) = Value::unpack(octets)? else { return Err(FieldsError::NoMap) };
        let mut fields = Fields::new();
        for (name, value) in pairs {
            if let Value::Str(name) = name {
                fields.set(&name, value);
            }
        }
        Ok(fields)
    }
}
