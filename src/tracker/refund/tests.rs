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
