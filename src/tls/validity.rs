//! From when and until when a certificate is good: the two times that stand in it, found without reading all the rest.

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// In seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub from: i64,
    pub until: i64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// RFC 5280, 4.1: a certificate begins with what is signed, and that with version, number, algorithm, issuer, and this.
    pub fn of(certificate: &[u8]) -> Option<Validity> {
        let mut signed = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
        if signed.0.first() == Some(&VERSION) {
            signed.take(VERSION)?;
        }
        signed.take(INTEGER)?;
        signed.take(SEQUENCE)?;
        signed.take(SEQUENCE)?;
        let mut validity = Der(signed.take(SEQUENCE)?);
        Some(Validity {
            from: validity.time()?,
            until: validity.time()?,
        })
    }
}

/// What is yet to be read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must be of this kind.
    fn take(&mut self, kind: u8) -> Option<&'a [u8]> {
        let (&[found, first], rest) = self.0.split_first_chunk()?;
        // From 128 on, that many bytes of length follow.
        let (length, rest) = match first {
            0..0x80 => (usize::from(first), rest),
            _ => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes.iter().try_fold(0_usize, |length, byte| {
                    length.checked_mul(256)?.checked_add(usize::from(*byte))
                });
                (length?, rest)
            }
        };
        let content;
        (content, self.0) = rest.split_at_checked(length)?;
        (found == kind).then_some(content)
    }

    /// `YYMMDDhhmmssZ`, of 1950 to 2049, or `YYYYMMDDhhmmssZ`.
    fn time(&mut self) -> Option<i64> {
        let kind = *self.0.first()?;
        let text = match kind {
            UTC_TIME | GENERALIZED_TIME => self.take(kind)?,
            _ => return None,
        };
        let digits = text.strip_suffix(b"Z")?;
        let pair = |at: usize| {
            let digits = std::str::from_utf8(digits.get(at..at + 2)?).ok()?;
            digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
            digits.parse::<i8>().ok()
        };
        let (year, at) = match (kind, digits.len()) {
            (UTC_TIME, 12) => match i16::from(pair(0)?) {
                year @ ..50 => (2000 + year, 2),
                year => (1900 + year, 2),
            },
            (GENERALIZED_TIME, 14) => (i16::from(pair(0)?) * 100 + i16::from(pair(2)?), 4),
            _ => return None,
        };
        let [month, day, hour, minute, second] = [pair(at), pair(at + 2), pair(at + 4), pair(at + 6), pair(at + 8)];
        let time = DateTime::new(year, month?, day?, hour?, minute?, second?, 0).ok()?;
        Some(Offset::UTC.to_timestamp(time).ok()?.as_second())
    }
}
