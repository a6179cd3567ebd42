//! Stories of money that goes back, or is none. The language is that of `rules`; `1:100?` is of a merchant order that is not
//! closed, `1:100-40` had 40 taken back, `1:100!40` had them taken by a bank.

use super::rules::{story, tell};
use crate::domain::account::LatePayment;
use crate::domain::payment::RefundState;
use crate::limits;

use super::world::reference;

#[test]
fn only_a_closed_merchant_order_pays() {
    story(
        LatePayment::Refund,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100?", "partial 1 A", "ready"),
            ("pay A 1:100?", "", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("push B 100", "ready B", "ready"),
            ("pay B 3:40?", "partial 3 B", "ready"),
            (
                "pay B 3:40? 4:100",
                "paid by 4 B, refund excess 40.00 3 B, back 3:40.00 B",
                "unavailable",
            ),
            ("pay B 3:40 4:100", "", "unavailable"),
        ],
    );
}

#[test]
fn what_the_api_does_not_confirm_now_pays_for_nothing() {
    story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100?", "partial 1 A", "ready"),
            ("see A rejected:2", "rejected 2 A", "ready"),
            ("pay A 3:40", "partial 3 A", "ready"),
            ("expire A", "expired A, report late 1+3 A", "unavailable"),
            ("see A rejected:4", "rejected 4 A", "unavailable"),
            (
                "pay A 1:100 3:40",
                "late paid by 1 A, refund excess 40.00 3 A, back 3:40.00 A",
                "unavailable",
            ),
        ],
    );
}

#[test]
fn what_was_not_delivered_goes_back_to_who_paid_first() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            (
                "pay A 1:100 2:100",
                "paid by 1 A, report excess 100.00 2 A",
                "unavailable",
            ),
            ("failed A", "failed all A, back 1:100.00 A", "unavailable"),
            ("push B 100", "ready B", "ready"),
            ("pay B 3:60 4:40", "paid by 3+4 B", "unavailable"),
            ("pay B 3:60 4:40 5:100", "report excess 100.00 5 B", "unavailable"),
            (
                "failed B amount 70",
                "failed 70.00 B, back 3:60.00+4:10.00 B",
                "unavailable",
            ),
        ],
    );
}

#[test]
fn what_went_back_before_it_was_seen_pays_nothing() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100-100", "", "ready"),
            ("pay A 1:100-100 2:100-1", "partial 2 A", "ready"),
            ("pay A 1:100-100 2:100-1 3:1", "paid by 2+3 A", "unavailable"),
        ],
    );
}

#[test]
fn what_others_take_back_is_told_once_and_again_when_it_grows() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("pay A 1:100-40", "refunded 40.00 1 A", "unavailable"),
            ("pay A 1:100-40", "", "unavailable"),
            ("pay A 1:100", "", "unavailable"),
            ("pay A 1:100!100", "charged_back 100.00 1 A", "unavailable"),
            (
                "refund A k",
                "no: amount must be at most 0.00: that is left of what was paid",
                "unavailable",
            ),
            ("push B 100", "ready B", "ready"),
            ("pay B 2:60", "partial 2 B", "ready"),
            ("pay B 2:60-60", "refunded 60.00 2 B", "ready"),
            ("pay B 2:60-60 3:40", "partial 3 B", "ready"),
            ("expire B", "expired B, report late 2+3 B", "unavailable"),
        ],
    );
}

#[test]
fn what_goes_back_counts_no_more_in_the_look_that_tells_it() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:60", "partial 1 A", "ready"),
            ("pay A 1:60-60 2:40", "refunded 60.00 1 A, partial 2 A", "ready"),
            ("pay A 1:60-60 2:40 3:60", "paid by 2+3 A", "unavailable"),
        ],
    );
}

#[test]
fn no_more_can_go_back_than_came_whatever_is_said() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("pay A 1:100-140", "refunded 100.00 1 A", "unavailable"),
            ("pay A 1:100-150", "", "unavailable"),
        ],
    );
}

#[test]
fn short_money_for_what_was_paid_elsewhere_goes_back_at_the_cancellation() {
    story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:40", "partial 1 A", "ready"),
            (
                "cancel paid_elsewhere",
                "paid_elsewhere A, refund late 1 A, back 1:40.00 A",
                "unavailable",
            ),
        ],
    );
}

#[test]
fn our_own_refund_is_no_reversal() {
    let mut world = story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("refund A k amount 30", "back 1:30.00 A", "unavailable"),
            ("pay A 1:100-30", "", "unavailable"),
            ("refunded A 1", "refund 1 done A", "unavailable"),
            ("pay A 1:100-30", "", "unavailable"),
            ("refund A k2 amount 30", "back 1:30.00 A", "unavailable"),
            ("not-refunded A 2", "refund 2 failed A", "unavailable"),
            // It had gone through after all.
            ("pay A 1:100-60", "refunded 30.00 1 A", "unavailable"),
        ],
    );
    let order = world.order(&reference("A")).expect("an order");
    assert!(!order.refunds_wait());
    assert_eq!(order.refunds[0].state, RefundState::Done(901));
    tell(&mut world, &[("refunded A 2", "", "unavailable")]);
}

