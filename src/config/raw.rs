//! The configuration as written: which keys there are, and what the file, the environment and the flags say for each.
//! The later of the three wins. What the values mean is not known here.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Overrides;
use super::finding::{Fault, Findings, Place, near};

/// A value as written, and where.
pub(super) struct Setting {
    pub key: String,
    pub place: Place,
    /// One, unless the key takes a list.
    pub items: Vec<String>,
}

impl Setting {
    pub fn text(&self) -> &str {
        self.items.first().map_or("", String::as_str)
    }
}

/// How a key is written in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    List,
    /// `true` or `false`.
    Flag,
    /// Never in the file, which people copy, show and commit; in the environment only.
    Secret,
}

#[derive(Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
}

pub(super) trait Section {
    fn keys(&self) -> &'static [Key];
    fn slot(&mut self, key: &str) -> Option<&mut Option<Setting>>;
}

macro_rules! sections {
    ($($section:ident { $($key:ident: $kind:ident),+ })+) => {$(
        #[derive(Default)]
        pub(super) struct $section {
            $(pub $key: Option<Setting>,)+
        }

        impl Section for $section {
            fn keys(&self) -> &'static [Key] {
                &[$(Key { name: stringify!($key), kind: Kind::$kind }),+]
            }

            fn slot(&mut self, key: &str) -> Option<&mut Option<Setting>> {
                match key {
                    $(stringify!($key) => Some(&mut self.$key),)+
                    _ => None,
                }
            }
        }
    )+};
}

sections! {
    Poll { listen: List, path: Text, keys: List, secret_file: Text, secret: Secret, threads: Number, connections: Number, proxies: List, proxy_protocol: Flag }
    PollTls { listen: List, certificate_file: Text, key_file: Text }
    Control { socket: Text, socket_mode: Text, socket_group: Text, tcp: Text, token_file: Text, token: Secret }
    ControlTls { listen: Text, certificate_file: Text, key_file: Text }
    Admin { listen: Text }
    Data { dir: Text, keep_days: Number }
    Notifications { path: Text, public_url: Text }
    MercadoPago { base_url: Text, calls_per_second: Number }
    Account {
        id: Text, collector_id: Number, sponsor_id: Number, site: Text, access_token_file: Text, access_token: Secret,
        oauth_client_id: Number, oauth_owner_id: Number, oauth_client_secret_file: Text, oauth_client_secret: Secret,
        oauth_refresh_token_file: Text, oauth_refresh_token: Secret,
        webhook_secret_file: Text, webhook_secret: Secret, late_payment: Text, delivery_failed: Text,
        delivery_seconds: Number, poll_dialect: Text
    }
}

#[derive(Default)]
pub(super) struct Raw {
    pub poll: Poll,
    pub poll_tls: PollTls,
    pub control: Control,
    pub control_tls: ControlTls,
    pub admin: Admin,
    pub data: Data,
    pub notifications: Notifications,
    pub mercadopago: MercadoPago,
    /// Each with the place where it begins.
    pub accounts: Vec<(Place, Account)>,
}

const ACCOUNT: &str = "account";

impl Raw {
    /// Each section with its name and what stands for it in a variable.
    fn sections(&mut self) -> Vec<(&'static str, String, &mut dyn Section)> {
        let Raw {
            poll,
            poll_tls,
            control,
            control_tls,
            admin,
            data,
            notifications,
            mercadopago,
            accounts,
        } = self;
        let single: [(_, &mut dyn Section); 8] = [
            ("poll", poll),
            ("poll.tls", poll_tls),
            ("control", control),
            ("control.tls", control_tls),
            ("admin", admin),
            ("data", data),
            ("notifications", notifications),
            ("mercadopago", mercadopago),
        ];
        let id = |account: &Account| account.id.as_ref().map(|id| format!("{ACCOUNT}__{}", id.text()));
        let accounts = accounts
            .iter_mut()
            .filter_map(|(_, account)| Some((ACCOUNT, fold(&id(account)?), account as _)));
        single
            .into_iter()
            .map(|(name, section)| (name, fold(name), section))
            .chain(accounts)
            .collect()
    }

