//! From a notification to `order_paid` on the controller's feed, beside the least that it could take: the two calls of
//! the API one after the other, and two appends with their fdatasync. Both are measured by turns, as a busy machine
//! slows down both.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::api::{self, Api, What};
use super::station::{Pump, Station, Wire};
use super::{median, micros, ratio};

/// As many as the configuration allows.
const CALLS_PER_SECOND: u32 = 1_000;
/// What a look at an order calls: search, merchant order, payment.
const CALLS: u32 = 3;

#[derive(Default)]
struct Times {
    paid: Vec<Duration>,
    least: Vec<Duration>,
    calls: Vec<Duration>,
    /// Of a paid order's time: until the first call, until the payment was asked for, until the last answer, until the
    /// controller was told.
    parts: [Vec<Duration>; 4],
}

impl Times {
    fn take(&mut self, more: Times) {
        self.paid.extend(more.paid);
        self.least.extend(more.least);
        self.calls.extend(more.calls);
        for (all, part) in self.parts.iter_mut().zip(more.parts) {
            all.extend(part);
        }
    }
}

pub fn run(rounds: usize, orders: usize) {
    let api = Api::start();
    let station = Station::start(&api, CALLS_PER_SECOND);
    for at_once in [1, 8] {
        println!(
            "| µs, {orders} orders a round, {at_once} at once | paid p50 | least p50 | ratio | paid p99 | least p99 | ratio |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        let mut all = Times::default();
        let mut ratios = Vec::new();
        for round in 1..=rounds {
            let mut times = measure(&station, &api, at_once, round, orders / at_once);
            ratios.push(print(round, &mut times));
            all.take(times);
        }
        let by_p50 = median(ratios.iter().map(|ratio| ratio.0).collect());
        let by_p99 = median(ratios.iter().map(|ratio| ratio.1).collect());
        println!("medians: {by_p50:.2} at p50, {by_p99:.2} at p99 (goal 1.5)\n");
        if at_once == 1 {
            print_parts(&mut all);
        }
    }
    station.stop();
}

fn measure(station: &Station, api: &Api, at_once: usize, round: usize, orders: usize) -> Times {
    let together = Barrier::new(at_once);
    let buyers = (0..at_once).map(|i| Buyer::new(station, api, at_once, round * 10 + i));
    let buyers: Vec<_> = buyers.collect();
    std::thread::scope(|scope| {
        let buy = |buyer: Buyer| scope.spawn(|| buyer.buy(api, &together, orders));
        let threads: Vec<_> = buyers.into_iter().map(buy).collect();
        let mut all = Times::default();
        for thread in threads {
            all.take(thread.join().expect("no panic"));
        }
        all
    })
}

struct Buyer {
    pump: Pump,
    api: Wire<TcpStream>,
    disk: File,
    at_once: usize,
    first: u64,
}

impl Buyer {
    fn new(station: &Station, api: &Api, at_once: usize, i: usize) -> Buyer {
        let name = format!("P{at_once}-{i}");
        let file = station.folder.path().join(&name);
        Buyer {
            pump: station.pump(&name),
            api: Wire::tcp(api.address),
            disk: OpenOptions::new().create(true).append(true).open(file).expect("a file"),
            at_once,
            first: (at_once * 100_000 + i * 1_000) as u64,
        }
    }

    fn buy(mut self, api: &Api, together: &Barrier, orders: usize) -> Times {
        let mut times = Times::default();
        let at_once = u32::try_from(self.at_once).expect("few");
        let pace = Duration::from_secs(1) * CALLS * at_once / CALLS_PER_SECOND;
        for n in (self.first..).take(orders) {
            let begun = Instant::now();
            let target = self.pump.sell(n);
            together.wait();
            self.least(n, &mut times);
            together.wait();
            if self.at_once == 1 {
                api.seen();
            }
            let (sent, told) = self.pump.pay(n, &target);
            times.paid.push(told - sent);
            if self.at_once == 1 {
                divide(api, sent, told, &mut times);
            }
            // So that no call waits for the configured rate.
            std::thread::sleep(pace.saturating_sub(begun.elapsed()));
        }
        times
    }

    fn least(&mut self, n: u64, times: &mut Times) {
        let begun = Instant::now();
        self.api.ask(&api::search(n), 200);
        self.api.ask(&api::payment(n), 200);
        times.calls.push(begun.elapsed());
        for _ in 0..2 {
            let written = self.disk.write_all(&[7; 4096]).and_then(|()| self.disk.sync_data());
            written.expect("written");
        }
        times.least.push(begun.elapsed());
    }
}

fn divide(api: &Api, sent: Instant, told: Instant, times: &mut Times) {
    let seen = api.seen();
    let first = seen.iter().map(|call| call.asked).min();
    let payment = seen.iter().find(|call| call.what == What::Payment);
    let (Some(first), Some(payment)) = (first, payment) else {
        panic!("paid without asking: {seen:?}")
    };
    assert_eq!(seen.len(), CALLS as usize, "{seen:?}");
    let moments = [sent, first, payment.asked, payment.answered, told];
    for (part, pair) in times.parts.iter_mut().zip(moments.windows(2)) {
        part.push(pair[1].saturating_duration_since(pair[0]));
    }
}

/// The ratios at p50 and p99.
fn print(round: usize, times: &mut Times) -> (f64, f64) {
    let Times { paid, least, .. } = times;
    let (p50, p99) = (ratio(paid, least, 50), ratio(paid, least, 99));
    let at = |times: &mut [Duration], percent| micros(times, percent);
    println!(
        "| {round} | {} | {} | {p50:.2} | {} | {} | {p99:.2} |",
        at(paid, 50),
        at(least, 50),
        at(paid, 99),
        at(least, 99)
    );
    (p50, p99)
}

fn print_parts(times: &mut Times) {
    println!("| where it goes, µs | p50 | p99 |\n| --- | ---: | ---: |");
    let names = [
        "kept and taken up: until the first call comes",
        "search and merchant order: until the payment is asked for",
        "the payment is told",
        "settled and told",
    ];
    let parts = names.into_iter().zip(&mut times.parts);
    for (name, part) in parts.chain([("the two calls of the least", &mut times.calls)]) {
        println!("| {name} | {} | {} |", micros(part, 50), micros(part, 99));
    }
    println!();
}
