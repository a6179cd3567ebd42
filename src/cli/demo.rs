//! `surtidor demo`: all of it on this machine, for who wants to see an order paid before reading anything.

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use super::{Environment, Failure, Screen};
use crate::app::StartError;
use crate::config;
use crate::demo::{self, Addresses, Bought, Failed, Settings};
use crate::telemetry::{self, LogFormat};

/// Shows in a browser how an order is paid
///
/// It runs the server, a simulated Mercado Pago, a petrol pump and a vending machine on this machine, and prints the
/// address of a page where you are the customer. Nothing has to be set up, nothing is real, and nothing is kept: its
/// folder goes when it ends. Ctrl-C ends it.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor demo
  surtidor demo --listen 127.0.0.1:8088
  surtidor demo --buy")]
pub struct DemoArgs {
    /// Where the page is: a loopback address [default: any free port]
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:0",
        hide_default_value = true
    )]
    listen: SocketAddr,
    /// Buy something at the vending machine at once, show what was said and the receipt, and end: no browser is needed
    #[arg(long)]
    buy: bool,
}

pub fn run(args: DemoArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let DemoArgs { listen, buy } = args;
    if !listen.ip().is_loopback() {
        return Err(Failure::Usage(format!(
            "--listen {listen}: the demo is for this machine alone; say an address such as 127.0.0.1:8088"
        )));
    }
    let filter = env.get("SURTIDOR_LOG").map_or("error", String::as_str);
    let _lines = telemetry::trace(LogFormat::Auto, filter, std::io::stderr().is_terminal()).map_err(Failure::Usage)?;
    let settings = Settings {
        program: config::program()?,
        listen,
        log: filter.to_owned(),
        buys: buy,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let ended = local.block_on(&runtime, async {
        let [mut term, mut int, mut hup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
            .map(signal)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?
            .try_into()
            .expect("three were asked for");
        let end = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = hup.recv() => {}
            }
        };
        let ready = |addresses: &Addresses| if buy { Ok(()) } else { welcome(screen, addresses) };
        demo::run(settings, ready, end).await
    });
    if let Some(Bought { said, receipt }) = ended.map_err(failure)? {
        said.iter().try_for_each(|line| screen.line(line))?;
        screen.line("")?;
        receipt.lines().try_for_each(|line| screen.line(line))?;
    }
    Ok(())
}

fn failure(failed: Failed) -> Failure {
    match failed {
        Failed::Listen { address, source } => Failure::Start(Box::new(StartError::Listen {
            key: "--listen",
            address,
            source,
        })),
        Failed::Start(error) => Failure::Fault(format!("the demo cannot run: {error}")),
        Failed::Customer(_) => Failure::Unfit(failed.to_string()),
        Failed::Server(lost) => Failure::Fault(lost.to_string()),
    }
}

/// The page's address first: it is what this is for.
fn welcome(screen: &mut Screen<'_>, addresses: &Addresses) -> std::io::Result<()> {
    let socket = addresses.socket.display();
    for line in [
        "Surtidor's demo is running. Nothing here is real, and nothing is kept.".to_owned(),
        String::new(),
        format!("  page     http://{}/", addresses.page),
        format!(
            "  polls    http://{}/pay-mp?locationId=6232&positionId=4",
            addresses.polls
        ),
        format!("  control  {socket}"),
        format!("  sandbox  http://{}/sandbox/state", addresses.sandbox),
        String::new(),
        "Open the page in a browser: you are the customer. Ctrl-C ends it all.".to_owned(),
        String::new(),
    ] {
        screen.line(&line)?;
    }
    Ok(())
}