    fn section(&mut self, name: &str) -> Option<&mut dyn Section> {
        self.sections()
            .into_iter()
            .find(|(known, ..)| *known == name)
            .map(|(.., section)| section)
    }

    fn account_ids(&self) -> String {
        let ids: Vec<_> = self
            .accounts
            .iter()
            .filter_map(|(_, account)| Some(account.id.as_ref()?.text()))
            .collect();
        if ids.is_empty() {
            "(none)".into()
        } else {
            ids.join(", ")
        }
    }
}

/// The form in which a name stands in a variable, and under which those of accounts must differ.
pub(super) fn fold(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_").replace('.', "__")
}

// --- the file ---------------------------------------------------------------------------------------------------

/// `Err` if it is not TOML: then nothing more can be said.
pub(super) fn read_file(text: &str, file: &Place, found: &mut Findings) -> Result<Raw, Vec<Fault>> {
    let file = File { text, file };
    // The error's own display would quote the line, and perhaps a misplaced secret with it.
    let document = DeTable::parse(text).map_err(|error| {
        let place = file.place(error.span().map_or(0, |span| span.start));
        vec![Fault {
            place,
            key: String::new(),
            what: format!("not TOML: {}", error.message()),
        }]
    })?;
    let mut raw = Raw::default();
    for (name, value) in document.get_ref().iter() {
        file.read_top(&mut raw, name, value, found);
    }
    Ok(raw)
}

struct File<'a> {
    text: &'a str,
    file: &'a Place,
}

impl File<'_> {
    fn place(&self, offset: usize) -> Place {
        let Place::File(path) = self.file else {
            return self.file.clone();
        };
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Place::Line {
            path: path.clone(),
            line,
            column,
        }
    }

    fn read_top(
        &self,
        raw: &mut Raw,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        found: &mut Findings,
    ) {
        let (place, name) = (self.place(name.span().start), name.get_ref().as_ref());
        if name == ACCOUNT {
            return self.read_accounts(raw, &place, value.get_ref(), found);
        }
        if raw.section(name).is_some() {
            return self.read_section(raw, &place, name, value.get_ref(), found);
        }
        let known = raw
            .sections()
            .into_iter()
            .map(|(known, ..)| known)
            .filter(|known| *known != ACCOUNT && !known.contains('.'));
        let known: Vec<_> = known.chain([ACCOUNT]).collect();
        let hint = hint(near(name, known.iter().copied()), || {
            format!("known are {}", known.join(", "))
        });
        found.fault(&place, name, format!("unknown section `{name}`; {hint}"));
    }

    fn read_accounts(&self, raw: &mut Raw, place: &Place, value: &DeValue<'_>, found: &mut Findings) {
        let wrong = "accounts are a list: write [[account]], with two brackets, before each";
        let DeValue::Array(list) = value else {
            return found.fault(place, ACCOUNT, wrong);
        };
        for entry in list.iter() {
            let place = self.place(entry.span().start);
            let DeValue::Table(table) = entry.get_ref() else {
                found.fault(&place, ACCOUNT, wrong);
                continue;
            };
            let mut account = Account::default();
            for (key, value) in table.iter() {
                let full = format!("{ACCOUNT}.{}", key.get_ref());
                self.read_key(&mut account, full, key, value, found);
            }
            raw.accounts.push((place, account));
        }
    }

    /// A section's keys, and the sections within it.
    fn read_section(&self, raw: &mut Raw, place: &Place, name: &str, value: &DeValue<'_>, found: &mut Findings) {
        let DeValue::Table(table) = value else {
            return found.fault(place, name, format!("is a section: write [{name}] and its keys below"));
        };
        for (key, value) in table.iter() {
            let full = format!("{name}.{}", key.get_ref());
            if raw.section(&full).is_some() {
                let place = self.place(key.span().start);
                self.read_section(raw, &place, &full, value.get_ref(), found);
            } else if let Some(section) = raw.section(name) {
                self.read_key(section, full, key, value, found);
            }
        }
    }

    fn read_key(
        &self,
        section: &mut dyn Section,
        full: String,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        found: &mut Findings,
    ) {
        let (place, name) = (self.place(key.span().start), key.get_ref().as_ref());
        match known(section, name).and_then(|key| from_toml(key, value.get_ref())) {
            Err(why) => found.fault(&place, &full, why),
            Ok(items) => set(
                section,
                name,
                Setting {
                    key: full,
                    place,
                    items,
                },
            ),
        }
    }
}

