//! One look at the API: all that it knows of one order's money.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::budget::{Advance, Budget};
use super::verdict::{about, findings, findings_of_intent, questions};
use crate::config::Secret;
use crate::domain::hint::Thing;
use crate::domain::id::IntentId;
use crate::domain::order::Order;
use crate::domain::payment::Findings;
use crate::domain::posted::Way;
use crate::limits;
use crate::mercadopago::{ApiError, Client, Intent, IntentSource, IntentStatus, MerchantOrder, Payment, PaymentStatus};

/// The API, for one account, within the budget.
pub(super) struct Api<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Secret,
    pub(super) budget: &'a Budget,
    /// The first call was charged for already.
    pub(super) advance: Option<&'a Advance<'a>>,
    /// For an order on its way there, or off it: nothing waits for credit.
    pub(super) is_errand: bool,
}

pub(super) struct Look {
    pub(super) findings: Findings,
    /// Mercado Pago does not know something of which it notified us: perhaps not yet.
    pub(super) unknown: bool,
    /// Somebody has scanned the order, or its intent is over: it was there.
    pub(super) is_known: bool,
    /// The order's own intent, if it was asked for and is there.
    pub(super) intent: Option<IntentNow>,
}

/// How an intent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IntentNow {
    Open,
    Canceled,
    Expired,
    /// Whether it was paid is for its payments to say.
    Closed,
    /// It is closed, and all that was tried with it was rejected.
    Unpaid,
}

impl IntentNow {
    fn of(intent: &Intent, payments: &BTreeMap<u64, Payment>) -> IntentNow {
        let is_rejected = |id: &u64| {
            let status = payments.get(id).map(|payment| &payment.status);
            matches!(status, Some(PaymentStatus::Rejected | PaymentStatus::Cancelled))
        };
        match intent.status {
            IntentStatus::Canceled => IntentNow::Canceled,
            IntentStatus::Expired => IntentNow::Expired,
            IntentStatus::Closed => {
                let tried = payments_of(Some(intent));
                if !tried.is_empty() && tried.iter().all(is_rejected) {
                    IntentNow::Unpaid
                } else {
                    IntentNow::Closed
                }
            }
            _ => IntentNow::Open,
        }
    }
}

/// Searches by reference, and asks for what notifications named and for what is recorded: a search may be behind.
pub(super) async fn look(
    api: &Api<'_>,
    order: &Order,
    named: &[Thing],
    intent: Option<&IntentId>,
) -> Result<Look, ApiError> {
    let mut seen = Seen::default();
    let asked = async {
        let found = match intent {
            Some(id) => known(api.intent(id).await)?,
            None => None,
        };
        seen.ask_for_named(api, named, payments_of(found.as_ref())).await?;
        Ok(found)
    };
    let (searched, own) = tokio::try_join!(search(api, order), asked)?;
    for found in searched {
        seen.merchant_orders.entry(found.id).or_insert(found);
    }
    let recorded = order.payments.iter().filter_map(|payment| payment.merchant_order);
    seen.ask_for_merchant_orders(api, recorded.collect()).await?;

    let Seen {
        merchant_orders,
        mut payments,
        intents,
        unknown,
    } = seen;
    // Where the answer was lost that named it, a notification may: those come at its end.
    let intent = own.or_else(|| of_unknown_name(order, intents));
    let merchant_orders = about(order, merchant_orders.into_values().collect());
    for id in questions(order, &merchant_orders) {
        if !payments.contains_key(&id)
            && let Some(payment) = known(api.payment(id).await)?
        {
            payments.insert(id, payment);
        }
    }
    let mut findings = findings(order, &merchant_orders, &payments);
    let beside = findings_of_intent(order, &payments_of(intent.as_ref()), &merchant_orders, &payments);
    findings.payments.extend(beside.payments);
    findings.sightings.extend(beside.sightings);
    Ok(Look {
        findings,
        unknown,
        is_known: intent.is_some() || !merchant_orders.is_empty(),
        intent: intent.map(|intent| IntentNow::of(&intent, &payments)),
    })
}

async fn search(api: &Api<'_>, order: &Order) -> Result<Vec<MerchantOrder>, ApiError> {
    let found = api.ask(api.client.merchant_orders(api.token, &order.reference)).await?;
    if !found.complete {
        warn!(reference = %order.reference, "more merchant orders than can be looked at name this order");
    }
    Ok(found.orders)
}

