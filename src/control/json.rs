//! Reading what a controller sent: exactly, and with the place of whatever is wrong.
//!
//! Amounts must not pass through a float, repeated members must not be dropped in silence, and an error must name its
//! field. So values stay the text that they are until somebody says what they should be.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits;

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) code: &'static str,
    /// The JSON pointer of the field (RFC 6901).
    pub(super) pointer: Option<String>,
    pub(super) detail: String,
}

type Read<T> = Result<T, Bad>;

impl Bad {
    /// The same, found within the value at this place.
    fn under(self, place: &str) -> Bad {
        Bad {
            pointer: self.pointer.map(|pointer| format!("{place}{pointer}")),
            ..self
        }
    }
}

/// A value that is somewhere in the body.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    raw: &'a RawValue,
    pointer: String,
}

/// An object whose members are taken one by one, so that what is left over is unknown.
#[derive(Debug)]
pub(super) struct Object<'a> {
    pointer: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// The whole body.
pub(super) fn body(bytes: &[u8]) -> Read<Field<'_>> {
    let bad = |code, detail: String| Bad {
        code,
        pointer: None,
        detail,
    };
    if depth(bytes) > limits::JSON_DEPTH {
        return Err(bad(
            "too_deep",
            format!("the body must have at most {} levels", limits::JSON_DEPTH),
        ));
    }
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(raw) => Ok(Field {
            raw,
            pointer: String::new(),
        }),
        Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => Err(bad(
            "invalid_json",
            "the body is empty, and a JSON object is needed".into(),
        )),
        Err(error) => Err(bad("invalid_json", format!("the body is not JSON: {error}"))),
    }
}

