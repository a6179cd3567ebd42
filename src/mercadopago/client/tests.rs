//! Requests over real sockets: heads, retries, broken connections, TLS, and that the token shows up nowhere.

use std::io::Write;
use std::sync::Mutex;

use metrics_exporter_prometheus::PrometheusBuilder;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::mercadopago::tests::server::{Answer, Server, base, say, token};

/// A call that may be made twice only with a key.
fn post(token: &Secret) -> Call<'_> {
    Call::new(Name::RefundCreate, Method::POST, "/v1/payments/1/refunds".into(), token)
}

fn get(token: &Secret) -> Call<'_> {
    Call::new(Name::PaymentGet, Method::GET, "/v1/payments/1".into(), token)
}

fn text(bytes: &[u8]) -> Result<String, ApiError> {
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn a_request_carries_what_it_should() {
    let server = Server::start([say(200, "1"), say(200, "2")]).await;
    let (client, token, key) = (server.client(), token(), Uuid::now_v7());
    assert_eq!(
        client.ask(post(&token).with(b"{}".to_vec()).keyed(key), text).await,
        Ok("1".into())
    );
    assert_eq!(client.ask(get(&token), text).await, Ok("2".into()));
    let [post, get] = &server.asked()[..] else {
        panic!("two requests")
    };
    let common = [
        ("authorization", Some(format!("Bearer {}", token.expose()))),
        ("accept", Some("application/json".into())),
        ("user-agent", Some(format!("surtidor/{}", env!("CARGO_PKG_VERSION")))),
        ("host", Some(server.url.trim_start_matches("http://").into())),
    ];
    for (name, value) in common {
        assert_eq!(post.header(name), value.as_deref(), "{name}");
        assert_eq!(get.header(name), value.as_deref(), "{name}");
    }
    assert_eq!(post.header("content-type"), Some("application/json"));
    assert_eq!(post.header("x-idempotency-key"), Some(key.to_string().as_str()));
    assert_eq!(
        (get.header("content-type"), get.header("x-idempotency-key")),
        (None, None)
    );
    let id = |asked: &str| Uuid::parse_str(asked).unwrap();
    assert_ne!(
        id(post.header("x-request-id").unwrap()),
        id(get.header("x-request-id").unwrap())
    );
    assert_eq!(server.connections(), 1, "the connection is used again");
}

#[tokio::test]
async fn a_call_may_be_spawned() {
    let server = Server::start([say(200, r#"{"id":7}"#)]).await;
    let client = server.client();
    let call = tokio::spawn(async move { client.merchant_order(&token(), 7).await });
    assert_eq!(call.await.unwrap().unwrap().id, 7);
}

#[tokio::test]
async fn a_retry_keeps_its_key() {
    let server = Server::start([say(503, ""), Answer::Cut, say(201, "done")]).await;
    let (token, key) = (token(), Uuid::now_v7());
    let result = server
        .client()
        .ask(post(&token).with(b"{}".to_vec()).keyed(key), text)
        .await;
    assert_eq!(result, Ok("done".into()));
    let asked = server.asked();
    assert_eq!(asked.len(), 3);
    for asked in &asked {
        assert_eq!(asked.header("x-idempotency-key"), Some(key.to_string().as_str()));
        assert_eq!(asked.body, "{}");
    }
    assert_ne!(
        asked[0].header("x-request-id"),
        asked[1].header("x-request-id"),
        "each request is its own"
    );
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_sent_once() {
    let server = Server::start([
        say(500, ""),
        Answer::Half,
        Answer::With(429, "retry-after: 1\r\n", String::new()),
    ])
    .await;
    let (client, token) = (server.client(), token());
    let failed = async || client.ask(post(&token).with(b"{}".to_vec()), text).await.unwrap_err();
    assert!(matches!(failed().await, ApiError::Unavailable(_)));
    assert!(matches!(failed().await, ApiError::Broken(Broken::Cut(_))));
    let second = Some(Duration::from_secs(1));
    assert!(matches!(failed().await, ApiError::Limited { retry_after, .. } if retry_after == second));
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let large = "x".repeat(limits::API_ANSWER_BYTES + 1);
    let head: &str = Box::leak(format!("x-long: {}\r\n", "x".repeat(limits::API_HEAD_BYTES)).into_boxed_str());
    let server = Server::start([
        say(200, &large),
        say(400, &large),
        Answer::With(200, head, String::new()),
    ])
    .await;
    let (client, token) = (server.client(), token());
    for _ in 0..2 {
        let error = client.ask(get(&token), text).await.unwrap_err();
        assert_eq!(error, ApiError::nonsense("it has more than 1048576 bytes"));
    }
    let error = client.ask(post(&token), text).await.unwrap_err();
    assert!(matches!(error, ApiError::Broken(Broken::Cut(_))), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (client, token) = (Client::new(&base(&url)), token());
    for _ in 0..limits::API_FAILURES {
        let error = client.ask(post(&token), text).await.unwrap_err();
        let ApiError::Broken(Broken::Connect(why)) = &error else {
            panic!("{error}")
        };
        assert!(why.contains("refused") && error.may_pass(), "{why}");
    }
    assert_eq!(client.ask(post(&token), text).await, Err(ApiError::Resting));
}

#[tokio::test]
async fn calls_under_way_are_bounded() {
    let server = Server::start([say(200, "")]).await;
    let (client, token) = (server.client(), token());
    let seats = client
        .0
        .seats
        .acquire_many(limits::API_CONNECTIONS as u32)
        .await
        .unwrap();
    let soon = Instant::now() + limits::API_TRY_TIME + Duration::from_millis(5);
    assert_eq!(client.seated(&get(&token), soon).await, Err(Broken::Busy.into()));
    assert!(!client.0.circuit.is_shut(Haste::Patient) && server.asked().is_empty());
    drop(seats);
    assert_eq!(client.ask(get(&token), text).await, Ok(String::new()));
}

/// A connector that never gets there.
#[derive(Clone)]
struct Nowhere;

impl Service<Uri> for Nowhere {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Pending<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_has_its_time() {
    let begun = Instant::now();
    let error = Timed(Nowhere)
        .call(Uri::from_static("https://pay.example.com"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "not within the time limit");
    let took = begun.elapsed();
    assert!(
        took >= limits::API_CONNECT_TIME && took < limits::API_CONNECT_TIME * 2,
        "{took:?}"
    );
}

#[tokio::test]
async fn a_picture_is_fetched_without_the_token() {
    let server = Server::start([say(200, "PNG"), say(404, ""), say(302, "")]).await;
    let client = server.client();
    let url = format!("{}/qr/1.png", server.url);
    assert_eq!(client.fetch(&url).await, Ok("PNG".into()));
    assert!(matches!(client.fetch(&url).await, Err(ApiError::NotFound(_))));
    assert!(
        matches!(client.fetch(&url).await, Err(ApiError::Refused(_))),
        "nothing is followed"
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.header("authorization").is_none())
    );
    for bad in [
        "http://example.com/a.png",
        "http://10.0.0.1/",
        "ftp://localhost/a",
        "/a.png",
        "file:///etc/passwd",
        "",
        "https://",
    ] {
        assert!(
            matches!(client.fetch(bad).await, Err(ApiError::Nonsense { .. })),
            "{bad}"
        );
    }
    assert_eq!(server.asked().len(), 3);
}

/// Lines of the log, as a subscriber writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_token_shows_up_nowhere() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone());
    let _log = tracing::subscriber::set_default(log.finish());
    let recorder = PrometheusBuilder::new().build_recorder();
    let rendered = recorder.handle();

    let secret = token();
    let echo = |status| {
        let token = secret.expose();
        let causes = format!(r#"[{{"code":"{token}","description":"no {token}"}}]"#);
        say(
            status,
            &format!(r#"{{"error":"{token}","message":"invalid {token}\nx","cause":{causes}}}"#),
        )
    };
    let page = say(401, &format!("<html>{}</html>", secret.expose()));
    let not_json = say(200, &format!("Bearer {}", secret.expose()));
    let answers = [400, 401, 404, 429, 501]
        .map(echo)
        .into_iter()
        .chain([page, not_json, Answer::Cut]);
    let server = Server::start(answers).await;
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let client = server.client();
    let read = |bytes: &[u8]| crate::mercadopago::wire::object(bytes).map(|_| ());
    for _ in 0..8 {
        let error = client.ask(post(&secret).with(b"{}".to_vec()), read).await.unwrap_err();
        let shown = format!("{error} {error:?} {secret:?}");
        assert!(!shown.contains("5ecre7"), "{shown}");
    }
    tracing::info!(?secret, "a line, so that there is one");
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let numbers = rendered.render();
    assert!(log.contains("a line") && !log.contains("5ecre7"), "{log}");
    assert!(!numbers.contains("5ecre7"));
    for counted in [
        "refused",
        "unauthorized",
        "not_found",
        "limited",
        "unavailable",
        "nonsense",
        "broken",
    ] {
        let line = format!(r#"surtidor_api_calls_total{{call="refund_create",outcome="{counted}"}}"#);
        assert!(numbers.contains(&line), "{counted} is counted in {numbers}");
    }
    assert!(
        numbers.contains(r#"surtidor_api_requests_total{call="refund_create"} 8"#),
        "{numbers}"
    );
    let header = format!("{:?}", bearer(&secret));
    assert_eq!(header, "Sensitive");
}

/// An authority of our own and a server that shows its certificate for this name.
fn certified(name: &str) -> (CertificateDer<'static>, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (authority.der().clone(), TlsAcceptor::from(Arc::new(config)))
}

fn trusting(server: &Server, authority: CertificateDer<'_>) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    Client::trusting(&base(&server.url), roots, Box::new(|_| {}))
}

#[tokio::test]
async fn only_a_certificate_of_somebody_trusted_for_this_name_will_do() {
    let token = token();
    let (authority, tls) = certified("localhost");
    let server = Server::over([say(200, "well")], Some(tls)).await;
    assert_eq!(
        trusting(&server, authority).ask(post(&token), text).await,
        Ok("well".into())
    );

    let refused = async |client: Client| match client.ask(post(&token), text).await {
        Err(ApiError::Broken(Broken::Connect(why))) => why,
        other => panic!("{other:?}"),
    };
    let why = refused(server.client()).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
    let (authority, tls) = certified("other.example");
    let server = Server::over([], Some(tls)).await;
    let why = refused(trusting(&server, authority)).await;
    assert!(why.contains("not valid for name"), "{why}");
    assert!(server.asked().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn a_token_that_is_answered_401_is_told_of() {
    let server = Server::start([
        say(401, r#"{"message":"invalid access token"}"#),
        say(403, "{}"),
        say(200, "{}"),
    ])
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let client = {
        let told = told.clone();
        Client::reporting(&base(&server.url), move |token| {
            told.lock().unwrap().push(token.expose().to_owned());
        })
    };
    for _ in 0..3 {
        let _ = client.pos(&token(), 1).await;
    }
    assert_eq!(*told.lock().unwrap(), [token().expose()]);
}
