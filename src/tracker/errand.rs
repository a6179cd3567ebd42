//! Orders that we put at Mercado Pago: brought there, and taken off again.
//!
//! A POS has one place for an order there, so all that is done with that place goes one thing after the other. Nobody knows
//! how a call ended that was cut off: what may have been done is looked for before it is done again.
//!
//! An attended order can be asked for by its POS. An intent cannot: only the answer that makes it and the notification of its
//! end name it. So one whose answer was lost is asked for again once a search shows nothing of it, and Mercado Pago itself says
//! whether its place is free: 201 makes the only one that can be paid from then on, 409 leaves what is there. Whoever paid the
//! first one so lately that the search did not show it leaves the second to be taken off, as soon as that is seen.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::sleep;
use tracing::{debug, warn};
use uuid::Uuid;

use super::look::{Api, known};
use super::refund::key_named;
use super::{Failure, Tools};
use crate::domain::command::Command;
use crate::domain::id::{ExternalPosId, ExternalStoreId, IntentId, PosId, Reference};
use crate::domain::order::{Order, Reason, Status};
use crate::domain::posted::{Posted, QrData, QrMode, Way};
use crate::limits;
use crate::log::OrderQuery;
use crate::mercadopago::{ApiError, Intent, IntentStatus, NewInstoreOrder, NewIntent};

/// Who works at the place of a POS. Others wait.
#[derive(Default)]
pub(super) struct Lanes(RefCell<HashMap<PosId, Arc<Mutex<()>>>>);

pub(super) struct Lane<'a> {
    lanes: &'a Lanes,
    pos: PosId,
    mutex: Arc<Mutex<()>>,
    _guard: OwnedMutexGuard<()>,
}

impl Lanes {
    pub(super) async fn enter(&self, pos: &PosId) -> Lane<'_> {
        let mutex = self.0.borrow_mut().entry(pos.clone()).or_default().clone();
        let guard = mutex.clone().lock_owned().await;
        Lane {
            lanes: self,
            pos: pos.clone(),
            mutex,
            _guard: guard,
        }
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // The map's, ours and the guard's: nobody else waits.
        if Arc::strong_count(&self.mutex) == 3 {
            self.lanes.0.borrow_mut().remove(&self.pos);
        }
    }
}

/// What became of an order that was to be brought there.
enum Sent {
    There {
        intent: Option<IntentId>,
        qr_data: Option<QrData>,
    },
    Refused(Reason),
}

/// What is known of an order that is to be brought there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nobody has asked for it yet.
    Nothing,
    /// It was asked for, and how that ended is not known.
    Tried,
    There,
}

/// Finds out whether an order is there that may be. If it is gone, it may be because it was paid: a search that is made
/// when this returns would show that.
pub(super) async fn find(api: &Api<'_>, order: &Order, _lane: &Lane<'_>) -> Result<Before, Failure> {
    let Some(Way::Attended { pos, .. }) = order.posted.as_deref().map(|posted| &posted.way) else {
        return Ok(Before::Tried);
    };
    if is_there(api, order, pos).await? {
        return Ok(Before::There);
    }
    sleep(limits::SEARCH_BEHIND).await;
    Ok(Before::Tried)
}

/// Brings an order there, unless it has ended meanwhile. What was looked for before must have been within this lane.
pub(super) async fn send(
    tools: &Tools,
    api: &Api<'_>,
    order: Arc<Order>,
    before: Before,
    _lane: Lane<'_>,
) -> Result<Arc<Order>, Failure> {
    let Some(posted) = order.posted.as_deref() else {
        return Ok(order);
    };
    if !tools.is_open(&order) || order.expires_at <= tools.clock.now().at {
        return Ok(order);
    }
    let sent = match &posted.way {
        Way::Attended { .. } if before == Before::There => Sent::There {
            intent: None,
            qr_data: None,
        },
        Way::Attended { pos, store } => put(tools, api, &order, pos, store).await?,
        Way::Intent { pos } => create(tools, api, &order, pos, before).await?,
    };
    let reference = order.reference.clone();
    let there = matches!(sent, Sent::There { .. });
    let command = match sent {
        Sent::There { intent, qr_data } => Command::Sent {
            reference,
            intent,
            qr_data,
        },
        Sent::Refused(why) => Command::Rejected { reference, why },
    };
    let applied = tools.engine.submit(order.pos.clone(), command).await?;
    let after = applied.order.unwrap_or(order);
    // It ended while it was brought there. If it cannot be taken off now, the next look does it.
    if let Some(posted) = after.posted.as_deref().filter(|_| there && !after.status.is_open())
        && let Err(failure) = remove(tools, api, &after, posted).await
    {
        debug!(reference = %after.reference, %failure, "it has ended, and is not off yet");
    }
    Ok(after)
}

