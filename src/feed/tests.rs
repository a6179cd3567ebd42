//! Where a follower may begin. What it is told is tested over the control socket.

use super::*;
use crate::domain::command::{Event, NewState};
use crate::domain::id::Rev;
use crate::domain::pos::Waiting;
use crate::domain::text::Text;
use crate::log::{Entry, Log, Sum};

fn pos() -> PosId {
    PosId::parse("P").expect("a name")
}

fn entry(seq: u64) -> Entry {
    let event = Event::StateChanged {
        to: NewState::Waiting(Waiting::InProcess),
        message: None,
    };
    Entry {
        seq,
        pos: pos(),
        rev: Rev(seq),
        at: Timestamp(i64::try_from(seq).expect("small")),
        events: vec![event],
        state_after: None,
    }
}

/// A log with entries 1 to 6 of which the first five were trimmed, in a folder that goes with the first.
fn trimmed() -> (tempfile::TempDir, Log) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path(), "a").expect("a new log");
    let append = log.commit(false, |batch| {
        (1..=6).try_fold(Sum::NONE, |sum, seq| batch.append(&entry(seq), sum, Vec::new()))
    });
    append.expect("written");
    assert_eq!(log.trim(Timestamp(6), Timestamp(6)).expect("trimmed"), 5);
    (folder, log)
}

fn feed(log: &Log, head: u64) -> Arc<Feed> {
    Arc::new(Feed::new(log.reader().expect("readable"), head))
}

#[tokio::test]
async fn a_reader_goes_on_where_nothing_that_it_missed_is_gone() {
    let (_folder, log) = trimmed();
    let feed = feed(&log, 6);
    let all_of_five = 5 * limits::EVENTS_PER_ENTRY + limits::EVENTS_PER_ENTRY - 1;
    for (after, told) in [(0, true), (all_of_five, true), (96, false), (97, false), (111, false)] {
        let follower = feed.follow(Scope::All, After::Event(after)).await;
        let mut follower = follower.expect("it is kept");
        let news = follower
            .ready()
            .await
            .expect("readable")
            .expect("the newest is read again");
        let News::Entry(entry) = news else { panic!("{news:?}") };
        assert_eq!(entry.seq * limits::EVENTS_PER_ENTRY > follower.skip(), told, "{after}");
    }
    for after in [1, 15, 16, 79, 80, 81, 94, 112, u64::MAX] {
        match feed.follow(Scope::All, After::Event(after)).await {
            Err(FollowError::Gone { asked, oldest }) => assert_eq!((asked, oldest), (after, 96)),
            other => panic!("{after}: {other:?}"),
        }
    }
    assert_eq!(feed.followers(), 0, "none is left behind");
}

#[tokio::test]
async fn an_entry_read_before_it_was_told_is_not_told_twice() {
    let (_folder, log) = trimmed();
    let feed = feed(&log, 5);
    let mut follower = feed
        .follow(pos().into(), After::Event(96))
        .await
        .expect("it is in the log");
    let News::Entry(read) = follower.next().await.expect("readable") else {
        panic!("no entry")
    };
    assert_eq!(read.seq, 6);
    feed.publish(entry(6).into());
    feed.publish(entry(7).into());
    let News::Entry(told) = follower.next().await.expect("readable") else {
        panic!("no entry")
    };
    assert_eq!(told.seq, 7);
}

#[tokio::test]
async fn a_follower_far_behind_reads_a_little_at_a_time_and_all_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Log::open(folder.path(), "a").expect("a new log");
    let message = "x".repeat(limits::MESSAGE_LEN);
    let written = (2 * limits::FEED_READ_BYTES / message.len()) as u64;
    let wordy = |seq| Entry {
        events: vec![Event::StateChanged {
            to: NewState::Waiting(Waiting::InProcess),
            message: Some(Text::parse(&message).expect("a message")),
        }],
        ..entry(seq)
    };
    log.commit(false, |batch| {
        (1..=written).try_fold(Sum::NONE, |sum, seq| batch.append(&wordy(seq), sum, Vec::new()))
    })
    .expect("written");
    let feed = feed(&log, written);
    for pos in [Scope::All, pos().into()] {
        let mut follower = feed.follow(pos, After::Event(0)).await.expect("from the oldest");
        let mut told = Vec::new();
        while let Some(News::Entry(entry)) = follower.ready().await.expect("readable") {
            told.push(entry.seq);
            let held = follower.waiting.len() * message.len();
            assert!(held < limits::FEED_READ_BYTES, "{held} bytes are held");
        }
        assert_eq!(told, (1..=written).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn who_waits_for_a_quiet_pos_is_not_behind() {
    let (_folder, log) = trimmed();
    let feed = Arc::new(Feed::new(log.reader().expect("a reader"), 6));
    let quiet = PosId::parse("Q").expect("a name");
    let mut waiting = feed.follow(quiet.into(), After::Now).await.expect("from now on");
    tokio::select! {
        biased;
        news = waiting.next() => panic!("nothing happened: {news:?}"),
        () = std::future::ready(()) => {}
    }
    let idle = feed.follow(pos().into(), After::Now).await.expect("from now on");
    feed.publish(entry(7).into());
    assert_eq!(feed.lag(), 1, "the other one has news and does not read");
    drop(idle);
    assert_eq!(feed.lag(), 0);
}

/// Each hears of its own, once and in order, whoever else follows the same; and nobody is woken for others.
#[tokio::test]
async fn who_follows_some_hears_of_no_other() {
    let (_folder, log) = trimmed();
    let feed = Arc::new(Feed::new(log.reader().expect("a reader"), 6));
    let of = |names: &str| {
        Scope::of(
            names
                .chars()
                .map(|name| PosId::parse(&name.to_string()).expect("a name")),
        )
    };
    let mut followers = Vec::new();
    for names in ["A", "AB", "BC", "AB", "A"] {
        followers.push((names, feed.follow(of(names), After::Now).await.expect("from now on")));
    }
    for (seq, name) in (7..).zip("ABCABD".chars()) {
        let pos = PosId::parse(&name.to_string()).expect("a name");
        feed.publish(Happening {
            pos,
            ..entry(seq).into()
        });
    }
    for (names, follower) in &mut followers {
        let expected: Vec<u64> = (7..)
            .zip("ABCABD".chars())
            .filter(|(_, name)| names.contains(*name))
            .map(|(seq, _)| seq)
            .collect();
        let waiting = follower.listener().len();
        assert_eq!(waiting, expected.len(), "{names} is woken for its own only");
        let mut told = Vec::new();
        while let Some(News::Entry(entry)) = follower.ready().await.expect("readable") {
            told.push(entry.seq);
        }
        assert_eq!(told, expected, "{names}");
    }
    assert_eq!(feed.some.len(), 3, "A, B and C are followed");
    followers.retain(|(names, _)| *names == "BC");
    assert_eq!(feed.some.len(), 2);
    followers.clear();
    assert!(feed.some.is_empty(), "nothing is left of those who went");
}
