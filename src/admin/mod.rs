//! The face for operators, on loopback: metrics, health and readiness. It changes nothing.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::OnceLock;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use crate::net::body::Whole;
use crate::telemetry::Metrics;

/// What the running server tells of itself.
pub struct Probe {
    /// Brings numbers up to date that nobody moves while they are not read.
    pub refresh: Box<dyn Fn() + Send + Sync>,
    /// What an operator should know; an error if requests should go elsewhere.
    pub ready: Box<dyn Fn() -> Result<&'static str, String> + Send + Sync>,
    /// An error if the process should be started anew.
    pub healthy: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    /// Not there until the views are rebuilt and all listeners are bound.
    probe: Rc<OnceLock<Probe>>,
}

impl Admin {
    pub fn new(metrics: Metrics, probe: Rc<OnceLock<Probe>>) -> Admin {
        Admin { metrics, probe }
    }

    fn answer(&self, method: &Method, path: &str) -> (StatusCode, String) {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match path {
            "/metrics" => {
                if let Some(probe) = self.probe.get() {
                    (probe.refresh)();
                }
                (StatusCode::OK, self.metrics.render())
            }
            "/healthz" => match self.probe.get() {
                Some(probe) => told((probe.healthy)()),
                None => (StatusCode::OK, "starting\n".into()),
            },
            "/readyz" => match self.probe.get() {
                Some(probe) => told((probe.ready)().map(str::to_owned)),
                None => told(Err("starting: the log is being read".into())),
            },
            "/" => (
                StatusCode::OK,
                "Surtidor\n\n/metrics  for Prometheus\n/healthz  whether it lives\n/readyz   whether it serves\n"
                    .into(),
            ),
            _ => (
                StatusCode::NOT_FOUND,
                "not found; try /metrics, /healthz or /readyz\n".into(),
            ),
        }
    }
}

fn told(state: Result<String, String>) -> (StatusCode, String) {
    match state {
        Ok(what) => (StatusCode::OK, format!("{what}\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (status, text) = self.answer(request.method(), request.uri().path());
        let mut response = Response::new(Whole::new(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        ready(Ok(response))
    }
}