async fn put(
    tools: &Tools,
    api: &Api<'_>,
    order: &Order,
    pos: &ExternalPosId,
    store: &ExternalStoreId,
) -> Result<Sent, Failure> {
    let (title, description) = names(order);
    let new = NewInstoreOrder {
        external_reference: &order.reference,
        title,
        description,
        notification_url: order.payee.notification_url.as_deref(),
        expires_at: order.expires_at,
        items: &order.content.items,
        sponsor_id: order.payee.sponsor_id,
        taxes: order.content.taxes,
    };
    let put = api
        .client
        .put_order(api.token, order.payee.collector_id, store, pos, &new);
    match api.errand(put).await {
        Ok(()) => Ok(Sent::There {
            intent: None,
            qr_data: None,
        }),
        Err(error) => refused(tools, order, error),
    }
}

fn names(order: &Order) -> (&str, &str) {
    let first = order.content.items.first();
    (first.title.as_str(), first.description.as_str())
}

async fn create(
    tools: &Tools,
    api: &Api<'_>,
    order: &Order,
    pos: &ExternalPosId,
    before: Before,
) -> Result<Sent, Failure> {
    let (_, description) = names(order);
    let new = NewIntent {
        external_reference: &order.reference,
        description,
        items: &order.content.items,
        sponsor_id: order.payee.sponsor_id,
        qr: order.content.qr,
    };
    let make = || api.client.create_intent(api.token, pos, &new, key(order));
    let mut made = api.errand(make()).await;
    let mut is_clear = false;
    if is_queued(&made) {
        is_clear = clear(tools, api, order).await?;
        made = api.errand(make()).await;
    }
    let unnamed = || Sent::There {
        intent: None,
        qr_data: None,
    };
    match made {
        Ok(intent) => Ok(there(intent)),
        Err(error) if before == Before::Tried && has_status(&error, 409) => {
            // An earlier one may be there; and a code that nobody knows shows nothing. Time will tell.
            if !is_clear || order.content.qr == QrMode::Dynamic {
                return Err(error.into());
            }
            warn!(reference = %order.reference, %error, "the intent must be there since an earlier try: its name is not known");
            Ok(unnamed())
        }
        Err(ApiError::Nonsense { what }) => {
            warn!(reference = %order.reference, %what, "the intent is there, but its name is not known");
            Ok(unnamed())
        }
        Err(error) => refused(tools, order, error),
    }
}

fn there(intent: Intent) -> Sent {
    Sent::There {
        qr_data: intent.qr_data.as_deref().and_then(|text| QrData::parse(text).ok()),
        intent: Some(intent.id),
    }
}

/// Another intent is in the place.
fn is_queued(made: &Result<Intent, ApiError>) -> bool {
    matches!(made, Err(error) if has_status(error, 409))
}

fn has_status(error: &ApiError, status: u16) -> bool {
    error.complaint().is_some_and(|complaint| complaint.status == status)
}

/// Takes the earlier order off that may be in the place; whether none can be there any more.
///
/// When an intent was made that has a name, its place was free: all before it were over. Of those that came after it and have
/// none, one may be there, but for what Mercado Pago refused.
async fn clear(tools: &Tools, api: &Api<'_>, order: &Order) -> Result<bool, Failure> {
    let query = OrderQuery {
        of: order.pos.clone().into(),
        status: None,
        since: None,
        cursor: None,
        limit: limits::EARLIER_ORDERS + 1,
    };
    let page = tools.engine.caught_up().await?.orders(query).await?;
    let mut is_clear = true;
    for earlier in page
        .orders
        .iter()
        .filter(|other| !other.reference.same(&order.reference))
    {
        let Some(posted) = &earlier.posted else { continue };
        if let (Way::Intent { .. }, Some(id)) = (&posted.way, &posted.intent) {
            let is_off = !is_opened(api, id).await? || cancel_intent(api, id).await? == Left::Gone;
            return Ok(is_clear && is_off);
        }
        is_clear &= earlier.status == Status::Rejected;
    }
    Ok(is_clear && page.next.is_none())
}

/// A refusal for good is an outcome; anything else is to be tried again. A link brings another token for one that is
/// refused.
fn refused(tools: &Tools, order: &Order, error: ApiError) -> Result<Sent, Failure> {
    let account = tools.accounts.get(&order.account);
    let is_linked = account.is_some_and(|account| account.oauth.is_some());
    if error.may_pass() || (is_linked && has_status(&error, 401)) {
        return Err(error.into());
    }
    let said = error.complaint().map_or_else(|| error.to_string(), ToString::to_string);
    let unsaid = || Reason::tamed("Mercado Pago refused it").expect("plain text");
    Ok(Sent::Refused(Reason::tamed(&said).unwrap_or_else(unsaid)))
}

/// How an order is at Mercado Pago after it was to be taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// It cannot be paid any more, but by who has begun to.
    Gone,
    /// It was there and is not any more, though we did not take it off.
    Vanished,
    /// That is not known: its name is not, or Mercado Pago says that it goes on.
    Unknown,
}

