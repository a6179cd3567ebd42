//! Take what waits, decide, commit once, update the views, acknowledge. One thread does it, so commands have an order.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, info_span, warn};

use super::inbox::Keep;
use super::metrics::Turn;
use super::tokens::TokenWork;
use super::views::{Views, place_of};
use super::{Applied, Condition, Denied, Job, Lull, Record, Work};
use crate::clock::{Clock, Now};
use crate::domain::command::{Command, Event};
use crate::domain::decide::{Beyond, decide};
use crate::domain::evolve::{evolve, orders_after};
use crate::domain::id::{PosId, Rev, Timestamp};
use crate::domain::order::Order;
use crate::domain::payment::{RefundState, Sighting};
use crate::domain::pos::State;
use crate::limits;
use crate::log::{Batch, Entry, Happening, Log, LogError, Sum};

pub(super) struct Writer {
    log: Log,
    views: Arc<Views>,
    clock: Clock,
    condition: watch::Sender<Condition>,
    /// The newest entry's number.
    seq: u64,
    keep_entries: Duration,
    lull: Arc<Lull>,
    trimming: bool,
    /// The tables follow the entries, whenever nothing else is to be done.
    catching_up: bool,
    /// Who waits until they have, and up to which entry.
    caught_up: Vec<(u64, oneshot::Sender<Result<(), Denied>>)>,
    /// Rows of the inbox that go with the next commit. One that does not happen leaves them for the one after it.
    worked_off: Vec<u64>,
    /// That an order was shown could not be written down: its polls must tell again.
    unheard: bool,
}

/// What is asked of one commit.
#[derive(Default)]
struct Group {
    jobs: Vec<Job>,
    keeps: Vec<Keep>,
}

/// What one commit will have done.
#[derive(Default)]
struct Stage {
    pos: HashMap<PosId, Staged>,
    entries: Vec<Happening>,
    turns: Vec<Turn>,
}

/// A POS as the commands before this one left it, in this commit.
struct Staged {
    before: Option<Arc<Record>>,
    state: State,
    rev: Rev,
    sum: Sum,
    changed: bool,
}

type Answer = Result<Applied, Denied>;

