//! `x-signature` (`protocol.md` 4.5): whether who sent a notification knew one of the account's secrets.
//!
//! It is computed, recorded and counted. It never decides what is answered or believed: notifications of QR orders are
//! not signed verifiably.

use ring::hmac;

use crate::domain::hint::Signature;
use crate::domain::text::unhex;

/// Why a signature proves nothing. The first names are those of Mercado Pago's own validators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error("MissingSignatureHeader")]
    NoHeader,
    /// Neither a time nor a hash, or a time that is no number.
    #[error("MalformedSignatureHeader")]
    Malformed,
    #[error("MissingTimestamp")]
    NoTimestamp,
    #[error("MissingHash")]
    NoHash,
    #[error("SignatureMismatch")]
    Mismatch,
    #[error("no secret is configured")]
    NoSecret,
}

impl Unproven {
    /// What is recorded of it.
    pub fn outcome(self) -> Signature {
        match self {
            Unproven::NoHeader => Signature::Absent,
            _ => Signature::Invalid,
        }
    }
}

/// What a notification brought that is signed, as it came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signed<'a> {
    /// The header `x-signature`.
    pub signature: Option<&'a [u8]>,
    /// The header `x-request-id`.
    pub request_id: Option<&'a [u8]>,
    /// The query's `data.id`, decoded; never the body's.
    pub data_id: Option<&'a str>,
}

impl Signed<'_> {
    /// Tries each secret: several are in use while one replaces another, and for several applications of one account.
    ///
    /// Its age is not looked at: repeats come hours later.
    pub fn verify<S: AsRef<[u8]>>(&self, secrets: &[S]) -> Result<(), Unproven> {
        let header = Header::read(self.signature.ok_or(Unproven::NoHeader)?)?;
        if secrets.is_empty() {
            return Err(Unproven::NoSecret);
        }
        // What is no hash matches none. Its letters are small, since Mercado Pago's validators compare text.
        let hash = unhex::<32>(header.hash).ok_or(Unproven::Mismatch)?;
        let manifests = self.manifests(header.timestamp);
        let proven = secrets.iter().any(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref());
            manifests
                .iter()
                .any(|manifest| hmac::verify(&key, manifest, &hash).is_ok())
        });
        if proven { Ok(()) } else { Err(Unproven::Mismatch) }
    }

    /// The id as it came, and in lower case where that differs: Mercado Pago's own sources disagree.
    fn manifests(&self, timestamp: &str) -> Vec<Vec<u8>> {
        let mut ids = vec![self.data_id.map(str::to_owned)];
        let lower = self.data_id.map(str::to_lowercase);
        if lower != ids[0] {
            ids.push(lower);
        }
        ids.iter()
            .map(|id| manifest(id.as_deref(), self.request_id, timestamp))
            .collect()
    }
}

/// A part that is missing or blank is left out with its key.
fn manifest(id: Option<&str>, request_id: Option<&[u8]>, timestamp: &str) -> Vec<u8> {
    let parts = [
        ("id:", id.map(str::as_bytes)),
        ("request-id:", request_id),
        ("ts:", Some(timestamp.as_bytes())),
    ];
    let mut manifest = Vec::new();
    for (key, value) in parts {
        if let Some(value) = value.filter(|value| !value.trim_ascii().is_empty()) {
            manifest.extend_from_slice(key.as_bytes());
            manifest.extend_from_slice(value);
            manifest.push(b';');
        }
    }
    manifest
}

struct Header<'a> {
    /// As it is written: seconds or milliseconds, it is only signed.
    timestamp: &'a str,
    hash: &'a str,
}

