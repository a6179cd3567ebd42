//! What no poll's query may break. Built for the fuzzer, and for the tests, which try what it kept.

use super::{Asked, Buffer, Names};
use crate::domain::pos::{POLL_KEY_SEPARATOR, PollKey};
use crate::limits;

/// A query, read under several configurations.
pub fn poll(bytes: &[u8]) {
    let Ok(query) = std::str::from_utf8(bytes) else { return };
    for texts in [
        &["locationId", "positionId"][..],
        &["a", "b"],
        &["a"],
        &["b", "año", "c", "a"],
    ] {
        let names = Names::new(texts).expect("good names");
        both_readings_agree(&names, query);
        let mut buffer = Buffer::new();
        if let Some(asked) = names.read(query.as_bytes(), true, &mut buffer) {
            another_spelling_asks_the_same(&names, texts, &asked);
            what_is_not_ours_changes_nothing(&names, query, &asked);
        }
    }
}

fn both_readings_agree(names: &Names, query: &str) {
    let (mut usual, mut any) = (Buffer::new(), Buffer::new());
    let rest = names.read_usual(query.as_bytes(), &mut usual);
    let read = names.read_any(query.as_bytes(), &mut any);
    assert!(any.len <= limits::POLL_KEY_LEN);
    if let Some(rest) = rest {
        assert!(read.is_some() && query.as_bytes().ends_with(rest));
        assert_eq!(usual.bytes[..usual.len], any.bytes[..any.len]);
    }
}

/// The values in the opposite order, every byte of names and values escaped, are the same key; and if a POS can be
/// registered with them, it is the key under which its slot lies.
fn another_spelling_asks_the_same(names: &Names, texts: &[&str], asked: &Asked<'_>) {
    let values: Vec<&[u8]> = asked.key.split(|byte| *byte == POLL_KEY_SEPARATOR as u8).collect();
    // A value with the separator in it is found under no key.
    if values.len() != texts.len() {
        return;
    }
    let parameters = texts.iter().zip(&values).rev();
    let spelled: Vec<String> = parameters
        .map(|(name, value)| format!("{}={}", escaped(name.as_bytes()), escaped(value)))
        .collect();
    let spelled = spelled.join("&");
    let mut buffer = Buffer::new();
    let again = names.read(spelled.as_bytes(), true, &mut buffer);
    let again = again.expect("it has every name");
    assert_eq!((again.key, again.secret), (asked.key, None));

    let values: Result<Vec<&str>, _> = values.into_iter().map(std::str::from_utf8).collect();
    if let Ok(Ok(key)) = values.map(|values| PollKey::new(&values)) {
        assert_eq!(key.joined().as_bytes(), asked.key);
    }
}

fn what_is_not_ours_changes_nothing(names: &Names, query: &str, asked: &Asked<'_>) {
    let mut buffer = Buffer::new();
    let more = format!("z&%zz=%&k=s&{query}");
    let again = names.read(more.as_bytes(), true, &mut buffer).expect("it is all there");
    assert_eq!((again.key, again.secret), (asked.key, Some(&b"s"[..])));
    let mut buffer = Buffer::new();
    let again = names
        .read(query.as_bytes(), false, &mut buffer)
        .expect("it is all there");
    assert_eq!((again.key, again.secret), (asked.key, None));
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}
