//! A whole server in this process, on ports of its own and in a folder of its own, and those who speak with it.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use surtidor::app::App;
use surtidor::config::{Config, Overrides, Source};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

use super::http::{Reply, Wire, patiently};
use super::{document, log, market};

/// These are configured as secrets wherever one can be, and must never be seen anywhere.
pub const CANARIES: [&str; 10] = [
    "canary-access-token-3141592653",
    "canary-webhook-secret-2718281828",
    "canary-control-token-1414213562",
    "canary-url-secret-1618033988",
    // Those of the simulated Mercado Pago.
    surtidor::sandbox::TEST_TOKEN,
    surtidor::sandbox::TEST_SECRET,
    surtidor::sandbox::TEST_CLIENT_SECRET,
    // How all tokens of the control API begin.
    "srt_",
    // How all tokens of its links begin.
    "APP_USR-7910800073137785-",
    "TG-refresh-",
];

/// How a station differs from the usual one.
#[derive(Default)]
pub struct Setup {
    accounts: String,
    env: Vec<(String, String)>,
}

impl Setup {
    /// One more account, in TOML.
    pub fn account(mut self, toml: &str) -> Setup {
        self.accounts.push_str(&format!("\n[[account]]\n{toml}\n"));
        self
    }

    /// Mercado Pago answers, and has nothing to tell.
    pub fn quiet() -> Setup {
        Setup::default().env("SURTIDOR_MERCADOPAGO__BASE_URL", &market::quiet_api())
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.env.push((name.into(), value.into()));
        self
    }
}

pub struct Station {
    folder: TempDir,
    setup: Setup,
    app: Option<App>,
}

impl Station {
    pub async fn start() -> Station {
        Station::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Station {
        log::watch();
        // In memory where that is possible: what a power cut does is not tested here.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            TempDir::new_in(memory)
        } else {
            TempDir::new()
        };
        let mut station = Station {
            folder: folder.expect("a temporary folder"),
            setup,
            app: None,
        };
        station.begin();
        station
    }

    fn begin(&mut self) {
        self.app = Some(App::start(self.config()).expect("the server starts"));
    }

    /// The configuration as it is read anew.
    pub fn config(&self) -> Config {
        let places = super::places(self.folder.path());
        let accounts = &self.setup.accounts;
        let text = format!(
            r#"
{places}
[[account]]
id = "test"
collector_id = 178106235
sponsor_id = 334249281
site = "MLA"
{accounts}
"#
        );
        std::fs::write(self.file(), text).expect("the folder is ours");
        let loaded = Config::load(Source::File(self.file()), self.environment(), Overrides::default());
        loaded.unwrap_or_else(|faults| panic!("{faults:?}")).0
    }

