//! Links that merchants gave an integrator (OAuth): their tokens are refreshed before they end, kept on the disk, and put
//! in place; a link that is cut stops its account and says so.
//!
//! Nobody else asks for tokens. A notification, or a call that is answered 401, only makes the keeper ask; what Mercado
//! Pago then answers counts. What an account without a token must leave alone is not decided here.

mod bell;
mod store;
mod tended;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::Arc;

use metrics::{describe_gauge, gauge};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::{Account, OAuth};
use crate::domain::id::{AccountId, Timestamp};
use crate::engine::{Accounts, Link};
use crate::limits;
use crate::mercadopago::{ApiError, Client, Tokens};
use crate::net::stop::Stopping;

use store::{CHANCE, Consent, Store};
use tended::Tended;

pub use bell::Bell;
pub use store::{StoreError, Stored};

pub fn describe() {
    describe_gauge!(
        "surtidor_account_linked",
        "1 while an account that is reached through a link (OAuth) has a token, 0 while it has none, by account."
    );
}

/// A configured link, and what is on the disk for its account.
pub struct Known {
    account: AccountId,
    collector_id: u64,
    link: OAuth,
    stored: Option<Stored>,
}

/// Each configured link with what is on the disk. Fails if that cannot be read: the newest tokens are nowhere else.
pub fn load(data: &Path, accounts: &[Account]) -> Result<Vec<Known>, StoreError> {
    let store = Store::new(data);
    let linked = accounts
        .iter()
        .filter_map(|account| Some((account, account.oauth.as_ref()?)));
    linked
        .map(|(account, link)| {
            Ok(Known {
                account: account.id.clone(),
                collector_id: account.collector_id,
                link: link.clone(),
                stored: store.load(&account.id)?,
            })
        })
        .collect()
}

/// The newest token of an account's link, for who does not keep it; None if this consent has brought none yet.
pub fn newest(data: &Path, account: &AccountId, link: &OAuth) -> Result<Option<Stored>, StoreError> {
    let stored = Store::new(data).load(account)?;
    Ok(stored.filter(|stored| stored.consent == Consent::of(&link.refresh_token)))
}

/// What the keeper is made of.
pub struct Parts<'a> {
    pub data: &'a Path,
    pub accounts: Arc<Accounts>,
    pub client: Client,
    pub clock: Clock,
    pub bell: Bell,
}

/// Refreshes all links.
pub struct Keeper {
    store: Store,
    accounts: Arc<Accounts>,
    client: Client,
    clock: Clock,
    bell: Bell,
    reloads: mpsc::Receiver<Vec<Known>>,
    links: BTreeMap<AccountId, Tended>,
    jobs: JoinSet<Done>,
    /// Whose link each job refreshes: one that panics cannot say it.
    begun: HashMap<Id, AccountId>,
    chance: RandomState,
}

/// Tells the keeper that the configuration was read anew.
pub struct Reloads(mpsc::Sender<Vec<Known>>);

impl Reloads {
    pub async fn tell(&self, known: Vec<Known>) {
        // A keeper that has ended does so with the server.
        let _ = self.0.send(known).await;
    }
}

/// A refresh that has ended.
struct Done {
    account: AccountId,
    link: OAuth,
    result: Result<Stored, Failure>,
}

enum Failure {
    Api(ApiError),
    /// Tokens came, and could not be kept.
    Unwritten(Box<Stored>, StoreError),
}

impl Keeper {
    /// Tokens that are on the disk are in place when this returns.
    pub fn new(parts: Parts<'_>, known: Vec<Known>) -> (Keeper, Reloads) {
        let (sender, reloads) = mpsc::channel(1);
        let mut keeper = Keeper {
            store: Store::new(parts.data),
            accounts: parts.accounts,
            client: parts.client,
            clock: parts.clock,
            bell: parts.bell,
            reloads,
            links: BTreeMap::new(),
            jobs: JoinSet::new(),
            begun: HashMap::new(),
            chance: RandomState::new(),
        };
        keeper.take(known);
        (keeper, Reloads(sender))
    }

