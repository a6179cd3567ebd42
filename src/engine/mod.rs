//! The one writer, and how it is asked: commands go in, entries come out, every view follows.
//!
//! Whoever holds an [`Engine`] may ask for anything and is answered once it is durable and visible. Nothing here knows
//! HTTP or any face.

mod accounts;
mod inbox;
mod lull;
mod metrics;
mod recover;
mod registry;
mod timers;
mod tokens;
mod views;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::domain::command::{Command, Event, Refusal};
use crate::domain::id::{PosId, Reference, Rev};
use crate::domain::order::Order;
use crate::domain::pos::Pos;
use crate::feed::Feed;
use crate::limits;
use crate::log::{Damage, Log, LogError, ReadError, Reader, Sum};
use crate::table::{Ring, Table};

pub use accounts::{Accounts, Link};
pub use inbox::{Inbox, NotKept, Taken};
pub use lull::Lull;
pub use metrics::describe;
pub use tokens::{Admitted, NotChanged, Revoked, TokenRefusal, Tokens, Told};

/// A registered POS as its newest entry left it.
#[derive(Debug)]
pub struct Record {
    pub pos: Pos,
    pub rev: Rev,
    sum: Sum,
}

/// What was done.
#[derive(Debug)]
pub struct Applied {
    /// None: it had been done before.
    pub events: Vec<Event>,
    /// The order that the command named, as it stands now.
    pub order: Option<Arc<Order>>,
    /// The POS that was registered or changed, as it was then.
    pub record: Option<Record>,
}

/// Why it was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Denied {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the disk is full: nothing new is taken until there is room")]
    Full,
    #[error("too many commands wait")]
    Busy,
    #[error("another program has locked the log's file: nothing was written")]
    Locked,
    /// It may happen yet: who repeats it learns what became of it.
    #[error("the disk did not answer within {} s: repeat the call to learn what became of it", limits::COMMAND_TIME.as_secs())]
    InDoubt,
    #[error("{0}")]
    Damaged(Damage),
    #[error("the log failed: {0}")]
    Failed(String),
    #[error("the server is stopping")]
    Stopped,
}

/// An order whose time is up: polls are not offered it any more, and its customer may just have paid.
#[derive(Debug)]
pub struct Expiring {
    pub pos: PosId,
    pub reference: Reference,
}

/// How the log does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Well,
    Full,
    /// For good: nothing is acknowledged any more.
    Failed(String),
}

enum Work {
    Command(Job),
    /// A token of the control API is made or revoked.
    Token(tokens::TokenWork),
    /// A notification is taken in.
    Keep(inbox::Keep),
    /// A notification was worked off: the inbox's row goes.
    Forget(u64),
    Trim,
    /// The tables follow the entries; somebody may wait for it.
    CatchUp(Option<oneshot::Sender<Result<(), Denied>>>),
    /// The disk is full: is it still?
    LookForRoom,
    /// Somebody wants to know whether the writer gets around to its work.
    Answer(oneshot::Sender<()>),
    /// Accounts were configured anew: they may be polled in another dialect.
    Redialect,
    Stop,
}

struct Job {
    pos: PosId,
    command: Command,
    asked: Instant,
    /// Nobody waits for what we tell ourselves.
    reply: Option<oneshot::Sender<Result<Applied, Denied>>>,
}

#[derive(Clone)]
pub struct Engine {
    work: mpsc::Sender<Work>,
    views: Arc<views::Views>,
    inbox: Inbox,
    tokens: Tokens,
    reader: Reader,
    condition: watch::Receiver<Condition>,
}

/// Asks the writer for something, and waits for what became of it.
async fn ask<T>(
    work: &mpsc::Sender<Work>,
    what: impl FnOnce(oneshot::Sender<Result<T, Denied>>) -> Work,
) -> Result<T, Denied> {
    answer_of(send(work, what)?).await
}

