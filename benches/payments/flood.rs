//! A thousand forged notifications a second: what they do to polls, to a real order, and to the calls of the API.
//!
//! All of it runs on one machine, so whoever sends a thousand of anything takes from the polls a share of its processors.
//! How much that is, as many polls more show.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::api::Api;
use super::station::{Pump, Station, poll, request};
use super::{median, micros, ratio};

const MORE_PER_SECOND: u32 = 1_000;
/// So many that one is answered before it is its turn again, whatever an answer waits for.
const CONNECTIONS: usize = 100;
const POLLERS: u32 = 2;
const POLLS_PER_SECOND: u32 = 500;
const CALLS_PER_SECOND: u32 = 20;
/// Of the API, saved up: a second's. And what the jobs under way may still ask when it is used up.
const CALLS_AT_ONCE: usize = CALLS_PER_SECOND as usize + 10;

/// What comes beside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Polls,
    Forged,
}

#[derive(Default)]
struct Seen {
    polls: Vec<Duration>,
    paid: Vec<Duration>,
    calls: usize,
    /// In the second with the most.
    busiest: usize,
    answers: Answers,
}

#[derive(Default)]
struct Answers {
    good: usize,
    refused: usize,
}

pub fn run(rounds: usize, seconds: u32) {
    let api = Api::start();
    println!(
        "{MORE_PER_SECOND} forged notifications a second for {seconds} s, after as long a quiet, and as many polls\n"
    );
    println!(
        "| poll p99 µs: quiet | more polls | forged | forged/quiet | forged/more polls | paid p50 µs | forged | longest | forged | \
         calls a second | busiest | kept | refused |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let (quiet, more) = (0..rounds).map(|_| round(&api, seconds)).unzip();
    println!(
        "medians of the polls' ratios: {:.2} of quiet (goal 2), {:.2} of more polls; calls allowed a second: {CALLS_PER_SECOND}",
        median(quiet),
        median(more)
    );
}

/// By how much polls are slower than with nothing beside them, and than with as many polls.
fn round(api: &Api, seconds: u32) -> (f64, f64) {
    let station = Station::start(api, CALLS_PER_SECOND);
    drop(station.pump("IDLE"));
    let mut pump = station.pump("REAL");
    let mut orders = 0..;
    let mut watch = |beside| watch(&station, api, &mut pump, &mut orders, seconds, beside);
    let (mut quiet, mut more, mut forged) = (watch(Beside::Nothing), watch(Beside::Polls), watch(Beside::Forged));
    station.stop();
    let slower = ratio(&mut forged.polls, &mut quiet.polls, 99);
    let than_more = ratio(&mut forged.polls, &mut more.polls, 99);
    println!(
        "| {} | {} | {} | {slower:.2} | {than_more:.2} | {} | {} | {} | {} | {:.1} | {} | {} | {} |",
        micros(&mut quiet.polls, 99),
        micros(&mut more.polls, 99),
        micros(&mut forged.polls, 99),
        micros(&mut quiet.paid, 50),
        micros(&mut forged.paid, 50),
        micros(&mut quiet.paid, 100),
        micros(&mut forged.paid, 100),
        forged.calls as f64 / f64::from(seconds),
        forged.busiest,
        forged.answers.good,
        forged.answers.refused
    );
    let allowed = (CALLS_PER_SECOND * seconds) as usize + CALLS_AT_ONCE;
    assert!(
        forged.calls <= allowed,
        "{} calls, and {allowed} are allowed",
        forged.calls
    );
    (slower, than_more)
}

/// Polls, and sells one order a second.
fn watch(
    station: &Station,
    api: &Api,
    pump: &mut Pump,
    orders: &mut impl Iterator<Item = u64>,
    seconds: u32,
    beside: Beside,
) -> Seen {
    let over = AtomicBool::new(false);
    api.seen();
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let pollers: Vec<_> = (0..POLLERS).map(|_| scope.spawn(|| polls(station, &over))).collect();
        let more = scope.spawn(|| match beside {
            Beside::Nothing => Answers::default(),
            Beside::Polls => more(station, &over, 400, |_| poll("IDLE")),
            Beside::Forged => more(station, &over, 200, forged),
        });
        let end = Instant::now() + Duration::from_secs(1) * seconds;
        while Instant::now() < end {
            let next = Instant::now() + Duration::from_secs(1);
            let n = orders.next().expect("numbers do not end");
            let target = pump.sell(n);
            let (sent, told) = pump.pay(n, &target);
            seen.paid.push(told - sent);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        over.store(true, Relaxed);
        for poller in pollers {
            seen.polls.extend(poller.join().expect("no panic"));
        }
        seen.answers = more.join().expect("no panic");
    });
    let mut asked: Vec<Instant> = api.seen().iter().map(|call| call.asked).collect();
    asked.sort_unstable();
    seen.calls = asked.len();
    let second = |from: &Instant| {
        asked
            .iter()
            .filter(|at| **at >= *from && **at - *from < Duration::from_secs(1))
            .count()
    };
    seen.busiest = asked.iter().map(second).max().unwrap_or(0);
    seen
}

/// Does something so many times a second, whatever it takes, until it is over.
fn paced(per_second: u32, over: &AtomicBool, mut each: impl FnMut(u32)) {
    let begun = Instant::now();
    for i in 0_u32.. {
        let due = begun + Duration::from_secs(1) * i / per_second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Relaxed) {
            return;
        }
        each(i);
    }
}

fn polls(station: &Station, over: &AtomicBool) -> Vec<Duration> {
    let mut wire = station.public();
    let poll = poll("IDLE");
    let mut times = Vec::new();
    paced(POLLS_PER_SECOND / POLLERS, over, |_| {
        let begun = Instant::now();
        wire.ask(&poll, 400);
        times.push(begun.elapsed());
    });
    times
}

/// Sends on one connection after the other, and reads what was answered when it is its turn again.
fn more(station: &Station, over: &AtomicBool, good: u16, request: impl Fn(u64) -> String) -> Answers {
    let mut wires: Vec<_> = (0..CONNECTIONS).map(|_| station.public()).collect();
    let mut answers = Answers::default();
    paced(MORE_PER_SECOND, over, |i| {
        let wire = &mut wires[i as usize % CONNECTIONS];
        if i as usize >= CONNECTIONS {
            match wire.reply().0 {
                status if status == good => answers.good += 1,
                503 => answers.refused += 1,
                status => panic!("{status}"),
            }
        }
        wire.send(&request(u64::from(i)));
    });
    answers
}

/// An id that nobody gave out, neither sealed nor signed; one in four is a repeat.
fn forged(i: u64) -> String {
    let i = if i % 4 == 3 { i - 3 } else { i };
    let id = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let topic = if i % 2 == 0 { "merchant_order" } else { "payment" };
    let target = format!("/notifications/main?topic={topic}&id={id}");
    request("POST", &target, "{}")
}
