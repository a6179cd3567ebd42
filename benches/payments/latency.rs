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
use super::{micros, ratio};

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

pub fn run(orders: usize) {
    let api = Api::start();
    let station = Station::start(&api, CALLS_PER_SECOND);
    for at_once in [1, 8] {
        print(at_once, measure(&station, &api, at_once, orders / at_once));
    }
    station.stop();
}

fn measure(station: &Station, api: &Api, at_once: usize, rounds: usize) -> Times {
    let together = Barrier::new(at_once);
    let buyers = (0..at_once).map(|i| Buyer::new(station, api, at_once, i));
    let buyers: Vec<_> = buyers.collect();
    std::thread::scope(|scope| {
        let buy = |buyer: Buyer| scope.spawn(|| buyer.buy(api, &together, rounds));
        let threads: Vec<_> = buyers.into_iter().map(buy).collect();
        let mut all = Times::default();
        for thread in threads {
            let times = thread.join().expect("no panic");
            all.paid.extend(times.paid);
            all.least.extend(times.least);
            all.calls.extend(times.calls);
            for (all, part) in all.parts.iter_mut().zip(times.parts) {
                all.extend(part);
            }
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
            first: (at_once * 100_000 + i * 10_000) as u64,
        }
    }

    fn buy(mut self, api: &Api, together: &Barrier, rounds: usize) -> Times {
        let mut times = Times::default();
        let orders = u32::try_from(self.at_once).expect("few");
        let pace = Duration::from_secs(1) * CALLS * orders / CALLS_PER_SECOND;
        for n in (self.first..).take(rounds) {
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
            let written = self.disk.write_all(&[7; 600]).and_then(|()| self.disk.sync_data());
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

fn print(at_once: usize, mut times: Times) {
    let (p50, p99) = (
        ratio(&mut times.paid, &mut times.least, 50),
        ratio(&mut times.paid, &mut times.least, 99),
    );
    println!(
        "| {} orders, {at_once} at once | p50 µs | p99 µs |\n| --- | ---: | ---: |",
        times.paid.len()
    );
    let row =
        |name: &str, times: &mut [Duration]| println!("| {name} | {} | {} |", micros(times, 50), micros(times, 99));
    row("notification to `order_paid`", &mut times.paid);
    row("two calls + two fsyncs", &mut times.least);
    println!("| ratio (goal 1.5) | {p50:.2} | {p99:.2} |");
    row("of the least, the calls", &mut times.calls);
    let names = [
        "kept, and taken up: the first call comes",
        "search and merchant order: the payment is asked for",
        "the payment is told",
        "settled and told",
    ];
    for (name, part) in names.into_iter().zip(&mut times.parts) {
        if !part.is_empty() {
            row(name, part);
        }
    }
    println!();
}
