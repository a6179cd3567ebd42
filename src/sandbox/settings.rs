//! What a sandbox is told: before it starts, and about its faults at any time.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::json::{Json, object};

/// A country, as far as its API differs.
#[derive(Debug, PartialEq, Eq)]
pub struct Site {
    pub code: &'static str,
    pub currency: &'static str,
    /// The decimals of its amounts.
    pub places: u32,
    /// The codes that `category` of a POS may have: gastronomy and petrol station.
    pub categories: [u64; 2],
}

const fn site(code: &'static str, currency: &'static str, places: u32, categories: [u64; 2]) -> Site {
    Site {
        code,
        currency,
        places,
        categories,
    }
}

pub static SITES: [Site; 7] = [
    site("MLA", "ARS", 2, [621_102, 473_000]),
    site("MLB", "BRL", 2, [5_611_203, 4_731_300]),
    site("MLM", "MXN", 2, [5_812, 468_419]),
    site("MCO", "COP", 0, [5_611, 4_731]),
    site("MPE", "PEN", 2, [5_520, 5_050]),
    site("MLU", "UYU", 2, [56_101, 47_300]),
    site("MLC", "CLP", 0, [561_000, 473_001]),
];

/// A merchant's account, known by its token.
#[derive(Clone)]
pub struct Account {
    pub token: String,
    /// The number after the token's last hyphen.
    pub collector: u64,
    pub site: &'static Site,
    /// Where its notifications go that have no `notification_url`, and all of its intents; else `Settings::dashboard_url`.
    pub dashboard_url: Option<String>,
}

/// Why the settings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSettings {
    #[error("a token ends in a hyphen and the collector's number, like APP_USR-…-178106235")]
    Token,
    #[error("{0:?} is none of MLA, MLB, MLC, MCO, MLM, MPE, MLU")]
    Site(String),
}

impl Account {
    pub fn new(token: &str, site: &str) -> Result<Account, BadSettings> {
        let number = token.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        let plain = token.len() <= 255 && token.bytes().all(|byte| byte.is_ascii_graphic());
        let known = SITES.iter().find(|known| known.code == site);
        Ok(Account {
            token: token.to_owned(),
            collector: number.filter(|_| plain).ok_or(BadSettings::Token)?,
            site: known.ok_or_else(|| BadSettings::Site(site.to_owned()))?,
            dashboard_url: None,
        })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({} of {})", self.collector, self.site.code)
    }
}

/// Which notifications are sent about orders and payments. Intents only know webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    Ipn,
    Webhook,
    Both,
}

/// The unit of a signature's `ts`: the sources disagree, so both must be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    Milliseconds,
    Seconds,
}

/// An integrator's application, to which sellers may give links (OAuth).
#[derive(Clone)]
pub struct Application {
    pub id: u64,
    /// The integrator's own account.
    pub owner: u64,
    pub secret: String,
    /// How long an access token lives that came of a link. 180 days at Mercado Pago.
    pub token_life: Duration,
    /// How long a refresh token stays good that was replaced by one that nobody has used. What Mercado Pago does is not
    /// documented.
    pub replaced_for: Duration,
}

#[derive(Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    /// At least one. The first owns the scans of bare URLs.
    pub accounts: Vec<Account>,
    pub application: Application,
    /// Signs webhooks.
    pub secret: String,
    /// Where notifications go that have no `notification_url`, and all of intents, of accounts that do not say so.
    pub dashboard_url: Option<String>,
    /// Hosts that a POS's URL may have; any, if there is none.
    pub url_hosts: Vec<String>,
    pub flavour: Flavour,
    pub stamp: Stamp,
    /// How often a phone asks a POS's URL.
    pub poll_every: Duration,
    /// How long a phone asks.
    pub poll_for: Duration,
    /// The repeats of a notification, each after the one before. 30 s, 5 min and 30 min at Mercado Pago.
    pub retry_after: Vec<Duration>,
    /// How long an answer to a notification may take: the first time, and on repeats.
    pub answer_time: [Duration; 2],
    /// How long an intent lives that nobody pays. An hour, or three months: Mercado Pago's documents disagree.
    pub intent_life: Duration,
    /// All that is random comes from it.
    pub seed: u64,
    pub faults: Faults,
}

/// For a first try, as the command line and the tests use it. It is no secret.
pub const TEST_TOKEN: &str = "APP_USR-7910800073137785-010112-0f1e2d3c4b5a69788796a5b4c3d2e1f0-178106235";
pub const TEST_CLIENT_SECRET: &str = "sandbox-client-secret-5b4a39281706f5e4";
pub const TEST_SECRET: &str = "sandbox-webhook-secret-0f1e2d3c4b5a6978";

impl Default for Settings {
    /// As Mercado Pago does it, on a free loopback port, with the test account of Argentina.
    fn default() -> Settings {
        Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            accounts: vec![Account::new(TEST_TOKEN, "MLA").expect("it ends in a number, and the site is in the table")],
            application: Application {
                id: 7_910_800_073_137_785,
                owner: 334_249_281,
                secret: TEST_CLIENT_SECRET.to_owned(),
                token_life: Duration::from_secs(180 * 86_400),
                replaced_for: Duration::from_secs(600),
            },
            secret: TEST_SECRET.to_owned(),
            dashboard_url: None,
            url_hosts: Vec::new(),
            flavour: Flavour::Both,
            stamp: Stamp::Milliseconds,
            poll_every: Duration::from_secs(1),
            poll_for: Duration::from_secs(600),
            retry_after: [30, 300, 1_800].map(Duration::from_secs).to_vec(),
            answer_time: [22, 5].map(Duration::from_secs),
            intent_life: Duration::from_secs(3_600),
            seed: 1,
            faults: Faults::default(),
        }
    }
}