    /// The environment that goes with the configuration file.
    pub fn environment(&self) -> Vec<(String, String)> {
        let canaries = [
            ("SURTIDOR_ACCOUNT__TEST__ACCESS_TOKEN", CANARIES[0]),
            ("SURTIDOR_ACCOUNT__TEST__WEBHOOK_SECRET", CANARIES[1]),
        ];
        let canaries = canaries.map(|(name, value)| (name.to_owned(), value.to_owned()));
        canaries.into_iter().chain(self.setup.env.iter().cloned()).collect()
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("surtidor.toml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.app().addresses().control.clone()
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("it runs")
    }

    pub async fn stop(&mut self) {
        let app = self.app.take().expect("it runs");
        let orderly = patiently(tokio::task::spawn_blocking(|| app.stop())).await;
        assert!(orderly.expect("it stops"), "no thread panicked");
    }

    /// Starts it again on the same folder.
    pub async fn start_again(&mut self) {
        self.begin();
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// What it is configured with from the next start or reload on.
    pub fn setup(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// Restarts it with another setup.
    pub async fn restart_with(&mut self, setup: Setup) {
        self.stop().await;
        self.setup(setup);
        self.start_again().await;
    }

    // --- Mercado Pago ---------------------------------------------------------------------------------------

    pub async fn poller(&self) -> Wire {
        let address = self.app().addresses().poll[0];
        Wire::new(TcpStream::connect(address).await.expect("the poll face listens"))
    }

    /// Polls as the URL of [`Station::register`] says.
    pub async fn poll(&self, pos: &str) -> Reply {
        self.poll_with(&format!("locationId=1&positionId={pos}")).await
    }

    pub async fn poll_with(&self, query: &str) -> Reply {
        let mut wire = self.poller().await;
        let request = format!("GET /pay-mp?{query} HTTP/1.1\r\nhost: pay.example.com\r\n\r\n");
        wire.send(request.as_bytes()).await;
        let reply = wire.reply().await;
        reply.check_poll();
        self.check_canaries(&reply);
        reply
    }

    // --- the controller -------------------------------------------------------------------------------------

    pub async fn controller(&self) -> Wire {
        let socket = UnixStream::connect(self.socket()).await;
        Wire::new(socket.expect("the control socket listens"))
    }

    /// One call on a connection of its own. `body` is JSON or what should have been; empty is none.
    pub async fn call(&self, method: &str, path: &str, body: impl Display) -> Reply {
        self.call_bytes(method, path, body.to_string().as_bytes()).await
    }

    pub async fn call_bytes(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let mut wire = self.controller().await;
        wire.send(request(method, path, "", body).as_slice()).await;
        let reply = wire.reply().await;
        reply.check_control();
        self.check_said(method, path, &reply);
        reply
    }

    /// One call with headers of its own, each ending in a line break; its answer may be a receipt's plain text.
    pub async fn call_with(&self, method: &str, path: &str, headers: &str, body: impl Display) -> Reply {
        let wire = self.controller().await;
        self.call_on(wire, method, path, headers, &body.to_string()).await
    }

    async fn call_on(&self, mut wire: Wire, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        wire.send(&request(method, path, headers, body.as_bytes())).await;
        let reply = wire.reply().await;
        match reply.header("content-type") {
            Some("text/plain; charset=utf-8") => reply.check(),
            _ => reply.check_control(),
        }
        self.check_said(method, path, &reply);
        reply
    }

    /// Gives money back under a key.
    pub async fn refund(&self, reference: &str, key: &str, body: impl Display) -> Reply {
        let path = format!("/v1/orders/{reference}/refunds");
        self.call_with("POST", &path, &format!("idempotency-key: {key}\r\n"), body)
            .await
    }

    /// One call over loopback TCP, with what is said of who calls.
    pub async fn call_tcp(&self, authorization: Option<&str>, method: &str, path: &str) -> Reply {
        let header = authorization.map(|value| format!("authorization: {value}\r\n"));
        self.call_from_afar(&header.unwrap_or_default(), method, path, "").await
    }

    /// One call over loopback TCP with these headers, each ending in a line break.
    pub async fn call_from_afar(&self, headers: &str, method: &str, path: &str, body: impl Display) -> Reply {
        let wire = self.afar().await;
        self.call_on(wire, method, path, headers, &body.to_string()).await
    }

    /// A connection over loopback TCP.
    pub async fn afar(&self) -> Wire {
        let address = self.app().addresses().control_tcp.expect("control.tcp is configured");
        Wire::new(TcpStream::connect(address).await.expect("it listens"))
    }

    /// Makes a token. Nothing else ever tells it.
    pub async fn token(&self, name: &str, scope: Value) -> String {
        let mut wire = self.controller().await;
        let path = format!("/v1/tokens/{name}");
        wire.send(request("PUT", &path, "", scope.to_string().as_bytes()).as_slice())
            .await;
        let reply = wire.reply().await;
        reply.check_control();
        document::check("PUT", &path, reply.status, reply.header("content-type"), &reply.body);
        assert_eq!(reply, 201);
        reply.json()["token"].as_str().expect("a token").to_owned()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, "").await
    }

    pub async fn put(&self, path: &str, body: impl Display) -> Reply {
        self.call("PUT", path, body).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, "").await
    }

    /// Registers a POS under `locationId=1&positionId={pos}`, or changes it back to that.
    pub async fn register(&self, pos: &str) -> Reply {
        self.register_as(pos, json!({})).await
    }

    /// The same with more of a registration.
    pub async fn register_as(&self, pos: &str, mut more: Value) -> Reply {
        if more.get("keys").is_none() {
            more["keys"] = json!({"locationId": "1", "positionId": pos});
        }
        self.put(&format!("/v1/pos/{pos}"), more).await
    }

    pub async fn pos(&self, pos: &str) -> Value {
        self.get(&format!("/v1/pos/{pos}")).await.json()
    }

    /// What the controller says of the POS while there is no order.
    pub async fn say(&self, pos: &str, word: Value) -> Reply {
        self.put(&format!("/v1/pos/{pos}/state"), word).await
    }

    pub async fn hold_lease(&self, pos: &str, seconds: u64) -> Reply {
        self.put(&format!("/v1/pos/{pos}/lease"), json!({"seconds": seconds}))
            .await
    }

    pub async fn push(&self, pos: &str, order: impl Display) -> Reply {
        self.put(&format!("/v1/pos/{pos}/order"), order).await
    }

    pub async fn replace(&self, pos: &str, order: impl Display) -> Reply {
        self.put(&format!("/v1/pos/{pos}/order?replace=true"), order).await
    }

    pub async fn cancel(&self, pos: &str) -> Reply {
        self.delete(&format!("/v1/pos/{pos}/order")).await
    }

    pub async fn order(&self, reference: &str) -> Value {
        self.get(&format!("/v1/orders/{reference}")).await.json()
    }

    pub async fn status(&self, reference: &str) -> String {
        self.order(reference).await["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Follows the feed; `query` begins with `?`, or is empty. The stream is open when this returns.
    pub async fn feed(&self, query: &str) -> Feed {
        self.feed_from(query, None).await
    }

    pub async fn feed_from(&self, query: &str, last_event_id: Option<&str>) -> Feed {
        let header = last_event_id.map(|id| format!("last-event-id: {id}\r\n"));
        self.feed_over(self.controller().await, query, &header.unwrap_or_default())
            .await
    }

    /// The same on this connection, with these headers.
    pub async fn feed_over(&self, mut wire: Wire, query: &str, headers: &str) -> Feed {
        wire.send(request("GET", &format!("/v1/events{query}"), headers, b"").as_slice())
            .await;
        let head = wire.head().await;
        assert_eq!(head, 200, "a stream was asked for");
        head.check();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        let mut feed = Feed {
            wire,
            text: String::new(),
            sent: VecDeque::new(),
        };
        // The first words say when to come back; they are there once the follower listens.
        feed.fill().await.expect("the stream begins");
        assert_eq!(feed.sent.pop_front().as_deref(), Some("retry: 1000"));
        feed
    }

    /// One page of the long poll.
    pub async fn page(&self, query: &str) -> Page {
        let page = self.get(&format!("/v1/events{query}")).await;
        assert_eq!(page, 200);
        let page = page.json();
        Page {
            events: page["events"].as_array().expect("events").clone(),
            next: page["next"].as_u64().expect("where the next page begins"),
        }
    }

    // --- the operator ---------------------------------------------------------------------------------------

    pub async fn admin(&self, method: &str, path: &str) -> Reply {
        self.ask_admin(method, path, "").await
    }

    /// As a program that takes this.
    pub async fn admin_as(&self, accepts: &str, method: &str, path: &str) -> Reply {
        self.ask_admin(method, path, &format!("accept: {accepts}\r\n")).await
    }

    async fn ask_admin(&self, method: &str, path: &str, headers: &str) -> Reply {
        let address = self.app().addresses().admin;
        let mut wire = Wire::new(TcpStream::connect(address).await.expect("the admin face listens"));
        wire.send(request(method, path, headers, b"").as_slice()).await;
        let reply = wire.reply().await;
        reply.check();
        self.check_canaries(&reply);
        reply
    }

    /// The value of a metric, named with its labels as Prometheus prints them; 0 if it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.admin("GET", "/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What holds for every answer to a controller: it is as the document says, and tells no secret.
    fn check_said(&self, method: &str, path: &str, reply: &Reply) {
        document::check(method, path, reply.status, reply.header("content-type"), &reply.body);
        self.check_canaries(reply);
    }

    fn check_canaries(&self, reply: &Reply) {
        let seen = format!("{reply:?}");
        for canary in CANARIES {
            assert!(!seen.contains(canary), "a secret was told: {seen}");
        }
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            app.stop();
        }
    }
}

pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = match (method, body.len()) {
        ("GET" | "HEAD" | "DELETE", 0) => String::new(),
        (_, bytes) => format!("content-length: {bytes}\r\n"),
    };
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: surtidor\r\n{headers}{length}\r\n").into_bytes();
    request.extend(body);
    request
}

/// An order of this amount under this reference.
pub fn order(reference: &str, amount: &str) -> Value {
    json!({"external_reference": reference, "amount": amount, "title": "SUPER"})
}

/// The same that ends by itself after so many seconds.
pub fn order_for(reference: &str, seconds: u64) -> Value {
    let mut order = order(reference, "100.00");
    order["expires_in_seconds"] = json!(seconds);
    order
}

/// A page of the long poll.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Value>,
    pub next: u64,
}

