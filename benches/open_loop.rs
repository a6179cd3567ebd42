//! Polls that come evenly, ten thousand a second, beside a thousand pushes a second and ten thousand idle connections: how
//! long they wait, beside a bare epoll loop that does nothing else. Run with `cargo bench --bench open_loop`; needs taskset
//! and `ulimit -n` above 20,000. Believe the ratios.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use support::controller::Controller;
use support::load::{Kind, Load, STRIDE, ask_once};
use support::{CONNECTIONS, Served, alone_on, median, station};

const POS: usize = 1_000;
const POLLS_A_SECOND: u32 = 10_000;
const PUSHES_A_SECOND: u32 = 1_000;

struct Size {
    rounds: usize,
    seconds: u32,
    idle: usize,
    /// At least.
    pushes_a_second: f64,
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
                    rounds: 9,
                    seconds: 3,
                    idle: 9_900,
                    pushes_a_second: 0.9 * f64::from(PUSHES_A_SECOND),
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
                pushes_a_second: 1.0,
            },
        ),
    }
}

fn measure(tool: &[&str], size: &Size) {
    println!(
        "| p50 / p99 / usual p99 µs | bare epoll loop | surtidor | beside {PUSHES_A_SECOND} pushes/s and {} idle | p99, usual p99 ÷ bare | beside them (goal 1.3) |",
        size.idle
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let rounds: Vec<[f64; 4]> = (0..size.rounds)
        .map(|round| {
            let bare = Served::start(tool, "raw");
            let bare_times = polls(&bare, size, || {});
            bare.stop();
            let folder = tempfile::tempdir().expect("a temporary folder");
            let served = Served::with(tool, &["serve", &folder.path().display().to_string()]);
            register(folder.path());
            let alone = polls(&served, size, || {});
            let idle: Vec<TcpStream> = (0..size.idle).map(|_| idle(&served)).collect();
            let mut pushes = Pushes::begin(folder.path());
            let beside = polls(&served, size, || pushes.go_on());
            let pushed = pushes.a_second();
            assert!(
                pushed > size.pushes_a_second,
                "only {pushed:.0} pushes a second were acknowledged"
            );
            drop(idle);
            served.stop();
            let ratios = [
                alone.p99 / bare_times.p99,
                alone.usual_p99 / bare_times.usual_p99,
                beside.p99 / bare_times.p99,
                beside.usual_p99 / bare_times.usual_p99,
            ];
            let [bare, alone, beside] =
                [bare_times, alone, beside].map(|times| format!("{:.0} / {:.0} / {:.0}", times.p50, times.p99, times.usual_p99));
            let [p99, usual, p99_beside, usual_beside] = ratios;
            println!(
                "| round {round} | {bare} | {alone} | {beside} | {p99:.2}, {usual:.2} | {p99_beside:.2}, {usual_beside:.2} |"
            );
            ratios
        })
        .collect();
    let [p99, usual, p99_beside, usual_beside] =
        [0, 1, 2, 3].map(|i| median(rounds.iter().map(|round| round[i]).collect()));
    println!("| medians | | | | {p99:.2}, {usual:.2} | {p99_beside:.2}, {usual_beside:.2} |");
}

/// In microseconds.
struct Times {
    p50: f64,
    p99: f64,
    /// The middle one of the p99s of each tenth of a second: a virtual machine that is held for some milliseconds, now and
    /// then, is in few of them, and what a server does all the time is in each.
    usual_p99: f64,
}

impl Times {
    fn of(mut all: Vec<Duration>) -> Times {
        let tenth = POLLS_A_SECOND as usize / 10;
        let usual_p99 = median(all.chunks_mut(tenth).map(|times| at(times, 99)).collect());
        Times {
            p50: at(&mut all, 50),
            p99: at(&mut all, 99),
            usual_p99,
        }
    }
}

fn polls(served: &Served, size: &Size, beside: impl FnMut()) -> Times {
    let mut load = Load::new(served.port, Kind::KeepAlive, CONNECTIONS, POS);
    load.closed(POS);
    Times::of(load.open(POLLS_A_SECOND, POLLS_A_SECOND * size.seconds, beside))
}

/// A connection that has polled and says no more.
fn idle(served: &Served) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).expect("it listens");
    ask_once(&mut stream);
    stream
}

/// A controller that puts orders evenly.
struct Pushes {
    controller: Controller,
    begun: Instant,
    asked: u32,
    answered: u32,
}

impl Pushes {
    fn begin(folder: &Path) -> Pushes {
        Pushes {
            controller: Controller::connect(&station::socket(folder)).never_waits(),
            begun: Instant::now(),
            asked: 0,
            answered: 0,
        }
    }

    fn go_on(&mut self) {
        if self.answered < self.asked {
            self.answered += u32::from(self.controller.is_answered());
        } else if self.begun + Duration::from_secs(1) * self.asked / PUSHES_A_SECOND <= Instant::now() {
            let pos = self.asked as usize * STRIDE % POS;
            self.controller
                .ask_for_order(&format!("PUMP-{pos}"), &format!("T-{}", self.asked));
            self.asked += 1;
        }
    }

    fn a_second(&self) -> f64 {
        f64::from(self.answered) / self.begun.elapsed().as_secs_f64()
    }
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
