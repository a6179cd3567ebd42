//! Sockets handed over by `systemd-socket-activate`, and a server that is restarted on them under load.
//!
//! That program starts another on the first connection, and does no more. So it starts a shell here, which does with the
//! server what systemd does: start it on the sockets, and once it has ended start it again.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::*;
use crate::support::process::{all_events, long, say, text, verify_numbers};

/// The shell's program: `$0` is the file of the server's process number, the rest is the server.
const SUPERVISOR: &str = r#"
while [ ! -e "$0.end" ]; do
    sh -c 'echo $$ >"$0.new"; mv "$0.new" "$0"; export LISTEN_PID=$$; exec "$@"' "$0" "$@" || exit
done"#;

struct Activated {
    supervisor: Child,
    pid: PathBuf,
    polls: SocketAddr,
    control: PathBuf,
}

impl Activated {
    /// None, and said so, where there is no such program.
    fn new(folder: &Path, manager: &Manager, names: &str, options: &[&str]) -> Option<Activated> {
        let config_file = folder.join("surtidor.toml");
        if !config_file.exists() {
            fs::write(&config_file, config(folder)).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (pid, control) = (folder.join("pid"), folder.join("control.sock"));
        let mut notify = std::ffi::OsString::from("NOTIFY_SOCKET=");
        notify.push(&manager.path);
        let mut activate = Command::new("systemd-socket-activate");
        activate.args(options).arg("-l").arg(free.to_string());
        if names.contains("control") {
            activate.arg("-l").arg(&control);
        }
        let supervisor = activate
            .arg(format!("--fdname={names}"))
            .arg("-E")
            .arg(notify)
            .args(["sh", "-c", SUPERVISOR])
            .arg(&pid)
            .arg(env!("CARGO_BIN_EXE_surtidor"))
            .args(["serve", "--log-format", "text", "--config"])
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let Ok(mut supervisor) = supervisor else {
            skip("sockets that are handed over: systemd-socket-activate is missing");
            return None;
        };
        let mut said = BufReader::new(supervisor.stderr.take().unwrap()).lines();
        for _ in 0..names.split(':').count() {
            let line = said.next().expect("it listens").unwrap();
            assert!(line.contains("Listening on"), "{line}");
        }
        let log = folder.join("log");
        thread::spawn(move || {
            let lines: Vec<String> = said.map_while(Result::ok).collect();
            let _ = fs::write(log, lines.join("\n"));
        });
        Some(Activated {
            supervisor,
            pid,
            polls: free,
            control,
        })
    }

    fn signal(&self, name: &str) {
        let pid = fs::read_to_string(&self.pid).unwrap();
        let done = Command::new("kill").args([&format!("-{name}"), pid.trim()]).status();
        assert!(done.is_ok_and(|status| status.success()));
    }

    /// Ends it for good, and returns how its last server ended.
    fn end(mut self) -> Option<i32> {
        fs::write(self.pid.with_extension("end"), "").unwrap();
        self.signal("TERM");
        self.supervisor.wait().unwrap().code()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // With all that it started; a group that is gone is gone.
        let group = format!("-{}", self.supervisor.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.supervisor.wait();
    }
}

#[test]
fn sockets_are_served_by_their_names_and_outlive_the_server() {
    let folder = folder();
    let manager = Manager::new(folder.path());
    let Some(server) = Activated::new(folder.path(), &manager, "poll:control", &[]) else {
        return;
    };
    let mut client = Client::unix(&server.control).expect("the socket is there before the server");
    register(&mut client, "PUMP1");
    assert_eq!(
        told(&poll(&mut Client::tcp(server.polls).unwrap(), "PUMP1").unwrap()),
        "unavailable"
    );
    manager.hears("READY=1");
    let control = server.control.clone();
    assert_eq!(server.end(), Some(0));
    assert!(control.exists(), "the file is not ours to remove");
    let said = fs::read_to_string(folder.path().join("stdout")).unwrap();
    assert!(said.contains("handed over, and open after us: poll, control"), "{said}");
}

#[test]
fn a_datagram_socket_is_no_face() {
    let folder = folder();
    let manager = Manager::new(folder.path());
    let Some(mut server) = Activated::new(folder.path(), &manager, "poll", &["--datagram"]) else {
        return;
    };
    std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .send_to(b"x", server.polls)
        .unwrap();
    assert_eq!(server.supervisor.wait().unwrap().code(), Some(78));
}

/// A client that may find its connection closed, as any client that keeps one may. Never may it be refused a new one.
struct Stubborn<F: Fn() -> io::Result<Client>> {
    connect: F,
    kept: Option<Client>,
}

impl<F: Fn() -> io::Result<Client>> Stubborn<F> {
    fn new(connect: F) -> Stubborn<F> {
        Stubborn { connect, kept: None }
    }

    fn fresh(&self) -> Client {
        (self.connect)().expect("a connection is never refused")
    }

    fn ask<T>(&mut self, ask: impl Fn(&mut Client) -> io::Result<T>) -> T {
        if let Some(answer) = self.kept.as_mut().and_then(|client| ask(client).ok()) {
            return answer;
        }
        let mut client = self.fresh();
        let answer = ask(&mut client).expect("what a new connection asks is answered");
        self.kept = Some(client);
        answer
    }
}

/// Follows all events until the one that says it is the last, over all restarts.
fn follow(control: &Path) -> Vec<Value> {
    let mut heard: Vec<Value> = Vec::new();
    loop {
        let client = Client::unix(control).expect("a connection is never refused");
        let last = heard.last().map_or(0, |event| event["seq"].as_u64().unwrap());
        let events = client
            .follow("/v1/events", last)
            .expect("what a new connection asks is answered");
        for event in events.filter(|event| event["seq"].is_u64()) {
            let is_last = text(&event, "pos") == "LAST";
            heard.push(event);
            if is_last {
                return heard;
            }
        }
    }
}

/// Pushes orders for as long as it may, one after the other, tells of each that was acknowledged, and returns them.
fn push_all(control: &Path, pos: &str, go_on: &AtomicBool, acknowledged: &SyncSender<()>) -> Vec<String> {
    let mut client = Stubborn::new(|| Client::unix(control));
    let mut pushed = Vec::new();
    while go_on.load(Relaxed) {
        let reference = format!("{pos}-{}", pushed.len());
        let body = format!(r#"{{"external_reference":"{reference}","amount":"1.00","title":"S"}}"#);
        let reply = client.ask(|client| client.ask("PUT", &format!("/v1/pos/{pos}/order?replace=true"), &body));
        // 200: the connection broke off after it was made, and it was asked again.
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        pushed.push(reference);
        let _ = acknowledged.try_send(());
    }
    pushed
}

/// Polls for as long as it may, on a new connection each time or on one that it keeps; returns the longest wait.
fn poll_all(polls: SocketAddr, keeps: bool, go_on: &AtomicBool) -> Duration {
    let mut client = Stubborn::new(|| Client::tcp(polls));
    let mut longest = Duration::ZERO;
    while go_on.load(Relaxed) {
        let begun = Instant::now();
        if !keeps {
            client.kept = None;
        }
        let reply = client.ask(|client| poll(client, "PUMP1"));
        assert!(reply.status == 200 || told(&reply) == "unavailable", "{reply:?}");
        longest = longest.max(begun.elapsed());
        // Each closed connection keeps a port for a minute.
        thread::park_timeout(Duration::from_millis(2));
    }
    longest
}

/// Between two restarts.
const PUSHES: usize = 50;

#[test]
fn a_restart_under_load_refuses_no_connection_and_loses_no_event() {
    let restarts = if long() { 100 } else { 4 };
    let folder = folder();
    let manager = Manager::new(folder.path());
    let Some(server) = Activated::new(folder.path(), &manager, "poll:control", &[]) else {
        return;
    };
    let mut client = Client::unix(&server.control).unwrap();
    for pos in ["PUMP1", "PUMP2"] {
        register(&mut client, pos);
    }
    manager.hears("READY=1");

    let go_on = AtomicBool::new(true);
    let (acknowledged, pushes) = sync_channel(PUSHES);
    let (pushed, heard, longest) = thread::scope(|scope| {
        let (control, polls, go_on) = (server.control.as_path(), server.polls, &go_on);
        let follower = scope.spawn(|| follow(control));
        let pushers = ["PUMP1", "PUMP2"].map(|pos| {
            let acknowledged = acknowledged.clone();
            scope.spawn(move || push_all(control, pos, go_on, &acknowledged))
        });
        let pollers = [true, false].map(|keeps| scope.spawn(move || poll_all(polls, keeps, go_on)));
        for _ in 0..restarts {
            for _ in 0..PUSHES {
                pushes.recv_timeout(WAIT).expect("pushes are acknowledged");
            }
            server.signal("TERM");
            manager.hears("STOPPING=1");
            manager.hears("READY=1");
        }
        go_on.store(false, Relaxed);
        let pushed = pushers.map(|pusher| pusher.join().unwrap());
        let longest = pollers.map(|poller| poller.join().unwrap()).into_iter().max().unwrap();
        register(&mut Client::unix(control).unwrap(), "LAST");
        (pushed.concat(), follower.join().unwrap(), longest)
    });

    let all = all_events(&mut Client::unix(&server.control).unwrap());
    assert_eq!(heard, all, "each event once, in order");
    verify_numbers(&all);
    let made = all.iter().filter(|event| event["type"] == "order_ready");
    let made: Vec<&str> = made.map(|event| text(event, "external_reference")).collect();
    assert_eq!(
        made.len(),
        made.iter().collect::<BTreeSet<_>>().len(),
        "each order once"
    );
    let lost: Vec<_> = pushed
        .iter()
        .filter(|reference| !made.contains(&reference.as_str()))
        .collect();
    assert!(lost.is_empty(), "acknowledged, and lost: {lost:?}");
    say(&format!(
        "{restarts} restarts, {} pushes; the longest poll took {longest:?}",
        pushed.len()
    ));
    assert_eq!(server.end(), Some(0));
}
