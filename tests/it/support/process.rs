//! The built server as a process of its own, for tests that kill, signal, trace or starve it; and a blocking client.
//!
//! A wait here ends with what it waits for, or fails the test after [`WAIT`]. Nothing sleeps.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything that goes well takes, on a machine that has much else to do.
pub const WAIT: Duration = Duration::from_secs(30);

/// Whether the long forms are asked for as well.
pub fn long() -> bool {
    std::env::var("SURTIDOR_TESTS").is_ok_and(|tests| tests == "all")
}

/// Says that something is not tested here, where nobody can overlook it.
pub fn skip(what: &str) {
    say(&format!("SKIPPED, NOT TESTED: {what}"));
}

/// Past the test runner, which hides what a test prints that goes well.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The program under test: the one that was built with these tests, or, if named, one that was built otherwise.
pub fn binary() -> PathBuf {
    std::env::var_os("SURTIDOR_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_surtidor").into(), PathBuf::from)
}

/// An empty folder that other users may look into.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

/// The same where writing takes no time, for tests that look at their watch: a disk that others use may stall for seconds.
pub fn folder_in_memory() -> tempfile::TempDir {
    match Path::new("/dev/shm") {
        memory if memory.is_dir() => tempfile::TempDir::new_in(memory).expect("a temporary folder"),
        _ => folder(),
    }
}

/// A file system of its own on a folder, for as long as this lives.
pub struct Mount(PathBuf);

impl Mount {
    /// None, and said so, where nothing can be mounted.
    pub fn new(folder: &Path, arguments: &[&str]) -> Option<Mount> {
        let mount = Mount(folder.to_owned());
        if run("mount", arguments, folder) {
            return Some(mount);
        }
        std::mem::forget(mount);
        skip(&format!("`mount {}` does not work here", arguments.join(" ")));
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}

/// Whether the program did what it was asked.
pub fn run(program: &str, arguments: &[&str], last: &Path) -> bool {
    let done = Command::new(program)
        .args(arguments)
        .arg(last)
        .stderr(Stdio::null())
        .status();
    done.is_ok_and(|status| status.success())
}

/// A configuration that keeps all in one folder. The accounts come last, so that a test can say more of theirs.
pub fn config(folder: &Path) -> String {
    super::places(folder)
        + r#"
[[account]]
id = "main"
collector_id = 178106235
site = "MLA"
"#
}

/// How the server is started.
pub struct Launch {
    file: PathBuf,
    wrapper: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<u32>,
}

/// On this folder, configured by the `surtidor.toml` in it; one is made if there is none.
pub fn on(folder: &Path) -> Launch {
    let file = folder.join("surtidor.toml");
    if !file.exists() {
        std::fs::write(&file, config(folder)).expect("the folder is ours");
    }
    Launch {
        file,
        wrapper: Vec::new(),
        environment: Vec::new(),
        user: None,
    }
}

impl Launch {
    /// With strace around it, which then does to it what `inject` says. The server is still our own child.
    pub fn under_strace(mut self, report: &Path, inject: &[&str]) -> Launch {
        self.wrapper = ["strace", "-D", "-f", "-y", "-qq", "-o"].map(OsString::from).into();
        self.wrapper.push(report.into());
        self.wrapper.extend(inject.iter().map(OsString::from));
        self
    }

    /// Its log goes into this pipe, and its welcome still comes to us.
    pub fn with_log_to(mut self, pipe: &Path) -> Launch {
        // Opened for reading too, or opening would wait for a reader.
        let script = r#"exec "$@" 2<>"$0""#;
        self.wrapper = ["sh", "-c", script].map(OsString::from).into();
        self.wrapper.push(pipe.into());
        self
    }

    /// On the first processor that we may use, so that several servers have the same to bear from whatever else runs.
    pub fn on_one_processor(mut self) -> Launch {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let first = allowed.and_then(|list| list.trim().split([',', '-']).next());
        self.wrapper = ["taskset", "-c", first.expect("a processor")]
            .map(OsString::from)
            .into();
        self
    }

    /// As the last words of another program.
    pub fn within(mut self, program: &[&str]) -> Launch {
        self.wrapper = program.iter().map(OsString::from).collect();
        self
    }

    /// With more in its environment.
    pub fn with(mut self, environment: &[(&str, &OsStr)]) -> Launch {
        self.environment.extend(
            environment
                .iter()
                .map(|(name, value)| (OsString::from(name), value.to_os_string())),
        );
        self
    }

    pub fn by_user(mut self, user: u32) -> Launch {
        self.user = Some(user);
        self
    }

