//! From what was written to what is meant: each key's rule, its default, and what the keys demand of each other.

use std::fmt::Display;
use std::net::SocketAddr;

use super::finding::{Findings, Place};
use super::raw::{self, Raw, Setting, fold};
use super::secret::{self, Open, Secret};
use super::value::{
    Parsed, address, addresses, base_url, flag, group, loopback, mode, notification_path, number, path, proxies,
    query_keys, secret_path, socket_path, url_path, word,
};
use super::{
    Account, Admin, BaseUrl, Config, Control, ControlTls, Data, Home, MercadoPago, Notifications, OAuth, Poll, PollTls,
    read_text,
};
use crate::domain::account::{DeliveryFailed, Dialect, LatePayment};
use crate::domain::id::AccountId;
use crate::domain::money::Site;
use crate::limits;
use crate::peer::Network;
use crate::tls::{Chain, Identity};

/// What it returns is whole only if nothing was found to be a fault: a key with a fault has its default.
pub(super) fn parse(raw: &Raw, home: &Home, file: &Place, found: &mut Findings) -> Config {
    let data = data(&raw.data, home, file, found);
    let config = Config {
        poll: poll(&raw.poll, &raw.poll_tls, file, found),
        control: control(raw, home, &data, file, found),
        admin: admin(&raw.admin, found),
        data,
        notifications: notifications(&raw.notifications, found),
        mercadopago: mercadopago(&raw.mercadopago, found),
        accounts: accounts(&raw.accounts, file, found),
    };
    paths_differ(raw, &config, found);
    addresses_differ(raw, &config, found);
    config
}

/// Where a key should stand, its name, and what would be right.
type Example<'a> = (&'a Place, &'a str, &'a str);

impl Findings {
    fn list<T>(&mut self, setting: &Option<Setting>, parse: impl FnOnce(&[String]) -> Parsed<T>) -> Option<T> {
        let setting = setting.as_ref()?;
        parse(&setting.items)
            .map_err(|why| self.fault(&setting.place, &setting.key, why))
            .ok()
    }

    fn one<T>(&mut self, setting: &Option<Setting>, parse: impl FnOnce(&str) -> Parsed<T>) -> Option<T> {
        self.list(setting, |items| parse(items.first().map_or("", String::as_str)))
    }

    fn required<T>(
        &mut self,
        setting: &Option<Setting>,
        example: Example<'_>,
        parse: impl FnOnce(&str) -> Parsed<T>,
    ) -> Option<T> {
        self.missing(setting, example);
        self.one(setting, parse)
    }

    fn missing(&mut self, setting: &Option<Setting>, (place, key, example): Example<'_>) {
        if setting.is_none() {
            self.fault(place, key, format!("is missing: write {example}"));
        }
    }
}

// --- sections ---------------------------------------------------------------------------------------------------

fn poll(raw: &raw::Poll, tls: &raw::PollTls, file: &Place, found: &mut Findings) -> Poll {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let secrets = secrets(&raw.secret, &raw.secret_file, found);
    if let (Some(setting), true) = (
        raw.secret.as_ref().or(raw.secret_file.as_ref()),
        secrets.iter().any(is_short),
    ) {
        found.warn(&setting.place, &setting.key, SHORT_SECRET);
    }
    let proxies = found.list(&raw.proxies, proxies).unwrap_or_default();
    if let (Some(setting), true) = (&raw.proxies, proxies.0.iter().any(Network::is_everybody)) {
        let why = "whoever connects is believed for whom it asks, so whose misses are counted is up to them";
        found.warn(&setting.place, &setting.key, why);
    }
    let proxy_protocol = found.one(&raw.proxy_protocol, flag).unwrap_or(false);
    if let (Some(setting), true, true) = (&raw.proxy_protocol, proxy_protocol, proxies.0.is_empty()) {
        found.fault(
            &setting.place,
            &setting.key,
            "needs poll.proxies: the networks of those who send its header",
        );
    }
    let is_secured = any([&tls.listen, &tls.certificate_file, &tls.key_file]);
    let plain = match is_secured {
        // Whoever asks for TLS gets a port without it only by asking for that, too.
        true => Vec::new(),
        false => vec![SocketAddr::from(([0, 0, 0, 0], 8080))],
    };
    Poll {
        listen: found.list(&raw.listen, addresses).unwrap_or(plain),
        tls: is_secured.then(|| poll_tls(tls, file, found)).flatten(),
        path: found.one(&raw.path, url_path).unwrap_or_else(|| "/pay-mp".into()),
        keys: found
            .list(&raw.keys, query_keys)
            .unwrap_or_else(|| vec!["locationId".into(), "positionId".into()]),
        secrets,
        threads: found
            .one(&raw.threads, |text| number(text, 1, limits::POLL_THREADS))
            .unwrap_or(cores.min(limits::POLL_THREADS)),
        connections: found
            .one(&raw.connections, |text| number(text, 1, limits::POLL_CONNECTIONS_MAX))
            .unwrap_or(limits::POLL_CONNECTIONS),
        proxies,
        proxy_protocol,
    }
}

