//! `surtidor pos url`: what to register at Mercado Pago. The server knows the point of sale, the configuration the rest.

use std::collections::BTreeMap;

use clap::Args;
use hyper::Uri;
use serde_json::json;

use super::settings::ConfigFile;
use super::wire::Pos;
use super::{Environment, Failure, Screen};
use crate::client::{Session, encode};
use crate::config::{Config, Secret};
use crate::domain::id::PosId;
use crate::domain::pos::Mode;
use crate::table::UrlSecrets;

/// Prints the URL to register at Mercado Pago for a point of sale
///
/// It is made of the configuration (`poll.path`, `poll.keys`, the secret of URLs) and the point of sale's keys. Give the
/// configuration that the server runs with. The host is that of `notifications.public_url`, unless --base says another.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor pos url PUMP4 --config /etc/surtidor/surtidor.toml
  surtidor pos url PUMP4 --base https://pay.example.com")]
pub struct UrlArgs {
    /// The point of sale
    #[arg(value_parser = PosId::parse)]
    pub pos: PosId,
    #[command(flatten)]
    pub public: PublicArgs,
}

/// Where the server is reached, and what it is configured with.
#[derive(Args)]
pub struct PublicArgs {
    /// What stands before `poll.path`: the host by which Mercado Pago reaches the server
    #[arg(long, value_name = "URL", value_parser = base)]
    base: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// The parameter that carries a point of sale's secret; the table reads it under the same name.
const SECRET_NAME: &str = "k";

/// What all URLs of a server have in common.
pub struct Public {
    /// None if nobody said it.
    base: Option<String>,
    path: String,
    keys: Vec<String>,
    secrets: UrlSecrets,
}

fn base(text: &str) -> Result<String, &'static str> {
    let uri: Option<Uri> = text.parse().ok();
    let whole = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
    });
    if whole {
        Ok(text.into())
    } else {
        Err("a base is like https://pay.example.com")
    }
}

impl PublicArgs {
    pub fn load(&self, env: &Environment) -> Result<(Config, Public), Failure> {
        let (config, _) = self.file.load(env)?;
        let public_url = config.notifications.public_url.as_ref();
        let secrets: Vec<&str> = config.poll.secrets.iter().map(Secret::expose).collect();
        let public = Public {
            base: self.base.clone().or_else(|| origin(public_url?.as_str())),
            path: config.poll.path.clone(),
            keys: config.poll.keys.clone(),
            secrets: UrlSecrets::new(&secrets),
        };
        Ok((config, public))
    }
}

impl Public {
    /// The URL under which Mercado Pago is to poll this one.
    pub fn url(&self, pos: &PosId, known: &Pos) -> Result<String, Failure> {
        let Some(base) = &self.base else {
            let why =
                "which host reaches the server? Say it with --base, or notifications.public_url in the configuration";
            return Err(Failure::Usage(why.into()));
        };
        let keys = in_order(&self.keys, &known.keys).map_err(Failure::Usage)?;
        let tags = if known.url_secret == Some(false) {
            Box::default()
        } else {
            self.secrets.tags(pos)
        };
        Ok(poll_url(base, &self.path, &keys, tags.first().map(|tag| tag.as_str())))
    }
}

fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

pub async fn run(
    mut session: Session,
    pos: &PosId,
    public: &Public,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let known: Pos = session.get(&format!("/v1/pos/{pos}")).await?;
    if Mode::parse(&known.mode) != Some(Mode::Unattended) {
        let why = format!(
            "{pos} is {}: its orders are put at Mercado Pago, and it has no URL",
            known.mode
        );
        return Err(Failure::Unfit(why));
    }
    let url = public.url(pos, &known)?;
    if json {
        return Ok(screen.json(&json!({ "pos": known.pos, "url": url }).to_string())?);
    }
    Ok(screen.line(&url)?)
}

/// The keys in the order of the configuration; the server may run with another one.
fn in_order<'a>(names: &'a [String], values: &'a BTreeMap<String, String>) -> Result<Vec<(&'a str, &'a str)>, String> {
    let pair = |name: &'a String| Some((name.as_str(), values.get(name)?.as_str()));
    let keys: Option<Vec<_>> = names.iter().map(pair).collect();
    keys.filter(|keys| keys.len() == values.len()).ok_or_else(|| {
        let (names, values) = (names.join(", "), values.keys().cloned().collect::<Vec<_>>().join(", "));
        format!("poll.keys are {names} here, but {values} at the server: name its configuration with --config")
    })
}

/// `keys` in the order of `poll.keys`; `tag` is the point of sale's secret, if its URL has one.
fn poll_url(base: &str, path: &str, keys: &[(&str, &str)], tag: Option<&str>) -> String {
    let pairs = keys.iter().copied().chain(tag.map(|tag| (SECRET_NAME, tag)));
    let query: Vec<String> = pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    format!("{}{path}?{}", base.trim_end_matches('/'), query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_url_has_its_keys_in_order_and_encoded() {
        let keys = [("locationId", "62 32"), ("positionId", "4&k=1")];
        assert_eq!(
            poll_url("https://pay.example.com/", "/pay-mp", &keys, Some("aB-_")),
            "https://pay.example.com/pay-mp?locationId=62%2032&positionId=4%26k%3D1&k=aB-_"
        );
        assert_eq!(poll_url("http://a", "/p", &[("k1", "ñ")], None), "http://a/p?k1=%C3%B1");
    }

    #[test]
    fn a_base_is_a_whole_url_without_query() {
        assert!(base("https://pay.example.com/behind/a/proxy").is_ok());
        for bad in ["pay.example.com", "ftp://a", "https://a?b=c", ""] {
            assert!(base(bad).is_err(), "{bad}");
        }
        assert_eq!(
            origin("https://a.b:8443/notifications").as_deref(),
            Some("https://a.b:8443")
        );
    }
}
