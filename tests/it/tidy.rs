//! What must hold of the source itself: the arrows between rooms, what each room never names, docs, lengths, limits,
//! metrics. It reads `src/` as text, so it knows paths and not meanings: a room's tests are left out, since they may
//! reach further than the room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, the rooms that it may use, and why where the reason is not plain from the design.
#[rustfmt::skip]
const ARROWS: [(&str, &str, &str); 29] = [
    ("limits",    "", "numbers only"),
    ("domain",    "limits", "the rules must run a million times in a test"),
    ("seal",      "domain limits", "pure, but for HMAC"),
    ("peer",      "limits", "addresses and what proxies say: pure"),
    ("tls",       "limits", "certificates and sessions: no file, no socket"),
    ("clock",     "domain", "it tells the time as the domain writes it"),
    ("config",    "domain limits peer tls", "tls, so that whoever checks the configuration checks certificates, too"),
    ("log",       "domain limits seal", "seal for its key, which the log keeps"),
    ("mercadopago", "config domain limits", "no face, no log: who asks decides what an answer means"),
    ("table",     "domain limits seal", "neither engine nor log: a poll has nothing to wait for"),
    ("feed",      "clock domain limits log", ""),
    ("engine",    "clock config domain feed limits log table", "no face: a command is the same however it came"),
    ("tracker",   "clock config domain engine feed limits log mercadopago", "no face: it submits commands like any other"),
    ("net",       "limits peer tls", "faces share it, so it knows none of them"),
    ("systemd",   "limits net", "net makes listeners of what is handed over; what is served, and whether it does well, is for others to say"),
    ("telemetry", "limits", "it sets up; what is counted stands where it happens"),
    ("link",      "clock config domain engine limits mercadopago net", "net for the word to stop; it puts tokens in place, and knows no order"),
    ("admin",     "limits net telemetry", "app hands it what to ask, as functions"),
    ("control",   "clock config domain engine feed limits log net seal telemetry", "log for what is read; only the engine writes"),
    ("notify",    "config domain engine limits link mercadopago net seal telemetry", "not poll, which hands it what is not a poll through app"),
    ("poll",      "limits net peer table telemetry tls", "a poll has nothing to wait for"),
    ("sandbox",   "clock limits net", "a simulated Mercado Pago: our own client and rules must not be mirrored in it"),
    ("qr",        "limits", "a text or a picture becomes modules, and modules pictures"),
    ("app",       "admin clock config control domain engine feed limits link log mercadopago net notify poll seal systemd table telemetry tls tracker", "builds all"),
    ("client",    "domain limits", "it asks the control socket like any other program: nothing of the server"),
    ("demo",      "client clock domain limits net qr sandbox", "its machines know the control socket and no more; the server is a process of its own"),
    ("cli",       "app client config demo domain engine limits link log mercadopago qr sandbox systemd table telemetry", "table for the secret in `pos url`, engine for how the server ended, mercadopago and link for `pos provision`, log for copies of it"),
    ("main",      "cli config", "arguments in, exit code out"),
    ("lib",       "", "the map of the crate"),
];

/// Crates that only some rooms may name, and why. Hyper is in more rooms than faces and net: config parses URLs with its
/// `Uri`, table keeps replies with their `StatusCode`, app names its `Service`; a second parser or list would only differ.
#[rustfmt::skip]
const CRATES: [(&str, &str, &str); 19] = [
    ("rusqlite",       "log", "there will be a second storage engine"),
    ("hyper",          "admin app cli client config control demo mercadopago net notify poll sandbox table", "what knows HTTP is at the edge"),
    ("hyper_util",     "client mercadopago net sandbox", "sockets meet hyper in one place, and in the clients"),
    ("http_body_util", "cli client demo mercadopago net sandbox", "the same for bodies"),
    ("hyper_rustls",   "mercadopago", "one way out"),
    ("tokio_rustls",   "client net", "one way in; and the client, to a server elsewhere"),
    ("rustls",         "client mercadopago net tls", "the ways out, the way in, and what is shown there"),
    ("clap",           "cli", "nothing else has arguments"),
    ("clap_mangen",    "cli", "the manual is made of the arguments"),
    ("qrcode",         "qr sandbox", "what we draw is checked against what the other draws"),
    ("png",            "qr sandbox", "the same for pictures; those of the other are read in qr"),
    ("csv",            "cli", "nothing else reads tables"),
    ("toml",           "config", "nothing else is written in it"),
    ("triomphe",       "table", "what polls read is laid out in one place"),
    ("dashmap",        "engine feed", "its shards have locks: never in a poll"),
    ("socket2",        "net", "listeners are made in one place"),
    ("listenfd",       "systemd", "nobody else is handed sockets"),
    ("tracing_subscriber",          "telemetry", "set up once"),
    ("metrics_exporter_prometheus", "telemetry", "set up once"),
];

