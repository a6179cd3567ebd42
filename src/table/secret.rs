//! The optional secret in a POS's URL, so that nobody can walk the stations and read their orders.

use std::fmt;

use ring::hmac;

use super::key::decoded;
use crate::domain::id::PosId;

/// A POS's secret as its URL carries it: the first 128 bits of HMAC-SHA-256(secret, POS) in base64url.
#[derive(Clone, Copy)]
pub struct Tag([u8; TAG_LEN]);

const TAG_LEN: usize = 22;
const TAG_BITS: usize = 128;

/// The configured secrets. The first makes new URLs; all of them are taken, so that URLs can be changed one by one.
#[derive(Default)]
pub struct UrlSecrets(Vec<hmac::Key>);

impl UrlSecrets {
    pub fn new<S: AsRef<[u8]>>(secrets: &[S]) -> UrlSecrets {
        UrlSecrets(
            secrets
                .iter()
                .map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref()))
                .collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the POS's URL carries, one for each secret.
    pub fn tags(&self, pos: &PosId) -> Box<[Tag]> {
        self.0.iter().map(|secret| Tag::new(secret, pos)).collect()
    }
}

impl Tag {
    fn new(secret: &hmac::Key, pos: &PosId) -> Tag {
        let signature = hmac::sign(secret, pos.as_str().as_bytes());
        let bit = |i: usize| {
            if i < TAG_BITS {
                signature.as_ref()[i / 8] >> (7 - i % 8) & 1
            } else {
                0
            }
        };
        Tag(std::array::from_fn(|digit| {
            let value = (0..6).fold(0, |value, i| value << 1 | bit(digit * 6 + i));
            base64url(value)
        }))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }

    /// Looks at every byte, so that the time tells nothing of how much was right.
    pub(super) fn matches(&self, raw: &[u8]) -> bool {
        let mut given = [0; TAG_LEN + 1];
        let mut len = 0;
        for (place, byte) in given.iter_mut().zip(decoded(raw)) {
            *place = byte;
            len += 1;
        }
        let differing = self
            .0
            .iter()
            .zip(&given)
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0 && len == TAG_LEN
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(…)")
    }
}

fn base64url(value: u8) -> u8 {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    DIGITS[usize::from(value % 64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf PUMP-4 | openssl dgst -sha256 -hmac secret -binary | head -c 16 | base64`
    #[test]
    fn a_tag_is_what_openssl_says() {
        let pos = PosId::parse("PUMP-4").expect("a name");
        let tags = UrlSecrets::new(&["secret"]).tags(&pos);
        assert_eq!(tags[0].as_str(), "9_PSBoJW1P4oH5TkFB43Ng");
    }

    #[test]
    fn only_the_whole_tag_matches() {
        let pos = PosId::parse("PUMP-4").expect("a name");
        let tag = UrlSecrets::new(&["secret"]).tags(&pos)[0];
        let text = tag.as_str();
        assert!(tag.matches(text.as_bytes()));
        assert!(tag.matches(format!("%{:02X}{}", text.as_bytes()[0], &text[1..]).as_bytes()));
        for wrong in [
            "",
            &text[1..],
            &text[..21],
            &format!("{text}="),
            &format!("{text}\0"),
            &text.to_uppercase(),
        ] {
            assert!(!tag.matches(wrong.as_bytes()), "{wrong}");
        }
    }
}
