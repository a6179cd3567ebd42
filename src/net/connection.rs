//! What one thread knows of its connections: in which phase each is, and since when.
//!
//! hyper's own timer is made anew for each request and costs a sixth of a poll. Here the socket and the service stamp
//! their connection's phase with a coarse clock, and one task a thread looks at all of them every `limits::SWEEP`.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use metrics::Histogram;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::metrics::Limit;
use super::serve::Limits;
use crate::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What comes before HTTP is not done yet. It has the time of a head, from the beginning.
    Opening,
    /// Nothing was asked yet.
    New,
    /// All that was asked is answered.
    Idle,
    /// A request has begun to come in. Later bytes do not extend its time.
    Head,
    /// The service has it. How long it may take is the service's affair.
    Busy,
}

/// The coarse clock: sweeps since the thread began to serve.
type Ticks = u32;

/// What the connections of one thread share.
pub(super) struct Thread {
    now: Cell<Ticks>,
    pub(super) draining: Cell<bool>,
    /// Told while draining, when a connection became idle or ended.
    pub(super) changed: Notify,
    open: Cell<usize>,
    connections: RefCell<Vec<Rc<Connection>>>,
    latency: Option<Histogram>,
    requests: Cell<u32>,
}

pub(super) struct Connection {
    thread: Rc<Thread>,
    phase: Cell<Phase>,
    since: Cell<Ticks>,
    stalled: Cell<Option<Ticks>>,
    /// When the first byte of a request was read whose latency may be sampled.
    sampled: Cell<Option<Instant>>,
    ended: Cell<bool>,
    task: OnceCell<AbortHandle>,
}

impl Thread {
    pub(super) fn new(latency: Option<Histogram>) -> Rc<Thread> {
        Rc::new(Thread {
            now: Cell::new(0),
            draining: Cell::new(false),
            changed: Notify::new(),
            open: Cell::new(0),
            connections: RefCell::default(),
            latency,
            requests: Cell::new(0),
        })
    }

    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// Follows a new connection until its [`Open`] is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Rc<Connection> {
        let connection = Rc::new(Connection {
            thread: self.clone(),
            phase: Cell::new(Phase::Opening),
            since: Cell::new(self.now.get()),
            stalled: Cell::new(None),
            sampled: Cell::new(None),
            ended: Cell::new(false),
            task: OnceCell::new(),
        });
        let mut all = self.connections.borrow_mut();
        // Those that ended leave the list here or at the next sweep, so it holds at most twice those that are open.
        if all.len() == all.capacity() {
            all.retain(|connection| !connection.ended.get());
        }
        all.push(connection.clone());
        self.open.set(self.open.get() + 1);
        connection
    }

    /// Ends every connection that is past a limit, and says which one.
    pub(super) fn sweep(&self, running: Duration, limits: &Limits, mut timed_out: impl FnMut(Limit)) {
        self.now.set(ticks(running));
        self.connections
            .borrow_mut()
            .retain(|connection| !connection.ended.get());
        for connection in self.connections.borrow().iter() {
            if let Some(limit) = connection.overdue(self.now.get(), limits) {
                timed_out(limit);
                connection.abort();
            }
        }
    }

    /// Ends every connection that owes no reply. One that is young has come with a request that is not read yet, most
    /// likely: it is let be for a moment.
    pub(super) fn end_idle(&self) {
        let now = self.now.get();
        let idle = |c: &&Rc<Connection>| match c.phase.get() {
            Phase::Opening | Phase::New => now.saturating_sub(c.since.get()) > 1,
            Phase::Idle => c.stalled.get().is_none(),
            Phase::Head | Phase::Busy => false,
        };
        self.connections
            .borrow()
            .iter()
            .filter(idle)
            .for_each(|connection| connection.abort());
    }

    pub(super) fn end_all(&self) {
        self.connections
            .borrow()
            .iter()
            .for_each(|connection| connection.abort());
    }

    /// One in `limits::LATENCY_SAMPLE` requests is timed: asking the time twice costs more than the rest of the counting.
    fn is_next_sampled(&self) -> bool {
        is_sampled(self.requests.get().wrapping_add(1)) && self.latency.is_some()
    }

    /// Counts a request, and says whether it is one that is timed.
    fn count(&self) -> bool {
        let count = self.requests.get().wrapping_add(1);
        self.requests.set(count);
        is_sampled(count)
    }
}