/// All crates that the domain may name beside std; and of std nothing that reads a clock, does IO or waits.
const DOMAIN_CRATES: [&str; 3] = ["rust_decimal", "smol_str", "thiserror"];
const DOMAIN_NEVER: [&str; 8] = [
    "SystemTime",
    "Instant",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "async",
];

/// What is written nowhere else, and why.
#[rustfmt::skip]
const ONE_PLACE: [(&[&str], &str, &str); 4] = [
    (&["std::env", "env::"], "config", "one place reads the environment"),
    (&["print!", "println!", "eprint!", "eprintln!", "dbg!"], "cli", "one place prints"),
    (&["stdout()"], "cli main", "main hands it to cli, so that tests can hand another"),
    (&["io::stderr"], "cli telemetry", "telemetry writes the log's lines there; cli asks whether it is a terminal"),
];

/// Whether a table's list of rooms has this one.
fn lists(rooms: &str, room: &str) -> bool {
    rooms.split(' ').any(|listed| listed == room)
}

/// A file tells one story. Which may be longer than this many lines, and why.
const LINES: usize = 700;
const LONG: [(&str, &str); 0] = [];

/// A file of `src/`: the room it is in, how deep its module lies, and its code without comments and tests.
struct Source {
    name: String,
    room: String,
    depth: usize,
    text: String,
    code: String,
}

impl Source {
    fn new(name: &str, text: String) -> Source {
        let parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
        let depth = parts.len() - usize::from(parts.len() > 1 && parts.last() == Some(&"mod"));
        Source {
            name: name.to_owned(),
            room: parts[0].to_owned(),
            depth,
            code: code_of(&text),
            text,
        }
    }

    /// The first name of each path that leads out of the room: `crate::x`, `surtidor::x`, or as many `super::` as it is deep.
    fn arrows(&self) -> BTreeSet<String> {
        let up = "super::".repeat(self.depth);
        ["crate::", "surtidor::", &up]
            .into_iter()
            .flat_map(|root| after(&self.code, root))
            .flat_map(|rest| match rest.strip_prefix('{') {
                Some(group) => members(group),
                None => vec![first_word(rest)],
            })
            .filter(|room| *room != self.room)
            .collect()
    }

    fn is_test(&self) -> bool {
        self.name.split('/').any(|part| part == "tests" || part == "tests.rs")
    }
}

/// Without comments and inline tests. A path in a string would be taken for code; so far none is.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            if lines.peek().is_some_and(|next| next.ends_with('{')) {
                lines.by_ref().find(|line| *line == "}");
            }
            continue;
        }
        let comment = if line.trim_start().starts_with("//") {
            Some(0)
        } else {
            line.find(" // ")
        };
        code.push_str(&line[..comment.unwrap_or(line.len())]);
        code.push('\n');
    }
    code
}

/// What follows each `name` that begins a word.
fn after<'a>(code: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let begins = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
    code.match_indices(name)
        .filter(move |(at, _)| begins(*at))
        .map(|(at, name)| &code[at + name.len()..])
}

fn first_word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || "_*".contains(*c))
        .collect()
}

/// The first names of a group's members: `a::{b, c}, d` has `a` and `d`.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut begin) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(first_word(&group[begin..at]));
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the source") {
        let path = entry.expect("a file of the source").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut paths = Vec::new();
    rust_files(&src, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&src).expect("it was found there");
        Source::new(&name.to_string_lossy(), fs::read_to_string(&path).expect("text"))
    };
    let sources: Vec<_> = paths.into_iter().map(read).collect();
    assert!(sources.len() > 50, "the source was found");
    sources
}

fn product() -> Vec<Source> {
    sources().into_iter().filter(|source| !source.is_test()).collect()
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn wrong_arrows(source: &Source) -> Vec<String> {
    let name = &source.name;
    let Some((_, may, why)) = ARROWS.iter().find(|(room, ..)| *room == source.room) else {
        return vec![format!(
            "{name}: the room {} is not in the table: say what it may use",
            source.room
        )];
    };
    let wrong = source.arrows().into_iter().filter(|to| !lists(may, to));
    let mut faults: Vec<_> = wrong
        .map(|to| format!("{name}: {} may not use {to}, only `{may}` ({why})", source.room))
        .collect();
    if source.code.contains("pub use crate::") {
        faults.push(format!(
            "{name}: passes on what belongs to another room, which hides an arrow"
        ));
    }
    faults
}

fn wrong_crates(source: &Source) -> Vec<String> {
    let rules = CRATES.iter().filter(|(_, rooms, _)| !lists(rooms, &source.room));
    rules
        .filter(|(name, ..)| after(&source.code, &format!("{name}::")).next().is_some())
        .map(|(name, rooms, why)| format!("{}: only `{rooms}` may name {name} ({why})", source.name))
        .collect()
}

fn wrong_in_domain(source: &Source) -> Vec<String> {
    let named = |name: &&String| after(&source.code, &format!("{name}::")).next().is_some();
    let crates = dependencies();
    let crates = crates
        .iter()
        .filter(|name| !DOMAIN_CRATES.contains(&name.as_str()))
        .filter(named);
    let things = DOMAIN_NEVER.iter().filter(|name| has_word(&source.code, name));
    let names = crates.map(String::as_str).chain(things.copied());
    names
        .map(|name| format!("{}: the domain is pure, and does not name {name}", source.name))
        .collect()
}

/// The crates of Cargo.toml, as code names them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let (_, from) = manifest.split_once("\n[dependencies]\n").expect("dependencies");
    let section = from.lines().take_while(|line| !line.starts_with('['));
    section
        .filter_map(|line| Some(line.split_once(" =")?.0.replace('-', "_")))
        .collect()
}