impl Writer {
    pub(super) fn new(
        log: Log,
        views: Arc<Views>,
        clock: Clock,
        condition: watch::Sender<Condition>,
        seq: u64,
        keep_entries: Duration,
        lull: Arc<Lull>,
    ) -> Writer {
        let writer = Writer {
            log,
            views,
            clock,
            condition,
            seq,
            keep_entries,
            lull,
            trimming: false,
            catching_up: false,
            caught_up: Vec::new(),
            worked_off: Vec::new(),
            unheard: false,
        };
        // The disk may have been full already: said before anybody can ask whether we are ready.
        writer.watch_room();
        writer
    }

    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        let mut stopping = false;
        while !stopping {
            let Some(first) = self.wait(&mut waiting) else { break };
            let mut group = Group::default();
            let mut tokens = Vec::new();
            let mut redialect = false;
            let mut next = Some(first);
            while let Some(work) = next {
                match work {
                    Work::Command(job) => group.jobs.push(job),
                    Work::Token(work) => tokens.push(work),
                    Work::Keep(keep) => group.keeps.push(keep),
                    Work::Forget(row) => self.worked_off.push(row),
                    Work::Trim => {
                        self.trimming = true;
                        self.write_uses();
                    }
                    Work::CatchUp(reply) => {
                        self.catching_up = true;
                        self.caught_up.extend(reply.map(|reply| (self.seq, reply)));
                    }
                    Work::LookForRoom => self.look_for_room(),
                    // Who asked may have gone.
                    Work::Answer(question) => drop(question.send(())),
                    Work::Redialect => redialect = true,
                    Work::Stop => stopping = true,
                }
                next = if group.len() < limits::COMMIT_COMMANDS {
                    waiting.try_recv().ok()
                } else {
                    None
                };
            }
            // That something was worked off waits for a commit that is made anyway: what a crash brings back is looked at
            // once more, and no harm done.
            let can_wait = self.worked_off.len() < limits::COMMIT_COMMANDS && !self.catching_up && !stopping;
            let commands = group.len();
            if commands > 0 || !can_wait {
                self.do_all(group);
            }
            for work in tokens {
                self.change_token(work);
            }
            if redialect {
                self.views.redialect();
                self.views.warn_of_missing_accounts();
            }
            if !self.caught_up.is_empty() {
                self.catch_up();
            }
            self.tidy(!waiting.is_empty());
            if commands >= limits::GATHER_FROM {
                self.gather(&waiting);
            }
        }
        self.write_uses();
        if let Err(error) = self.log.close() {
            error!(%error, "the last checkpoint failed");
        }
    }

    /// Lets those who were just answered ask again: one sync is enough for many of them.
    fn gather(&self, waiting: &mpsc::Receiver<Work>) {
        let until = Instant::now() + limits::GATHER_TIME;
        while waiting.len() < limits::GATHER_ENOUGH
            && Instant::now() < until
            && !self.lull.begins_within(limits::GATHER_LOOK)
        {}
    }

    /// Waits for work, and does what can wait for as long as there is none.
    fn wait(&mut self, waiting: &mut mpsc::Receiver<Work>) -> Option<Work> {
        while self.trimming || self.catching_up {
            match waiting.try_recv() {
                Ok(work) => return Some(work),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) if self.catching_up => {
                    self.catch_up();
                    // A poll may wait for this processor.
                    thread::yield_now();
                }
                Err(mpsc::error::TryRecvError::Empty) => self.trim(),
            }
        }
        waiting.blocking_recv()
    }

    /// A piece of it. Whoever waited for no more than that is answered, though others go on adding.
    fn catch_up(&mut self) {
        let entries = match self.caught_up[..] {
            [] => limits::TABLES_BIT,
            _ => limits::TABLES_PIECE,
        };
        let more = self.log.catch_up(entries);
        self.watch_room();
        let taken_up = self.log.taken_up();
        for (_, waiting) in self.caught_up.extract_if(.., |(seq, _)| *seq <= taken_up) {
            // Who asked may have gone.
            let _ = waiting.send(Ok(()));
        }
        let denied = match more {
            Ok(more) => {
                self.catching_up = more;
                return;
            }
            Err(error) => self.denied_by(&error),
        };
        self.catching_up = false;
        for (_, waiting) in self.caught_up.drain(..) {
            let _ = waiting.send(Err(denied.clone()));
        }
    }

    fn do_all(&mut self, group: Group) {
        match self.commit(&group) {
            Ok(answers) => self.answer(group, answers),
            Err(LogError::Full) => {
                // What has happened already may use the room that is kept back; new business may not.
                let (reserve, new) = group.by_reserve();
                self.deny(new, || Denied::Full);
                match self.commit(&reserve) {
                    Ok(answers) => self.answer(reserve, answers),
                    Err(LogError::Full) => self.deny(reserve, || Denied::Full),
                    Err(LogError::Locked) => self.deny(reserve, || Denied::Locked),
                    Err(error) => self.fail(reserve, &error),
                }
            }
            Err(LogError::Locked) => self.deny(group, || Denied::Locked),
            Err(error) => self.fail(group, &error),
        }
    }

    /// All of it in one commit, or nothing. The answers hold once this returns.
    fn commit(&mut self, group: &Group) -> Result<Vec<Answer>, LogError> {
        if group.len() == 0 && self.worked_off.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let begun = Instant::now();
        let (views, seq) = (self.views.clone(), self.seq);
        let done = self.log.commit(group.may_use_reserve(), |batch| {
            let mut stage = Stage::default();
            let answers = group
                .jobs
                .iter()
                .map(|job| match stage.apply(&views, batch, seq, job, now) {
                    Ok(applied) => Ok(Ok(applied)),
                    Err(Stop::This(denied)) => Ok(Err(denied)),
                    Err(Stop::All(error)) => Err(error),
                })
                .collect::<Result<Vec<_>, _>>()?;
            group.keeps.iter().try_for_each(|keep| batch.keep(&keep.kept))?;
            self.worked_off.iter().try_for_each(|row| batch.forget(*row))?;
            Ok((answers, stage))
        });
        // Before anybody is answered: who is told of a full disk finds that the server says so.
        self.watch_room();
        let (answers, stage) = done?;
        self.seq += stage.entries.len() as u64;
        self.count_inbox(group.keeps.len());
        self.views.metrics.commit_seconds.record(begun.elapsed());
        if !group.jobs.is_empty() {
            self.views.metrics.commit_commands.record(count(group.jobs.len()));
        }
        self.show(stage, now);
        if std::mem::take(&mut self.unheard) {
            self.views.ring_again();
        }
        Ok(answers)
    }

    fn count_inbox(&mut self, kept: usize) {
        let metrics = &self.views.inbox.metrics;
        metrics.kept.increment(kept as u64);
        metrics.forgotten.increment(self.worked_off.len() as u64);
        self.worked_off.clear();
    }

    /// Lets the views follow what is durable now.
    fn show(&self, stage: Stage, now: Now) {
        for (id, staged) in stage.pos.into_iter().filter(|(_, staged)| staged.changed) {
            let after = staged.state.map(|pos| {
                Arc::new(Record {
                    pos,
                    rev: staged.rev,
                    sum: staged.sum,
                })
            });
            self.views.follow(&id, staged.before.as_deref(), after, now);
        }
        for turn in stage.turns {
            self.views.metrics.turn(turn);
        }
        for entry in stage.entries {
            entry.events.iter().for_each(|event| self.views.metrics.event(event));
            self.views.feed.publish(entry);
        }
    }

    fn answer(&self, group: Group, answers: Vec<Answer>) {
        for keep in group.keeps {
            self.views.inbox.is_durable(&keep.kept);
            // Who asked may have gone.
            let _ = keep.reply.send(Ok(()));
        }
        for (job, answer) in group.jobs.into_iter().zip(answers) {
            let is_new = answer.as_ref().is_ok_and(|applied| !applied.events.is_empty());
            if is_new && matches!(job.command, Command::Push(_)) {
                self.views.metrics.push_seconds.record(job.asked.elapsed());
            }
            if matches!(answer, Err(Denied::Damaged(_))) {
                self.views.metrics.log_damaged.increment(1);
            }
            self.finish(job, answer);
        }
    }

    fn deny(&mut self, group: Group, denied: impl Fn() -> Denied) {
        for keep in group.keeps {
            let _ = keep.reply.send(Err(denied()));
        }
        for job in group.jobs {
            self.unheard |= matches!(job.command, Command::Shown { .. });
            self.finish(job, Err(denied()));
        }
    }

    /// Tells who asked, and the operator.
    fn finish(&self, job: Job, answer: Answer) {
        let name = job.command.name();
        self.views.metrics.command(name, &answer);
        let reference = job.command.reference().map(tracing::field::display);
        let span = info_span!("command", command = name, pos = %job.pos, reference);
        span.in_scope(|| match &answer {
            Ok(applied) if applied.events.is_empty() => tracing::debug!("unchanged"),
            Ok(applied) => {
                for event in &applied.events {
                    tell_operator(event);
                }
            }
            Err(Denied::Refused(refusal)) => info!(%refusal, "refused"),
            Err(denied) => warn!(%denied, "not done"),
        });
        if let Some(reply) = job.reply {
            // Who asked may have gone.
            let _ = reply.send(answer);
        }
    }

    /// After this nothing is acknowledged: nobody knows what is on the disk.
    fn fail(&mut self, group: Group, error: &LogError) {
        self.views.metrics.log_failed.increment(1);
        let what = error.what();
        // First of all: who is told of the failure must not find the server ready.
        self.condition.send_if_modified(|condition| {
            let first = !matches!(condition, Condition::Failed(_));
            if first {
                error!(
                    error = what,
                    "the log failed: nothing more is acknowledged, and the server stops"
                );
                *condition = Condition::Failed(what.clone());
            }
            first
        });
        self.deny(group, || Denied::Failed(what.clone()));
    }

    fn watch_room(&self) {
        let full = self.log.is_full();
        let changed = self.condition.send_if_modified(|condition| match (&condition, full) {
            (Condition::Well, true) => {
                *condition = Condition::Full;
                true
            }
            (Condition::Full, false) => {
                *condition = Condition::Well;
                true
            }
            _ => false,
        });
        match (changed, full) {
            (true, true) => {
                self.views.metrics.full.set(1.0);
                self.views.metrics.log_full.increment(1);
                warn!(file = %self.log.file().display(), "the disk is full: new orders are refused, polls and payments go on");
            }
            (true, false) => {
                self.views.metrics.full.set(0.0);
                info!("there is room on the disk again");
            }
            (false, _) => {}
        }
    }

    fn change_token(&mut self, work: TokenWork) {
        let done = self.views.tokens.settle(&mut self.log, work.change);
        self.watch_room();
        let answer = done.map_err(|error| self.denied_by(&error));
        // Who asked may have gone.
        let _ = work.reply.send(answer);
    }

    /// When tokens were used is told roughly: what a crash takes with it, nobody misses.
    fn write_uses(&mut self) {
        let written = self.views.tokens.write_uses(&mut self.log);
        self.watch_room();
        if let Err(error) = written {
            self.denied_by(&error);
        }
    }

    /// What is said to who asked for something outside a group.
    fn denied_by(&mut self, error: &LogError) -> Denied {
        match error {
            LogError::Full => Denied::Full,
            LogError::Locked => Denied::Locked,
            error => {
                self.fail(Group::default(), error);
                Denied::Failed(error.what())
            }
        }
    }

    fn tidy(&mut self, somebody_waits: bool) {
        if let Err(error) = self.log.checkpoint_if_due(somebody_waits) {
            self.fail(Group::default(), &error);
        }
    }

    /// Whatever is written finds out, and be it nothing.
    fn look_for_room(&mut self) {
        let looked = self.log.commit(true, |_| Ok(()));
        self.watch_room();
        match looked {
            Ok(()) | Err(LogError::Full | LogError::Locked) => {}
            Err(error) => self.fail(Group::default(), &error),
        }
    }

    fn trim(&mut self) {
        let now = self.clock.now().at;
        let before =
            |age: Duration| Timestamp(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
        let orders = Duration::from_secs(u64::from(limits::KEEP_ORDERS_DAYS) * 86_400).max(self.keep_entries);
        let gone = self.log.trim(before(self.keep_entries), before(orders));
        self.watch_room();
        match gone {
            Ok(gone) => self.trimming = gone >= limits::TRIM_ROWS,
            Err(LogError::Full | LogError::Locked) => self.trimming = false,
            Err(error) => {
                self.trimming = false;
                self.fail(Group::default(), &error);
            }
        }
    }
}

