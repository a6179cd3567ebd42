//! Marks that only we can make: in a POS's URL, so that nobody can walk the stations, and in an order's
//! `notification_url`, so that a real notification is worked off before forged ones.
//!
//! A mark is a reason to look sooner, never a reason to believe.

use std::fmt;

use ring::hmac;

use crate::domain::id::{AccountId, Reference};
use crate::limits;

/// The first 128 bits of an HMAC-SHA-256, in base64url.
#[derive(Clone, Copy)]
pub struct Mark([u8; limits::MARK_LEN]);

const MARK_BITS: usize = 128;

impl Mark {
    pub fn new(key: &hmac::Key, what: &[u8]) -> Mark {
        let signature = hmac::sign(key, what);
        let bit = |i: usize| {
            if i < MARK_BITS {
                signature.as_ref()[i / 8] >> (7 - i % 8) & 1
            } else {
                0
            }
        };
        Mark(std::array::from_fn(|digit| {
            let value = (0..6).fold(0, |value, i| value << 1 | bit(digit * 6 + i));
            base64url(value)
        }))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64url is ASCII")
    }

    /// Looks at every byte, so that the time tells nothing of how much was right.
    pub fn matches(&self, bytes: impl Iterator<Item = u8>) -> bool {
        let mut given = [0; limits::MARK_LEN + 1];
        let mut len = 0;
        for (place, byte) in given.iter_mut().zip(bytes) {
            *place = byte;
            len += 1;
        }
        let differing = self
            .0
            .iter()
            .zip(&given)
            .fold(0, |differing, (a, b)| differing | (a ^ b));
        std::hint::black_box(differing) == 0 && len == limits::MARK_LEN
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(…)")
    }
}

fn base64url(value: u8) -> u8 {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    DIGITS[usize::from(value % 64)]
}

/// What we seal the URLs of orders with. Its key is made once for each data folder.
pub struct Seal(hmac::Key);

pub const KEY_LEN: usize = 32;

impl Seal {
    pub fn new(key: &[u8; KEY_LEN]) -> Seal {
        Seal(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The query of the order's `notification_url`.
    pub fn query(&self, account: &AccountId, reference: &Reference) -> String {
        format!("r={reference}&t={}", self.mark(account, reference).as_str())
    }

    /// The reference, if this account's order was given out with that mark.
    pub fn verify(&self, account: &AccountId, reference: &str, mark: &str) -> Option<Reference> {
        let reference = Reference::parse(reference).ok()?;
        let made_by_us = self.mark(account, &reference).matches(mark.bytes());
        made_by_us.then_some(reference)
    }

    /// Whatever the case of the reference's letters: no two orders differ by that alone.
    fn mark(&self, account: &AccountId, reference: &Reference) -> Mark {
        Mark::new(&self.0, format!("{account}/{}", reference.folded()).as_bytes())
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::parse(name).expect("a name")
    }

    fn reference(text: &str) -> Reference {
        Reference::parse(text).expect("a reference")
    }

    /// `printf main/t-1 | openssl dgst -sha256 -mac hmac -macopt hexkey:0707…07 -binary | head -c 16 | base64`
    #[test]
    fn a_mark_is_what_openssl_says() {
        let query = Seal::new(&[7; KEY_LEN]).query(&account("main"), &reference("T-1"));
        assert_eq!(query, "r=T-1&t=-81eoIerrxJKuBEBHttWhA");
    }

    #[test]
    fn only_what_we_sealed_is_ours() {
        let seal = Seal::new(&[7; KEY_LEN]);
        let mark = seal.mark(&account("main"), &reference("T-1"));
        let mark = mark.as_str();
        assert_eq!(seal.verify(&account("main"), "T-1", mark), Some(reference("T-1")));
        assert_eq!(seal.verify(&account("main"), "t-1", mark), Some(reference("t-1")));
        for (name, order, mark) in [
            ("other", "T-1", mark),
            ("main", "T-2", mark),
            ("main", "T/1", mark),
            ("main", "", mark),
            ("main", "T-1", ""),
            ("main", "T-1", &mark[1..]),
            ("main", "T-1", &format!("{mark}=")),
            ("main", "T-1", &mark.to_uppercase()),
        ] {
            assert_eq!(seal.verify(&account(name), order, mark), None, "{name} {order} {mark}");
        }
        let foreign = Seal::new(&[8; KEY_LEN]);
        assert_eq!(foreign.verify(&account("main"), "T-1", mark), None);
    }

    #[test]
    fn neither_key_nor_mark_can_be_printed() {
        let seal = Seal::new(&[7; KEY_LEN]);
        assert_eq!(format!("{seal:?}"), "Seal(…)");
        assert_eq!(format!("{:?}", seal.mark(&account("a"), &reference("b"))), "Mark(…)");
    }
}
