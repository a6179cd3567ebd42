//! Over real sockets, byte for byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::domain::account::Dialect;
use crate::domain::id::{AccountId, PosId};
use crate::domain::pos::{Mode, PollKey, Pos, Registration, Waiting, Word};
use crate::net::listen;
use crate::net::stop::{self, Stop};
use crate::table::{Names, Outcome, Reply, Slot, UrlSecrets, doorbell};

/// Two poll threads and one POS, 6232/1, that is filling.
struct Station {
    address: SocketAddr,
    running: Running,
    stop: Stop,
}

const POLL: &str = "/pay-mp?locationId=6232&positionId=1";
const FILLING: &str = r#"{"error":{"type":"in_process"}}"#;

impl Station {
    fn start() -> Station {
        let (doorbell, _) = doorbell();
        let names = Names::new(&["locationId", "positionId"]).expect("good names");
        let table = Arc::new(Table::new(names, UrlSecrets::default(), doorbell));
        table.insert(filling());
        let listeners = listen::tcp_shared(([127, 0, 0, 1], 0).into(), 2).expect("loopback");
        let address = listeners[0].local_addr().expect("bound");
        let listeners = listeners.into_iter().map(Listener::Plain).collect();
        let (stop, stopping) = stop::channel();
        let settings = Settings {
            path: "/pay-mp".into(),
            table,
            seats: Seats::new(100),
            proxies: Arc::default(),
            proxy_protocol: false,
            elsewhere: Arc::new(elsewhere),
        };
        let running = start(listeners, settings, &stopping).expect("threads");
        Station { address, running, stop }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
        stream
    }

    /// What comes back for these bytes until the server closes; our own end says that no more comes.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("it is open");
        read_to_close(&mut stream)
    }

    fn ask(&self, head: &str) -> String {
        self.exchange(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    }
}

/// One other path is served, a moment later.
fn elsewhere(path: &str) -> Option<Other> {
    let answer = |request: Request<Incoming>| -> Later {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Response::new(Whole::new(request.method().to_string().into()))
        })
    };
    (path == "/elsewhere").then(|| Box::new(answer) as Other)
}

fn filling() -> Slot {
    let keys = PollKey::new(&["6232", "1"]).expect("good values");
    let registration = Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: Some(keys.clone()),
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    };
    let mut pos = Pos::new(PosId::parse("PUMP-1").expect("a name"), registration);
    pos.word = Word::plain(Waiting::InProcess);
    let reply = Reply::of(&pos, Dialect::Documented, Instant::now(), None);
    Slot::new(keys, pos.id, &[], reply)
}

fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the reply is an end too: what the server did not read, it need not acknowledge.
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    String::from_utf8(bytes).expect("replies are text")
}

/// One reply whose body is `body`.
fn read_reply(stream: &mut TcpStream, body: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(&format!("\r\n\r\n{body}")) {
        stream.read_exact(&mut byte).expect("a whole reply");
        text.push(byte[0].into());
    }
    text
}

/// Without the date, sorted.
fn headers(reply: &str) -> Vec<&str> {
    let head = reply.split("\r\n\r\n").next().unwrap_or_default();
    let mut headers: Vec<_> = head
        .split("\r\n")
        .skip(1)
        .filter(|line| !line.starts_with("date: "))
        .collect();
    assert_eq!(head.matches("\r\ndate: ").count(), 1, "{reply}");
    headers.sort_unstable();
    headers
}