#[test]
fn a_refund_is_asked_for_once_and_never_beyond_what_was_paid() {
    let too_much = |left: &str| format!("no: amount must be at most {left}: that is left of what was paid");
    story(
        LatePayment::Report,
        &[
            ("refund A k", "no: there is no such order", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("refund A k", "no: the order is ready, not paid", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            (
                "refund A k amount 0",
                "no: amount must be more than zero",
                "unavailable",
            ),
            ("refund A k amount 100.01", &too_much("100.00"), "unavailable"),
            (
                "refund A k of 7",
                "no: no payment 7 is recorded for this order",
                "unavailable",
            ),
            ("refund A k amount 60", "back 1:60.00 A", "unavailable"),
            ("refund A k amount 60.0", "", "unavailable"),
            (
                "refund A k amount 61",
                "no: this Idempotency-Key was used for another refund of this order",
                "unavailable",
            ),
            (
                "refund A k",
                "no: this Idempotency-Key was used for another refund of this order",
                "unavailable",
            ),
            ("refund A k2 amount 41", &too_much("40.00"), "unavailable"),
            ("refund A k2", "back 1:40.00 A", "unavailable"),
            ("refund A k2", "", "unavailable"),
            ("refund A k3", &too_much("0.00"), "unavailable"),
            ("not-refunded A 2", "refund 2 failed A", "unavailable"),
            ("refund A k2", "", "unavailable"),
            ("refund A k3", "back 1:40.00 A", "unavailable"),
        ],
    );
}

#[test]
fn a_refund_over_several_payments_takes_of_the_newest_first() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:40 2:60", "paid by 1+2 A", "unavailable"),
            ("pay A 3:100", "report excess 100.00 3 A", "unavailable"),
            (
                "refund A k of 1 amount 41",
                "no: amount must be at most 40.00: that is left of what was paid",
                "unavailable",
            ),
            ("refund A k of 1 amount 10", "back 1:10.00 A", "unavailable"),
            (
                "refund A k2 amount 170",
                "back 3:100.00+2:60.00+1:10.00 A",
                "unavailable",
            ),
            ("refund A k3", "back 1:20.00 A", "unavailable"),
        ],
    );
}

#[test]
fn late_money_that_was_only_reported_can_be_given_back() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("pay A 1:100", "report late 1 A", "unavailable"),
            ("refund A k", "back 1:100.00 A", "unavailable"),
        ],
    );
}

#[test]
fn what_was_not_delivered_goes_back_unless_the_policy_is_to_report() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("overdue A", "overdue A", "unavailable"),
            ("overdue A", "", "unavailable"),
            ("failed A", "failed all A, back 1:100.00 A", "unavailable"),
            ("failed A", "", "unavailable"),
            ("push B 100", "ready B", "ready"),
            ("pay B 2:100", "paid by 2 B", "unavailable"),
            ("failed B report", "failed all B", "unavailable"),
            ("overdue B", "", "unavailable"),
            ("push C 100", "ready C", "ready"),
            ("pay C 3:100", "paid by 3 C", "unavailable"),
            ("refund C k amount 70", "back 3:70.00 C", "unavailable"),
            ("failed C amount 50", "failed 50.00 C, back 3:30.00 C", "unavailable"),
            ("overdue D", "no: there is no such order", "unavailable"),
        ],
    );
}

#[test]
fn what_is_no_money_is_told_once() {
    story(
        LatePayment::Refund,
        &[
            ("push A 100", "ready A", "ready"),
            ("see A pending:1 rejected:2", "pending 1 A, rejected 2 A", "ready"),
            ("see A pending:1 rejected:2 rejected:1", "rejected 1 A", "ready"),
            ("see A currency:3", "suspect currency A", "ready"),
            ("see A currency:3 collector:3", "suspect collector A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("see A rejected:4", "rejected 4 A", "unavailable"),
        ],
    );
}

#[test]
fn rejected_payments_cannot_fill_the_log() {
    let mut world = story(LatePayment::Refund, &[("push A 100", "ready A", "ready")]);
    for round in 0..20 {
        let words: Vec<String> = (1..=10).map(|i| format!("rejected:{}", round * 10 + i)).collect();
        let p = super::world::pos_id("P");
        let command = world.read(&p, &format!("see A {}", words.join(" ")));
        let told = world.apply(&p, &command).expect("it is open").len();
        assert!(told <= limits::NEWS_PER_ENTRY);
    }
    assert_eq!(
        world.order(&reference("A")).expect("an order").sightings.len(),
        limits::SIGHTINGS
    );
}
