//! The machines by themselves: what is done to them, what they are told, and the calls that follow.

use super::*;

/// The calls among the jobs, as a line each.
fn calls(jobs: &[Job]) -> Vec<String> {
    let line = |job: &Job| match job {
        Job::Call(call) => format!(
            "{} {} {}",
            call.method,
            call.target,
            call.body.as_deref().unwrap_or_default()
        ),
        Job::Move => "move".to_owned(),
    };
    jobs.iter().map(line).collect()
}

fn told(machine: &mut Machine, kind: &str) -> Vec<String> {
    let reference = machine.sale.as_ref().map(|sale| sale.reference.clone());
    let event = json!({ "type": kind, "external_reference": reference, "amount": "9.50", "currency_id": "ARS",
        "refunds": [{ "amount": "4.00" }], "excess": "3.00" });
    calls(&machine.heard(&event))
}

#[test]
fn a_tank_is_filled_asked_for_and_paid() {
    let mut pump = Machine::new(Kind::Pump);
    assert_eq!(pump.hang_up(), Err(NotNow));
    let jobs = pump.lift().expect("it is free");
    assert!(calls(&jobs)[0].starts_with("PUT /v1/pos/PUMP4/state "), "{jobs:?}");
    assert_eq!(pump.lift(), Err(NotNow));
    (0..100).for_each(|_| assert!(pump.tick()));
    assert_eq!((pump.litres(), pump.counted()), ("21.00".into(), "31290.00".into()));
    let jobs = pump.hang_up().expect("it was filling");
    assert_eq!(
        calls(&jobs),
        [
            "PUT /v1/pos/PUMP4/order {\"expires_in_seconds\":300,\"external_reference\":\"PUMP4-0001\",\"items\":[{\
             \"description\":\"Surtidor 4\",\"quantity\":1,\"title\":\"SUPER 21.00 L\",\"unit_price\":\"31290.00\"}]}"
        ]
    );
    assert!(!pump.tick(), "nothing flows any more");
    assert_eq!(pump.cancel(), Err(NotNow), "it is not on the server yet");
    assert!(told(&mut pump, "order_ready").is_empty());
    assert_eq!(pump.phase, Phase::Asking);
    told(&mut pump, "order_shown");
    let sale = pump.sale.as_ref().expect("one");
    assert!(
        sale.shown && sale.amount.as_deref() == Some("9.50"),
        "the amount is the server's"
    );
    assert_eq!(told(&mut pump, "order_paid"), ["move"]);
    assert!(!pump.next(), "not before it has said thanks");
    assert_eq!(
        calls(&pump.moved()),
        [
            "PUT /v1/orders/PUMP4-0001/delivery {\"result\":\"dispensed\"}",
            "GET /v1/orders/PUMP4-0001/receipt?width=32 "
        ]
    );
    assert!(pump.moved().is_empty());
    pump.answered(&What::Receipt("PUMP4-0001".into()), Ok("GRACIAS"));
    assert_eq!(
        pump.sale.as_ref().and_then(|sale| sale.receipt.as_deref()),
        Some("GRACIAS")
    );
    assert_eq!(pump.phase, Phase::Thanks);
    pump.lift().expect("the next customer");
    assert!(pump.litres() == "0.00" && pump.sale.is_none());
}

#[test]
fn a_tank_has_an_end_and_nothing_costs_nothing() {
    let mut pump = Machine::new(Kind::Pump);
    pump.lift().expect("it is free");
    let jobs = pump.hang_up().expect("it was out");
    assert_eq!(calls(&jobs), ["PUT /v1/pos/PUMP4/state {\"state\":\"unavailable\"}"]);
    assert_eq!(pump.phase, Phase::Idle);
    pump.lift().expect("it is free again");
    while pump.tick() {}
    assert!((TANK..TANK + FLOW).contains(&pump.volume));
}

