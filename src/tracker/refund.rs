//! One refund, until Mercado Pago has made it. It is asked for under a key of its own, always the same; and before it is
//! asked for again Mercado Pago is asked what it made of it, since nobody says for how long a key is remembered.

use ring::digest;
use uuid::Uuid;

use super::look::Api;
use crate::domain::id::Timestamp;
use crate::domain::order::{Order, Reason};
use crate::domain::payment::{Refund, RefundState};
use crate::limits;
use crate::mercadopago::{self, ApiError, RefundStatus};

/// Codes of a payment that has nothing left to give back (`protocol.md` 7).
const ALREADY: [&str; 2] = ["4296", "2063"];

/// Codes that say that this refund cannot be made, under whichever status they come.
const IMPOSSIBLE: [&str; 13] = [
    "2024", "2032", "2085", "3024", "4040", "4041", "4211", "4248", "4291", "4293", "4294", "4295", "15016",
];

/// What became of it. `Requested`: nothing yet, it is to be pursued later. `tried`: it may have been asked for before.
pub(super) async fn pursue(
    api: &Api<'_>,
    order: &Order,
    refund: &Refund,
    tried: bool,
) -> Result<RefundState, ApiError> {
    if tried && let Some(made) = find(api, order, refund).await? {
        return Ok(state_of(&made));
    }
    let whole = order.payments.iter().any(|paid| {
        let alone = order.given_back(paid.id) == Some(refund.amount) && paid.reversed.is_none();
        paid.id == refund.payment && paid.amount == refund.amount && alone
    });
    let amount = (!whole).then_some(refund.amount);
    let asked = api
        .client
        .create_refund(api.token, refund.payment, amount, key(order, refund));
    match api.ask(asked).await {
        Ok(made) => Ok(state_of(&made)),
        Err(error) if ALREADY.iter().any(|code| error.has_code(code)) => {
            let made = find(api, order, refund).await?;
            Ok(made.map_or_else(|| failed(&error.to_string()), |made| state_of(&made)))
        }
        Err(error) if is_final(&error) => Ok(failed(&error.to_string())),
        Err(error) => Err(error),
    }
}

/// What Mercado Pago has made of it.
async fn find(api: &Api<'_>, order: &Order, refund: &Refund) -> Result<Option<mercadopago::Refund>, ApiError> {
    let all = api.ask(api.client.refunds(api.token, refund.payment)).await?;
    Ok(own(order, refund, all))
}

/// The one at Mercado Pago that must be this one: of its amount, not older than it, and no other of ours. One that was
/// refused may be that of an earlier try of ours, which had the same amount and failed: as many as there are of those are
/// theirs, and one that was not refused goes first. Else money that went back would be told not to have.
fn own(order: &Order, refund: &Refund, all: Vec<mercadopago::Refund>) -> Option<mercadopago::Refund> {
    let apart = limits::CLOCKS_APART.as_millis() as i64;
    let oldest = Timestamp(refund.requested_at.0.saturating_sub(apart));
    let is_ours = |made: &mercadopago::Refund| {
        let mut known = order.refunds.iter();
        known.any(|known| known.state == RefundState::Done(made.id))
    };
    let mut fitting: Vec<_> = all
        .into_iter()
        .filter(|made| made.amount == Some(refund.amount.amount()))
        .filter(|made| made.date_created.is_none_or(|at| at >= oldest) && !is_ours(made))
        .collect();
    fitting.sort_by_key(|made| made.id);
    let failed = order.refunds.iter().filter(|known| {
        let is_alike = known.payment == refund.payment && known.amount == refund.amount;
        is_alike && matches!(known.state, RefundState::Failed(_))
    });
    let failed = failed.count();
    let (refused, mut others): (Vec<_>, Vec<_>) = fitting.into_iter().partition(is_refused);
    if others.is_empty() {
        return refused.into_iter().nth(failed);
    }
    Some(others.swap_remove(0))
}

fn is_refused(made: &mercadopago::Refund) -> bool {
    matches!(made.status, RefundStatus::Rejected | RefundStatus::Cancelled)
}

fn state_of(made: &mercadopago::Refund) -> RefundState {
    match &made.status {
        RefundStatus::Approved => RefundState::Done(made.id),
        _ if is_refused(made) => failed(made.reason.as_deref().unwrap_or("Mercado Pago rejected it")),
        // Not done: it is read again.
        _ => RefundState::Requested,
    }
}

fn failed(why: &str) -> RefundState {
    let unsaid = || Reason::tamed("Mercado Pago refused it").expect("plain text");
    RefundState::Failed(Reason::tamed(why).unwrap_or_else(unsaid))
}

/// A refusal that another try will not change. A key that is in use, or a token that is not good now, may be.
fn is_final(error: &ApiError) -> bool {
    match error {
        error if IMPOSSIBLE.iter().any(|code| error.has_code(code)) => true,
        ApiError::Refused(complaint) => complaint.status != 409 && !error.may_pass(),
        ApiError::NotFound(_) => true,
        _ => false,
    }
}

/// Made of what the refund is: a reference that is counted anew after a new start with an empty folder must not meet an
/// old key.
fn key(order: &Order, refund: &Refund) -> Uuid {
    let name = format!(
        "surtidor refund {} {} {} {}",
        order.reference, refund.number, refund.payment, refund.amount
    );
    key_named(&name)
}

/// The same for the same words.
pub(super) fn key_named(words: &str) -> Uuid {
    let digest = digest::digest(&digest::SHA256, words.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests;