/// Takes an order off. Another one of ours that came into its place stays.
pub(super) async fn take_off(tools: &Tools, api: &Api<'_>, order: &Order, posted: &Posted) -> Result<Left, Failure> {
    let _lane = tools.lanes.enter(&order.pos).await;
    remove(tools, api, order, posted).await
}

async fn remove(tools: &Tools, api: &Api<'_>, order: &Order, posted: &Posted) -> Result<Left, Failure> {
    match &posted.way {
        Way::Attended { pos, .. } => {
            let collector = order.payee.collector_id;
            if tools.is_open(order) {
                let was_there = api.errand(api.client.delete_order(api.token, collector, pos)).await?;
                if !was_there && order.status == Status::Ready {
                    return Ok(Left::Vanished);
                }
            } else if tools.has_open(&order.pos) {
                // That one comes into its place; if it does not, this one is there still.
                return Ok(Left::Unknown);
            } else if is_over(tools, api, order, pos).await? {
                debug!(reference = %order.reference, "the order has ended and is still there: it is taken off");
                api.errand(api.client.delete_order(api.token, collector, pos)).await?;
            }
            Ok(Left::Gone)
        }
        Way::Intent { .. } => match &posted.intent {
            // Most that have ended are over: reading tells.
            Some(id) if !tools.is_open(order) && !is_opened(api, id).await? => Ok(Left::Gone),
            Some(id) => cancel_intent(api, id).await,
            // Its code was in the answer that was lost: nobody can show it.
            None if order.content.qr == QrMode::Dynamic => Ok(Left::Gone),
            None => Ok(Left::Unknown),
        },
    }
}

/// Whether what is there is this order.
async fn is_there(api: &Api<'_>, order: &Order, pos: &ExternalPosId) -> Result<bool, ApiError> {
    let named = named_there(api, order, pos).await?;
    Ok(named.is_some_and(|named| named.same(&order.reference)))
}

/// Whether what is there is an order of this POS that has ended: this one, or one that it was to replace.
async fn is_over(tools: &Tools, api: &Api<'_>, order: &Order, pos: &ExternalPosId) -> Result<bool, Failure> {
    let Some(named) = named_there(api, order, pos).await? else {
        return Ok(false);
    };
    let there = tools.engine.reader().order(named).await?;
    Ok(there.is_some_and(|there| there.pos == order.pos && !there.status.is_open()))
}

async fn named_there(api: &Api<'_>, order: &Order, pos: &ExternalPosId) -> Result<Option<Reference>, ApiError> {
    let there = api
        .errand(api.client.order(api.token, order.payee.collector_id, pos))
        .await?;
    let named = there.and_then(|there| there.external_reference);
    Ok(named.and_then(|named| Reference::parse(&named).ok()))
}

/// How an intent that is over answers is not documented: then it is read.
async fn cancel_intent(api: &Api<'_>, id: &IntentId) -> Result<Left, Failure> {
    match api.errand(api.client.cancel_intent(api.token, id)).await {
        Ok(()) => Ok(Left::Gone),
        Err(error) if error.may_pass() => Err(error.into()),
        Err(error) => {
            debug!(intent = %id, %error, "the intent cannot be canceled");
            Ok(if is_opened(api, id).await? {
                Left::Unknown
            } else {
                Left::Gone
            })
        }
    }
}

/// Whether it can be paid still.
async fn is_opened(api: &Api<'_>, id: &IntentId) -> Result<bool, ApiError> {
    let intent = known(api.errand(api.client.intent(api.token, id)).await)?;
    let is_over = |status| {
        matches!(
            status,
            IntentStatus::Canceled | IntentStatus::Expired | IntentStatus::Closed
        )
    };
    Ok(intent.is_some_and(|intent| !is_over(intent.status)))
}

/// One for each order: a reference that is counted anew after a new start with an empty folder must not meet an old one.
fn key(order: &Order) -> Uuid {
    let Order {
        reference,
        pos,
        created_at,
        ..
    } = order;
    let amount = order.amount();
    key_named(&format!("surtidor intent {reference} {pos} {} {amount}", created_at.0))
}

impl Tools {
    fn open(&self, pos: &PosId) -> Option<Arc<Order>> {
        self.engine.pos(pos)?.pos.open.clone()
    }

    fn has_open(&self, pos: &PosId) -> bool {
        self.open(pos).is_some()
    }

    fn is_open(&self, order: &Order) -> bool {
        self.open(&order.pos)
            .is_some_and(|open| open.reference.same(&order.reference))
    }
}

impl Order {
    /// Whether it may have been put at Mercado Pago and may be there still, although nobody is to pay it.
    pub(super) fn may_linger(&self) -> bool {
        self.posted.is_some() && !self.status.is_open()
    }
}