    /// Runs on a `LocalSet` until told to stop. What is under way then is let end: an answer that nobody writes down costs
    /// the link.
    pub async fn run(mut self, mut stopping: Stopping) {
        let bell = self.bell.clone();
        loop {
            self.begin();
            let wake = self.wake();
            tokio::select! {
                Some(ended) = self.jobs.join_next_with_id() => self.end(ended),
                doubted = bell.rung() => self.doubt(&doubted),
                Some(known) = self.reloads.recv() => self.take(known),
                () = sleep_until(wake) => {}
                () = stopping.wait() => break,
            }
        }
        let rest = async {
            while let Some(ended) = self.jobs.join_next_with_id().await {
                self.end(ended);
            }
        };
        if timeout(limits::DRAIN_TIME, rest).await.is_err() {
            warn!("a link was being refreshed, and Mercado Pago did not answer in time");
        }
    }

    /// From now on these, and no others.
    fn take(&mut self, known: Vec<Known>) {
        let now = self.clock.now();
        let mut old = std::mem::take(&mut self.links);
        for Known {
            account,
            collector_id,
            link,
            stored,
        } in known
        {
            let chance = self.chance(&account);
            let before = old.remove(&account);
            // Also if the account was not configured for a while.
            let is_busy = self.begun.values().any(|begun| *begun == account);
            let tended = match before.filter(|tended| tended.link.same_consent(&link)) {
                Some(mut tended) => {
                    tended.renew(link, collector_id, now);
                    tended
                }
                // What is under way for another consent ends first, so that no two write the same file.
                None => {
                    let mut tended = Tended::new(link, collector_id, stored, now, chance);
                    tended.is_busy = is_busy;
                    tended
                }
            };
            self.links.insert(account.clone(), tended);
            self.tell(&account, now.at);
        }
        for account in old.keys() {
            linked(account, false);
        }
    }

    fn doubt(&mut self, doubted: &BTreeSet<AccountId>) {
        for account in doubted {
            if let Some(tended) = self.links.get_mut(account) {
                tended.doubt();
            }
        }
    }

    fn begin(&mut self) {
        let now = self.clock.now();
        for (account, tended) in &mut self.links {
            let has_room = self.jobs.len() < limits::LINK_REFRESHES;
            if has_room && !tended.is_busy && tended.due(now) <= Instant::from_std(now.instant) {
                tended.begin(now);
                let refresh = Refresh {
                    store: self.store.clone(),
                    client: self.client.clone(),
                    asked_at: now.at,
                    account: account.clone(),
                    link: tended.link.clone(),
                    stored: tended.stored.clone(),
                    unwritten: tended.unwritten.clone(),
                };
                let job = self.jobs.spawn_local(refresh.run());
                self.begun.insert(job.id(), account.clone());
            }
        }
    }

    /// When there may be something to begin. The wall clock may have jumped by then.
    fn wake(&self) -> Instant {
        let now = self.clock.now();
        let latest = Instant::from_std(now.instant) + limits::LINK_AGAIN_LAST;
        let idle = self.links.values().filter(|tended| !tended.is_busy);
        match self.jobs.len() < limits::LINK_REFRESHES {
            true => idle.map(|tended| tended.due(now)).fold(latest, Instant::min),
            false => latest,
        }
    }

    fn end(&mut self, ended: Result<(Id, Done), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let begun = self.begun.remove(&id);
        match ended {
            Ok((_, done)) => self.done(done),
            // It is tried again, as after any other failure.
            Err(error) => {
                let Some(account) = begun else { return };
                error!(%account, %error, "a link was not refreshed");
                let (now, chance) = (self.clock.now(), self.chance(&account));
                if let Some(tended) = self.links.get_mut(&account) {
                    tended.is_busy = false;
                    tended.failed(None, now, chance);
                }
            }
        }
    }

