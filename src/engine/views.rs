//! What follows every entry: the poll's table, the registry that the control socket reads, timers and the feed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use tracing::warn;

use super::inbox::Waiting;
use super::metrics::Metrics;
use super::registry::Registry;
use super::timers::{Kind, Timers};
use super::tokens::Known;
use super::{Accounts, Record};
use crate::clock::Now;
use crate::domain::command::Command;
use crate::domain::id::{AccountId, PosId};
use crate::domain::order::Status;
use crate::domain::pos::{PollKey, Pos, Registration, Standing};
use crate::feed::Feed;
use crate::table::{Reply, Slot, Table};

pub(super) struct Views {
    pub(super) table: Arc<Table>,
    pub(super) registry: Registry,
    /// Whose place at Mercado Pago is whose; external ids do not differ by case.
    places: DashMap<(AccountId, String), PosId>,
    pub(super) timers: Timers,
    pub(super) feed: Arc<Feed>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) inbox: Arc<Waiting>,
    pub(super) tokens: Arc<Known>,
    pub(super) metrics: Metrics,
}

impl Views {
    pub(super) fn new(table: Arc<Table>, feed: Arc<Feed>, accounts: Arc<Accounts>) -> Views {
        Views {
            table,
            registry: Registry::default(),
            places: DashMap::new(),
            timers: Timers::default(),
            feed,
            accounts,
            inbox: Waiting::new(),
            tokens: Arc::default(),
            metrics: Metrics::new(),
        }
    }

    /// Puts a POS in the place of what it was. Polls see it first.
    pub(super) fn follow(&self, id: &PosId, before: Option<&Record>, after: Option<Arc<Record>>, now: Now) {
        self.set_timers(id, before.map(|r| &r.pos), after.as_ref().map(|r| &r.pos), now);
        self.set_slot(id, before.map(|r| &r.pos), after.as_ref().map(|r| &r.pos));
        self.set_place(id, before.map(|r| &r.pos), after.as_ref().map(|r| &r.pos));
        self.metrics
            .count(before.map(|r| &r.pos), after.as_ref().map(|r| &r.pos));
        match after {
            Some(record) => self.registry.insert(record),
            None => self.registry.remove(id),
        }
    }

    /// The POS that has the place at Mercado Pago that a registration wants, if it wants one.
    pub(super) fn place_owner(&self, id: &PosId, wanted: &Registration) -> Option<PosId> {
        self.places.get(&place_of(id, wanted)?).map(|owner| owner.clone())
    }

