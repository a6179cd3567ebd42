use super::*;
use crate::domain::account::LatePayment;
use crate::domain::id::{AccountId, ExternalPosId, PosId, Rev};
use crate::domain::money::{Currency, Money};
use crate::domain::order::Facts;
use crate::domain::payment::{Cause, Refund, RefundState};
use crate::domain::posted::Way;
use crate::domain::tests::world::{content, payee};

/// A board, and a clock that the test moves.
struct Desk {
    board: Board,
    begun: std::time::Instant,
    seconds: u64,
}

fn facts(reference: &str) -> Facts {
    Facts {
        reference: Reference::parse(reference).expect("a reference"),
        amount: Money::parse("100", Currency::Ars).expect("an amount"),
        metadata: None,
    }
}

fn paid(reference: &str) -> Event {
    Event::OrderPaid {
        facts: facts(reference),
        payments: Vec::new(),
        late: false,
    }
}

fn refund() -> Refund {
    Refund {
        number: 1,
        payment: 1,
        amount: Money::parse("1", Currency::Ars).expect("an amount"),
        cause: Cause::Late,
        requested_at: Timestamp(0),
        state: RefundState::Requested,
    }
}

fn refund_requested(reference: &str) -> Event {
    Event::RefundRequested {
        facts: facts(reference),
        refunds: vec![refund()],
    }
}

