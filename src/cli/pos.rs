//! `surtidor pos`: add, list, show, remove; `import`, `provision`, `sync` and `url` have their own files.

use std::collections::BTreeMap;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;

use super::import::{self, ImportArgs};
use super::provision::{self, ProvisionArgs};
use super::screen::{Cell, Table};
use super::sync::{self, SyncArgs};
use super::url::{self, UrlArgs};
use super::wire::{Order, Pos};
use super::{Environment, Failure, Options, Screen, body, show_rows};
use crate::client::{Pages, Session, parse};
use crate::domain::id::PosId;
use crate::domain::pos::Mode;

/// Registers points of sale, and shows them
///
/// A point of sale is one QR code: a pump, a vending machine. Mercado Pago names it by the values in the URL that it
/// polls, which are its keys; or, if orders are put there, by its name at Mercado Pago.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor pos list")]
pub struct PosArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: PosCommand,
}

#[derive(Subcommand)]
enum PosCommand {
    Add(Box<AddArgs>),
    List(ListArgs),
    Show(ShowArgs),
    Remove(RemoveArgs),
    Url(UrlArgs),
    Import(ImportArgs),
    Provision(Box<ProvisionArgs>),
    Sync(SyncArgs),
}

/// Registers a point of sale, or changes one
///
/// What is said here replaces all that was registered before; what is left out takes its default. While an order is
/// open only the name may change.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor pos add PUMP4 --key locationId=6232 --key positionId=4
  surtidor pos add PUMP4 --key locationId=6232 --key positionId=4 --account main --name \"Pump 4\" --require-lease
  surtidor pos add DESK1 --mode attended --external-store-id STATION01")]
struct AddArgs {
    /// Its name: 1 to 64 letters, digits, '-', '_' or '.', and not dots alone
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
    /// A value of the URL that Mercado Pago polls; once for each of the server's `poll.keys`. Only unattended needs them
    #[arg(long = "key", value_name = "NAME=VALUE", value_parser = key, required_unless_present = "mode",
        required_if_eq("mode", "unattended"))]
    keys: Vec<(String, String)>,
    /// Whose it is; may be left out if the server has one account only
    #[arg(long)]
    account: Option<String>,
    /// Its name for people
    #[arg(long)]
    name: Option<String>,
    /// How its orders reach Mercado Pago: they wait to be polled (unattended), or are put there as an order of the point
    /// of sale (attended) or as an intent [default: unattended]
    #[arg(long, value_parser = PossibleValuesParser::new(Mode::ALL.map(Mode::as_str)))]
    mode: Option<String>,
    /// Offer a payment only while the controller holds its lease
    #[arg(long)]
    require_lease: bool,
    /// Its URL was printed without the secret: poll it without
    #[arg(long)]
    no_url_secret: bool,
    /// Its name at Mercado Pago, letters and digits [default: the point of sale's own]
    #[arg(long, value_name = "NAME")]
    external_id: Option<String>,
    /// Its store's name at Mercado Pago, letters and digits
    #[arg(long, value_name = "NAME")]
    external_store_id: Option<String>,
}

/// Lists the points of sale, by name
///
/// On a terminal as a table; in a pipe one a line, with tabs: pos, state, account, keys, the open order, its amount,
/// its status, name.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor pos list
  surtidor pos list --json | jq -r 'select(.state == \"timeout\").pos'")]
struct ListArgs {
    /// At most so many [default: all]
    #[arg(long)]
    limit: Option<usize>,
}

/// Shows one point of sale: its state, lease and open order
///
/// What has no value is left out. With --json all that the server knows of it, the items of the open order too.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor pos show PUMP4")]
struct ShowArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
}

/// Removes a point of sale
///
/// Whoever scans its code from now on is told that it is invalid. Its past orders are kept. One with an order open
/// cannot be removed.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor pos remove PUMP4")]
struct RemoveArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
}

/// What a point of sale is registered with.
#[derive(Serialize)]
pub struct Registration {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_lease: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_store_id: Option<String>,
}

impl Pos {
    /// All that it is registered with, to be changed in part.
    pub fn registration(&self) -> Registration {
        Registration {
            keys: self.keys.clone(),
            account: Some(self.account.clone()),
            name: self.name.clone(),
            mode: Some(self.mode.clone()),
            require_lease: Some(self.require_lease),
            url_secret: self.url_secret,
            external_id: self.external_id.clone(),
            external_store_id: self.external_store_id.clone(),
        }
    }
}

/// All that the server knows.
pub async fn all(session: &mut Session) -> Result<Vec<Pos>, Failure> {
    let mut pages = Pages::new(session, "/v1/pos", &[], None);
    let mut all = Vec::new();
    while let Some(rows) = pages.next().await? {
        for row in rows {
            all.push(parse(row.get())?);
        }
    }
    Ok(all)
}

