//! What many POS cost: memory as they are registered and after a start from the log, how long that start takes, and what
//! a poll and a push cost beside a server that has a hundred. Run with `cargo bench --bench scale`; it takes some minutes
//! and 2 GB of disk, and `-- 100000` another number of POS.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::controller::Controller;
use support::load::{Kind, Load};
use support::{CONNECTIONS, Served, station};
use surtidor::clock::Clock;
use surtidor::domain::command::Command;
use surtidor::domain::id::{AccountId, PosId};
use surtidor::domain::pos::{Mode, PollKey, Registration};
use surtidor::engine::{Accounts, Engine, Lull, Parts};
use surtidor::log::Log;
use surtidor::table::{Names, Table, UrlSecrets, doorbell};
use tokio::task::JoinSet;

const KEYS: [&str; 2] = ["locationId", "positionId"];
const FEW: usize = 100;
const POLLS: usize = 100_000;
const PUSHES: usize = 4_000;
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number of points of sale");
    match words[..] {
        ["register", folder, pos] => register(folder.as_ref(), number(pos)),
        ["serve", folder] => station::serve(folder.as_ref()),
        _ if words.contains(&"--bench") => {
            let wanted = words.iter().find_map(|word| word.parse().ok());
            measure(wanted.unwrap_or(1_000_000), POLLS, PUSHES, ROUNDS);
        }
        // As a test it only shows that it still runs.
        _ => measure(200, 100, 10, 1),
    }
}

fn measure(pos: usize, polls: usize, pushes: usize, rounds: usize) {
    let (many, few) = [pos, FEW]
        .map(|pos| (tempfile::tempdir().expect("a temporary folder"), pos))
        .into();
    println!("| {pos} POS | |\n| --- | ---: |");
    for (folder, pos) in [&few, &many] {
        let begun = Instant::now();
        let registered = Served::with(&[], &["register", &text(folder.path()), &pos.to_string()]);
        if *pos != FEW {
            println!("| registered in, s | {:.1} |", begun.elapsed().as_secs_f64());
            println!(
                "| bytes of the process a POS, registered (goal 400) | {} |",
                registered.pss() / *pos as u64
            );
        }
        registered.stop();
    }
    let [few, many] = [few, many].map(|(folder, pos)| {
        let begun = Instant::now();
        (
            Served::with(&[], &["serve", &text(folder.path())]),
            folder,
            pos,
            begun.elapsed(),
        )
    });
    println!("| started in, s | {:.2} |", many.3.as_secs_f64());
    println!(
        "| bytes of the process a POS, after a start (goal 400) | {} |",
        many.0.pss() / pos as u64
    );
    println!("| the same, with {FEW} POS, all told, KiB | {} |\n", few.0.pss() / 1024);

    println!("| ÷ the same with {FEW} POS | {pos} |\n| --- | ---: |");
    let both = [&few, &many];
    let ratio = |cost: &dyn Fn(&Served, &Path, usize, usize) -> Duration| {
        let rounds = (0..rounds).map(|round| {
            let [few, many] = both.map(|(served, folder, pos, _)| cost(served, folder.path(), *pos, round));
            many.as_secs_f64() / few.as_secs_f64()
        });
        support::median(rounds.collect())
    };
    let poll = ratio(&|served, _, pos, _| {
        let mut load = Load::new(served.port, Kind::KeepAlive, CONNECTIONS, pos);
        load.closed(polls / 10);
        let busy = served.processor_time();
        load.closed(polls);
        served.processor_time() - busy
    });
    println!("| processor time of a poll | {poll:.2} |");
    let push = ratio(&|_, folder, pos, round| pushes_p50(folder, pos, round, pushes));
    println!("| a push to 201, p50 | {push:.2} |");
    for (served, ..) in [few, many] {
        served.stop();
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The child's side: registers so many POS in an engine without faces, and holds it until our standard input ends.
fn register(folder: &Path, pos: usize) {
    let config = station::config(folder);
    let account = config.accounts[0].id.clone();
    let log = Log::open(&config.data.dir, &KEYS.join(",")).expect("a new folder");
    let (bell, _rings) = doorbell();
    let lull = Arc::new(Lull::default());
    let (engine, writer) = Engine::start(Parts {
        reader: log.reader().expect("it is open"),
        log,
        table: Arc::new(Table::new(
            Names::new(&KEYS).expect("good names"),
            UrlSecrets::default(),
            bell,
        )),
        accounts: Arc::new(Accounts::new(&config.accounts)),
        clock: Clock::default(),
        keep_entries: Duration::from_secs(86_400),
        lull: lull.clone(),
    })
    .expect("it starts");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .on_thread_park(move || lull.begins())
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut asked = JoinSet::new();
        for i in 0..pos {
            if asked.len() >= 2_000 {
                asked.join_next().await;
            }
            let engine = engine.clone();
            let registration = registration(account.clone(), i);
            asked.spawn(async move {
                let id = PosId::parse(&format!("PUMP-{i}")).expect("a name");
                engine
                    .submit(id, Command::Register(registration))
                    .await
                    .expect("registered");
            });
        }
        while asked.join_next().await.is_some() {}
    });
    support::announce_and_wait(1);
    runtime.block_on(engine.stop());
    drop(engine);
    assert!(writer.join());
}

fn registration(account: AccountId, i: usize) -> Registration {
    Registration {
        account,
        mode: Mode::Unattended,
        keys: Some(PollKey::new(&["6232", &i.to_string()]).expect("good values")),
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    }
}

/// Orders put one after the other, each on another POS.
fn pushes_p50(folder: &Path, pos: usize, round: usize, count: usize) -> Duration {
    let mut controller = Controller::connect(&station::socket(folder));
    let times = (round * count..(round + 1) * count).map(|n| {
        let begun = Instant::now();
        controller.put_order(&format!("PUMP-{}", n * 7919 % pos), &format!("T-{n}"));
        begun.elapsed()
    });
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}
