//! `surtidor order`: push, show, cancel, list, deliver, refund, receipt.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;

use super::screen::{Cell, Table, Tint};
use super::wire::{Delivery, Item, Order, Payment, Refund};
use super::{Environment, Failure, Options, Screen, body, show_rows};
use crate::client::{Answer, Pages, Session};
use crate::domain::id::{IdempotencyKey, PosId, Reference};
use crate::domain::order::Status;
use crate::domain::posted::QrMode;
use crate::limits;
use crate::qr::Code;

/// Puts orders on points of sale, and follows them
///
/// An order is known by its reference. It can be paid until it is canceled, replaced or expired.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor order push PUMP4 --amount 18525.50 --title \"SUPER 23.45 L\"")]
pub struct OrderArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: OrderCommand,
}

#[derive(Subcommand)]
enum OrderCommand {
    Push(PushArgs),
    Show(ShowArgs),
    Cancel(CancelArgs),
    List(ListArgs),
    Deliver(DeliverArgs),
    Refund(RefundArgs),
    Receipt(ReceiptArgs),
}

/// Puts an order on a point of sale, to be paid by whoever scans it
///
/// Where Mercado Pago is told of it (modes attended and intent), the order is `sending` until Mercado Pago has it, and
/// `order show` tells more. With --wait this command tells: the order is `ready`, or Mercado Pago's words why not; one
/// that is not there in time is canceled.
///
/// With --reference, pushing the same order again is harmless: it stays as it is. Without, the server makes a
/// reference. --file takes the whole order as JSON, with several items and metadata, and - reads it from standard input.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order push PUMP4 --amount 18525.50 --title \"SUPER 23.45 L\" --reference T-1
  surtidor order push PUMP4 --amount 900 --title \"Coffee\" --expires 60 --replace
  surtidor order push DESK1 --amount 900 --title \"Coffee\" --wait 10 --qr dynamic
  surtidor order push PUMP4 --file order.json")]
struct PushArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
    /// What is to be paid, in the currency of the account
    #[arg(long, required_unless_present = "file", requires = "title")]
    amount: Option<String>,
    /// What is sold, as the customer's telephone shows it
    #[arg(long, required_unless_present = "file")]
    title: Option<String>,
    /// Your number of the order, never used before [default: the server makes one]
    #[arg(long, value_parser = Reference::parse)]
    reference: Option<Reference>,
    /// How long it can be paid, 1 to 86400 seconds [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(limits::EXPIRES_IN_SECONDS))]
    expires: Option<u64>,
    /// End the order that is open now, if there is one
    #[arg(long)]
    replace: bool,
    /// Wait until Mercado Pago has it, 1 to 30 seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=limits::SEND_WAIT_SECONDS))]
    wait: Option<u64>,
    /// Which code shows it, mode intent: the printed one, one of its own to be shown on a screen, or both [default: static]
    #[arg(long, value_parser = PossibleValuesParser::new(QrMode::ALL.map(QrMode::as_str)))]
    qr: Option<String>,
    /// The order as JSON; - is standard input
    #[arg(long, conflicts_with_all = ["amount", "title", "reference", "expires", "qr"])]
    file: Option<PathBuf>,
}

/// Shows one order: its status, its times, its payments, what went back
///
/// On a terminal the code is drawn that an open intent has of its own. Orders are kept for more than a year, so one that
/// ended long ago is found as well.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor order show T-1")]
struct ShowArgs {
    /// The order's reference, as pushed or as made by the server
    #[arg(value_parser = Reference::parse)]
    reference: Reference,
}

/// Ends the order that is open on a point of sale
///
/// Whoever scans from now on is offered nothing. A payment already on its way is told later as an event. An order that
/// is paid cannot be canceled. Where Mercado Pago has the order (modes attended and intent) it is asked first: if it does
/// not answer, the exit code is 3, the order stays open, and an event tells how it ends.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order cancel PUMP4
  surtidor order cancel PUMP4 --reason paid_elsewhere")]
struct CancelArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
    /// Why: the customer paid in another way
    #[arg(long, value_parser = PossibleValuesParser::new(["paid_elsewhere"]))]
    reason: Option<String>,
}

