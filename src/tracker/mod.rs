//! What must be learnt or done at Mercado Pago, until it is: what became of an order's money, and refunds.
//!
//! It asks the API and submits what it learnt as commands like any other; the rules decide what that means. A
//! notification only makes it look sooner. It forgets nothing over a restart: orders, refunds and notifications are in the
//! log. Nothing here releases a product, and nothing here believes anybody but the API.

mod board;
mod budget;
mod errand;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod look;
mod metrics;
mod owed;
mod refund;
mod schedule;
#[cfg(test)]
mod tests;
mod verdict;
mod work;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::clock::{Clock, Now};
use crate::config::Account;
use crate::domain::access::Scope;
use crate::domain::id::{AccountId, Reference};
use crate::domain::order::Order;
use crate::engine::{Accounts, Denied, Engine, Expiring, Taken};
use crate::feed::{After, FollowError, Follower, News};
use crate::limits;
use crate::log::{Happening, ReadError};
use crate::mercadopago::{ApiError, Broken, Client};

use board::{Board, Ended, Job, Key, key_of, pause};
use budget::Budget;
use errand::Lanes;
use metrics::Errands;

pub use metrics::{Metrics, describe};

/// What the tracker is made of.
pub struct Tracker {
    pub engine: Engine,
    pub accounts: Arc<Accounts>,
    pub client: Client,
    pub clock: Clock,
    /// May change while it runs.
    pub calls_per_second: Arc<AtomicU32>,
    pub metrics: Metrics,
}

/// What its jobs share.
struct Tools {
    engine: Engine,
    accounts: Arc<Accounts>,
    client: Client,
    clock: Clock,
    budget: Budget,
    lanes: Lanes,
    /// When the operator was last told that the API refuses us.
    complained: Cell<Option<Instant>>,
}

/// Why nothing was learnt this time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the account's token is being asked for")]
    Awaited,
}

impl Failure {
    /// Whether Mercado Pago was certainly not told of anything.
    fn is_untold(&self) -> bool {
        match self {
            Failure::Api(error) => matches!(
                error,
                ApiError::Resting | ApiError::Limited { .. } | ApiError::Broken(Broken::Connect(_) | Broken::Busy)
            ),
            Failure::Awaited => true,
            Failure::Read(_) | Failure::Denied(_) => false,
        }
    }
}

impl Tools {
    /// That nothing could be learnt passes by itself, or the client has said already that Mercado Pago is down. That we
    /// are refused, or do not understand the answer, somebody must mend; he is told now and then.
    fn complain(&self, key: &Key, failure: &Failure) {
        let now = Instant::now();
        let lately = self
            .complained
            .get()
            .is_some_and(|last| now - last < limits::AGAIN_LAST);
        match failure {
            Failure::Api(error) if !error.may_pass() && !lately => {
                self.complained.set(Some(now));
                warn!(reference = %key, %error, "what became of an order cannot be learnt");
            }
            failure => debug!(reference = %key, %failure, "what became of the order is not known yet"),
        }
    }
}

/// A job that has ended.
enum Done {
    Order {
        key: Key,
        ended: Ended,
        /// Those that are not answered yet.
        hints: Vec<Taken>,
    },
    /// A notification whose URL named no order.
    Hint {
        taken: Taken,
        tries: u32,
        named: Result<Named, Failure>,
    },
    /// An order's last look, and its end.
    Expired,
    /// That nobody has spoken of the order's product could not be told.
    Untold(Key),
    Aside,
}

/// What a job was begun for, as long as it is under way: what is to be put right when it is not any more, however it ended.
enum Begun {
    Order { key: Key, is_errand: bool },
    Hint { is_trusted: bool },
    LastLook(Reference),
    Alarm(Key),
}

/// Which order a notification is about.
enum Named {
    Order(Key),
    /// None of ours, as far as can be said.
    Nothing,
    /// The API does not know it, perhaps not yet.
    Unknown,
}

