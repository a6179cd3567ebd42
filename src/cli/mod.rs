//! The command line: one file per subcommand, and the only place that prints. No rule of selling lives here: commands
//! ask the server over its control socket and show what it says.

mod client;
mod completions;
mod exit;
mod import;
mod lease;
mod order;
mod pos;
mod screen;
mod sse;
mod state;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};

use client::{Place, Session};
pub use exit::{Exit, Failure};
pub use pos::poll_url;
pub use screen::Screen;

/// Takes payments by Mercado Pago's QR codes on petrol pumps and vending machines.
///
/// The machine's controller puts an order on a point of sale; the customer scans the fixed QR code on the machine;
/// Mercado Pago asks this server for the order, and the customer pays it on the telephone.
#[derive(Parser)]
#[command(name = "surtidor", version, after_help = Exit::help(), infer_long_args = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pos(pos::PosArgs),
    State(state::StateArgs),
    Lease(lease::LeaseArgs),
    Order(order::OrderArgs),
    Watch(watch::WatchArgs),
    Completions(completions::CompletionsArgs),
}

/// Which server is asked, and how its answers are shown.
#[derive(Args)]
struct Options {
    /// The server's control socket [default: SURTIDOR_SOCKET, else where `serve` puts it]
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        conflicts_with = "url",
        help_heading = "Server"
    )]
    socket: Option<PathBuf>,
    /// The server's loopback address instead, such as http://127.0.0.1:8081
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    url: Option<String>,
    /// The file with the token that goes with --url
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
    /// Print the server's JSON, one document a line
    #[arg(long, global = true)]
    json: bool,
}

impl Options {
    fn place(&self, default_socket: &Path) -> Result<Place, Failure> {
        let Some(url) = &self.url else {
            return Ok(Place::Socket(
                self.socket.clone().unwrap_or_else(|| default_socket.into()),
            ));
        };
        let Some(file) = &self.token_file else {
            return Err(Failure::Usage(
                "--url needs --token-file FILE: the server asks for its token there".into(),
            ));
        };
        let token = std::fs::read_to_string(file);
        let token = token.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))?;
        Place::tcp(url, &token)
    }

    /// Opens a session and runs `work` with it to its end.
    fn ask<F, W>(&self, default_socket: &Path, work: W) -> Result<(), Failure>
    where
        W: FnOnce(Session) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        let place = Arc::new(self.place(default_socket)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(Session::open(place).await?).await })
    }
}

/// Does what was asked. `default_socket` is where the server is looked for if the command line does not say.
pub fn run(cli: Cli, default_socket: &Path, screen: &mut Screen<'_>) -> Result<(), Failure> {
    match cli.command {
        Command::Pos(args) => pos::run(args, default_socket, screen),
        Command::State(args) => state::run(args, default_socket, screen),
        Command::Lease(args) => lease::run(args, default_socket, screen),
        Command::Order(args) => order::run(args, default_socket, screen),
        Command::Watch(args) => watch::run(args, default_socket, screen),
        Command::Completions(args) => completions::run(&args, screen),
    }
}

/// Tells on standard error what went wrong and what to do next; gives the exit code.
#[expect(clippy::print_stderr, reason = "`cli` is where printing belongs")]
pub fn report(failure: &Failure) -> ExitCode {
    let exit = failure.exit();
    if exit != Exit::Ok {
        eprintln!("surtidor: {failure}");
        failure
            .advice()
            .iter()
            .for_each(|advice| eprintln!("surtidor: {advice}"));
    }
    exit.into()
}

/// Parses the arguments. What the parser has to say instead (help, the version, a mistake) is printed.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|answer| {
        // Nobody is left to tell that the help could not be printed.
        drop(answer.print());
        if answer.use_stderr() {
            Exit::Usage.into()
        } else {
            Exit::Ok.into()
        }
    })
}

/// A request's body. Ours are structs of strings and numbers, and cannot fail to be JSON.
fn body(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a struct with named members is JSON")
}
