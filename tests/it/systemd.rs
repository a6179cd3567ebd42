//! Under a service manager: what it is told, the sockets that it hands over, and a restart that nobody notices.

mod restart;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use crate::support::process::{Client, Ended, Server, WAIT, config, folder, on, poll, register, skip, told};

/// The service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Manager {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        Manager { socket, path }
    }

    /// The next message, if one comes in time.
    fn within(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a message that has this line, and returns it whole.
    fn hears(&self, what: &str) -> String {
        loop {
            let message = self
                .within(WAIT)
                .unwrap_or_else(|| panic!("{what} was not said in {WAIT:?}"));
            if message.lines().any(|line| line == what) {
                return message;
            }
        }
    }

    /// Whether nothing is said for this long, but for what was said before and one message that was on its way.
    fn is_silent_for(&self, time: Duration) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
        self.within(time).is_none() || self.within(time).is_none()
    }
}

#[test]
fn ready_is_said_once_everything_answers_and_then_what_becomes_of_it() {
    let folder = folder();
    let manager = Manager::new(folder.path());
    let launch = on(folder.path()).with(&[("NOTIFY_SOCKET", manager.path.as_os_str())]);
    let starting = std::thread::spawn(|| launch.start());
    manager.hears("READY=1");
    let mut client = Client::unix(&folder.path().join("control.sock")).expect("it is ready");
    register(&mut client, "PUMP1");
    let mut server = starting.join().unwrap();
    assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "unavailable");
    assert_eq!(server.ready().unwrap().expect(200).body, "ready\n");

    server.signal("HUP");
    let said = manager.hears("RELOADING=1");
    let since = said.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.is_some_and(|micros| micros.parse::<u64>().is_ok()), "{said}");
    assert_eq!(manager.hears("READY=1"), "READY=1\nSTATUS=Serves polls and controllers");
    let wrong = config(folder.path()).replacen("listen", "lisen", 1);
    fs::write(folder.path().join("surtidor.toml"), wrong).unwrap();
    server.signal("HUP");
    manager.hears("RELOADING=1");
    let said = manager.hears("READY=1");
    assert!(
        said.contains("The old configuration stays: ") && said.contains("surtidor.toml:3"),
        "{said}"
    );
    server.says("the old configuration stays");

    server.signal("TERM");
    manager.hears("STOPPING=1");
    assert_eq!(server.ended().code, Some(0));
}

/// Hangs one thread, by its name, for as long as this lives.
struct Hung {
    strace: Child,
    /// Kept open: what strace says must go somewhere.
    _said: BufReader<ChildStderr>,
}

impl Hung {
    fn new(server: &Server, thread: &str) -> Hung {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
        let is_it = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread);
        let task = tasks.map(|task| task.unwrap().path()).find(is_it);
        let task = task.unwrap_or_else(|| panic!("no thread is called {thread}"));
        // Whatever it asks of the kernel next takes an hour.
        let mut strace = Command::new("strace")
            .args(["-e", "inject=all:delay_enter=3600000000", "-p"])
            .arg(task.file_name().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "{line}");
        Hung { strace, _said: said }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Without strace the thread goes on.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn the_watchdog_hears_nothing_while_any_thread_hangs() {
    if !Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|done| done.success())
    {
        return skip("the watchdog: strace is missing");
    }
    let folder = folder();
    let manager = Manager::new(folder.path());
    // It is told three times in that time.
    let time = Duration::from_millis(900);
    let micros = time.as_micros().to_string();
    let server = on(folder.path())
        .with(&[
            ("NOTIFY_SOCKET", manager.path.as_os_str()),
            ("WATCHDOG_USEC", micros.as_ref()),
        ])
        .start();
    register(&mut server.controller(), "PUMP1");
    for thread in ["log-writer", "poll-0", "poll-1", "control", "mercadopago"] {
        manager.hears("WATCHDOG=1");
        let hung = Hung::new(&server, thread);
        assert!(
            manager.is_silent_for(time),
            "{thread} hangs, and it is said to be alive"
        );
        if thread == "log-writer" {
            // The reason is not that all of it hangs.
            assert_eq!(told(&poll(&mut server.poller(), "PUMP1").unwrap()), "unavailable");
        }
        drop(hung);
    }
    manager.hears("WATCHDOG=1");
    assert_eq!(server.stop().code, Some(0));
}

/// Started as systemd starts it, with the number 3 for what the shell opens there.
fn handed(folder: &Path, open: &str, names: &str) -> Ended {
    let script = format!("exec 3{open}; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={names} exec \"$0\" \"$@\"");
    on(folder).within(&["sh", "-c", &script]).refused()
}

#[test]
fn what_is_handed_over_wrongly_stops_the_start_and_is_named() {
    let folder = folder();
    for (open, names, what) in [
        (
            "</dev/null",
            "polls",
            "\"polls\" was handed over: each must have its face's name, poll, poll-tls, control",
        ),
        (
            "</dev/null",
            "''",
            "1 sockets were handed over, and LISTEN_FDNAMES has 0 names",
        ),
        ("</dev/null", "poll:control", "LISTEN_FDNAMES has 2 names"),
        (
            "</dev/null",
            "poll",
            "\"poll\" that was handed over must be a listening TCP socket",
        ),
        (
            "</dev/null",
            "control",
            "\"control\" that was handed over must be a listening Unix stream socket",
        ),
        (
            "<&-",
            "admin",
            "\"admin\" that was handed over must be a listening TCP socket",
        ),
    ] {
        let ended = handed(folder.path(), open, names);
        assert_eq!(ended.code, Some(78), "{open} {names}: {}", ended.log);
        assert!(ended.log.contains(what), "{open} {names}: {}", ended.log);
    }
    // What was meant for somebody else is not ours.
    let nobody = [
        ("LISTEN_PID", "1".as_ref()),
        ("LISTEN_FDS", "1".as_ref()),
        ("LISTEN_FDNAMES", "x".as_ref()),
    ];
    assert_eq!(on(folder.path()).with(&nobody).start().stop().code, Some(0));
}
