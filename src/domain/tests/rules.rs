//! Each row: what is asked, what happens or why not, what polls of the POS are told then.
//!
//! A row begins with another POS's name and a colon if it is not about `P`. `pay A 1:60` settles with payment 1 of 60.

use super::world::{World, pos_id, reference, told};
use crate::domain::account::LatePayment;
use crate::domain::order::Status;

pub(super) type Row<'a> = (&'a str, &'a str, &'a str);

/// Tells the story on a registered POS, and gives what became of the world.
pub(super) fn story(policy: LatePayment, rows: &[Row<'_>]) -> World {
    let mut world = World::new(policy);
    let p = pos_id("P");
    let register = world.read(&p, "register");
    world.apply(&p, &register).expect("a new POS");
    tell(&mut world, rows);
    world
}

pub(super) fn tell(world: &mut World, rows: &[Row<'_>]) {
    for (place, (asked, happens, polls)) in rows.iter().enumerate() {
        let (pos, sentence) = asked.split_once(": ").unwrap_or(("P", asked));
        let pos = pos_id(pos);
        let command = world.read(&pos, sentence);
        world.now = world.now.plus_seconds(1);
        let answer = match world.apply(&pos, &command) {
            Ok(events) => events.iter().map(told).collect::<Vec<_>>().join(", "),
            Err(refusal) => format!("no: {refusal}"),
        };
        assert_eq!(answer, *happens, "row {place}: {asked}");
        let state = world.state(&pos);
        let standing = state.as_ref().map_or("invalid", |pos| pos.standing().name());
        assert_eq!(standing, *polls, "what polls are told after row {place}: {asked}");
    }
}

fn status(world: &World, name: &str) -> Status {
    world.order(&reference(name)).expect("an order").status
}

#[test]
fn an_order_is_pushed_shown_and_paid_once() {
    let world = story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("shown A", "shown A", "ready"),
            ("shown A", "", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("pay A 1:100", "", "unavailable"),
            ("shown A", "", "unavailable"),
            ("expire A", "", "unavailable"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Paid);
}

#[test]
fn the_same_push_again_is_the_same_order() {
    let world = story(
        LatePayment::Report,
        &[
            ("push A 100 metadata {}", "ready A", "ready"),
            ("push A 100.0 metadata {}", "", "ready"),
            ("push A 100 metadata {} replace", "", "ready"),
            ("shown A", "shown A", "ready"),
            ("push A 100 metadata {}", "", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("push A 100 metadata {}", "", "unavailable"),
            ("push A 100 metadata {} replace", "", "unavailable"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Canceled, "never reopened");
}

#[test]
fn repeating_a_push_never_extends_its_expiry() {
    let mut world = story(LatePayment::Report, &[("push A 100", "ready A", "ready")]);
    let before = world.order(&reference("A")).expect("an order").expires_at;
    tell(&mut world, &[("push A 100", "", "ready")]);
    assert_eq!(world.order(&reference("A")).expect("an order").expires_at, before);
}

#[test]
fn a_reference_is_used_once_whatever_its_case_content_and_pos() {
    let other = |field| format!("no: this reference was used before for an order with another `{field}`");
    story(
        LatePayment::Report,
        &[
            ("Q: register", "registered", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("push A 101", &other("items"), "ready"),
            ("push A 101 replace", &other("items"), "ready"),
            ("push A 100 expires 60", &other("expires_in_seconds"), "ready"),
            ("push A 100 metadata {}", &other("metadata"), "ready"),
            ("push A 100 late refund", &other("late_payment"), "ready"),
            (
                "push a 100",
                "no: references are compared without regard to case, and A was used before",
                "ready",
            ),
            (
                "Q: push A 100",
                "no: this reference was used on the point of sale P",
                "unavailable",
            ),
            ("cancel", "canceled A", "unavailable"),
            ("push A 101", &other("items"), "unavailable"),
        ],
    );
}

#[test]
fn another_order_waits_or_replaces() {
    let world = story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("push B 50", "no: the order A is open on this point of sale", "ready"),
            ("shown A", "shown A", "ready"),
            ("push B 50 replace", "replaced A, ready B", "ready"),
            ("shown A", "", "ready"),
            ("expire A", "", "ready"),
            ("pay B 1:50", "paid by 1 B", "unavailable"),
            ("push C 50 replace", "ready C", "ready"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Replaced);
}

#[test]
fn a_cancel_is_answered_again_only_if_the_last_order_was_canceled() {
    story(
        LatePayment::Report,
        &[
            ("cancel", "no: no order is open on this point of sale", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("shown A", "shown A", "ready"),
            ("cancel paid_elsewhere", "paid_elsewhere A", "unavailable"),
            ("cancel", "", "unavailable"),
            ("push B 100", "ready B", "ready"),
            ("expire B", "expired B", "unavailable"),
            ("cancel", "no: no order is open on this point of sale", "unavailable"),
            ("push C 100", "ready C", "ready"),
            ("pay C 1:100", "paid by 1 C", "unavailable"),
            ("cancel", "no: the order C is paid", "unavailable"),
        ],
    );
}

#[test]
fn after_a_cancel_any_payment_is_late() {
    let world = story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("pay A 1:100", "report late 1 A", "unavailable"),
            ("pay A 1:100", "", "unavailable"),
            ("cancel", "", "unavailable"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Canceled);
}

#[test]
fn the_controllers_word_holds_until_the_next_an_order_or_its_lease() {
    story(
        LatePayment::Report,
        &[
            (
                "say in_process message filling",
                "state in_process filling",
                "in_process",
            ),
            ("say in_process message filling", "", "in_process"),
            ("say in_process", "state in_process", "in_process"),
            ("push A 100", "ready A", "ready"),
            (
                "say in_process",
                "no: the order A is open on this point of sale",
                "ready",
            ),
            ("cancel", "canceled A", "unavailable"),
            ("say in_process for 30", "state in_process", "in_process"),
            ("hold 30", "", "in_process"),
            ("lapse-older", "", "in_process"),
            ("lapse", "state timeout", "timeout"),
            ("lapse", "", "timeout"),
            ("hold 30", "", "timeout"),
            ("say unavailable", "state unavailable", "unavailable"),
        ],
    );
}

#[test]
fn every_ending_leaves_the_pos_unavailable() {
    for ending in [
        ("cancel", "canceled A", "unavailable"),
        ("expire A", "expired A", "unavailable"),
        ("pay A 1:100", "paid by 1 A", "unavailable"),
    ] {
        let rows = [
            (
                "say in_process message filling",
                "state in_process filling",
                "in_process",
            ),
            ("push A 100", "ready A", "ready"),
            ending,
        ];
        story(LatePayment::Report, &rows);
    }
}

#[test]
fn a_lease_that_lapses_withholds_an_order_only_where_it_is_required() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("hold 30", "", "ready"),
            ("lapse", "", "ready"),
        ],
    );
    let world = story(
        LatePayment::Report,
        &[
            ("register require_lease", "changed", "unavailable"),
            ("hold 30", "", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("lapse", "state timeout", "timeout"),
            ("hold 30", "state ready", "ready"),
            ("hold 30", "", "ready"),
            ("lapse", "state timeout", "timeout"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("push B 100", "ready B", "timeout"),
            ("hold 30", "state ready", "ready"),
            ("lapse", "state timeout", "timeout"),
            ("expire B", "expired B", "unavailable"),
        ],
    );
    assert_eq!(
        status(&world, "A"),
        Status::Paid,
        "the money came before the machine was back"
    );
}

#[test]
fn an_order_expires_once_and_its_money_is_late() {
    story(
        LatePayment::Refund,
        &[
            ("expire A", "", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("expire A", "expired A", "unavailable"),
            ("expire A", "", "unavailable"),
            ("pay A 1:100", "refund late 1 A, back 1:100.00 A", "unavailable"),
            ("pay A 1:100 2:100", "refund late 2 A, back 2:100.00 A", "unavailable"),
        ],
    );
}

#[test]
fn what_was_paid_elsewhere_is_not_accepted_again() {
    story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("cancel paid_elsewhere", "paid_elsewhere A", "unavailable"),
            ("pay A 1:100", "refund late 1 A, back 1:100.00 A", "unavailable"),
        ],
    );
}

#[test]
fn late_money_is_accepted_once_where_the_policy_says_so() {
    let world = story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("push B 100", "ready B", "ready"),
            ("pay A 1:100", "late paid by 1 A", "ready"),
            (
                "pay A 1:100 2:100",
                "refund excess 100.00 2 A, back 2:100.00 A",
                "ready",
            ),
            ("pay A 1:100 2:100", "", "ready"),
            ("cancel", "canceled B", "unavailable"),
            ("pay B 3:100", "late paid by 3 B", "unavailable"),
            ("cancel", "no: the order B is paid", "unavailable"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Paid);
}

#[test]
fn an_orders_own_policy_goes_before_the_accounts() {
    story(
        LatePayment::Report,
        &[
            ("push A 100 late accept", "ready A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("pay A 1:100", "late paid by 1 A", "unavailable"),
        ],
    );
}

#[test]
fn a_second_payment_goes_back_unless_the_policy_is_to_report() {
    for (policy, word, goes) in [
        (LatePayment::Report, "report", false),
        (LatePayment::Refund, "refund", true),
        (LatePayment::Accept, "refund", true),
    ] {
        let back = |what: &str| if goes { format!(", back {what}") } else { String::new() };
        let second = format!("{word} excess 100.00 2 A{}", back("2:100.00 A"));
        let both = format!("paid by 3 B, {word} excess 100.00 4 B{}", back("4:100.00 B"));
        let large = format!("paid by 5 C, {word} excess 50.00 5 C{}", back("5:50.00 C"));
        story(
            policy,
            &[
                ("push A 100", "ready A", "ready"),
                ("pay A 1:100", "paid by 1 A", "unavailable"),
                ("pay A 1:100 2:100", &second, "unavailable"),
                ("push B 100", "ready B", "ready"),
                ("pay B 4:100 3:100", &both, "unavailable"),
                ("push C 100", "ready C", "ready"),
                ("pay C 5:150", &large, "unavailable"),
            ],
        );
    }
}

#[test]
fn short_payments_add_up() {
    story(
        LatePayment::Refund,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:40", "partial 1 A", "ready"),
            ("pay A 1:40", "", "ready"),
            (
                "pay A 1:40 2:70",
                "paid by 1+2 A, refund excess 10.00 2 A, back 2:10.00 A",
                "unavailable",
            ),
        ],
    );
}

/// A list of payments that names one twice once paid an order with half of the money.
#[test]
fn a_payment_that_is_told_twice_counts_once() {
    story(
        LatePayment::Report,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:50 1:50", "partial 1 A", "ready"),
            ("pay A 1:50 2:50 2:50", "paid by 1+2 A", "unavailable"),
        ],
    );
}

/// A sum of two currencies cannot be made; that once counted as a sum that is enough.
#[test]
fn money_of_another_currency_never_counts() {
    story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("pay A 1:100BRL", "", "ready"),
            ("pay A 1:100BRL 2:60", "partial 2 A", "ready"),
            ("cancel", "canceled A, report late 2 A", "unavailable"),
            ("pay A 1:100BRL", "", "unavailable"),
        ],
    );
}

#[test]
fn amounts_whose_sum_cannot_be_written_still_pay() {
    story(
        LatePayment::Refund,
        &[
            ("push A 999999999999", "ready A", "ready"),
            ("pay A 1:600000000000", "partial 1 A", "ready"),
            (
                "pay A 1:600000000000 2:600000000000",
                "paid by 1+2 A, refund excess 200000000001.00 2 A, back 2:200000000001.00 A",
                "unavailable",
            ),
        ],
    );
}

#[test]
fn short_money_is_late_money_at_every_end() {
    for (policy, word) in [
        (LatePayment::Report, "report"),
        (LatePayment::Refund, "refund"),
        (LatePayment::Accept, "report"),
    ] {
        let back = |what: &str| match policy {
            LatePayment::Refund => format!(", back {what}"),
            LatePayment::Report | LatePayment::Accept => String::new(),
        };
        let canceled = format!("canceled A, {word} late 1 A{}", back("1:40.00 A"));
        let expired = format!("expired B, {word} late 2 B{}", back("2:40.00 B"));
        let replaced = format!("replaced C, {word} late 3 C{}, ready D", back("3:40.00 C"));
        story(
            policy,
            &[
                ("push A 100", "ready A", "ready"),
                ("pay A 1:40", "partial 1 A", "ready"),
                ("cancel", &canceled, "unavailable"),
                ("push B 100", "ready B", "ready"),
                ("pay B 2:40", "partial 2 B", "ready"),
                ("expire B", &expired, "unavailable"),
                ("push C 100", "ready C", "ready"),
                ("pay C 3:40", "partial 3 C", "ready"),
                ("push D 100 replace", &replaced, "ready"),
            ],
        );
    }
}

#[test]
fn late_money_that_completes_short_money_is_accepted() {
    story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("expire A", "expired A", "unavailable"),
            ("pay A 1:40", "report late 1 A", "unavailable"),
            ("pay A 1:40 2:60", "late paid by 1+2 A", "unavailable"),
        ],
    );
}

#[test]
fn the_product_of_a_paid_order_is_reported_once() {
    let not_paid = |status| format!("no: the order is {status}, not paid");
    story(
        LatePayment::Report,
        &[
            ("dispensed A", "no: there is no such order", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("dispensed A", &not_paid("ready"), "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            (
                "failed A amount 100.01",
                "no: amount must be at most the order's 100.00",
                "unavailable",
            ),
            ("failed A amount 0", "no: amount must be more than zero", "unavailable"),
            ("failed A amount -1", "no: amount must not be negative", "unavailable"),
            (
                "failed A amount 40 because jam",
                "failed 40.00 A, back 1:40.00 A",
                "unavailable",
            ),
            ("failed A amount 40.00 because jam", "", "unavailable"),
            (
                "failed A because jam",
                "no: another delivery was reported for this order",
                "unavailable",
            ),
            (
                "dispensed A",
                "no: another delivery was reported for this order",
                "unavailable",
            ),
            ("push B 100", "ready B", "ready"),
            ("expire B", "expired B", "unavailable"),
            ("failed B", &not_paid("expired"), "unavailable"),
        ],
    );
}

#[test]
fn a_pos_is_registered_changed_and_removed() {
    story(
        LatePayment::Report,
        &[
            ("register", "", "unavailable"),
            ("register keys 1", "changed", "unavailable"),
            (
                "Q: register keys 1",
                "no: the point of sale P has these keys",
                "invalid",
            ),
            ("Q: register keys 2", "registered", "unavailable"),
            (
                "Q: register keys 1",
                "no: the point of sale P has these keys",
                "unavailable",
            ),
            ("push A 100", "ready A", "ready"),
            (
                "register keys 3",
                "no: the order A is open on this point of sale",
                "ready",
            ),
            ("register keys 1 named Pump", "changed", "ready"),
            (
                "register keys 1 require_lease",
                "no: the order A is open on this point of sale",
                "ready",
            ),
            ("remove", "no: the order A is open on this point of sale", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("remove", "removed", "invalid"),
            ("remove", "no: there is no such point of sale", "invalid"),
            ("say in_process", "no: there is no such point of sale", "invalid"),
            ("push B 100", "no: there is no such point of sale", "invalid"),
            ("Q: register keys 1", "changed", "unavailable"),
            ("register", "registered", "unavailable"),
            ("push A 100", "", "unavailable"),
        ],
    );
}

#[test]
fn an_order_outlives_the_registration_of_its_pos() {
    let world = story(
        LatePayment::Accept,
        &[
            ("push A 100", "ready A", "ready"),
            ("cancel", "canceled A", "unavailable"),
            ("remove", "removed", "invalid"),
            ("pay A 1:100", "late paid by 1 A", "invalid"),
            ("dispensed A", "dispensed A", "invalid"),
            ("pay B 2:100", "no: there is no such order", "invalid"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Paid);
}

#[test]
fn an_order_that_we_put_at_mercado_pago_is_on_its_way_first() {
    let world = story(
        LatePayment::Report,
        &[
            ("register attended", "changed", "unavailable"),
            ("push A 100", "sending A", "ready"),
            ("push A 100", "", "ready"),
            ("sent A", "sent A", "ready"),
            ("sent A", "", "ready"),
            ("reject A late", "", "ready"),
            ("pay A 1:100", "paid by 1 A", "unavailable"),
            ("sent A", "", "unavailable"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Paid);
}

#[test]
fn what_mercado_pago_does_not_take_has_ended() {
    let world = story(
        LatePayment::Refund,
        &[
            ("register intent", "changed", "unavailable"),
            ("push A 100", "sending A", "ready"),
            ("reject A unknown_pos", "refused for unknown_pos A", "unavailable"),
            ("push A 100", "", "unavailable"),
            ("cancel", "no: no order is open on this point of sale", "unavailable"),
            ("pay A 1:100", "refund late 1 A, back 1:100.00 A", "unavailable"),
            ("push B 100", "sending B", "ready"),
            ("sent B as i-1", "sent as i-1 B", "ready"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Rejected);
    let sent = world.order(&reference("B")).and_then(|order| order.posted.clone());
    let intent = sent.and_then(|posted| posted.intent).map(|id| id.to_string());
    assert_eq!(intent.as_deref(), Some("i-1"));
}

#[test]
fn a_cancel_is_asked_of_mercado_pago_first() {
    let world = story(
        LatePayment::Report,
        &[
            ("register attended", "changed", "unavailable"),
            ("push A 100", "sending A", "ready"),
            ("cancel paid_elsewhere", "canceling A", "ready"),
            ("cancel", "", "ready"),
            ("sent A", "sent A", "ready"),
            ("withdraw A", "paid_elsewhere A", "unavailable"),
            ("cancel", "", "unavailable"),
            ("push B 100", "sending B", "ready"),
            ("cancel", "canceling B", "ready"),
            ("pay B 1:100", "paid by 1 B", "unavailable"),
            ("withdraw B", "", "unavailable"),
            ("cancel", "no: the order B is paid", "unavailable"),
            ("push C 100", "sending C", "ready"),
            ("sent C", "sent C", "ready"),
            ("withdraw C there", "at_mercadopago C", "unavailable"),
            ("push D 100", "sending D", "ready"),
            ("cancel", "canceling D", "ready"),
            ("reject D gone", "canceled D", "unavailable"),
            ("push E 100", "sending E", "ready"),
            ("push F 100 replace", "replaced E, sending F", "ready"),
            ("expire F", "expired F", "unavailable"),
            ("sent F", "", "unavailable"),
            // What it is called must be known to take it off.
            ("sent F as i-6", "sent as i-6 F", "unavailable"),
            ("sent F as i-6", "", "unavailable"),
            ("push G 100", "sending G", "ready"),
            ("give-up G", "canceled G", "unavailable"),
            ("push H 100", "sending H", "ready"),
            ("sent H", "sent H", "ready"),
            ("give-up H", "", "ready"),
        ],
    );
    assert_eq!(status(&world, "A"), Status::Canceled);
    assert_eq!(status(&world, "D"), Status::Canceled);
}

#[test]
fn a_lease_changes_nothing_at_mercado_pago() {
    story(
        LatePayment::Report,
        &[
            ("register attended require_lease", "changed", "unavailable"),
            ("hold 30", "", "unavailable"),
            ("push A 100", "sending A", "ready"),
            ("lapse", "", "ready"),
            ("hold 30", "", "ready"),
        ],
    );
}

#[test]
fn an_order_needs_names_that_mercado_pago_takes() {
    let mut world = World::new(LatePayment::Report);
    let pump = pos_id("PUMP-4");
    for (asked, answer) in [
        ("register attended", "registered"),
        (
            "push A 100",
            "no: the point of sale has no external_id at Mercado Pago, and its own name is none there: register it with one",
        ),
    ] {
        let command = world.read(&pump, asked);
        let done = world.apply(&pump, &command);
        let said = done.map_or_else(|no| format!("no: {no}"), |events| events.iter().map(told).collect());
        assert_eq!(said, answer);
    }
}

#[test]
fn a_command_about_an_order_of_another_pos_is_refused() {
    story(
        LatePayment::Report,
        &[
            ("Q: register", "registered", "unavailable"),
            ("push A 100", "ready A", "ready"),
            ("Q: pay A 1:100", "no: there is no such order", "unavailable"),
            ("Q: expire A", "", "unavailable"),
            ("Q: shown A", "", "unavailable"),
            ("expire a", "expired A", "unavailable"),
        ],
    );
}

#[test]
fn an_order_is_for_the_account_of_its_pos() {
    let refused = "no: the point of sale was given to the account main while the order came in: push it again";
    story(
        LatePayment::Report,
        &[
            ("push A 100 of other", refused, "unavailable"),
            ("push A 100", "ready A", "ready"),
        ],
    );
}
