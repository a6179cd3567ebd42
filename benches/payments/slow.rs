//! Orders on their way to Mercado Pago that take five seconds each, on 500 points of sale: what they do to the orders of
//! another one. Two servers are asked by turns, of which one has them.

use std::time::{Duration, Instant};

use super::api::{Api, SLOW};
use super::station::{Station, put, register};
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

pub fn run(rounds: usize, pushes: usize) {
    let api = Api::start();
    let stations = [(); 2].map(|()| Station::start(&api, CALLS_PER_SECOND));
    let mut pumps = stations.each_ref().map(|station| station.pump_as("PUMP4", "attended"));
    let slow: Vec<String> = (1..SLOW_POS).map(|number| format!("{SLOW}{number}")).collect();
    let mut controller = stations[1].controller();
    for pos in &slow {
        register(&mut controller, pos, "attended");
    }
    let mut last_slow = stations[1].pump_as(&format!("{SLOW}{SLOW_POS}"), "attended");
    println!(
        "| µs, {pushes} pushes a round | pushed p50 | p99 | beside 500 slow p50 | p99 | ratio of p99 | sent p50 | p99 | beside 500 slow p50 | p99 | ratio of p99 |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut ratios = [Vec::new(), Vec::new()];
    let mut next = 0;
    for round in 1..=rounds {
        // Each is sent, and from the second round on in place of one that is there.
        let begun = Instant::now();
        for pos in &slow {
            next += 1;
            put(&mut controller, pos, next);
        }
        next += 1;
        last_slow.put(next);
        let last = next;
        let mut times = [Times::default(), Times::default()];
        for _ in 0..pushes {
            next += 1;
            for (pump, times) in pumps.iter_mut().zip(&mut times) {
                let (pushed, sent) = pump.send(next);
                times.pushed.push(pushed);
                times.sent.push(sent);
            }
        }
        let took = begun.elapsed();
        assert!(took < Api::SLOW_ANSWER, "{took:?}: they were not slow all the time");
        let [quiet, held] = &mut times;
        let mut row = format!("| {round} ");
        for (ratios, (quiet, held)) in ratios
            .iter_mut()
            .zip([(&mut quiet.pushed, &mut held.pushed), (&mut quiet.sent, &mut held.sent)])
        {
            let [quiet_p50, quiet_p99] = [50, 99].map(|percent| micros(quiet, percent));
            let [held_p50, held_p99] = [50, 99].map(|percent| micros(held, percent));
            let by = ratio(held, quiet, 99);
            row += &format!("| {quiet_p50} | {quiet_p99} | {held_p50} | {held_p99} | {by:.2} ");
            ratios.push(by);
        }
        println!("{row}|");
        last_slow.until_sent(last);
    }
    let [pushed, sent] = ratios.map(median);
    println!("medians: {pushed:.2} until the answer, {sent:.2} until it is sent (goal 1.2)\n");
    for station in stations {
        station.stop();
    }
}
