//! Orders on their way to Mercado Pago that take five seconds each, on 500 points of sale: what they do to the orders of
//! another one. Two servers are asked by turns, of which one has them. They were pushed before; or they are pushed at
//! once, each by a controller of its own, when the measurement begins.

use std::thread;
use std::time::{Duration, Instant};

use super::api::{Api, SLOW};
use super::station::{Pump, Station, order_put, put, register};
use super::{median, micros, ratio};

/// As the server is by itself.
const CALLS_PER_SECOND: u32 = 20;
const SLOW_POS: u64 = 500;

/// From the push until its answer, and until the controller was told that Mercado Pago has the order.
#[derive(Default)]
struct Times {
    pushed: Vec<Duration>,
    sent: Vec<Duration>,
}

/// The two servers, and who measures.
struct Bench {
    stations: [Station; 2],
    pumps: [Pump; 2],
    slow: Vec<String>,
    last_slow: Pump,
    next: u64,
}

pub fn run(rounds: usize, pushes: usize) {
    let api = Api::start();
    let stations = [(); 2].map(|()| Station::start(&api, CALLS_PER_SECOND));
    let pumps = stations.each_ref().map(|station| station.pump_as("PUMP4", "attended"));
    let slow: Vec<String> = (1..SLOW_POS).map(|number| format!("{SLOW}{number}")).collect();
    let mut controller = stations[1].controller();
    for pos in &slow {
        register(&mut controller, pos, "attended");
    }
    let last_slow = stations[1].pump_as(&format!("{SLOW}{SLOW_POS}"), "attended");
    let mut bench = Bench {
        stations,
        pumps,
        slow,
        last_slow,
        next: 0,
    };
    bench.compare("pushed before", rounds, |bench| bench.before(pushes));
    bench.compare("pushed at once", rounds, |bench| bench.at_once(pushes));
    for station in bench.stations {
        station.stop();
    }
}

impl Bench {
    fn compare(&mut self, what: &str, rounds: usize, measure: impl Fn(&mut Bench) -> [Times; 2]) {
        println!("500 slow ones, {what}; µs\n");
        println!(
            "| round | pushed p50 | p99 | most | beside 500 slow p50 | p99 | most | ratio of p99 | sent p50 | p99 | most | beside 500 slow p50 | p99 | most | ratio of p99 |"
        );
        println!("|{}", " ---: |".repeat(15));
        let mut ratios = [Vec::new(), Vec::new()];
        for round in 1..=rounds {
            let [quiet, held] = &mut measure(self);
            let pairs = [(&mut quiet.pushed, &mut held.pushed), (&mut quiet.sent, &mut held.sent)];
            let mut row = format!("| {round} ");
            for (ratios, (quiet, held)) in ratios.iter_mut().zip(pairs) {
                for times in [&mut *quiet, &mut *held] {
                    for percent in [50, 99, 100] {
                        row += &format!("| {} ", micros(times, percent));
                    }
                }
                let by = ratio(held, quiet, 99);
                row += &format!("| {by:.2} ");
                ratios.push(by);
            }
            println!("{row}|");
        }
        let [pushed, sent] = ratios.map(median);
        println!("\nmedians: {pushed:.2} until the answer, {sent:.2} until it is sent (goal 1.2)\n");
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Each is sent, and from the second round on in place of one that is there.
    fn before(&mut self, pushes: usize) -> [Times; 2] {
        let begun = Instant::now();
        let mut controller = self.stations[1].controller();
        for pos in self.slow.clone() {
            let next = self.number();
            put(&mut controller, &pos, next);
        }
        let last = self.number();
        self.last_slow.put(last);
        let times = self.push(pushes, Duration::ZERO);
        self.end(begun, last);
        times
    }

    /// One push after the other for as long as the slow ones take.
    fn at_once(&mut self, pushes: usize) -> [Times; 2] {
        let mut wires: Vec<_> = self.slow.iter().map(|_| self.stations[1].controller()).collect();
        let requests: Vec<String> = self
            .slow
            .clone()
            .iter()
            .map(|pos| order_put(pos, self.number()))
            .collect();
        let last = self.number();
        let begun = Instant::now();
        let burst = thread::spawn(move || {
            for (wire, request) in wires.iter_mut().zip(&requests) {
                wire.send(request);
            }
            for wire in &mut wires {
                wire.answer(201);
            }
            begun.elapsed()
        });
        let every = Api::SLOW_ANSWER * 9 / 10 / u32::try_from(pushes).expect("some");
        let times = self.push(pushes, every);
        println!(
            "<!-- all {} were acknowledged after {:?} -->",
            self.slow.len(),
            burst.join().expect("no panic")
        );
        self.last_slow.put(last);
        self.end(begun, last);
        times
    }

    /// So many, no more often than this, on both by turns.
    fn push(&mut self, pushes: usize, every: Duration) -> [Times; 2] {
        let begun = Instant::now();
        let mut times = [Times::default(), Times::default()];
        for push in 0..pushes {
            let at = begun + every * u32::try_from(push).expect("some");
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let next = self.number();
            for (pump, times) in self.pumps.iter_mut().zip(&mut times) {
                let (pushed, sent) = pump.send(next);
                times.pushed.push(pushed);
                times.sent.push(sent);
            }
        }
        times
    }

    fn end(&mut self, begun: Instant, last: u64) {
        let took = begun.elapsed();
        assert!(took < Api::SLOW_ANSWER, "{took:?}: they were not slow all the time");
        self.last_slow.until_sent(last);
    }
}
