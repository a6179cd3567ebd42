//! One link: what is known of it, when it is to be refreshed, and what that makes of the account. No waiting, no IO.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::store::{CHANCE, Consent, Stored};
use crate::clock::Now;
use crate::config::{OAuth, Secret};
use crate::domain::id::Timestamp;
use crate::engine::Link;
use crate::limits;

pub(super) struct Tended {
    pub(super) link: OAuth,
    pub(super) collector_id: u64,
    /// What this consent brought last, as it is on the disk.
    pub(super) stored: Option<Stored>,
    /// What came after that, and is not on the disk yet.
    pub(super) unwritten: Option<Stored>,
    pub(super) is_busy: bool,
    cut: Option<Arc<str>>,
    /// In a row, since it was refreshed last.
    failures: u32,
    due: Due,
    /// Whether there was a sign that it may be cut; and when it was last looked at because of one.
    doubted: bool,
    doubted_at: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Due {
    /// By the wall clock: it counts on while we are off.
    At(Timestamp),
    In(Instant),
}

impl Tended {
    /// `known` is what is on the disk, of whatever consent.
    pub(super) fn new(link: OAuth, collector_id: u64, known: Option<Stored>, now: Now, chance: u32) -> Tended {
        let consent = Consent::of(&link.refresh_token);
        let stored = known.filter(|stored| stored.consent == consent);
        let due = match &stored {
            Some(stored) => Due::At(stored.refresh_at(chance)),
            None => Due::In(Instant::from_std(now.instant)),
        };
        Tended {
            link,
            collector_id,
            stored,
            unwritten: None,
            is_busy: false,
            cut: None,
            failures: 0,
            due,
            doubted: false,
            doubted_at: None,
        }
    }

    /// The configuration was read anew, and the consent is the same. Whoever did that may have mended something.
    pub(super) fn renew(&mut self, link: OAuth, collector_id: u64, now: Now) {
        self.link = link;
        self.collector_id = collector_id;
        if self.failures > 0 {
            self.due = Due::In(Instant::from_std(now.instant));
        }
    }

    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// The token to ask with, or why there is none.
    pub(super) fn token(&self, now: Timestamp) -> Result<&Secret, Link> {
        if let Some(says) = &self.cut {
            return Err(Link::Cut(says.clone()));
        }
        match &self.stored {
            Some(stored) => match stored.user_id.filter(|seller| *seller != self.collector_id) {
                Some(seller) => Err(Link::Cut(self.foreign(seller))),
                None if stored.is_live(now) => Ok(&stored.access_token),
                None => Err(Link::Awaited),
            },
            None => Err(Link::Awaited),
        }
    }

    fn foreign(&self, seller: u64) -> Arc<str> {
        format!(
            "the consent is of the seller {seller}, not of collector_id {}",
            self.collector_id
        )
        .into()
    }

    /// When it is to be refreshed.
    pub(super) fn due(&self, now: Now) -> Instant {
        let due = match self.due {
            Due::At(at) => Instant::from_std(now.instant_of(at)),
            Due::In(due) => due,
        };
        match self.doubted_at {
            _ if !self.doubted => due,
            Some(last) => due.min(last + limits::LINK_DOUBT_PAUSE),
            None => Instant::from_std(now.instant),
        }
    }

    pub(super) fn begin(&mut self, now: Now) {
        self.is_busy = true;
        if std::mem::take(&mut self.doubted) {
            self.doubted_at = Some(Instant::from_std(now.instant));
        }
    }

    /// What came is on the disk. Doubts of what it replaces are gone.
    pub(super) fn refreshed(&mut self, stored: Stored, chance: u32) {
        self.due = Due::At(stored.refresh_at(chance));
        self.stored = Some(stored);
        self.unwritten = None;
        self.cut = None;
        self.failures = 0;
        self.doubted = false;
    }

    /// Mercado Pago refuses the link.
    pub(super) fn refused(&mut self, says: &str, now: Now) {
        self.failures = self.failures.saturating_add(1);
        self.cut = Some(says.into());
        self.due = Due::In(Instant::from_std(now.instant) + limits::LINK_CUT_AGAIN);
    }

    /// Nothing was learnt. `wanted` is how long Mercado Pago wants to be left alone.
    pub(super) fn failed(&mut self, wanted: Option<Duration>, now: Now, chance: u32) {
        self.failures = self.failures.saturating_add(1);
        let most = match self.token(now.at) {
            Ok(_) => limits::LINK_AGAIN_LAST,
            Err(Link::Cut(_)) => limits::LINK_CUT_AGAIN,
            Err(_) => limits::LINK_AGAIN_MUTE,
        };
        let doubled = limits::LINK_AGAIN_FIRST.saturating_mul(1 << (self.failures - 1).min(20));
        let most = doubled.min(most);
        // Half of it is by chance, so that what failed together does not come back together.
        let pause = most / 2 + most / (2 * CHANCE) * chance.min(CHANCE);
        self.due = Due::In(Instant::from_std(now.instant) + pause.max(wanted.unwrap_or_default()));
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_some()
    }
}
