//! From one request to its reply.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use super::{Elsewhere, Later, Misses, Settings, ThreadCounts};
use crate::net::body::Whole;
use crate::peer::{self, Proxies};
use crate::table::{Answer, Outcome, Table};

const ORDER_VERSION: HeaderName = HeaderName::from_static("order-version");
const CLIENT_ID: HeaderName = HeaderName::from_static("client-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The service of one thread, for one connection.
#[derive(Clone)]
pub(super) struct Polls {
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
}

struct Shared {
    path: Box<str>,
    table: Arc<Table>,
    counts: Arc<ThreadCounts>,
    elsewhere: Elsewhere,
    proxies: Arc<Proxies>,
    misses: Arc<Misses>,
}

impl Polls {
    pub(super) fn new(settings: &Settings, counts: Arc<ThreadCounts>, misses: Arc<Misses>) -> Polls {
        let shared = Arc::new(Shared {
            path: settings.path.as_str().into(),
            table: settings.table.clone(),
            counts,
            elsewhere: settings.elsewhere.clone(),
            proxies: settings.proxies.clone(),
            misses,
        });
        Polls { shared, peer: None }
    }

    /// For a connection of this one.
    pub(super) fn of(&self, peer: Option<IpAddr>) -> Polls {
        Polls {
            shared: self.shared.clone(),
            peer,
        }
    }

    pub(super) fn table(&self) -> Arc<Table> {
        self.shared.table.clone()
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
            match self.shared.table.answer(request.uri().query().unwrap_or_default()) {
                miss if miss.outcome == Outcome::Invalid => self.missed(request, miss),
                hit => hit,
            }
        }
    }

    /// Only here it matters who asks.
    #[cold]
    fn missed(&self, request: &Request<Incoming>, miss: Answer) -> Answer {
        let Some(peer) = self.peer else { return miss };
        let Shared { proxies, misses, .. } = &*self.shared;
        let forwarded = request.headers().get_all(FORWARDED_FOR).iter();
        let client = peer::behind(proxies, peer, forwarded.map(HeaderValue::as_bytes));
        match misses.is_too_many(client) {
            true => Answer {
                status: StatusCode::TOO_MANY_REQUESTS,
                outcome: Outcome::Limited,
                ..miss
            },
            false => miss,
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
        let answer = if path == &*self.shared.path {
            self.answer(&request)
        } else if let Some(other) = (self.shared.elsewhere)(path) {
            return Answering::Later(other(request));
        } else {
            let body = br#"{"error":{"type":"not_found"}}"#;
            refusal(StatusCode::NOT_FOUND, body, Outcome::NotFound)
        };
        self.shared.counts.count(answer.outcome);
        // hyper keeps the reply's header map for the connection's next request: so no poll makes one.
        let mut headers = request.into_parts().0.headers;
        headers.clear();
        fill(&mut headers, &answer);
        let mut response = Response::new(Whole::new(answer.body));
        *response.status_mut() = answer.status;
        // The new reply's own map has nothing to free, which would cost a hundredth of a poll to find out.
        mem::forget(mem::replace(response.headers_mut(), headers));
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
        Outcome::Limited => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
}
