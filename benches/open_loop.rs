//! Polls that come evenly, ten thousand a second, beside a thousand pushes a second and ten thousand idle connections: how
//! long they wait, beside a bare epoll loop that does nothing else. Run with `cargo bench --bench open_loop`; needs taskset
//! and `ulimit -n` above 20,000. Believe the ratios.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use support::controller::Controller;
use support::load::{Kind, Load, ask_once};
use support::{CONNECTIONS, Served, alone_on, median, station};

const POS: usize = 1_000;
const POLLS_A_SECOND: u32 = 10_000;
const PUSHES_A_SECOND: u32 = 1_000;

struct Size {
    rounds: usize,
    seconds: u32,
    idle: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["raw"] => support::raw::serve(POS),
        ["serve", folder] => station::serve(folder.as_ref()),
        _ if words.contains(&"--bench") => {
            alone_on(1);
            measure(
                &["taskset", "-c", "0"],
                &Size {
                    rounds: 5,
                    seconds: 5,
                    idle: 9_900,
                },
            );
        }
        // As a test it only shows that it still runs.
        _ => measure(
            &[],
            &Size {
                rounds: 1,
                seconds: 1,
                idle: 10,
            },
        ),
    }
}

fn measure(tool: &[&str], size: &Size) {
    println!(
        "| p50 / p99 µs | bare epoll loop | surtidor | beside {PUSHES_A_SECOND} pushes/s and {} idle | p99 ÷ bare | beside them (goal 1.3) |",
        size.idle
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let rounds: Vec<[f64; 2]> = (0..size.rounds)
        .map(|round| {
            let bare = Served::start(tool, "raw");
            let mut bare_times = polls(&bare, size);
            bare.stop();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let served = Served::with(tool, &["serve", &folder.path().display().to_string()]);
            register(folder.path());
            let mut alone = polls(&served, size);
            let idle: Vec<TcpStream> = (0..size.idle).map(|_| idle(&served)).collect();
            let mut beside = beside_pushes(folder.path(), || polls(&served, size));
            drop(idle);
            served.stop();
            let [one, other] = [&mut alone, &mut beside].map(|times| at(times, 99) / at(&mut bare_times, 99));
            let [bare, alone, beside] = [&mut bare_times, &mut alone, &mut beside]
                .map(|times| format!("{:.0} / {:.0}", at(times, 50), at(times, 99)));
            println!("| round {round} | {bare} | {alone} | {beside} | {one:.2} | {other:.2} |");
            [one, other]
        })
        .collect();
    let [alone, beside] = [0, 1].map(|i| median(rounds.iter().map(|round| round[i]).collect()));
    println!("| medians | | | | {alone:.2} | {beside:.2} |");
}

fn polls(served: &Served, size: &Size) -> Vec<Duration> {
    let mut load = Load::new(served.port, Kind::KeepAlive, CONNECTIONS, POS);
    load.closed(POS);
    load.open(POLLS_A_SECOND, POLLS_A_SECOND * size.seconds)
}

/// A connection that has polled and says no more.
fn idle(served: &Served) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).expect("it listens");
    ask_once(&mut stream);
    stream
}

/// Orders put evenly while something else is done.
fn beside_pushes<T>(folder: &Path, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pushes = scope.spawn(|| {
            let mut controller = Controller::connect(&station::socket(folder));
            let begun = Instant::now();
            let mut pushed = 0;
            while !done.load(Relaxed) {
                controller.put_order(
                    &format!("PUMP-{}", pushed as usize * 7919 % POS),
                    &format!("T-{pushed}"),
                );
                pushed += 1;
                let due = begun + Duration::from_secs(1) * pushed / PUSHES_A_SECOND;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            f64::from(pushed) / begun.elapsed().as_secs_f64()
        });
        let worked = work();
        done.store(true, Relaxed);
        let rate = pushes.join().expect("no panic");
        assert!(
            rate > 0.9 * f64::from(PUSHES_A_SECOND),
            "only {rate:.0} pushes a second were acknowledged"
        );
        worked
    })
}

fn register(folder: &Path) {
    let mut controller = Controller::connect(&station::socket(folder));
    for i in 0..POS {
        controller.register(&format!("PUMP-{i}"), &i.to_string());
    }
}

fn at(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6
}
