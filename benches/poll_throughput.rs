//! Polls a second and processor time a poll, beside a bare epoll loop with a look-up and a bare hyper server that answers
//! every request alike; on connections that stay, and with a connection for each poll. Believe the ratios only: `cargo
//! bench --bench poll_throughput`; needs taskset.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use support::load::{Kind, Load};
use support::{CONNECTIONS, Served, alone_on, median};
use surtidor::net::body::Whole;
use surtidor::net::listen::{Sharing, tcp};
use tokio::net::TcpListener;

const ROUNDS: usize = 7;
/// Many, so that the look-up misses the caches as it does in life.
const POS: usize = 100_000;
/// The baseline first.
const ROLES: [(&str, &str); 3] = [
    ("raw", "bare epoll loop"),
    ("serve", "surtidor"),
    ("bare", "bare hyper"),
];
const KINDS: [(Kind, usize, &str); 2] = [
    (Kind::KeepAlive, 250_000, "connections that stay"),
    (Kind::Close, 20_000, "a connection for each poll"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => support::serve(POS),
        Some("raw") => support::raw::serve(POS),
        Some("bare") => bare(),
        _ if arguments.iter().any(|argument| argument == "--bench") => KINDS.map(compare).into_iter().collect(),
        // As a test it only shows that it still runs.
        _ => {
            for (role, _) in ROLES {
                for (kind, ..) in KINDS {
                    assert!(round(&[], role, kind, 500).rate > 0.0);
                }
            }
        }
    }
}

fn compare((kind, polls, what): (Kind, usize, &str)) {
    alone_on(1);
    let rounds: Vec<[Figures; 3]> = (0..ROUNDS)
        .map(|_| ROLES.map(|(role, _)| round(&["taskset", "-c", "0"], role, kind, polls)))
        .collect();
    println!("| {what} | polls/s | ÷ baseline | processor µs a poll | × baseline | share of its core |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (i, (_, name)) in ROLES.into_iter().enumerate() {
        let of = |figure: &dyn Fn(&[Figures; 3]) -> f64| median(rounds.iter().map(figure).collect());
        println!(
            "| {name} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            of(&|round| round[i].rate),
            of(&|round| round[i].rate / round[0].rate),
            of(&|round| round[i].cost),
            of(&|round| round[i].cost / round[0].cost),
            of(&|round| round[i].rate * round[i].cost / 1e6),
        );
    }
    println!();
}

struct Figures {
    /// Polls a second.
    rate: f64,
    /// Microseconds of the server's processor time a poll.
    cost: f64,
}

fn round(tool: &[&str], role: &str, kind: Kind, polls: usize) -> Figures {
    let served = Served::start(tool, role);
    let mut load = Load::new(served.port, kind, CONNECTIONS, POS);
    load.closed(polls / 10);
    let (busy, begun) = (served.processor_time(), Instant::now());
    load.closed(polls);
    let (passed, busy) = (begun.elapsed(), served.processor_time() - busy);
    drop(load);
    served.stop();
    Figures {
        rate: polls as f64 / passed.as_secs_f64(),
        cost: busy.as_secs_f64() * 1e6 / polls as f64,
    }
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