fn poll_tls(raw: &raw::PollTls, file: &Place, found: &mut Findings) -> Option<PollTls> {
    found.missing(&raw.listen, (file, "poll.tls.listen", "listen = \"0.0.0.0:443\""));
    let listen = found.list(&raw.listen, addresses);
    let files = [&raw.certificate_file, &raw.key_file];
    let identity = identity("poll.tls", files, file, found);
    Some(PollTls {
        listen: listen?,
        identity: identity?,
    })
}

fn any(settings: [&Option<Setting>; 3]) -> bool {
    settings.iter().any(|setting| setting.is_some())
}

/// A certificate and its key. Both are read now, so that whoever checks the configuration checks them, too.
fn identity(
    section: &str,
    [certificate, key]: [&Option<Setting>; 2],
    file: &Place,
    found: &mut Findings,
) -> Option<Identity> {
    let read = |text: &str| {
        let path = secret_path(text)?;
        let named = |why: &dyn Display| format!("{}: {why}", path.display());
        let text = read_text(&path, limits::CERTIFICATE_FILE_BYTES).map_err(|why| named(&why))?;
        Ok((text, path))
    };
    let named = format!("{section}.certificate_file");
    let example = "certificate_file = \"/etc/surtidor/tls/fullchain.pem\"";
    let chain = found.required(certificate, (file, &named, example), |text| {
        let (text, path) = read(text)?;
        Chain::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    });
    let named = format!("{section}.key_file");
    let example = "key_file = \"/etc/surtidor/tls/privkey.pem\"";
    let read_key = found.required(key, (file, &named, example), read);
    if let (Some(key), Some((_, path))) = (key, &read_key)
        && let Some(open) = Open::of(path)
    {
        found.warn(&key.place, &key.key, open.advice(key.text()));
    }
    let (chain, (text, path)) = (chain?, read_key?);
    found.one(key, |_| {
        chain
            .with_key(&text)
            .map_err(|why| format!("{}: {why}", path.display()))
    })
}

fn control(all: &Raw, home: &Home, data: &Data, file: &Place, found: &mut Findings) -> Control {
    let raw = &all.control;
    let usual = || home.socket(&data.dir);
    let socket_mode = found.one(&raw.socket_mode, mode).unwrap_or(0o660);
    if let (Some(setting), true) = (&raw.socket_mode, socket_mode & 0o002 != 0) {
        found.warn(
            &setting.place,
            &setting.key,
            "every user of this machine may put and cancel orders; \"0660\" is usual",
        );
    }
    Control {
        socket: found.one(&raw.socket, socket_path).unwrap_or_else(usual),
        socket_mode,
        socket_group: found.one(&raw.socket_group, group),
        token: control_token(all, found),
        tcp: found.one(&raw.tcp, loopback),
        tls: control_tls(&all.control_tls, file, found),
    }
}

/// What opens everything to whoever comes over TCP.
fn control_token(raw: &Raw, found: &mut Findings) -> Option<Secret> {
    let Raw {
        control,
        control_tls: tls,
        ..
    } = raw;
    let token = one_secret(&control.token, &control.token_file, found);
    let given = control.token.as_ref().or(control.token_file.as_ref())?;
    if token.as_ref().is_some_and(is_short) {
        found.warn(&given.place, &given.key, SHORT_SECRET);
    }
    if control.tcp.is_none() && tls.listen.is_none() {
        let why = "is of no use without control.tcp or control.tls";
        found.warn(&given.place, &given.key, why);
    }
    token
}

