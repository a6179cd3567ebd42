//! Names that are parsed once and valid ever after.

use std::fmt;

use smol_str::SmolStr;

use crate::limits;

/// Why a name was refused: what would be right, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {0}")]
pub struct BadName(pub &'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $allowed:expr, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(SmolStr);

        impl $name {
            pub fn parse(text: &str) -> Result<Self, BadName> {
                let allowed: fn(u8) -> bool = $allowed;
                // `.` and `..` are places in a path, whoever reads it.
                let dots = text.bytes().all(|b| b == b'.');
                let fits = (1..=$max).contains(&text.len()) && text.bytes().all(allowed) && !dots;
                if fits { Ok(Self(text.into())) } else { Err(BadName($rule)) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A point of sale, as controllers name it.
    PosId,
    limits::POS_ID_LEN,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
    "1 to 64 letters, digits, '-', '_' or '.', and not dots alone"
);

name!(
    /// A merchant's account in the configuration.
    AccountId,
    limits::ACCOUNT_ID_LEN,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
    "1 to 32 letters, digits, '-' or '_'"
);

name!(
    /// Our number of an order. Mercado Pago compares it without regard to case, so no two orders may differ by case alone.
    Reference,
    limits::REFERENCE_LEN,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'),
    "1 to 64 letters, digits, '-' or '_'"
);

name!(
    /// An intent at Mercado Pago: a UUID, but nobody promised that.
    IntentId,
    limits::INTENT_ID_LEN,
    |b| b.is_ascii_alphanumeric() || b == b'-',
    "1 to 64 letters, digits or '-'"
);

name!(
    /// A POS's own name at Mercado Pago.
    ExternalPosId,
    limits::EXTERNAL_POS_LEN,
    |b| b.is_ascii_alphanumeric(),
    "1 to 39 letters or digits"
);

name!(
    /// A store's own name at Mercado Pago.
    ExternalStoreId,
    limits::EXTERNAL_STORE_LEN,
    |b| b.is_ascii_alphanumeric(),
    "1 to 60 letters or digits"
);

name!(
    /// The controller's name for one refund: asking again under it is the same refund.
    IdempotencyKey,
    limits::IDEMPOTENCY_KEY_LEN,
    |b| b.is_ascii_graphic(),
    "1 to 128 printable ASCII characters without spaces"
);

name!(
    /// A token of the control API, as its administrator names it.
    TokenName,
    limits::TOKEN_NAME_LEN,
    |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
    "1 to 64 letters, digits, '-', '_' or '.', and not dots alone"
);

impl Reference {
    /// The form under which references are compared.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    pub fn same(&self, other: &Reference) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

/// How many entries a POS has had; the next one must say which it follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rev(pub u64);

impl Rev {
    pub fn next(self) -> Rev {
        Rev(self.0 + 1)
    }
}

/// An instant of the wall clock, in milliseconds since 1970. Only `clock` makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus_seconds(self, seconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(seconds.saturating_mul(1000)))
    }

    pub fn minus_seconds(self, seconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(seconds.saturating_mul(1000)))
    }

    /// How long from `earlier` to `self`; nothing if it is not later.
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        std::time::Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_their_rule_says() {
        for good in ["a", "PUMP-4", "a.b_c", ".a", &"x".repeat(64)] {
            assert!(PosId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "á", "a/b", "a\n", ".", "..", &"x".repeat(65)] {
            assert!(PosId::parse(bad).is_err(), "{bad}");
        }
        assert!(Reference::parse("T-000123_b").is_ok());
        assert!(Reference::parse("T.1").is_err());
        let wrong = ExternalPosId::parse("POS-1").expect_err("a hyphen");
        assert_eq!(wrong.to_string(), "must be 1 to 39 letters or digits");
        assert!(ExternalPosId::parse(&"a".repeat(40)).is_err());
    }

    #[test]
    fn references_do_not_differ_by_case() {
        let (a, b) = (
            Reference::parse("T-1a").expect("valid"),
            Reference::parse("t-1A").expect("valid"),
        );
        assert!(a.same(&b));
        assert_eq!(a.folded(), b.folded());
        assert_ne!(a, b);
    }
}
