//! What `surtidor --version` tells beyond the number: enough to find the sources again, and to know what is in the program.

use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::log;

/// For `--version`; `-V` is the number alone.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| {
    let facts = [
        ("commit", env!("BUILD_COMMIT").to_owned()),
        ("target", env!("BUILD_TARGET").to_owned()),
        ("compiler", concat!("rustc ", env!("BUILD_RUSTC")).to_owned()),
        (
            "features",
            format!("{}, TLS by rustls with ring{LINKED}", log::engine()),
        ),
    ];
    facts
        .iter()
        .fold(env!("CARGO_PKG_VERSION").to_owned(), |mut text, (name, value)| {
            write!(text, "\n{name:8}  {value}").expect("a String takes all that is written");
            text
        })
});

/// Whether it needs the machine's own libraries.
const LINKED: &str = if cfg!(target_feature = "crt-static") {
    ", static"
} else {
    ""
};
