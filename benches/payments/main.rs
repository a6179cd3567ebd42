//! How soon a controller hears that its order was paid, what a flood of forged notifications changes, and what slow points
//! of sale do to the orders of another one. Mercado Pago's
//! API answers at once here, with what is fixed, so that what is measured is ours: `cargo bench --bench payments`, or
//! with `-- latency`, `-- flood` or `-- slow` one part of it. Believe the ratios, and of those the medians: what else the machine
//! does shows in a round or two.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod api;
mod flood;
mod latency;
mod slow;
mod station;

use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    // As a test it only shows that it still runs.
    let measuring = named("--bench");
    let rounds = if measuring { 5 } else { 1 };
    let only = ["latency", "flood", "slow"].into_iter().find(|part| named(part));
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("latency") {
        latency::run(rounds, if measuring { 300 } else { 16 });
    }
    if wanted("flood") {
        flood::run(rounds, if measuring { 12 } else { 1 });
    }
    if wanted("slow") {
        slow::run(rounds, if measuring { 1_000 } else { 16 });
    }
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

fn micros(times: &mut [Duration], percent: usize) -> u128 {
    at(times, percent).as_micros()
}

fn ratio(times: &mut [Duration], base: &mut [Duration], percent: usize) -> f64 {
    at(times, percent).as_secs_f64() / at(base, percent).as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
