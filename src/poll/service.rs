//! From one request to its reply.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use super::{Elsewhere, Later, ThreadCounts};
use crate::net::body::Whole;
use crate::table::{Answer, Outcome, Table};

const ORDER_VERSION: HeaderName = HeaderName::from_static("order-version");
const CLIENT_ID: HeaderName = HeaderName::from_static("client-id");

/// The service of one thread; its connections share it.
#[derive(Clone)]
pub(super) struct Polls(Arc<Shared>);

struct Shared {
    path: Box<str>,
    table: Arc<Table>,
    counts: Arc<ThreadCounts>,
    elsewhere: Elsewhere,
}

impl Polls {
    pub(super) fn new(path: &str, table: Arc<Table>, counts: Arc<ThreadCounts>, elsewhere: Elsewhere) -> Polls {
        Polls(Arc::new(Shared {
            path: path.into(),
            table,
            counts,
            elsewhere,
        }))
    }

    pub(super) fn table(&self) -> Arc<Table> {
        self.0.table.clone()
    }

    #[inline]
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let body = br#"{"error":{"type":"method_not_allowed"}}"#;
            refusal(StatusCode::METHOD_NOT_ALLOWED, body, Outcome::MethodNotAllowed)
        } else if !request.body().is_end_stream() {
            let body = br#"{"error":{"type":"invalid","message":"A poll has no body."}}"#;
            refusal(StatusCode::BAD_REQUEST, body, Outcome::Body)
        } else {
            self.0.table.answer(request.uri().query().unwrap_or_default())
        }
    }
}

fn refusal(status: StatusCode, body: &'static [u8], outcome: Outcome) -> Answer {
    Answer {
        status,
        body: Bytes::from_static(body),
        outcome,
        order_version_2: false,
        client_id: None,
    }
}

impl Service<Request<Incoming>> for Polls {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Answering;

    #[inline]
    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let answer = if path == &*self.0.path {
            self.answer(&request)
        } else if let Some(other) = (self.0.elsewhere)(path) {
            return Answering::Later(other(request));
        } else {
            let body = br#"{"error":{"type":"not_found"}}"#;
            refusal(StatusCode::NOT_FOUND, body, Outcome::NotFound)
        };
        self.0.counts.count(answer.outcome);
        // hyper keeps the reply's header map for the connection's next request: so no poll makes one.
        let mut headers = request.into_parts().0.headers;
        headers.clear();
        fill(&mut headers, &answer);
        let mut response = Response::new(Whole::new(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = headers;
        Answering::Now(ready(Ok(response)))
    }
}

/// A poll's reply is there at once.
pub(super) enum Answering {
    Now(Ready<Result<Response<Whole>, Infallible>>),
    Later(Later),
}

impl Future for Answering {
    type Output = Result<Response<Whole>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Now(ready) => Pin::new(ready).poll(cx),
            Answering::Later(later) => later.as_mut().poll(cx).map(Ok),
        }
    }
}

#[inline]
fn fill(headers: &mut HeaderMap, answer: &Answer) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if answer.order_version_2 {
        headers.insert(ORDER_VERSION, HeaderValue::from_static("2"));
        if let Some(id) = answer.client_id {
            headers.insert(CLIENT_ID, HeaderValue::from(id));
        }
    }
    match answer.outcome {
        Outcome::MethodNotAllowed => {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        // Where one request ends and the next begins may be in doubt.
        Outcome::Body => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}
