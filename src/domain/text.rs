//! Text from people and controllers, bounded and printable.

use std::fmt;
use std::sync::Arc;

/// 1 to `MAX` characters, none of them a control character.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text<const MAX: usize>(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("must not be empty")]
    Empty,
    #[error("must have at most {0} characters")]
    TooLong(usize),
    #[error("must not contain control characters")]
    Control,
}

impl<const MAX: usize> Text<MAX> {
    pub fn parse(text: &str) -> Result<Self, BadText> {
        if text.is_empty() {
            return Err(BadText::Empty);
        }
        if text.chars().count() > MAX {
            return Err(BadText::TooLong(MAX));
        }
        if text.chars().any(char::is_control) {
            return Err(BadText::Control);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_bounded_in_characters_and_printable() {
        assert!(Text::<3>::parse("ñañ").is_ok());
        assert_eq!(Text::<3>::parse("abcd"), Err(BadText::TooLong(3)));
        assert_eq!(Text::<3>::parse(""), Err(BadText::Empty));
        assert_eq!(Text::<3>::parse("a\nb"), Err(BadText::Control));
        assert_eq!(Text::<3>::parse("\u{7f}"), Err(BadText::Control));
    }
}
