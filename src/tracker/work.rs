//! One job each: a look at an order with what follows from it, the last look before it expires, and finding out which
//! order a notification is about.

use std::sync::Arc;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::board::{Ended, Job, Key, Untried, key_of};
use super::budget::Advance;
use super::errand::{Before, Left, find, send, take_off};
use super::look::{Api, IntentNow, known, look};
use super::{Done, Failure, Named, Tools, refund};
use crate::clock::Now;
use crate::config::Account;
use crate::domain::command::Command;
use crate::domain::hint::{Hint, Thing};
use crate::domain::id::{AccountId, Reference};
use crate::domain::order::{CancelReason, Order, Status};
use crate::domain::payment::{Findings, Refund, RefundState};
use crate::domain::pos::Mode;
use crate::domain::posted::Way;
use crate::engine::{Denied, Expiring, Link, Taken};
use crate::limits;

impl Tools {
    /// An account that may be asked about, with how to ask.
    fn api<'a>(&'a self, account: &'a Account, advance: Option<&'a Advance<'a>>, is_errand: bool) -> Option<Api<'a>> {
        Some(Api {
            client: &self.client,
            token: account.access_token.as_ref()?,
            budget: &self.budget,
            advance,
            is_errand,
        })
    }

    /// Fails if one is being asked for: what there is to do waits for it.
    fn awaits_no_token(&self, account: &AccountId) -> Result<(), Failure> {
        match self.accounts.link(account) {
            Link::Awaited => Err(Failure::Awaited),
            Link::Good | Link::Unconfigured | Link::Cut(_) => Ok(()),
        }
    }

    async fn order(&self, key: &Key) -> Result<Option<Arc<Order>>, Failure> {
        // What is no reference was never one of ours.
        match Reference::parse(key) {
            Ok(reference) => Ok(self.engine.reader().order(reference).await?),
            Err(_) => Ok(None),
        }
    }

    /// Tells the rules what was found.
    async fn settle(&self, order: Arc<Order>, findings: Findings) -> Result<Arc<Order>, Failure> {
        if findings == Findings::default() {
            return Ok(order);
        }
        let command = Command::Settle {
            reference: order.reference.clone(),
            findings,
        };
        let applied = self.engine.submit(order.pos.clone(), command).await?;
        Ok(applied.order.unwrap_or(order))
    }
}

/// Looks at an order and does what is to be done about it.
pub(super) async fn work(tools: &Tools, job: Job) -> Done {
    let now = tools.clock.now();
    let Job {
        key,
        hints,
        untried,
        lingers,
        is_errand,
    } = job;
    let advance = (!is_errand).then(|| Advance::charged(&tools.budget));
    let why = Why {
        hints: &hints,
        untried: &untried,
        lingers,
        expires: false,
        advance: advance.as_ref(),
        is_errand,
    };
    let ended = match attend(tools, &key, &why).await {
        Ok(ended) => ended,
        Err(failure) => {
            tools.complain(&key, &failure);
            let unsent = untried.order && failure.is_untold();
            Ended::Failed { unsent }
        }
    };
    let mut left = Vec::new();
    for taken in hints {
        if is_open(&ended, &taken, now) {
            left.push(taken);
        } else {
            tools.engine.inbox().done(taken).await;
        }
    }
    Done::Order {
        key,
        ended,
        hints: left,
    }
}

/// Whether a notification is still to be answered after a look.
fn is_open(ended: &Ended, taken: &Taken, now: Now) -> bool {
    match ended {
        Ended::NoOrder | Ended::Mute { .. } => false,
        Ended::Looked { unknown, .. } => *unknown && now.at.since(taken.at()) < limits::HINT_PATIENCE,
        Ended::Failed { .. } => true,
    }
}

/// Why an order is attended to, and what is known of it.
struct Why<'a> {
    hints: &'a [Taken],
    untried: &'a Untried,
    /// It has ended and may be at Mercado Pago still.
    lingers: bool,
    /// Its time is up.
    expires: bool,
    advance: Option<&'a Advance<'a>>,
    is_errand: bool,
}

impl Why<'_> {
    /// Whether the order is to be brought there.
    fn sends(&self, order: &Order) -> bool {
        order.status == Status::Sending && !order.is_canceling() && !self.expires
    }
}

async fn attend(tools: &Tools, key: &Key, why: &Why<'_>) -> Result<Ended, Failure> {
    let Some(order) = tools.order(key).await? else {
        return Ok(Ended::NoOrder);
    };
    let account = tools.accounts.get(&order.account);
    let api = account
        .as_ref()
        .and_then(|account| tools.api(account, why.advance, why.is_errand));
    let Some(api) = api else {
        tools.awaits_no_token(&order.account)?;
        let refunds_wait = order.refunds_wait();
        let unsent = why.untried.order;
        return Ok(Ended::Mute { refunds_wait, unsent });
    };
    // All that may have to be said to Mercado Pago makes a future of many KiB: it is made where it is needed, and not moved.
    Box::pin(attend_there(tools, &api, order, why)).await
}