fn known(section: &dyn Section, key: &str) -> Result<Key, String> {
    let in_file = || {
        section
            .keys()
            .iter()
            .filter(|key| key.kind != Kind::Secret)
            .map(|key| key.name)
    };
    section
        .keys()
        .iter()
        .find(|known| known.name == key)
        .copied()
        .ok_or_else(|| {
            let hint = hint(near(key, in_file()), || {
                format!("known here are {}", in_file().collect::<Vec<_>>().join(", "))
            });
            format!("unknown key `{key}`; {hint}")
        })
}

fn hint(meant: Option<&str>, otherwise: impl Fn() -> String) -> String {
    meant.map_or_else(otherwise, |meant| format!("did you mean `{meant}`?"))
}

fn set(section: &mut dyn Section, key: &str, setting: Setting) {
    if let Some(slot) = section.slot(key) {
        *slot = Some(setting);
    }
}

fn from_toml(key: Key, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let wanted = match (key.kind, value) {
        (Kind::Text | Kind::List, DeValue::String(text)) => return Ok(vec![text.to_string()]),
        (Kind::Number, DeValue::Integer(number)) => {
            let decimal = u64::from_str_radix(number.as_str(), number.radix()).map(|number| number.to_string());
            return Ok(vec![decimal.unwrap_or_else(|_| number.to_string())]);
        }
        (Kind::List, DeValue::Array(list)) if list.iter().all(|item| item.get_ref().is_str()) => {
            return Ok(list
                .iter()
                .filter_map(|item| item.get_ref().as_str())
                .map(String::from)
                .collect());
        }
        (Kind::Flag, DeValue::Boolean(flag)) => return Ok(vec![flag.to_string()]),
        (Kind::Secret, _) => {
            return Err(format!(
                "a secret must not stand here: put it into a file and name that file in `{}_file`",
                key.name
            ));
        }
        (Kind::Text, _) => "text in quotes",
        (Kind::Number, _) => "a whole number without quotes",
        (Kind::Flag, _) => "true or false without quotes",
        (Kind::List, _) => "a list of texts such as [\"a\", \"b\"]",
    };
    Err(format!("must be {wanted}, not {}", value.type_str()))
}

// --- the environment and the flags -------------------------------------------------------------------------------

const PREFIX: &str = "SURTIDOR_";
/// These are the command line's.
const NOT_KEYS: [&str; 4] = [
    "SURTIDOR_CONFIG",
    "SURTIDOR_SOCKET",
    "SURTIDOR_LOG",
    "SURTIDOR_LOG_FORMAT",
];

/// Kubernetes sets these for a service that is called `surtidor`.
const NOT_OURS: [&str; 2] = ["SURTIDOR_SERVICE_", "SURTIDOR_PORT"];

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) && !NOT_KEYS.contains(&name) && !NOT_OURS.iter().any(|theirs| name.starts_with(theirs))
}