impl Header<'_> {
    /// Unknown keys are passed over, and so are versions other than the first.
    fn read(header: &[u8]) -> Result<Header<'_>, Unproven> {
        let header = std::str::from_utf8(header).map_err(|_| Unproven::Malformed)?;
        let (mut timestamp, mut hash, mut versions) = (None, None, false);
        for (key, value) in header.split(',').filter_map(|part| part.split_once('=')) {
            let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
            let version = key.strip_prefix('v');
            versions |= version.is_some_and(is_digits);
            match key.as_str() {
                "ts" => timestamp = Some(value),
                "v1" => hash = Some(value),
                _ => {}
            }
        }
        let timestamp = timestamp.filter(|text| !text.is_empty());
        match timestamp {
            None if !versions => Err(Unproven::Malformed),
            None => Err(Unproven::NoTimestamp),
            Some(text) if !is_digits(text) => Err(Unproven::Malformed),
            Some(timestamp) => Ok(Header {
                timestamp,
                hash: hash.filter(|text| !text.is_empty()).ok_or(Unproven::NoHash)?,
            }),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "your_secret_key_here";
    const REQUEST: &str = "2066ca19-c6f1-498a-be75-1923005edd06";
    const LOWER: &str = "ord01jq4s4ky8hwq6na5pxb65b3d3";
    const UPPER: &str = "ORD01JQ4S4KY8HWQ6NA5PXB65B3D3";
    const BOTH: &str = "633f91233312dd391ec75fa0bea539cfc2d6c4918873305b84a96cc1c58db71c";

    fn verify(header: &str, request_id: Option<&str>, data_id: Option<&str>, secrets: &[&str]) -> Result<(), Unproven> {
        let signed = Signed {
            signature: Some(header.as_bytes()),
            request_id: request_id.map(str::as_bytes),
            data_id,
        };
        signed.verify(secrets)
    }

    /// `protocol.md` 4.5, all of its vectors.
    #[test]
    fn the_published_vectors_are_valid() {
        for (data_id, request_id, hash) in [
            (Some(LOWER), Some(REQUEST), BOTH),
            (
                Some(UPPER),
                Some(REQUEST),
                "fb15ae6472eb449173c556793205d77787d58f384d183bb5bc3b724c27bd103c",
            ),
            (
                Some(LOWER),
                None,
                "a20c44820ab71562e89a7c9f64d5636efc8beba587b16c2f9bbbc3504892741a",
            ),
            (
                None,
                Some(REQUEST),
                "8a7b0cc777a8217c3bab41a50c95dc92debbc6f8448f1c967dfe10ac1cb8b894",
            ),
            (
                None,
                None,
                "3f075add3ddb923bebf0bc0648457b8244cf4420b98d5b445167d379bec0ca54",
            ),
        ] {
            let header = format!("ts=1742505638683,v1={hash}");
            assert_eq!(verify(&header, request_id, data_id, &[SECRET]), Ok(()), "{data_id:?}");
            assert_eq!(
                verify(&header, request_id, data_id, &["other"]),
                Err(Unproven::Mismatch)
            );
            // A blank part is a missing one.
            let blank = |part: Option<&'static str>| Some(part.unwrap_or(" "));
            assert_eq!(verify(&header, blank(request_id), blank(data_id), &[SECRET]), Ok(()));
        }
    }

    #[test]
    fn an_id_may_be_signed_in_lower_case() {
        let header = format!("ts=1742505638683,v1={BOTH}");
        assert_eq!(verify(&header, Some(REQUEST), Some(UPPER), &[SECRET]), Ok(()));
        let upper = "fb15ae6472eb449173c556793205d77787d58f384d183bb5bc3b724c27bd103c";
        let header = format!("ts=1742505638683,v1={upper}");
        let never = verify(&header, Some(REQUEST), Some(LOWER), &[SECRET]);
        assert_eq!(never, Err(Unproven::Mismatch), "but not the other way round");
    }

    #[test]
    fn any_of_the_secrets_will_do() {
        let header = format!("ts=1742505638683,v1={BOTH}");
        let verify = |secrets: &[&str]| verify(&header, Some(REQUEST), Some(LOWER), secrets);
        assert_eq!(verify(&["new", SECRET]), Ok(()));
        assert_eq!(verify(&[SECRET, "old"]), Ok(()));
        assert_eq!(verify(&["new", "old"]), Err(Unproven::Mismatch));
        assert_eq!(verify(&[]), Err(Unproven::NoSecret));
    }

    #[test]
    fn headers_are_read_as_mercado_pagos_validators_do() {
        let good = |header: String| verify(&header, Some(REQUEST), Some(LOWER), &[SECRET]);
        for header in [
            format!(" TS = 1742505638683 , V1 = {BOTH} "),
            format!("v1={BOTH},ts=1742505638683"),
            format!("ts=1742505638683,v2=beef,v1={BOTH},alg=none,what"),
        ] {
            assert_eq!(good(header.clone()), Ok(()), "{header}");
        }
        for (header, why) in [
            (String::new(), Unproven::Malformed),
            ("anything".into(), Unproven::Malformed),
            ("alg=none".into(), Unproven::Malformed),
            (format!("ts=soon,v1={BOTH}"), Unproven::Malformed),
            (format!("ts=-1,v1={BOTH}"), Unproven::Malformed),
            (format!("v1={BOTH}"), Unproven::NoTimestamp),
            (format!("ts=,v1={BOTH}"), Unproven::NoTimestamp),
            ("v2=beef".into(), Unproven::NoTimestamp),
            ("ts=1742505638683".into(), Unproven::NoHash),
            ("ts=1742505638683,v1=".into(), Unproven::NoHash),
            (format!("ts=1742505638683,v2={BOTH}"), Unproven::NoHash),
            ("ts=1742505638683,v1=beef".into(), Unproven::Mismatch),
            (format!("ts=1742505638684,v1={BOTH}"), Unproven::Mismatch),
            (format!("ts=1742505638683,v1={BOTH}0"), Unproven::Mismatch),
            (
                format!("ts=1742505638683,v1={}", BOTH.to_uppercase()),
                Unproven::Mismatch,
            ),
        ] {
            assert_eq!(good(header.clone()), Err(why), "{header}");
        }
        let binary = Signed {
            signature: Some(b"ts=1,v1=\xff"),
            ..Signed::default()
        };
        assert_eq!(binary.verify(&[SECRET]), Err(Unproven::Malformed));
    }

    #[test]
    fn only_one_without_a_header_is_absent() {
        assert_eq!(Signed::default().verify(&[SECRET]), Err(Unproven::NoHeader));
        assert_eq!(Unproven::NoHeader.outcome(), Signature::Absent);
        assert_eq!(Unproven::Mismatch.outcome(), Signature::Invalid);
    }
}