impl Tracker {
    /// Runs until dropped, on a `LocalSet`. Tells when it knows all that the log says; what is pushed from then on it knows to
    /// be new, while of an older order nobody knows whether Mercado Pago has it.
    pub async fn run(self, mut expiring: mpsc::Receiver<Expiring>, watching: SyncSender<()>) {
        let mut desk = Desk::new(self);
        let mut follower = loop {
            match desk.recall().await {
                Ok(follower) => break follower,
                Err(error) => warn!(%error, "payments are not watched yet"),
            }
            sleep(limits::AGAIN_LAST).await;
        };
        // Who asked may not have waited.
        let _ = watching.try_send(());
        let tools = desk.tools.clone();
        loop {
            desk.begin();
            let wake = desk.wake();
            let may_expire = desk.last_looks.len() < limits::EXPIRING;
            tokio::select! {
                news = follower.next() => match news {
                    Ok(News::Entry(entry)) => desk.follow(&entry),
                    Ok(News::Scanned { .. }) => {}
                    Err(error) => {
                        warn!(%error, "the tracker cannot follow the log");
                        sleep(limits::AGAIN_FIRST).await;
                    }
                },
                Some(expiring) = expiring.recv(), if may_expire => desk.expire(expiring),
                Some(ended) = desk.jobs.join_next_with_id() => match ended {
                    Ok((id, done)) => {
                        desk.settle(id);
                        desk.end(done).await;
                    }
                    Err(error) => {
                        warn!(%error, "a job of the tracker ended badly");
                        let begun = desk.settle(error.id());
                        desk.mend(begun);
                    }
                },
                () = tools.engine.inbox().waits() => desk.has_mail = true,
                () = sleep_until(wake) => {}
            }
        }
    }
}

/// Where jobs are given out and taken back.
struct Desk {
    tools: Rc<Tools>,
    board: Board,
    jobs: JoinSet<Done>,
    begun: HashMap<Id, Begun>,
    /// Jobs that bring orders to Mercado Pago, or take them off.
    errands: usize,
    /// Jobs for notifications that anybody could have sent.
    untrusted: usize,
    has_mail: bool,
    /// Notifications that named no order yet; and those of them that anybody could have sent.
    later: Shelf,
    later_untrusted: Shelf,
    /// Orders that are having their last look.
    last_looks: HashSet<Reference>,
    metrics: Metrics,
}

/// Notifications that are tried again at a time.
#[derive(Default)]
struct Shelf {
    waiting: BTreeMap<(Instant, u64), (Taken, u32)>,
    next: u64,
}

impl Shelf {
    fn put(&mut self, at: Instant, taken: Taken, tries: u32) {
        self.waiting.insert((at, self.next), (taken, tries));
        self.next += 1;
    }

    fn take(&mut self, now: Instant) -> Option<(Taken, u32)> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn first(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }
}

impl Desk {
    fn new(tracker: Tracker) -> Desk {
        Desk {
            tools: Rc::new(Tools {
                engine: tracker.engine,
                accounts: tracker.accounts,
                client: tracker.client,
                clock: tracker.clock,
                budget: Budget::new(tracker.calls_per_second),
                lanes: Lanes::default(),
                complained: Cell::new(None),
            }),
            board: Board::default(),
            jobs: JoinSet::new(),
            begun: HashMap::new(),
            errands: 0,
            untrusted: 0,
            has_mail: true,
            later: Shelf::default(),
            later_untrusted: Shelf::default(),
            last_looks: HashSet::new(),
            metrics: tracker.metrics,
        }
    }

    /// What the log says is still to be watched or done. Whoever listens before reading misses nothing.
    async fn recall(&mut self) -> Result<Follower, FollowError> {
        let follower = self.tools.engine.feed().follow(Scope::All, After::Now).await?;
        let now = self.tools.clock.now();
        let longest = *limits::EXPIRES_IN_SECONDS.end() + (limits::LOOK_OFTEN + limits::LOOK_LONG).as_secs();
        let since = now.at.minus_seconds(longest);
        let reader = self.tools.engine.reader().clone();
        // First those that the table may lack. One that it has by the time it is read is added twice, and no harm done.
        for order in reader.late_orders() {
            self.recall_order(&order, now);
        }
        let mut cursor = 0;
        loop {
            let page = reader.unsettled(since, cursor).await?;
            for order in &page.orders {
                self.recall_order(order, now);
            }
            match page.next {
                Some(next) => cursor = next,
                None => return Ok(follower.uncounted()),
            }
        }
    }

    fn recall_order(&mut self, order: &Order, now: Now) {
        let delivery_seconds = delivery_seconds(&self.tools.accounts, &order.account);
        self.board.add(order, delivery_seconds, now);
    }

