//! The newest tokens of each link, a file each. A refresh replaces both tokens, and the ones before may be dead from then
//! on: so what came is on the disk, whole, before it is used.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::config::Secret;
use crate::domain::id::{AccountId, Timestamp};
use crate::limits;

/// Newer forms are refused by name.
const FORM: u32 = 1;

/// The folder with the files of all links.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// What a link brought last.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Which consent it goes back to.
    pub consent: Consent,
    pub access_token: Secret,
    pub refresh_token: Secret,
    /// The seller who gave the link, if the answer said it.
    pub user_id: Option<u64>,
    pub refreshed_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A digest of the refresh token that a merchant's consent gave, and nothing from which it could be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent(String);

impl Consent {
    pub fn of(refresh_token: &Secret) -> Consent {
        Consent(hex(refresh_token.expose().as_bytes()))
    }
}

impl Stored {
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// When it is to be refreshed: a little later by `chance`, from 0 to `CHANCE`, so that links that were given together
    /// are not refreshed together.
    pub fn refresh_at(&self, chance: u32) -> Timestamp {
        let life = self.expires_at.since(self.refreshed_at);
        let margin = (life / 10).min(limits::TOKEN_MARGIN);
        let left = margin - margin / (4 * CHANCE) * chance.min(CHANCE);
        Timestamp(self.expires_at.0.saturating_sub_unsigned(left.as_millis() as u64))
    }
}

pub const CHANCE: u32 = 1_000;

/// The file's first line; the second is the digest of the first.
#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    consent: String,
    access_token: String,
    refresh_token: String,
    user_id: Option<u64>,
    refreshed_at: i64,
    expires_at: i64,
}

/// Why tokens cannot be had from their file, or be put there. It never quotes what is in there.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: it cannot be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{path}: {what}: put back a copy, or, if there is none, ask the merchant for a new consent, write its refresh token \
         into the configured file, and remove this one"
    )]
    Damaged { path: PathBuf, what: String },
    #[error("{path}: it cannot be written: {source}")]
    Unwritten { path: PathBuf, source: io::Error },
    #[error("writing it did not end well: {0}")]
    Unfinished(String),
}

impl Store {
    /// Below the data folder. It is made with the first file.
    pub fn new(data: &Path) -> Store {
        Store(data.join("oauth"))
    }

    fn file(&self, account: &AccountId) -> PathBuf {
        self.0.join(format!("{account}.json"))
    }

    /// What is kept for the account, whatever consent it goes back to; None if nothing ever was.
    pub fn load(&self, account: &AccountId) -> Result<Option<Stored>, StoreError> {
        let path = self.file(account);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(limits::TOKEN_FILE_BYTES).read_to_end(&mut bytes));
        match read {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Unreadable { path, source }),
            Ok(_) => {}
        }
        read_lines(&bytes)
            .map(Some)
            .map_err(|what| StoreError::Damaged { path, what })
    }

    /// Returns once it is durable. The file is replaced whole, or not at all.
    pub fn save(&self, account: &AccountId, stored: &Stored) -> Result<(), StoreError> {
        let path = self.file(account);
        self.replace(&path, &written(stored))
            .map_err(|source| StoreError::Unwritten { path, source })
    }

    fn replace(&self, path: &Path, text: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let new = path.with_extension("json.new");
        // What a crash left there may have been made by another hand, and be open to others.
        if let Err(error) = std::fs::remove_file(&new)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        File::open(&self.0)?.sync_all()?;
        // The folder itself may be new.
        self.0.parent().map_or(Ok(()), |data| File::open(data)?.sync_all())
    }
}

fn written(stored: &Stored) -> String {
    let line = Line {
        v: FORM,
        consent: stored.consent.0.clone(),
        access_token: stored.access_token.expose().to_owned(),
        refresh_token: stored.refresh_token.expose().to_owned(),
        user_id: stored.user_id,
        refreshed_at: stored.refreshed_at.0,
        expires_at: stored.expires_at.0,
    };
    let line = serde_json::to_string(&line).expect("texts and numbers can be written");
    let sum = hex(line.as_bytes());
    format!("{line}\n{sum}\n")
}

