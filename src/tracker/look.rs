//! One look at the API: all that it knows of one order's money.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::budget::Budget;
use super::verdict::{about, findings, questions};
use crate::config::Secret;
use crate::domain::hint::Thing;
use crate::domain::id::IntentId;
use crate::domain::order::Order;
use crate::domain::payment::Findings;
use crate::limits;
use crate::mercadopago::{ApiError, Client, Intent, MerchantOrder, Payment};

/// The API, for one account, within the budget.
pub(super) struct Api<'a> {
    pub(super) client: &'a Client,
    pub(super) token: &'a Secret,
    pub(super) budget: &'a Budget,
}

pub(super) struct Look {
    pub(super) findings: Findings,
    /// Mercado Pago does not know something of which it notified us: perhaps not yet.
    pub(super) unknown: bool,
}

/// Searches by reference, and asks for what notifications named and for what is recorded: a search may be behind.
pub(super) async fn look(api: &Api<'_>, order: &Order, named: &[Thing]) -> Result<Look, ApiError> {
    let mut seen = Seen::default();
    let (searched, ()) = tokio::try_join!(search(api, order), seen.ask_for_named(api, named))?;
    for found in searched {
        seen.merchant_orders.entry(found.id).or_insert(found);
    }
    let recorded = order.payments.iter().filter_map(|payment| payment.merchant_order);
    seen.ask_for_merchant_orders(api, recorded.collect()).await?;

    let Seen {
        merchant_orders,
        mut payments,
        unknown,
    } = seen;
    let merchant_orders = about(order, merchant_orders.into_values().collect());
    for id in questions(order, &merchant_orders) {
        if !payments.contains_key(&id)
            && let Some(payment) = known(api.payment(id).await)?
        {
            payments.insert(id, payment);
        }
    }
    Ok(Look {
        findings: findings(order, &merchant_orders, &payments),
        unknown,
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
    unknown: bool,
}

impl Seen {
    async fn ask_for_named(&mut self, api: &Api<'_>, named: &[Thing]) -> Result<(), ApiError> {
        let mut merchant_orders = BTreeSet::new();
        let mut payments = BTreeSet::new();
        for thing in named.iter().take(limits::PAYMENTS_PER_LOOK) {
            match thing {
                Thing::MerchantOrder(id) => {
                    merchant_orders.insert(id.get());
                }
                Thing::Payment(id) => {
                    payments.insert(id.get());
                }
                Thing::Intent(id) => payments.extend(api.payments_of_intent(id).await?),
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
        self.budget.charge(1);
        let answer = call.await;
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

    /// A closed intent names its payments.
    async fn payments_of_intent(&self, id: &IntentId) -> Result<Vec<u64>, ApiError> {
        let intent = known(self.intent(id).await)?;
        let results = intent.map(|intent| intent.results).unwrap_or_default();
        Ok(results.into_iter().filter_map(|result| result.id).collect())
    }
}

/// An answer, or that there is no such thing.
pub(super) fn known<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
