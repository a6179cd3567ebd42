//! The tokens of the control API: who is let in, and as what. They are looked up in memory; the log has what each opens.
//!
//! A token is 256 random bits. Only its hash is kept, here as on the disk, and it is the hash that is looked for: how long
//! that takes says nothing of any token.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::digest;
use ring::rand::SystemRandom;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Denied, Work, ask};
use crate::clock::Clock;
use crate::config::Secret;
use crate::domain::access::{Grant, Scope, TokenHash};
use crate::domain::id::{Timestamp, TokenName};
use crate::limits;
use crate::log::{Batch, Log, LogError};

/// How each token begins, so that those who look for lost secrets know one.
const PREFIX: &str = "srt_";

/// Why nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error("there is a token {0} already: revoke it first, or take another name")]
    Exists(TokenName),
    #[error("there are {} tokens, and no more are kept: revoke some", limits::TOKENS)]
    TooMany,
    #[error("there is no token {0}")]
    Unknown(TokenName),
}

#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    #[error(transparent)]
    Refused(#[from] TokenRefusal),
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// The handle of those who let others in.
#[derive(Clone)]
pub struct Tokens {
    work: mpsc::Sender<Work>,
    known: Arc<Known>,
    clock: Clock,
}

/// What may be told of a token.
#[derive(Debug, Clone)]
pub struct Told {
    pub name: TokenName,
    pub scope: Scope,
    pub created_at: Timestamp,
    /// None: not yet.
    pub used_at: Option<Timestamp>,
}

/// Whoever came with a token.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub scope: Scope,
    pub revoked: Revoked,
}

/// Hears that a token is good no more.
#[derive(Debug, Clone)]
pub struct Revoked(watch::Receiver<bool>);

impl Revoked {
    pub fn already(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once it is.
    pub async fn wait(&mut self) {
        // An error is that nobody knows the token any more.
        let _ = self.0.wait_for(|revoked| *revoked).await;
    }
}

impl Tokens {
    pub(super) fn new(work: mpsc::Sender<Work>, known: Arc<Known>, clock: Clock) -> Tokens {
        Tokens { work, known, clock }
    }

    pub fn admit(&self, token: &[u8]) -> Option<Admitted> {
        let live = self.known.all().by_hash.get(&hash_of(token))?.clone();
        live.used_at.fetch_max(self.clock.now().at.0, Relaxed);
        Some(Admitted {
            scope: live.grant.scope.clone(),
            revoked: Revoked(live.revoked.subscribe()),
        })
    }

    /// The token, which nobody can ask for again; once it is durable.
    pub async fn create(&self, name: TokenName, scope: Scope) -> Result<(Told, Secret), NotChanged> {
        let secret = new_secret()?;
        let grant = Grant {
            name,
            hash: hash_of(secret.expose().as_bytes()),
            scope,
            created_at: self.clock.now().at,
        };
        let told = Live::new(grant.clone(), None).told();
        self.change(Change::Create(grant)).await?;
        Ok((told, secret))
    }

    /// Whoever uses it is cut off by the time that this returns.
    pub async fn revoke(&self, name: TokenName) -> Result<(), NotChanged> {
        self.change(Change::Revoke(name)).await
    }

    async fn change(&self, change: Change) -> Result<(), NotChanged> {
        let done = ask(&self.work, |reply| Work::Token(TokenWork { change, reply })).await?;
        Ok(done?)
    }

    /// By name, after `cursor`, at most `limit`; and whether there are more.
    pub fn list(&self, cursor: Option<TokenName>, limit: usize) -> (Vec<Told>, bool) {
        let all = self.known.all();
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = all.by_name.range((after, Bound::Unbounded));
        let page = rest.by_ref().take(limit).map(|(_, live)| live.told()).collect();
        (page, rest.next().is_some())
    }
}

fn hash_of(token: &[u8]) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token).as_ref());
    TokenHash(hash)
}

fn new_secret() -> Result<Secret, Denied> {
    let random: [u8; 32] = ring::rand::generate(&SystemRandom::new())
        .map_err(|_| Denied::Failed("the system gave no random bytes".into()))?
        .expose();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Secret::parse(&format!("{PREFIX}{hex}")).expect("letters, digits and '_', far fewer than a secret may have"))
}

/// What is asked of the writer.
pub(super) enum Change {
    Create(Grant),
    Revoke(TokenName),
}

pub(super) struct TokenWork {
    pub(super) change: Change,
    pub(super) reply: oneshot::Sender<Result<Result<(), TokenRefusal>, Denied>>,
}

/// All tokens, as the writer and the handles share them. No poll looks at them.
#[derive(Default)]
pub(super) struct Known(Mutex<All>);

#[derive(Default)]
struct All {
    by_name: BTreeMap<TokenName, Arc<Live>>,
    by_hash: HashMap<TokenHash, Arc<Live>>,
}

/// A token that opens something.
struct Live {
    grant: Grant,
    /// In milliseconds; what is on the disk may be older.
    used_at: AtomicI64,
    written: AtomicI64,
    revoked: watch::Sender<bool>,
}

const NEVER: i64 = i64::MIN;