impl Group {
    fn len(&self) -> usize {
        self.jobs.len() + self.keeps.len()
    }

    fn may_use_reserve(&self) -> bool {
        self.keeps.is_empty() && self.jobs.iter().all(|job| job.command.may_use_reserve())
    }

    /// What may use the reserve, and what may not. A notification comes again, or the search finds what it told of.
    fn by_reserve(self) -> (Group, Group) {
        let Group { jobs, keeps } = self;
        let (reserve, new) = jobs.into_iter().partition(|job| job.command.may_use_reserve());
        let reserve = Group {
            jobs: reserve,
            keeps: Vec::new(),
        };
        (reserve, Group { jobs: new, keeps })
    }
}

/// Why a command of a commit was not done: for itself, or for all.
enum Stop {
    This(Denied),
    All(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Stop {
        match error {
            LogError::Damaged(damage) => Stop::This(Denied::Damaged(damage)),
            error => Stop::All(error),
        }
    }
}

impl Stage {
    /// The POS that has the place at Mercado Pago that is wanted, as the commands before this one left it.
    fn place_owner(&self, views: &Views, job: &Job) -> Option<PosId> {
        let Command::Register(wanted) = &job.command else {
            return None;
        };
        let place = place_of(&job.pos, wanted)?;
        let has_it = |(id, staged): &(&PosId, &Staged)| {
            let pos = staged.state.as_ref();
            pos.and_then(|pos| place_of(id, &pos.registration)).as_ref() == Some(&place)
        };
        let staged = self.pos.iter().find(has_it).map(|(id, _)| id.clone());
        // What it was before this commit counts only if this commit has not changed it.
        staged.or_else(|| {
            views
                .place_owner(&job.pos, wanted)
                .filter(|owner| !self.pos.contains_key(owner))
        })
    }