fn control_tls(raw: &raw::ControlTls, file: &Place, found: &mut Findings) -> Option<ControlTls> {
    if !any([&raw.listen, &raw.certificate_file, &raw.key_file]) {
        return None;
    }
    let example = (file, "control.tls.listen", "listen = \"0.0.0.0:8443\"");
    let listen = found.required(&raw.listen, example, address);
    let files = [&raw.certificate_file, &raw.key_file];
    let identity = identity("control.tls", files, file, found);
    Some(ControlTls {
        listen: listen?,
        identity: identity?,
    })
}

fn admin(raw: &raw::Admin, found: &mut Findings) -> Admin {
    Admin {
        listen: found
            .one(&raw.listen, loopback)
            .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9464))),
    }
}

fn data(raw: &raw::Data, home: &Home, file: &Place, found: &mut Findings) -> Data {
    if raw.dir.is_none() && home.data.is_none() {
        let why = "no place is known: neither XDG_STATE_HOME nor HOME is set; give --data-dir or SURTIDOR_DATA__DIR";
        found.fault(file, "data.dir", why);
    }
    let keep_days = found.one(&raw.keep_days, |text| number(text, 1, limits::KEEP_DAYS_MAX));
    Data {
        dir: found
            .one(&raw.dir, path)
            .or_else(|| home.data.clone())
            .unwrap_or_default(),
        keep_days: keep_days.unwrap_or(limits::KEEP_ENTRIES_DAYS),
    }
}

fn notifications(raw: &raw::Notifications, found: &mut Findings) -> Notifications {
    let public_url = found.one(&raw.public_url, base_url);
    warn_if_plain(
        &raw.public_url,
        public_url.as_ref(),
        "notifications come unencrypted: use https://",
        found,
    );
    Notifications {
        path: found
            .one(&raw.path, notification_path)
            .unwrap_or_else(|| "/notifications".into()),
        public_url,
    }
}

fn mercadopago(raw: &raw::MercadoPago, found: &mut Findings) -> MercadoPago {
    let url = found.one(&raw.base_url, base_url);
    warn_if_plain(
        &raw.base_url,
        url.as_ref(),
        "the access token goes out unencrypted: use https://",
        found,
    );
    MercadoPago {
        base_url: url.unwrap_or_else(|| BaseUrl("https://api.mercadopago.com".into())),
        calls_per_second: found
            .one(&raw.calls_per_second, |text| {
                number(text, 1, limits::CALLS_PER_SECOND_MAX)
            })
            .unwrap_or(limits::CALLS_PER_SECOND),
    }
}

fn warn_if_plain(setting: &Option<Setting>, url: Option<&BaseUrl>, what: &str, found: &mut Findings) {
    if let (Some(setting), Some(url)) = (setting, url)
        && url.as_str().starts_with("http://")
        && !url.is_loopback()
    {
        found.warn(&setting.place, &setting.key, what);
    }
}

// --- accounts ---------------------------------------------------------------------------------------------------

fn accounts(raw: &[(Place, raw::Account)], file: &Place, found: &mut Findings) -> Vec<Account> {
    if raw.is_empty() {
        found.fault(
            file,
            "account",
            "there is none: write at least one [[account]] with id, collector_id and site",
        );
    }
    for (i, (_, account)) in raw.iter().enumerate() {
        let same = |other: &Setting| {
            account
                .id
                .as_ref()
                .is_some_and(|id| fold(id.text()) == fold(other.text()))
        };
        let earlier = raw[..i]
            .iter()
            .find_map(|(_, earlier)| earlier.id.as_ref().filter(|id| same(id)));
        if let (Some(id), Some(earlier)) = (&account.id, earlier) {
            let rule = "names must differ by more than case, '-' and '_'";
            found.fault(
                &id.place,
                &id.key,
                format!("\"{}\" is taken by the account at {}; {rule}", id.text(), earlier.place),
            );
        }
    }
    let mut accounts: Vec<Account> = Vec::new();
    for (place, raw) in raw {
        let Some(account) = account(place, raw, found) else {
            continue;
        };
        let earlier = accounts.iter().find(|earlier| shares_consent(earlier, &account));
        if let (Some(earlier), Some(token)) = (earlier, refresh_token(raw)) {
            let what = format!(
                "it is the one of account \"{}\" too: a consent is of one seller, and each refresh of the one would end the \
                 other's token",
                earlier.id
            );
            found.fault(&token.place, &token.key, what);
        }
        accounts.push(account);
    }
    accounts
}

