//! A server in this process, and those who speak with it: each waits for its answer, on connections that stay open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use surtidor::app::App;
use surtidor::config::{Config, Overrides, Source};
use tempfile::TempDir;

use super::api::{AMOUNT, Api, COLLECTOR, MERCHANT_ORDERS, TOKEN};

const PUBLIC: &str = "https://pay.example.com";

pub struct Station {
    pub folder: TempDir,
    app: App,
}

impl Station {
    pub fn start(api: &Api, calls_per_second: u32) -> Station {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (socket, data, api) = (path("control.sock"), path("data"), api.address);
        let text = format!(
            r#"
poll.listen = "127.0.0.1:0"
admin.listen = "127.0.0.1:0"
control.socket = "{socket}"
data.dir = "{data}"
notifications.public_url = "{PUBLIC}/notifications"
mercadopago = {{ base_url = "http://{api}", calls_per_second = {calls_per_second} }}
[[account]]
id = "main"
collector_id = {COLLECTOR}
site = "MLA"
"#
        );
        let file = folder.path().join("surtidor.toml");
        std::fs::write(&file, text).expect("the folder is ours");
        let token = ("SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN".to_owned(), TOKEN.to_owned());
        let loaded = Config::load(Source::File(file), [token], Overrides::default());
        let (config, _) = loaded.expect("a good configuration");
        let app = App::start(config).expect("it starts");
        Station { folder, app }
    }

    /// What Mercado Pago speaks with.
    pub fn public(&self) -> Wire<TcpStream> {
        Wire::tcp(self.app.addresses().poll[0])
    }

    pub fn controller(&self) -> Wire<UnixStream> {
        Wire::unix(&self.app.addresses().control)
    }

    /// Registers a POS, and follows it.
    pub fn pump(&self, pos: &str) -> Pump {
        self.pump_as(pos, "unattended")
    }

    /// The same in another mode.
    pub fn pump_as(&self, pos: &str, mode: &str) -> Pump {
        let socket = &self.app.addresses().control;
        let mut controller = self.controller();
        register(&mut controller, pos, mode);
        Pump {
            pos: pos.to_owned(),
            controller,
            public: self.public(),
            feed: Feed::open(socket, pos),
        }
    }

    pub fn stop(self) {
        assert!(self.app.stop(), "an orderly end");
    }
}

/// One POS with its controller, the telephones of its customers, and what notifies of it.
pub struct Pump {
    pos: String,
    controller: Wire<UnixStream>,
    public: Wire<TcpStream>,
    feed: Feed,
}