    /// Returns once it is running, or with how it ended.
    pub fn try_start(self) -> Result<Server, Ended> {
        let mut words = self.wrapper;
        words.push(binary().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .args(["serve", "--log-format", "text", "--config"])
            .arg(&self.file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // What is said to the tests is not said to the server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SURTIDOR_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment);
        if let Some(user) = self.user {
            command.uid(user);
        }
        let mut child = command.spawn().expect("the binary was built with this test");
        let (sender, lines) = sync_channel(100_000);
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        forward(stdout, sender.clone());
        forward(stderr, sender);
        let mut server = Server {
            child,
            lines,
            log: String::new(),
            polls: ([127, 0, 0, 1], 0).into(),
            secured: BTreeMap::new(),
            admin: ([127, 0, 0, 1], 0).into(),
            socket: PathBuf::new(),
            control_tcp: None,
        };
        // The welcome: three lines say where it listens.
        loop {
            let Some(line) = server.line() else {
                return Err(server.ended());
            };
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some(face @ ("polls" | "control")), Some(url)) if url.starts_with("https://") => {
                    server.secured.insert(face.to_owned(), address(url));
                }
                (Some("polls"), Some(url)) => server.polls = address(url),
                (Some("control"), Some(path)) if path.starts_with('/') => server.socket = path.into(),
                (Some("control"), Some(url)) => server.control_tcp = Some(address(url)),
                (Some("admin"), Some(url)) => {
                    server.admin = address(url);
                    return Ok(server);
                }
                _ => {}
            }
        }
    }

    pub fn start(self) -> Server {
        self.try_start()
            .unwrap_or_else(|ended| panic!("it did not start: {:?}\n{}", ended.code, ended.log))
    }

    /// Returns how it ended, which it must without ever running.
    pub fn refused(self) -> Ended {
        match self.try_start() {
            Err(ended) => ended,
            Ok(server) => panic!("it started:\n{}", server.log),
        }
    }
}

fn address(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let end = rest.find('/').unwrap_or(rest.len());
    rest[..end].parse().expect("an address")
}

fn forward(from: impl Read + Send + 'static, to: SyncSender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

/// A running server. It is killed when this is dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// What it has said so far.
    pub log: String,
    pub polls: SocketAddr,
    /// Where it speaks TLS: to "polls" and to "control".
    pub secured: BTreeMap<String, SocketAddr>,
    pub admin: SocketAddr,
    pub socket: PathBuf,
    pub control_tcp: Option<SocketAddr>,
}

/// How a server ended.
#[derive(Debug)]
pub struct Ended {
    /// None: by a signal.
    pub code: Option<i32>,
    pub log: String,
}

impl Server {
    /// The next line that it says; none once it has ended.
    fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(WAIT) {
            Ok(line) => {
                self.log.push_str(&line);
                self.log.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("silent for {WAIT:?}:\n{}", self.log),
        }
    }

