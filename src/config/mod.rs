//! File, environment and flags become a `Config`, or a list of all that is wrong with them.
//!
//! Only this room reads the environment. It opens no socket and creates no file: that a port is free or a folder
//! writable is known only to whoever takes it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::domain::account::{DeliveryFailed, Dialect, LatePayment};
use crate::domain::id::AccountId;
use crate::domain::money::Site;
use crate::limits;
use crate::peer::Proxies;
use crate::tls::Identity;

mod finding;
mod parse;
mod raw;
mod reload;
mod secret;
#[cfg(test)]
mod tests;
mod value;

pub use finding::{Fault, Finding, Place, Warning};
pub use reload::reloadable;
pub use secret::Secret;

use finding::Findings;

/// The whole configuration, each value checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub poll: Poll,
    pub control: Control,
    pub admin: Admin,
    pub data: Data,
    pub notifications: Notifications,
    pub mercadopago: MercadoPago,
    /// At least one; their names differ by more than case, '-' and '_'.
    pub accounts: Vec<Account>,
}

#[derive(Debug, Clone)]
pub struct Poll {
    /// At least one, unless there is TLS.
    pub listen: Vec<SocketAddr>,
    pub tls: Option<PollTls>,
    /// As it stands in a request's first line.
    pub path: String,
    /// The query parameters that name a POS, in this order: one to `limits::POLL_KEYS`.
    pub keys: Vec<String>,
    /// None: URLs carry no secret. The first makes new URLs, all are good for old ones.
    pub secrets: Vec<Secret>,
    pub threads: usize,
    /// Over all threads.
    pub connections: usize,
    /// Who is believed when it says for whom it asks.
    pub proxies: Proxies,
    /// Whether its connections begin with a PROXY header. Never without proxies.
    pub proxy_protocol: bool,
}

#[derive(Debug, Clone)]
pub struct PollTls {
    /// At least one.
    pub listen: Vec<SocketAddr>,
    pub identity: Identity,
}

#[derive(Debug, Clone)]
pub struct Control {
    pub socket: PathBuf,
    pub socket_mode: u32,
    /// The group's number.
    pub socket_group: Option<u32>,
    /// An administrator's, for whoever comes over TCP. The others are those that `surtidor token` makes.
    pub token: Option<Secret>,
    /// Always loopback.
    pub tcp: Option<SocketAddr>,
    pub tls: Option<ControlTls>,
}

#[derive(Debug, Clone)]
pub struct ControlTls {
    pub listen: SocketAddr,
    pub identity: Identity,
}

#[derive(Debug, Clone)]
pub struct Admin {
    /// Always loopback.
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Data {
    pub dir: PathBuf,
    pub keep_days: u32,
}

#[derive(Debug, Clone)]
pub struct Notifications {
    /// Without a '/' at its end: one and the account follow.
    pub path: String,
    pub public_url: Option<BaseUrl>,
}

#[derive(Debug, Clone)]
pub struct MercadoPago {
    pub base_url: BaseUrl,
    /// Over all accounts, in the long run.
    pub calls_per_second: u32,
}

#[derive(Debug, Clone)]
pub struct Account {
    pub id: AccountId,
    pub collector_id: u64,
    pub sponsor_id: Option<u64>,
    pub site: Site,
    /// None: nothing is asked of Mercado Pago, unless a link brings a token.
    pub access_token: Option<Secret>,
    /// Never beside an access token of its own.
    pub oauth: Option<OAuth>,
    pub webhook_secrets: Vec<Secret>,
    pub late_payment: LatePayment,
    pub delivery_failed: DeliveryFailed,
    /// 0 is never.
    pub delivery_seconds: u32,
    pub poll_dialect: Dialect,
}

/// The link that a merchant gave an integrator: with these, tokens for the merchant's account are asked for.
#[derive(Debug, Clone)]
pub struct OAuth {
    /// Of the integrator's application. Not every application is asked for it (`protocol.md` 8.2).
    pub client_id: Option<u64>,
    /// The integrator's own account. Orders name it where they are polled in the order-version-2 dialect (`protocol.md` 1.4).
    pub owner_id: Option<u64>,
    pub client_secret: Secret,
    /// What the merchant's consent gave. Each answer brings another, which is kept in the data folder.
    pub refresh_token: Secret,
}

impl OAuth {
    /// Whether both go back to the same consent: then a token of the one is good for the other.
    pub fn same_consent(&self, other: &OAuth) -> bool {
        self.refresh_token.same_as(&other.refresh_token)
    }
}

/// `http` or `https`, a host, perhaps a path; no query, no fragment, no '/' at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_loopback(&self) -> bool {
        let Ok(url) = self.0.parse::<hyper::Uri>() else {
            return false;
        };
        let host = url.host().unwrap_or("").trim_matches(['[', ']']);
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// What the configuration is read from, before environment and flags.
#[derive(Debug, Clone)]
pub enum Source {
    File(PathBuf),
    /// For a first try: loopback, one test account, data where this user may write.
    BuiltIn,
}

/// The keys that have a flag: `--poll-listen`, `--socket`, `--data-dir`, `--admin-listen`.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub poll_listen: Vec<String>,
    pub socket: Option<String>,
    pub data_dir: Option<String>,
    pub admin_listen: Option<String>,
}

