//! A small HTTP/1.1 client for the control socket, or its twins over TCP and TLS: the command line's, and the demo's machines'.
//! It never retries by itself: only who asked knows whether asking twice is harmless. Nothing of the server lives here.

mod problem;
mod secured;
pub mod sse;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

pub use problem::Problem;
use secured::Trust;

use crate::domain::id::IdempotencyKey;
use crate::limits;

/// Why nothing came of a request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(Box<Problem>),
    /// `server` is where we looked for it; `why` ends the sentence.
    #[error("{server} {why}")]
    Unreachable { server: String, why: String },
    /// It could not even be asked.
    #[error("{0}")]
    Unasked(String),
}

impl Error {
    /// Whether the same may be answered otherwise in a moment.
    pub fn passes(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Refused(problem) => matches!(problem.code.as_str(), "busy" | "shutting_down" | "in_doubt"),
            Error::Unasked(_) => false,
        }
    }
}

/// Where the server listens.
#[derive(Debug, Clone)]
pub enum Place {
    Socket(PathBuf),
    /// `host:port`, and the header that lets us in (marked sensitive, so that it is never printed).
    Tcp {
        authority: String,
        bearer: HeaderValue,
        /// None: no TLS.
        trust: Option<Trust>,
    },
}

impl Place {
    /// `url` is the one of `--url`, `token` the content of the token file, `authorities` that of the file of `--ca`.
    pub fn tcp(url: &str, token: &str, authorities: Option<&str>) -> Result<Place, Error> {
        let parts = url.split_once("://").and_then(|(scheme, rest)| {
            let authority = rest.trim_end_matches('/');
            let (host, port) = authority.rsplit_once(':')?;
            port.parse::<u16>().ok()?;
            Some((scheme, authority, host))
        });
        let Some((scheme @ ("http" | "https"), authority, host)) = parts else {
            let like = "http://127.0.0.1:8081 or https://pay.example.com:8443";
            return Err(Error::Unasked(format!("`{url}` is not like {like}")));
        };
        let trust = match (scheme, authorities) {
            ("https", authorities) => Some(Trust::new(host, authorities).map_err(Error::Unasked)?),
            (_, Some(_)) => return Err(Error::Unasked(format!("--ca is of no use with {url}: it is not https"))),
            (_, None) => None,
        };
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut bearer = bearer.map_err(|_| Error::Unasked("the token is not one line of plain text".into()))?;
        bearer.set_sensitive(true);
        Ok(Place::Tcp {
            authority: authority.into(),
            bearer,
            trust,
        })
    }

    fn unreachable(&self, why: impl Into<String>) -> Error {
        let server = match self {
            Place::Socket(path) => format!("the control socket {}", path.display()),
            Place::Tcp { authority, trust, .. } => match trust {
                Some(_) => format!("https://{authority}"),
                None => format!("http://{authority}"),
            },
        };
        Error::Unreachable {
            server,
            why: why.into(),
        }
    }
}

/// One connection, opened again when the server has closed it in between.
pub struct Session {
    place: Arc<Place>,
    sender: SendRequest<Full<Bytes>>,
}

/// A success: its status and its body, perhaps empty.
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        parse(&self.text)
    }
}

/// What the server says must be what its protocol says; if not, this is another server.
pub fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Unreachable {
        server: "the server".into(),
        why: format!("answered what this version of surtidor does not understand: {error}"),
    })
}

impl Session {
    pub async fn open(place: Arc<Place>) -> Result<Session, Error> {
        let sender = dial(&place).await?;
        Ok(Session { place, sender })
    }

    pub fn place(&self) -> Arc<Place> {
        self.place.clone()
    }

    /// Another connection to the same server.
    pub async fn another(&self) -> Result<Session, Error> {
        Session::open(self.place.clone()).await
    }

    pub async fn get<T: DeserializeOwned>(&mut self, target: &str) -> Result<T, Error> {
        self.call(Method::GET, target, Vec::new()).await?.parse()
    }

    /// Asks and waits for the whole answer; a refusal is a `Error`.
    pub async fn call(&mut self, method: Method, target: &str, body: Vec<u8>) -> Result<Answer, Error> {
        self.call_waiting(method, target, body, Duration::ZERO).await
    }