#[test]
fn a_poll_and_its_reply() {
    let station = Station::start();
    let mut stream = station.connect();
    for _ in 0..3 {
        // What the request says never shows up in the reply, though they share a header map.
        write!(
            stream,
            "GET {POLL} HTTP/1.1\r\nHost: x\r\nX-Foreign: 1\r\nAllow: 1\r\nAccept: */*\r\n\r\n"
        )
        .expect("open");
        let reply = read_reply(&mut stream, FILLING);
        assert!(reply.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{reply}");
        let expected = [
            "cache-control: no-store",
            "content-length: 31",
            "content-type: application/json",
        ];
        assert_eq!(headers(&reply), expected);
    }
    assert_eq!(station.running.counts().total(Outcome::InProcess), 3);
}

#[test]
fn head_is_get_without_the_body() {
    let reply = Station::start().ask(&format!("HEAD {POLL} HTTP/1.1"));
    assert!(
        reply.starts_with("HTTP/1.1 400") && reply.ends_with("\r\n\r\n"),
        "{reply}"
    );
    assert!(headers(&reply).contains(&"content-length: 31"), "{reply}");
}

#[test]
fn another_path_may_be_served_by_others() {
    let station = Station::start();
    let reply = station.ask("PUT /elsewhere HTTP/1.1");
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("\r\n\r\nPUT"),
        "{reply}"
    );
    let total: u64 = Outcome::ALL
        .map(|outcome| station.running.counts().total(outcome))
        .iter()
        .sum();
    assert_eq!(total, 0, "that was no poll");
    let reply = station.ask("PUT /elsewhere/x HTTP/1.1");
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
    assert_eq!(station.running.counts().total(Outcome::NotFound), 1);
}

#[test]
fn each_refusal_in_its_order() {
    let station = Station::start();
    for (head, status, outcome) in [
        ("GET /other HTTP/1.1", "404", Outcome::NotFound),
        (
            "GET /pay-mp/?locationId=6232&positionId=1 HTTP/1.1",
            "404",
            Outcome::NotFound,
        ),
        ("POST /other HTTP/1.1", "404", Outcome::NotFound),
        ("OPTIONS * HTTP/1.1", "404", Outcome::NotFound),
        ("CONNECT x:1 HTTP/1.1", "404", Outcome::NotFound),
        ("POST /pay-mp HTTP/1.1", "405", Outcome::MethodNotAllowed),
        (
            "POST /pay-mp HTTP/1.1\r\nContent-Length: 1",
            "405",
            Outcome::MethodNotAllowed,
        ),
        ("BREW /pay-mp HTTP/1.1", "405", Outcome::MethodNotAllowed),
        (
            "GET /pay-mp?locationId=6232&positionId=1 HTTP/1.1\r\nContent-Length: 1",
            "400",
            Outcome::Body,
        ),
        (
            "GET /pay-mp HTTP/1.1\r\nTransfer-Encoding: chunked",
            "400",
            Outcome::Body,
        ),
        (
            "HEAD /pay-mp HTTP/1.1\r\nTransfer-Encoding: chunked",
            "400",
            Outcome::Body,
        ),
        (
            "GET /pay-mp?locationId=6232&positionId=1 HTTP/1.1\r\nContent-Length: 0",
            "400",
            Outcome::InProcess,
        ),
        ("GET /pay-mp HTTP/1.1", "400", Outcome::Invalid),
        (
            "GET /pay-mp?locationId=6232&positionId=2 HTTP/1.1",
            "400",
            Outcome::Invalid,
        ),
        (
            "GET http://x/pay-mp?locationId=6232&positionId=1 HTTP/1.1",
            "400",
            Outcome::InProcess,
        ),
    ] {
        let before = station.running.counts().total(outcome);
        let reply = station.ask(head);
        assert_eq!(reply.get(9..12), Some(status), "{head}: {reply}");
        assert_eq!(station.running.counts().total(outcome), before + 1, "{head}: {reply}");
        let headers = headers(&reply);
        assert!(headers.contains(&"content-type: application/json"), "{head}: {reply}");
        assert!(headers.contains(&"cache-control: no-store"), "{head}: {reply}");
        assert_eq!(
            headers.contains(&"allow: GET, HEAD"),
            status == "405",
            "{head}: {reply}"
        );
    }
}

