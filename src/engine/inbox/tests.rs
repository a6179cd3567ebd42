use super::*;
use crate::domain::hint::{Signature, Topic};
use crate::domain::id::Reference;

/// An inbox whose writer is the test.
struct Desk {
    inbox: Inbox,
    work: mpsc::Receiver<Work>,
}

impl Desk {
    fn new() -> Desk {
        let (sender, work) = mpsc::channel(100_000);
        Desk {
            inbox: Inbox::new(sender, Waiting::new(), Clock::default()),
            work,
        }
    }

    /// Answers the next question as the writer does, and tells which row was forgotten, if that was it.
    fn write(&mut self) -> Option<u64> {
        match self.work.try_recv().expect("something was asked") {
            Work::Keep(Keep { kept, reply }) => {
                self.inbox.waiting.is_durable(&kept);
                reply.send(Ok(())).expect("somebody waits");
                None
            }
            Work::Forget(row) => Some(row),
            _ => panic!("the inbox asks for nothing else"),
        }
    }

    /// Whether it was asked to be written.
    async fn keep(&mut self, hint: Hint) -> bool {
        let inbox = self.inbox.clone();
        let keep = tokio::spawn(async move { inbox.keep(hint).await });
        while !keep.is_finished() {
            if !self.work.is_empty() {
                self.write();
                keep.await.expect("no panic").expect("kept");
                return true;
            }
            tokio::task::yield_now().await;
        }
        keep.await.expect("no panic").expect("merged");
        false
    }

    fn next(&self) -> Option<String> {
        self.inbox.next(false).map(|taken| taken.hint().thing.id())
    }
}

fn hint(id: u64, of: Option<&str>) -> Hint {
    Hint {
        account: AccountId::parse("main").expect("a name"),
        thing: Thing::parse(Topic::MerchantOrder, &id.to_string()).expect("an id"),
        reference: of.map(|text| Reference::parse(text).expect("a reference")),
        signature: Signature::Absent,
    }
}

#[tokio::test]
async fn trusted_ones_come_first_and_then_the_oldest() {
    let mut desk = Desk::new();
    for hint in [hint(1, None), hint(2, None), hint(3, Some("T-3")), hint(4, Some("T-4"))] {
        assert!(desk.keep(hint).await);
    }
    assert_eq!(desk.inbox.next(true).expect("one").hint().thing.id(), "3");
    assert_eq!(desk.next().as_deref(), Some("4"));
    assert!(desk.inbox.next(true).is_none(), "the others may be left alone");
    assert_eq!(desk.next().as_deref(), Some("1"));
    assert_eq!(desk.next().as_deref(), Some("2"));
    assert_eq!(desk.next(), None);
}

#[tokio::test]
async fn what_says_no_more_than_one_that_waits_is_not_written_again() {
    let mut desk = Desk::new();
    assert!(desk.keep(hint(1, None)).await);
    assert!(!desk.keep(hint(1, None)).await);
    assert!(desk.keep(hint(1, Some("T-1"))).await, "it says more");
    assert!(!desk.keep(hint(1, None)).await);
    assert!(!desk.keep(hint(1, Some("t-1"))).await);
    let taken = desk.inbox.next(false).expect("the trusted one");
    assert!(
        desk.keep(hint(1, Some("T-1"))).await,
        "that one may have been looked up before"
    );
    assert!(!desk.keep(hint(1, Some("T-1"))).await, "now one waits again");
    drop(taken);
    while desk.next().is_some() {}
    assert!(desk.inbox.waiting.hints().about.is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn what_was_worked_off_is_forgotten() {
    let mut desk = Desk::new();
    desk.keep(hint(1, None)).await;
    desk.keep(hint(2, None)).await;
    desk.inbox.waits().await;
    let taken = desk.inbox.next(false).expect("one");
    assert_eq!(taken.hint().thing.id(), "1");
    assert!(!desk.keep(hint(2, None)).await, "it waits");
    desk.inbox.done(taken).await;
    assert_eq!(desk.write(), Some(1), "its row");
    assert_eq!(desk.next().as_deref(), Some("2"));
}

#[tokio::test]
async fn it_is_worked_off_while_it_is_written_and_forgotten_after_that() {
    let mut desk = Desk::new();
    let inbox = desk.inbox.clone();
    let first = tokio::spawn(async move { inbox.keep(hint(1, None)).await });
    desk.inbox.waits().await;
    let inbox = desk.inbox.clone();
    let second = tokio::spawn(async move { inbox.keep(hint(1, None)).await });
    desk.inbox.waits().await;
    let taken = desk.inbox.next(false).expect("before it is on the disk");
    desk.inbox.done(taken).await;
    assert!(!first.is_finished(), "nobody is told that it is kept");
    assert_eq!(
        (desk.write(), desk.write()),
        (None, None),
        "what is not durable covers no other"
    );
    assert_eq!(desk.write(), Some(1), "after it was written");
    first.await.expect("no panic").expect("kept");
    second.await.expect("no panic").expect("kept");
    assert!(!desk.keep(hint(1, None)).await, "now the second covers it");
}

#[tokio::test]
async fn a_flood_of_forged_ones_leaves_room_for_real_ones() {
    let mut desk = Desk::new();
    let mut id = 0;
    let mut next_id = || {
        id += 1;
        id
    };
    for _ in 0..limits::INBOX_UNTRUSTED {
        desk.keep(hint(next_id(), None)).await;
    }
    let refused = desk.inbox.keep(hint(next_id(), None)).await;
    assert!(matches!(refused, Err(NotKept::TooMany)), "{refused:?}");
    for _ in limits::INBOX_UNTRUSTED..limits::INBOX {
        desk.keep(hint(next_id(), Some("T-1"))).await;
    }
    let refused = desk.inbox.keep(hint(next_id(), Some("T-1"))).await;
    assert!(matches!(refused, Err(NotKept::TooMany)), "{refused:?}");
    let taken = desk.inbox.next(false).expect("one");
    let refused = desk.inbox.keep(hint(next_id(), Some("T-1"))).await;
    assert!(refused.is_err(), "one that is worked on has its place");
    desk.inbox.done(taken).await;
    desk.write();
    assert!(desk.keep(hint(next_id(), Some("T-1"))).await);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_answered_is_worked_off_all_the_same() {
    let desk = Desk::new();
    let inbox = desk.inbox.clone();
    let keep = tokio::spawn(async move { inbox.keep(hint(1, None)).await });
    let in_doubt = keep.await.expect("no panic");
    assert!(
        matches!(in_doubt, Err(NotKept::Denied(Denied::InDoubt))),
        "{in_doubt:?}"
    );
    assert_eq!(
        desk.inbox.waiting.room.others.taken.load(Relaxed),
        1,
        "it waits to be worked off all the same"
    );
    drop(desk.inbox.next(false));
    assert_eq!(desk.inbox.waiting.room.others.taken.load(Relaxed), 0);
}