async fn attend_there(tools: &Tools, api: &Api<'_>, order: Arc<Order>, why: &Why<'_>) -> Result<Ended, Failure> {
    if why.sends(&order) && why.untried.order {
        // There is nothing to be seen of it yet.
        let lane = tools.lanes.enter(&order.pos).await;
        let order = send(tools, api, order, Before::Nothing, lane).await?;
        let (unknown, lingers) = (false, false);
        return Ok(Ended::Looked {
            order,
            unknown,
            lingers,
        });
    }
    let may_linger = why.lingers || order.status.is_open();
    let left = let_go(tools, api, &order, why).await?;
    // From what is seen of it until it is put there nobody else is at its place, and nothing is waited for.
    let lane = match why.sends(&order) {
        true => Some(tools.lanes.enter(&order.pos).await),
        false => None,
    };
    let before = match &lane {
        Some(lane) => find(api, &order, lane).await?,
        None => Before::Nothing,
    };
    let Seen { order, unknown, intent } = see(tools, api, order, why, left).await?;
    // One that may have been paid already must not be put there again.
    let order = match lane.filter(|_| why.sends(&order)) {
        Some(lane) => send(tools, api, order, before, lane).await?,
        None => order,
    };
    let left = match (&order.posted, intent) {
        // An intent of it was paid of which nobody knew: this one must not be.
        (Some(posted), Some(IntentNow::Open)) if order.status == Status::Paid => {
            Some(take_off(tools, api, &order, posted).await?)
        }
        _ => left,
    };
    let order = give_back(tools, api, order, &why.untried.refunds).await?;
    let lingers = may_linger && order.may_linger() && left != Some(Left::Gone);
    Ok(Ended::Looked {
        order,
        unknown,
        lingers,
    })
}

/// Takes an order off Mercado Pago that is to be canceled, that expires, or that has ended. None: it stays there.
async fn let_go(tools: &Tools, api: &Api<'_>, order: &Order, why: &Why<'_>) -> Result<Option<Left>, Failure> {
    let leaves = order.is_canceling() || why.expires || why.lingers;
    match &order.posted {
        // It never came there. What it was to replace on the POS may be there still.
        Some(posted) if leaves && why.untried.order && matches!(posted.way, Way::Intent { .. }) => Ok(Some(Left::Gone)),
        Some(posted) if leaves => Ok(Some(match take_off(tools, api, order, posted).await? {
            // Perhaps it was paid: a search that is made now may not show it yet.
            Left::Vanished if !why.expires => {
                sleep(limits::SEARCH_BEHIND).await;
                Left::Gone
            }
            Left::Vanished => Left::Gone,
            left => left,
        })),
        _ => Ok(None),
    }
}

/// What a look has come to.
struct Seen {
    order: Arc<Order>,
    /// Something is not known that we were notified of.
    unknown: bool,
    intent: Option<IntentNow>,
}

/// Looks, and tells the rules what was seen.
async fn see(
    tools: &Tools,
    api: &Api<'_>,
    order: Arc<Order>,
    why: &Why<'_>,
    left: Option<Left>,
) -> Result<Seen, Failure> {
    let own = why
        .hints
        .iter()
        .map(Taken::hint)
        .filter(|hint| hint.account == order.account);
    let named: Vec<Thing> = own.map(|hint| hint.thing.clone()).collect();
    let asks = order.status.is_open() || why.lingers;
    let intent = order.posted.as_ref().and_then(|posted| posted.intent.as_ref());
    let seen = look(api, &order, &named, intent.filter(|_| asks)).await?;
    let order = tools.settle(order, seen.findings).await?;
    let is_there = seen.is_known && why.sends(&order) && order.mode() == Mode::Intent;
    let command = ending(&order, seen.intent, left).or(is_there.then(|| Command::Sent {
        reference: order.reference.clone(),
        intent: None,
        qr_data: None,
    }));
    let order = match command {
        Some(command) => {
            let applied = tools.engine.submit(order.pos.clone(), command).await?;
            applied.order.unwrap_or(order)
        }
        None => order,
    };
    Ok(Seen {
        order,
        unknown: seen.unknown,
        intent: seen.intent,
    })
}

