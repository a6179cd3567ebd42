//! From the log to the views, at start. Damage stops it, by name: an order that might be wrong is not offered.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::warn;

use super::Record;
use super::views::Views;
use crate::clock::Clock;
use crate::domain::id::Timestamp;
use crate::limits;
use crate::log::{Log, LogError};

pub(super) fn recover(log: &Log, views: &Views, clock: &Clock) -> Result<(), LogError> {
    let mut leases: HashMap<String, Timestamp> = HashMap::new();
    log.leases(|pos, until| {
        leases.insert(pos.to_owned(), until);
    })?;
    let mut newest = Timestamp(0);
    log.newest(|found| {
        newest = newest.max(found.at);
        if let Some(mut pos) = found.state {
            pos.lease = leases.get(pos.id.as_str()).copied();
            // A million POS need not each have a copy of a long account's name.
            if let Some(account) = views.accounts.get(&pos.registration.account) {
                pos.registration.account = account.id.clone();
            }
            let (rev, sum) = (found.rev, found.sum);
            views.registry.insert(Arc::new(Record { pos, rev, sum }));
        }
    })?;
    if let Some(doubt) = doubt(clock.now().at, newest) {
        let (clock, newest) = (rfc3339(clock.now().at), rfc3339(newest));
        warn!(clock, newest, "is this machine's clock right? {doubt}");
    }
    clock.not_before(newest);
    let now = clock.now();
    let mut slots = Vec::new();
    views.registry.each(|Record { pos, .. }| {
        views.set_timers(&pos.id, None, Some(pos), now);
        slots.extend(views.new_slot(pos));
        views.set_place(&pos.id, None, Some(pos));
        views.metrics.count(None, Some(pos));
    });
    views.table.insert_all(slots);
    views.warn_of_missing_accounts();
    log.grants(|grant, used_at| views.tokens.put(grant, used_at))?;
    log.inbox(|kept| {
        clock.not_before(kept.at);
        views.inbox.put_back(kept);
    })
}

/// Why the wall clock may be wrong, given the newest entry; 1970 is that of an empty log.
fn doubt(wall: Timestamp, newest: Timestamp) -> Option<&'static str> {
    if newest == Timestamp(0) {
        None
    } else if wall.since(newest) > limits::CLOCK_AHEAD {
        Some("the newest entry is more than a month old; if the clock is ahead, history will be trimmed too soon")
    } else if newest.since(wall) > limits::CLOCK_BEHIND {
        Some(
            "the newest entry is in its future; until the clock gets there, times go on from that entry's, at half pace",
        )
    } else {
        None
    }
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_far_from_the_newest_entry_is_doubted() {
        let newest = Timestamp(1_763_733_909_123);
        let after = |seconds: u64| doubt(newest.plus_seconds(seconds), newest);
        let before = |seconds: u64| doubt(newest, newest.plus_seconds(seconds));
        assert_eq!((after(0), after(30 * 86_400), before(60)), (None, None, None));
        assert!(after(30 * 86_400 + 1).is_some_and(|why| why.contains("trimmed too soon")));
        assert!(before(61).is_some_and(|why| why.contains("in its future")));
        assert_eq!(doubt(newest, Timestamp(0)), None, "of an empty log");
    }
}
