//! From the log to the views, at start. Damage stops it, by name: an order that might be wrong is not offered.

use std::collections::HashMap;
use std::sync::Arc;

use super::Record;
use super::views::Views;
use crate::clock::Clock;
use crate::domain::id::Timestamp;
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
    let mut slots = Vec::with_capacity(records.len());
    for record in records {
        let pos = &record.pos;
        views.set_timers(&pos.id, None, Some(pos), now);
        slots.extend(views.slot(pos));
        views.metrics.count(None, Some(pos));
        views.registry.insert(pos.id.clone(), record);
    }
    views.table.insert_all(slots);
    Ok(())
}
