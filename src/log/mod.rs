//! What happened, durably. Only this room knows the storage engine; others see entries, orders and leases.
//!
//! [`Log`] is the writer's handle, one in the process. [`Reader`] answers everybody else's questions from
//! threads of its own, so that no question ever waits for a disk on a runtime that serves a socket.

mod archive;
mod embedded;
mod entry;
mod reader;
#[cfg(test)]
mod samples;
mod space;

pub use archive::{Archive, ArchiveError, Looked};
pub use embedded::{Batch, Kept, Log, Newest, OpenError};
pub use entry::{Entry, Unreadable};
pub use reader::{EntryPage, Happening, OrderPage, OrderQuery, ReadError, Reader};
pub use space::Space;

/// What it is stored in, for who asks what is in the program.
pub fn engine() -> String {
    embedded::engine()
}

/// A checksum over an entry and over the checksum of its POS's previous one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sum(pub [u8; 16]);

impl Sum {
    /// What a POS's first entry follows.
    pub const NONE: Sum = Sum([0; 16]);
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Nothing is wrong but the room; what was asked did not happen, and may later.
    #[error("the disk is full")]
    Full,
    /// Another program holds the file's lock, though none should; nothing was written.
    #[error("another program has locked the log's file")]
    Locked,
    /// Nobody knows what is on the disk: the writer must stop and the process start anew.
    #[error("the log failed: {0}")]
    Failed(String),
    /// What was written is not what is read.
    #[error("the log is damaged: {0}")]
    Damaged(#[from] Damage),
}

impl LogError {
    /// What went wrong, for a sentence that says already that it was the log that failed.
    pub fn what(&self) -> String {
        match self {
            LogError::Failed(what) => what.clone(),
            other => other.to_string(),
        }
    }
}

/// One damaged place, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Damage {
    pub place: String,
    pub what: String,
}

impl Damage {
    /// Something that must be there is not.
    fn missing(place: String) -> Damage {
        let what = "it is missing".into();
        Damage { place, what }
    }
}
