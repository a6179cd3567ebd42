//! The page and its two calls, for browsers on this machine: who else asks is refused. Nothing here knows what a button
//! does.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use super::actions::{Action, Hands};
use super::machine::Kind;
use super::stream::stream;
use crate::limits;
use crate::net::body::{Content, Whole, read_body};
use crate::net::listen::Tcp;
use crate::net::metrics::Connections;
use crate::net::seats::Seats;
use crate::net::stop::Stopping;
use crate::net::{Face, Limits, serve};
use crate::qr::Code;

/// A file of the page: its path, its type, and what it holds.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [File; 7] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/main.js", SCRIPT, include_str!("page/main.js")),
    ("/words.js", SCRIPT, include_str!("page/words.js")),
    ("/stands.js", SCRIPT, include_str!("page/stands.js")),
    ("/protocol.js", SCRIPT, include_str!("page/protocol.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// Nothing but what comes from here, and nothing written into the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Until it is told to stop.
pub async fn run(listener: tokio::net::TcpListener, hands: Rc<Hands>, stopping: Stopping) {
    let face = Face {
        limits: Limits::idle(limits::ADMIN_IDLE_TIME),
        seats: Seats::new(limits::DEMO_CONNECTIONS),
        metrics: Connections::new("demo"),
        latency: None,
        half_close: false,
    };
    let web = Web(hands, stopping.clone());
    serve(Tcp::new(listener), face, move |_| web.clone(), stopping).await;
}

#[derive(Clone)]
struct Web(Rc<Hands>, Stopping);

impl Service<Request<Incoming>> for Web {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let web = self.clone();
        Box::pin(async move { Ok(web.answer(request).await) })
    }
}

impl Web {
    async fn answer(&self, request: Request<Incoming>) -> Response<Content> {
        let (head, body) = request.into_parts();
        let Web(hands, stopping) = self;
        if !is_for_us(&head.headers) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this is only for browsers on this machine\n",
            );
        }
        match (&head.method, head.uri.path()) {
            (&Method::GET | &Method::HEAD, "/state") => {
                whole(StatusCode::OK, "application/json", hands.show.snapshot().into())
            }
            (&Method::GET, "/events") => {
                let last = head.headers.get("last-event-id").and_then(|last| last.to_str().ok());
                let stream = stream(hands.show.clone(), last, stopping.clone());
                response(StatusCode::OK, "text/event-stream", Content::Stream(stream))
            }
            (&Method::GET | &Method::HEAD, path) => file(hands, path),
            (&Method::POST, "/do") => self.act(&head, body).await,
            (_, "/do") => plain(StatusCode::METHOD_NOT_ALLOWED, "POST only\n"),
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n"),
        }
    }

    async fn act(&self, head: &Parts, body: Incoming) -> Response<Content> {
        if !is_from_our_page(&head.headers) {
            return plain(StatusCode::FORBIDDEN, "only the page itself may do this\n");
        }
        let body = match read_body(body, limits::DEMO_BODY_BYTES).await {
            Ok(body) => body,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        };
        let action: Action = match serde_json::from_slice(&body) {
            Ok(action) => action,
            Err(error) => return plain(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        };
        match self.0.act(action).await {
            Ok(()) => response(StatusCode::NO_CONTENT, "text/plain", Content::Whole(Whole::default())),
            Err(busy) => plain(StatusCode::CONFLICT, &format!("{busy}\n")),
        }
    }
}

/// A name that leads here by somebody else's DNS is not ours: only loopback's own names are. The port may be another, as
/// when it is forwarded.
fn is_for_us(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<hyper::http::uri::Authority>() else {
        return false;
    };
    matches!(authority.host(), "127.0.0.1" | "localhost" | "[::1]")
}

/// A browser says where a POST comes from. One that does not say so is no page of ours.
fn is_from_our_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let same_origin = text(header::ORIGIN) == Some(&format!("http://{host}"));
    let same_site = text(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin");
    same_origin && same_site
}

fn file(hands: &Hands, path: &str) -> Response<Content> {
    let says = |kind: Kind| {
        let show = &hands.show;
        show.look(|stage| show.fixed.code(&stage.stands[kind as usize].machine))
    };
    let code = |kind: Kind| Code::of(&says(kind)).map(|code| code.svg());
    let picture = match path {
        "/pump.svg" => code(Kind::Pump),
        "/vending.svg" => code(Kind::Vending),
        _ => None,
    };
    if let Some(picture) = picture {
        return whole(StatusCode::OK, "image/svg+xml", picture.into());
    }
    match FILES.iter().find(|(name, ..)| *name == path) {
        Some((_, kind, text)) => whole(StatusCode::OK, kind, Bytes::from_static(text.as_bytes())),
        None => plain(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

fn plain(status: StatusCode, text: &str) -> Response<Content> {
    whole(
        status,
        "text/plain; charset=utf-8",
        Bytes::copy_from_slice(text.as_bytes()),
    )
}

fn whole(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Content> {
    response(status, kind, Content::whole(bytes))
}

fn response(status: StatusCode, kind: &'static str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_loopback_names_are_ours() {
        for host in ["127.0.0.1:8080", "localhost:1", "[::1]:80", "localhost"] {
            assert!(is_for_us(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:80",
            "localhost.",
            "10.0.0.1",
            "",
            "a b",
        ] {
            assert!(!is_for_us(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_for_us(&HeaderMap::new()));
    }

    #[test]
    fn only_our_page_acts() {
        let host = ("host", "127.0.0.1:80");
        let ours = ("origin", "http://127.0.0.1:80");
        assert!(is_from_our_page(&headers(&[host, ours])));
        assert!(is_from_our_page(&headers(&[
            host,
            ours,
            ("sec-fetch-site", "same-origin")
        ])));
        for wrong in [
            &[host][..],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "https://127.0.0.1:80")],
            &[host, ("origin", "http://127.0.0.1:81")],
            &[host, ours, ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!is_from_our_page(&headers(wrong)), "{wrong:?}");
        }
    }
}