impl Config {
    /// All that is wrong, in the order in which it stands in the file; or the configuration and what the operator should
    /// know of it.
    pub fn load(
        source: Source,
        env: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
        let env: BTreeMap<_, _> = env.into_iter().collect();
        match source {
            Source::BuiltIn => read(
                include_str!("default.toml"),
                Place::BuiltIn,
                &Home::of(is_root(), &env),
                &env,
                flags,
            ),
            Source::File(path) => match read_text(&path, limits::CONFIG_BYTES) {
                Ok(text) => read(&text, Place::File(path), &Home::system(), &env, flags),
                Err(what) => Err(vec![Finding {
                    place: Place::File(path),
                    key: String::new(),
                    what,
                }]),
            },
        }
    }
}

fn read(
    text: &str,
    file: Place,
    home: &Home,
    env: &BTreeMap<String, String>,
    flags: Overrides,
) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
    let mut found = Findings::default();
    let mut raw = raw::read_file(text, &file, &mut found)?;
    raw::read_environment(&mut raw, env, &mut found);
    raw::read_flags(&mut raw, flags);
    raw::place_credentials(&mut raw, env, &mut found);
    let config = parse::parse(&raw, home, &file, &mut found);
    found.faults.sort();
    found.warnings.sort();
    if found.faults.is_empty() {
        Ok((config, found.warnings))
    } else {
        Err(found.faults)
    }
}

/// The process's environment. A value that is not UTF-8 is kept with marks for what is wrong, so that its key refuses it.
pub fn environment() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// The words that this program was started with, its own name first.
pub fn arguments() -> Vec<std::ffi::OsString> {
    std::env::args_os().collect()
}

/// This program's own file, for who starts it once more.
pub fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// Where a server without a configuration file has its control socket, if the same user asks.
pub fn default_socket() -> Option<PathBuf> {
    let home = Home::of(is_root(), &environment());
    Some(home.socket(home.data.as_deref()?))
}

/// Where data and sockets are if nobody says otherwise.
struct Home {
    data: Option<PathBuf>,
    runtime: Option<PathBuf>,
}

impl Home {
    fn system() -> Home {
        Home {
            data: Some("/var/lib/surtidor".into()),
            runtime: Some("/run/surtidor".into()),
        }
    }

    fn of(root: bool, env: &BTreeMap<String, String>) -> Home {
        if root {
            return Home::system();
        }
        // The XDG specification: what is not absolute is ignored.
        let folder = |name| env.get(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        Home {
            data: state.map(|path| path.join("surtidor")),
            runtime: folder("XDG_RUNTIME_DIR").map(|path| path.join("surtidor")),
        }
    }

    fn socket(&self, data_dir: &Path) -> PathBuf {
        self.runtime.as_deref().unwrap_or(data_dir).join("control.sock")
    }
}

/// The owner of a process's folder in `/proc` is its effective user.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0)
}

/// Whether the group is this process's, in the same way.
fn is_our_group(group: u32) -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|folder| folder.gid() == group)
}

/// A whole small file. A pipe would make the start wait, a device never end.
fn read_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("it cannot be read: {error}");
    if !path.metadata().map_err(failed)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(failed)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}
