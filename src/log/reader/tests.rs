use super::*;
use crate::log::samples::{Book, ended, open, order, pos_id, reference, registered, said};
use crate::log::{Damage, Log};

struct Station {
    log: Log,
    reader: Reader,
    _folder: tempfile::TempDir,
}

fn station() -> Station {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path());
    let reader = Reader::open(&log.file()).expect("a reader");
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
    let all = station.reader.entries(0, None).await.expect("read");
    assert_eq!(all.entries, book.written);
    assert_eq!((all.read_to, all.trimmed_to), (4, 0));
    let after = station.reader.entries(2, None).await.expect("read");
    assert_eq!(seqs(&after), [3, 4]);
    let of_p = station.reader.entries(1, Some(pos_id("P"))).await.expect("read");
    assert_eq!(seqs(&of_p), [3, 4]);
    let of_q = station.reader.entries(2, Some(pos_id("Q"))).await.expect("read");
    assert_eq!(
        (seqs(&of_q), of_q.read_to),
        (vec![], 4),
        "nothing of it up to the newest"
    );
    let beyond = station.reader.entries(9, None).await.expect("read");
    assert_eq!((seqs(&beyond), beyond.read_to), (vec![], 9));
    station.log.trim(Timestamp(2), Timestamp(0)).expect("trimmed");
    let trimmed = station.reader.entries(0, None).await.expect("read");
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
            (0..limits::FEED_PAGE).try_for_each(|_| book.append(batch, "P", 1, said("filling")))
        })
        .expect("written");
    for pos in [None, Some(pos_id("P"))] {
        let first = station.reader.entries(0, pos.clone()).await.expect("read");
        assert_eq!(
            (first.entries.len(), first.read_to),
            (limits::FEED_PAGE, limits::FEED_PAGE as u64)
        );
        let second = station.reader.entries(first.read_to, pos).await.expect("read");
        assert_eq!(seqs(&second), [limits::FEED_PAGE as u64 + 1]);
    }
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
    let answer = station.reader.entries(0, None).await;
    let Err(ReadError::Log(LogError::Damaged(Damage { place, .. }))) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(place, "entry 1 (point of sale P, revision 1)");
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
            batch.put_order(&ended(order("A", "P", 10), Status::Paid, 11))?;
            batch.put_order(&ended(order("B", "Q", 20), Status::Expired, 21))?;
            batch.put_order(&order("C", "P", 30))?;
            batch.put_order(&ended(order("D", "Q", 30), Status::Paid, 41))?;
            batch.put_order(&ended(order("C", "P", 30), Status::Paid, 42))
        })
        .expect("written");
    let query = OrderQuery {
        limit: 10,
        ..OrderQuery::default()
    };
    let of_p = Some(pos_id("P"));
    let paid = Some(Status::Paid);
    let since = |at| Some(Timestamp(at));
    for (query, names) in [
        (query.clone(), vec!["D", "C", "B", "A"]),
        (
            OrderQuery {
                pos: of_p.clone(),
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
                pos: of_p,
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

#[tokio::test]
async fn pages_of_orders_follow_their_cursor() {
    let mut station = station();
    station
        .log
        .commit(false, |batch| {
            (1..=5).try_for_each(|n| batch.put_order(&order(&format!("T-{n}"), "P", n)))
        })
        .expect("written");
    let mut query = OrderQuery {
        limit: 2,
        ..OrderQuery::default()
    };
    let mut pages = Vec::new();
    loop {
        let (names, next) = found(&station, query.clone()).await;
        pages.push(names.join(" "));
        query.cursor = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, ["T-5 T-4", "T-3 T-2", "T-1"]);
    let (names, next) = found(&station, OrderQuery::default()).await;
    assert_eq!(names, ["T-5"], "a page has one at least");
    assert!(next.is_some());
}