impl Page {
    pub fn types(&self) -> Vec<&str> {
        self.events
            .iter()
            .map(|event| event["type"].as_str().expect("a type"))
            .collect()
    }
}

/// A stream of events.
pub struct Feed {
    wire: Wire,
    text: String,
    /// What stood between blank lines.
    sent: VecDeque<String>,
}

/// One event of the stream.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<u64>,
    pub kind: String,
    pub data: Value,
    /// As it was sent.
    pub text: String,
}

impl Feed {
    /// The next event; none once the stream has ended.
    pub async fn next_or_end(&mut self) -> Option<Event> {
        // A comment is a heartbeat.
        let text = loop {
            match self.sent.pop_front() {
                Some(text) if text.starts_with(':') => {}
                Some(text) => break text,
                None => self.fill().await?,
            }
        };
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let data: Value = serde_json::from_str(field("data").expect("data")).expect("JSON");
        let event = Event {
            id: field("id").map(|id| id.parse().expect("a number")),
            kind: field("event").expect("a type").to_owned(),
            data,
            text: text.clone(),
        };
        assert_eq!(event.data["type"], event.kind, "{text}");
        assert_eq!(event.data.get("seq").and_then(Value::as_u64), event.id, "{text}");
        document::check_event(&event.data);
        Some(event)
    }

    pub async fn next(&mut self) -> Event {
        self.next_or_end().await.expect("the stream goes on")
    }

    /// The next event of this type; those before it are passed over.
    pub async fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await;
            if event.kind == kind {
                return event;
            }
        }
    }

    async fn fill(&mut self) -> Option<()> {
        let chunk = self.wire.chunk().await?;
        self.text
            .push_str(std::str::from_utf8(&chunk).expect("events are whole text"));
        while let Some((one, rest)) = self.text.split_once("\n\n") {
            self.sent.push_back(one.to_owned());
            self.text = rest.to_owned();
        }
        Some(())
    }
}