fn send<T>(
    work: &mpsc::Sender<Work>,
    what: impl FnOnce(oneshot::Sender<Result<T, Denied>>) -> Work,
) -> Result<oneshot::Receiver<Result<T, Denied>>, Denied> {
    let (reply, answered) = oneshot::channel();
    work.try_send(what(reply)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Denied::Busy,
        mpsc::error::TrySendError::Closed(_) => Denied::Stopped,
    })?;
    Ok(answered)
}

async fn answer_of<T>(answered: oneshot::Receiver<Result<T, Denied>>) -> Result<T, Denied> {
    match tokio::time::timeout(limits::COMMAND_TIME, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Denied::Stopped),
        Err(_) => Err(Denied::InDoubt),
    }
}

/// What an engine is made of.
pub struct Parts {
    pub log: Log,
    pub reader: Reader,
    pub table: Arc<Table>,
    pub accounts: Arc<Accounts>,
    pub clock: Clock,
    pub keep_entries: Duration,
    /// Told by the thread that serves controllers.
    pub lull: Arc<Lull>,
}

/// The writer's thread, to be waited for.
pub struct Writer(std::thread::JoinHandle<()>);

impl Engine {
    /// Rebuilds the views from the log and starts the writer.
    pub fn start(parts: Parts) -> Result<(Engine, Writer), LogError> {
        let Parts {
            log,
            reader,
            table,
            accounts,
            clock,
            keep_entries,
            lull,
        } = parts;
        let seq = log.last_seq()?;
        let feed = Arc::new(Feed::new(reader.clone(), seq));
        let views = Arc::new(views::Views::new(table, feed, accounts));
        recover::recover(&log, &views, &clock)?;
        views.metrics.space(log.space().ok());
        let (work, waiting) = mpsc::channel(limits::COMMANDS);
        let (condition, watched) = watch::channel(Condition::Well);
        let inbox = Inbox::new(work.clone(), views.inbox.clone(), clock.clone());
        let tokens = Tokens::new(work.clone(), views.tokens.clone(), clock.clone());
        let writer = writer::Writer::new(log, views.clone(), clock, condition, seq, keep_entries, lull);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run(waiting))
            .map_err(|error| LogError::Failed(format!("no thread for the writer: {error}")))?;
        Ok((
            Engine {
                work,
                views,
                inbox,
                tokens,
                reader,
                condition: watched,
            },
            Writer(thread),
        ))
    }

    /// Asks for a command, and waits until what it did is durable and visible to polls.
    pub async fn submit(&self, pos: PosId, command: Command) -> Result<Applied, Denied> {
        let asked = Instant::now();
        let job = |reply| Job {
            pos,
            command,
            asked,
            reply: Some(reply),
        };
        ask(&self.work, |reply| Work::Command(job(reply))).await
    }

    /// Tells the engine what happened; nobody waits for what it makes of it.
    async fn tell(&self, pos: PosId, command: Command) {
        let job = Job {
            pos,
            command,
            asked: Instant::now(),
            reply: None,
        };
        // A writer that has stopped needs no telling.
        let _ = self.work.send(Work::Command(job)).await;
    }

    /// What happens by itself: leases lapse, orders expire, polls ring, old history is trimmed. Runs until dropped.
    ///
    /// Before an order expires it is `expiring`: whoever listens there has a last look at its money, and then says so.
    pub async fn run(&self, rings: &mut mpsc::Receiver<Ring>, expiring: &mpsc::Sender<Expiring>, clock: &Clock) {
        // Not at once: a server that is started again and again must not trim each time.
        let first = tokio::time::Instant::now() + limits::TRIM_EVERY;
        let mut trim = tokio::time::interval_at(first, limits::TRIM_EVERY);
        let mut room = tokio::time::interval(limits::BALLAST_RETRY);
        room.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tables = tokio::time::interval(limits::TABLES_EVERY);
        tables.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_full = || *self.condition.borrow() == Condition::Full;
        let has_failed = || matches!(*self.condition.borrow(), Condition::Failed(_));
        loop {
            tokio::select! {
                (pos, command) = self.views.timers.due() => match command {
                    Command::Expire { reference } if self.can_ask_about(&pos) => {
                        // If too many wait already, the timer tells it again.
                        let _ = expiring.try_send(Expiring { pos, reference });
                    }
                    command => self.tell(pos, command).await,
                },
                Some(ring) = rings.recv() => match ring {
                    Ring::Shown { pos, reference } => self.tell(pos, Command::Shown { reference }).await,
                    Ring::Scanned { pos } => self.views.feed.scanned(pos, clock.now().at),
                },
                _ = trim.tick() => {
                    let _ = self.work.send(Work::Trim).await;
                }
                _ = tables.tick() => if self.reader.is_behind() && !has_failed() {
                    let _ = self.work.send(Work::CatchUp(None)).await;
                },
                _ = room.tick() => if is_full() {
                    let _ = self.work.send(Work::LookForRoom).await;
                }
            }
        }
    }

    /// Tells how much room is left, for as long as it is not dropped.
    pub async fn watch_space(&self) {
        let mut tick = tokio::time::interval(limits::SPACE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.reader.space().await {
                Ok(space) => self.views.metrics.space(space.ok()),
                // Who asks much else of the log has no room for this question.
                Err(error) => tracing::debug!(%error, "the room on the disk is not known"),
            }
        }
    }

    /// Whether there is a token with which to ask Mercado Pago about the order on the POS.
    fn can_ask_about(&self, pos: &PosId) -> bool {
        let record = self.pos(pos);
        let open = record.as_ref().and_then(|record| record.pos.open.as_ref());
        let account = open.and_then(|order| self.views.accounts.get(&order.account));
        account.is_some_and(|account| account.access_token.is_some())
    }

    pub fn pos(&self, id: &PosId) -> Option<Arc<Record>> {
        self.views.registry.get(id)
    }

    /// Registered POS by name, after `cursor`, at most `limit`; and whether there are more.
    pub async fn list(&self, cursor: Option<PosId>, limit: usize) -> Result<(Vec<Arc<Record>>, bool), ReadError> {
        let mut found = Vec::new();
        let mut cursor = cursor;
        loop {
            // The log knows the names in order; those of removed POS are among them.
            let names = self.reader.names(cursor.take(), limit + 1).await?;
            let all = names.len() <= limit;
            cursor = names.last().cloned();
            found.extend(names.iter().filter_map(|name| self.pos(name)));
            if all || found.len() > limit {
                let more = found.len() > limit;
                found.truncate(limit);
                return Ok((found, more));
            }
        }
    }

    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub fn feed(&self) -> &Arc<Feed> {
        &self.views.feed
    }

    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The same, once its lists have all that was acknowledged before.
    pub async fn caught_up(&self) -> Result<&Reader, Denied> {
        if self.reader.is_behind() {
            ask(&self.work, |reply| Work::CatchUp(Some(reply))).await?;
        }
        Ok(&self.reader)
    }

    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }

    /// Other accounts were put in place: what polls are told follows, but for orders that are offered already.
    pub async fn accounts_changed(&self) {
        // A writer that has stopped tells polls nothing new.
        let _ = self.work.send(Work::Redialect).await;
    }

    /// Whether the writer gets around to its work. Waits for as long as it hangs; false if it has ended.
    pub async fn answers(&self) -> bool {
        let (question, answer) = oneshot::channel();
        self.work.send(Work::Answer(question)).await.is_ok() && answer.await.is_ok()
    }

    /// Ends the writer once it has done all that was asked before.
    pub async fn stop(&self) {
        let _ = self.work.send(Work::Stop).await;
    }
}

impl Writer {
    /// Waits for its end. False if it had panicked.
    pub fn join(self) -> bool {
        self.0.join().is_ok()
    }
}