    /// Decides one command after those before it, and writes what follows into the commit.
    fn apply(&mut self, views: &Views, batch: &mut Batch<'_>, seq: u64, job: &Job, now: Now) -> Result<Applied, Stop> {
        let next_seq = seq + self.entries.len() as u64 + 1;
        let place_owner = self.place_owner(views, job);
        let staged = self.load(views, batch, &job.pos)?;
        let known = known_order(staged, batch, &job.command)?;
        let owner = match &job.command {
            Command::Register(registration) => registration
                .keys
                .as_ref()
                .map(|keys| batch.keys_owner(keys))
                .transpose()?
                .flatten(),
            _ => None,
        };
        let beyond = Beyond {
            order: known.as_deref(),
            keys_owner: owner.as_ref(),
            place_owner: place_owner.as_ref(),
        };
        let decision =
            decide(&staged.state, beyond, &job.command, now.at).map_err(|refusal| Stop::This(refusal.into()))?;

        let lease_before = staged.state.as_ref().and_then(|pos| pos.lease);
        let open = staged.state.as_ref().and_then(|pos| pos.open.as_ref());
        let turn = |event| Turn::of(open.map(|order| &**order), event, now.at);
        let turns: Vec<Turn> = decision.events.iter().filter_map(turn).collect();
        let changed = orders_after(open.into_iter().chain(&known), &decision.events, now.at);
        for event in &decision.events {
            staged.state = evolve(staged.state.take(), &job.pos, event, now.at);
        }
        if let Some(pos) = &mut staged.state {
            pos.lease = decision.lease;
        }
        staged.changed |= decision.lease != lease_before || !decision.events.is_empty();
        if decision.lease != lease_before {
            batch.put_lease(&job.pos, decision.lease)?;
        }
        let mut written = None;
        if !decision.events.is_empty() {
            let entry = Entry {
                seq: next_seq,
                pos: job.pos.clone(),
                rev: staged.rev.next(),
                at: now.at,
                events: decision.events.clone(),
                state_after: staged.state.clone(),
            };
            staged.sum = batch.append(&entry, staged.sum, changed.clone())?;
            staged.rev = entry.rev;
            written = Some(entry);
        }
        let registered = staged
            .state
            .as_ref()
            .filter(|_| matches!(job.command, Command::Register(_)));
        let record = registered.map(|pos| Record {
            pos: pos.clone(),
            rev: staged.rev,
            sum: staged.sum,
        });
        self.entries.extend(written.map(Happening::from));
        self.turns.extend(turns);
        let order = job.command.reference().and_then(|reference| {
            let found = changed.into_iter().find(|order| order.reference.same(reference));
            found.or(known)
        });
        Ok(Applied {
            events: decision.events,
            order,
            record,
        })
    }