/// Lists orders, the newest first
///
/// On a terminal as a table; in a pipe one order a line, with tabs: reference, pos, status, amount, currency, creation.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order list --pos PUMP4 --status paid
  surtidor order list --since 2026-11-21T00:00:00Z --limit 1000 --json | jq -r .amount")]
struct ListArgs {
    /// Only those of this point of sale
    #[arg(long, value_parser = PosId::parse)]
    pos: Option<PosId>,
    /// Only those in this status
    #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
    status: Option<String>,
    /// Only those made since this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = limits::PAGE_DEFAULT)]
    limit: usize,
}

/// Reports what became of a paid order at the machine
///
/// `dispensed`: the customer has the product. `failed`: the customer does not, wholly or for the part that --amount
/// says; what happens to the money is the account's policy. The same report again is harmless.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order deliver T-1 dispensed
  surtidor order deliver T-1 failed --amount 500.00 --reason \"nozzle blocked\"")]
struct DeliverArgs {
    /// The order's reference
    #[arg(value_parser = Reference::parse)]
    reference: Reference,
    /// What the machine did
    #[arg(value_parser = PossibleValuesParser::new(["dispensed", "failed"]))]
    result: String,
    /// failed: the part of the money that was not delivered [default: all]
    #[arg(long)]
    amount: Option<String>,
    /// failed: why, in a few words
    #[arg(long)]
    reason: Option<String>,
}

/// Gives money back: all that is left of it, or a part
///
/// Each refund has a key, and asking again with the same key is the same refund: it is made once. Without --key a new
/// one is made and told on standard error, so that a call that broke off can be repeated. `order show` tells when
/// Mercado Pago has done it.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order refund T-1
  surtidor order refund T-1 --amount 500.00 --key 2f1c9a70")]
struct RefundArgs {
    /// The order's reference
    #[arg(value_parser = Reference::parse)]
    reference: Reference,
    /// The part that goes back [default: all that is left]
    #[arg(long)]
    amount: Option<String>,
    /// Only of the payment with this number [default: of all, the newest first]
    #[arg(long, value_name = "ID")]
    payment: Option<u64>,
    /// Your name for this refund, 1 to 128 characters without spaces [default: a new one]
    #[arg(long, value_parser = IdempotencyKey::parse)]
    key: Option<IdempotencyKey>,
}

/// Prints the receipt of an order that has ended and was paid
///
/// As wide as the printer's paper, in Spanish or, for Brazil, in Portuguese. --json has the same facts for a program.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor order receipt T-1
  surtidor order receipt T-1 --width 32 > /dev/usb/lp0")]
struct ReceiptArgs {
    /// The order's reference
    #[arg(value_parser = Reference::parse)]
    reference: Reference,
    /// The characters of a line
    #[arg(long, default_value = "42", value_parser = PossibleValuesParser::new(["32", "42", "48"]))]
    width: String,
}

/// The short form of an order.
#[derive(Serialize)]
struct Push<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    external_reference: Option<&'a str>,
    amount: Option<&'a str>,
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qr: Option<&'a str>,
}

#[derive(Serialize)]
struct Deliver<'a> {
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct GiveBack<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<u64>,
}

pub fn run(args: OrderArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let OrderArgs { options, command } = args;
    let json = options.json;
    match command {
        OrderCommand::Push(args) => {
            // Read before the server is asked: standard input may take its time.
            let order = args.order()?;
            options.ask(env, async |session| push(session, &args, order, json, screen).await)
        }
        OrderCommand::Show(args) => options.ask(env, async |session| {
            call(
                session,
                Method::GET,
                &format!("/v1/orders/{}", args.reference),
                Vec::new(),
                json,
                screen,
            )
            .await
        }),
        OrderCommand::Cancel(args) => options.ask(env, async |session| cancel(session, &args, json, screen).await),
        OrderCommand::List(args) => options.ask(env, async |session| list(session, &args, json, screen).await),
        OrderCommand::Deliver(args) => options.ask(env, async |session| {
            let (amount, reason) = (args.amount.as_deref(), args.reason.as_deref());
            let report = body(&Deliver {
                result: &args.result,
                amount,
                reason,
            });
            call(
                session,
                Method::PUT,
                &format!("/v1/orders/{}/delivery", args.reference),
                report,
                json,
                screen,
            )
            .await
        }),
        OrderCommand::Refund(args) => options.ask(env, async |session| refund(session, args, json, screen).await),
        OrderCommand::Receipt(args) => options.ask(env, async |session| receipt(session, &args, json, screen).await),
    }
}

