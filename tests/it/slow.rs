//! Clients that hold connections and say little: polls beside them are answered as if they were not there.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use crate::support::process::{Client, Server, WAIT, folder_in_memory, long, on, poll, register, say, told};

const IDLE: usize = 10_000;
const SLOW: usize = 200;
/// Between two bytes of a slow one's head.
const PAUSE: Duration = Duration::from_secs(1);
/// What a head has, what an idle connection has, and by how much both may be late on a machine with much to do.
const HEAD_TIME: Duration = Duration::from_secs(5);
const IDLE_TIME: Duration = Duration::from_secs(75);
const LATE: Duration = Duration::from_secs(5);
/// Each of both servers, before the clock is looked at again.
const POLLS: usize = 500;
/// A page is 4 KiB.
const PAGES_OF_ONE: usize = 3;

/// The other server is asked in turn with the one that holds them: what the machine has to do beside slows both.
#[test]
fn idle_and_slow_connections_do_not_slow_polls() {
    let (bare_folder, held_folder) = (folder_in_memory(), folder_in_memory());
    let bare = start(bare_folder.path());
    let held = start(held_folder.path());
    let count = idle_count();
    let before = pages(&held);
    let begun = Instant::now();
    let idle: Vec<Client> = (0..count).map(|_| asked_once(&held)).collect();
    let opened = begun.elapsed();
    let grown = pages(&held) - before;
    say(&format!("{grown} pages of memory for {count} idle connections"));
    assert!(grown <= count * PAGES_OF_ONE, "{grown} pages");

    let slow = Slow::begin(held.polls);
    let mut pair = Pair::of(&bare, &held);
    // Until each of the first slow ones was cut off, and in the long form each idle one.
    while slow.ended.load(Relaxed) < SLOW || (long() && timed_out(&held, "idle") < count) {
        pair.ask();
        assert!(
            begun.elapsed() < opened + IDLE_TIME + LATE + WAIT,
            "they are held for ever"
        );
    }
    // What the machine does beside may slow the polls of one for a while.
    while !pair.is_alike() && begun.elapsed() < IDLE_TIME / 2 {
        pair.ask();
    }
    slow.finish();
    pair.compare(count);
    assert!(timed_out(&held, "head") >= SLOW);
    if long() {
        assert!(begun.elapsed() >= IDLE_TIME, "they were cut off early");
        for mut client in idle {
            assert!(client.is_closed());
        }
    } else {
        assert_eq!(timed_out(&held, "idle"), 0, "they were cut off early");
    }
    for server in [bare, held] {
        let ended = server.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
    }
}

fn start(folder: &std::path::Path) -> Server {
    let server = on(folder).on_one_processor().start();
    register(&mut server.controller(), "PUMP1");
    server
}

/// Both ends of each connection need a file, this one's in a process with other tests.
fn idle_count() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let free = soft.unwrap_or(usize::MAX).saturating_sub(1_000);
    if free < IDLE {
        say(&format!(
            "only {free} idle connections instead of {IDLE}: `ulimit -n` allows no more"
        ));
    }
    free.min(IDLE)
}

/// One that was of use, and is kept.
fn asked_once(server: &Server) -> Client {
    let mut client = server.poller();
    assert_eq!(told(&poll(&mut client, "PUMP1").expect("it runs")), "unavailable");
    client
}

/// Of memory that is its own.
fn pages(server: &Server) -> usize {
    let text = fs::read_to_string(format!("/proc/{}/statm", server.pid())).expect("it runs");
    text.split(' ').nth(1).expect("a number").parse().expect("a number")
}

fn timed_out(server: &Server, limit: &str) -> usize {
    let mut client = Client::tcp(server.admin).expect("it listens");
    let metrics = client.get("/metrics").expect("it runs").expect(200).body;
    let name = format!("surtidor_connections_timed_out_total{{face=\"poll\",limit=\"{limit}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.expect("it is counted").parse().expect("a number")
}

/// Two servers that are polled in turn.
struct Pair {
    clients: [Client; 2],
    /// The p99 of each round.
    rounds: [Vec<Duration>; 2],
}

impl Pair {
    fn of(bare: &Server, held: &Server) -> Pair {
        Pair {
            clients: [asked_once(bare), asked_once(held)],
            rounds: [Vec::new(), Vec::new()],
        }
    }

    fn ask(&mut self) {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..POLLS {
            for (client, times) in self.clients.iter_mut().zip(&mut times) {
                let begun = Instant::now();
                let reply = poll(client, "PUMP1").expect("its connection is kept");
                times.push(begun.elapsed());
                assert_eq!(told(&reply.expect(400)), "unavailable");
            }
        }
        for (rounds, mut times) in self.rounds.iter_mut().zip(times) {
            times.sort_unstable();
            rounds.push(times[POLLS * 99 / 100]);
        }
    }

    /// The middle one of the rounds: some fall into times when the machine has much to do.
    fn middles(&self) -> [Duration; 2] {
        self.rounds.each_ref().map(|rounds| {
            let mut rounds = rounds.clone();
            rounds.sort_unstable();
            rounds[rounds.len() / 2]
        })
    }

    fn is_alike(&self) -> bool {
        let [bare, held] = self.middles();
        held <= 2 * bare
    }

    fn compare(&self, count: usize) {
        let [bare, held] = self.middles();
        say(&format!(
            "p99 of {POLLS} polls, {} times: {bare:?} alone, {held:?} beside {count} idle and {SLOW} slow connections",
            self.rounds[0].len()
        ));
        assert!(self.is_alike(), "{held:?} is more than twice {bare:?}");
    }
}

/// Connections that send a head byte by byte. One that is cut off comes back.
struct Slow {
    enough: SyncSender<()>,
    /// So many were cut off.
    ended: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Slow {
    fn begin(address: SocketAddr) -> Slow {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = ended.clone();
        let (enough, until) = sync_channel(1);
        let thread = spawn(move || {
            let mut all: Vec<Dripping> = (0..SLOW).map(|_| Dripping::to(address)).collect();
            // Their pace, not a wait for anything.
            while until.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                for one in &mut all {
                    if one.drips() {
                        continue;
                    }
                    let age = one.begun.elapsed();
                    assert!(age >= HEAD_TIME && age < HEAD_TIME + LATE, "cut off after {age:?}");
                    count.fetch_add(1, Relaxed);
                    *one = Dripping::to(address);
                }
            }
        });
        Slow { enough, ended, thread }
    }

    fn finish(self) {
        let _ = self.enough.send(());
        self.thread.join().expect("each was cut off in time");
    }
}

struct Dripping {
    stream: TcpStream,
    begun: Instant,
}

impl Dripping {
    fn to(address: SocketAddr) -> Dripping {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let begun = Instant::now();
        stream.write_all(b"G").expect("it is open");
        stream.set_nonblocking(true).expect("it is ours");
        Dripping { stream, begun }
    }

    /// Whether it is still listened to.
    fn drips(&mut self) -> bool {
        let silent = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
        self.stream.read(&mut [0]).is_err_and(|error| silent(&error)) && self.stream.write_all(b"E").is_ok()
    }
}
