//! Their JSON. Reading: what is needed is named when it is missing, what is not needed may be anything, ids are numbers
//! or strings, amounts are the decimals that stand in the text. Writing: amounts as digits, never through a float.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::ApiError;
use crate::domain::id::Timestamp;
use crate::domain::money::Money;
use crate::limits;

type Read<T> = Result<T, ApiError>;

/// A value, and where in the answer it stands: `payments/0`.
#[derive(Debug)]
pub(super) struct Value<'a> {
    raw: &'a RawValue,
    place: String,
}

#[derive(Debug)]
pub(super) struct Object<'a> {
    members: BTreeMap<String, &'a RawValue>,
    place: String,
}

/// A whole answer.
pub(super) fn body(bytes: &[u8]) -> Read<Value<'_>> {
    let raw: &RawValue = serde_json::from_slice(bytes).map_err(|_| ApiError::nonsense("it is not JSON"))?;
    let place = String::new();
    Ok(Value { raw, place })
}

/// A whole answer that must be an object.
pub(super) fn object(bytes: &[u8]) -> Read<Object<'_>> {
    body(bytes)?.object()
}

impl<'a> Value<'a> {
    fn not(&self, what: &str) -> ApiError {
        let place = if self.place.is_empty() { "it" } else { &self.place };
        ApiError::nonsense(format!("{place} is not {what}"))
    }

    pub(super) fn object(&self) -> Read<Object<'a>> {
        let members = serde_json::from_str(self.raw.get()).map_err(|_| self.not("an object"))?;
        let place = self.place.clone();
        Ok(Object { members, place })
    }

    pub(super) fn elements(&self) -> Read<Vec<Value<'a>>> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.raw.get()).map_err(|_| self.not("an array"))?;
        let at = |(i, raw): (usize, _)| Value {
            raw,
            place: child(&self.place, &i.to_string()),
        };
        Ok(elements.into_iter().enumerate().map(at).collect())
    }

    fn text(&self) -> Option<String> {
        serde_json::from_str(self.raw.get()).ok()
    }

    fn is_number(&self) -> bool {
        self.raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// The digits of a number, or what stands in a string: large numbers come in either form.
    fn text_or_number(&self) -> Option<Cow<'a, str>> {
        if self.is_number() {
            Some(self.raw.get().into())
        } else {
            self.text().map(Cow::Owned)
        }
    }
}

impl<'a> Object<'a> {
    /// `null` is missing too.
    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        let raw = *self.members.get(name).filter(|raw| raw.get() != "null")?;
        let place = child(&self.place, name);
        Some(Value { raw, place })
    }

    fn missing(&self, name: &str, what: &str) -> ApiError {
        ApiError::nonsense(format!("{} is missing, or no {what}", child(&self.place, name)))
    }

    /// Nothing if it is not an object.
    pub(super) fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name)?.object().ok()
    }

    /// The elements of an array, which may be missing.
    pub(super) fn list(&self, name: &str) -> Read<Vec<Value<'a>>> {
        self.get(name).map_or(Ok(Vec::new()), |value| value.elements())
    }

    /// The objects of an array, or the one object that stands in its place; whatever else is there is left out.
    pub(super) fn objects(&self, name: &str) -> Vec<Object<'a>> {
        let Some(value) = self.get(name) else {
            return Vec::new();
        };
        match value.elements() {
            Ok(elements) => elements.iter().filter_map(|element| element.object().ok()).collect(),
            Err(_) => value.object().into_iter().collect(),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.text()
    }

    pub(super) fn need_text(&self, name: &str) -> Read<String> {
        self.text(name).ok_or_else(|| self.missing(name, "string"))
    }

    pub(super) fn text_or_number(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text_or_number()
    }

    pub(super) fn id(&self, name: &str) -> Option<u64> {
        let digits = self.text_or_number(name)?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten().filter(|id| *id > 0)
    }

    pub(super) fn need_id(&self, name: &str) -> Read<u64> {
        self.id(name)
            .ok_or_else(|| self.missing(name, "whole number above zero"))
    }

    /// Exactly as it stands; nothing if it has more digits than a decimal holds.
    pub(super) fn amount(&self, name: &str) -> Option<Decimal> {
        decimal(&self.text_or_number(name)?)
    }

    /// Zero if it is missing; nothing if something else than a number stands there.
    pub(super) fn amount_or_zero(&self, name: &str) -> Option<Decimal> {
        if self.get(name).is_some() {
            self.amount(name)
        } else {
            Some(Decimal::ZERO)
        }
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        serde_json::from_str(self.get(name)?.raw.get()).ok()
    }

    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        let time: jiff::Timestamp = self.text(name)?.parse().ok()?;
        Some(Timestamp(time.as_millisecond()))
    }

    /// A count, such as a page's total.
    pub(super) fn count(&self, name: &str) -> Option<usize> {
        self.text_or_number(name)?.parse().ok()
    }
}