impl PushArgs {
    /// The order's JSON. A file's goes as it is: the server reads it exactly and names what is wrong.
    fn order(&self) -> Result<Vec<u8>, Failure> {
        let PushArgs {
            amount, title, expires, ..
        } = self;
        let external_reference = self.reference.as_ref().map(Reference::as_str);
        match self.file.as_deref() {
            None => Ok(body(&Push {
                external_reference,
                amount: amount.as_deref(),
                title: title.as_deref(),
                expires_in_seconds: *expires,
                qr: self.qr.as_deref(),
            })),
            Some(file) => {
                read(file).map_err(|error| Failure::Usage(format!("cannot read {}: {error}", file.display())))
            }
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let input: &mut dyn Read = match file.to_str() {
        Some("-") => &mut io::stdin(),
        _ => &mut std::fs::File::open(file)?,
    };
    let mut order = Vec::new();
    input.take(limits::BODY_BYTES as u64 + 1).read_to_end(&mut order)?;
    if order.len() > limits::BODY_BYTES {
        return Err(io::Error::other(format!(
            "an order has at most {} bytes",
            limits::BODY_BYTES
        )));
    }
    Ok(order)
}

async fn push(
    mut session: Session,
    args: &PushArgs,
    order: Vec<u8>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let wait = args.wait.map(|seconds| format!("wait={seconds}"));
    let query: Vec<String> = args
        .replace
        .then(|| "replace=true".into())
        .into_iter()
        .chain(wait)
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let target = format!("/v1/pos/{}/order{mark}{}", args.pos, query.join("&"));
    let wait = Duration::from_secs(args.wait.unwrap_or(0));
    let answer = session.call_waiting(Method::PUT, &target, order, wait).await?;
    show_answer(&answer, json, screen)
}

/// Asks for what is answered with an order, and shows it.
async fn call(
    mut session: Session,
    method: Method,
    target: &str,
    asked: Vec<u8>,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let answer = session.call(method, target, asked).await?;
    show_answer(&answer, json, screen)
}

fn show_answer(answer: &Answer, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if json {
        return Ok(screen.json(&answer.text)?);
    }
    show(&answer.parse()?, screen)
}

async fn refund(mut session: Session, args: RefundArgs, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let wanted = body(&GiveBack {
        amount: args.amount.as_deref(),
        payment: args.payment,
    });
    let key = args.key.unwrap_or_else(new_key);
    let target = format!("/v1/orders/{}/refunds", args.reference);
    let answer = session.post_once(&target, wanted, &key).await?;
    show_answer(&answer, json, screen)
}

/// Told before the server is asked: who does not hear the answer needs it to ask again.
#[expect(clippy::print_stderr, reason = "`cli` is where printing belongs")]
fn new_key() -> IdempotencyKey {
    let key = uuid::Uuid::now_v7().to_string();
    eprintln!("surtidor: to repeat this refund and not make another, add --key {key}");
    IdempotencyKey::parse(&key).expect("a UUID has 36 hex digits and hyphens")
}

async fn receipt(mut session: Session, args: &ReceiptArgs, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let format = if json { "format=json" } else { "format=text" };
    let target = format!("/v1/orders/{}/receipt?{format}&width={}", args.reference, args.width);
    let answer = session.call(Method::GET, &target, Vec::new()).await?;
    if json {
        return Ok(screen.json(&answer.text)?);
    }
    Ok(answer.text.lines().try_for_each(|line| screen.line(line))?)
}

async fn cancel(mut session: Session, args: &CancelArgs, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let query = args
        .reason
        .as_ref()
        .map(|reason| format!("?reason={reason}"))
        .unwrap_or_default();
    let answer = session
        .call(
            Method::DELETE,
            &format!("/v1/pos/{}/order{query}", args.pos),
            Vec::new(),
        )
        .await?;
    if answer.status == 202 {
        let order: Order = answer.parse()?;
        if json {
            screen.json(&answer.text)?;
        }
        return Err(Failure::Undecided {
            pos: order.pos,
            reference: order.external_reference,
        });
    }
    if !json {
        screen.line(&format!("{}: the order is canceled", args.pos))?;
    }
    Ok(())
}

async fn list(mut session: Session, args: &ListArgs, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let filters = [
        ("pos", args.pos.as_ref().map(PosId::as_str)),
        ("status", args.status.as_deref()),
        ("since", args.since.as_deref()),
    ];
    let pages = Pages::new(&mut session, "/v1/orders", &filters, Some(args.limit));
    let table = Table::new(&["REFERENCE", "POS", "STATUS", "AMOUNT", "", "CREATED"]);
    show_rows(pages, table, row_of, json, screen).await
}

fn row_of(order: Order) -> Vec<Cell> {
    let Order {
        external_reference,
        pos,
        status,
        amount,
        currency_id,
        created_at,
        ..
    } = order;
    vec![
        external_reference.into(),
        pos.into(),
        Cell::word(&status),
        amount.into(),
        currency_id.into(),
        created_at.into(),
    ]
}

fn show(order: &Order, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut facts = vec![
        ("reference", order.external_reference.as_str().into()),
        ("pos", order.pos.as_str().into()),
        ("status", Cell::tinted(&order.standing(), Tint::of(&order.status))),
        ("amount", order.money().into()),
    ];
    let posted = [&order.mode, &order.intent, &order.reason];
    facts.extend(
        ["mode", "intent", "reason"]
            .into_iter()
            .zip(posted.map(|word| word.as_deref().unwrap_or_default().into())),
    );
    facts.extend(order.items.iter().map(|item| ("item", item_line(item).into())));
    let times = [&order.expires_at, &order.shown_at, &order.ended_at];
    facts.push(("created", order.created_at.as_str().into()));
    facts.extend(
        ["expires", "shown", "ended"]
            .into_iter()
            .zip(times.map(|at| at.as_deref().unwrap_or_default().into())),
    );
    facts.extend(
        order
            .payments
            .iter()
            .map(|payment| ("payment", payment_line(payment).into())),
    );
    facts.extend(
        order
            .refunds
            .iter()
            .map(|refund| ("refund", refund_line(refund).into())),
    );
    facts.extend(
        order
            .delivery
            .iter()
            .map(|delivery| ("delivery", delivery_line(delivery).into())),
    );
    facts.extend(
        order
            .metadata
            .iter()
            .map(|metadata| ("metadata", metadata.get().into())),
    );
    facts.extend(order.qr_data.iter().map(|data| ("qr data", data.as_str().into())));
    screen.facts(facts)?;
    draw(order, screen)
}

/// The code that an open order has of its own, where somebody could scan it.
fn draw(order: &Order, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let is_open = Status::parse(&order.status).is_some_and(Status::is_open);
    let data = order.qr_data.as_deref().filter(|_| is_open && screen.is_terminal());
    match data.and_then(Code::of) {
        Some(code) => Ok(screen.bytes(code.terminal(screen.has_colour()).as_bytes())?),
        None => Ok(()),
    }
}

fn item_line(item: &Item) -> String {
    format!("{} x {} at {}", item.quantity, item.title, item.unit_price)
}

fn payment_line(payment: &Payment) -> String {
    let Payment {
        id,
        amount,
        status,
        approved_at,
        reversed,
    } = payment;
    let at = approved_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    let reversed = reversed.as_ref().map(|back| format!(", {back} taken back"));
    format!("{amount} {status}{at} as {id}{}", reversed.unwrap_or_default())
}

fn refund_line(refund: &Refund) -> String {
    let Refund {
        id,
        payment,
        amount,
        status,
        cause,
        reason,
    } = refund;
    let id = id.map(|id| format!(" as {id}")).unwrap_or_default();
    let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let reason = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{amount} of {payment} {status}{id}{cause}{reason}")
}

fn delivery_line(delivery: &Delivery) -> String {
    let Delivery {
        result,
        amount,
        reason,
        at,
    } = delivery;
    let said = [Some(result), amount.as_ref(), reason.as_ref(), at.as_ref()];
    said.into_iter()
        .flatten()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}
