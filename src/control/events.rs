//! The feed on the wire: server-sent events, or a long poll for those who cannot read a stream.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout, timeout_at};

use super::write::{self, EventView};
use crate::feed::{Follower, News};
use crate::limits;
use crate::log::ReadError;
use crate::net::body::Chunks;
use crate::net::stop::Stopping;

/// Bytes of one chunk at most, but for its last event; and chunks that wait for the connection.
const CHUNK: usize = 16 * 1024;
const CHUNKS: usize = 4;

/// The follower's events, until the client leaves, the server stops, the caller's token is `revoked` or the log cannot be
/// read. Runs inside a `LocalSet`.
pub(super) fn stream(
    follower: Follower,
    mut stopping: Stopping,
    revoked: impl Future<Output = ()> + 'static,
) -> Chunks {
    let (chunks, body) = mpsc::channel(CHUNKS);
    spawn_local(async move {
        tokio::select! {
            // First: whoever may hear no more hears not even what waits already.
            biased;
            () = revoked => {}
            () = stopping.wait() => {}
            () = chunks.closed() => {}
            () = fill_all(follower, &chunks) => {}
        }
    });
    Chunks(body)
}

async fn fill_all(mut follower: Follower, chunks: &mpsc::Sender<Bytes>) {
    // A client that lost us comes back in a second.
    let mut chunk = String::from("retry: 1000\n\n");
    loop {
        // Who does not read is cut off by the connection's limit; then this end is closed. A chunk without bytes would
        // end the body; there is one if all events of an entry had been told before.
        if !chunk.is_empty() && chunks.send(std::mem::take(&mut chunk).into()).await.is_err() {
            return;
        }
        follower.has(follower.given_out());
        if let Err(error) = fill(&mut follower, &mut chunk).await {
            tracing::warn!(%error, "an event stream was ended");
            return;
        }
    }
}

/// Waits for an event, or for as long as a stream may be silent; takes along what is there by then.
async fn fill(follower: &mut Follower, chunk: &mut String) -> Result<(), ReadError> {
    let Ok(first) = timeout(limits::HEARTBEAT, follower.next()).await else {
        chunk.push_str(": still here\n\n");
        return Ok(());
    };
    write_news(chunk, &first?, follower.skip());
    while chunk.len() < CHUNK
        && let Some(news) = follower.ready().await?
    {
        write_news(chunk, &news, follower.skip());
    }
    Ok(())
}

fn write_news(chunk: &mut String, news: &News, after: u64) {
    match news {
        News::Entry(entry) => write::events(entry, after).for_each(|event| write_event(chunk, &event)),
        News::Scanned { pos, at } => write_event(chunk, &write::scanned(pos, *at)),
    }
}

fn write_event(chunk: &mut String, event: &EventView<'_>) {
    if let Some(seq) = event.seq {
        chunk.push_str(&format!("id: {seq}\n"));
    }
    let data = write::to_part(event);
    chunk.push_str(&format!("event: {}\ndata: {data}\n\n", event.kind));
}

/// At most a page of events: at once if there are any, else the first that come within `wait`.
pub(super) async fn page(mut follower: Follower, wait: Duration, mut stopping: Stopping) -> Result<Vec<u8>, ReadError> {
    let deadline = Instant::now() + wait;
    let skip = follower.skip();
    let mut page = Page::default();
    while !page.is_full() {
        let news = match follower.ready().await? {
            Some(news) => news,
            None if !page.events.is_empty() => break,
            None => tokio::select! {
                next = timeout_at(deadline, follower.next()) => match next {
                    Ok(news) => news?,
                    Err(_) => break,
                },
                () = stopping.wait() => break,
            },
        };
        page.take(&news, skip);
    }
    // What was cut off here, or is not yet read, comes after the last event told; else after all that was looked at.
    let next = match page.last {
        Some(last) if page.is_full() => last,
        _ => follower.given_out(),
    };
    follower.has(next);
    let events = page.events;
    Ok(write::to_json(&PageView { events, next }))
}