impl Live {
    fn new(grant: Grant, used_at: Option<Timestamp>) -> Live {
        let used_at = used_at.map_or(NEVER, |at| at.0);
        Live {
            grant,
            used_at: used_at.into(),
            written: used_at.into(),
            revoked: watch::Sender::new(false),
        }
    }

    fn told(&self) -> Told {
        Told {
            name: self.grant.name.clone(),
            scope: self.grant.scope.clone(),
            created_at: self.grant.created_at,
            used_at: Some(self.used_at.load(Relaxed))
                .filter(|at| *at != NEVER)
                .map(Timestamp),
        }
    }
}

impl Known {
    /// Held for a few moves in memory.
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, grant: Grant, used_at: Option<Timestamp>) {
        let live = Arc::new(Live::new(grant, used_at));
        let mut all = self.all();
        all.by_hash.insert(live.grant.hash, live.clone());
        all.by_name.insert(live.grant.name.clone(), live);
    }

    fn refuses(&self, change: &Change) -> Option<TokenRefusal> {
        let all = self.all();
        match change {
            Change::Create(grant) if all.by_name.contains_key(&grant.name) => {
                Some(TokenRefusal::Exists(grant.name.clone()))
            }
            Change::Create(_) if all.by_name.len() >= limits::TOKENS => Some(TokenRefusal::TooMany),
            Change::Revoke(name) if !all.by_name.contains_key(name) => Some(TokenRefusal::Unknown(name.clone())),
            Change::Create(_) | Change::Revoke(_) => None,
        }
    }

    /// It is durable now.
    fn follow(&self, change: Change) {
        match change {
            Change::Create(grant) => self.put(grant, None),
            Change::Revoke(name) => {
                let mut all = self.all();
                if let Some(live) = all.by_name.remove(&name) {
                    all.by_hash.remove(&live.grant.hash);
                    live.revoked.send_replace(true);
                }
            }
        }
    }

    /// Does what is asked in a commit of its own, or says why not. On a full disk one can still be revoked.
    pub(super) fn settle(&self, log: &mut Log, change: Change) -> Result<Result<(), TokenRefusal>, LogError> {
        if let Some(refusal) = self.refuses(&change) {
            return Ok(Err(refusal));
        }
        let is_revoked = matches!(change, Change::Revoke(_));
        let write = |batch: &mut Batch<'_>| match &change {
            Change::Create(grant) => batch.put_grant(grant),
            Change::Revoke(name) => batch.drop_grant(name),
        };
        match log.commit(is_revoked, write) {
            // That made room.
            Err(LogError::Full) if is_revoked => log.commit(true, write)?,
            written => written?,
        }
        self.follow(change);
        Ok(Ok(()))
    }

    /// Writes down what was used since the last time.
    pub(super) fn write_uses(&self, log: &mut Log) -> Result<(), LogError> {
        let changed = |live: &&Arc<Live>| live.used_at.load(Relaxed) != live.written.load(Relaxed);
        let used: Vec<_> = self.all().by_name.values().filter(changed).cloned().collect();
        let uses: Vec<_> = used.iter().map(|live| live.used_at.load(Relaxed)).collect();
        log.commit(false, |batch| {
            let mut rows = used.iter().zip(&uses);
            rows.try_for_each(|(live, at)| batch.note_use(&live.grant.name, Timestamp(*at)))
        })?;
        for (live, at) in used.iter().zip(uses) {
            live.written.store(at, Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::PosId;

    fn known(names: &[&str]) -> Known {
        let known = Known::default();
        for (n, name) in (0..).zip(names) {
            known.put(grant(name, n), None);
        }
        known
    }

    fn grant(name: &str, n: u8) -> Grant {
        Grant {
            name: TokenName::parse(name).expect("a name"),
            hash: TokenHash([n; 32]),
            scope: PosId::parse("P").expect("a name").into(),
            created_at: Timestamp(1),
        }
    }

    #[test]
    fn a_secret_is_new_each_time_and_is_known_by_its_beginning() {
        let secrets = [new_secret().expect("random"), new_secret().expect("random")];
        let [one, other] = secrets.each_ref().map(Secret::expose);
        assert_ne!(one, other);
        for secret in [one, other] {
            let (prefix, hex) = secret.split_at(4);
            assert_eq!(prefix, PREFIX);
            assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{hex}");
        }
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_of(b"abc").0, crate::domain::text::unhex(abc).expect("a digest"));
    }

    #[test]
    fn a_name_is_given_once_and_there_are_so_many() {
        let known = known(&["a", "b"]);
        let a = TokenName::parse("a").expect("a name");
        let exists = Some(TokenRefusal::Exists(a.clone()));
        assert_eq!(known.refuses(&Change::Create(grant("a", 9))), exists);
        known.follow(Change::Revoke(a.clone()));
        assert_eq!(known.refuses(&Change::Create(grant("a", 9))), None);
        assert_eq!(
            known.refuses(&Change::Revoke(a.clone())),
            Some(TokenRefusal::Unknown(a))
        );
        for n in 1..limits::TOKENS {
            let mut grant = grant(&format!("t-{n}"), 0);
            grant.hash.0[..8].copy_from_slice(&n.to_be_bytes());
            known.put(grant, None);
        }
        assert_eq!(
            known.refuses(&Change::Create(grant("c", 9))),
            Some(TokenRefusal::TooMany)
        );
    }
}