/// How deep brackets stand within brackets; text that is no JSON may say anything.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'a> Field<'a> {
    /// This field's value is not what it should be.
    pub(super) fn bad(&self, detail: impl fmt::Display) -> Bad {
        Bad {
            code: "invalid_field",
            pointer: Some(self.pointer.clone()),
            detail: detail.to_string(),
        }
    }

    fn text(&self) -> &'a str {
        self.raw.get()
    }

    pub(super) fn is_null(&self) -> bool {
        self.text() == "null"
    }

    pub(super) fn object(&self) -> Read<Object<'a>> {
        if !self.text().starts_with('{') {
            return Err(self.bad("must be an object"));
        }
        let Members(members) =
            serde_json::from_str(self.text()).map_err(|_| self.bad("has a name that is not a valid string"))?;
        let mut seen = HashSet::with_capacity(members.len());
        if let Some((name, _)) = members.iter().find(|(name, _)| !seen.insert(name.as_ref())) {
            return Err(Bad {
                code: "duplicate_key",
                pointer: Some(child(&self.pointer, name)),
                detail: "stands twice in one object".into(),
            });
        }
        Ok(Object {
            pointer: self.pointer.clone(),
            members,
        })
    }

    pub(super) fn array(&self) -> Read<Vec<Field<'a>>> {
        if !self.text().starts_with('[') {
            return Err(self.bad("must be an array"));
        }
        let at = |(i, raw): (usize, _)| Field {
            raw,
            pointer: child(&self.pointer, &i.to_string()),
        };
        Ok(self.elements()?.into_iter().enumerate().map(at).collect())
    }

    fn elements(&self) -> Read<Vec<&'a RawValue>> {
        serde_json::from_str(self.text()).map_err(|error| self.bad(error))
    }

    pub(super) fn string(&self) -> Read<Cow<'a, str>> {
        if !self.text().starts_with('"') {
            return Err(self.bad("must be a string"));
        }
        let Text(text) = serde_json::from_str(self.text()).map_err(|_| self.bad("is not a valid string"))?;
        Ok(text)
    }

    /// A string, parsed.
    pub(super) fn parsed<T, E: fmt::Display>(&self, parse: impl FnOnce(&str) -> Result<T, E>) -> Read<T> {
        parse(&self.string()?).map_err(|error| self.bad(error))
    }

    /// A string that is one of a few words.
    pub(super) fn word<T>(&self, words: &str, parse: impl FnOnce(&str) -> Option<T>) -> Read<T> {
        parse(&self.string()?).ok_or_else(|| self.bad(format!("must be {words}")))
    }

    pub(super) fn boolean(&self) -> Read<bool> {
        match self.text() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.bad("must be true or false")),
        }
    }

    /// The digits of an amount, from a number or a string, as they were written.
    pub(super) fn digits(&self) -> Read<Cow<'a, str>> {
        match self.text().as_bytes().first() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => Ok(self.text().into()),
            _ => Err(self.bad("must be a number, or a string of digits")),
        }
    }

    /// A whole number; `2.0` is one too.
    pub(super) fn whole(&self) -> Read<u64> {
        let text = self.text();
        let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = fraction.bytes().all(|b| b == b'0') && integer.bytes().all(|b| b.is_ascii_digit());
        match integer.parse() {
            Ok(number) if whole => Ok(number),
            _ => Err(self.bad("must be a whole number")),
        }
    }

    /// The value in one form: no spaces, members sorted, strings and numbers written alike. Equal values are equal text.
    pub(super) fn canonical(&self) -> Read<String> {
        let mut text = String::with_capacity(self.text().len());
        self.write_canonical(&mut text)?;
        Ok(text)
    }

    fn write_canonical(&self, out: &mut String) -> Read<()> {
        match self.text().as_bytes().first() {
            Some(b'{') => {
                let mut members = self.object()?.members;
                members.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (i, (name, raw)) in members.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&quoted(&name));
                    out.push(':');
                    self.write_inner(raw, &name, out)?;
                }
                out.push('}');
            }
            Some(b'[') => {
                out.push('[');
                for (i, raw) in self.elements()?.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    self.write_inner(raw, &i.to_string(), out)?;
                }
                out.push(']');
            }
            Some(b'"') => out.push_str(&quoted(&self.string()?)),
            Some(b'-' | b'0'..=b'9') if !is_readable(self.text()) => {
                return Err(self.bad("is a number that many programs cannot read"));
            }
            Some(b'-' | b'0'..=b'9') => out.push_str(plain(self.text())),
            _ => out.push_str(self.text()),
        }
        Ok(())
    }

    /// What stands in this value under a name. Its place is only made where something is wrong: a long name times many
    /// values within it would be far more than was sent.
    fn write_inner(&self, raw: &'a RawValue, name: &str, out: &mut String) -> Read<()> {
        let pointer = String::new();
        Field { raw, pointer }
            .write_canonical(out)
            .map_err(|bad| bad.under(&child(&self.pointer, name)))
    }
}