/// A page that waits for more holds no more than its answer will.
#[derive(Default)]
struct Page {
    events: Vec<Box<RawValue>>,
    bytes: usize,
    /// The number of the last event that has one.
    last: Option<u64>,
}

impl Page {
    fn is_full(&self) -> bool {
        self.events.len() >= limits::FEED_PAGE || self.bytes >= limits::FEED_PAGE_BYTES
    }

    /// An entry may have several events; the page may end within.
    fn take(&mut self, news: &News, after: u64) {
        match news {
            News::Entry(entry) => write::events(entry, after).for_each(|event| self.push(&event)),
            News::Scanned { pos, at } => self.push(&write::scanned(pos, *at)),
        }
    }

    fn push(&mut self, event: &EventView<'_>) {
        if self.is_full() {
            return;
        }
        let written = write::to_part(event);
        self.bytes += written.get().len();
        self.last = event.seq.or(self.last);
        self.events.push(written);
    }
}

#[derive(Serialize)]
struct PageView {
    events: Vec<Box<RawValue>>,
    next: u64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::LocalSet;

    use super::*;
    use crate::domain::access::Scope;
    use crate::domain::command::Event;
    use crate::domain::id::{PosId, Reference, Rev, Timestamp};
    use crate::domain::money::{Currency, Money};
    use crate::domain::order::{Facts, Metadata};
    use crate::feed::{After, Feed};
    use crate::log::{Happening, Log};
    use crate::net::stop::channel;

    /// Two orders with the largest metadata were shown.
    fn shown(seq: u64) -> Happening {
        let shown = Event::OrderShown(Facts {
            reference: Reference::parse("T-1").expect("a reference"),
            amount: Money::parse("1.00", Currency::Ars).expect("an amount"),
            metadata: Some(Metadata(
                format!(r#"{{"a":"{}"}}"#, "x".repeat(limits::METADATA_LEN - 8)).into(),
            )),
        });
        Happening {
            seq,
            pos: PosId::parse("P").expect("a name"),
            rev: Rev(seq),
            at: Timestamp(1),
            events: vec![shown.clone(), shown],
        }
    }

    #[tokio::test]
    async fn a_page_is_bounded_in_bytes_and_tells_where_to_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path(), "a").expect("a new log");
        let feed = Arc::new(Feed::new(log.reader().expect("readable"), 0));
        let follower = feed.follow(Scope::All, After::Now).await.expect("from now on");
        (1..=limits::FEED_PAGE as u64 / 2).for_each(|seq| feed.publish(shown(seq)));
        let (_stop, stopping) = channel();
        let answer = page(follower, Duration::ZERO, stopping).await.expect("readable");
        let most = limits::FEED_PAGE_BYTES + 2 * limits::METADATA_LEN;
        assert!(
            (limits::FEED_PAGE_BYTES..most).contains(&answer.len()),
            "{} bytes",
            answer.len()
        );
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        let last = answer["events"].as_array().and_then(|events| events.last());
        assert_eq!(answer["next"], last.expect("one at least")["seq"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_that_it_lives_until_the_server_stops() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path(), "a").expect("a new log");
        let feed = Arc::new(Feed::new(log.reader().expect("readable"), 0));
        let follower = feed.follow(Scope::All, After::Now).await.expect("from now on");
        let streaming = async {
            let (stop, stopping) = channel();
            let Chunks(mut chunks) = stream(follower, stopping, std::future::pending());
            assert_eq!(chunks.recv().await, Some("retry: 1000\n\n".into()));
            for _ in 0..2 {
                let silent_from = Instant::now();
                assert_eq!(chunks.recv().await, Some(": still here\n\n".into()));
                assert_eq!(silent_from.elapsed().as_secs(), limits::HEARTBEAT.as_secs());
            }
            stop.stop();
            assert_eq!(chunks.recv().await, None);
        };
        LocalSet::new().run_until(streaming).await;
    }
}
