//! The sandbox's thread: it serves the API and the control calls, and does the jobs of its own process.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};

use super::json::Json;
use super::settings::Settings;
use super::simulator::Simulator;
use super::{Job, api, control};
use crate::limits;
use crate::net::body::{BodyError, read_body};
use crate::net::listen::Tcp;
use crate::net::metrics::Connections;
use crate::net::seats::Seats;
use crate::net::stop::Stopping;
use crate::net::{Face, Limits, serve};

/// What is answered, before it is HTTP.
#[derive(Debug)]
pub enum Reply {
    Json(u16, Json),
    /// 204.
    Nothing,
    Png(Vec<u8>),
    /// With the seconds of `Retry-After`.
    Later(u32, Json),
    /// No answer at all: the connection is cut.
    Cut,
}

/// A body that is whole, or that breaks before its first byte: then hyper drops the connection with its head unsent.
pub enum Content {
    Whole(Option<Bytes>),
    Cut,
}

#[derive(Debug, thiserror::Error)]
#[error("cut on purpose")]
pub struct CutOff;

impl Body for Content {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        Poll::Ready(match &mut *self {
            Content::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Content::Cut => Some(Err(CutOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Cut => SizeHint::with_exact(1),
        }
    }
}

/// Until it is told to stop.
pub fn run(
    listener: TcpListener,
    settings: Settings,
    base_url: String,
    happens: watch::Sender<u64>,
    jobs: mpsc::Receiver<Job>,
    stopping: Stopping,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime needs a few file descriptors, and this is the start");
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let sim = Rc::new(Simulator::new(settings, base_url, happens));
        let working = spawn_local(work(sim.clone(), jobs));
        let face = Face {
            limits: Limits::idle(limits::CONTROL_IDLE_TIME),
            seats: Seats::new(limits::SANDBOX_CONNECTIONS),
            metrics: Connections::new("sandbox"),
            latency: None,
            half_close: true,
        };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => serve(Tcp::new(listener), face, move |_| Answering(sim.clone()), stopping).await,
            Err(error) => tracing::error!(%error, "the sandbox is not served"),
        }
        working.abort();
    });
}

async fn work(sim: Rc<Simulator>, mut jobs: mpsc::Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job(&sim);
    }
}

struct Answering(Rc<Simulator>);

impl Service<Request<Incoming>> for Answering {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let sim = self.0.clone();
        Box::pin(async move { Ok(response(answer(&sim, request).await)) })
    }
}

async fn answer(sim: &Rc<Simulator>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let body = match read_body(body, limits::BODY_BYTES).await {
        Ok(body) => body,
        Err(error) => return api::failure(body_status(error), "bad_request", &error.to_string()),
    };
    if head.uri.path().starts_with("/sandbox/") {
        control::answer(sim, &head, &body).await
    } else {
        api::answer(sim, &head, &body).await
    }
}

fn body_status(error: BodyError) -> u16 {
    match error {
        BodyError::TooLarge => 413,
        BodyError::TooSlow => 408,
        BodyError::Broken => 400,
    }
}

fn response(reply: Reply) -> Response<Content> {
    let json = |status, value: &Json| whole(status, "application/json", value.bytes());
    match reply {
        Reply::Json(status, value) => json(status, &value),
        Reply::Png(bytes) => whole(200, "image/png", bytes),
        Reply::Nothing => {
            let mut response = Response::new(Content::Whole(None));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Reply::Later(seconds, value) => {
            let mut response = json(429, &value);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            response
        }
        Reply::Cut => Response::new(Content::Cut),
    }
}

fn whole(status: u16, kind: &'static str, bytes: Vec<u8>) -> Response<Content> {
    let mut response = Response::new(Content::Whole(Some(bytes.into())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
