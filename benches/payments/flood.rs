//! A thousand forged notifications a second: what they do to polls, to a real order, and to the calls of the API.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::api::Api;
use super::station::{Pump, Station, poll, request};
use super::{micros, ratio};

const FORGED_PER_SECOND: u32 = 1_000;
const FORGERS: u32 = 8;
const POLLERS: u32 = 2;
const POLLS_PER_SECOND: u32 = 500;
const CALLS_PER_SECOND: u32 = 20;
/// Of the API, saved up: a second's. And what the jobs under way may still ask when it is used up.
const CALLS_AT_ONCE: usize = CALLS_PER_SECOND as usize + 10;

#[derive(Default)]
struct Seen {
    polls: Vec<Duration>,
    paid: Vec<Duration>,
    calls: usize,
    /// In the second with the most.
    busiest: usize,
    kept: usize,
    refused: usize,
}

pub fn run(seconds: u32) {
    let api = Api::start();
    let station = Station::start(&api, CALLS_PER_SECOND);
    drop(station.pump("IDLE"));
    let mut pump = station.pump("REAL");
    let mut orders = 0..;
    let mut before = watch(&station, &api, &mut pump, &mut orders, seconds, false);
    let mut during = watch(&station, &api, &mut pump, &mut orders, seconds, true);
    station.stop();
    print(seconds, &mut before, &mut during);
    let allowed = (CALLS_PER_SECOND * seconds) as usize + CALLS_AT_ONCE;
    assert!(
        during.calls <= allowed,
        "{} calls, and {allowed} are allowed",
        during.calls
    );
}

/// Polls, and sells one order a second.
fn watch(
    station: &Station,
    api: &Api,
    pump: &mut Pump,
    orders: &mut impl Iterator<Item = u64>,
    seconds: u32,
    flood: bool,
) -> Seen {
    let over = AtomicBool::new(false);
    let (kept, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    api.seen();
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let pollers: Vec<_> = (0..POLLERS).map(|_| scope.spawn(|| polls(station, &over))).collect();
        if flood {
            for i in 0..FORGERS {
                let (over, kept, refused) = (&over, &kept, &refused);
                scope.spawn(move || forge(station, i, over, kept, refused));
            }
        }
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
    (seen.kept, seen.refused) = (kept.into_inner(), refused.into_inner());
    seen
}

/// Does something so many times a second, whatever it takes, until it is over.
fn paced(per_second: u32, over: &AtomicBool, mut each: impl FnMut(u64)) {
    let begun = Instant::now();
    for i in 0_u32.. {
        let due = begun + Duration::from_secs(1) * i / per_second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Relaxed) {
            return;
        }
        each(u64::from(i));
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

/// Ids that nobody gave out, neither sealed nor signed; one in four is a repeat.
fn forge(station: &Station, forger: u32, over: &AtomicBool, kept: &AtomicUsize, refused: &AtomicUsize) {
    let mut wire = station.public();
    paced(FORGED_PER_SECOND / FORGERS, over, |i| {
        let i = if i % 4 == 3 { i - 3 } else { i };
        let id = (i * u64::from(FORGERS) + u64::from(forger)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let topic = if i % 2 == 0 { "merchant_order" } else { "payment" };
        let target = format!("/notifications/main?topic={topic}&id={id}");
        wire.send(&request("POST", &target, "{}"));
        match wire.reply().0 {
            200 => kept.fetch_add(1, Relaxed),
            503 => refused.fetch_add(1, Relaxed),
            status => panic!("{status}"),
        };
    });
}

fn print(seconds: u32, before: &mut Seen, during: &mut Seen) {
    let forged = (during.kept + during.refused) / seconds as usize;
    println!("| {seconds} s each | quiet | {forged} forged a second | ratio |\n| --- | ---: | ---: | ---: |");
    for (what, percent) in [("p50", 50), ("p99", 99)] {
        println!(
            "| poll {what} µs (goal for p99: 2) | {} | {} | {:.2} |",
            micros(&mut before.polls, percent),
            micros(&mut during.polls, percent),
            ratio(&mut during.polls, &mut before.polls, percent)
        );
    }
    for (what, percent) in [("p50", 50), ("longest", 100)] {
        println!(
            "| real order to `order_paid` {what} µs | {} | {} | {:.2} |",
            micros(&mut before.paid, percent),
            micros(&mut during.paid, percent),
            ratio(&mut during.paid, &mut before.paid, percent)
        );
    }
    println!(
        "| API calls a second (allowed: {CALLS_PER_SECOND}) | {:.1} | {:.1} | |",
        before.calls as f64 / f64::from(seconds),
        during.calls as f64 / f64::from(seconds)
    );
    println!(
        "| API calls in the busiest second | {} | {} | |",
        before.busiest, during.busiest
    );
    println!(
        "| forged ones kept / refused | | {} / {} | |",
        during.kept, during.refused
    );
}
