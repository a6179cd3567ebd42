//! `surtidor log`: whether what is stored is what was written, and what was stored, for others to read.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::settings::ConfigFile;
use super::{Environment, Failure, Options, Screen};
use crate::client::parse;
use crate::limits;
use crate::log::{Archive, ArchiveError, Looked};

/// Verifies what is stored, and hands it on
///
/// Everything that happened is an entry in one file of the data folder. `verify` reads that file, `export` asks the server.
#[derive(Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  surtidor log verify
  surtidor log verify /backup/surtidor-2026-11-21
  surtidor log export --since 2026-11-01 --format csv > november.csv")]
pub struct LogArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(VerifyArgs),
    Export(ExportArgs),
}

/// Looks at every entry and every order, and names what is not as it was written
///
/// Each entry has a checksum over itself and the entry before it of its point of sale. It may run beside the server.
/// Exit code 74 if anything is damaged.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor log verify --config /etc/surtidor/surtidor.toml
  surtidor log verify /var/lib/surtidor")]
struct VerifyArgs {
    /// A data folder, or a file that `surtidor backup` wrote [default: the configured data folder]
    place: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Prints what the server remembers: every event, or every movement of money
///
/// It asks the server, which keeps its events for `data.keep_days`. As JSON lines each is an event as the feed tells it.
/// As CSV each is a movement of money: a payment, a refund or a reversal, with the amount that came, or went with a minus.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor log export > events.jsonl
  surtidor log export --since 2026-11-01 --format csv > november.csv")]
struct ExportArgs {
    /// From this day or moment on, in UTC: 2026-11-01 or 2026-11-01T14:00:00Z [default: all that is kept]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<jiff::Timestamp>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Every event, as JSON, a line each
    Jsonl,
    /// Every movement of money, for the accountant
    Csv,
}

fn moment(text: &str) -> Result<jiff::Timestamp, String> {
    let utc = jiff::tz::TimeZone::UTC;
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(utc).ok();
    let moment = text.parse().ok().or_else(|| day().map(|day| day.timestamp()));
    moment.ok_or_else(|| "must be a day such as 2026-11-01, or a moment such as 2026-11-01T14:00:00Z".into())
}

pub fn run(args: LogArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Verify(args) => verify(args, env, screen),
        Command::Export(args) => export(args, env, screen),
    }
}

/// A log that was named, or the configured one.
pub fn archive(place: Option<PathBuf>, file: &ConfigFile, env: &Environment) -> Result<Archive, Failure> {
    let place = match place {
        Some(place) => place,
        None => file.load(env)?.0.data.dir,
    };
    Ok(Archive::open(&place)?)
}

fn verify(args: VerifyArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let archive = archive(args.place, &args.file, env)?;
    let mut damaged = 0_u64;
    let mut untold = Ok(());
    let looked = archive.verify(|damage| {
        damaged += 1;
        if damaged <= limits::DAMAGE_TOLD && untold.is_ok() {
            untold = screen.line(&damage.to_string());
        }
    });
    untold?;
    let looked = looked.map_err(ArchiveError::Log)?;
    let said = sentence(&looked);
    if damaged == 0 {
        return Ok(screen.line(&format!("{said}: all as it was written."))?);
    }
    Err(Failure::Fault(format!(
        "{said}: {damaged} places are damaged or missing"
    )))
}

fn sentence(looked: &Looked) -> String {
    let day = |at: crate::domain::id::Timestamp| {
        let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
        at.strftime("%Y-%m-%d").to_string()
    };
    let from_to = match (looked.oldest, looked.newest) {
        (Some(oldest), Some(newest)) => format!(", {} to {}", day(oldest), day(newest)),
        _ => String::new(),
    };
    format!(
        "{} entries of {} points of sale{from_to}, and {} orders",
        looked.entries, looked.pos, looked.orders
    )
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Failure {
        match error {
            ArchiveError::NoLog(_) | ArchiveError::Newer(_) | ArchiveError::Older(_) | ArchiveError::Taken(_) => {
                Failure::Usage(error.to_string())
            }
            ArchiveError::File { .. } | ArchiveError::Log(_) => Failure::Fault(error.to_string()),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: u64,
}

fn export(args: ExportArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let ExportArgs { since, format, options } = args;
    let mut ledger = Ledger::default();
    let since = since.map(|since| since.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    options.ask(env, async |mut session| {
        let mut after = 0;
        if matches!(format, Format::Csv) {
            screen.line(HEAD)?;
        }
        loop {
            let page: Page = session.get(&format!("/v1/events?after={after}&wait=0")).await?;
            for event in &page.events {
                let said: Said<'_> = parse(event.get())?;
                // Times of one form and length are in order as texts.
                let is_wanted = since.as_deref().is_none_or(|since| said.at >= since);
                match format {
                    Format::Jsonl if is_wanted => screen.json(event.get())?,
                    Format::Jsonl => {}
                    Format::Csv => {
                        let lines = ledger.movements(&said);
                        if is_wanted {
                            lines.iter().try_for_each(|line| screen.line(line))?;
                        }
                    }
                }
            }
            if page.events.is_empty() {
                return Ok(());
            }
            after = page.next;
        }
    })
}

const HEAD: &str = "time,kind,external_reference,pos,payment,merchant_order,amount,currency_id";

/// What an event says of money.
#[derive(Deserialize)]
struct Said<'a> {
    at: &'a str,
    pos: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(default)]
    external_reference: &'a str,
    #[serde(default)]
    currency_id: &'a str,
    #[serde(default)]
    #[serde(borrow)]
    payments: Vec<Payment<'a>>,
    #[serde(default)]
    #[serde(borrow)]
    refunds: Vec<Refund<'a>>,
}

#[derive(Deserialize)]
struct Payment<'a> {
    id: u64,
    merchant_order: Option<u64>,
    amount: &'a str,
    approved_at: Option<&'a str>,
    /// All that others took back until then.
    #[serde(default)]
    reversed: Option<&'a str>,
}

#[derive(Deserialize)]
struct Refund<'a> {
    payment: u64,
    amount: &'a str,
}

/// What has been told of each payment: several events may carry one, and what others took back grows.
#[derive(Default)]
struct Ledger(HashMap<u64, Decimal>);

impl Ledger {
    fn movements(&mut self, said: &Said<'_>) -> Vec<String> {
        let line = |at: &str, kind: &str, payment: u64, merchant_order: Option<u64>, amount: &str| {
            let merchant_order = merchant_order.map(|id| id.to_string()).unwrap_or_default();
            format!(
                "{at},{kind},{},{},{payment},{merchant_order},{amount},{}",
                said.external_reference, said.pos, said.currency_id
            )
        };
        let mut lines = Vec::new();
        for payment in &said.payments {
            let reversed = self.0.entry(payment.id).or_insert_with(|| {
                let at = payment.approved_at.unwrap_or(said.at);
                lines.push(line(at, "payment", payment.id, payment.merchant_order, payment.amount));
                Decimal::ZERO
            });
            let now = payment.reversed.and_then(|text| text.parse().ok()).unwrap_or(*reversed);
            if now > *reversed {
                let back = (*reversed - now).to_string();
                lines.push(line(said.at, "reversal", payment.id, payment.merchant_order, &back));
                *reversed = now;
            }
        }
        if said.kind == "refund_done" {
            let back = said.refunds.iter();
            lines.extend(
                back.map(|refund| line(said.at, "refund", refund.payment, None, &format!("-{}", refund.amount))),
            );
        }
        lines
    }
}