impl Connection {
    pub(super) fn runs_as(&self, task: AbortHandle) {
        // Only the accept loop calls this, once.
        let _ = self.task.set(task);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.thread.draining.get()
    }

    /// From now on HTTP is spoken.
    pub(super) fn is_open(&self) {
        self.enter(Phase::New);
    }

    fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.thread.now.get());
    }

    fn overdue(&self, now: Ticks, limits: &Limits) -> Option<Limit> {
        // A stamp is up to one tick old when it is made, so a limit has passed for certain one tick later.
        let passed = |since: Ticks, limit: Duration| now.saturating_sub(since) > ticks(limit);
        if self.stalled.get().is_some_and(|since| passed(since, limits.write)) {
            return Some(Limit::Write);
        }
        match self.phase.get() {
            Phase::Opening => passed(self.since.get(), limits.head).then_some(Limit::Opening),
            Phase::New => passed(self.since.get(), limits.first).then_some(Limit::Idle),
            Phase::Idle => passed(self.since.get(), limits.idle).then_some(Limit::Idle),
            Phase::Head => passed(self.since.get(), limits.head).then_some(Limit::Head),
            Phase::Busy => None,
        }
    }

    #[inline]
    fn has_read(&self) {
        if matches!(self.phase.get(), Phase::New | Phase::Idle) {
            self.enter(Phase::Head);
            // What is read may be the connection's end, so only what becomes a request is counted.
            self.sampled.set(self.thread.is_next_sampled().then(Instant::now));
        }
    }

    #[inline]
    fn has_written(&self) {
        self.stalled.set(None);
        if let (Some(begun), Some(latency)) = (self.sampled.take(), &self.thread.latency) {
            latency.record(begun.elapsed());
        }
    }

    fn has_stalled(&self) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(self.thread.now.get()));
        }
    }
}

fn is_sampled(request: u32) -> bool {
    request.is_multiple_of(limits::LATENCY_SAMPLE)
}

fn ticks(time: Duration) -> Ticks {
    Ticks::try_from(time.as_millis().div_ceil(limits::SWEEP.as_millis())).unwrap_or(Ticks::MAX)
}

/// Held by the connection's task for as long as it runs.
pub(super) struct Open(pub(super) Rc<Connection>);

impl Drop for Open {
    fn drop(&mut self) {
        let thread = &self.0.thread;
        self.0.ended.set(true);
        thread.open.set(thread.open.get() - 1);
        thread.changed.notify_one();
    }
}

/// A request that is being answered: from the call of the service until its reply's body was handed over.
pub(super) struct Busy(Rc<Connection>);

impl Busy {
    #[inline]
    pub(super) fn new(connection: &Rc<Connection>) -> Busy {
        connection.enter(Phase::Busy);
        if !connection.thread.count() {
            connection.sampled.set(None);
        }
        Busy(connection.clone())
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// Its reply is not there at once, so its time says nothing of us.
    pub(super) fn waits(&self) {
        self.0.sampled.set(None);
    }
}

impl Drop for Busy {
    #[inline]
    fn drop(&mut self) {
        self.0.enter(Phase::Idle);
        if self.0.is_draining() {
            self.0.thread.changed.notify_one();
        }
    }
}

/// A socket that stamps its connection.
pub(super) struct Stamped<T> {
    pub(super) io: T,
    pub(super) connection: Rc<Connection>,
}

impl<T: Read + Unpin> Read for Stamped<T> {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_ready() {
            self.connection.has_read();
        }
        result
    }
}

impl<T: Write + Unpin> Write for Stamped<T> {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        if result.is_ready() {
            self.connection.has_written()
        } else {
            self.connection.has_stalled()
        }
        result
    }

    /// Only what has a buffer of its own, as TLS has, can wait here. What was taken into it has not gone out yet.
    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        if result.is_pending() {
            self.connection.has_stalled();
        } else {
            self.connection.stalled.set(None);
        }
        result
    }

    /// hyper lets go of the socket right after this, and closing it ends both ways: to shut it down before would be a
    /// system call for nothing.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