fn shares_consent(one: &Account, other: &Account) -> bool {
    matches!((&one.oauth, &other.oauth), (Some(one), Some(other)) if one.same_consent(other))
}

fn refresh_token(raw: &raw::Account) -> Option<&Setting> {
    raw.oauth_refresh_token
        .as_ref()
        .or(raw.oauth_refresh_token_file.as_ref())
}

fn account(place: &Place, raw: &raw::Account, found: &mut Findings) -> Option<Account> {
    // All keys are read before the first `?`, so that all faults are found.
    let id = found.required(&raw.id, (place, "account.id", "id = \"main\""), account_id);
    let collector = (
        place,
        "account.collector_id",
        "the number of the Mercado Pago account that receives the money",
    );
    let collector_id = found.required(&raw.collector_id, collector, |text| number(text, 1, u64::MAX));
    let site_example = format!("site = \"MLA\" (one of {})", site_codes());
    let site = found.required(&raw.site, (place, "account.site", &site_example), site);
    let sponsor_id = found.one(&raw.sponsor_id, |text| number(text, 1, u64::MAX));
    let access_token = one_secret(&raw.access_token, &raw.access_token_file, found);
    let webhook_secrets = secrets(&raw.webhook_secret, &raw.webhook_secret_file, found);
    let late_payment = found.one(&raw.late_payment, late_payment).unwrap_or_default();
    let delivery_failed = found.one(&raw.delivery_failed, delivery_failed).unwrap_or_default();
    let delivery_seconds = found.one(&raw.delivery_seconds, |text| {
        number(text, 0, limits::DELIVERY_SECONDS_MAX)
    });
    let poll_dialect = found.one(&raw.poll_dialect, dialect).unwrap_or_default();
    let oauth = oauth(raw, poll_dialect, found);
    Some(Account {
        id: id?,
        collector_id: collector_id?,
        sponsor_id,
        site: site?,
        access_token,
        oauth,
        webhook_secrets,
        late_payment,
        delivery_failed,
        delivery_seconds: delivery_seconds.unwrap_or(limits::DELIVERY_SECONDS_DEFAULT),
        poll_dialect,
    })
}

/// A link needs a secret and a refresh token, and takes the place of an access token.
fn oauth(raw: &raw::Account, dialect: Dialect, found: &mut Findings) -> Option<OAuth> {
    let client_id = found.one(&raw.oauth_client_id, |text| number(text, 1, u64::MAX));
    let owner_id = found.one(&raw.oauth_owner_id, |text| number(text, 1, u64::MAX));
    let client_secret = one_secret(&raw.oauth_client_secret, &raw.oauth_client_secret_file, found);
    let first_token = one_secret(&raw.oauth_refresh_token, &raw.oauth_refresh_token_file, found);
    let secret = raw
        .oauth_client_secret
        .as_ref()
        .or(raw.oauth_client_secret_file.as_ref());
    let refresh = refresh_token(raw);
    let mut needs = |given: Option<&Setting>, what: &str| {
        if let Some(given) = given {
            found.fault(&given.place, &given.key, format!("needs {what}"));
        }
    };
    let numbers = raw.oauth_client_id.as_ref().or(raw.oauth_owner_id.as_ref());
    let any = refresh.or(secret).or(numbers);
    if secret.is_none() {
        needs(
            any,
            "the application's secret: name its file in oauth_client_secret_file",
        );
    }
    if refresh.is_none() {
        needs(
            any,
            "the refresh token of the merchant's consent: name its file in oauth_refresh_token_file",
        );
    }
    if dialect == Dialect::OrderVersion2 && raw.oauth_owner_id.is_none() {
        needs(
            any,
            "oauth_owner_id, the number of the integrator's own account: polls of this dialect are told it",
        );
    }
    let token = raw.access_token.as_ref().or(raw.access_token_file.as_ref());
    if let (Some(any), Some(token)) = (any, token) {
        let why = format!(
            "{} is given too: an account has a token of its own or a link, not both",
            token.key
        );
        found.fault(&any.place, &any.key, why);
    }
    Some(OAuth {
        client_id,
        owner_id,
        client_secret: client_secret?,
        refresh_token: first_token?,
    })
}

fn account_id(text: &str) -> Parsed<AccountId> {
    AccountId::parse(text).map_err(|rule| format!("\"{text}\" is not a name: it {rule}"))
}

