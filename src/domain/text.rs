//! Text from people and controllers, bounded and printable.

use std::fmt;
use std::sync::Arc;

/// 1 to `MAX` characters, all of them what they seem, and not all of them blank.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text<const MAX: usize>(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("must not be empty or blank")]
    Empty,
    #[error("must have at most {0} characters")]
    TooLong(usize),
    #[error("must not contain control characters")]
    Control,
    #[error("must not contain characters that are invisible or change the direction of text")]
    Invisible,
}

impl<const MAX: usize> Text<MAX> {
    pub fn parse(text: &str) -> Result<Self, BadText> {
        if text.trim().is_empty() {
            return Err(BadText::Empty);
        }
        if text.chars().count() > MAX {
            return Err(BadText::TooLong(MAX));
        }
        if text.chars().any(char::is_control) {
            return Err(BadText::Control);
        }
        if text.chars().any(is_invisible) {
            return Err(BadText::Invisible);
        }
        Ok(Self(text.into()))
    }

    /// What can be shown of somebody else's text; nothing if that is nothing.
    pub fn tamed(text: &str) -> Option<Self> {
        let shown = text.chars().filter(|c| !c.is_control() && !is_invisible(*c));
        Text::parse(&shown.take(MAX).collect::<String>()).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Zero-width characters and what reorders text: a customer would read another text than the one sent.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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

/// Two hexadecimal digits for each byte, in lower case, as many as are wanted and no more.
pub fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; BYTES];
    if pairs.len() != BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_tamed() {
        let tamed = |text| Text::<4>::tamed(text).map(|text| text.as_str().to_owned());
        assert_eq!(tamed("a\n\u{202e}bcde"), Some("abcd".into()));
        assert_eq!(tamed("\u{7}"), None);
    }

    #[test]
    fn text_is_bounded_in_characters_and_printable() {
        assert!(Text::<3>::parse("ñañ").is_ok());
        assert_eq!(Text::<3>::parse("abcd"), Err(BadText::TooLong(3)));
        assert_eq!(Text::<3>::parse(""), Err(BadText::Empty));
        assert_eq!(Text::<3>::parse("a\nb"), Err(BadText::Control));
        assert_eq!(Text::<3>::parse("\u{7f}"), Err(BadText::Control));
        assert_eq!(Text::<3>::parse(" \u{a0}"), Err(BadText::Empty));
        for c in [
            '\u{200b}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{feff}',
        ] {
            assert_eq!(Text::<3>::parse(&format!("a{c}")), Err(BadText::Invisible), "{c:?}");
        }
    }

    #[test]
    fn hexadecimal_is_read_whole_or_not_at_all() {
        assert_eq!(unhex("00ff7a"), Some([0, 255, 0x7a]));
        assert_eq!(unhex(""), Some([]));
        for bad in ["", "00ff", "00ff7", "00ff7a0", "00ff7a00", "00FF7A", "00fg7a", "+0ff7a"] {
            assert_eq!(unhex::<3>(bad), None, "{bad}");
        }
    }
}
