//! What the benches of the poll path share: a child process that serves, and a small load generator.

#![allow(dead_code, reason = "each bench uses its part")]

pub mod controller;
pub mod load;
pub mod raw;
pub mod secured;
pub mod station;

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use load::{Kind, Load};
use surtidor::domain::account::{Dialect, LatePayment, Payee};
use surtidor::domain::id::{AccountId, PosId, Reference, Timestamp};
use surtidor::domain::money::{Currency, Money};
use surtidor::domain::order::{Content, Item, Items, Order, Quantity};
use surtidor::domain::pos::{Mode, PollKey, Pos, Registration, Waiting, Word};
use surtidor::domain::text::Text;
use surtidor::net::listen::tcp_shared;
use surtidor::net::seats::Seats;
use surtidor::net::stop;
use surtidor::poll;
use surtidor::table::{Names, Reply, Ring, Slot, Table, UrlSecrets, doorbell};
use tokio::sync::mpsc::Receiver;

pub const CONNECTIONS: usize = 64;

/// The child's side: the poll face with so many POS, one in a hundred with an order, until our standard input ends.
pub fn serve(pos: usize) {
    serve_as(pos, poll::Listener::Plain);
}

fn serve_as(pos: usize, kind: impl Fn(std::net::TcpListener) -> poll::Listener) {
    let (table, mut rings) = table(pos);
    let table = Arc::new(table);
    // Never freed: what that costs differs from run to run, and would be counted as the polls'.
    std::mem::forget(table.clone());
    std::thread::spawn(move || while rings.blocking_recv().is_some() {});
    let listeners = tcp_shared(([127, 0, 0, 1], 0).into(), 1).expect("a free port");
    let port = listeners[0].local_addr().expect("it is bound").port();
    let listeners = listeners.into_iter().map(kind).collect();
    let (stop, stopping) = stop::channel();
    let settings = poll::Settings {
        path: "/pay-mp".into(),
        table,
        seats: Seats::new(10_000),
        proxies: Arc::default(),
        proxy_protocol: false,
        elsewhere: Arc::new(|_: &str| None),
    };
    let running = poll::start(listeners, settings, &stopping).expect("a thread");
    announce_and_wait(port);
    stop.stop();
    assert!(running.join());
}

/// Tells the parent where we listen, and returns when it is done with us.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub fn announce_and_wait(port: u16) {
    println!("{port}");
    io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("the parent holds it open");
}

fn table(pos: usize) -> (Table, Receiver<Ring>) {
    let (doorbell, mut rings) = doorbell();
    let names = Names::new(&["locationId", "positionId"]).expect("good names");
    let table = Table::new(names, UrlSecrets::default(), doorbell);
    table.insert_all((0..pos).map(slot).collect());
    // Each was polled before: a poll that begins a visit is the exception.
    for i in 0..pos {
        table.answer(&query(i));
        while rings.try_recv().is_ok() {}
    }
    (table, rings)
}

fn query(i: usize) -> String {
    format!("locationId=6232&positionId={i}")
}

fn has_order(i: usize) -> bool {
    i % 100 == 17
}

fn slot(i: usize) -> Slot {
    let keys = PollKey::new(&["6232", &i.to_string()]).expect("good values");
    let registration = Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: Some(keys.clone()),
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    };
    let mut pos = Pos::new(PosId::parse(&format!("POS-{i}")).expect("a name"), registration);
    pos.word = Word::plain(Waiting::InProcess);
    pos.open = has_order(i).then(|| Arc::new(order(i, &pos)));
    let reply = Reply::of(
        &pos,
        Dialect::Documented,
        Instant::now() + Duration::from_secs(86_400),
        None,
    );
    Slot::new(keys, pos.id, &[], reply)
}

fn order(i: usize, pos: &Pos) -> Order {
    let item = |title: &str, description: &str, price: &str| {
        Item::plain(
            Text::parse(title).expect("text"),
            Text::parse(description).expect("text"),
            Quantity::ONE,
            Money::parse(price, Currency::Ars).expect("an amount"),
        )
    };
    let wash = item("CAR WASH PREMIUM", "Tunnel 1, with wax and inside cleaning", "7400.25");
    Order::new(
        Reference::parse(&format!("T-{i:08}")).expect("a reference"),
        pos.id.clone(),
        pos.registration.account.clone(),
        Payee {
            collector_id: 178_106_235,
            sponsor_id: Some(334_249_281),
            notification_url: Some("https://pay.example.com/notifications/main?source=ipn".into()),
            client_id: None,
        },
        Content::plain(
            Items::new(vec![item("SUPER 23.45 L", "Pump 4", "18525.50"), wash]).expect("good items"),
            86_400,
        ),
        LatePayment::Report,
        Timestamp(0),
    )
}

/// How long a process had a processor until now, in all its threads.
pub fn processor_time(child: &Child) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).expect("it runs");
    let nanos = tasks.map(|task| {
        let path = task.expect("it runs").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("a kernel with schedstat");
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// A server in a process of its own: this binary in another role, perhaps under a tool that watches it.
pub struct Served {
    pub child: Child,
    pub port: u16,
}

impl Served {
    /// `tool` is a command that runs the command after it.
    pub fn start(tool: &[&str], role: &str) -> Served {
        Served::with(tool, &[role])
    }

    /// The same in a role that takes arguments.
    pub fn with(tool: &[&str], role: &[&str]) -> Served {
        let itself = std::env::current_exe().expect("the path of this binary");
        let words = tool.iter().map(PathBuf::from).chain([itself]);
        let words: Vec<PathBuf> = words.chain(role.iter().map(PathBuf::from)).collect();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; is it installed?", words[0].display()));
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it is open");
        let port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{} did not start: {line:?}", words[0].display()));
        Served { child, port }
    }

    /// So many polls over so many POS, each connection asking again as soon as it is answered.
    pub fn load(&self, polls: usize, pos: usize) {
        Load::new(self.port, Kind::KeepAlive, CONNECTIONS, pos)
            .sleeping()
            .closed(polls);
    }

    /// How long it had a processor until now, in all its threads.
    pub fn processor_time(&self) -> Duration {
        processor_time(&self.child)
    }

    /// Its memory, in bytes: its own pages, and its part of those that it shares.
    pub fn pss(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it is our child").success());
    }
}

pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Keeps this process, the load, off the server's core.
pub fn alone_on(core: usize) {
    let (core, own) = (core.to_string(), std::process::id().to_string());
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", &core, &own]).output();
    assert!(pinned.expect("taskset is installed").status.success());
}
