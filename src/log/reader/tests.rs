use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::access::Scope;
use crate::domain::order::Metadata;
use crate::log::samples::{Book, caught_up, ended, open, order, pos_id, reference, registered, said};
use crate::log::{Damage, Log};

struct Station {
    log: Log,
    reader: Reader,
    _folder: tempfile::TempDir,
}

fn station() -> Station {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let reader = log.reader().expect("a reader");
    Station {
        log,
        reader,
        _folder: folder,
    }
}

fn seqs(page: &EntryPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn entries_are_read_as_they_were_written_of_one_pos_or_of_all() {
    let mut station = station();
    let mut book = Book::default();
    for (pos, event) in [
        ("P", registered("P")),
        ("Q", registered("Q")),
        ("P", said("1")),
        ("P", said("2")),
    ] {
        book.write(&mut station.log, pos, 1, event);
    }
    let all = station.reader.entries(0, Scope::All).await.expect("read");
    let written: Vec<Happening> = book.written.into_iter().map(Happening::from).collect();
    assert_eq!(all.entries, written);
    assert_eq!((all.read_to, all.trimmed_to), (4, 0));
    let after = station.reader.entries(2, Scope::All).await.expect("read");
    assert_eq!(seqs(&after), [3, 4]);
    let of_p = station.reader.entries(1, pos_id("P").into()).await.expect("read");
    assert_eq!(seqs(&of_p), [3, 4]);
    let of_q = station.reader.entries(2, pos_id("Q").into()).await.expect("read");
    assert_eq!(
        (seqs(&of_q), of_q.read_to),
        (vec![], 4),
        "nothing of it up to the newest"
    );
    let beyond = station.reader.entries(9, Scope::All).await.expect("read");
    assert_eq!((seqs(&beyond), beyond.read_to), (vec![], 9));
    station.log.trim(Timestamp(2), Timestamp(0)).expect("trimmed");
    let trimmed = station.reader.entries(0, Scope::All).await.expect("read");
    assert_eq!((seqs(&trimmed), trimmed.trimmed_to), (vec![2, 4], 3));
}

#[tokio::test]
async fn a_page_of_entries_is_bounded_and_says_how_far_it_goes() {
    let mut station = station();
    let mut book = Book::default();
    station
        .log
        .commit(false, |batch| {
            book.append(batch, "P", 1, registered("P"))?;
            // The shortest there is: a page of any other ends for its bytes.
            (0..limits::FEED_PAGE).try_for_each(|_| book.append(batch, "P", 1, Event::Removed))
        })
        .expect("written");
    for pos in [Scope::All, pos_id("P").into()] {
        let first = station.reader.entries(0, pos.clone()).await.expect("read");
        assert_eq!(
            (first.entries.len(), first.read_to),
            (limits::FEED_PAGE, limits::FEED_PAGE as u64)
        );
        let second = station.reader.entries(first.read_to, pos).await.expect("read");
        assert_eq!(seqs(&second), [limits::FEED_PAGE as u64 + 1]);
    }
}

/// The newest orders of all POS.
fn newest() -> OrderQuery {
    OrderQuery {
        of: Scope::All,
        status: None,
        since: None,
        limit: 10,
        cursor: None,
    }
}

/// An order whose stored form has a little more than `bytes`.
fn large(name: &str, created_at: i64, bytes: usize) -> Order {
    let mut order = order(name, "P", created_at);
    order.content.metadata = Some(Metadata(Arc::from("x".repeat(bytes))));
    order
}

#[tokio::test]
async fn a_page_of_entries_is_bounded_in_bytes_and_has_one_always() {
    let mut station = station();
    let mut book = Book::default();
    let third = limits::FEED_READ_BYTES / 3;
    book.write(&mut station.log, "P", 1, registered("P"));
    for (n, bytes) in [third, third, third, 2 * limits::FEED_READ_BYTES, third]
        .into_iter()
        .enumerate()
    {
        let ready = Event::OrderReady(Arc::new(large(&format!("T-{n}"), 1, bytes)));
        book.write(&mut station.log, "P", 1, ready);
    }
    for pos in [Scope::All, pos_id("P").into()] {
        let (mut after, mut pages) = (0, Vec::new());
        loop {
            let page = station.reader.entries(after, pos.clone()).await.expect("read");
            pages.push(seqs(&page));
            after = page.read_to;
            if !page.more {
                break;
            }
        }
        assert_eq!(pages, [vec![1, 2, 3], vec![4], vec![5], vec![6]]);
        assert_eq!(after, 6);
    }
}

#[tokio::test]
async fn one_order_is_read_while_a_page_is() {
    let mut station = station();
    station
        .log
        .commit(false, |batch| Book::default().put(batch, order("A", "P", 1)))
        .expect("written");
    let (end, ended) = sync_channel(1);
    let page = Reader::ask(&station.reader.scans, move |_| {
        ended.recv().map_err(|error| LogError::Failed(error.to_string()))
    });
    // The page's question is put first, and ends when the order was read.
    let order = async {
        let order = tokio::time::timeout(Duration::from_secs(20), station.reader.order(reference("A"))).await;
        let names = tokio::time::timeout(Duration::from_secs(20), station.reader.names(None, 1)).await;
        end.send(()).expect("the page is still being read");
        (order, names)
    };
    let (page, (order, names)) = tokio::join!(biased; page, order);
    page.expect("ended");
    assert!(order.expect("at once").expect("read").is_some());
    assert!(names.expect("at once").expect("read").is_empty());
}

#[tokio::test]
async fn a_damaged_entry_is_named_not_skipped() {
    let mut station = station();
    let mut book = Book::default();
    book.write(&mut station.log, "P", 1, registered("P"));
    book.write(&mut station.log, "P", 1, said("filling"));
    let meddler = Connection::open(station.log.file()).expect("the file");
    meddler
        .execute("UPDATE entry SET at = 9 WHERE seq = 1", [])
        .expect("meddled");
    let answer = station.reader.entries(0, Scope::All).await;
    let Err(ReadError::Log(LogError::Damaged(Damage { place, .. }))) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(place, "entry 1 (point of sale P, revision 1)");
}

#[tokio::test]
async fn an_entry_missing_between_two_pages_is_named() {
    let mut station = station();
    let mut book = Book::default();
    book.write(&mut station.log, "P", 1, registered("P"));
    for message in ["1", "2", "3"] {
        book.write(&mut station.log, "P", 1, said(message));
    }
    let meddler = Connection::open(station.log.file()).expect("the file");
    meddler.execute("DELETE FROM entry WHERE seq = 3", []).expect("meddled");
    for (pos, missing) in [(Scope::All, "entry 3"), (pos_id("P").into(), "revision 3 of P")] {
        let answer = station.reader.entries(2, pos).await;
        let Err(ReadError::Log(LogError::Damaged(Damage { place, .. }))) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(place, missing);
    }
}

async fn found(station: &Station, query: OrderQuery) -> (Vec<String>, Option<u64>) {
    let page = station.reader.orders(query).await.expect("read");
    let names = page.orders.iter().map(|order| order.reference.to_string()).collect();
    (names, page.next)
}

#[tokio::test]
async fn orders_are_found_newest_first_by_pos_status_and_time() {
    let mut station = station();
    station
        .log
        .commit(false, |batch| {
            let mut book = Book::default();
            book.put(batch, ended(order("A", "P", 10), Status::Paid, 11))?;
            book.put(batch, ended(order("B", "Q", 20), Status::Expired, 21))?;
            book.put(batch, order("C", "P", 30))?;
            book.put(batch, ended(order("D", "Q", 30), Status::Paid, 41))?;
            book.put(batch, ended(order("C", "P", 30), Status::Paid, 42))
        })
        .expect("written");
    caught_up(&mut station.log);
    let query = newest();
    let of_p = Scope::from(pos_id("P"));
    let paid = Some(Status::Paid);
    let since = |at| Some(Timestamp(at));
    for (query, names) in [
        (query.clone(), vec!["D", "C", "B", "A"]),
        (
            OrderQuery {
                of: of_p.clone(),
                ..query.clone()
            },
            vec!["C", "A"],
        ),
        (
            OrderQuery {
                status: paid,
                ..query.clone()
            },
            vec!["D", "C", "A"],
        ),
        (
            OrderQuery {
                status: Some(Status::Ready),
                ..query.clone()
            },
            vec![],
        ),
        (
            OrderQuery {
                since: since(0),
                ..query.clone()
            },
            vec!["D", "C", "B", "A"],
        ),
        (
            OrderQuery {
                since: since(30),
                ..query.clone()
            },
            vec!["D", "C"],
        ),
        (
            OrderQuery {
                since: since(31),
                ..query.clone()
            },
            vec![],
        ),
        (
            OrderQuery {
                of: of_p,
                status: paid,
                since: since(20),
                ..query.clone()
            },
            vec!["C"],
        ),
    ] {
        assert_eq!(
            found(&station, query.clone()).await,
            (names.iter().map(ToString::to_string).collect(), None),
            "{query:?}"
        );
    }
    let order = station.reader.order(reference("c")).await.expect("read");
    assert_eq!(order.map(|order| order.status), paid);
    assert!(station.reader.order(reference("E")).await.expect("read").is_none());
}

/// The names of each page, one after the other.
async fn pages(station: &Station, mut query: OrderQuery) -> Vec<String> {
    let mut pages = Vec::new();
    loop {
        let (names, next) = found(station, query.clone()).await;
        pages.push(names.join(" "));
        query.cursor = next;
        if next.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn pages_of_orders_follow_their_cursor() {
    let mut station = station();
    station
        .log
        .commit(false, |batch| {
            let mut book = Book::default();
            (1..=5).try_for_each(|n| book.put(batch, order(&format!("T-{n}"), "P", n)))
        })
        .expect("written");
    caught_up(&mut station.log);
    let query = OrderQuery { limit: 2, ..newest() };
    let pages = pages(&station, query).await;
    assert_eq!(pages, ["T-5 T-4", "T-3 T-2", "T-1"]);
    let (names, next) = found(&station, OrderQuery { limit: 0, ..newest() }).await;
    assert_eq!(names, ["T-5"], "a page has one at least");
    assert!(next.is_some());
}

#[tokio::test]
async fn a_page_of_orders_is_bounded_in_bytes_and_has_one_always() {
    let mut station = station();
    let third = limits::ORDERS_PAGE_BYTES / 3;
    station
        .log
        .commit(false, |batch| {
            let mut book = Book::default();
            for (n, bytes) in [third, 2 * limits::ORDERS_PAGE_BYTES, third, third, third]
                .into_iter()
                .enumerate()
            {
                book.put(batch, large(&format!("T-{n}"), 1, bytes))?;
            }
            Ok(())
        })
        .expect("written");
    caught_up(&mut station.log);
    let query = OrderQuery {
        limit: limits::PAGE_MAX,
        ..newest()
    };
    let pages = pages(&station, query).await;
    assert_eq!(pages, ["T-4 T-3", "T-2", "T-1", "T-0"]);
}

/// Whether numbers are missing between them or not.
#[tokio::test]
async fn orders_since_a_time_are_found_where_others_were_trimmed() {
    let mut station = station();
    station
        .log
        .commit(false, |batch| {
            let mut book = Book::default();
            (1..=12).try_for_each(|n| book.put(batch, order(&format!("T-{n}"), "P", n * 10)))
        })
        .expect("written");
    caught_up(&mut station.log);
    let meddler = Connection::open(station.log.file()).expect("the file");
    meddler
        .execute("DELETE FROM orders WHERE id IN (1, 2, 5, 6, 7, 10)", [])
        .expect("trimmed");
    let left = [3, 4, 8, 9, 11, 12];
    for since in 0..=130 {
        let expected = left.iter().filter(|n| **n * 10 >= since).count();
        let query = OrderQuery {
            since: Some(Timestamp(since)),
            limit: 20,
            ..newest()
        };
        let (names, _) = found(&station, query).await;
        assert_eq!(names.len(), expected, "since {since}");
        let page = station.reader.unsettled(Timestamp(since), 0).await.expect("read");
        assert_eq!(page.orders.len(), expected, "since {since}");
    }
}

#[tokio::test]
async fn unsettled_orders_are_the_young_and_those_with_a_refund_that_waits() {
    let mut station = station();
    let names: Vec<String> = (0..limits::PAGE_MAX + 2).map(|n| format!("T-{n}")).collect();
    station
        .log
        .commit(false, |batch| {
            let mut book = Book::default();
            for (name, at) in names.iter().zip(0..) {
                book.put(batch, order(name, "P", at))?;
            }
            Ok(())
        })
        .expect("written");
    caught_up(&mut station.log);
    let meddler = Connection::open(station.log.file()).expect("the file");
    meddler
        .execute("UPDATE orders SET work = 1 WHERE id IN (1, 3)", [])
        .expect("meddled");
    let read = async |since, cursor| {
        let page = station.reader.unsettled(Timestamp(since), cursor).await.expect("read");
        let names: Vec<String> = page.orders.iter().map(|order| order.reference.to_string()).collect();
        (names, page.next)
    };
    let (first, next) = read(0, 0).await;
    assert_eq!(first, names[..limits::PAGE_MAX]);
    let (second, next) = read(0, next.expect("there are more")).await;
    assert_eq!((&second[..], next), (&names[limits::PAGE_MAX..], None));
    let last = limits::PAGE_MAX as i64 + 1;
    let expected = ["T-0", "T-2", names.last().expect("many")].map(String::from);
    assert_eq!(read(last, 0).await, (expected.to_vec(), None));
    assert_eq!(read(last + 1, 1).await, (vec!["T-2".to_owned()], None));
}
