//! The face that Mercado Pago polls: a query in, bytes out. One single-threaded runtime per thread, each with a listener
//! and an accept queue of its own.
//!
//! No poll waits, and nothing here knows more of the engine than the table's doorbell. What else comes to these listeners
//! is handed to whom `app` says.

mod counts;
mod misses;
mod service;

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::thread;

use hyper::body::Incoming;
use hyper::{Request, Response};
use metrics::{Histogram, describe_histogram, histogram};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::interval;

use crate::limits;
use crate::net::body::Whole;
use crate::net::listen::{Accept, Opening, Tcp};
use crate::net::metrics::{Connections, Handshakes};
use crate::net::presence::{self, Answerer, Asker};
use crate::net::seats::Seats;
use crate::net::stop::Stopping;
use crate::net::stream::Stream;
use crate::net::tls::Tls;
use crate::net::{self, Face, Limits};
use crate::peer::Proxies;
use crate::table::Table;
use crate::tls::Server;

pub use counts::Counts;

use counts::ThreadCounts;
use misses::Misses;
use service::Polls;

/// An answer that is yet to come.
pub type Later = Pin<Box<dyn Future<Output = Response<Whole>>>>;

/// Who serves a path of these listeners that is not polled, if anybody does.
pub type Elsewhere = Arc<dyn Fn(&str) -> Option<Other> + Send + Sync>;
pub type Other = Box<dyn FnOnce(Request<Incoming>) -> Later>;

/// What the face is made of.
pub struct Settings {
    /// Of the URL, exactly.
    pub path: String,
    pub table: Arc<Table>,
    pub seats: Arc<Seats>,
    /// Who says for whom it asks.
    pub proxies: Arc<Proxies>,
    /// Whether it says so before anything else, in a PROXY header.
    pub proxy_protocol: bool,
    pub elsewhere: Elsewhere,
}

/// One of its listeners; see `net::listen::tcp_shared`.
pub enum Listener {
    Plain(TcpListener),
    Tls(TcpListener, Server),
}

/// The face while it runs.
pub struct Running {
    threads: Vec<thread::JoinHandle<()>>,
    askers: Vec<Asker>,
    counts: Arc<Counts>,
}

/// Serves each listener on a thread of its own.
pub fn start(listeners: Vec<Listener>, settings: Settings, stopping: &Stopping) -> io::Result<Running> {
    let counts = Arc::new(Counts::new(listeners.len()));
    let face = Face {
        limits: Limits::idle(limits::POLL_IDLE_TIME),
        seats: settings.seats.clone(),
        metrics: Connections::new("poll"),
        latency: Some(latency()),
        half_close: false,
    };
    // All that can fail is done before the first thread answers.
    let announcing = settings.proxy_protocol.then(|| settings.proxies.clone());
    let listeners: Vec<_> = listeners
        .into_iter()
        .map(|listener| prepare(listener, announcing.clone()))
        .collect::<io::Result<_>>()?;
    let misses = Arc::new(Misses::new());
    let mut askers = Vec::new();
    let threads = listeners
        .into_iter()
        .zip(counts.threads())
        .enumerate()
        .map(|(i, ((runtime, listener), counts))| {
            let polls = Polls::new(&settings, counts, misses.clone());
            let (face, stopping) = (face.clone(), stopping.clone());
            let (asker, present) = presence::channel();
            askers.push(asker);
            let serve = move || {
                LocalSet::new().block_on(&runtime, serve(listener, face, polls, present, stopping));
            };
            thread::Builder::new().name(format!("poll-{i}")).spawn(serve)
        });
    Ok(Running {
        threads: threads.collect::<io::Result<_>>()?,
        askers,
        counts,
    })
}

impl Running {
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }

    /// Tells whether every thread still serves: one that ended without being told to is a fault.
    pub fn watch(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let askers = self.askers.clone();
        move || askers.iter().all(Asker::is_there)
    }

    /// Whether every thread gets around to its polls. Waits for as long as one of them hangs.
    pub async fn answers(&self) -> bool {
        for asker in &self.askers {
            if !asker.ask().await {
                return false;
            }
        }
        true
    }

    /// Waits until all have drained. False if one of them had panicked.
    pub fn join(self) -> bool {
        self.threads
            .into_iter()
            .map(thread::JoinHandle::join)
            .filter(Result::is_err)
            .count()
            == 0
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

/// A listener on its runtime.
enum Ready {
    Plain(Tcp),
    Tls(Tls),
}

impl Accept for Ready {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<Opening<Stream>> {
        match self {
            Ready::Plain(listener) => listener.accept().await,
            Ready::Tls(listener) => listener.accept().await,
        }
    }
}

fn prepare(listener: Listener, announcing: Option<Arc<Proxies>>) -> io::Result<(Runtime, Ready)> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let ready = {
        let _context = runtime.enter();
        let on_runtime =
            |listener| Ok::<_, io::Error>(Tcp::behind(tokio::net::TcpListener::from_std(listener)?, announcing));
        match listener {
            Listener::Plain(listener) => Ready::Plain(on_runtime(listener)?),
            Listener::Tls(listener, server) => {
                Ready::Tls(Tls::new(on_runtime(listener)?, &server, Handshakes::new("poll")))
            }
        }
    };
    Ok((runtime, ready))
}

async fn serve(listener: Ready, face: Face, polls: Polls, present: Answerer, stopping: Stopping) {
    let present = spawn_local(present.run());
    let table = polls.table();
    // Not a task of its own, so that a panic ends the thread.
    tokio::select! {
        () = net::serve(listener, face, move |peer| polls.of(peer), stopping) => {}
        () = tick(&table) => {}
    }
    present.abort();
}

/// Moves the table's clock on, and never ends. Each thread does so, so that it stands still only if all of them do.
async fn tick(table: &Table) {
    let mut interval = interval(limits::SWEEP);
    loop {
        interval.tick().await;
        table.clock().tick();
    }
}

#[cfg(test)]
mod tests;
