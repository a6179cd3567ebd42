//! Polls a second and processor time a poll, beside a bare hyper server that answers every request alike. Believe the
//! ratios only: `cargo bench --bench poll_throughput`; needs taskset.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use support::Served;
use surtidor::net::body::Whole;
use surtidor::net::listen::{Sharing, tcp};
use tokio::net::TcpListener;

const ROUNDS: usize = 5;
const POLLS: usize = 300_000;
/// Many, so that the look-up misses the caches as it does in life.
const POS: usize = 100_000;
const ROLES: [&str; 2] = ["serve", "bare"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => support::serve(POS),
        Some("bare") => bare(),
        _ if arguments.iter().any(|argument| argument == "--bench") => compare(),
        // As a test it only shows that it still runs.
        _ => assert!(ROLES.into_iter().all(|role| round(&[], role, 1_000).0 > 0.0)),
    }
}

fn compare() {
    println!("| round | surtidor polls/s | bare polls/s | ratio | surtidor µs | bare µs | ratio |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut ratios = Vec::new();
    for number in 1..=ROUNDS {
        let [(rate, cost), (bare_rate, bare_cost)] = ROLES.map(|role| round(&["taskset", "-c", "0"], role, POLLS));
        let (by_rate, by_cost) = (rate / bare_rate, cost / bare_cost);
        println!(
            "| {number} | {rate:.0} | {bare_rate:.0} | {by_rate:.2} | {cost:.2} | {bare_cost:.2} | {by_cost:.2} |"
        );
        ratios.push((by_rate, by_cost));
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let rate = median(ratios.iter().map(|ratio| ratio.0).collect());
    let cost = median(ratios.iter().map(|ratio| ratio.1).collect());
    println!("medians: {rate:.2} of the bare server's polls a second, {cost:.2} of its processor time a poll");
}

/// Polls a second, and microseconds of the server's processor time a poll.
fn round(tool: &[&str], role: &str, polls: usize) -> (f64, f64) {
    let served = Served::start(tool, role);
    served.load(polls / 10, POS);
    let (busy, begun) = (processor_time(&served), Instant::now());
    served.load(polls, POS);
    let (passed, busy) = (begun.elapsed(), processor_time(&served) - busy);
    served.stop();
    let per_poll = |time: Duration| time.as_secs_f64() * 1e6 / polls as f64;
    (1e6 / per_poll(passed), per_poll(busy))
}

/// How long the server had a processor until now, in all its threads.
fn processor_time(served: &Served) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", served.child.id())).expect("it runs");
    let nanos = tasks.map(|task| {
        let path = task.expect("it runs").path().join("schedstat");
        let text = std::fs::read_to_string(path).expect("a kernel with schedstat");
        text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

/// The least that hyper can do: no table, no limits, no counters.
fn bare() {
    let listener = tcp(([127, 0, 0, 1], 0).into(), Sharing::Alone).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, serve_bare(listener));
    });
    support::announce_and_wait(port);
}

async fn serve_bare(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("it does not block");
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("it is open");
        let mut http = http1::Builder::new();
        http.writev(false).header_read_timeout(None).half_close(false);
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(same));
        tokio::task::spawn_local(async move { drop(connection.await) });
    }
}

fn same(_: Request<Incoming>) -> Ready<Result<Response<Whole>, Infallible>> {
    let mut response = Response::new(Whole::new(Bytes::from_static(br#"{"error":{"type":"in_process"}}"#)));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ready(Ok(response))
}
