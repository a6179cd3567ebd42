//! Which members an object may have, as a table, and what is wrong with one that was sent.

use std::fmt;

use super::json::Json;

/// What a member must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Of 1 to so many characters.
    Text(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number of 64 bits, 1 or more.
    Whole,
    /// More than zero.
    Amount,
    /// A string that holds an amount of at least 0.01.
    TextAmount,
    Url(usize),
    /// With one to so many objects of this shape.
    List(usize, Shape),
    Object(Shape),
    /// Anything: a table elsewhere has more to say.
    Any,
}

/// An object's members: name, what it must be, whether it must be there.
pub type Shape = &'static [(&'static str, Kind, bool)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Missing,
    Wrong,
    Unknown,
}

/// A member that is not as it must be; `path` has dots between names and no numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    pub what: What,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault { path, what } = self;
        match what {
            What::Missing => write!(f, "{path} is missing"),
            What::Wrong => write!(f, "{path} is not as it must be"),
            What::Unknown => write!(f, "{path} is not a known member"),
        }
    }
}

/// All that is wrong with an object. A member that is null counts as not there.
pub fn faults(value: &Json, shape: Shape) -> Vec<Fault> {
    let mut found = Vec::new();
    check(value, shape, "", &mut found);
    found
}

fn check(value: &Json, shape: Shape, path: &str, found: &mut Vec<Fault>) {
    let fault = |name: &str, what| Fault {
        path: join(path, name),
        what,
    };
    let Json::Object(members) = value else {
        found.push(fault("", What::Wrong));
        return;
    };
    for (name, kind, required) in shape {
        let member = value.get(name);
        match member {
            Json::Null if *required => found.push(fault(name, What::Missing)),
            Json::Null => {}
            _ => check_member(member, kind, &join(path, name), found),
        }
    }
    let unknown = members
        .iter()
        .filter(|(name, _)| !shape.iter().any(|(known, ..)| known == name));
    found.extend(unknown.map(|(name, _)| fault(name, What::Unknown)));
}

fn check_member(member: &Json, kind: &Kind, path: &str, found: &mut Vec<Fault>) {
    let good = match kind {
        Kind::Text(max) => member
            .text()
            .is_some_and(|text| (1..=*max).contains(&text.chars().count())),
        Kind::Word(words) => member.text().is_some_and(|text| words.contains(&text)),
        Kind::Whole => member.integer().is_some_and(|value| value >= 1),
        Kind::Amount => member
            .decimal()
            .is_some_and(|value| value.is_sign_positive() && !value.is_zero()),
        Kind::TextAmount => member.text().is_some_and(is_amount),
        Kind::Url(max) => member.text().is_some_and(|text| text.len() <= *max && is_url(text)),
        Kind::List(max, shape) => {
            let elements = member.elements();
            elements
                .iter()
                .take(*max)
                .for_each(|element| check(element, shape, path, found));
            (1..=*max).contains(&elements.len())
        }
        Kind::Object(shape) => return check(member, shape, path, found),
        Kind::Any => true,
    };
    if !good {
        found.push(Fault {
            path: path.to_owned(),
            what: What::Wrong,
        });
    }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", "") => "the body".to_owned(),
        ("", _) => name.to_owned(),
        (_, "") => path.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

/// A decimal in a string: digits, a point, at most two decimals.
fn is_amount(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = super::json::number(text);
    plain && value.is_some_and(|value| !value.is_zero() && value.scale() <= 2)
}

/// Whole, with a scheme that Mercado Pago takes.
pub fn is_url(text: &str) -> bool {
    let uri: Option<hyper::Uri> = text.parse().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}
