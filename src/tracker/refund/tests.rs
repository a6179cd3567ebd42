use super::*;
use crate::domain::money::{Currency, Money};
use crate::domain::payment::Cause;
use crate::tracker::verdict::tests::order;

fn refund(number: u32, payment: u64, amount: &str) -> Refund {
    Refund {
        number,
        payment,
        amount: Money::parse(amount, Currency::Ars).expect("an amount"),
        cause: Cause::Late,
        requested_at: Timestamp(0),
        state: RefundState::Requested,
    }
}

#[test]
fn each_refund_has_a_key_of_its_own_and_always_the_same() {
    let order = order();
    let first = key(&order, &refund(1, 7, "10"));
    assert_eq!(first, key(&order, &refund(1, 7, "10.00")));
    // Under one key Mercado Pago would make the second one of two equal refunds never, and say that it did.
    for other in [refund(2, 7, "10"), refund(1, 8, "10"), refund(1, 7, "11")] {
        assert_ne!(first, key(&order, &other), "{other:?}");
    }
    let elsewhere = Order {
        reference: crate::domain::id::Reference::parse("T-2").expect("a reference"),
        ..order.clone()
    };
    assert_ne!(first, key(&elsewhere, &refund(1, 7, "10")));
}

#[test]
fn a_refusal_is_final_by_its_code_and_not_by_its_status() {
    let complaint = |status, code: &str| {
        Box::new(mercadopago::Complaint {
            status,
            error: None,
            message: None,
            causes: vec![mercadopago::Cause {
                code: Some(code.into()),
                description: None,
            }],
        })
    };
    assert!(is_final(&ApiError::Unauthorized(complaint(401, "4040"))));
    assert!(
        !is_final(&ApiError::Unauthorized(complaint(401, "401"))),
        "a token can be mended"
    );
    assert!(is_final(&ApiError::Refused(complaint(400, "1"))));
    assert!(!is_final(&ApiError::Refused(complaint(409, "1"))), "the key is in use");
    assert!(!is_final(&ApiError::Unavailable(complaint(500, "1"))));
}

/// An earlier try of the same amount was refused a moment ago, and stands in the same list.
#[test]
fn what_was_refused_before_is_not_taken_for_the_next_try() {
    let made = |id, status| mercadopago::Refund {
        id,
        payment_id: Some(7),
        amount: Some("10".parse().expect("a decimal")),
        status,
        reason: None,
        date_created: Some(Timestamp(1)),
    };
    let state = |number, state| Refund {
        state,
        ..refund(number, 7, "10")
    };
    let failed = state(1, failed("no money"));
    let order = Order {
        refunds: vec![failed, refund(2, 7, "10")],
        ..order()
    };
    let found = |all: &[(u64, RefundStatus)]| {
        let all = all.iter().map(|(id, status)| made(*id, status.clone())).collect();
        own(&order, &refund(2, 7, "10"), all).map(|found| found.id)
    };
    use RefundStatus::{Approved, InProcess, Rejected};
    assert_eq!(found(&[(1, Rejected), (2, InProcess)]), Some(2));
    assert_eq!(found(&[(1, Rejected), (2, Approved)]), Some(2));
    assert_eq!(found(&[(1, Rejected)]), None, "this one never came there");
    assert_eq!(found(&[(2, Rejected), (1, Rejected)]), Some(2));
    let none_failed = Order {
        refunds: vec![refund(2, 7, "10")],
        ..order.clone()
    };
    let own = own(&none_failed, &refund(2, 7, "10"), vec![made(1, Rejected)]);
    assert_eq!(own.map(|own| own.id), Some(1), "and this one did");
}