/// How an open order ends that Mercado Pago has let go of, or that is over there and brought no money.
fn ending(order: &Order, intent: Option<IntentNow>, left: Option<Left>) -> Option<Command> {
    if !order.status.is_open() {
        return None;
    }
    let reference = order.reference.clone();
    let withdrawn = |reason| {
        let reference = reference.clone();
        Some(Command::Withdrawn { reference, reason })
    };
    match intent {
        Some(IntentNow::Canceled | IntentNow::Expired | IntentNow::Unpaid) if order.is_canceling() => withdrawn(None),
        Some(IntentNow::Expired) => Some(Command::Expire { reference }),
        // Because its time is up, it was canceled by us.
        Some(IntentNow::Canceled) if left.is_some() => None,
        Some(IntentNow::Canceled) => withdrawn(Some(CancelReason::AtMercadoPago)),
        // It is final, so the customer cannot try again.
        Some(IntentNow::Unpaid) => withdrawn(Some(CancelReason::NotPaid)),
        // Its payment is not known yet.
        Some(IntentNow::Closed) => None,
        Some(IntentNow::Open) | None if order.is_canceling() && left == Some(Left::Gone) => withdrawn(None),
        Some(IntentNow::Open) | None => None,
    }
}

/// Pursues each refund that is not through, in their order.
async fn give_back(
    tools: &Tools,
    api: &Api<'_>,
    mut order: Arc<Order>,
    untried: &[u32],
) -> Result<Arc<Order>, Failure> {
    let waiting: Vec<Refund> = order.refunds.iter().filter(|refund| refund.waits()).cloned().collect();
    for refund in waiting {
        let number = refund.number;
        let tried = !untried.contains(&number);
        match refund::pursue(api, &order, &refund, tried).await {
            Ok(RefundState::Requested) => debug!(reference = %order.reference, number, "the refund is in process"),
            Ok(state) => {
                let command = Command::Refunded {
                    reference: order.reference.clone(),
                    number,
                    state,
                };
                let applied = tools.engine.submit(order.pos.clone(), command).await?;
                order = applied.order.unwrap_or(order);
            }
            Err(error) => warn!(reference = %order.reference, number, %error, "the refund could not be made yet"),
        }
    }
    Ok(order)
}

/// Looks once more at an order whose time is up, and then says so. What is found is told first.
pub(super) async fn expire(tools: &Tools, expiring: Expiring) -> Done {
    let Expiring { pos, reference } = expiring;
    let key = key_of(&reference);
    if timeout(limits::LAST_LOOK, look_until_answered(tools, &key))
        .await
        .is_err()
    {
        warn!(%reference, "the order expires without a last look: Mercado Pago does not answer");
    }
    let command = Command::Expire {
        reference: reference.clone(),
    };
    if let Err(denied) = tools.engine.submit(pos, command).await {
        // Its timer tells it again.
        debug!(%reference, %denied, "the order has not expired yet");
    }
    Done::Expired
}

async fn look_until_answered(tools: &Tools, key: &Key) {
    let why = Why {
        hints: &[],
        untried: &Untried::default(),
        lingers: false,
        expires: true,
        advance: None,
        is_errand: false,
    };
    while let Err(failure) = attend(tools, key, &why).await {
        tools.complain(key, &failure);
        sleep(limits::AGAIN_FIRST).await;
    }
}

/// Says that nobody has spoken of an order's product.
pub(super) async fn alarm(tools: &Tools, key: Key) -> Done {
    match say_overdue(tools, &key).await {
        Ok(()) => Done::Aside,
        // The log holds no such order of this POS: nobody waits to hear of it.
        Err(Failure::Denied(Denied::Refused(_))) => Done::Aside,
        Err(failure) => {
            warn!(reference = %key, %failure, "a product's silence could not be told yet");
            Done::Untold(key)
        }
    }
}

async fn say_overdue(tools: &Tools, key: &Key) -> Result<(), Failure> {
    if let Some(order) = tools.order(key).await? {
        let command = Command::Overdue {
            reference: order.reference.clone(),
        };
        tools.engine.submit(order.pos.clone(), command).await?;
    }
    Ok(())
}

/// Finds out which order a notification is about, where its URL does not say so.
pub(super) async fn name(tools: &Tools, hint: &Hint) -> Result<Named, Failure> {
    let advance = Advance::charged(&tools.budget);
    let account = tools.accounts.get(&hint.account);
    let api = account
        .as_ref()
        .and_then(|account| tools.api(account, Some(&advance), false));
    let Some(api) = api else {
        tools.awaits_no_token(&hint.account)?;
        return Ok(Named::Nothing);
    };
    let reference = match &hint.thing {
        Thing::MerchantOrder(id) => known(api.merchant_order(id.get()).await)?.map(|found| found.external_reference),
        Thing::Payment(id) => known(api.payment(id.get()).await)?.map(|found| found.external_reference),
        Thing::Intent(id) => known(api.intent(id).await)?.map(|found| found.external_reference),
    };
    let Some(reference) = reference else {
        return Ok(Named::Unknown);
    };
    let Some(reference) = reference.and_then(|text| Reference::parse(&text).ok()) else {
        return Ok(Named::Nothing);
    };
    let key = key_of(&reference);
    let ours = tools
        .order(&key)
        .await?
        .is_some_and(|order| order.account == hint.account);
    Ok(if ours { Named::Order(key) } else { Named::Nothing })
}