impl Desk {
    fn new() -> Desk {
        Desk {
            board: Board::default(),
            begun: std::time::Instant::now(),
            seconds: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            at: Timestamp(1_700_000_000_000).plus_seconds(self.seconds),
            instant: self.begun + Duration::from_secs(self.seconds),
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_std(self.now().instant)
    }

    /// Something happened so many seconds after the beginning.
    fn happens(&mut self, seconds: u64, event: Event) {
        self.seconds = seconds;
        let now = self.now();
        let entry = Happening {
            seq: 1,
            pos: PosId::parse("P").expect("a name"),
            rev: Rev(1),
            at: now.at,
            events: vec![event],
        };
        self.board.follow(&entry, || 120, now);
    }

    /// An order that was made now, without the order itself.
    fn order(&mut self, seconds: u64, reference: &str) {
        self.seconds = seconds;
        let now = self.now();
        let key = key_of(&facts(reference).reference);
        self.board.watched.entry(key.clone()).or_default().times = Some(Times {
            created: now.at,
            shown: None,
            ended: None,
        });
        self.board.plan(&key, now);
    }

    /// In how many seconds after the beginning something is due.
    fn due(&self) -> Option<u64> {
        let due = self.board.first_due()?;
        Some(due.duration_since(Instant::from_std(self.begun)).as_secs())
    }

    fn end(&mut self, seconds: u64, job: Job, ended: &Ended) {
        self.seconds = seconds;
        let now = self.now();
        self.board.end(&job.key, ended, Vec::new(), now);
    }
}

#[test]
fn an_order_is_due_by_the_schedule() {
    let mut desk = Desk::new();
    desk.order(0, "A");
    assert_eq!(desk.due(), Some(30));
    desk.happens(5, Event::OrderShown(facts("a")));
    assert_eq!(desk.due(), Some(15), "whatever the case of the reference");
    desk.seconds = 14;
    assert!(desk.board.next_due(desk.instant()).is_none());
    desk.seconds = 15;
    let job = desk.board.next_due(desk.instant()).expect("it is due");
    assert!(
        desk.board.next_due(desk.instant()).is_none(),
        "one look at an order at a time"
    );
    desk.happens(
        16,
        Event::OrderCanceled {
            facts: facts("A"),
            reason: None,
        },
    );
    assert_eq!(desk.due(), None, "not while it is being looked at");
    desk.end(17, job, &Ended::Failed { unsent: false });
    assert_eq!(desk.due(), Some(46), "30 s after the end");
}

#[test]
fn what_fails_is_tried_again_later_and_later() {
    let mut desk = Desk::new();
    desk.happens(0, refund_requested("A"));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let job = desk.board.next_urgent().or_else(|| desk.board.next_due(desk.instant()));
        desk.end(desk.seconds, job.expect("it is due"), &Ended::Failed { unsent: false });
        let due = desk.due().expect("it is tried again");
        waits.push(due - desk.seconds);
        desk.seconds = due;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
}

#[test]
fn an_open_order_is_never_left_alone_for_longer_than_the_schedule() {
    let mut desk = Desk::new();
    desk.order(0, "A");
    let mut waits = Vec::new();
    for _ in 0..6 {
        let due = desk.due().expect("it is tried again");
        waits.push(due - desk.seconds);
        desk.seconds = due;
        let job = desk.board.next_due(desk.instant()).expect("it is due");
        desk.end(due, job, &Ended::Failed { unsent: false });
    }
    assert_eq!(waits, [30, 1, 2, 4, 8, 10]);
}

#[test]
fn a_refund_is_urgent_and_known_to_be_untried_once() {
    let mut desk = Desk::new();
    desk.happens(0, refund_requested("A"));
    let job = desk.board.next_urgent().expect("at once");
    assert_eq!(job.untried.refunds, [1]);
    desk.happens(1, refund_requested("A"));
    assert!(!desk.board.has_urgent(), "not while it is worked on");
    desk.end(1, job, &Ended::Failed { unsent: false });
    assert!(desk.board.has_urgent(), "but then at once");
    assert_eq!(desk.board.next_urgent().expect("at once").untried.refunds, [1]);
}

/// Hours after its end an order is looked at once an hour. Its money does not wait for that.
#[test]
fn a_refund_that_failed_does_not_wait_for_the_schedule() {
    let mut desk = Desk::new();
    desk.order(0, "A");
    desk.happens(5, Event::OrderExpired(facts("A")));
    desk.seconds = 8_000;
    let job = desk.board.next_due(desk.instant()).expect("it is due");
    desk.end(8_000, job, &Ended::Failed { unsent: false });
    desk.happens(8_000, refund_requested("A"));
    let mut order = sending(&desk, "A");
    order.status = Status::Expired;
    order.ended_at = Some(desk.now().at);
    order.refunds = vec![refund()];
    let looked = Ended::Looked {
        order: Arc::new(order),
        unknown: false,
        lingers: false,
    };
    let mut waits = Vec::new();
    for ended in [&Ended::Failed { unsent: false }, &looked, &looked, &looked] {
        let job = desk.board.next_urgent().or_else(|| desk.board.next_due(desk.instant()));
        desk.end(desk.seconds, job.expect("it is due"), ended);
        let due = desk.due().expect("it is tried again");
        waits.push(due - desk.seconds);
        desk.seconds = due;
    }
    assert_eq!(waits, [2, 4, 8, 16]);
}

/// An order on its way to Mercado Pago, as an intent.
fn sending(desk: &Desk, reference: &str) -> Order {
    let order = Order::new(
        Reference::parse(reference).expect("a reference"),
        PosId::parse("P").expect("a name"),
        AccountId::parse("main").expect("a name"),
        payee(),
        content("100"),
        LatePayment::Report,
        desk.now().at,
    );
    let pos = ExternalPosId::parse("P").expect("a name");
    order.to_post(Way::Intent { pos })
}

#[test]
fn what_is_on_its_way_is_tried_again_without_waiting_for_the_schedule() {
    let mut desk = Desk::new();
    let order = Arc::new(sending(&desk, "A"));
    desk.happens(0, Event::OrderReady(order.clone()));
    let mut waits = Vec::new();
    for unsent in [true, true, false, false, false, false] {
        let job = desk.board.next_errand(desk.instant()).expect("it is due");
        assert!(job.is_errand);
        assert_eq!(job.untried.order, waits.len() < 3, "nobody was told of it until then");
        desk.end(desk.seconds, job, &Ended::Failed { unsent });
        assert_eq!(desk.due(), None, "it waits for no look's credit");
        let retry = desk.board.first_retry().expect("it is tried again");
        let retry = retry.duration_since(Instant::from_std(desk.begun)).as_secs();
        waits.push(retry - desk.seconds);
        assert!(desk.board.next_errand(desk.instant()).is_none());
        desk.seconds = retry;
    }
    assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
    let job = desk.board.next_errand(desk.instant()).expect("it is due");
    let ready = Order {
        status: Status::Ready,
        ..Order::clone(&order)
    };
    let looked = Ended::Looked {
        order: Arc::new(ready),
        unknown: false,
        lingers: false,
    };
    desk.end(desk.seconds, job, &looked);
    assert_eq!(desk.board.first_retry(), None);
    assert_eq!(
        desk.due(),
        Some(desk.seconds + 10),
        "it is there, and looked at as any other"
    );
}

#[test]
fn what_ends_while_a_job_is_at_it_is_taken_off() {
    let mut desk = Desk::new();
    let order = Arc::new(sending(&desk, "A"));
    desk.happens(0, Event::OrderReady(order.clone()));
    let job = desk.board.next_errand(desk.instant()).expect("at once");
    desk.happens(1, Event::OrderReplaced(facts("A")));
    assert!(
        desk.board.next_errand(desk.instant()).is_none(),
        "not while a job is at it"
    );
    // The job saw it as it was before.
    desk.end(
        1,
        job,
        &Ended::Looked {
            order: order.clone(),
            unknown: false,
            lingers: false,
        },
    );
    let job = desk.board.next_errand(desk.instant()).expect("at once");
    assert!(job.lingers);
    desk.end(1, job, &Ended::Failed { unsent: false });
    desk.seconds = 2;
    let job = desk.board.next_errand(desk.instant()).expect("soon again");
    assert!(job.lingers);
    let ended = Order {
        status: Status::Replaced,
        ended_at: Some(desk.now().at),
        ..Order::clone(&order)
    };
    let looked = Ended::Looked {
        order: Arc::new(ended),
        unknown: false,
        lingers: false,
    };
    desk.end(2, job, &looked);
    desk.seconds = 40;
    let job = desk.board.next_due(desk.instant()).expect("late money is looked for");
    assert!(!job.lingers, "it is off");
}

#[test]
fn silence_is_overdue_once_unless_the_controller_speaks() {
    let mut desk = Desk::new();
    for reference in ["A", "B"] {
        desk.order(0, reference);
        desk.happens(0, paid(reference));
    }
    let delivery = crate::domain::order::Delivery::Dispensed;
    desk.happens(
        5,
        Event::DeliveryReported {
            facts: facts("B"),
            delivery,
        },
    );
    desk.seconds = 119;
    assert!(desk.board.next_overdue(desk.instant()).is_none());
    desk.seconds = 120;
    assert_eq!(desk.board.next_overdue(desk.instant()).as_deref(), Some("a"));
    assert!(desk.board.next_overdue(desk.instant()).is_none());
    let key = key_of(&facts("A").reference);
    desk.board.tell_later(&key, desk.instant() + limits::AGAIN_LAST);
    assert!(desk.board.next_overdue(desk.instant()).is_none());
    desk.seconds = 180;
    assert_eq!(
        desk.board.next_overdue(desk.instant()),
        Some(key),
        "what could not be told is told later"
    );
}

#[test]
fn without_a_token_only_what_is_to_be_done_is_kept_in_mind() {
    for refunds_wait in [false, true] {
        let mut desk = Desk::new();
        desk.order(0, "A");
        desk.happens(5, Event::OrderExpired(facts("A")));
        let mut looks = 0;
        while let Some(due) = desk.due().filter(|due| *due < 200_000) {
            desk.seconds = due;
            let job = desk.board.next_due(desk.instant()).expect("it is due");
            desk.end(
                due,
                job,
                &Ended::Mute {
                    refunds_wait,
                    unsent: false,
                },
            );
            looks += 1;
        }
        assert!(looks >= 60, "it is tried now and then: {looks}");
        assert_eq!(desk.board.watched(), usize::from(refunds_wait));
    }
}

#[test]
fn what_needs_nothing_any_more_is_not_kept_in_mind() {
    let mut desk = Desk::new();
    desk.happens(0, refund_requested("A"));
    let job = desk.board.next_urgent().expect("at once");
    desk.end(0, job, &Ended::NoOrder);
    assert_eq!(desk.board.watched(), 0);
    desk.happens(0, Event::Removed);
    assert_eq!(desk.board.watched(), 0);
}

#[test]
fn what_is_overdue_at_start_does_not_come_all_at_once() {
    let mut desk = Desk::new();
    let overdue = |desk: &mut Desk, reference: &str, ended: Option<u64>| {
        desk.order(0, reference);
        desk.seconds = 20_000;
        let (key, now) = (key_of(&facts(reference).reference), desk.now());
        let watch = desk.board.watched.get_mut(&key).expect("it was made just now");
        let times = watch.times.as_mut().expect("it was made just now");
        times.ended = ended.map(|at| Timestamp(1_700_000_000_000).plus_seconds(at));
        desk.board.plan(&key, now);
        desk.board.spread(&key, now);
        let due = desk.board.watched[&key].due.expect("it is looked at");
        due.duration_since(desk.instant())
    };
    for place in 0..100 {
        let open = overdue(&mut desk, &format!("OPEN-{place}"), None);
        assert!(open < limits::AGAIN_FIRST, "{open:?}: somebody may wait");
        let ended = overdue(&mut desk, &format!("ENDED-{place}"), Some(19_000));
        assert!(ended < limits::LOOK_AFTER_END, "{ended:?}");
        let old = overdue(&mut desk, &format!("OLD-{place}"), Some(100));
        assert!(old < limits::LOOK_SELDOM, "{old:?}");
    }
    let soon = desk.instant() + limits::AGAIN_FIRST;
    let first = std::iter::from_fn(|| desk.board.next_due(soon)).count();
    assert!((100..150).contains(&first), "{first}: the open ones, and few others");
}

#[test]
fn an_open_order_does_not_wait_for_all_that_have_ended() {
    let mut desk = Desk::new();
    for number in 0..100 {
        let name = format!("E-{number}");
        desk.order(0, &name);
        desk.happens(1, Event::OrderExpired(facts(&name)));
    }
    desk.order(2, "A");
    desk.seconds = 200;
    let first = desk.board.next_due(desk.instant()).expect("they are due");
    assert_eq!(&*first.key, "a", "somebody may stand before its machine");
    for number in 0..8 {
        desk.order(3, &format!("O-{number}"));
    }
    desk.seconds = 300;
    let now = desk.instant();
    let keys: Vec<Key> = std::iter::from_fn(|| desk.board.next_due(now))
        .map(|job| job.key)
        .take(8)
        .collect();
    let ended = keys.iter().filter(|key| key.starts_with("e-")).count();
    assert_eq!(ended, 2, "and these have their turn: {keys:?}");
}
