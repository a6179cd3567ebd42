//! Tracing and metrics, set up. What is traced and counted stands where it happens.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tracing_subscriber::EnvFilter;

mod lines;

pub use lines::Lines;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

/// Sets tracing up for the whole process, on standard error. `filter` is an `EnvFilter`, such as `surtidor=debug`. What it
/// gives is held to the end, so that the last lines are written.
pub fn trace(format: LogFormat, filter: &str, on_terminal: bool) -> Result<Lines, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("the log filter {filter:?} is wrong: {error}"))?;
    let (pen, lines) = lines::start(std::io::stderr()).map_err(|error| format!("no thread for the log: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || pen.clone())
        .with_target(false);
    let json = match format {
        LogFormat::Auto => !on_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let set = if json {
        builder.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        builder.with_ansi(on_terminal).try_init()
    };
    set.map_err(|error| error.to_string())?;
    Ok(lines)
}

/// The numbers of one server.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

/// Seconds, from a poll's tens of microseconds to a disk that stalls.
const SECONDS: &[f64] = &[
    0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];
const COMMANDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Metrics {
    pub fn new() -> Metrics {
        let buckets = "the buckets are not empty";
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
            .expect(buckets)
            .set_buckets_for_metric(Matcher::Suffix("_commands".into()), COMMANDS)
            .expect(buckets)
            .build_recorder();
        let handle = recorder.handle();
        let metrics = Metrics {
            recorder: Arc::new(recorder),
            handle,
        };
        metrics.within(|| {
            describe_gauge!("surtidor_build_info", "1, with the version as a label.");
            gauge!("surtidor_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        metrics
    }

    /// Counters made within `work`, on this thread, are this server's.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&*self.recorder, work)
    }

    /// In Prometheus' text form.
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        text.push_str(&process());
        text
    }

    /// Without it, what is sampled between two scrapes piles up; and there may be nobody who scrapes.
    pub async fn keep_up(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// The process's own numbers, as far as `/proc` tells them. Seconds of processor time are a counter with a fraction,
/// which the `metrics` crate does not have.
fn process() -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            // A String takes all that is written.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    };
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in brackets, may itself have spaces and brackets.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .skip(1)
                .map(|field| field.parse().unwrap_or(0))
                .collect()
        })
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 4).copied();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| line_number(&status, name).map(|kib| (kib * 1024).to_string());
    let boot = std::fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|stat| line_number(&stat, "btime"));
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();

    let cpu = field(14).zip(field(15)).map(|(user, system)| hundredths(user + system));
    add(
        "process_cpu_seconds_total",
        "counter",
        "User and system processor time.",
        cpu,
    );
    let start = boot.zip(field(22)).map(|(boot, ticks)| hundredths(boot * 100 + ticks));
    add(
        "process_start_time_seconds",
        "gauge",
        "When the process began, in seconds since 1970.",
        start,
    );
    add(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory.",
        bytes("VmRSS:"),
    );
    add(
        "process_virtual_memory_bytes",
        "gauge",
        "Virtual memory.",
        bytes("VmSize:"),
    );
    add(
        "process_threads",
        "gauge",
        "Threads.",
        line_number(&status, "Threads:").map(|n| n.to_string()),
    );
    let open = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|fds| fds.count().to_string());
    add("process_open_fds", "gauge", "Open file descriptors.", open);
    add(
        "process_max_fds",
        "gauge",
        "The most file descriptors that may be open.",
        line_number(&limits, "Max open files").map(|n| n.to_string()),
    );
    text
}

/// The first number of the line that begins so.
fn line_number(text: &str, begins: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(begins))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

/// Linux counts a process's time in hundredths of a second.
fn hundredths(ticks: u64) -> String {
    format!("{}.{:02}", ticks / 100, ticks % 100)
}

/// How many files the process may have open.
pub fn open_files_max() -> Option<u64> {
    std::fs::read_to_string("/proc/self/limits")
        .ok()
        .and_then(|limits| line_number(&limits, "Max open files"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_tells_its_basics() {
        let text = process();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{name} is missing in {text}");
        }
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("process_start_time_seconds "))
            .expect("a start time");
        assert!(
            start.starts_with('1') && start.len() == 13,
            "{start} is a time of this century with two decimals"
        );
    }

    #[test]
    fn each_server_has_its_own_numbers() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.within(|| metrics::counter!("surtidor_test_total").increment(1));
        assert!(one.render().contains("surtidor_test_total 1"));
        assert!(!other.render().contains("surtidor_test_total"));
    }
}