    /// The same where the server itself waits for so long before it answers.
    pub async fn call_waiting(
        &mut self,
        method: Method,
        target: &str,
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Answer, Error> {
        let request = Request::builder().method(method).uri(target);
        self.whole(request, body, limits::CLIENT_TIME + wait).await
    }

    /// The same for what is done once under `key`, however often it is asked.
    pub async fn post_once(&mut self, target: &str, body: Vec<u8>, key: &IdempotencyKey) -> Result<Answer, Error> {
        let request = Request::post(target).header("idempotency-key", key.as_str());
        self.whole(request, body, limits::CLIENT_TIME).await
    }

    async fn whole(&mut self, request: Builder, body: Vec<u8>, limit: Duration) -> Result<Answer, Error> {
        let place = self.place.clone();
        let whole = async {
            let response = self.send(request, body).await?;
            read(&place, response).await
        };
        match timeout(limit, whole).await {
            Ok(Ok((status, _, text))) if (200..300).contains(&status) => Ok(Answer { status, text }),
            Ok(Ok((status, retry_after, text))) => Err(refused(status, retry_after, &text)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(late(&place, limit)),
        }
    }

    /// Asks for a stream of events; it may last for ever, only its head has a time limit.
    pub async fn stream(mut self, target: &str) -> Result<Incoming, Error> {
        let place = self.place.clone();
        let head = async {
            let response = self.send(Request::get(target), Vec::new()).await?;
            if response.status().is_success() {
                return Ok(response.into_body());
            }
            let (status, retry_after, text) = read(&place, response).await?;
            Err(refused(status, retry_after, &text))
        };
        timeout(limits::CLIENT_TIME, head)
            .await
            .unwrap_or_else(|_| Err(late(&place, limits::CLIENT_TIME)))
    }

    async fn send(&mut self, mut request: Builder, body: Vec<u8>) -> Result<Response<Incoming>, Error> {
        if self.sender.ready().await.is_err() {
            self.sender = dial(&self.place).await?;
        }
        request = match &*self.place {
            Place::Socket(_) => request.header(HOST, "surtidor"),
            Place::Tcp { authority, bearer, .. } => request.header(HOST, authority).header(AUTHORIZATION, bearer),
        };
        let request = request
            .body(Full::from(body))
            .map_err(|error| Error::Unasked(error.to_string()))?;
        self.sender
            .send_request(request)
            .await
            .map_err(|error| broken(&self.place, &error))
    }
}

async fn dial(place: &Place) -> Result<SendRequest<Full<Bytes>>, Error> {
    let connect = async {
        match place {
            Place::Socket(path) => shake(UnixStream::connect(path).await?).await,
            Place::Tcp { authority, trust, .. } => {
                let stream = TcpStream::connect(authority).await?;
                match trust {
                    Some(trust) => shake(trust.secure(stream).await?).await,
                    None => shake(stream).await,
                }
            }
        }
    };
    let opened = timeout(limits::CLIENT_TIME, connect)
        .await
        .map_err(|_| late(place, limits::CLIENT_TIME))?;
    opened.map_err(|error| place.unreachable(format!("cannot be reached: {error}")))
}

async fn shake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, std::io::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(std::io::Error::other)?;
    // How the connection ends is told to whoever waits for an answer on it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn read(place: &Place, response: Response<Incoming>) -> Result<(u16, Option<String>, String), Error> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let body = Limited::new(response.into_body(), limits::CLIENT_ANSWER_BYTES)
        .collect()
        .await;
    let bytes = body.map_err(|error| broken(place, &*error))?.to_bytes();
    let text = String::from_utf8(bytes.into()).map_err(|error| broken(place, &error))?;
    Ok((status, retry_after, text))
}

fn refused(status: u16, retry_after: Option<String>, text: &str) -> Error {
    Error::Refused(Box::new(Problem::read(status, retry_after, text)))
}

fn broken(place: &Place, error: &dyn std::error::Error) -> Error {
    place.unreachable(format!(
        "gave no whole answer, so whether it was done is not known: {error}"
    ))
}

fn late(place: &Place, limit: Duration) -> Error {
    let seconds = limit.as_secs();
    place.unreachable(format!(
        "did not answer within {seconds} s, so whether it was done is not known"
    ))
}

/// A list that comes in pages, up to `left` rows.
pub struct Pages<'a> {
    session: &'a mut Session,
    /// The path with its query, which is never empty.
    target: String,
    cursor: Option<String>,
    left: usize,
}

/// What a list's pages have in common; the rows' name is the list's.
#[derive(Deserialize)]
struct Page {
    #[serde(alias = "pos", alias = "orders", alias = "tokens")]
    rows: Vec<Box<RawValue>>,
    next: Option<String>,
}

impl<'a> Pages<'a> {
    pub fn new(session: &'a mut Session, path: &str, filters: &[(&str, Option<&str>)], limit: Option<usize>) -> Self {
        let left = limit.unwrap_or(usize::MAX);
        let mut target = format!("{path}?limit={}", left.min(limits::PAGE_DEFAULT));
        for (name, value) in filters {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        Pages {
            session,
            target,
            cursor: Some(String::new()),
            left,
        }
    }

    /// The next rows, each as the server wrote it; none when there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, Error> {
        let Some(cursor) = self.cursor.take().filter(|_| self.left > 0) else {
            return Ok(None);
        };
        let target = match cursor.as_str() {
            "" => self.target.clone(),
            cursor => format!("{}&cursor={}", self.target, encode(cursor)),
        };
        let mut page: Page = self.session.get(&target).await?;
        page.rows.truncate(self.left);
        self.left -= page.rows.len();
        self.cursor = page.next;
        Ok(Some(page.rows))
    }
}

/// Percent-encodes all but the characters that need it nowhere in a URL.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        for (url, place) in [
            ("http://127.0.0.1:8081/", "127.0.0.1:8081"),
            ("https://pay.example.com:8443", "pay.example.com:8443"),
            ("https://[::1]:8443/", "[::1]:8443"),
        ] {
            let Ok(Place::Tcp { authority, trust, .. }) = Place::tcp(url, "t", None) else {
                panic!("{url}")
            };
            assert_eq!((authority.as_str(), trust.is_some()), (place, url.starts_with("https")));
        }
        for bad in [
            "ftp://127.0.0.1:1",
            "127.0.0.1:8081",
            "http://host",
            "https://host",
            "https://:1",
            "http://host:1/v1",
            "",
        ] {
            assert!(matches!(Place::tcp(bad, "t", None), Err(Error::Unasked(_))), "{bad}");
        }
        assert!(Place::tcp("http://127.0.0.1:8081", "two\nlines", None).is_err());
        assert!(Place::tcp("http://127.0.0.1:8081", "t", Some("")).is_err(), "no TLS");
    }

    #[test]
    fn a_token_is_never_printed() {
        for url in ["http://[::1]:8081", "https://[::1]:8081"] {
            let place = Place::tcp(url, "s3cret\n", None).unwrap();
            assert!(!format!("{place:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_not_plain_is_percent_encoded() {
        assert_eq!(encode("a b+c/ñ~"), "a%20b%2Bc%2F%C3%B1~");
    }
}