/// Many libraries read numbers as floats, and fail at one like 1e400: whoever follows the feed could not get past it.
fn is_readable(number: &str) -> bool {
    number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A number without what says nothing: zeros that end its fraction, and the sign of zero. One with an exponent stays.
fn plain(number: &str) -> &str {
    if number.contains(['e', 'E']) {
        return number;
    }
    let short = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    if short == "-0" { "0" } else { short }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

impl<'a> Object<'a> {
    fn field(&self, name: &str, raw: &'a RawValue) -> Field<'a> {
        Field {
            raw,
            pointer: child(&self.pointer, name),
        }
    }

    /// The member, unless it is absent or null.
    pub(super) fn take(&mut self, name: &str) -> Option<Field<'a>> {
        let place = self.members.iter().position(|(member, _)| member == name)?;
        let (_, raw) = self.members.swap_remove(place);
        Some(self.field(name, raw)).filter(|field| !field.is_null())
    }

    pub(super) fn require(&mut self, name: &str) -> Read<Field<'a>> {
        self.take(name).ok_or_else(|| Bad {
            code: "invalid_field",
            pointer: Some(child(&self.pointer, name)),
            detail: "is missing".into(),
        })
    }

    /// What was not taken is unknown. `known` says what would be right.
    pub(super) fn finish(self, known: &str) -> Read<()> {
        match self.members.first() {
            None => Ok(()),
            Some((name, _)) => Err(Bad {
                code: "unknown_field",
                pointer: Some(child(&self.pointer, name)),
                detail: format!("is not known here; known are {known}"),
            }),
        }
    }
}

fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The members of an object in their order, repeated ones too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        body(text.as_bytes()).and_then(|field| field.canonical()).expect(text)
    }

    #[test]
    fn equal_values_are_equal_text() {
        assert_eq!(
            canonical(r#" {"b": [1, 2.50 ,"\u0041\/"], "a": {"y":null, "x":true}} "#),
            r#"{"a":{"x":true,"y":null},"b":[1,2.5,"A/"]}"#
        );
        for (number, plain) in [
            ("1.0", "1"),
            ("100", "100"),
            ("10.50", "10.5"),
            ("-0", "0"),
            ("-0.00", "0"),
            ("0.0", "0"),
            ("-1.10", "-1.1"),
            ("1.0e2", "1.0e2"),
            ("1E20", "1E20"),
        ] {
            assert_eq!(canonical(number), plain);
        }
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let place = |text: &str| {
            let error = body(text.as_bytes())
                .and_then(|field| field.canonical())
                .expect_err(text);
            (error.code, error.pointer)
        };
        assert_eq!(
            place(r#"{"a":[{"x":1,"x":2}]}"#),
            ("duplicate_key", Some("/a/0/x".into()))
        );
        assert_eq!(place(r#"{"a":[1e308,-1E400]}"#), ("invalid_field", Some("/a/1".into())));
        assert_eq!(
            place(r#"{"a/b~c":{"x":1,"\u0078":2}}"#),
            ("duplicate_key", Some("/a~1b~0c/x".into()))
        );
        assert_eq!(place(&"[".repeat(10_000)), ("too_deep", None));
        for text in ["", "{", "\u{1}", "{} {}", "nope", r#"{"a":"\ud800"}"#] {
            let error = body(text.as_bytes())
                .and_then(|field| field.canonical())
                .expect_err(text);
            assert!(
                ["invalid_json", "invalid_field"].contains(&error.code),
                "{text}: {error:?}"
            );
        }
        for (text, detail) in [
            (r#""\ud800""#, "is not a valid string"),
            (r#"{"\udc00":1}"#, "has a name that is not a valid string"),
        ] {
            let error = body(text.as_bytes()).and_then(|field| field.canonical());
            assert_eq!(error.expect_err(text).detail, detail);
        }
        assert_eq!(body(b"\"\xff\"").expect_err("not UTF-8").code, "invalid_json");
        assert!(
            body(br#"{"a":"[[[[[[[[[[[[[[[[[[[[\"[["}"#).is_ok(),
            "brackets in strings are text"
        );
    }

    #[test]
    fn whole_numbers_are_whole() {
        let whole = |text: &str| body(text.as_bytes()).and_then(|field| field.whole());
        assert_eq!(whole("2"), Ok(2));
        assert_eq!(whole("2.0"), Ok(2));
        for text in ["2.5", "-1", "1e3", "\"2\"", "true", "99999999999999999999", "null"] {
            assert_eq!(whole(text).expect_err(text).code, "invalid_field");
        }
    }

    #[test]
    fn amounts_stay_as_written() {
        let digits = |text: &str| body(text.as_bytes()).and_then(|field| field.digits().map(Cow::into_owned));
        assert_eq!(digits("18525.50"), Ok("18525.50".into()));
        assert_eq!(digits("\"18525.50\""), Ok("18525.50".into()));
        assert_eq!(
            digits("1e400"),
            Ok("1e400".into()),
            "who parses it refuses the exponent"
        );
        assert!(digits("true").is_err());
    }
}