#[test]
fn a_poll_with_a_body_is_closed() {
    let station = Station::start();
    // No end of ours and no `Connection: close`: the server closes by itself.
    let smuggled = format!("GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = format!(
        "GET {POLL} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    );
    let reply = station.exchange(format!("{head}{smuggled}").as_bytes());
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{reply}");
    assert!(
        reply.starts_with("HTTP/1.1 400") && reply.contains("connection: close"),
        "{reply}"
    );
}

#[test]
fn connections_are_kept_or_closed_as_asked() {
    let station = Station::start();
    let mut kept = station.connect();
    write!(kept, "GET {POLL} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").expect("open");
    assert!(read_reply(&mut kept, FILLING).contains("connection: keep-alive"));
    write!(kept, "GET {POLL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("open");
    let last = read_to_close(&mut kept);
    assert!(last.contains("connection: close") && last.ends_with(FILLING), "{last}");
    let old = station.exchange(format!("GET {POLL} HTTP/1.0\r\n\r\n").as_bytes());
    assert!(old.ends_with(FILLING), "{old}");
}

#[test]
fn pipelined_polls_are_answered_in_order() {
    let station = Station::start();
    let unknown = "GET /pay-mp?locationId=6232&positionId=2 HTTP/1.1\r\nHost: x\r\n\r\n";
    let known = format!("GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut stream = station.connect();
    stream
        .write_all(format!("{known}{unknown}").repeat(50).as_bytes())
        .expect("open");
    for _ in 0..50 {
        read_reply(&mut stream, FILLING);
        read_reply(&mut stream, r#"{"error":{"type":"invalid"}}"#);
    }
}

/// Closed by us, with a 4xx if there is anything to say, and nobody else is hurt.
#[test]
fn what_is_no_http_is_closed() {
    let station = Station::start();
    let mut other = station.connect();
    let many = "X: 1\r\n".repeat(limits::HEADERS + 1);
    let large = format!("X: {}\r\n", "x".repeat(limits::HEAD_BYTES));
    let long = "x".repeat(limits::HEAD_BYTES);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), "400"),
        (b"nonsense\r\n\r\n".to_vec(), "400"),
        (b"GET\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/9.9\r\n\r\n".to_vec(), "400"),
        (b"GET /pay mp HTTP/1.1\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nHost\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nHost : x\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nX: a\0b\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nX: a\r\n folded\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_vec(), "400"),
        (b"GET /pay-mp HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(), "400"),
        (
            b"GET /pay-mp HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            "400",
        ),
        (
            b"GET /pay-mp HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n".to_vec(),
            "400",
        ),
        (
            b"GET /pay-mp HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n".to_vec(),
            "400",
        ),
        (
            b"GET /pay-mp HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n".to_vec(),
            "400",
        ),
        (format!("GET /pay-mp HTTP/1.1\r\n{many}\r\n").into(), "431"),
        (format!("GET /pay-mp HTTP/1.1\r\n{large}\r\n").into(), "431"),
        (format!("GET /pay-mp?{long} HTTP/1.1\r\n\r\n").into(), "4"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), ""),
    ];
    for (bytes, status) in cases {
        let reply = station.exchange(&bytes);
        let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(70)]).into_owned();
        assert_eq!(
            reply.get(9..9 + status.len()).unwrap_or_default(),
            status,
            "{sent:?}: {reply}"
        );
        assert!(reply.matches("HTTP/1.1 ").count() <= 1, "{sent:?}: {reply}");
        write!(other, "GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
        read_reply(&mut other, FILLING);
    }
}

#[test]
fn a_client_that_goes_away_is_forgotten() {
    let station = Station::start();
    for bytes in [&b""[..], b"GET /pay", b"GET /pay-mp HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = station.connect();
        stream.write_all(bytes).expect("open");
        stream.shutdown(Shutdown::Write).expect("open");
        assert_eq!(read_to_close(&mut stream), "");
    }
}

#[test]
fn a_stop_ends_all_threads() {
    let station = Station::start();
    let mut stream = station.connect();
    write!(stream, "GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    read_reply(&mut stream, FILLING);
    let whole = station.running.watch();
    assert!(whole());
    station.stop.stop();
    assert_eq!(read_to_close(&mut stream), "");
    assert!(station.running.join());
    assert!(!whole());
    assert!(TcpStream::connect(station.address).is_err());
}
