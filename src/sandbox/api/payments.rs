//! Payments and refunds (`protocol.md`, 5.5 and 7).

use rust_decimal::Decimal;

use super::{Answered, Call, Refusal, refusal};
use crate::sandbox::json::Json;
use crate::sandbox::order::{Payment, Refund, Status};
use crate::sandbox::phone;
use crate::sandbox::serve::Reply;
use crate::sandbox::world::{Before, Refused};

/// The caller's payment.
fn known(call: &Call<'_>) -> Result<Payment, Refusal> {
    let unknown = || refusal(404, "not_found", "Payment not found").coded(2000);
    let id: u64 = call.segment(2).parse().map_err(|_| unknown())?;
    let world = call.sim.world.borrow();
    let payment = world
        .payments
        .get(&id)
        .filter(|payment| payment.collector == call.account.collector);
    payment.cloned().ok_or_else(unknown)
}

pub fn get(call: &Call<'_>) -> Answered {
    Ok(Reply::Json(200, known(call)?.json()))
}

pub fn refunds(call: &Call<'_>) -> Answered {
    let refunds: Vec<Json> = known(call)?.refunds.iter().map(Refund::json).collect();
    Ok(Reply::Json(200, refunds.into()))
}

pub fn one_refund(call: &Call<'_>) -> Answered {
    let payment = known(call)?;
    let found = payment
        .refunds
        .iter()
        .find(|refund| refund.id.to_string() == call.segment(4));
    let found = found.ok_or_else(|| refusal(404, "not_found", "Refund not found").coded(2032))?;
    Ok(Reply::Json(200, found.json()))
}

pub fn refund(call: &Call<'_>) -> Answered {
    let key = call.header("x-idempotency-key").filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| refusal(404, "bad_request", "Header X-Idempotency-Key can't be null").coded(4292))?;
    let amount = amount(call)?;
    let payment = known(call)?;
    // Beyond this a key is noise; nobody's UUID is.
    if key.len() > 255 {
        return Err(refusal(400, "bad_request", "X-Idempotency-Key is too long"));
    }
    let before = call
        .sim
        .world
        .borrow()
        .asked_before(payment.id, amount, call.account.collector, key);
    match before {
        Some(Before::Same(refund)) => return Ok(Reply::Json(201, refund.json())),
        Some(Before::Other) => {
            return Err(refusal(
                409,
                "idempotency_key_already_used",
                "the key asked for something else before",
            ));
        }
        None => {}
    }
    if payment.status == Status::Refunded {
        return Err(refusal(404, "bad_request", "The payment is already refunded").coded(4296));
    }
    let made = call
        .sim
        .world
        .borrow_mut()
        .refund(payment.id, amount, Some(key), call.sim.now());
    let refund = made.map_err(|refused| impossible(&refused))?;
    phone::settled(call.sim, payment.id, "payment.updated");
    Ok(Reply::Json(201, refund.json()))
}

fn impossible(refused: &Refused) -> Refusal {
    refusal(400, "bad_request", &refused.to_string()).coded(2063)
}

/// None is all that is left.
fn amount(call: &Call<'_>) -> Result<Option<Decimal>, Refusal> {
    if !call.has_body() {
        return Ok(None);
    }
    let body = call.json("bad_request")?;
    match body.get("amount") {
        Json::Null => Ok(None),
        value => {
            let not_numeric = || refusal(401, "bad_request", "amount must be numeric").coded(4041);
            let amount = value.decimal().ok_or_else(not_numeric)?;
            if amount > Decimal::ZERO {
                Ok(Some(amount.normalize()))
            } else {
                Err(refusal(401, "bad_request", "amount must be positive").coded(4040))
            }
        }
    }
}
