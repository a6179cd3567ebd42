//! Accepts, serves, sweeps, and drains: the life of a face on one thread.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use metrics::Histogram;
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::connection::{Busy, Connection, Open, Stamped, Thread};
use super::listen::{Accept, Met, Opening};
use super::metrics::Connections;
use super::seats::Seats;
use super::stop::Stopping;
use crate::limits;

/// How long a connection may stay in each phase.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub head: Duration,
    /// Until it asks for the first time.
    pub first: Duration,
    pub idle: Duration,
    pub write: Duration,
}

impl Limits {
    /// The usual ones with a face's own idle time.
    pub const fn idle(idle: Duration) -> Limits {
        Limits {
            head: limits::HEAD_TIME,
            first: idle,
            idle,
            write: limits::WRITE_TIME,
        }
    }
}

/// What a face brings beside its service; its threads each have a clone.
#[derive(Clone)]
pub struct Face {
    pub limits: Limits,
    pub seats: Arc<Seats>,
    pub metrics: Connections,
    /// Where one in `limits::LATENCY_SAMPLE` requests is timed, from its first byte read to its reply written. One that is
    /// not answered at once waits for something else than us, and is left out.
    pub latency: Option<Histogram>,
    /// Whether a client that says no more is still answered. One that is gone looks the same, and is noticed later then.
    pub half_close: bool,
}

/// Serves until it is told to stop, then drains. Runs inside a `LocalSet`.
///
/// `service` makes one for each connection, knowing who is at its other end. Its future and body must be `Unpin`:
/// `std::future::Ready`, or `Box::pin` and `BoxBody`.
pub async fn serve<L, M, S, B>(listener: L, face: Face, service: M, stopping: Stopping)
where
    L: Accept,
    M: Fn(Option<IpAddr>) -> S + Clone + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Unpin> + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static,
{
    let thread = Thread::new(face.latency.clone());
    let serving = async {
        accept(listener, &thread, &face, service, stopping).await;
        drain(&thread).await;
    };
    // Not a task of its own: a panic would be known to its handle alone, and slow clients would have no limits any more.
    tokio::select! {
        () = serving => {}
        () = sweep(&thread, &face) => {}
    }
}

async fn accept<L, M, S, B>(mut listener: L, thread: &Rc<Thread>, face: &Face, service: M, mut stopping: Stopping)
where
    L: Accept,
    M: Fn(Option<IpAddr>) -> S + Clone + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Unpin> + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.wait() => return,
        };
        match accepted {
            Ok(opening) => admit(opening, thread, face, service.clone()),
            Err(error) => {
                face.metrics.accept_errors.increment(1);
                if !is_of_one_connection(&error) {
                    // Most likely no file descriptor is free: trying at once would only burn the processor.
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(limits::ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether the error says only that this one connection is gone.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

fn admit<I, M, S, B>(opening: Opening<I>, thread: &Rc<Thread>, face: &Face, service: M)
where
    M: Fn(Option<IpAddr>) -> S + 'static,
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Unpin> + 'static,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static,
{
    let Some(seat) = face.seats.take() else {
        face.metrics.refused.increment(1);
        return;
    };
    let connection = thread.begin();
    let open = Open(connection.clone());
    let metrics = face.metrics.clone();
    metrics.open.increment(1);
    let left = OnDrop(metrics.open.clone());
    let http = http(face.half_close);
    let task = spawn_local({
        let connection = connection.clone();
        async move {
            let _held = (open, seat, left);
            let opened = match opening {
                Opening::Open(met) => Ok(met),
                Opening::Later(opening) => opening.await,
            };
            let Met { io, peer } = match opened {
                Ok(met) => met,
                Err(error) => {
                    if error.kind() == io::ErrorKind::InvalidData {
                        metrics.malformed.increment(1);
                    }
                    return;
                }
            };
            connection.is_open();
            let service = service(peer);
            let io = Stamped {
                io: TokioIo::new(io),
                connection: connection.clone(),
            };
            let served = http.serve_connection(io, Watched { service, connection }).await;
            if served.is_err_and(|error| error.is_parse()) {
                metrics.malformed.increment(1);
            }
        }
    });
    connection.runs_as(task.abort_handle());
}

/// Counts the connection out, however its task ends.
struct OnDrop(metrics::Gauge);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

fn http(half_close: bool) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Replies are small: head and body leave in one write from one buffer. `pipeline_flush` stays off: it holds a
    // finished reply back while the next request has come only in part.
    http.writev(false)
        .header_read_timeout(None)
        .max_headers(limits::HEADERS)
        .max_buf_size(limits::HEAD_BYTES)
        .half_close(half_close);
    http
}

/// Never ends.
async fn sweep(thread: &Thread, face: &Face) {
    let begun = Instant::now();
    let mut tick = interval(limits::SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        thread.sweep(begun.elapsed(), &face.limits, |limit| {
            face.metrics.timed_out(limit).increment(1)
        });
    }
}

/// Idle connections end at once, young ones that have asked nothing yet within two sweeps, the others with their reply, all
/// of them after `limits::DRAIN_TIME`.
async fn drain(thread: &Thread) {
    let end = Instant::now() + limits::DRAIN_TIME;
    let mut aged = interval(limits::SWEEP);
    thread.draining.set(true);
    loop {
        thread.end_idle();
        if thread.open() == 0 {
            return;
        }
        tokio::select! {
            () = thread.changed.notified() => {}
            _ = aged.tick() => {}
            () = sleep_until(end) => break,
        }
    }
    tracing::warn!(connections = thread.open(), "cut off: not answered in time");
    thread.end_all();
}

/// The face's service, with its connection's phases kept.
struct Watched<S> {
    service: S,
    connection: Rc<Connection>,
}

impl<S, B> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Unpin>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    #[inline]
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let busy = Some(Busy::new(&self.connection));
        Answer {
            answer: self.service.call(request),
            busy,
        }
    }
}

struct Answer<F> {
    answer: F,
    busy: Option<Busy>,
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
{
    type Output = Result<Response<WatchedBody<B>>, Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(cx);
        if let (Poll::Pending, Some(busy)) = (&answer, &self.busy) {
            busy.waits();
        }
        let Ok(mut response) = ready!(answer);
        let busy = self
            .busy
            .take()
            .expect("a future is not polled again after it was ready");
        if busy.is_draining() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.map(|body| WatchedBody { body, _busy: busy })))
    }
}

struct WatchedBody<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
