//! `surtidor token`: create, list, revoke.

use clap::{Args, Subcommand};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::screen::{Cell, Table};
use super::{Environment, Failure, Options, Screen, body, show_rows};
use crate::client::{Pages, Session};
use crate::domain::id::{PosId, TokenName};

/// Lets controllers in over the network, each to its own points of sale
///
/// Whoever comes over TCP (`control.tcp`) sends a token as `Authorization: Bearer …`. A token for some points of sale sees
/// and touches no other; one for all may do what the server's own socket may, and make tokens.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor token list")]
pub struct TokenArgs {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Makes a token, and prints it: it is told once, and kept nowhere
///
/// The points of sale need not be registered yet: the controller may do that itself, where the server has one account.
/// What a token opens cannot change: make another, put it in the controller's place, and revoke the first.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor token create north --pos PUMP1 --pos PUMP2 > north.token
  surtidor token create kiosk --pos DESK1 --json
  surtidor token create office --all")]
struct CreateArgs {
    /// Its name, for the list and for revoking it: letters, digits, '-', '_' or '.'
    #[arg(value_parser = TokenName::parse)]
    name: TokenName,
    /// A point of sale that it opens; may be repeated. In bash, --pos=PUMP{1..12} is twelve of them
    #[arg(long, value_name = "POS", value_parser = PosId::parse, required_unless_present = "all", conflicts_with = "all")]
    pos: Vec<PosId>,
    /// Everything, for an administrator
    #[arg(long)]
    all: bool,
}

/// Lists the tokens by name: what each opens, when it was made and used last
///
/// On a terminal as a table; in a pipe one a line, with tabs: name, points of sale, when it was made, when it was used.
/// The tokens themselves nobody can list.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor token list
  surtidor token list --json | jq -r 'select(.used_at == null).name'")]
struct ListArgs {
    /// At most so many [default: all]
    #[arg(long)]
    limit: Option<usize>,
}

/// Revokes a token: from now on it opens nothing
///
/// Calls and event streams that are open with it end at once. Its name can be given to another token.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor token revoke north")]
struct RevokeArgs {
    /// The token's name
    #[arg(value_parser = TokenName::parse)]
    name: TokenName,
}

/// What the server says of a token, as far as a person is shown it.
#[derive(Deserialize)]
struct Token {
    name: String,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    pos: Vec<String>,
    created_at: Option<String>,
    used_at: Option<String>,
    token: Option<String>,
}

pub fn run(args: TokenArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let TokenArgs { options, command } = args;
    let json = options.json;
    options.ask(env, async |session| match command {
        TokenCommand::Create(args) => create(session, args, json, screen).await,
        TokenCommand::List(args) => list(session, args.limit, json, screen).await,
        TokenCommand::Revoke(args) => revoke(session, &args.name, json, screen).await,
    })
}

async fn create(mut session: Session, args: CreateArgs, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let names: Vec<&str> = args.pos.iter().map(PosId::as_str).collect();
    let wanted = match args.all {
        true => json!({ "all": true }),
        false => json!({ "pos": names }),
    };
    let path = format!("/v1/tokens/{}", args.name);
    let answer = session.call(Method::PUT, &path, body(&wanted)).await?;
    if json {
        return Ok(screen.json(&answer.text)?);
    }
    let made: Token = answer.parse()?;
    Ok(screen.line(&made.token.unwrap_or_default())?)
}

async fn list(mut session: Session, limit: Option<usize>, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let pages = Pages::new(&mut session, "/v1/tokens", &[], limit);
    let table = Table::new(&["NAME", "POS", "MADE", "USED"]);
    show_rows(pages, table, row_of, json, screen).await
}

fn row_of(token: Token) -> Vec<Cell> {
    let opens = match token.all {
        true => "all".to_owned(),
        false => token.pos.join(" "),
    };
    vec![
        token.name.into(),
        opens.into(),
        token.created_at.unwrap_or_default().into(),
        token.used_at.unwrap_or_default().into(),
    ]
}

async fn revoke(mut session: Session, name: &TokenName, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    session
        .call(Method::DELETE, &format!("/v1/tokens/{name}"), Vec::new())
        .await?;
    if !json {
        screen.line(&format!("{name}: revoked"))?;
    }
    Ok(())
}
