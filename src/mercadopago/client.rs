//! One request on its way: connection, head, limits. What is asked stands in the files of the calls.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;
use uuid::Uuid;

use super::circuit::{Circuit, Haste};
use super::error::{ApiError, Broken, Complaint};
use super::metrics::{self, Name};
use super::retry;
use crate::config::{BaseUrl, Secret};
use crate::limits;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Dialer = Timed<HttpsConnector<HttpConnector>>;

/// Mercado Pago's API. Copies share one pool of connections, and what is known of the API's health.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    base: BaseUrl,
    pool: Pool<Dialer, Full<Bytes>>,
    /// One for each connection that may be in use.
    seats: Semaphore,
    circuit: Circuit,
    /// Told of each token that is answered 401.
    refused: Box<Refused>,
}

type Refused = dyn Fn(&Secret) + Send + Sync;

/// What is asked of the API.
pub(super) struct Call<'a> {
    pub(super) name: Name,
    pub(super) method: Method,
    /// What follows the base URL; plain ASCII, with what comes from outside already made fit for it.
    pub(super) path: String,
    pub(super) body: Option<Vec<u8>>,
    /// What the head shows.
    pub(super) token: Option<&'a Secret>,
    /// What no error may quote: the token, and secrets in the body.
    pub(super) hidden: Vec<&'a Secret>,
    pub(super) key: Option<Uuid>,
    once: bool,
    haste: Haste,
}

impl<'a> Call<'a> {
    pub(super) fn new(name: Name, method: Method, path: String, token: &'a Secret) -> Call<'a> {
        let call = Call::bare(name, method, path, vec![token]);
        Call {
            token: Some(token),
            ..call
        }
    }

    /// One whose body says who asks.
    pub(super) fn bare(name: Name, method: Method, path: String, hidden: Vec<&'a Secret>) -> Call<'a> {
        let (body, token, key) = (None, None, None);
        Call {
            name,
            method,
            path,
            body,
            token,
            hidden,
            key,
            once: false,
            haste: Haste::Patient,
        }
    }

    pub(super) fn with(self, body: Vec<u8>) -> Call<'a> {
        Call {
            body: Some(body),
            ..self
        }
    }

    pub(super) fn keyed(self, key: Uuid) -> Call<'a> {
        Call { key: Some(key), ..self }
    }

    /// Somebody at a machine waits for it.
    pub(super) fn pressing(self) -> Call<'a> {
        let haste = Haste::Pressing;
        Call { haste, ..self }
    }

    /// Whoever asks tries again by himself.
    pub(super) fn once(self) -> Call<'a> {
        Call { once: true, ..self }
    }

    /// Whether asking twice does no more than asking once.
    fn is_idempotent(&self) -> bool {
        !self.once && (self.method != Method::POST || self.key.is_some())
    }
}

impl Client {
    /// Its counters are made here, so they are those of the recorder that is set now.
    pub fn new(base: &BaseUrl) -> Client {
        Client::reporting(base, |_| {})
    }

    /// One that tells of each token that is answered 401: it may be dead.
    pub fn reporting(base: &BaseUrl, refused: impl Fn(&Secret) + Send + Sync + 'static) -> Client {
        // The roots come with the program: an old machine or an empty container may have none, or none that are valid.
        let roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        Client::trusting(base, roots, Box::new(refused))
    }

    pub(super) fn trusting(base: &BaseUrl, roots: RootCertStore, refused: Box<Refused>) -> Client {
        let tls = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of all versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        // TLS and plain HTTP come over the same one, and a small request should not wait for the one before it.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::API_IDLE_TIME)
            .pool_max_idle_per_host(limits::API_IDLE)
            .http1_max_buf_size(limits::API_HEAD_BYTES)
            .build(Timed(https));
        metrics::begin();
        Client(Arc::new(Inner {
            base: base.clone(),
            pool,
            seats: Semaphore::new(limits::API_CONNECTIONS),
            circuit: Circuit::new(metrics::resting()),
            refused,
        }))
    }

    /// Makes the call and reads its answer, which is empty where nothing came.
    pub(super) async fn ask<T>(
        &self,
        call: Call<'_>,
        read: impl FnOnce(&[u8]) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let begun = Instant::now();
        let answer = self.seated(&call, begun + limits::API_CALL_TIME).await;
        let result = answer.and_then(|bytes| read(&bytes));
        metrics::call(call.name, begun.elapsed(), &result);
        if let (Some(token), Err(ApiError::Unauthorized(complaint))) = (call.token, &result)
            && complaint.status == 401
        {
            (self.0.refused)(token);
        }
        result
    }

