//! Events to controllers: in order, resumable, and never a reason for the writer to wait.
//!
//! A follower reads the log until it has caught up and then listens. One that falls behind the few entries that are
//! kept in memory reads the log again. So nobody can be too slow to lose an event, and nobody can hold up another.

mod unfetched;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::domain::access::Scope;
use crate::domain::id::{PosId, Timestamp};
use crate::limits;
use crate::log::{EntryPage, Happening, ReadError, Reader};

use unfetched::Unfetched;

/// What a follower is told.
#[derive(Debug, Clone)]
pub enum News {
    /// It is in the log.
    Entry(Arc<Happening>),
    /// Someone stands at the machine. It lives only as long as it is told: it is in no log and has no number.
    Scanned { pos: PosId, at: Timestamp },
}

#[derive(Debug)]
pub struct Feed {
    reader: Reader,
    all: broadcast::Sender<News>,
    /// Who follows some POS hears of no other: thousands of controllers would else wake for each other's events. Each POS
    /// has the groups that it is in.
    some: DashMap<PosId, Vec<Group>>,
    /// The newest entry that has been told.
    head: AtomicU64,
    /// How far each follower has read, for the lag that an operator watches; one that waits for news has read it all.
    followers: DashMap<u64, Arc<AtomicU64>>,
    next_follower: AtomicU64,
    unfetched: Unfetched,
}

/// Followers of the same POS, most often of one.
#[derive(Debug, Clone)]
struct Group {
    names: Arc<[PosId]>,
    news: broadcast::Sender<News>,
}

/// The position of a follower that waits: of a quiet POS nothing may come for days.
const READ_ALL: u64 = u64::MAX;

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// With what happens from now on.
    Now,
    /// After the event of this number; 0 is before the oldest kept.
    Event(u64),
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// Events after the one asked for were trimmed, or it was never given out.
    #[error("the log does not have event {asked}; the oldest it has is {oldest}")]
    Gone { asked: u64, oldest: u64 },
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Feed {
    pub fn new(reader: Reader, head: u64) -> Feed {
        Feed {
            reader,
            all: broadcast::Sender::new(limits::FEED_ALL),
            some: DashMap::new(),
            head: AtomicU64::new(head),
            followers: DashMap::new(),
            next_follower: AtomicU64::new(0),
            unfetched: Unfetched::default(),
        }
    }

    /// Tells of an entry that is durable. Called by one writer, in order.
    pub fn publish(&self, entry: Happening) {
        self.unfetched.follow(&entry);
        self.head.store(entry.seq, Ordering::Release);
        let pos = entry.pos.clone();
        self.tell(&pos, News::Entry(Arc::new(entry)));
    }

    pub fn scanned(&self, pos: PosId, at: Timestamp) {
        self.tell(&pos.clone(), News::Scanned { pos, at });
    }

    fn tell(&self, pos: &PosId, news: News) {
        // That nobody listens is no error.
        if let Some(groups) = self.some.get(pos) {
            for group in groups.iter() {
                let _ = group.news.send(news.clone());
            }
        }
        let _ = self.all.send(news);
    }

    /// How many entries the slowest follower is behind.
    pub fn lag(&self) -> u64 {
        let head = self.head.load(Ordering::Acquire);
        let read = |follower: dashmap::mapref::multiple::RefMulti<'_, u64, Arc<AtomicU64>>| {
            follower.value().load(Ordering::Relaxed)
        };
        self.followers
            .iter()
            .map(read)
            .min()
            .map_or(0, |slowest| head.saturating_sub(slowest))
    }

    pub fn followers(&self) -> usize {
        self.followers.len()
    }

    /// How many orders were paid since the start of which no follower was told, and for how long the oldest has waited.
    pub fn unfetched(&self, now: Timestamp) -> (usize, Duration) {
        self.unfetched.waiting(now)
    }

    /// Joins the group of these POS, or begins it.
    fn listen(&self, names: &Arc<[PosId]>) -> broadcast::Receiver<News> {
        let first = names.first().and_then(|first| self.some.get(first));
        let found = first.and_then(|groups| groups.iter().find(|group| group.names == *names).cloned());
        let group = found.unwrap_or_else(|| Group {
            names: names.clone(),
            news: broadcast::Sender::new(limits::FEED_POS),
        });
        // Before it is looked whether all of its POS have it: from now on it is not forgotten.
        let listener = group.news.subscribe();
        for pos in names.iter() {
            let mut groups = self.some.entry(pos.clone()).or_default();
            if !groups.iter().any(|known| known.news.same_channel(&group.news)) {
                groups.push(group.clone());
            }
        }
        listener
    }

    /// Takes off groups to which nobody listens any more.
    fn forget(&self, names: &[PosId]) {
        for pos in names {
            self.some.remove_if_mut(pos, |_, groups| {
                groups.retain(|group| group.news.receiver_count() > 0);
                groups.is_empty()
            });
        }
    }

    pub async fn follow(self: &Arc<Self>, scope: Scope, after: After) -> Result<Follower, FollowError> {
        // Listening begins before the log is read, so that nothing falls between.
        let listener = match &scope {
            Scope::Of(names) => self.listen(names),
            Scope::All => self.all.subscribe(),
        };
        let head = self.head.load(Ordering::Acquire);
        let (read_to, skip) = match after {
            After::Now => (head, 0),
            // The rest of the entry in which the reader was cut off comes again.
            After::Event(seq) => ((seq / limits::EVENTS_PER_ENTRY).saturating_sub(1), seq),
        };
        let position = Arc::new(AtomicU64::new(read_to));
        let id = self.next_follower.fetch_add(1, Ordering::Relaxed);
        self.followers.insert(id, position.clone());
        let mut follower = Follower {
            feed: self.clone(),
            id,
            scope,
            listener: Some(listener),
            read_to,
            position,
            skip,
            caught_up: after == After::Now,
            waiting: Vec::new().into_iter(),
            untold: match after {
                After::Now => (head + 1) * limits::EVENTS_PER_ENTRY,
                After::Event(_) => 0,
            },
        };
        if let After::Event(asked) = after {
            follower.begin(asked, head).await?;
            follower.has(asked);
        }
        Ok(follower)
    }
}