/// What was asked for by its id: newer than what a search says.
#[derive(Default)]
struct Seen {
    merchant_orders: BTreeMap<u64, MerchantOrder>,
    payments: BTreeMap<u64, Payment>,
    /// Only those that notifications named.
    intents: Vec<Intent>,
    unknown: bool,
}

impl Seen {
    async fn ask_for_named(&mut self, api: &Api<'_>, named: &[Thing], payments: Vec<u64>) -> Result<(), ApiError> {
        let mut merchant_orders = BTreeSet::new();
        let mut payments: BTreeSet<u64> = payments.into_iter().collect();
        for thing in named.iter().take(limits::PAYMENTS_PER_LOOK) {
            match thing {
                Thing::MerchantOrder(id) => {
                    merchant_orders.insert(id.get());
                }
                Thing::Payment(id) => {
                    payments.insert(id.get());
                }
                Thing::Intent(id) => {
                    let found = known(api.intent(id).await)?;
                    payments.extend(payments_of(found.as_ref()));
                    self.intents.extend(found);
                }
            }
        }
        for id in payments {
            match known(api.payment(id).await)? {
                Some(payment) => {
                    merchant_orders.extend(payment.merchant_order);
                    self.payments.insert(id, payment);
                }
                None => self.unknown = true,
            }
        }
        self.ask_for_merchant_orders(api, merchant_orders).await
    }

    async fn ask_for_merchant_orders(&mut self, api: &Api<'_>, ids: BTreeSet<u64>) -> Result<(), ApiError> {
        for id in ids {
            if self.merchant_orders.contains_key(&id) {
                continue;
            }
            match known(api.merchant_order(id).await)? {
                Some(found) => {
                    self.merchant_orders.insert(id, found);
                }
                None => self.unknown = true,
            }
        }
        Ok(())
    }
}

impl Api<'_> {
    /// Makes one call, and pays for it. If Mercado Pago wants to be left alone, it is.
    pub(super) async fn ask<T>(&self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        if self.is_errand {
            return self.errand(call).await;
        }
        if !self.advance.is_some_and(Advance::pays) {
            self.budget.charge(1);
        }
        self.rest_if_wanted(call.await)
    }

    /// One that somebody waits for at the machine: it is paid for afterwards.
    pub(super) async fn errand<T>(&self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        self.budget.overdraw();
        self.rest_if_wanted(call.await)
    }

    fn rest_if_wanted<T>(&self, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(ApiError::Limited {
            retry_after: Some(wait),
            ..
        }) = &answer
        {
            self.budget.rest((*wait).min(limits::AGAIN_LAST));
        }
        answer
    }

    pub(super) async fn merchant_order(&self, id: u64) -> Result<MerchantOrder, ApiError> {
        self.ask(self.client.merchant_order(self.token, id)).await
    }

    pub(super) async fn payment(&self, id: u64) -> Result<Payment, ApiError> {
        self.ask(self.client.payment(self.token, id)).await
    }

    pub(super) async fn intent(&self, id: &IntentId) -> Result<Intent, ApiError> {
        self.ask(self.client.intent(self.token, id)).await
    }
}

/// The order's intent among these, if we made one and do not know its name.
fn of_unknown_name(order: &Order, intents: Vec<Intent>) -> Option<Intent> {
    let posted = order.posted.as_ref()?;
    let is_unknown = matches!(posted.way, Way::Intent { .. }) && posted.intent.is_none();
    let is_its = |intent: &Intent| {
        let reference = intent.external_reference.as_deref();
        reference.is_some_and(|text| text.eq_ignore_ascii_case(order.reference.as_str()))
    };
    intents.into_iter().find(is_its).filter(|_| is_unknown)
}

/// A closed intent names its payments.
fn payments_of(intent: Option<&Intent>) -> Vec<u64> {
    let closed = intent.filter(|intent| intent.status == IntentStatus::Closed);
    let results = closed.iter().flat_map(|intent| &intent.results);
    let payments = results.filter(|result| result.source != IntentSource::Payout);
    payments
        .filter_map(|result| result.id)
        .take(limits::PAYMENTS_PER_LOOK)
        .collect()
}

/// An answer, or that there is no such thing.
pub(super) fn known<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
