//! `surtidor lease`.

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::{Environment, Failure, Options, Screen, body};
use crate::domain::id::PosId;
use crate::limits::LEASE_SECONDS;

/// Says that the controller of a point of sale is alive
///
/// The lease holds for so many seconds. When it runs out without an order, the point of sale goes to `timeout`; one
/// registered with --require-lease then offers no payment until the lease is renewed.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor lease PUMP4 30")]
pub struct LeaseArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pos: PosId,
    /// How long the lease holds, 1 to 86400 seconds
    #[arg(value_parser = clap::value_parser!(u64).range(LEASE_SECONDS))]
    seconds: u64,
    #[command(flatten)]
    options: Options,
}

pub fn run(args: LeaseArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let LeaseArgs { pos, seconds, options } = args;
    options.ask(env, async |mut session| {
        session
            .call(
                Method::PUT,
                &format!("/v1/pos/{pos}/lease"),
                body(&json!({ "seconds": seconds })),
            )
            .await?;
        if !options.json {
            screen.line(&format!("{pos}: the lease holds for {seconds} s"))?;
        }
        Ok(())
    })
}
