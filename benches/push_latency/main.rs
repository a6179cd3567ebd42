//! What a durable push costs, beside what the disk itself costs: one controller's latency against an append with its
//! fdatasync, and many controllers' rate. Run with `cargo bench --bench push_latency`. Believe the ratios.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

#[allow(dead_code, reason = "one of the benches never waits")]
#[path = "../support/controller.rs"]
mod controller;
mod group;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use controller::Controller;
use surtidor::app::App;
use surtidor::config::{Config, Overrides, Source};

fn main() {
    // As a test it only shows that it still runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (one, many, controllers) = if measuring { (4_000, 200, 256) } else { (5, 2, 4) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("control.sock");
    let app = start(folder.path(), &socket);

    let mut disk = appends::<4096>(folder.path(), one);
    let mut bytes = appends::<600>(folder.path(), one);
    let mut alone = pushes(&socket, "ALONE", one);
    let (p50, p99) = (ratio(&mut alone, &mut disk, 50), ratio(&mut alone, &mut disk, 99));
    println!("| one controller, {one} pushes | p50 µs | p99 µs |\n| --- | ---: | ---: |");
    println!(
        "| push to 201 | {} | {} |",
        at(&mut alone, 50).as_micros(),
        at(&mut alone, 99).as_micros()
    );
    for (name, times) in [("4 KiB, a page", &mut disk), ("600 bytes", &mut bytes)] {
        println!(
            "| append of {name} + fdatasync | {} | {} |",
            at(times, 50).as_micros(),
            at(times, 99).as_micros()
        );
    }
    println!("| push ÷ append of a page (goals 1.8, 2) | {p50:.2} | {p99:.2} |\n");

    let before = commits(app.addresses().admin);
    let begun = Instant::now();
    let threads: Vec<_> = (0..controllers)
        .map(|i| {
            let socket = socket.clone();
            std::thread::spawn(move || pushes(&socket, &format!("P{i}"), many))
        })
        .collect();
    let mut all: Vec<Duration> = threads
        .into_iter()
        .flat_map(|thread| thread.join().expect("no panic"))
        .collect();
    let seconds = begun.elapsed().as_secs_f64();
    println!("| {controllers} controllers, {many} pushes each | |\n| --- | ---: |");
    let rate = all.len() as f64 / seconds;
    println!("| pushes a second | {rate:.0} |");
    println!(
        "| p50 / p99 µs | {} / {} |",
        at(&mut all, 50).as_micros(),
        at(&mut all, 99).as_micros()
    );
    let shared = all.len() as f64 / (commits(app.addresses().admin) - before);
    println!("| pushes a commit (goal 100) | {shared:.0} |");
    assert!(app.stop(), "an orderly end");
    let bare = group::rate(folder.path(), controllers, if measuring { 3 } else { 1 });
    println!("| bare SQLite, as many writers: records a second | {bare:.0} |");
    println!("| pushes ÷ records (goal 0.15) | {:.3} |", rate / bare);
}

/// Commits of commands so far, as the metrics tell.
fn commits(admin: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(admin).expect("it listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("surtidor_commit_commands_count "));
    line.and_then(|count| count.parse().ok()).expect("a count")
}

fn start(folder: &Path, socket: &Path) -> App {
    let text = |path: &Path| Some(path.display().to_string());
    let flags = Overrides {
        poll_listen: vec!["127.0.0.1:0".into()],
        socket: text(socket),
        data_dir: text(&folder.join("data")),
        admin_listen: Some("127.0.0.1:0".into()),
    };
    let (config, _) = Config::load(Source::BuiltIn, [], flags).expect("a good configuration");
    App::start(config).expect("it starts")
}

/// Registers a POS and replaces its order again and again; how long each took.
fn pushes(socket: &Path, pos: &str, count: usize) -> Vec<Duration> {
    let mut controller = Controller::connect(socket);
    controller.register(pos, pos);
    (0..count)
        .map(|i| {
            let begun = Instant::now();
            controller.put_order(pos, &format!("{pos}-{i}"));
            begun.elapsed()
        })
        .collect()
}

/// What the disk takes for so many bytes, one after the other. The log writes pages.
fn appends<const BYTES: usize>(folder: &Path, count: usize) -> Vec<Duration> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(format!("appends-{BYTES}")))
        .expect("a file");
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; BYTES])
                .and_then(|()| file.sync_data())
                .expect("written");
            begun.elapsed()
        })
        .collect()
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn ratio(times: &mut [Duration], base: &mut [Duration], percent: usize) -> f64 {
    at(times, percent).as_secs_f64() / at(base, percent).as_secs_f64()
}