    fn follow(&mut self, entry: &Happening) {
        let delivery_seconds = || {
            let record = self.tools.engine.pos(&entry.pos);
            record.map_or(0, |record| {
                delivery_seconds(&self.tools.accounts, &record.pos.registration.account)
            })
        };
        self.board.follow(entry, delivery_seconds, self.tools.clock.now());
    }

    /// Begins all that may be begun now.
    fn begin(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.board.next_overdue(now) {
            let tools = self.tools.clone();
            let begun = Begun::Alarm(key.clone());
            self.spawn(begun, async move { work::alarm(&tools, key).await });
        }
        while self.errands < limits::ERRANDS
            && let Some(job) = self.board.next_errand(now)
        {
            self.errands += 1;
            self.look(job);
        }
        while self.has_room(now) && self.begin_one(now) {}
        let behind = self
            .board
            .first_due()
            .map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let errands = Errands {
            waiting: self.board.errands(),
            under_way: self.errands,
        };
        self.metrics.set(self.board.watched(), behind, &errands);
        let (undelivered, overdue) = self.board.owed(self.tools.clock.now().at);
        self.metrics.set_owed(undelivered, overdue);
    }

    fn has_room(&self, now: Instant) -> bool {
        self.has_places() && self.tools.budget.free_at() <= now
    }

    /// Last looks and errands have places of their own: while Mercado Pago does not answer, each waits for its time.
    fn has_places(&self) -> bool {
        self.jobs.len().saturating_sub(self.last_looks.len() + self.errands) < limits::LOOKS
    }

    /// What somebody waits for goes first, what anybody could have asked for last.
    fn begin_one(&mut self, now: Instant) -> bool {
        if let Some(job) = self.board.next_urgent() {
            self.look(job);
        } else if let Some(taken) = self.tools.engine.inbox().next(true) {
            self.sort(taken);
        } else if let Some((taken, tries)) = self.later.take(now) {
            self.name(taken, tries);
        } else if let Some(job) = self.board.next_due(now) {
            self.look(job);
        } else if self.untrusted < limits::LOOKS_UNTRUSTED && self.tools.budget.spare_at() <= now {
            if let Some((taken, tries)) = self.later_untrusted.take(now) {
                self.name(taken, tries);
            } else if let Some(taken) = self.tools.engine.inbox().next(false) {
                self.sort(taken);
            } else {
                self.has_mail = false;
                return false;
            }
        } else {
            return false;
        }
        true
    }

    fn spawn(&mut self, begun: Begun, job: impl Future<Output = Done> + 'static) {
        let id = self.jobs.spawn_local(job).id();
        self.begun.insert(id, begun);
    }

    fn look(&mut self, job: Job) {
        let tools = self.tools.clone();
        if !job.is_errand {
            tools.budget.charge(1);
        }
        let begun = Begun::Order {
            key: job.key.clone(),
            is_errand: job.is_errand,
        };
        self.spawn(begun, async move { work::work(&tools, job).await });
    }

    /// A notification that names its order is that order's; what another is about must be asked.
    fn sort(&mut self, taken: Taken) {
        match &taken.hint().reference {
            Some(reference) => {
                let key = key_of(reference);
                self.board.hint(&key, taken);
            }
            None => self.name(taken, 0),
        }
    }

    fn name(&mut self, taken: Taken, tries: u32) {
        let is_trusted = taken.hint().is_trusted();
        if !is_trusted {
            self.untrusted += 1;
        }
        let tools = self.tools.clone();
        tools.budget.charge(1);
        self.spawn(Begun::Hint { is_trusted }, async move {
            let named = work::name(&tools, taken.hint()).await;
            Done::Hint { taken, tries, named }
        });
    }

    fn expire(&mut self, expiring: Expiring) {
        // It is told each second until it has happened.
        if self.last_looks.insert(expiring.reference.clone()) {
            let tools = self.tools.clone();
            let begun = Begun::LastLook(expiring.reference.clone());
            self.spawn(begun, async move { work::expire(&tools, expiring).await });
        }
    }

