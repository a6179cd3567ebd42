//! `surtidor serve`.

use std::convert::Infallible;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::settings::Settings;
use super::{Environment, Failure, Screen};
use crate::app::{Addresses, App};
use crate::config::{Config, Warning};
use crate::engine::Condition;
use crate::systemd::{Manager, Sockets};
use crate::telemetry::{self, LogFormat};

/// Runs the server
///
/// Without a file it runs for a first try: on loopback, with a test account, and with its data where this user may
/// write. SIGTERM and SIGINT end it once what is in flight is answered; SIGHUP reads the configuration anew and takes
/// over what can change while running (accounts, certificates, limits), or says why not and keeps the old.
///
/// Under systemd it says when it is ready, reloads, stops and is alive (Type=notify, WatchdogSec=), and serves the sockets
/// that are handed over by the names poll, poll-tls, control, control-tcp, control-tls and admin instead of those of the
/// configuration: connections then wait over a restart, and none is refused. deploy/ has the units.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor serve
  surtidor serve --config /etc/surtidor/surtidor.toml
  surtidor serve --poll-listen 127.0.0.1:9000 --data-dir /tmp/surtidor-data
  systemd-socket-activate -l 127.0.0.1:8080 -l /tmp/control.sock --fdname=poll:control surtidor serve

What is logged: SURTIDOR_LOG, such as info (the default), debug or surtidor::engine=debug.")]
pub struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// How log lines look: text on a terminal and JSON elsewhere, or one of them always [default: SURTIDOR_LOG_FORMAT, else auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<Format>,
    /// End when standard input is closed, so as not to outlive the program that holds its other end
    #[arg(long)]
    end_with_stdin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Auto,
    Text,
    Json,
}

pub fn run(args: ServeArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    // Before anything else is opened, and before there is another thread.
    let handed = Sockets::take(env).map_err(|error| Failure::Start(Box::new(error.into())))?;
    let ServeArgs {
        settings,
        log_format,
        end_with_stdin,
    } = args;
    let format = match (log_format, env.get("SURTIDOR_LOG_FORMAT")) {
        (Some(format), _) => format,
        (None, None) => Format::Auto,
        (None, Some(name)) => Format::from_str(name, true)
            .map_err(|_| Failure::Usage("SURTIDOR_LOG_FORMAT must be auto, text or json".into()))?,
    };
    let filter = env.get("SURTIDOR_LOG").map_or("info", String::as_str);
    let _lines = telemetry::trace(format.into(), filter, std::io::stderr().is_terminal()).map_err(Failure::Usage)?;

    let manager = Manager::of(env);
    let (config, warnings) = settings.clone().load(env)?;
    warn_of(&warnings);
    warn_of_open_files(&config);
    // Signals are heard from here on: one that comes while we start is not lost.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let stdin = if end_with_stdin { Some(stdin_closes()?) } else { None };
    let account = config.accounts.first().map(|account| account.id.to_string());
    let keys = config.poll.keys.clone();
    let path = config.poll.path.clone();
    manager.status("Reads the log");
    let app = App::start_on(handed, config).map_err(|error| Failure::Start(Box::new(error)))?;
    info!(version = env!("CARGO_PKG_VERSION"), account, "started");
    welcome(screen, app.addresses(), &path, &keys)?;

    let end = runtime.block_on(wait(&app, &manager, &mut signals, stdin, || settings.clone().load(env)));
    info!("stopping: what is in flight is finished first");
    manager.stopping(match &end {
        End::Asked => "Finishes what is in flight",
        End::Failed(what) => what,
    });
    let orderly = app.stop();
    match end {
        End::Asked if orderly => {
            info!("stopped");
            Ok(())
        }
        End::Asked => Err(Failure::Fault("a thread of the server had panicked".into())),
        End::Failed(what) => Err(Failure::Fault(format!("the log failed: {what}"))),
    }
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> LogFormat {
        match format {
            Format::Auto => LogFormat::Auto,
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        }
    }
}

