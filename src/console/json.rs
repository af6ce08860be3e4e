//! JSON, written: a value and its text (RFC 8259).

use std::fmt::{self, Write};

/// A value.
pub(super) enum Json {
    Null,
    Bool(bool),
    Whole(u64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An object of these members, in their order.
pub(super) fn object<const N: usize>(members: [(&'static str, Json); N]) -> Json {
    Json::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
}

impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => out.write_str("null"),
            Json::Bool(value) => write!(out, "{value}"),
            Json::Whole(value) => write!(out, "{value}"),
            // There is no text for what is no number.
            Json::Number(value) if value.is_finite() => write!(out, "{value}"),
            Json::Number(_) => out.write_str("null"),
            Json::Text(value) => text(out, value),
            Json::List(values) => {
                out.write_char('[')?;
                for (at, value) in values.iter().enumerate() {
                    write!(out, "{}{value}", if at == 0 { "" } else { "," })?;
                }
                out.write_char(']')
            }
            Json::Object(members) => {
                out.write_char('{')?;
                for (at, (name, value)) in members.iter().enumerate() {
                    out.write_str(if at == 0 { "" } else { "," })?;
                    text(out, name)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn text(out: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    out.write_char('"')?;
    // In pieces: a character at a time was a third of what a look costs.
    let mut rest = value;
    while let Some(at) = rest.find(|it| it == '"' || it == '\\' || it < ' ') {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = special.chars();
        match characters.next() {
            Some('"') => out.write_str("\\\"")?,
            Some('\\') => out.write_str("\\\\")?,
            Some(control) => write!(out, "\\u{:04x}", u32::from(control))?,
            None => {}
        }
        rest = characters.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Whole(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Whole(value.into())
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Json {
        Json::Whole(value as u64)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Json {
        Json::Number(value)
    }
}

impl From<String> for Json {
    fn from(value: String) -> Json {
        Json::Text(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.to_owned())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Json {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_has_the_text_that_it_should() {
        let value = object([
            ("a", Json::from(vec![1_u64, 2])),
            ("b\"", Json::from("tab\t, quote \", back \\, é, \u{1}")),
            ("c", Json::from(None::<f64>)),
            ("d", Json::from(0.000_25)),
            ("e", Json::from(f64::NAN)),
            ("f", Json::from(true)),
            ("g", Json::from(Vec::<u64>::new())),
            ("h", object([])),
        ]);
        let text = "{\"a\":[1,2],\"b\\\"\":\"tab\\u0009, quote \\\", back \\\\, é, \\u0001\",\"c\":null,\"d\":0.00025,\
                    \"e\":null,\"f\":true,\"g\":[],\"h\":{}}";
        assert_eq!(value.to_string(), text);
    }

    #[test]
    fn what_is_written_is_read_by_others_as_it_was() {
        let all: String = (0..0x300_u32).filter_map(char::from_u32).collect();
        let text = Json::from(all.as_str()).to_string();
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), all);
        for number in [0.0, 1e-9, 1e300, 123_456.789] {
            let text = Json::from(number).to_string();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), f64::to_bits(number), "{text}");
        }
    }
}