    /// Gives back the place that a job had.
    fn settle(&mut self, id: Id) -> Option<Begun> {
        let begun = self.begun.remove(&id);
        match &begun {
            Some(Begun::Order { is_errand, .. }) => self.errands -= usize::from(*is_errand),
            Some(Begun::Hint { is_trusted }) => self.untrusted -= usize::from(!is_trusted),
            Some(Begun::LastLook(reference)) => {
                self.last_looks.remove(reference);
            }
            Some(Begun::Alarm(_)) | None => {}
        }
        begun
    }

    /// What a job did not do that ended badly is to be done by another one. Its notifications come again after a restart.
    fn mend(&mut self, begun: Option<Begun>) {
        match begun {
            Some(Begun::Order { key, .. }) => {
                let failed = Ended::Failed { unsent: false };
                self.board.end(&key, &failed, Vec::new(), self.tools.clock.now());
            }
            Some(Begun::Alarm(key)) => self.board.tell_later(&key, Instant::now() + limits::AGAIN_LAST),
            // An order whose time is up is told again each second.
            Some(Begun::Hint { .. } | Begun::LastLook(_)) | None => {}
        }
    }

    async fn end(&mut self, done: Done) {
        match done {
            Done::Order { key, ended, hints } => {
                match ended {
                    Ended::Looked { .. } => self.metrics.looked.increment(1),
                    Ended::Failed { .. } => self.metrics.failed.increment(1),
                    Ended::NoOrder | Ended::Mute { .. } => {}
                }
                self.board.end(&key, &ended, hints, self.tools.clock.now());
            }
            Done::Hint { taken, tries, named } => self.named(taken, tries, named).await,
            Done::Untold(key) => self.board.tell_later(&key, Instant::now() + limits::AGAIN_LAST),
            Done::Expired | Done::Aside => {}
        }
    }

    async fn named(&mut self, taken: Taken, tries: u32, named: Result<Named, Failure>) {
        let trusted = taken.hint().is_trusted();
        let again = match named {
            Ok(Named::Order(key)) => return self.board.hint(&key, taken),
            Ok(Named::Nothing) => None,
            Ok(Named::Unknown) => again_if_unknown(&taken, tries, self.tools.clock.now()),
            Err(Failure::Api(error)) if !error.may_pass() => {
                debug!(thing = %taken.hint().thing, %error, "a notification told of something that cannot be asked for");
                again_if_unknown(&taken, tries, self.tools.clock.now())
            }
            Err(_) => Some(pause(tries + 1)),
        };
        match again {
            Some(pause) => {
                let shelf = if trusted {
                    &mut self.later
                } else {
                    &mut self.later_untrusted
                };
                shelf.put(Instant::now() + pause, taken, tries + 1);
            }
            None => self.tools.engine.inbox().done(taken).await,
        }
    }

    /// When there may be something to begin, if nothing happens before.
    fn wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + limits::AGAIN_LAST;
        wake = self.board.first_overdue().map_or(wake, |at| wake.min(at));
        if self.errands < limits::ERRANDS {
            wake = self.board.first_retry().map_or(wake, |at| wake.min(at));
        }
        if !self.has_places() {
            return wake;
        }
        let others = if self.untrusted < limits::LOOKS_UNTRUSTED {
            self.later_untrusted.first()
        } else {
            None
        };
        let (free, spare) = (self.tools.budget.free_at(), self.tools.budget.spare_at());
        for due in [self.board.first_due(), self.later.first()].into_iter().flatten() {
            wake = wake.min(due.max(free));
        }
        wake = others.map_or(wake, |due| wake.min(due.max(spare)));
        // Without credit there may be work that could not be begun.
        for credit in [free, spare].into_iter().filter(|credit| *credit > now) {
            if self.has_mail || self.board.has_urgent() {
                wake = wake.min(credit);
            }
        }
        wake
    }
}

/// What Mercado Pago notified us of it may not know itself for a while; what anybody may have told us of is asked for
/// once more.
fn again_if_unknown(taken: &Taken, tries: u32, now: Now) -> Option<Duration> {
    if taken.hint().is_trusted() {
        (now.at.since(taken.at()) < limits::HINT_PATIENCE).then(|| pause(tries + 1))
    } else {
        (tries == 0).then_some(limits::HINT_AGAIN)
    }
}

/// An account that is not configured any more has no deadline.
fn delivery_seconds(accounts: &Accounts, account: &AccountId) -> u32 {
    accounts
        .get(account)
        .map_or(0, |account: Arc<Account>| account.delivery_seconds)
}
