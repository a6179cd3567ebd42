//! The inputs that the fuzzer kept, and those that once broke something, tried again: see `fuzz/run.sh`.

use std::fs;
use std::path::Path;

use crate::{control, notify, peer, table, tracker};

type Laws = fn(&[u8]);

/// Each target of `fuzz/`, and what it calls.
const TARGETS: [(&str, Laws); 5] = [
    ("poll", table::fuzz::poll),
    ("order", control::fuzz::order),
    ("notification", notify::fuzz::notification),
    ("payment", tracker::fuzz::payment),
    ("proxy", peer::fuzz::header),
];

#[test]
fn what_the_fuzzer_found_breaks_nothing() {
    for (target, holds) in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let files: Vec<_> = fs::read_dir(&corpus).expect("a corpus").collect();
        assert!(files.len() >= 10, "{target} has inputs");
        for file in files {
            let path = file.expect("a file of the corpus").path();
            // The name of what breaks is the last line before the panic's own.
            println!("{}", path.display());
            holds(&fs::read(&path).expect("an input"));
        }
    }
}
