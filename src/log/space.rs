//! How much room the log takes, and how much is left for it.

use std::fs;
use std::io;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What the disk has left for us: root's own reserve is not counted.
    pub free_bytes: u64,
    /// What lies in the log's folder, its write-ahead log and its ballast among it.
    pub log_bytes: u64,
}

impl Space {
    pub(super) fn of(folder: &Path) -> io::Result<Space> {
        let mut log_bytes = 0;
        for entry in fs::read_dir(folder)? {
            match entry?.metadata() {
                Ok(file) if file.is_file() => log_bytes += file.len(),
                Ok(_) => {}
                // SQLite removes a file of its own now and then.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let free_bytes = free_bytes(folder)?;
        Ok(Space { free_bytes, log_bytes })
    }
}

pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
