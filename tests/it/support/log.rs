//! All that the servers of these tests log, at its finest, looked at for secrets.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;

use super::station::CANARIES;

static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on, for the whole process.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let log = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(|| Line);
        log.try_init().expect("nobody else listens");
    });
}

/// Fails if a secret was logged by any test so far.
pub fn check() {
    let leaks = LEAKS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(leaks.is_empty(), "logged: {leaks:?}");
}

struct Line;

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if CANARIES.iter().any(|canary| line.contains(canary)) {
            LEAKS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.into_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
