//! What one poll costs: instructions, heap allocations and system calls. These do not depend on what else the machine
//! does, so they are the gate. Run with `cargo bench --bench poll_cost`; needs valgrind and strace.
//!
//! Each figure is the difference of two runs, with N and 2N polls, divided by N: the start is in both.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::path::Path;

use support::Served;

const POLLS: usize = 20_000;
/// Few: how long the start takes depends on the table's random seed, and what is counted does not depend on caches.
const POS: usize = 2_000;

/// What is counted, what we want, and what fails the run: 5 % more instructions than the 7,960 recorded with Rust 1.95
/// (runs differ by 1 %), or one allocation in a hundred polls.
const GOALS: [(&str, f64, f64); 3] = [
    ("user instructions", 8_000.0, 8_360.0),
    ("heap allocations", 0.0, 0.01),
    ("system calls", 2.03, 2.1),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => support::serve(POS),
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(),
        // As a test it only shows that it still runs.
        _ => run(&[], 1_000),
    }
}

fn measure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (callgrind, strace) = (folder.path().join("callgrind"), folder.path().join("strace"));
    let out = format!("--callgrind-out-file={}", callgrind.display());
    let counted = [1, 2].map(|times| {
        run(&["valgrind", "--tool=callgrind", &out], times * POLLS);
        let (instructions, allocations) = read_callgrind(&callgrind);
        run(
            &["strace", "-f", "-c", "-o", &strace.display().to_string()],
            times * POLLS,
        );
        [instructions, allocations, read_strace(&strace)]
    });
    println!(
        "| per poll, {} connections | measured | goal | floor |",
        support::CONNECTIONS
    );
    println!("| --- | ---: | ---: | ---: |");
    let mut well = true;
    for (i, (what, goal, floor)) in GOALS.into_iter().enumerate() {
        let measured = (counted[1][i] as f64 - counted[0][i] as f64) / POLLS as f64;
        println!("| {what} | {measured:.2} | {goal} | {floor} |");
        well &= measured <= floor;
    }
    assert!(well, "a floor was missed");
}

fn run(tool: &[&str], polls: usize) {
    let served = Served::start(tool, "serve");
    served.load(polls, POS);
    served.stop();
}

/// Instructions in all, and calls of the allocator's functions.
fn read_callgrind(path: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(path).expect("valgrind wrote it");
    let mut allocators = Vec::new();
    let (mut instructions, mut allocations) = (0, 0);
    let mut called_allocator = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn=")) {
            // A function is written with its name once, `(7) malloc`, and then by its number alone.
            let (number, name) = name.split_once(' ').unwrap_or((name, ""));
            if ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"].contains(&name) {
                allocators.push(number);
            }
            called_allocator = line.starts_with('c') && allocators.contains(&number);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let calls: u64 = calls
                .split(' ')
                .next()
                .and_then(|calls| calls.parse().ok())
                .expect("a count");
            allocations += if called_allocator { calls } else { 0 };
        } else if let Some(total) = line.strip_prefix("totals: ") {
            instructions = total.parse().expect("a count");
        }
    }
    assert!(
        instructions > 0 && allocations > 0,
        "valgrind's file is not as expected"
    );
    (instructions, allocations)
}

/// The third column of `strace -c`, `calls`, of its last line, `total`.
fn read_strace(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).expect("strace wrote it");
    let total = text.lines().find(|line| line.ends_with(" total")).expect("a total");
    total
        .split_whitespace()
        .nth(3)
        .and_then(|calls| calls.parse().ok())
        .expect("a count of calls")
}