fn out_of_place(source: &Source) -> Vec<String> {
    let rules = ONE_PLACE.iter().filter(|(_, rooms, _)| !lists(rooms, &source.room));
    let mut faults = Vec::new();
    for (what, rooms, why) in rules {
        let found = what.iter().filter(|what| after_any(&source.code, what));
        faults.extend(found.map(|what| format!("{}: `{what}` belongs to `{rooms}` ({why})", source.name)));
    }
    faults
}

/// Like `after`, with any path before it: `std::io::stderr` is found by `io::stderr`.
fn after_any(code: &str, name: &str) -> bool {
    let begins = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(name).any(|(at, _)| begins(at))
}

#[test]
fn rooms_use_only_what_the_arrows_allow() {
    none(product().iter().flat_map(wrong_arrows).collect());
}

/// The table itself has no circle: `lib.rs` names the rooms in an order in which each uses only those above it.
#[test]
fn the_arrows_follow_the_map_of_the_crate() {
    let map = Source::new("lib.rs", fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs"));
    let order: Vec<String> = after(&map.code, "pub mod ").map(first_word).collect();
    let place = |room: &str| order.iter().position(|name| name == room);
    let mut faults = Vec::new();
    for (room, may, _) in ARROWS.iter().filter(|(room, ..)| !["main", "lib"].contains(room)) {
        let below = may
            .split_whitespace()
            .filter(|used| place(used).is_none() || place(used) >= place(room));
        faults.extend(below.map(|used| format!("lib.rs: {used} does not stand above {room}, which may use it")));
    }
    none(faults);
}

#[test]
fn crates_are_named_only_where_they_belong() {
    let sources = product();
    let domain = sources
        .iter()
        .filter(|source| source.room == "domain")
        .flat_map(wrong_in_domain);
    none(sources.iter().flat_map(wrong_crates).chain(domain).collect());
}

#[test]
fn some_things_have_one_place() {
    none(product().iter().flat_map(out_of_place).collect());
}

#[test]
fn each_module_says_what_lives_there() {
    let silent = |source: &Source| !source.text.starts_with("//! ");
    let faults = product().into_iter().filter(silent);
    none(
        faults
            .map(|source| format!("{}: no `//!` doc at its top", source.name))
            .collect(),
    );
}

#[test]
fn a_file_tells_one_story() {
    let sources = sources();
    let lines: BTreeMap<&str, usize> = sources
        .iter()
        .map(|s| (s.name.as_str(), s.text.lines().count()))
        .collect();
    let listed = |name: &str| LONG.iter().any(|(long, _)| *long == name);
    let mut faults = Vec::new();
    for (name, count) in &lines {
        match (*count > LINES, listed(name)) {
            (true, false) => faults.push(format!(
                "{name}: {count} lines, more than {LINES}: split it, or list why not"
            )),
            (false, true) => faults.push(format!("{name}: has {count} lines now: take it off the list")),
            _ => {}
        }
    }
    let gone = LONG.iter().filter(|(name, _)| !lines.contains_key(name));
    faults.extend(gone.map(|(name, _)| format!("{name}: is listed as long, and is no more")));
    none(faults);
}

/// One that only other limits use counts as unused: it bounds nothing by itself.
#[test]
fn each_limit_bounds_something() {
    let sources = product();
    let (limits, rest): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.room == "limits");
    let code = &limits.first().expect("limits.rs").code;
    let used = |name: &str| rest.iter().any(|source| has_word(&source.code, name));
    let unused = after(code, "pub const ").map(first_word).filter(|name| !used(name));
    none(unused.map(|name| format!("limits.rs: nothing uses {name}")).collect());
}

fn has_word(code: &str, word: &str) -> bool {
    let ends = |at: usize| !code[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let begins = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| begins(at) && ends(at))
}