/// One reader of the feed.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    id: u64,
    scope: Scope,
    /// Always there until the follower is dropped.
    listener: Option<broadcast::Receiver<News>>,
    /// Every entry up to this one was read.
    read_to: u64,
    position: Arc<AtomicU64>,
    /// Events up to this number were told by an earlier follower.
    skip: u64,
    caught_up: bool,
    waiting: std::vec::IntoIter<Happening>,
    /// The first event that its reader may not have.
    untold: u64,
}

impl Follower {
    async fn begin(&mut self, asked: u64, head: u64) -> Result<(), FollowError> {
        let page = self.feed.reader.entries(self.read_to, self.scope.clone()).await?;
        let entry = asked / limits::EVENTS_PER_ENTRY;
        // A number with the last place, as the long poll's `next`, says that all of its entry was told.
        let next_entry = asked.saturating_add(1) / limits::EVENTS_PER_ENTRY;
        // The log may be ahead of what was told: a reader that saw its newest entry there may come back at once.
        let newest = head.max(page.read_to);
        if asked != 0 && (next_entry <= page.trimmed_to || entry > newest) {
            let oldest = if page.trimmed_to < head {
                page.trimmed_to + 1
            } else {
                head
            };
            return Err(FollowError::Gone {
                asked,
                oldest: oldest * limits::EVENTS_PER_ENTRY,
            });
        }
        self.take(page);
        Ok(())
    }

    fn take(&mut self, page: EntryPage) {
        self.caught_up = !page.more;
        self.waiting = page.entries.into_iter();
        self.read_to = page.read_to;
    }

    /// Its reader has all events up to this one: they were written to its connection, or it says so.
    pub fn has(&mut self, event: u64) {
        self.feed.unfetched.told(&self.scope, self.untold..=event);
        self.untold = self.untold.max(event.saturating_add(1));
    }

    /// The number of the last event that was given out, or is none of the follower's.
    pub fn given_out(&self) -> u64 {
        (self.read_to() * limits::EVENTS_PER_ENTRY + limits::EVENTS_PER_ENTRY - 1).max(self.skip)
    }

    /// One of our own, that no operator counts.
    pub fn uncounted(self) -> Follower {
        self.feed.followers.remove(&self.id);
        self
    }

    /// Events up to this number are not told: the reader has them.
    pub fn skip(&self) -> u64 {
        self.skip
    }

    /// All entries up to this one were told, or are none of the follower's.
    pub fn read_to(&self) -> u64 {
        self.waiting
            .as_slice()
            .first()
            .map_or(self.read_to, |entry| entry.seq - 1)
    }

    /// The next news if there is any at once.
    pub async fn ready(&mut self) -> Result<Option<News>, ReadError> {
        loop {
            if let Some(entry) = self.waiting.next() {
                return Ok(Some(self.told(News::Entry(Arc::new(entry)))));
            }
            if !self.caught_up {
                self.read().await?;
                continue;
            }
            match self.listener().try_recv() {
                Ok(news) if self.is_news(&news) => return Ok(Some(self.told(news))),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => self.caught_up = false,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(None),
            }
        }
    }

    /// The next news, however long it takes. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Result<News, ReadError> {
        loop {
            if let Some(news) = self.ready().await? {
                return Ok(news);
            }
            self.position.store(READ_ALL, Ordering::Relaxed);
            match self.listener().recv().await {
                Ok(news) if self.is_news(&news) => return Ok(self.told(news)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.caught_up = false,
                // The feed holds the other end of what this follower listens to.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    async fn read(&mut self) -> Result<(), ReadError> {
        let page = self.feed.reader.entries(self.read_to, self.scope.clone()).await?;
        self.take(page);
        Ok(())
    }

    fn listener(&mut self) -> &mut broadcast::Receiver<News> {
        self.listener.as_mut().expect("taken only by drop")
    }

    fn is_news(&self, news: &News) -> bool {
        match news {
            News::Entry(entry) => entry.seq > self.read_to,
            News::Scanned { .. } => true,
        }
    }

    fn told(&mut self, news: News) -> News {
        if let News::Entry(entry) = &news {
            self.read_to = self.read_to.max(entry.seq);
            self.position.store(entry.seq, Ordering::Relaxed);
        }
        news
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.followers.remove(&self.id);
        self.listener = None;
        if let Scope::Of(names) = &self.scope {
            self.feed.forget(names);
        }
    }
}

#[cfg(test)]
mod tests;