    pub(super) fn set_place(&self, id: &PosId, before: Option<&Pos>, after: Option<&Pos>) {
        let place = |pos: Option<&Pos>| pos.and_then(|pos| place_of(id, &pos.registration));
        let (old, new) = (place(before), place(after));
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.places.remove_if(&old, |_, owner| owner == id);
        }
        if let Some(new) = new {
            self.places.insert(new, id.clone());
        }
    }

    /// Only what changed is set: a deadline keeps the instant that it got when it was made.
    pub(super) fn set_timers(&self, id: &PosId, before: Option<&Pos>, after: Option<&Pos>, now: Now) {
        let lease = |pos: Option<&Pos>| pos.and_then(|pos| pos.lease);
        if lease(before) != lease(after) {
            let deadline = lease(after).map(|until| (now.instant_of(until), Command::LapseLease { until }));
            self.timers.set(id, Kind::Lease, deadline);
        }
        let order = |pos: Option<&Pos>| pos.and_then(|pos| pos.open.clone());
        let (old, new) = (order(before), order(after));
        if old.as_ref().map(|order| &order.reference) != new.as_ref().map(|order| &order.reference) {
            let deadline = new.map(|order| {
                (
                    now.instant_of(order.expires_at),
                    Command::Expire {
                        reference: order.reference.clone(),
                    },
                )
            });
            self.timers.set(id, Kind::Expiry, deadline);
        }
    }

    fn set_slot(&self, id: &PosId, before: Option<&Pos>, after: Option<&Pos>) {
        let place = |pos: Option<&Pos>| pos.map(|pos| (pos.registration.keys.clone(), pos.registration.url_secret));
        if place(before) != place(after) {
            let key = |pos: Option<&Pos>| pos.and_then(|pos| pos.registration.keys.clone());
            let left = key(before).filter(|old| key(after).as_ref() != Some(old));
            // In one commit another POS may have taken over the keys, and be in the table already: its slot stays.
            if let Some(left) = left {
                self.table.remove(&left, id);
            }
            if let Some(slot) = after.and_then(|pos| self.new_slot(pos)) {
                self.table.insert(slot);
            }
        } else if let (Some(before), Some(after)) = (before, after) {
            let told_the_same = polls_are_told_the_same(before, after);
            let renewed = after.registration.require_lease && before.lease != after.lease;
            if let Some(key) = after.registration.keys.as_ref().filter(|_| !told_the_same || renewed) {
                match self.timers.get(&after.id, Kind::Lease) {
                    Some(lapse) if told_the_same => self.offered(key, |reply| reply.renew(lapse)),
                    _ => self.table.set_reply(key, &self.reply(after)),
                }
            }
        }
    }

    /// Does something with what polls with this key are answered, if they are.
    fn offered(&self, key: &PollKey, with: impl Fn(&Reply)) {
        if let Some(reply) = self.table.reply(key) {
            with(&reply);
        }
    }

    /// Has the polls of open orders tell once more that they were shown.
    pub(super) fn ring_again(&self) {
        let is_ready = |pos: &Pos| open_status(Some(pos)) == Some(Status::Ready);
        self.registry.each(|Record { pos, .. }| {
            if let Some(key) = pos.registration.keys.as_ref().filter(|_| is_ready(pos)) {
                self.offered(key, Reply::ring_again);
            }
        });
    }

    /// Renders again what may be said in another dialect now. An order keeps its reply for as long as it is offered.
    pub(super) fn redialect(&self) {
        self.registry.each(|Record { pos, .. }| {
            if let Standing::Waiting(_) | Standing::Withheld(_) = pos.standing()
                && let Some(key) = &pos.registration.keys
            {
                self.table.set_reply(key, &self.reply(pos));
            }
        });
    }

    /// After a start or a reload: an account may have been taken away from under its POS.
    pub(super) fn warn_of_missing_accounts(&self) {
        let mut missing: BTreeMap<AccountId, usize> = BTreeMap::new();
        self.registry.each(|record| {
            let account = &record.pos.registration.account;
            if self.accounts.get(account).is_none() {
                *missing.entry(account.clone()).or_default() += 1;
            }
        });
        for (account, pos) in missing {
            warn!(%account, pos, "points of sale name an account that is not configured: they take no new orders");
        }
    }

    /// The POS as polls will see it, if it can be polled.
    pub(super) fn new_slot(&self, pos: &Pos) -> Option<Slot> {
        let key = pos.registration.keys.clone()?;
        let tags = if pos.registration.url_secret {
            self.table.secrets().tags(&pos.id)
        } else {
            Box::default()
        };
        Some(Slot::new(key, pos.id.clone(), &tags, self.reply(pos)))
    }

    fn reply(&self, pos: &Pos) -> Arc<Reply> {
        let dialect = self.accounts.dialect(&pos.registration.account);
        // An open order has a deadline; without one it may not be offered at all.
        let until = self.timers.get(&pos.id, Kind::Expiry).unwrap_or_else(Instant::now);
        Reply::of(pos, dialect, until, self.timers.get(&pos.id, Kind::Lease))
    }
}

/// None: its orders wait to be polled, or have no way there.
pub(super) fn place_of(id: &PosId, registration: &Registration) -> Option<(AccountId, String)> {
    let way = registration.way(id).ok()??;
    Some((registration.account.clone(), way.pos().as_str().to_ascii_lowercase()))
}

/// An order keeps its reply, to the byte, for as long as it is offered.
fn polls_are_told_the_same(before: &Pos, after: &Pos) -> bool {
    before.registration == after.registration
        && match (before.standing(), after.standing()) {
            (Standing::Ready(old), Standing::Ready(new)) => old.reference == new.reference,
            (old, new) => old == new,
        }
}

/// What the open order is, if there is one.
pub(super) fn open_status(pos: Option<&Pos>) -> Option<Status> {
    pos.and_then(|pos| pos.open.as_ref()).map(|order| order.status)
}