/// The names that stand as first argument of one of these macros or functions.
fn named_by(sources: &[Source], makers: &[&str]) -> BTreeSet<String> {
    let names = sources
        .iter()
        .flat_map(|source| makers.iter().flat_map(|maker| after(&source.code, maker)));
    names
        .filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split_once('"')?.0.to_owned()))
        .collect()
}

#[test]
fn metrics_that_are_made_are_described() {
    let sources = product();
    let made = named_by(&sources, &["counter!(", "gauge!(", "histogram!("]);
    let described = named_by(
        &sources,
        &["describe_counter!(", "describe_gauge!(", "describe_histogram!("],
    );
    assert!(!described.is_empty(), "metrics were found");
    none(
        made.symmetric_difference(&described)
            .map(|name| format!("{name}: made or described, but not both"))
            .collect(),
    );
}

/// README's table names metrics in its rows' first cells, in backticks and with their labels; `process_…` stands for all
/// that begin so.
fn metrics_in(readme: &str) -> BTreeSet<String> {
    let cells = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.split(" | ").next());
    let spans = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    spans
        .map(|span| span.split('{').next().unwrap_or(span).to_owned())
        .filter(|name| name.starts_with("surtidor_") || name.starts_with("process_"))
        .collect()
}

#[test]
fn metrics_are_those_of_the_readme() {
    let sources = product();
    let told = named_by(
        &sources,
        &["describe_counter!(", "describe_gauge!(", "describe_histogram!(", "add("],
    );
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let written = metrics_in(&readme);
    let means = |written: &str, told: &str| match written.strip_suffix('…') {
        Some(begin) => told.starts_with(begin),
        None => told == written,
    };
    let untold = told
        .iter()
        .filter(|told| !written.iter().any(|written| means(written, told)));
    let unknown = written
        .iter()
        .filter(|written| !told.iter().any(|told| means(written, told)));
    let untold = untold.map(|name| format!("README.md: no row for {name}"));
    none(
        untold
            .chain(unknown.map(|name| format!("README.md: {name} is not a metric of ours")))
            .collect(),
    );
}

/// The rules above are shown one breach each, so that a rule that sees nothing is noticed.
#[test]
fn each_breach_is_seen() {
    let seen = |name: &str, text: &str| {
        let source = Source::new(name, text.to_owned());
        let mut faults = [wrong_arrows(&source), wrong_crates(&source), out_of_place(&source)].concat();
        if source.room == "domain" {
            faults.extend(wrong_in_domain(&source));
        }
        faults.len()
    };
    for (name, text) in [
        ("domain/decide.rs", "use crate::clock::Now;"),
        ("domain/decide.rs", "use tokio::time::sleep;"),
        ("domain/mod.rs", "#[derive(serde::Serialize)]\nstruct S;"),
        ("domain/decide.rs", "fn f() { tracing::info!(1); }"),
        ("domain/decide.rs", "use std::time::{Duration, Instant};"),
        ("domain/decide.rs", "async fn f() {}"),
        ("table/key.rs", "fn f() { crate::log::open() }"),
        ("table/key.rs", "use super::super::engine::Engine;"),
        ("table/mod.rs", "use super::engine::Engine;"),
        ("feed.rs", "use super::engine::Engine;"),
        ("poll/mod.rs", "use crate::{limits, net::{self, Face}, domain};"),
        ("poll/mod.rs", "use crate::{\n    admin::{Admin, Probe},\n    net,\n};"),
        ("poll/mod.rs", "use crate::*;"),
        ("control/mod.rs", "use crate::poll::Counts;"),
        ("engine/mod.rs", "use hyper::Method;"),
        ("engine/mod.rs", "pub use crate::log::Entry;"),
        ("engine/writer.rs", "fn f(e: rusqlite::Error) {}"),
        ("poll/service.rs", "use dashmap::DashMap;"),
        ("log/mod.rs", "fn f() { std::env::var(\"HOME\"); }"),
        ("log/mod.rs", "fn f() { eprintln!(\"x\"); }"),
        ("control/mod.rs", "fn f() { std::io::stdout(); }"),
        ("cellar.rs", "//! A room that nobody knows."),
    ] {
        assert!(seen(name, text) > 0, "{name} with {text:?} was let through");
    }
    for (name, text) in [
        (
            "domain/decide.rs",
            "//! Never `tokio::time`.\nuse std::fmt; // not crate::clock\nuse crate::limits;\nuse super::id::PosId;",
        ),
        (
            "table/key.rs",
            "use super::reply::Reply;\nuse crate::domain::{id::PosId, pos::Pos};",
        ),
        (
            "log/mod.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::engine::Engine;\n}\n",
        ),
        (
            "telemetry.rs",
            "fn f(env: E) { env!(\"CARGO_PKG_VERSION\"); env.get(1); }",
        ),
    ] {
        assert_eq!(seen(name, text), 0, "{name} with {text:?} was refused");
    }
}
