//! Room that is kept back: a file that is given up when the disk is full, so that what has happened already can still be
//! written down.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::limits;
use crate::log::LogError;

#[derive(Debug)]
pub(super) struct Reserve {
    ballast: PathBuf,
    /// The ballast is not there: the room that there is is for what has happened already.
    is_open: bool,
    /// Not to try and fill a full disk with each command.
    refill_at: Instant,
}

impl Reserve {
    /// Open until it is filled.
    pub(super) fn new(folder: &Path) -> Reserve {
        Reserve {
            ballast: folder.join("ballast"),
            is_open: true,
            refill_at: Instant::now(),
        }
    }

    /// Whether the folder has a ballast, be it whole or not.
    pub(super) fn is_there(&self) -> bool {
        self.ballast.exists()
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(super) fn give_up(&mut self) {
        self.is_open = true;
        self.remove();
    }

    fn remove(&self) {
        // If even this fails there was no ballast to give.
        let _ = fs::remove_file(&self.ballast);
    }

    /// Opening a full disk's log needs a little room, and the ballast is there to be given up.
    pub(super) fn spend_if_full<T>(&self, work: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
        match work() {
            Err(LogError::Full) => {
                self.remove();
                work()
            }
            done => done,
        }
    }

    #[cfg(test)]
    pub(super) fn refill_now(&mut self) {
        self.refill_at = Instant::now();
    }

    /// Tries to fill an open reserve, now and then. That there is no room is no error.
    pub(super) fn refill_if_due(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.refill_at {
            return Ok(());
        }
        self.refill_at = now + limits::BALLAST_RETRY;
        match self.fill() {
            Ok(()) => self.is_open = false,
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => self.give_up(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Real bytes: a hole would keep no room. Some more than it needs, so that the disk is not full again with the next
    /// push.
    fn fill(&self) -> io::Result<()> {
        if fs::metadata(&self.ballast).is_ok_and(|file| file.len() == limits::BALLAST_BYTES) {
            return Ok(());
        }
        let chunk = vec![0x5a; 1 << 20];
        let mut file = File::create(&self.ballast)?;
        for _ in 0..(limits::BALLAST_BYTES + limits::BALLAST_HEADROOM_BYTES) >> 20 {
            file.write_all(&chunk)?;
        }
        file.sync_all()?;
        file.set_len(limits::BALLAST_BYTES)
    }
}
