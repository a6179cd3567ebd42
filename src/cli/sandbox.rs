//! `surtidor sandbox`: a simulated Mercado Pago of its own, for those who write or try an integration.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use super::{Environment, Failure, Screen};
use crate::app::StartError;
use crate::sandbox::{Account, Flavour, Sandbox, Settings, TEST_SECRET, TEST_TOKEN};
use crate::telemetry::{self, LogFormat};

/// Runs a simulated Mercado Pago
///
/// It answers the API, scans and pays like a customer's telephone, and sends notifications, signed and repeated as
/// Mercado Pago does. All of it is in memory: nothing is paid, and nothing is left when it ends. Ctrl-C ends it.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor sandbox
  surtidor sandbox --listen 127.0.0.1:9001 --site MLC --seed 42
  surtidor sandbox --dashboard-url http://127.0.0.1:8080/notifications/test --notifications webhook --hurry 10")]
pub struct SandboxArgs {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Listen on an address that others can reach, too: whoever reaches it can command it
    #[arg(long)]
    expose: bool,
    /// The access token of the merchant's account; it ends in a hyphen and the collector's number; may be repeated
    #[arg(long, value_name = "TOKEN", default_value = TEST_TOKEN)]
    token: Vec<String>,
    /// The country of these accounts
    #[arg(long, value_name = "SITE", default_value = "MLA")]
    site: String,
    /// What webhooks are signed with
    #[arg(long, value_name = "SECRET", default_value = TEST_SECRET)]
    secret: String,
    /// Where notifications go that have no notification_url, and those of intents
    #[arg(long, value_name = "URL")]
    dashboard_url: Option<String>,
    /// Which notifications are sent
    #[arg(long, value_name = "WHICH", default_value = "both")]
    notifications: Which,
    /// Divides Mercado Pago's waits before it repeats a notification: 30 s, 5 min, 30 min
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hurry: u32,
    /// Milliseconds between two polls of a telephone
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    poll_ms: u64,
    /// What all that is random comes from, to have the same again [default: another one each time]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Ipn,
    Webhook,
    Both,
}

impl From<Which> for Flavour {
    fn from(which: Which) -> Flavour {
        match which {
            Which::Ipn => Flavour::Ipn,
            Which::Webhook => Flavour::Webhook,
            Which::Both => Flavour::Both,
        }
    }
}

pub fn run(args: SandboxArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let filter = env.get("SURTIDOR_LOG").map_or("info", String::as_str);
    let _lines = telemetry::trace(LogFormat::Auto, filter, std::io::stderr().is_terminal()).map_err(Failure::Usage)?;
    let settings = settings(args)?;
    let shown = settings.clone();
    // Signals are heard from here on: one that comes while we start is not lost.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut term, mut int) = runtime.block_on(async {
        Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    })?;
    let sandbox = Sandbox::start(settings).map_err(|source| {
        Failure::Start(Box::new(StartError::Listen {
            key: "--listen",
            address: shown.listen,
            source,
        }))
    })?;
    welcome(screen, &sandbox, &shown)?;
    runtime.block_on(async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    });
    if sandbox.stop() {
        Ok(())
    } else {
        Err(Failure::Fault("the sandbox's thread had panicked".into()))
    }
}

fn settings(args: SandboxArgs) -> Result<Settings, Failure> {
    if !args.expose && !args.listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--listen {}: others could reach it and command it; say --expose if that is meant",
            args.listen
        )));
    }
    let accounts = args.token.iter().map(|token| Account::new(token, &args.site));
    let accounts = accounts.collect::<Result<Vec<_>, _>>();
    // The low half of such an id is random.
    let another = || uuid::Uuid::now_v7().as_u64_pair().1;
    let settings = Settings {
        listen: args.listen,
        accounts: accounts.map_err(|bad| Failure::Usage(bad.to_string()))?,
        secret: args.secret,
        dashboard_url: args.dashboard_url,
        flavour: args.notifications.into(),
        poll_every: Duration::from_millis(args.poll_ms),
        seed: args.seed.unwrap_or_else(another),
        ..Settings::default()
    };
    Ok(settings.hurried(args.hurry))
}

/// Where it listens, and what to type next.
fn welcome(screen: &mut Screen<'_>, sandbox: &Sandbox, settings: &Settings) -> Result<(), Failure> {
    let url = sandbox.base_url();
    let mut lines = vec![
        "A simulated Mercado Pago is running. Nothing here is real, and nothing is kept.".to_owned(),
        String::new(),
        format!("  api      {url}"),
        format!("  control  {url}/sandbox/state"),
        format!("  seed     {}", sandbox.seed()),
        String::new(),
        "For a server on this machine, in its environment:".to_owned(),
        String::new(),
        format!("  export SURTIDOR_MERCADOPAGO__BASE_URL={url}"),
        "  export SURTIDOR_NOTIFICATIONS__PUBLIC_URL=http://127.0.0.1:8080/notifications".to_owned(),
    ];
    if let Some(account) = settings.accounts.first() {
        lines.extend([
            format!("  export SURTIDOR_ACCOUNT__TEST__COLLECTOR_ID={}", account.collector),
            format!("  export SURTIDOR_ACCOUNT__TEST__SITE={}", account.site.code),
            format!("  export SURTIDOR_ACCOUNT__TEST__ACCESS_TOKEN={}", account.token),
            format!("  export SURTIDOR_ACCOUNT__TEST__WEBHOOK_SECRET={}", settings.secret),
        ]);
    }
    lines.extend([
        String::new(),
        "A customer scans a point of sale, and pays what the telephone shows:".to_owned(),
        String::new(),
        format!("  curl {url}/sandbox/scan -d '{{\"pos\":\"STATION01PUMP4\"}}'"),
        format!(
            "  curl {url}/sandbox/scan -d '{{\"url\":\"http://127.0.0.1:8080/pay-mp?locationId=1&positionId=1\"}}'"
        ),
        format!("  curl {url}/sandbox/pay -d '{{\"scan\":1,\"outcome\":\"approved\"}}'"),
        format!("  curl {url}/sandbox/faults -d '{{\"lose\":{{\"one_in\":5}},\"repeat\":2}}'"),
        format!("  curl '{url}/sandbox/events?after=0&wait=30'"),
        String::new(),
    ]);
    for line in lines {
        screen.line(&line)?;
    }
    Ok(())
}
