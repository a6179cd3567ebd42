//! The command line: one file per subcommand, and the only place that prints. No rule of selling lives here: commands
//! ask the server over its control socket and show what it says.

mod backup;
mod check;
mod completions;
mod demo;
mod exit;
mod health;
mod import;
mod lease;
mod log;
mod man;
mod order;
mod pos;
mod provision;
mod sandbox;
mod screen;
mod serve;
mod settings;
mod state;
mod sync;
mod token;
mod url;
mod version;
mod wanted;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;

pub use exit::{Exit, Failure};
pub use screen::Screen;
use screen::{Cell, Table};

use crate::client::{self, Pages, Place, Session};
use crate::config;

/// The process's environment, as `config` reads it.
pub type Environment = BTreeMap<String, String>;

/// Takes payments by Mercado Pago's QR codes on petrol pumps and vending machines.
///
/// The machine's controller puts an order on a point of sale; the customer scans the fixed QR code on the machine;
/// Mercado Pago asks this server for the order, and the customer pays it on the telephone.
#[derive(Parser)]
#[command(name = "surtidor", version, long_version = version::LONG.as_str(), after_help = Exit::help(), infer_long_args = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Health(health::HealthArgs),
    Pos(pos::PosArgs),
    State(state::StateArgs),
    Lease(lease::LeaseArgs),
    Order(order::OrderArgs),
    Watch(watch::WatchArgs),
    Token(token::TokenArgs),
    Log(log::LogArgs),
    Backup(backup::BackupArgs),
    Sandbox(sandbox::SandboxArgs),
    Completions(completions::CompletionsArgs),
    #[command(hide = true)]
    Man(man::ManArgs),
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
    /// The server's address instead, such as `http://127.0.0.1:8081` or `https://pay.example.com:8443`
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    url: Option<String>,
    /// The file with the token that goes with --url
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    token_file: Option<PathBuf>,
    /// The authority that certifies an https:// server, in PEM form [default: the public ones]
    #[arg(long, global = true, value_name = "FILE", requires = "url", help_heading = "Server")]
    ca: Option<PathBuf>,
    /// Print the server's JSON, one document a line
    #[arg(long, global = true)]
    json: bool,
}

impl Options {
    fn place(&self, env: &Environment) -> Result<Place, Failure> {
        let Some(url) = &self.url else {
            let named = self
                .socket
                .clone()
                .or_else(|| env.get("SURTIDOR_SOCKET").map(PathBuf::from));
            let socket = named.or_else(config::default_socket);
            let nowhere = || Failure::Usage("there is no home folder to look in: say where with --socket PATH".into());
            return socket.map(Place::Socket).ok_or_else(nowhere);
        };
        let Some(file) = &self.token_file else {
            return Err(Failure::Usage(
                "--url needs --token-file FILE: the server asks for its token there".into(),
            ));
        };
        let read = |file: &PathBuf| {
            let text = std::fs::read_to_string(file);
            text.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))
        };
        let authorities = self.ca.as_ref().map(read).transpose()?;
        Ok(Place::tcp(url, &read(file)?, authorities.as_deref())?)
    }

    /// Opens a session and runs `work` with it to its end.
    fn ask<F, W>(&self, env: &Environment, work: W) -> Result<(), Failure>
    where
        W: FnOnce(Session) -> F,
        F: Future<Output = Result<(), Failure>>,
    {
        let place = Arc::new(self.place(env)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { work(Session::open(place).await?).await })
    }
}

/// Does what was asked.
pub fn run(cli: Cli, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    match cli.command {
        Command::Demo(args) => demo::run(args, env, screen),
        Command::Serve(args) => serve::run(args, env, screen),
        Command::Check(args) => check::run(args, env, screen),
        Command::Health(args) => health::run(args, env, screen),
        Command::Pos(args) => pos::run(args, env, screen),
        Command::State(args) => state::run(args, env, screen),
        Command::Lease(args) => lease::run(args, env, screen),
        Command::Order(args) => order::run(args, env, screen),
        Command::Watch(args) => watch::run(args, env, screen),
        Command::Token(args) => token::run(args, env, screen),
        Command::Log(args) => log::run(args, env, screen),
        Command::Backup(args) => backup::run(args, env, screen),
        Command::Sandbox(args) => sandbox::run(args, env, screen),
        Command::Completions(args) => completions::run(&args, screen),
        Command::Man(args) => man::run(&args, screen),
    }
}

/// Tells on standard error what went wrong and what to do next; gives the exit code.
#[expect(clippy::print_stderr, reason = "`cli` is where printing belongs")]
pub fn report(failure: &Failure) -> ExitCode {
    let exit = failure.exit();
    if exit != Exit::Ok {
        failure
            .to_string()
            .lines()
            .for_each(|line| eprintln!("surtidor: {line}"));
        failure
            .advice()
            .iter()
            .for_each(|advice| eprintln!("surtidor: {advice}"));
    }
    exit.into()
}

/// Parses the arguments. What the parser has to say instead (help, the version, a mistake) is printed.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse_from(command_first(config::arguments())).map_err(|answer| {
        // Nobody is left to tell that the help could not be printed.
        drop(answer.print());
        if answer.use_stderr() {
            Exit::Usage.into()
        } else {
            Exit::Ok.into()
        }
    })
}

/// Moves `Options` that stand before the command behind all the rest. Were they declared before the command as well, those
/// that ask no server would take them and do nothing with them.
fn command_first(mut args: Vec<OsString>) -> Vec<OsString> {
    let options = Options::augment_args(clap::Command::default());
    let mut command = 1;
    while let Some((name, value)) = args.get(command).and_then(|arg| long(arg)) {
        let Some(option) = options.get_arguments().find(|option| option.get_long() == Some(name)) else {
            break;
        };
        let has_another = option.get_action().takes_values() && value.is_none();
        command += 1 + usize::from(has_another);
    }
    if command < args.len() {
        let end = args.iter().skip(command).position(|arg| arg == "--");
        let end = end.map_or(args.len(), |rest| command + rest);
        args[1..end].rotate_left(command - 1);
    }
    args
}

/// `--name` or `--name=value`.
fn long(arg: &OsStr) -> Option<(&str, Option<&str>)> {
    let text = arg.to_str()?.strip_prefix("--")?;
    Some(
        text.split_once('=')
            .map_or((text, None), |(name, value)| (name, Some(value))),
    )
}

/// Shows a list page by page: a table, or the rows as the server wrote them.
async fn show_rows<T: DeserializeOwned>(
    mut pages: Pages<'_>,
    mut table: Table,
    row_of: impl Fn(T) -> Vec<Cell>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    while let Some(rows) = pages.next().await? {
        if json {
            rows.iter().try_for_each(|row| screen.json(row.get()))?;
        } else {
            let rows = rows.iter().map(|row| client::parse(row.get()).map(&row_of));
            table.rows(screen, rows.collect::<Result<_, _>>()?)?;
        }
    }
    Ok(())
}

/// A request's body. Ours are structs of strings and numbers, and cannot fail to be JSON.
fn body(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a struct with named members is JSON")
}
