//! When an order is looked at although nobody notified us of it. Pure: times in, a time out.

use std::time::Duration;

use crate::domain::id::Timestamp;
use crate::domain::order::Order;
use crate::limits;

/// What the schedule needs of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) created: Timestamp,
    pub(super) shown: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
}

impl Times {
    pub(super) fn of(order: &Order) -> Times {
        Times {
            created: order.created_at,
            // What Mercado Pago has can be paid at once.
            shown: order.shown_at.or(order.posted.as_ref().map(|_| order.created_at)),
            ended: order.ended_at,
        }
    }

    /// When the next look is due, if the last one was at `asked`; none once the order is too old to be paid by surprise.
    pub(super) fn next_look(&self, asked: Option<Timestamp>) -> Option<Timestamp> {
        match self.ended {
            None => Some(self.while_open(asked)),
            Some(ended) => after_the_end(ended, asked),
        }
    }

    /// In how long a look that is overdue at start must be made: quickly where somebody may wait for it, else once within
    /// the pause between two looks.
    pub(super) fn spread(&self, now: Timestamp) -> Duration {
        match self.ended {
            None => limits::AGAIN_FIRST,
            Some(ended) if now <= later(ended, limits::LOOK_OFTEN) => limits::LOOK_AFTER_END,
            Some(_) => limits::LOOK_SELDOM,
        }
    }

    fn while_open(&self, asked: Option<Timestamp>) -> Timestamp {
        let unseen = later(self.created, limits::LOOK_AFTER_READY);
        let first = self
            .shown
            .map_or(unseen, |shown| unseen.min(later(shown, limits::LOOK_AFTER_SHOWN)));
        asked.map_or(first, |asked| first.max(later(asked, limits::LOOK_WHILE_OPEN)))
    }
}

fn after_the_end(ended: Timestamp, asked: Option<Timestamp>) -> Option<Timestamp> {
    let last = asked.map_or(ended, |asked| ended.max(asked));
    let soon = later(last, limits::LOOK_AFTER_END);
    let next = if soon <= later(ended, limits::LOOK_OFTEN) {
        soon
    } else {
        later(last, limits::LOOK_SELDOM)
    };
    (next <= later(ended, limits::LOOK_OFTEN + limits::LOOK_LONG)).then_some(next)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.plus_seconds(by.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000);

    /// The looks at an order that is asked for as soon as it is due, in seconds after it was made.
    fn looks(shown: Option<u64>, ended: Option<u64>, until: u64) -> Vec<u64> {
        let times = Times {
            created: START,
            shown: shown.map(|at| START.plus_seconds(at)),
            ended: ended.map(|at| START.plus_seconds(at)),
        };
        let mut asked = None;
        let mut looks = Vec::new();
        while let Some(next) = times.next_look(asked) {
            asked = Some(next);
            let seconds = next.since(START).as_secs();
            if seconds > until {
                break;
            }
            looks.push(seconds);
        }
        looks
    }

    #[test]
    fn an_open_order_is_asked_for_every_ten_seconds() {
        assert_eq!(looks(None, None, 60), [30, 40, 50, 60]);
        assert_eq!(looks(Some(2), None, 40), [12, 22, 32]);
        assert_eq!(
            looks(Some(25), None, 50),
            [30, 40, 50],
            "never later for having been shown"
        );
    }

    #[test]
    fn an_order_that_ended_is_asked_for_often_for_an_hour_and_then_hourly_for_a_day() {
        let all = looks(Some(2), Some(100), u64::MAX);
        assert_eq!(&all[..3], [130, 160, 190]);
        let often = all.iter().filter(|at| **at <= 3_700).count();
        assert_eq!((often, all[often - 1]), (120, 3_700));
        assert_eq!(
            &all[often..],
            (1..=24).map(|hour| 3_700 + hour * 3_600).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_server_that_was_off_asks_once_and_goes_on() {
        let times = Times {
            created: START,
            shown: None,
            ended: Some(START),
        };
        assert!(times.next_look(None).is_some_and(|next| next < START.plus_seconds(31)));
        assert_eq!(times.next_look(Some(START.plus_seconds(100_000))), None);
    }
}