impl Pump {
    /// Puts order `n`, and scans it. Where its notifications go.
    pub fn sell(&mut self, n: u64) -> String {
        let order = format!(r#"{{"external_reference":"T-{n}","amount":"{AMOUNT}","title":"SUPER"}}"#);
        let put = request("PUT", &format!("/v1/pos/{}/order", self.pos), &order);
        self.controller.ask(&put, 201);
        let shown = self.public.ask(&poll(&self.pos), 200);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let url = shown["notification_url"].as_str().expect("it has one");
        let target = url.strip_prefix(PUBLIC).expect("it is ours").to_owned();
        self.feed.until("order_shown", n);
        target
    }

    /// Puts order `n`, in place of one that may be there.
    pub fn put(&mut self, n: u64) {
        put(&mut self.controller, &self.pos, n);
    }

    /// The same, and waits until the controller is told that Mercado Pago has it. How long each took.
    pub fn send(&mut self, n: u64) -> (Duration, Duration) {
        let begun = Instant::now();
        self.put(n);
        let pushed = begun.elapsed();
        (pushed, self.until_sent(n) - begun)
    }

    /// When the controller was told that Mercado Pago has order `n`.
    pub fn until_sent(&mut self, n: u64) -> Instant {
        self.feed.until("order_sent", n)
    }

    /// Notifies of order `n`, and waits until the controller is told that it is paid. When each was.
    pub fn pay(&mut self, n: u64, target: &str) -> (Instant, Instant) {
        let id = MERCHANT_ORDERS + n;
        let body =
            format!(r#"{{"resource":"https://api.mercadolibre.com/merchant_orders/{id}","topic":"merchant_order"}}"#);
        let notification = request("POST", &format!("{target}&topic=merchant_order&id={id}"), &body);
        let begun = Instant::now();
        self.public.send(&notification);
        let told = self.feed.until("order_paid", n);
        self.public.answer(200);
        (begun, told)
    }
}

pub fn register(controller: &mut Wire<UnixStream>, pos: &str, mode: &str) {
    let body = format!(r#"{{"mode":"{mode}","keys":{{"locationId":"1","positionId":"{pos}"}}}}"#);
    controller.ask(&request("PUT", &format!("/v1/pos/{pos}"), &body), 201);
}

/// Puts order `n` on a POS, in place of one that may be there.
pub fn put(controller: &mut Wire<UnixStream>, pos: &str, n: u64) {
    controller.ask(&order_put(pos, n), 201);
}

pub fn order_put(pos: &str, n: u64) -> String {
    let order = format!(r#"{{"external_reference":"T-{n}","amount":"{AMOUNT}","title":"SUPER"}}"#);
    request("PUT", &format!("/v1/pos/{pos}/order?replace=true"), &order)
}

pub fn poll(pos: &str) -> String {
    format!("GET /pay-mp?locationId=1&positionId={pos} HTTP/1.1\r\nhost: pay.example.com\r\n\r\n")
}

pub fn request(method: &str, target: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nhost: pay.example.com\r\ncontent-length: {length}\r\n\r\n{body}")
}

/// A connection that stays open.
pub struct Wire<S>(BufReader<S>);

impl Wire<TcpStream> {
    pub fn tcp(address: SocketAddr) -> Wire<TcpStream> {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("it is open");
        Wire(BufReader::new(stream))
    }
}

impl Wire<UnixStream> {
    fn unix(socket: &PathBuf) -> Wire<UnixStream> {
        Wire(BufReader::new(UnixStream::connect(socket).expect("it listens")))
    }
}

impl<S: Read + Write> Wire<S> {
    pub fn ask(&mut self, request: &str, wanted: u16) -> String {
        self.send(request);
        self.answer(wanted)
    }

    pub fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
    }

    pub fn answer(&mut self, wanted: u16) -> String {
        let (status, body) = self.reply();
        assert_eq!(status, wanted, "{body}");
        body
    }

    pub fn reply(&mut self) -> (u16, String) {
        let (status, length) = self.head();
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the body is whole");
        (status, String::from_utf8(body).expect("text"))
    }

    /// The status, and the length of a body that is not chunked.
    fn head(&mut self) -> (u16, usize) {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut length = 0;
        loop {
            let line = self.line();
            if line == "\r\n" {
                return (status.expect("a status"), length);
            }
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.trim_end().parse().expect("a length");
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("text");
        assert!(read > 0, "the server closed the connection");
        line
    }
}

/// The events of one POS.
struct Feed(Wire<UnixStream>);

/// What went well was told long before.
const PATIENCE: Duration = Duration::from_secs(20);

impl Feed {
    fn open(socket: &PathBuf, pos: &str) -> Feed {
        let mut wire = Wire::unix(socket);
        let stream = wire.0.get_ref();
        stream.set_read_timeout(Some(PATIENCE)).expect("it is open");
        wire.send(&format!("GET /v1/events?pos={pos} HTTP/1.1\r\nhost: s\r\n\r\n"));
        assert_eq!(wire.head().0, 200);
        // Its first words come once the follower listens.
        while wire.line() != "retry: 1000\n" {}
        Feed(wire)
    }

    /// When the event was read. The lines between, which say how long chunks are, begin otherwise.
    fn until(&mut self, kind: &str, n: u64) -> Instant {
        let (kind, reference) = (
            format!(r#""type":"{kind}""#),
            format!(r#""external_reference":"T-{n}""#),
        );
        loop {
            let line = self.0.line();
            if line.starts_with("data: ") && line.contains(&kind) && line.contains(&reference) {
                return Instant::now();
            }
        }
    }
}