    /// A call keeps its seat while it pauses: an API that fails or wants fewer calls gets fewer. It must have one while
    /// there is time for a whole try, for a try cut short would look like a silent API.
    async fn seated(&self, call: &Call<'_>, end: Instant) -> Result<Bytes, ApiError> {
        if self.0.circuit.is_shut(call.haste) {
            return Err(ApiError::Resting);
        }
        let seat = timeout_at(end - limits::API_TRY_TIME, self.0.seats.acquire());
        let _seat = seat.await.map_err(|_| Broken::Busy)?.expect("it is never closed");
        retry::tries((&self.0.circuit, call.haste), end, call.is_idempotent(), async || {
            self.attempt(call).await
        })
        .await
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Bytes, ApiError> {
        let body = call.body.clone().unwrap_or_default();
        let mut request = request(call.method.clone(), &format!("{}{}", self.0.base.as_str(), call.path))?;
        let head = request.headers_mut();
        if let Some(token) = call.token {
            head.insert(AUTHORIZATION, bearer(token));
        }
        if call.body.is_some() {
            head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = call.key {
            head.insert("x-idempotency-key", header(key));
        }
        self.send(call.name, request.map(|()| Full::from(body)), &call.hidden)
            .await
    }

    /// A picture that an answer pointed to: asked for once, without a token, over TLS or from this machine.
    pub async fn fetch(&self, url: &str) -> Result<Bytes, ApiError> {
        let begun = Instant::now();
        let sent = async {
            let request = request(Method::GET, url)?;
            if !may_fetch(request.uri()) {
                return Err(ApiError::nonsense("the address is not https"));
            }
            self.send(Name::Fetch, request.map(|()| Full::default()), &[]).await
        };
        let result = timeout(limits::API_TRY_TIME, sent)
            .await
            .unwrap_or(Err(Broken::Late.into()));
        metrics::call(Name::Fetch, begun.elapsed(), &result);
        result
    }

    async fn send(&self, name: Name, request: Request<Full<Bytes>>, hidden: &[&Secret]) -> Result<Bytes, ApiError> {
        metrics::request(name);
        let response = self
            .0
            .pool
            .request(request)
            .await
            .map_err(|error| match error.is_connect() {
                true => Broken::Connect(told(&error)),
                false => Broken::Cut(told(&error)),
            })?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = whole(response.into_body()).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(ApiError::of(
                Complaint::read(status.as_u16(), &body, hidden),
                retry_after,
            ))
        }
    }
}

fn request(method: Method, url: &str) -> Result<Request<()>, ApiError> {
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header(USER_AGENT, concat!("surtidor/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header("x-request-id", header(Uuid::now_v7()));
    request
        .body(())
        .map_err(|_| ApiError::nonsense("the address is not a URL"))
}

fn bearer(token: &Secret) -> HeaderValue {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut value = value.expect("a secret is visible ASCII");
    value.set_sensitive(true);
    value
}

fn header(id: Uuid) -> HeaderValue {
    HeaderValue::from_str(&id.to_string()).expect("a UUID has hex digits and hyphens")
}

fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let seconds = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

async fn whole(body: Incoming) -> Result<Bytes, ApiError> {
    match Limited::new(body, limits::API_ANSWER_BYTES).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::nonsense(format!(
            "it has more than {} bytes",
            limits::API_ANSWER_BYTES
        ))),
        Err(error) => Err(Broken::Cut(told(&*error)).into()),
    }
}

/// The error with all that caused it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // A String takes all that is written.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text.chars().take(limits::API_TEXT_LEN).collect()
}

fn may_fetch(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    url.scheme_str() == Some("https") || (url.scheme_str() == Some("http") && here)
}

/// Name, TCP and TLS together have `limits::API_CONNECT_TIME`.
#[derive(Clone)]
struct Timed<C>(C);

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error = BoxError, Future: Send + 'static>,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let dialled = timeout(limits::API_CONNECT_TIME, self.0.call(url));
        Box::pin(async {
            dialled
                .await
                .unwrap_or_else(|_| Err("not within the time limit".into()))
        })
    }
}

#[cfg(test)]
mod tests;
