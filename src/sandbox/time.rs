//! Moments as Mercado Pago writes them.

use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};

/// `2026-03-28T13:50:19.143-04:00`: milliseconds, and the offset that its servers are in.
pub fn write(at: i64) -> String {
    strftime(at, "%Y-%m-%dT%H:%M:%S%.3f%:z")
}

/// `2026-07-27 20:24:21.776642198-0400`, as intents' webhooks have it.
pub fn write_oddly(at: i64) -> String {
    strftime(at, "%Y-%m-%d %H:%M:%S.%9f%z")
}

/// `2026-01-12T14:11:12.000Z`, as POS have it.
pub fn write_utc(at: i64) -> String {
    moment(at)
        .to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S%.3fZ")
        .to_string()
}

/// With milliseconds and an offset; none if it is not.
pub fn read(text: &str) -> Option<i64> {
    let moment: Timestamp = text.parse().ok()?;
    Some(moment.as_millisecond())
}

fn strftime(at: i64, form: &str) -> String {
    moment(at)
        .to_zoned(TimeZone::fixed(offset(-4)))
        .strftime(form)
        .to_string()
}

fn moment(at: i64) -> Timestamp {
    Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_examples() {
        assert_eq!(write(1_774_720_219_143), "2026-03-28T13:50:19.143-04:00");
        assert_eq!(read("2026-03-28T13:50:19.143-04:00"), Some(1_774_720_219_143));
        assert_eq!(write_utc(1_774_720_219_000), "2026-03-28T17:50:19.000Z");
        assert_eq!(write_oddly(1_774_720_219_143), "2026-03-28 13:50:19.143000000-0400");
    }
}