    fn load(&mut self, views: &Views, batch: &Batch<'_>, id: &PosId) -> Result<&mut Staged, LogError> {
        use std::collections::hash_map::Entry as Place;
        match self.pos.entry(id.clone()) {
            Place::Occupied(place) => Ok(place.into_mut()),
            Place::Vacant(place) => {
                let before = views.registry.get(id);
                let (rev, sum) = match &before {
                    Some(record) => (record.rev, record.sum),
                    // It may have been registered and removed: its chain goes on.
                    None => batch.chain(id)?,
                };
                let state = before.as_ref().map(|record| record.pos.clone());
                Ok(place.insert(Staged {
                    before,
                    state,
                    rev,
                    sum,
                    changed: false,
                }))
            }
        }
    }
}

/// The order recorded under the reference that a command names.
fn known_order(staged: &Staged, batch: &Batch<'_>, command: &Command) -> Result<Option<Arc<Order>>, LogError> {
    let Some(reference) = command.reference() else {
        return Ok(None);
    };
    let open = staged.state.as_ref().and_then(|pos| pos.open.as_ref());
    match open.filter(|order| order.reference.same(reference)) {
        Some(order) => Ok(Some(order.clone())),
        None => batch.order(reference),
    }
}

/// `info` is what an operator acts on or looks for; the rest is in the feed.
fn tell_operator(event: &Event) {
    match event {
        Event::OrderPaid { facts, late, .. } => info!(amount = ?facts.amount, late, "paid"),
        Event::LatePayment { facts, action, .. } => {
            warn!(amount = ?facts.amount, action = action.as_str(), "late payment")
        }
        Event::Overpaid { excess, action, .. } => warn!(?excess, action = action.as_str(), "overpaid"),
        Event::DeliveryReported { delivery, .. } => info!(?delivery, "delivery"),
        Event::DeliveryOverdue(_) => warn!("the controller has not said whether the product came out"),
        Event::PaymentSeen {
            sighting: Sighting::Suspect(suspect),
            ..
        } => warn!(
            merchant_order = suspect.merchant_order,
            payment = suspect.payment,
            odd = suspect.why.as_str(),
            "suspect money: it counts for nothing, and is not refunded"
        ),
        Event::PaymentReversed { payment, .. } => {
            let reversed = payment.reversed.map(|reversed| reversed.amount);
            warn!(payment = payment.id, ?reversed, "a payment was taken back")
        }
        Event::RefundRequested { refunds, .. } => info!(refunds = refunds.len(), "refund requested"),
        Event::RefundEnded { refund, .. } => match &refund.state {
            RefundState::Failed(why) => {
                warn!(payment = refund.payment, amount = ?refund.amount, %why, "refund failed")
            }
            RefundState::Requested | RefundState::Done(_) => {
                info!(payment = refund.payment, amount = ?refund.amount, "refunded")
            }
        },
        Event::Registered(_) => info!("registered"),
        Event::Removed => info!("removed"),
        _ => tracing::debug!(?event),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram takes floats; a batch has at most a thousand commands"
)]
fn count(commands: usize) -> f64 {
    commands as f64
}
