//! `surtidor state`.

use clap::Args;
use clap::builder::PossibleValuesParser;
use hyper::Method;
use serde::Serialize;

use super::{Environment, Failure, Options, Screen, body};
use crate::domain::id::PosId;
use crate::limits::LEASE_SECONDS;

/// Says what a point of sale is doing while it has no order
///
/// This is what a customer who scans is told: `in_process` (filling, choosing: wait), `unavailable` (nothing going on)
/// or `timeout`. While an order is open the state cannot be set: cancel the order first.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor state PUMP4 in_process --message \"Filling\" --lease 60
  surtidor state PUMP4 unavailable")]
pub struct StateArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
    /// What it is doing
    #[arg(value_parser = PossibleValuesParser::new(["in_process", "unavailable", "timeout"]))]
    state: String,
    /// A few words that the customer's telephone shows
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Go to `timeout` after so many seconds, unless renewed by then
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(LEASE_SECONDS))]
    lease: Option<u64>,
    #[command(flatten)]
    options: Options,
}

#[derive(Serialize)]
struct Body<'a> {
    state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_seconds: Option<u64>,
}

pub fn run(args: StateArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let StateArgs {
        pos,
        state,
        message,
        lease,
        options,
    } = args;
    let asked = body(&Body {
        state: &state,
        message: message.as_deref(),
        lease_seconds: lease,
    });
    options.ask(env, async |mut session| {
        session
            .call(Method::PUT, &format!("/v1/pos/{pos}/state"), asked)
            .await?;
        if !options.json {
            screen.line(&format!("{pos}: {state}"))?;
        }
        Ok(())
    })
}