fn key(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.into(), value.into())),
        _ => Err("a key is like locationId=6232"),
    }
}

pub fn run(args: PosArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let PosArgs { options, command } = args;
    let json = options.json;
    match command {
        PosCommand::Add(args) => {
            let (pos, registration) = args.registration()?;
            options.ask(env, async |session| {
                add(session, &pos, &registration, json, screen).await
            })
        }
        PosCommand::List(args) => options.ask(env, async |session| list(session, args.limit, json, screen).await),
        PosCommand::Show(args) => options.ask(env, async |session| show(session, &args.pos, json, screen).await),
        PosCommand::Remove(args) => options.ask(env, async |session| remove(session, &args.pos, json, screen).await),
        PosCommand::Url(args) => {
            let (_, public) = args.public.load(env)?;
            options.ask(env, async |session| {
                url::run(session, &args.pos, &public, json, screen).await
            })
        }
        PosCommand::Import(args) => {
            let rows = import::open(&args)?;
            options.ask(env, async |session| import::run(session, rows, json, screen).await)
        }
        PosCommand::Provision(args) => {
            let merchants = args.wanted.load(env)?;
            options.ask(env, async |session| {
                provision::run(session, &args, &merchants, json, screen).await
            })
        }
        PosCommand::Sync(args) => {
            let merchants = args.wanted.load(env)?;
            options.ask(env, async |session| {
                sync::run(session, &args, &merchants, json, screen).await
            })
        }
    }
}

impl AddArgs {
    fn registration(self) -> Result<(PosId, Registration), Failure> {
        let mut keys = BTreeMap::new();
        for (name, value) in self.keys {
            if let Some(first) = keys.insert(name.clone(), value) {
                return Err(Failure::Usage(format!("--key {name} is given twice, first as {first}")));
            }
        }
        let registration = Registration {
            keys,
            account: self.account,
            name: self.name,
            mode: self.mode,
            require_lease: self.require_lease.then_some(true),
            url_secret: self.no_url_secret.then_some(false),
            external_id: self.external_id,
            external_store_id: self.external_store_id,
        };
        Ok((self.pos, registration))
    }
}

async fn add(
    mut session: Session,
    pos: &PosId,
    registration: &Registration,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let answer = session
        .call(Method::PUT, &format!("/v1/pos/{pos}"), body(registration))
        .await?;
    if json {
        return Ok(screen.json(&answer.text)?);
    }
    let done = if answer.status == 201 {
        "registered"
    } else {
        "up to date"
    };
    Ok(screen.line(&format!("{pos}: {done}"))?)
}

async fn list(mut session: Session, limit: Option<usize>, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let pages = Pages::new(&mut session, "/v1/pos", &[], limit);
    let table = Table::new(&["POS", "STATE", "ACCOUNT", "KEYS", "ORDER", "AMOUNT", "STATUS", "NAME"]);
    show_rows(pages, table, row_of, json, screen).await
}

fn row_of(pos: Pos) -> Vec<Cell> {
    let order = pos.order.as_ref();
    let reference = order.map_or("", |order| &order.external_reference);
    let money = order.map(Order::money).unwrap_or_default();
    let status = order.map_or("", |order| &order.status);
    let keys = pos.keys();
    vec![
        pos.pos.into(),
        Cell::word(&pos.state),
        pos.account.into(),
        keys.into(),
        reference.into(),
        money.into(),
        Cell::word(status),
        pos.name.unwrap_or_default().into(),
    ]
}

async fn show(mut session: Session, pos: &PosId, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let answer = session.call(Method::GET, &format!("/v1/pos/{pos}"), Vec::new()).await?;
    if json {
        return Ok(screen.json(&answer.text)?);
    }
    let pos: Pos = answer.parse()?;
    let order = pos
        .order
        .as_ref()
        .map(|order| format!("{} {} {}", order.external_reference, order.money(), order.standing()));
    let keys = pos.keys();
    let facts = [
        ("name", pos.name),
        ("account", Some(pos.account)),
        ("mode", Some(pos.mode)),
        ("keys", Some(keys)),
        ("message", pos.message),
        ("lease until", pos.lease_until),
        ("require lease", pos.require_lease.then(|| "yes".into())),
        ("external id", pos.external_id),
        ("external store", pos.external_store_id),
        ("order", order),
    ];
    let mut shown = vec![("pos", pos.pos.into()), ("state", Cell::word(&pos.state))];
    shown.extend(
        facts
            .into_iter()
            .map(|(name, value)| (name, value.unwrap_or_default().into())),
    );
    Ok(screen.facts(shown)?)
}

async fn remove(mut session: Session, pos: &PosId, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    session
        .call(Method::DELETE, &format!("/v1/pos/{pos}"), Vec::new())
        .await?;
    if !json {
        screen.line(&format!("{pos}: removed"))?;
    }
    Ok(())
}
