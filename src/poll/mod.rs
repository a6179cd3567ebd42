//! The face that Mercado Pago polls: a query in, bytes out. One single-threaded runtime per thread, each with a listener
//! and an accept queue of its own.
//!
//! Nothing here waits, and nothing here knows more of the engine than the table's doorbell.

mod counts;
mod service;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use metrics::{Histogram, describe_histogram, histogram};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

use crate::limits;
use crate::net::metrics::Connections;
use crate::net::seats::Seats;
use crate::net::stop::Stopping;
use crate::net::{self, Face, Limits};
use crate::table::Table;

pub use counts::Counts;

use counts::ThreadCounts;
use service::Polls;

/// What the face is made of.
pub struct Settings {
    /// Of the URL, exactly.
    pub path: String,
    pub table: Arc<Table>,
    pub seats: Arc<Seats>,
}

/// The face while it runs.
pub struct Running {
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
    counts: Arc<Counts>,
}

/// Serves each listener on a thread of its own; see `net::listen::tcp_shared`.
pub fn start(listeners: Vec<TcpListener>, settings: Settings, stopping: &Stopping) -> io::Result<Running> {
    let counts = Arc::new(Counts::new(listeners.len()));
    let face = Face {
        limits: Limits::idle(limits::POLL_IDLE_TIME),
        seats: settings.seats,
        metrics: Connections::new("poll"),
        latency: Some(latency()),
    };
    let each = listeners.into_iter().zip(counts.threads()).enumerate();
    let threads = each.map(|(i, (listener, counts))| {
        let polls = Polls::new(&settings.path, settings.table.clone(), counts);
        let (face, stopping) = (face.clone(), stopping.clone());
        let run = move || run(listener, face, polls, stopping);
        thread::Builder::new().name(format!("poll-{i}")).spawn(run)
    });
    Ok(Running {
        threads: threads.collect::<io::Result<_>>()?,
        counts,
    })
}

impl Running {
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Whether every thread still serves: one that ended without being told to is a fault.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(thread::JoinHandle::is_finished)
    }

    /// Waits until all have drained. False if one of them had failed.
    pub fn join(self) -> bool {
        let ended: Vec<_> = self.threads.into_iter().map(thread::JoinHandle::join).collect();
        ended.into_iter().all(|thread| matches!(thread, Ok(Ok(()))))
    }
}

pub fn describe() {
    counts::describe();
    describe_histogram!(
        "surtidor_poll_seconds",
        metrics::Unit::Seconds,
        "From the first byte of a poll to its reply written, of one poll in 64."
    );
}

fn latency() -> Histogram {
    histogram!("surtidor_poll_seconds")
}

/// One thread. A `LocalSet`, since tokio's `LocalRuntime` costs a poll 130 instructions more.
fn run(listener: TcpListener, face: Face, polls: Polls, stopping: Stopping) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let clock = spawn_local(tick(polls.table()));
        net::serve(listener, face, polls, stopping).await;
        clock.abort();
        Ok(())
    })
}

/// Moves the table's clock on. Each thread does so, so that it stands still only if all of them do.
async fn tick(table: Arc<Table>) {
    let mut interval = interval(limits::SWEEP);
    loop {
        interval.tick().await;
        table.clock().tick();
    }
}

#[cfg(test)]
mod tests;