    fn done(&mut self, done: Done) {
        let Done { account, link, result } = done;
        let (now, chance) = (self.clock.now(), self.chance(&account));
        let Some(tended) = self.links.get_mut(&account) else {
            return;
        };
        tended.is_busy = false;
        if !tended.link.same_consent(&link) {
            return;
        }
        match result {
            Ok(stored) => {
                info!(%account, days = stored.expires_at.since(now.at).as_secs() / 86_400, "the link was refreshed");
                tended.refreshed(stored, chance);
            }
            Err(Failure::Api(failure)) => match failure.cuts_link() {
                Some(says) => {
                    error!(%account, %says, ADVICE);
                    tended.refused(&says.to_string(), now);
                }
                None => {
                    warn!(%account, error = %failure, "the link could not be refreshed yet");
                    tended.failed(wanted(&failure), now, chance);
                }
            },
            Err(Failure::Unwritten(stored, error)) => {
                error!(%account, %error, "new tokens came and cannot be kept: they are not used before they are");
                tended.unwritten = Some(*stored);
                tended.failed(None, now, chance);
            }
        }
        self.tell(&account, now.at);
    }

    /// Puts the token in place, or takes it away.
    fn tell(&self, account: &AccountId, now: Timestamp) {
        let Some(tended) = self.links.get(account) else { return };
        let token = tended.token(now);
        linked(account, token.is_ok());
        match token {
            Ok(token) => self.accounts.admit(account, &tended.link, token),
            Err(why) => {
                if let (Link::Cut(says), false) = (&why, tended.is_cut()) {
                    error!(%account, %says, "the link is of another seller: Mercado Pago is not asked for this account");
                }
                self.accounts.withdraw(account, &tended.link, &why);
            }
        }
    }

    /// Another one each time.
    fn chance(&self, account: &AccountId) -> u32 {
        let hash = self.chance.hash_one((account, self.clock.now().at.0));
        u32::try_from(hash % u64::from(CHANCE)).unwrap_or_default()
    }
}

const ADVICE: &str = "Mercado Pago refuses this account's link, so it is not asked for the account until that is mended: have \
    the merchant consent anew, write the new refresh token into oauth_refresh_token_file, and reload; if it is the \
    application that is refused, correct oauth_client_id and oauth_client_secret_file instead";

fn linked(account: &AccountId, is: bool) {
    gauge!("surtidor_account_linked", "account" => account.to_string()).set(if is { 1.0 } else { 0.0 });
}

fn wanted(failure: &ApiError) -> Option<std::time::Duration> {
    match failure {
        ApiError::Limited { retry_after, .. } => *retry_after,
        _ => None,
    }
}

/// One refresh on its way: asked for, then written down.
struct Refresh {
    store: Store,
    client: Client,
    asked_at: Timestamp,
    account: AccountId,
    link: OAuth,
    stored: Option<Stored>,
    unwritten: Option<Stored>,
}

impl Refresh {
    async fn run(self) -> Done {
        let (account, link) = (self.account.clone(), self.link.clone());
        let result = self.refresh().await;
        Done { account, link, result }
    }

    async fn refresh(mut self) -> Result<Stored, Failure> {
        let new = match self.unwritten.take() {
            Some(new) => new,
            None => self.ask().await.map_err(Failure::Api)?,
        };
        let (store, account, kept) = (self.store, self.account, new.clone());
        // The disk may take its time, and this thread serves controllers.
        let saved = spawn_blocking(move || store.save(&account, &kept)).await;
        match saved.unwrap_or_else(|panic| Err(StoreError::Unfinished(panic.to_string()))) {
            Ok(()) => Ok(new),
            Err(error) => Err(Failure::Unwritten(Box::new(new), error)),
        }
    }

    async fn ask(&self) -> Result<Stored, ApiError> {
        let first = &self.link.refresh_token;
        let newest = self.stored.as_ref().map_or(first, |stored| &stored.refresh_token);
        let Tokens {
            access_token,
            refresh_token,
            expires_in,
            user_id,
        } = self.client.refresh_token(&self.link, newest).await?;
        Ok(Stored {
            consent: Consent::of(first),
            access_token,
            refresh_token: refresh_token.unwrap_or_else(|| newest.clone()),
            user_id,
            refreshed_at: self.asked_at,
            expires_at: self.asked_at.plus_seconds(expires_in.as_secs()),
        })
    }
}