#[test]
fn what_is_stuck_is_reported_and_the_money_goes_back() {
    let mut vending = Machine::new(Kind::Vending);
    assert_eq!(vending.choose("Z9"), Err(NotNow));
    assert_eq!(vending.lift(), Err(NotNow), "it has no nozzle");
    vending.jammed = true;
    vending.choose("A1").expect("it is free");
    assert_eq!(vending.choose("A2"), Err(NotNow));
    told(&mut vending, "order_ready");
    told(&mut vending, "order_paid");
    let jobs = vending.moved();
    assert!(calls(&jobs)[0].contains("\"result\":\"failed\""), "{jobs:?}");
    assert_eq!((vending.phase, vending.jammed), (Phase::NotDelivered, false));
    told(&mut vending, "refund_requested");
    assert_eq!(
        told(&mut vending, "refund_done"),
        ["GET /v1/orders/VEND1-0001/receipt?width=32 "]
    );
    let news = &vending.sale.as_ref().expect("one").news;
    assert_eq!(news.last().and_then(|news| news.amount.as_deref()), Some("4.00"));
}

#[test]
fn a_canceled_order_frees_the_machine_and_an_old_one_is_history() {
    let mut vending = Machine::new(Kind::Vending);
    vending.choose("B2").expect("it is free");
    told(&mut vending, "order_ready");
    let jobs = vending.cancel().expect("it is open");
    assert_eq!(calls(&jobs), ["DELETE /v1/pos/VEND1/order?reason=paid_elsewhere "]);
    told(&mut vending, "order_canceled");
    assert_eq!(vending.phase, Phase::Canceled);
    let old = json!({ "type": "refund_done", "external_reference": "VEND1-0001" });
    vending.choose("B1").expect("it is free");
    assert!(vending.heard(&old).is_empty());
    assert!(vending.heard(&json!({ "type": "scanned", "pos": "VEND1" })).is_empty());
    assert_eq!(vending.phase, Phase::Sending);
}

#[test]
fn in_each_mode_the_calls_are_the_same() {
    for mode in [Mode::Attended, Mode::Intent] {
        let mut vending = Machine::new(Kind::Vending);
        let told_of = calls(&vending.switch(mode).expect("it is free"));
        assert!(
            told_of[0].starts_with("PUT /v1/pos/VEND1 ") && told_of[0].contains("\"external_store_id\":\"6232\""),
            "{told_of:?}"
        );
        let jobs = calls(&vending.choose("B2").expect("it is free"));
        assert!(jobs[0].starts_with("PUT /v1/pos/VEND1/order "), "{jobs:?}");
        assert_eq!(jobs[0].contains("\"qr\":\"both\""), mode == Mode::Intent);
        told(&mut vending, "order_sending");
        assert_eq!(vending.phase, Phase::Sending);
        assert_eq!(vending.switch(Mode::Unattended), Err(NotNow));
        let sent = json!({ "type": "order_sent", "external_reference": "VEND1-0001", "qr_data": "0002" });
        vending.heard(&sent);
        assert_eq!(vending.phase, Phase::Asking);
        let own = vending.sale.as_ref().and_then(|sale| sale.qr_data.as_deref());
        assert_eq!(own, Some("0002"));
        vending.cancel().expect("it is open");
        told(&mut vending, "order_canceling");
        assert_eq!((vending.phase, vending.next()), (Phase::Canceling, false));
        // It was paid meanwhile.
        assert_eq!(told(&mut vending, "order_paid"), ["move"]);
        vending.moved();
        vending.switch(Mode::Unattended).expect("it is free again");
        assert_eq!(vending.phase, Phase::Idle);
    }
}

#[test]
fn what_mercado_pago_does_not_take_is_shown_in_its_words() {
    let mut vending = Machine::new(Kind::Vending);
    vending.switch(Mode::Attended).expect("it is free");
    vending.choose("B2").expect("it is free");
    let event = json!({ "type": "order_rejected", "external_reference": "VEND1-0001", "reason": "404: no such POS" });
    vending.heard(&event);
    assert_eq!(vending.phase, Phase::Refused);
    let problem = vending.sale.as_ref().and_then(|sale| sale.problem.as_deref());
    assert_eq!(problem, Some("Mercado Pago did not take the order: 404: no such POS"));
    assert!(vending.next());
}

#[test]
fn a_push_that_is_refused_is_shown() {
    let mut vending = Machine::new(Kind::Vending);
    vending.choose("B2").expect("it is free");
    vending.answered(&What::Push, Err("keys are wrong"));
    assert_eq!(vending.phase, Phase::Refused);
    assert!(vending.next());
}

#[test]
fn every_product_has_a_price_and_a_slot_of_its_own() {
    for (at, product) in PRODUCTS.iter().enumerate() {
        assert!(product.price.ends_with(".00"));
        assert!(PRODUCTS.iter().skip(at + 1).all(|other| other.slot != product.slot));
    }
}
