//! The optional secret in a POS's URL, so that nobody can walk the stations and read their orders.

use ring::hmac;

use crate::domain::id::PosId;
use crate::seal::Mark;

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

    /// What the POS's URL carries, one for each secret: its tags.
    pub fn tags(&self, pos: &PosId) -> Box<[Mark]> {
        let tag = |secret| Mark::new(secret, pos.as_str().as_bytes());
        self.0.iter().map(tag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::key::decoded;

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
        let matches = |raw: &str| tag.matches(decoded(raw.as_bytes()));
        let text = tag.as_str();
        assert!(matches(text));
        assert!(matches(&format!("%{:02X}{}", text.as_bytes()[0], &text[1..])));
        for wrong in [
            "",
            &text[1..],
            &text[..21],
            &format!("{text}="),
            &format!("{text}\0"),
            &text.to_uppercase(),
        ] {
            assert!(!matches(wrong), "{wrong}");
        }
    }
}