    /// Waits until it logs this.
    pub fn says(&mut self, what: &str) -> String {
        loop {
            match self.line() {
                Some(line) if line.contains(what) => return line,
                Some(_) => {}
                None => panic!("it ended without saying {what:?}:\n{}", self.log),
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name} {pid}");
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("it is our child");
        self.ended()
    }

    /// SIGTERM, and waits until it is gone.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ends: then both of its outputs are closed.
    pub fn ended(mut self) -> Ended {
        while self.line().is_some() {}
        Ended {
            code: self.child.wait().expect("it is our child").code(),
            log: std::mem::take(&mut self.log),
        }
    }

    pub fn try_controller(&self) -> io::Result<Client> {
        Client::unix(&self.socket)
    }

    pub fn controller(&self) -> Client {
        self.try_controller().expect("it listens")
    }

    pub fn poller(&self) -> Client {
        Client::tcp(self.polls).expect("it listens")
    }

    /// What `/readyz` answers. An error: it does not even listen.
    pub fn ready(&self) -> io::Result<Reply> {
        Client::tcp(self.admin)?.get("/readyz")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// One connection.
pub struct Client {
    wire: BufReader<Box<dyn Wire>>,
    host: String,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's code; empty if it is none.
    pub fn code(&self) -> String {
        match serde_json::from_str::<Value>(&self.body) {
            Ok(problem) => problem["code"].as_str().unwrap_or_default().into(),
            Err(_) => String::new(),
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{} {}", self.head, self.body);
        self
    }
}

impl Client {
    pub fn over(stream: Box<dyn Wire>) -> Client {
        Client {
            wire: BufReader::new(stream),
            host: "s".into(),
        }
    }

    /// For servers that look at their name.
    pub fn named(mut self, host: &str) -> Client {
        self.host = host.into();
        self
    }

    pub fn unix(socket: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Client::over(Box::new(stream)))
    }

    pub fn tcp(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect_timeout(&address, WAIT)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Client::over(Box::new(stream)))
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.wire.get_mut().write_all(text.as_bytes())
    }

    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Reply> {
        let length = body.len();
        let host = &self.host;
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))?;
        self.reply()
    }

    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host))?;
        self.reply()
    }

    /// The whole of the next reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let head = self.head()?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| broken(&head))?;
        let length = match header(&head, "content-length") {
            Some(length) => length.parse().map_err(|_| broken(&head))?,
            None => 0,
        };
        let mut body = vec![0; length];
        self.wire.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(|_| broken("not UTF-8"))?;
        Ok(Reply { status, head, body })
    }

    pub fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.wire.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    /// Whether the other side closes, which it must, without another byte.
    pub fn is_closed(&mut self) -> bool {
        match self.wire.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Follows the feed on this connection. `path` may narrow it.
    pub fn follow(mut self, path: &str, last: impl std::fmt::Display) -> io::Result<Events> {
        let host = &self.host;
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nLast-Event-ID: {last}\r\n\r\n"
        ))?;
        let head = self.head()?;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(self.events())
    }

    /// What follows the head of a stream.
    pub fn events(self) -> Events {
        Events {
            client: self,
            text: String::new(),
            ended: false,
        }
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A stream of events, until the server ends it or is gone.
pub struct Events {
    client: Client,
    text: String,
    /// The server ended it as HTTP wants it; not by dying.
    pub ended: bool,
}

impl Events {
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut size = String::new();
        self.client.wire.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut chunk = vec![0; size + 2];
        self.client.wire.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok(chunk)
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let deadline = Instant::now() + WAIT;
        loop {
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                let data = frame.lines().find_map(|line| line.strip_prefix("data: "));
                let event = data.map(|data| serde_json::from_str(data).expect("an event is JSON"));
                self.text = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            assert!(Instant::now() < deadline, "no event for {WAIT:?}");
            let chunk = self.chunk().ok()?;
            if chunk.is_empty() {
                self.ended = true;
                return None;
            }
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("a chunk ends with an event"));
        }
    }
}

/// Every event that the log has, by the long poll that does not wait.
pub fn all_events(client: &mut Client) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = client
            .get(&format!("/v1/events?after={after}&wait=0"))
            .expect("it runs");
        let mut page = page.expect(200).json();
        let Value::Array(more) = page["events"].take() else {
            panic!("{page}")
        };
        if more.is_empty() {
            return events;
        }
        after = page["next"].as_u64().expect("a number");
        events.extend(more);
    }
}

/// Registers a point of sale whose keys are its name.
pub fn register(client: &mut Client, pos: &str) {
    let body = format!(r#"{{"keys":{{"locationId":"here","positionId":"{pos}"}}}}"#);
    let reply = client.ask("PUT", &format!("/v1/pos/{pos}"), &body).expect("it runs");
    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
}

pub fn push(client: &mut Client, pos: &str, reference: &str) -> io::Result<Reply> {
    let body = format!(
        r#"{{"external_reference":"{reference}","amount":"18525.50","title":"SUPER","expires_in_seconds":86400}}"#
    );
    client.ask("PUT", &format!("/v1/pos/{pos}/order"), &body)
}

pub fn poll(client: &mut Client, pos: &str) -> io::Result<Reply> {
    client.get(&format!("/pay-mp?locationId=here&positionId={pos}"))
}

/// What a poll is told: the order's reference, or why there is none.
pub fn told(reply: &Reply) -> String {
    let body = reply.json();
    let word = match reply.status {
        200 => &body["external_reference"],
        _ => &body["error"]["type"],
    };
    word.as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}

/// A member's text; empty if it has none.
pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// Entries are numbered without a gap, over all and within each point of sale; so are the events of each.
pub fn verify_numbers(events: &[Value]) {
    let mut revs: BTreeMap<&str, u64> = BTreeMap::new();
    let mut last = (0, 0);
    for event in events {
        let number = |member: &str| event[member].as_u64().expect("a number");
        let (entry, place) = (number("seq") / 16, number("seq") % 16);
        let rev = revs.entry(text(event, "pos")).or_default();
        if (entry, place) == (last.0, last.1 + 1) {
            assert_eq!(number("rev"), *rev, "{event}");
        } else {
            assert_eq!((entry, place), (last.0 + 1, 0), "{event} after {last:?}");
            *rev += 1;
            assert_eq!(number("rev"), *rev, "{event}");
        }
        last = (entry, place);
    }
}
