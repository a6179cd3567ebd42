//! Bytes that others depend on, kept in `tests/wire` and reviewed as diffs. `SURTIDOR_BLESS=1` writes them anew.

use std::path::Path;

/// Fails unless the bytes are those of the file, and says where they begin to differ.
pub fn golden(name: &str, bytes: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(name);
    if std::env::var_os("SURTIDOR_BLESS").is_some() {
        std::fs::write(&file, bytes).expect("the golden file can be written");
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let lines = bytes.split('\n').zip(kept.split('\n')).enumerate();
    for (i, (now, kept)) in lines {
        assert_eq!(now, kept, "{}:{}: look at both, then bless", file.display(), i + 1);
    }
    assert_eq!(bytes.len(), kept.len(), "{}: one ends before the other", file.display());
}

/// With every time of the wall clock replaced by the same one.
pub fn timeless(text: &str) -> String {
    const LEN: usize = "2026-11-21T14:05:09.123Z".len();
    const SHAPE: &str = "dddd-dd-ddTdd:dd:dd.dddZ";
    let is_time = |bytes: &[u8]| {
        bytes.iter().zip(SHAPE.bytes()).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            _ => *byte == shape,
        })
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let head = rest.as_bytes().get(..LEN).filter(|head| is_time(head));
        let taken = match head {
            Some(_) => {
                out.push_str("2026-11-21T14:05:09.123Z");
                LEN
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}
