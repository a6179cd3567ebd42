//! From the log to the views, at start. Damage stops it, by name: an order that might be wrong is not offered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tracing::warn;

use super::Record;
use super::views::Views;
use crate::clock::Clock;
use crate::domain::id::{AccountId, Timestamp};
use crate::log::{Log, LogError};

pub(super) fn recover(log: &Log, views: &Views, clock: &Clock) -> Result<(), LogError> {
    let mut leases: HashMap<String, Timestamp> = HashMap::new();
    log.leases(|pos, until| {
        leases.insert(pos.to_owned(), until);
    })?;
    let mut records = Vec::new();
    let mut newest = Timestamp(0);
    log.newest(|found| {
        newest = newest.max(found.at);
        if let Some(mut pos) = found.state {
            pos.lease = leases.get(pos.id.as_str()).copied();
            records.push(Arc::new(Record {
                pos,
                rev: found.rev,
                sum: found.sum,
            }));
        }
    })?;
    clock.not_before(newest);
    let now = clock.now();
    let mut without_account: BTreeMap<AccountId, usize> = BTreeMap::new();
    let mut slots = Vec::with_capacity(records.len());
    for record in records {
        let pos = &record.pos;
        if views.accounts.get(&pos.registration.account).is_none() {
            *without_account.entry(pos.registration.account.clone()).or_default() += 1;
        }
        views.set_timers(&pos.id, None, Some(pos), now);
        slots.extend(views.slot(pos));
        views.metrics.count(None, Some(pos));
        views.registry.insert(pos.id.clone(), record);
    }
    views.table.insert_all(slots);
    for (account, pos) in without_account {
        warn!(%account, pos, "points of sale name an account that is not configured: they take no new orders");
    }
    Ok(())
}
