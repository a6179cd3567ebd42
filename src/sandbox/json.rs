//! JSON with its numbers as they were written: an amount that passes through a float is another amount.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number's text.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

static NULL: Json = Json::Null;

impl Json {
    /// The error says what is wrong with the text.
    pub fn parse(text: &[u8]) -> Result<Json, String> {
        let raw: &RawValue = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        read(raw, limits::JSON_DEPTH)
    }

    /// The member of an object; null if it is not there.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => members
                .iter()
                .find(|(known, _)| known == name)
                .map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Json::Null
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn decimal(&self) -> Option<Decimal> {
        match self {
            Json::Number(text) => number(text),
            _ => None,
        }
    }

    /// A whole number of 64 bits; `1.0` is one.
    pub fn integer(&self) -> Option<u64> {
        let value = self.decimal()?;
        (value.is_integer() && !value.is_sign_negative())
            .then(|| value.trunc().to_string().split('.').next()?.parse().ok())
            .flatten()
    }

    /// The elements of an array; none of anything else.
    pub fn elements(&self) -> &[Json] {
        match self {
            Json::Array(elements) => elements,
            _ => &[],
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("its numbers were JSON or decimals, its keys are strings")
    }
}

/// A number as JSON writes it, exactly.
pub fn number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// An object with these members, in this order.
pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(
        members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

fn read(raw: &RawValue, depth: usize) -> Result<Json, String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(format!("brackets within brackets, more than {}", limits::JSON_DEPTH));
    };
    let text = raw.get();
    let said = |error: serde_json::Error| error.to_string();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(said)?;
            let read = |(name, value)| Ok::<_, String>((name, read(value, depth)?));
            Json::Object(members.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(said)?;
            Json::Array(
                elements
                    .into_iter()
                    .map(|value| read(value, depth))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(b'"') => Json::Text(serde_json::from_str(text).map_err(said)?),
        Some(b't') => Json::Bool(true),
        Some(b'f') => Json::Bool(false),
        Some(b'n') => Json::Null,
        _ => Json::Number(text.to_owned()),
    })
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(text) => RawValue::from_string(text.clone())
                .map_err(S::Error::custom)?
                .serialize(serializer),
            Json::Text(text) => serializer.serialize_str(text),
            Json::Array(elements) => elements.serialize(serializer),
            Json::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Number(value.to_string())
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<Decimal> for Json {
    fn from(value: Decimal) -> Json {
        Json::Number(value.to_string())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Json {
        Json::Array(values.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_through_exactly() {
        let text = br#"{"a":[18525.50,0.1,12345678901234567890.01],"b":{"c":"x"},"d":null}"#;
        assert_eq!(
            Json::parse(text).unwrap().bytes(),
            text,
            "{:?}",
            Json::parse(text).unwrap()
        );
        assert_eq!(Json::Number("1.0".into()).integer(), Some(1));
        assert_eq!(Json::Number("1.5".into()).integer(), None);
        assert_eq!(
            Json::Number("1e2".into()).decimal(),
            Decimal::from_str_exact("100").ok()
        );
    }

    #[test]
    fn deep_brackets_are_refused() {
        let deep = "[".repeat(limits::JSON_DEPTH + 1) + &"]".repeat(limits::JSON_DEPTH + 1);
        assert!(Json::parse(deep.as_bytes()).is_err());
        assert!(Json::parse(b"{\"a\":1,}").is_err());
    }
}