fn child(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}/{name}")
    }
}

/// A JSON number's text, exactly, also with an exponent; nothing if a decimal cannot hold it.
fn decimal(text: &str) -> Option<Decimal> {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let plain = |b: u8| b.is_ascii_digit() || b == b'.';
    if !digits.strip_prefix('-').unwrap_or(digits).bytes().all(plain) {
        return None;
    }
    let number = Decimal::from_str_exact(digits).ok()?;
    let scale = i32::try_from(number.scale())
        .ok()?
        .checked_sub(exponent.parse().ok()?)?;
    let zeros = 10_i128.checked_pow(u32::try_from(-scale.min(0)).ok()?)?;
    let scale = u32::try_from(scale.max(0)).ok()?;
    Decimal::try_from_i128_with_scale(number.mantissa().checked_mul(zeros)?, scale).ok()
}

/// A short text of theirs that is kept though we do not know it.
pub(super) fn unknown(text: &str) -> Box<str> {
    text.chars().take(limits::API_WORD_LEN).collect()
}

/// Words of theirs, of which there may be more some day.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($variant,)+
            /// A word that we do not know, as it came; empty if none came.
            Other(Box<str>),
        }

        impl $name {
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $word,)+
                    $name::Other(word) => word,
                }
            }

            pub(super) fn read(object: &$crate::mercadopago::wire::Object<'_>, name: &str) -> Self {
                match object.text(name).as_deref() {
                    $(Some($word) => $name::$variant,)+
                    other => $name::Other($crate::mercadopago::wire::unknown(other.unwrap_or_default())),
                }
            }
        }
    };
}
pub(super) use words;

/// An amount as a JSON number: its digits, as they are.
pub(super) fn number<S: Serializer>(amount: &Money, to: S) -> Result<S::Ok, S::Error> {
    digits(amount, to)
}

/// A decimal as a JSON number.
pub(super) fn digits<S: Serializer>(decimal: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    let raw = RawValue::from_string(decimal.to_string()).map_err(serde::ser::Error::custom)?;
    raw.serialize(to)
}

/// What we send. It is made of texts, numbers and lists, so writing it cannot fail.
pub(super) fn write(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts, numbers and lists can be written")
}

/// An answer whose body says nothing, whatever it is.
pub(super) fn nothing(_: &[u8]) -> Read<()> {
    Ok(())
}

/// The one of a search's `results` whose `external_id` this is. Mercado Pago may find more, and says that it compares
/// without regard to case.
pub(super) fn find<T>(bytes: &[u8], external_id: &str, read: impl Fn(&Object<'_>) -> Read<T>) -> Read<Option<T>> {
    for object in results(bytes)? {
        if object
            .text("external_id")
            .is_some_and(|id| id.eq_ignore_ascii_case(external_id))
        {
            return read(&object).map(Some);
        }
    }
    Ok(None)
}

/// A search's `results`; an old reference has the bare array.
pub(super) fn results(bytes: &[u8]) -> Read<Vec<Object<'_>>> {
    let body = body(bytes)?;
    let results = match body.object() {
        Ok(object) => object.list("results")?,
        Err(_) => body.elements()?,
    };
    results.iter().map(Value::object).collect()
}

#[cfg(test)]
mod tests;
