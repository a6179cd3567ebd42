//! How soon a controller hears that its order was paid, and what a flood of forged notifications changes. Mercado Pago's
//! API answers at once here, with what is fixed, so that what is measured is ours: `cargo bench --bench payments`, or
//! with `-- latency` or `-- flood` one part of it. Believe the ratios, and of those the medians: what else the machine
//! does shows in a round or two.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod api;
mod flood;
mod latency;
mod station;

use std::time::Duration;

/// As the server's own program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    // As a test it only shows that it still runs.
    let measuring = named("--bench");
    let rounds = if measuring { 5 } else { 1 };
    if !named("flood") {
        latency::run(rounds, if measuring { 300 } else { 16 });
    }
    if !named("latency") {
        flood::run(rounds, if measuring { 12 } else { 1 });
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
