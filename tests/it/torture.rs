//! Requests as nobody should send them. Each is answered as `tests/wire/torture.txt` lists it, and nobody else notices.

mod case;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::support::process::{Client, Server, WAIT, config, folder_in_memory, on, poll, register, told};
use crate::support::proxy::{self, Proxy};
use crate::support::tls::{self, Authority};
use case::{Case, Face, Sent};

/// An answer that took longer was held up by somebody else's nonsense; a machine with much to do needs far less.
const IN_TIME: Duration = Duration::from_secs(3);

/// What stands behind it is asked alone.
const NOTHING: Sent = Sent {
    bytes: Vec::new(),
    ends: false,
};

/// The poll URL's connections are all on one thread, so that whoever holds it up is noticed.
fn server() -> (TempDir, Server) {
    served_with("")
}

fn served_with(more: &str) -> (TempDir, Server) {
    let folder = folder_in_memory();
    let text = config(folder.path()).replace("threads = 2", "threads = 1") + more;
    fs::write(folder.path().join("surtidor.toml"), text).expect("the folder is ours");
    let server = on(folder.path()).start();
    let mut client = server.controller();
    // The states tell apart who was answered.
    for (pos, state) in [
        ("PUMP1", "unavailable"),
        ("HONEST", "in_process"),
        ("NEIGHBOUR", "timeout"),
    ] {
        register(&mut client, pos);
        let word = format!(r#"{{"state":"{state}"}}"#);
        let said = client.ask("PUT", &format!("/v1/pos/{pos}/state"), &word);
        said.expect("it runs").expect(204);
    }
    (folder, server)
}

/// What stands behind each case, and how it is answered.
fn honest(face: Face) -> (&'static str, &'static str) {
    match face {
        Face::Control => ("/v1/pos/HONEST", "200:HONEST"),
        Face::Poll | Face::Notify => ("/pay-mp?locationId=here&positionId=HONEST", "400:in_process"),
    }
}

#[test]
fn each_is_answered_as_listed_and_nobody_notices() {
    let (_folder, server) = server();
    let neighbour = Neighbour::of(server.poller());
    let mut wrong = Vec::new();
    for (column, face) in [Face::Poll, Face::Notify, Face::Control].into_iter().enumerate() {
        let connect = || match face {
            Face::Control => Line::unix(&server.socket),
            Face::Poll | Face::Notify => Line::Tcp(TcpStream::connect(server.polls).expect("it listens")),
        };
        for case in case::all() {
            let told = connect().tell(&case.sent(face), face);
            note(&mut wrong, &case, column, &told);
            let alone = Sent {
                bytes: Vec::new(),
                ends: false,
            };
            assert_eq!(connect().tell(&alone, face), "open", "after {:?}", case.name);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    neighbour.has_noticed_nothing();
    is_well(server);
}

#[test]
fn each_is_answered_alike_by_tls() {
    let (authority, files) = (Authority::new(), folder_in_memory());
    let files = authority.certify(files.path(), 2090);
    let (_folder, server) = served_with(&format!("[poll.tls]\nlisten = \"127.0.0.1:0\"\n{files}"));
    let (address, trusted) = (server.secured["polls"], authority.trusted(&[&TLS13, &TLS12]));
    let connect = || Line::Tls(Box::new(tls::connect(address, &trusted).expect("it listens")));
    let neighbour = Neighbour::of(tls::client(address, &trusted).expect("it listens"));
    let mut wrong = Vec::new();
    for (column, face) in [Face::Poll, Face::Notify].into_iter().enumerate() {
        for case in case::all() {
            let told = connect().tell(&case.sent(face), face);
            note(&mut wrong, &case, column, &told);
            assert_eq!(connect().tell(&NOTHING, face), "open", "after {:?}", case.name);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    neighbour.has_noticed_nothing();
    is_well(server);
}

#[test]
fn none_is_smuggled_through_nginx() {
    let (folder, server) = server();
    if let Some(proxy) = proxy::nginx(folder.path(), server.polls) {
        none_is_smuggled(&server, &proxy, 3);
        drop(proxy);
        is_well(server);
    }
}

#[test]
fn none_is_smuggled_through_haproxy() {
    let (folder, server) = server();
    if let Some(proxy) = proxy::haproxy(folder.path(), server.polls) {
        none_is_smuggled(&server, &proxy, 4);
        drop(proxy);
        is_well(server);
    }
}

/// The proxy may answer by itself. But only what is listed reaches the server, and the next one gets its own answer.
fn none_is_smuggled(server: &Server, proxy: &Proxy, column: usize) {
    let neighbour = Neighbour::of(Client::unix(&proxy.socket).expect("it listens"));
    let mut wrong = Vec::new();
    let (uncounted, counted): (Vec<Case>, Vec<Case>) =
        case::all().into_iter().partition(|case| case.listed(column) == "-");
    for case in counted {
        let seen = [Face::Poll, Face::Notify].map(|face| {
            let before = Seen::by(server);
            go_through(proxy, &case, face);
            Seen::by(server).since(before).told()
        });
        note(&mut wrong, &case, column, &seen.join(" "));
    }
    for case in uncounted {
        go_through(proxy, &case, Face::Poll);
        go_through(proxy, &case, Face::Notify);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    neighbour.has_noticed_nothing();
}

fn go_through(proxy: &Proxy, case: &Case, face: Face) {
    let (_, answer) = honest(face);
    let told = Line::unix(&proxy.socket).tell(&case.sent(face), face);
    assert!(!told.contains(answer), "{:?}: an answer went astray: {told}", case.name);
    let next = Line::unix(&proxy.socket).tell(&NOTHING, face);
    assert_eq!(next, "open", "after {:?}", case.name);
}

fn note(wrong: &mut Vec<String>, case: &Case, column: usize, found: &str) {
    let listed = case.listed(column);
    if found != listed {
        wrong.push(format!("{}\t{column}\t{found}\t(listed: {listed})", case.name));
    }
}

/// Between any two bytes there may be a pause, in which others are served.
#[test]
fn a_request_may_come_in_any_two_parts() {
    let (_folder, server) = server();
    for face in [Face::Poll, Face::Notify, Face::Control] {
        for name in ["plain", "with a body", "a body in one chunk"] {
            // A poll has no body, and is refused before it has come.
            if face == Face::Poll && name != "plain" {
                continue;
            }
            let all = case::all();
            let case = all.iter().find(|case| case.name == name).expect("it is listed");
            let bytes = case.sent(face).bytes;
            let (mut line, mut other) = match face {
                Face::Control => (Line::unix(&server.socket), Line::unix(&server.socket)),
                Face::Poll | Face::Notify => {
                    let connect = || Line::Tcp(TcpStream::connect(server.polls).expect("it listens"));
                    (connect(), connect())
                }
            };
            let listed = case.listed(face as usize).strip_suffix(" open");
            let expected = listed.expect("it is honest");
            for at in 1..bytes.len() {
                line.send(&bytes[..at]);
                // Who came later is answered, so what came before was read.
                other.ask_honestly(face);
                line.send(&bytes[at..]);
                assert_eq!(
                    case::told(&line.reply(), ""),
                    format!("{expected} closed"),
                    "{name} at {at}"
                );
            }
        }
    }
    is_well(server);
}

/// A connection, over whatever it goes.
enum Line {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<tls::Stream>),
}

impl Line {
    fn unix(socket: &Path) -> Line {
        Line::Unix(UnixStream::connect(socket).expect("it listens"))
    }

    /// Says it and, unless it was the last word, an honest request behind it. Returns all that comes back, in the words of
    /// the list.
    fn tell(mut self, sent: &Sent, face: Face) -> String {
        let (target, answer) = honest(face);
        let mut bytes = sent.bytes.clone();
        if !sent.ends {
            bytes.extend(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").bytes());
        }
        self.send(&bytes);
        if sent.ends {
            let _ = match &mut self {
                Line::Tcp(stream) => stream.shutdown(Shutdown::Write),
                Line::Unix(stream) => stream.shutdown(Shutdown::Write),
                Line::Tls(stream) => {
                    stream.conn.send_close_notify();
                    stream.flush()
                }
            };
        }
        let mut received = Vec::new();
        match self.read_to_end(&mut received) {
            // What had come before a reset was received all the same.
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => format!("{error}"),
            _ => case::told(&received, answer),
        }
    }

    /// Who has refused already may have closed its end: then the answer says so, not this.
    fn send(&mut self, bytes: &[u8]) {
        let _ = match self {
            Line::Tcp(stream) => {
                let _ = (stream.set_read_timeout(Some(WAIT)), stream.set_nodelay(true));
                stream.write_all(bytes)
            }
            Line::Unix(stream) => {
                let _ = stream.set_read_timeout(Some(WAIT));
                stream.write_all(bytes)
            }
            Line::Tls(stream) => stream.write_all(bytes),
        };
    }

    fn ask_honestly(&mut self, face: Face) {
        let (target, answer) = honest(face);
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(case::told(&self.reply(), answer), "open");
    }

    /// One answer, in one piece as all small ones are sent.
    fn reply(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 16 * 1024];
        let length = self.read(&mut bytes).expect("it is answered");
        bytes.truncate(length);
        bytes
    }
}

impl Read for Line {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Line::Tcp(stream) => stream.read(bytes),
            Line::Unix(stream) => stream.read(bytes),
            Line::Tls(stream) => stream.read(bytes),
        }
    }
}

/// Polls on one connection for as long as it takes.
struct Neighbour {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Neighbour {
    fn of(mut client: Client) -> Neighbour {
        let enough = Arc::new(AtomicBool::new(false));
        let until = enough.clone();
        let thread = spawn(move || {
            while !until.load(Relaxed) {
                let begun = Instant::now();
                let reply = poll(&mut client, "NEIGHBOUR").expect("its connection is kept");
                assert_eq!(told(&reply.expect(400)), "timeout");
                assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
            }
        });
        Neighbour { enough, thread }
    }

    fn has_noticed_nothing(self) {
        self.enough.store(true, Relaxed);
        self.thread.join().expect("it noticed nothing");
    }
}

/// Requests that the server has read, but for the honest ones and the neighbour's.
#[derive(Clone, Copy)]
struct Seen {
    polls: u64,
    notifications: u64,
    stray: u64,
}

impl Seen {
    fn by(server: &Server) -> Seen {
        let metrics = Metrics::of(server);
        let stray = metrics.sum("surtidor_polls_total{outcome=\"not_found\"");
        let known: u64 = ["in_process", "timeout"]
            .iter()
            .map(|outcome| metrics.sum(&format!("surtidor_polls_total{{outcome=\"{outcome}\"")))
            .sum();
        Seen {
            polls: metrics.sum("surtidor_polls_total") - known - stray,
            notifications: metrics.sum("surtidor_notifications_total")
                + metrics.sum("surtidor_notifications_not_stored_total"),
            stray,
        }
    }

    fn since(self, before: Seen) -> Seen {
        Seen {
            polls: self.polls - before.polls,
            notifications: self.notifications - before.notifications,
            stray: self.stray - before.stray,
        }
    }

    fn told(self) -> String {
        match (self.polls + self.notifications, self.stray) {
            (count, 0) => count.to_string(),
            (count, stray) => format!("{count}+{stray}"),
        }
    }
}

struct Metrics(String);

impl Metrics {
    fn of(server: &Server) -> Metrics {
        let mut client = Client::tcp(server.admin).expect("it listens");
        Metrics(client.get("/metrics").expect("it runs").expect(200).body)
    }

    /// Of all lines that begin so.
    fn sum(&self, begin: &str) -> u64 {
        let lines = self.0.lines().filter(|line| line.starts_with(begin));
        lines
            .map(|line| {
                line.rsplit_once(' ')
                    .expect("a value")
                    .1
                    .parse::<u64>()
                    .expect("a count")
            })
            .sum()
    }
}

/// Nothing is left of it all: no connection, and no word of a panic.
fn is_well(server: Server) {
    let begun = Instant::now();
    while Metrics::of(&server).sum("surtidor_connections{face=\"poll\"") > 0
        || Metrics::of(&server).sum("surtidor_connections{face=\"control\"") > 0
    {
        assert!(begun.elapsed() < WAIT, "connections stay open");
    }
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}