/// Where it listens, and what to type next.
fn welcome(screen: &mut Screen<'_>, addresses: &Addresses, path: &str, keys: &[String]) -> Result<(), Failure> {
    let query = |value: &str| {
        keys.iter()
            .map(|key| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    };
    let socket = addresses.control.display();
    let plain = addresses.poll.iter().map(|address| format!("http://{address}"));
    let secured = addresses.poll_tls.iter().map(|address| format!("https://{address}"));
    let polls: Vec<_> = plain.chain(secured).collect();
    let first = polls.first().map_or("", String::as_str);
    // The certificate names its host, and what is typed here is an address.
    let curl = if first.starts_with("https") {
        "curl -ik"
    } else {
        "curl -i"
    };
    let body_keys = keys
        .iter()
        .map(|key| format!("\"{key}\":\"1\""))
        .collect::<Vec<_>>()
        .join(",");
    let mut lines = vec!["Surtidor is running.".to_owned(), String::new()];
    lines.extend(polls.iter().map(|url| format!("  polls    {url}{path}?{}", query("…"))));
    lines.push(format!("  control  {socket}"));
    lines.extend(
        addresses
            .control_tcp
            .iter()
            .map(|address| format!("  control  http://{address} (with a token)")),
    );
    lines.extend(
        addresses
            .control_tls
            .iter()
            .map(|address| format!("  control  https://{address} (with a token)")),
    );
    lines.push(format!("  admin    http://{}/metrics", addresses.admin));
    if !addresses.handed.is_empty() {
        lines.push(format!(
            "  handed over, and open after us: {}",
            addresses.handed.join(", ")
        ));
    }
    lines.extend([
        String::new(),
        "Try it in another terminal: register a point of sale, put an order on it, poll it.".to_owned(),
        String::new(),
        format!("  curl --unix-socket {socket} -X PUT http://s/v1/pos/PUMP1 -d '{{\"keys\":{{{body_keys}}}}}'"),
        format!(
            "  curl --unix-socket {socket} -X PUT http://s/v1/pos/PUMP1/order -d '{{\"amount\":\"18525.50\",\"title\":\"SUPER 23.45 L\"}}'"
        ),
        format!("  {curl} '{first}{path}?{}'", query("1")),
        String::new(),
    ]);
    for line in lines {
        screen.line(&line)?;
    }
    Ok(())
}

fn warn_of(warnings: &[Warning]) {
    for warning in warnings {
        warn!("{warning}");
    }
}

/// Each connection takes one, and files and listeners some more.
fn warn_of_open_files(config: &Config) {
    let needed = config.poll.connections as u64 + 500;
    if let Some(max) = telemetry::open_files_max().filter(|max| *max < needed) {
        warn!(
            max,
            needed, "this process may open fewer files than poll.connections needs: raise `ulimit -n` or LimitNOFILE="
        );
    }
}

enum End {
    Asked,
    Failed(String),
}

struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }
}

/// Until somebody ends it, or the log fails.
async fn wait(
    app: &App,
    manager: &Manager,
    signals: &mut Signals,
    stdin: Option<oneshot::Receiver<()>>,
    load: impl Fn() -> Result<(Config, Vec<Warning>), Failure>,
) -> End {
    let mut condition = app.condition();
    let closed = async {
        match stdin {
            Some(stdin) => drop(stdin.await),
            None => std::future::pending().await,
        }
    };
    let alive = tell_alive(app, manager);
    tokio::pin!(closed, alive);
    let mut ready = false;
    loop {
        tokio::select! {
            _ = signals.term.recv() => return End::Asked,
            _ = signals.int.recv() => return End::Asked,
            () = &mut closed => return End::Asked,
            () = app.answers(), if !ready => {
                ready = true;
                manager.ready(SERVES);
            }
            never = &mut alive => match never {},
            _ = signals.hup.recv(), if ready => {
                manager.reloading();
                manager.ready(&reload(app, load()).await);
            }
            changed = condition.changed() => {
                if changed.is_err() {
                    return End::Failed("its writer has ended".into());
                }
                match &*condition.borrow_and_update() {
                    Condition::Failed(what) => return End::Failed(what.clone()),
                    Condition::Full => manager.status("The disk is full: new orders are refused"),
                    Condition::Well => manager.status(SERVES),
                }
            }
        }
    }
}

const SERVES: &str = "Serves polls and controllers";

/// As often as the manager's watchdog wants to hear it, and only once every thread has answered again.
async fn tell_alive(app: &App, manager: &Manager) -> Infallible {
    let Some(every) = manager.watchdog() else {
        return std::future::pending().await;
    };
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        app.answers().await;
        manager.alive();
    }
}

/// Told, by being dropped, once standard input is closed. The thread reads by itself: such a read cannot be called off, and
/// must not hold up another end.
fn stdin_closes() -> std::io::Result<oneshot::Receiver<()>> {
    let (open, closed) = oneshot::channel::<()>();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _until_here = open;
        // An error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    })?;
    Ok(closed)
}

/// What became of it, in a line.
async fn reload(app: &App, loaded: Result<(Config, Vec<Warning>), Failure>) -> String {
    let why = match loaded {
        Err(failure) => failure.to_string(),
        Ok((config, warnings)) => {
            warn_of(&warnings);
            match app.reload(config).await {
                Ok(()) => {
                    info!("the configuration was read anew");
                    return SERVES.to_owned();
                }
                Err(error) => error.to_string(),
            }
        }
    };
    error!("the old configuration stays: {why}");
    format!("{SERVES}. The old configuration stays: {why}")
}