pub(super) fn read_environment(raw: &mut Raw, env: &BTreeMap<String, String>, found: &mut Findings) {
    let ours = env.iter().filter(|(name, _)| is_ours(name));
    let mut left: BTreeMap<String, (&String, &String)> =
        ours.map(|(name, value)| (fold(name), (name, value))).collect();
    let mut known = Vec::new();
    for (section_name, variables, section) in raw.sections() {
        for key in section.keys() {
            let variable = format!("{PREFIX}{variables}__{}", fold(key.name));
            if let Some((name, value)) = left.remove(&variable) {
                let items = match key.kind {
                    Kind::List => value.split(',').map(|item| item.trim().to_owned()).collect(),
                    Kind::Text | Kind::Number | Kind::Flag | Kind::Secret => vec![value.clone()],
                };
                let full = format!("{section_name}.{}", key.name);
                set(
                    section,
                    key.name,
                    Setting {
                        key: full,
                        place: Place::Variable(name.clone()),
                        items,
                    },
                );
            }
            known.push(variable);
        }
    }
    for (folded, (name, _)) in left {
        let rule = || {
            format!(
                "keys are SURTIDOR_SECTION__KEY or, for the accounts {}, SURTIDOR_ACCOUNT__ID__KEY",
                raw.account_ids()
            )
        };
        let hint = hint(near(&folded, known.iter().map(String::as_str)), rule);
        found.fault(
            &Place::Variable(name.clone()),
            "",
            format!("no key has this name; {hint}"),
        );
    }
}

pub(super) fn read_flags(raw: &mut Raw, flags: Overrides) {
    let one = |text: Option<String>| text.map(|text| vec![text]);
    let listen = Some(flags.poll_listen).filter(|list| !list.is_empty());
    let settings = [
        (&mut raw.poll.listen, "--poll-listen", "poll.listen", listen),
        (
            &mut raw.control.socket,
            "--socket",
            "control.socket",
            one(flags.socket.map(from_here)),
        ),
        (
            &mut raw.data.dir,
            "--data-dir",
            "data.dir",
            one(flags.data_dir.map(from_here)),
        ),
        (
            &mut raw.admin.listen,
            "--admin-listen",
            "admin.listen",
            one(flags.admin_listen),
        ),
    ];
    for (slot, flag, key, items) in settings {
        if let Some(items) = items {
            *slot = Some(Setting {
                key: key.into(),
                place: Place::Flag(flag),
                items,
            });
        }
    }
}

/// A file of secrets may be named by the credential that systemd made of it (LoadCredential= in the unit).
pub(super) fn place_credentials(raw: &mut Raw, env: &BTreeMap<String, String>, found: &mut Findings) {
    let folder = env.get("CREDENTIALS_DIRECTORY");
    for (_, _, section) in raw.sections() {
        for key in section.keys().iter().filter(|key| key.name.ends_with("_file")) {
            let Some(setting) = section.slot(key.name).and_then(Option::as_mut) else {
                continue;
            };
            let Some(name) = setting.text().strip_prefix("credential:") else {
                continue;
            };
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                let why = format!(
                    "\"{name}\" is not the name of a credential: write credential:token for LoadCredential=token:…"
                );
                found.fault(&setting.place, &setting.key, why);
            } else if let Some(folder) = folder {
                setting.items = vec![format!("{folder}/{name}")];
                continue;
            } else {
                let why = "credentials are there for a service only: CREDENTIALS_DIRECTORY is not set, which systemd sets if \
                           the unit has LoadCredential= (beside a running service it is /run/credentials/surtidor.service)";
                found.fault(&setting.place, &setting.key, why);
            }
            // It is said once, and not again of the file.
            *section.slot(key.name).expect("it was there") = None;
        }
    }
}

/// Whoever types a path means it from where they stand.
fn from_here(path: String) -> String {
    std::path::absolute(&path)
        .ok()
        .and_then(|path| path.into_os_string().into_string().ok())
        .unwrap_or(path)
}

/// The keys that a file could have and this one has not.
#[cfg(test)]
pub(super) fn keys_not_in(text: &str) -> Vec<String> {
    let mut found = Findings::default();
    let Ok(mut raw) = read_file(text, &Place::BuiltIn, &mut found) else {
        return vec!["not TOML".into()];
    };
    assert_eq!(found.faults, []);
    let mut missing = Vec::new();
    for (name, _, section) in raw.sections() {
        for key in section.keys().iter().filter(|key| key.kind != Kind::Secret) {
            if section.slot(key.name).is_some_and(|slot| slot.is_none()) {
                missing.push(format!("{name}.{}", key.name));
            }
        }
    }
    missing
}