impl Settings {
    /// With the waits of repeats divided by this.
    pub fn hurried(mut self, times: u32) -> Settings {
        self.retry_after.iter_mut().for_each(|after| *after /= times.max(1));
        self
    }
}

/// How often something goes wrong: the next so many times, and then once in so many. Zeroes are never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chance {
    pub next: u32,
    pub one_in: u32,
}

impl Chance {
    pub fn next(next: u32) -> Chance {
        Chance { next, one_in: 0 }
    }

    pub fn one_in(one_in: u32) -> Chance {
        Chance { next: 0, one_in }
    }
}

/// What goes wrong on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Every notification leaves this much later.
    pub delay: Duration,
    /// Notifications that are never sent, nor repeated.
    pub lose: Chance,
    /// So many more copies of every notification.
    pub repeat: u32,
    /// Every notification, and each of its copies, waits a random time up to this, so that they overtake one another.
    pub reorder: Duration,
    /// Calls answered 429, with `Retry-After`, before anything is done.
    pub too_many: Chance,
    pub retry_after_seconds: u32,
    /// Calls answered 500 before anything is done.
    pub broken: Chance,
    /// Connections cut instead of an answer: before the work is done, and after it.
    pub cut_before: Chance,
    pub cut_after: Chance,
    /// Every call's answer takes this much longer.
    pub slow: Duration,
    /// Only of calls about a POS, an order or a store whose name begins so; of all, if it is empty.
    pub slow_for: String,
    /// Searches show the state of so long ago; what is newer than that is not found.
    pub stale: Duration,
}

impl Faults {
    /// Takes over the members that are there. The error names the first that is wrong.
    pub fn change(&mut self, body: &Json) -> Result<(), String> {
        let Json::Object(members) = body else {
            return Err("faults are an object".into());
        };
        for (name, value) in members {
            let done = match name.as_str() {
                "delay_ms" => set(&mut self.delay, milliseconds(value)),
                "lose" => set(&mut self.lose, chance(value)),
                "repeat" => set(&mut self.repeat, small(value).filter(|times| *times <= REPEAT_MAX)),
                "reorder_ms" => set(&mut self.reorder, milliseconds(value)),
                "too_many" => set(&mut self.too_many, chance(value)),
                "retry_after_seconds" => set(&mut self.retry_after_seconds, small(value)),
                "broken" => set(&mut self.broken, chance(value)),
                "cut_before" => set(&mut self.cut_before, chance(value)),
                "cut_after" => set(&mut self.cut_after, chance(value)),
                "slow_ms" => set(&mut self.slow, milliseconds(value)),
                "slow_for" => set(&mut self.slow_for, value.text().map(str::to_owned)),
                "stale_ms" => set(&mut self.stale, milliseconds(value)),
                _ => return Err(format!("{name} is no fault: {FAULTS}")),
            };
            if !done {
                return Err(format!("{name} is wrong: {FAULTS}"));
            }
        }
        Ok(())
    }

    pub fn json(&self) -> Json {
        object([
            ("delay_ms", whole(self.delay)),
            ("lose", self.lose.json()),
            ("repeat", u64::from(self.repeat).into()),
            ("reorder_ms", whole(self.reorder)),
            ("too_many", self.too_many.json()),
            ("retry_after_seconds", u64::from(self.retry_after_seconds).into()),
            ("broken", self.broken.json()),
            ("cut_before", self.cut_before.json()),
            ("cut_after", self.cut_after.json()),
            ("slow_ms", whole(self.slow)),
            ("slow_for", self.slow_for.as_str().into()),
            ("stale_ms", whole(self.stale)),
        ])
    }
}

const REPEAT_MAX: u32 = 100;
const FAULTS: &str = "delay_ms, reorder_ms, slow_ms, stale_ms (at most 3600000), retry_after_seconds, repeat (at most 100), \
    slow_for (the beginning of a name), and lose, too_many, broken, cut_before, cut_after as {\"next\": 3, \"one_in\": 10}";

fn set<T>(place: &mut T, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    *place = value;
    true
}

fn small(value: &Json) -> Option<u32> {
    value.integer()?.try_into().ok()
}

fn milliseconds(value: &Json) -> Option<Duration> {
    let value = value.integer().filter(|value| *value <= 3_600_000);
    value.map(Duration::from_millis)
}

fn whole(duration: Duration) -> Json {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

fn chance(value: &Json) -> Option<Chance> {
    let Json::Object(members) = value else { return None };
    let known = members
        .iter()
        .all(|(name, _)| ["next", "one_in"].contains(&name.as_str()));
    let member = |name| match value.get(name) {
        Json::Null => Some(0),
        value => small(value),
    };
    known
        .then(|| {
            Some(Chance {
                next: member("next")?,
                one_in: member("one_in")?,
            })
        })
        .flatten()
}

impl Chance {
    fn json(self) -> Json {
        object([
            ("next", u64::from(self.next).into()),
            ("one_in", u64::from(self.one_in).into()),
        ])
    }
}
