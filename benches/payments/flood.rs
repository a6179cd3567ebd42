//! A thousand forged notifications a second: what they do to polls, to a real order, and to the calls of the API.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::api::Api;
use super::station::{Pump, Station, poll, request};
use super::{median, micros, ratio};

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

pub fn run(rounds: usize, seconds: u32) {
    let api = Api::start();
    println!("{FORGED_PER_SECOND} forged notifications a second, for {seconds} s after as long a quiet\n");
    println!(
        "| poll p99 µs | forged | ratio | paid p50 µs | forged | longest | forged | calls a second | busiest | kept | refused |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ratios: Vec<f64> = (0..rounds).map(|_| round(&api, seconds)).collect();
    println!(
        "median of the polls' ratios: {:.2} (goal 2); calls allowed a second: {CALLS_PER_SECOND}",
        median(ratios)
    );
}

/// By how much polls are slower.
fn round(api: &Api, seconds: u32) -> f64 {
    let station = Station::start(api, CALLS_PER_SECOND);
    drop(station.pump("IDLE"));
    let mut pump = station.pump("REAL");
    let mut orders = 0..;
    let mut quiet = watch(&station, api, &mut pump, &mut orders, seconds, false);
    let mut forged = watch(&station, api, &mut pump, &mut orders, seconds, true);
    station.stop();
    let slower = ratio(&mut forged.polls, &mut quiet.polls, 99);
    println!(
        "| {} | {} | {slower:.2} | {} | {} | {} | {} | {:.1} | {} | {} | {} |",
        micros(&mut quiet.polls, 99),
        micros(&mut forged.polls, 99),
        micros(&mut quiet.paid, 50),
        micros(&mut forged.paid, 50),
        micros(&mut quiet.paid, 100),
        micros(&mut forged.paid, 100),
        forged.calls as f64 / f64::from(seconds),
        forged.busiest,
        forged.kept,
        forged.refused
    );
    let allowed = (CALLS_PER_SECOND * seconds) as usize + CALLS_AT_ONCE;
    assert!(
        forged.calls <= allowed,
        "{} calls, and {allowed} are allowed",
        forged.calls
    );
    slower
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
