//! The face for operators, on loopback: metrics, health and readiness, and a page that shows them to people. It changes
//! nothing, and the page asks nothing that Prometheus does not ask.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::OnceLock;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use crate::net::body::Whole;
use crate::telemetry::Metrics;

const PAGE: &str = include_str!("page.html");
/// All that the page is made of is in it; it asks only us.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
                "Surtidor\n\n/metrics  for Prometheus\n/healthz  whether it lives\n/readyz   whether it serves\n\n\
                 In a browser this address is a page with what they say.\n"
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
        if is_visited(&request) {
            return ready(Ok(page()));
        }
        let (status, text) = self.answer(request.method(), request.uri().path());
        let mut response = Response::new(Whole::new(text.into()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        set(
            headers,
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        );
        set(headers, header::CACHE_CONTROL, "no-store");
        if status == StatusCode::METHOD_NOT_ALLOWED {
            set(headers, header::ALLOW, "GET, HEAD");
        }
        ready(Ok(response))
    }
}

/// By a browser, and not by a program that asks where things are.
fn is_visited(request: &Request<Incoming>) -> bool {
    let accepts = request.headers().get(header::ACCEPT);
    let takes_html = accepts.is_some_and(|accepts| accepts.to_str().is_ok_and(|accepts| accepts.contains("text/html")));
    takes_html && request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD)
}

fn page() -> Response<Whole> {
    let mut response = Response::new(Whole::new(PAGE.into()));
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
    set(headers, header::CACHE_CONTROL, "no-store");
    set(headers, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