fn site(text: &str) -> Parsed<Site> {
    Site::parse(text).ok_or_else(|| format!("\"{text}\" is not a site; the sites are {}", site_codes()))
}

fn site_codes() -> String {
    Site::ALL.map(Site::code).join(", ")
}

fn late_payment(text: &str) -> Parsed<LatePayment> {
    word(text, &LatePayment::ALL.map(|word| (word.as_str(), word)))
}

fn delivery_failed(text: &str) -> Parsed<DeliveryFailed> {
    word(
        text,
        &[("refund", DeliveryFailed::Refund), ("report", DeliveryFailed::Report)],
    )
}

fn dialect(text: &str) -> Parsed<Dialect> {
    word(
        text,
        &[
            ("documented", Dialect::Documented),
            ("order-version-2", Dialect::OrderVersion2),
        ],
    )
}

// --- secrets ----------------------------------------------------------------------------------------------------

const SHORT_SECRET: &str = "is short enough to be guessed; `openssl rand -hex 32` makes a good one";

fn is_short(secret: &Secret) -> bool {
    secret.expose().len() < limits::SECRET_LEN_ADVISED
}

/// A secret given outright is nearer than a file.
fn secrets(direct: &Option<Setting>, file: &Option<Setting>, found: &mut Findings) -> Vec<Secret> {
    if direct.is_some() {
        return found.one(direct, secret::lines).unwrap_or_default();
    }
    let read = found.one(file, |text| secret::read_file(&secret_path(text)?));
    if let (Some(file), Some((_, Some(open)))) = (file, &read) {
        found.warn(&file.place, &file.key, open.advice(file.text()));
    }
    read.map(|(secrets, _)| secrets).unwrap_or_default()
}

fn one_secret(direct: &Option<Setting>, file: &Option<Setting>, found: &mut Findings) -> Option<Secret> {
    let mut secrets = secrets(direct, file, found);
    if let (Some(setting), 2..) = (direct.as_ref().or(file.as_ref()), secrets.len()) {
        found.fault(
            &setting.place,
            &setting.key,
            format!("holds {} lines, but there is one such secret", secrets.len()),
        );
    }
    secrets.pop()
}

// --- what keys demand of each other -----------------------------------------------------------------------------

/// Notifications own their path and all below it; polls own exactly theirs.
fn paths_differ(raw: &Raw, config: &Config, found: &mut Findings) {
    let (polls, notifications) = (&config.poll.path, &config.notifications.path);
    let below = polls
        .strip_prefix(notifications.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let (true, Some(setting)) = (below, raw.notifications.path.as_ref().or(raw.poll.path.as_ref())) {
        let why =
            format!("polls at {polls} would be taken for notifications at {notifications}: one of the two must change");
        found.fault(&setting.place, &setting.key, why);
    }
}

fn addresses_differ(raw: &Raw, config: &Config, found: &mut Findings) {
    type Taken<'a> = (&'static str, SocketAddr, &'a Option<Setting>);
    let Config {
        poll, control, admin, ..
    } = config;
    let mut all: Vec<Taken<'_>> = Vec::new();
    all.extend(
        poll.listen
            .iter()
            .map(|address| ("poll.listen", *address, &raw.poll.listen)),
    );
    let secured = poll.tls.iter().flat_map(|tls| &tls.listen);
    all.extend(secured.map(|address| ("poll.tls.listen", *address, &raw.poll_tls.listen)));
    all.extend(control.tcp.iter().map(|tcp| ("control.tcp", *tcp, &raw.control.tcp)));
    all.extend(
        control
            .tls
            .iter()
            .map(|tls| ("control.tls.listen", tls.listen, &raw.control_tls.listen)),
    );
    all.push(("admin.listen", admin.listen, &raw.admin.listen));
    for (i, (_, address, setting)) in all.iter().enumerate() {
        let Some((other, _, earlier)) = all[..i].iter().find(|(_, earlier, _)| collide(*earlier, *address)) else {
            continue;
        };
        // One of the two may be a default, which stands nowhere.
        let place = setting
            .as_ref()
            .or(earlier.as_ref())
            .map_or(&Place::BuiltIn, |setting| &setting.place);
        found.fault(
            place,
            all[i].0,
            format!("{address} is taken by {other}; another port is needed"),
        );
    }
}

fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip =
        a.ip() == b.ip() || (a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified()));
    a.port() != 0 && a.port() == b.port() && same_ip
}