fn read_lines(bytes: &[u8]) -> Result<Stored, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    let (line, sum) = text.split_once('\n').ok_or("it ends too early")?;
    if sum.trim_end() != hex(line.as_bytes()) {
        return Err("what it holds is not what was written".into());
    }
    // The error's own display would quote what stands there.
    let line: Line = serde_json::from_str(line).map_err(|_| "it is not of this program")?;
    if line.v != FORM {
        return Err(format!("it has form {}, which a newer program wrote", line.v));
    }
    Ok(Stored {
        consent: Consent(line.consent),
        access_token: Secret::parse(&line.access_token)?,
        refresh_token: Secret::parse(&line.refresh_token)?,
        user_id: line.user_id,
        refreshed_at: Timestamp(line.refreshed_at),
        expires_at: Timestamp(line.expires_at),
    })
}

fn hex(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(text).unwrap()
    }

    fn account() -> AccountId {
        AccountId::parse("shop").unwrap()
    }

    fn stored(life_seconds: i64) -> Stored {
        Stored {
            consent: Consent::of(&secret("TG-0")),
            access_token: secret("hush-access"),
            refresh_token: secret("hush-refresh"),
            user_id: Some(7),
            refreshed_at: Timestamp(1_000_000),
            expires_at: Timestamp(1_000_000 + life_seconds * 1_000),
        }
    }

    #[test]
    fn what_is_saved_is_read_again_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert!(store.load(&account()).unwrap().is_none());
        for refresh in ["hush-refresh", "hush-later"] {
            let new = Stored {
                refresh_token: secret(refresh),
                ..stored(60)
            };
            store.save(&account(), &new).unwrap();
            let read = store.load(&account()).unwrap().expect("it is there");
            assert_eq!(read.refresh_token.expose(), refresh);
            assert_eq!((read.access_token.expose(), read.user_id), ("hush-access", Some(7)));
            assert_eq!((read.refreshed_at, read.expires_at), (new.refreshed_at, new.expires_at));
            assert!(read.consent == Consent::of(&secret("TG-0")));
        }
        let own = folder.path().join("oauth");
        assert_eq!(own.metadata().unwrap().mode() & 0o777, 0o700);
        let files: Vec<_> = own.read_dir().unwrap().map(|file| file.unwrap()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", stored(1)).contains("hush"));
    }

    #[test]
    fn what_a_crash_left_behind_is_no_hindrance() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&account(), &stored(60)).unwrap();
        let left = folder.path().join("oauth/shop.json.new");
        std::fs::write(&left, "{\"v\":1,\"ac").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(store.load(&account()).unwrap().is_some());
        store.save(&account(), &stored(61)).unwrap();
        assert!(!left.exists());
        let mode = folder.path().join("oauth/shop.json").metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_refused_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.save(&account(), &stored(60)).unwrap();
        let file = folder.path().join("oauth/shop.json");
        let good = std::fs::read_to_string(&file).unwrap();
        let newer = good.replace("\"v\":1", "\"v\":2");
        let newer = newer.split_once('\n').unwrap().0;
        let lies = "hush that is no JSON";
        for (text, why) in [
            (String::new(), "it ends too early"),
            (good[..good.len() / 2].to_owned(), "it ends too early"),
            (
                good.replace("hush-refresh", "hush-refrfsh"),
                "what it holds is not what was written",
            ),
            (
                format!("{lies}\n{}\n", hex(lies.as_bytes())),
                "it is not of this program",
            ),
            (
                format!("{newer}\n{}\n", hex(newer.as_bytes())),
                "it has form 2, which a newer program wrote",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = store.load(&account()).expect_err(why).to_string();
            assert!(
                said.starts_with(&format!("{}: {why}: put back", file.display())),
                "{said}"
            );
            assert!(!said.contains("hush"), "{said}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let said = store.load(&account()).expect_err("a folder").to_string();
        assert!(said.contains("it cannot be read"), "{said}");
        let said = store.save(&account(), &stored(60)).expect_err("a folder").to_string();
        assert!(said.contains("it cannot be written"), "{said}");
    }

    #[test]
    fn it_is_refreshed_when_a_tenth_is_left_and_ten_days_at_most() {
        const DAY: i64 = 86_400_000;
        let at = |life: i64, chance| {
            let stored = stored(life);
            (
                stored.refresh_at(chance).0 - stored.expires_at.0,
                stored.is_live(stored.expires_at),
            )
        };
        assert_eq!(at(100, 0), (-10_000, false));
        assert_eq!(at(100, CHANCE), (-7_500, false));
        assert_eq!(at(180 * 86_400, 0), (-10 * DAY, false));
    }
}
