//! `surtidor check`.

use clap::Args;

use super::screen::{Cell, Tint};
use super::settings::Settings;
use super::{Environment, Failure, Screen};
use crate::app::StartError;
use crate::config::{Account, Config};
use crate::link::{self, StoreError};

/// Says whether the configuration is right, without starting
///
/// Reads the file, the environment and the flags as `serve` does, and names all that is wrong, each with its line and
/// what would be right. Whether an address is free is known only to `serve`, and whether a link holds only to Mercado Pago.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor check --config /etc/surtidor/surtidor.toml
  surtidor check --poll-listen 127.0.0.1:9000")]
pub struct CheckArgs {
    #[command(flatten)]
    settings: Settings,
}

pub fn run(args: CheckArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let (config, warnings) = args.settings.load(env)?;
    let mut facts = facts(&config)?;
    facts.extend(
        warnings
            .iter()
            .map(|warning| ("warning", Cell::tinted(&warning.to_string(), Tint::Wait))),
    );
    screen.facts(facts)?;
    Ok(screen.line("The configuration is right.")?)
}

/// What the server would run with.
fn facts(config: &Config) -> Result<Vec<(&'static str, Cell)>, Failure> {
    let keys = config
        .poll
        .keys
        .iter()
        .map(|key| format!("{key}=…"))
        .collect::<Vec<_>>()
        .join("&");
    let mut facts: Vec<(_, Cell)> = Vec::new();
    let polls = config
        .poll
        .listen
        .iter()
        .map(|address| format!("http://{address}{}?{keys}", config.poll.path));
    let secured = config.poll.tls.iter().flat_map(|tls| &tls.listen);
    let secured = secured.map(|address| format!("https://{address}{}?{keys}", config.poll.path));
    facts.extend(polls.chain(secured).map(|url| ("polls", url.into())));
    facts.push(("control", config.control.socket.display().to_string().into()));
    facts.extend(
        config
            .control
            .tcp
            .iter()
            .map(|tcp| ("control", format!("http://{tcp}").into())),
    );
    let secured = config.control.tls.iter();
    facts.extend(secured.map(|tls| ("control", format!("https://{}", tls.listen).into())));
    facts.extend(certificates(config));
    facts.push(("admin", format!("http://{}", config.admin.listen).into()));
    facts.push(("data", config.data.dir.display().to_string().into()));
    for account in &config.accounts {
        facts.push(("account", tell(config, account)?));
    }
    Ok(facts)
}

/// Until when each is good.
fn certificates(config: &Config) -> impl Iterator<Item = (&'static str, Cell)> {
    let polls = config.poll.tls.iter().map(|tls| ("polls", &tls.identity));
    let control = config.control.tls.iter().map(|tls| ("control", &tls.identity));
    polls.chain(control).map(|(face, identity)| {
        let end = jiff::Timestamp::from_second(identity.validity.until).unwrap_or(jiff::Timestamp::MAX);
        (
            "certificate",
            format!("of {face}, good until {}", end.strftime("%Y-%m-%d %H:%M UTC")).into(),
        )
    })
}

/// An account, with what is on the disk of its link. Whoever may not look there is told so; damage stops a start.
fn tell(config: &Config, account: &Account) -> Result<Cell, Failure> {
    let name = format!("{} ({})", account.id, account.site.code());
    let Some(link) = &account.oauth else {
        return Ok(name.into());
    };
    match link::newest(&config.data.dir, &account.id, link) {
        Ok(None) => Ok(format!("{name}, through a link that has brought no token yet").into()),
        Ok(Some(stored)) => {
            let end = jiff::Timestamp::from_millisecond(stored.expires_at.0).unwrap_or(jiff::Timestamp::MAX);
            let end = end.strftime("%Y-%m-%d %H:%M UTC");
            Ok(format!("{name}, through a link, with a token until {end}").into())
        }
        Err(error @ StoreError::Unreadable { .. }) => {
            Ok(Cell::tinted(&format!("{name}, through a link: {error}"), Tint::Wait))
        }
        Err(error) => Err(Failure::Start(Box::new(StartError::Link(error)))),
    }
}
