//! All that the simulated Mercado Pago knows, and how it changes. No HTTP, no waiting, no chance.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;

use super::json::Json;
use super::order::{MerchantOrder, Order, Payment, Refund, Status};
use super::settings::{Account, Site};
use crate::limits;

/// Why something was not done. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no {what} {id}")]
    Unknown { what: &'static str, id: String },
    #[error("the sandbox is full: it holds {max} {what}; start another one")]
    Full { what: &'static str, max: usize },
    #[error("scan {0} shows no order yet")]
    NothingShown(u64),
    #[error("scan {0} is over")]
    Over(u64),
    #[error("merchant order {0} is closed: it was paid")]
    Closed(u64),
    #[error("the amount must be more than zero, with at most {places} decimals, and at most {max}")]
    Amount { places: u32, max: Decimal },
    #[error("payment {id} is {status}: that cannot be done with it")]
    Status { id: u64, status: &'static str },
    #[error("{0} refunds of a payment are all there can be")]
    Refunds(usize),
    #[error("the sandbox was stopped")]
    Stopped,
}

pub fn unknown(what: &'static str, id: impl ToString) -> Refused {
    Refused::Unknown {
        what,
        id: id.to_string(),
    }
}

#[derive(Debug, Clone)]
pub struct Store {
    pub id: u64,
    pub user: u64,
    pub external_id: Option<String>,
    pub name: String,
    pub business_hours: Json,
    pub location: Json,
    pub created: i64,
}

#[derive(Debug, Clone)]
pub struct Pos {
    pub id: u64,
    pub user: u64,
    pub external_id: String,
    pub name: String,
    pub fixed_amount: bool,
    pub category: Option<u64>,
    pub store: u64,
    pub url: Option<String>,
    pub uuid: String,
    pub created: i64,
    pub updated: i64,
    /// What the merchant has put on it.
    pub standing: Option<Standing>,
}

#[derive(Debug, Clone)]
pub enum Standing {
    Order {
        order: Order,
        body: Json,
        expires: Option<i64>,
    },
    Intent(String),
}

#[derive(Debug, Clone)]
pub struct Intent {
    pub id: String,
    pub user: u64,
    pub pos: u64,
    pub status: &'static str,
    /// As it was sent.
    pub body: Json,
    pub order: Order,
    pub qr_data: Option<String>,
    /// The payment that closed it.
    pub result: Option<u64>,
    pub ended: Option<i64>,
}

/// One time that a merchant has put an order on a POS, by whichever way.
#[derive(Debug, Clone)]
pub struct Placed {
    pub at: i64,
    /// How the intent stands now that was made so.
    pub intent: Option<Intent>,
}

/// What a merchant order was made of.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub pos: Option<u64>,
    pub intent: Option<String>,
}

/// How something read at each time that it changed: a stale search shows an older one.
#[derive(Debug, Default)]
struct Versions(Vec<(i64, Json)>);

impl Versions {
    /// What nobody can ask for any more is forgotten.
    fn push(&mut self, at: i64, shown: Json) {
        self.0.push((at, shown));
        let horizon = at.saturating_sub(limits::SANDBOX_STALE.as_millis().try_into().unwrap_or(i64::MAX));
        let old = self.0.iter().filter(|(then, _)| *then < horizon).count();
        self.0.drain(..old.saturating_sub(1));
    }

    /// None if it was not there yet.
    fn at(&self, at: i64) -> Option<&Json> {
        self.0
            .iter()
            .rev()
            .find(|(then, _)| *then <= at)
            .map(|(_, shown)| shown)
    }
}

#[derive(Debug, Default)]
pub struct World {
    pub stores: BTreeMap<u64, Store>,
    pub pos: BTreeMap<u64, Pos>,
    pub orders: BTreeMap<u64, MerchantOrder>,
    pub payments: BTreeMap<u64, Payment>,
    pub intents: BTreeMap<String, Intent>,
    /// Merchant orders by their reference in lower case.
    references: HashMap<String, Vec<u64>>,
    /// What was put on points of sale, by reference in lower case: when, and as which intent.
    placed: HashMap<String, Vec<(i64, Option<String>)>>,
    placed_in_all: usize,
    /// Refunds by collector and idempotency key, with what was asked.
    keys: HashMap<(u64, String), (u64, Option<Decimal>, Refund)>,
    shown_orders: HashMap<u64, Versions>,
    shown_payments: HashMap<u64, Versions>,
    numbers: u64,
}

/// Where each kind of number begins: all have ten digits or more, as Mercado Pago's.
const FIRST_ORDER: u64 = 23_603_350_837;
const FIRST_PAYMENT: u64 = 123_456_789_012;
const FIRST_REFUND: u64 = 1_622_029_222;
const FIRST_STORE: u64 = 30_148_503;
const FIRST_POS: u64 = 2_711_382;

/// What an idempotency key asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    Same(Refund),
    Other,
}

impl World {
    fn number(&mut self, first: u64) -> u64 {
        self.numbers += 1;
        first + self.numbers
    }

    pub fn store_number(&mut self) -> Result<u64, Refused> {
        room(self.stores.len(), "stores", limits::SANDBOX_POS)?;
        Ok(self.number(FIRST_STORE))
    }

    pub fn pos_number(&mut self) -> Result<u64, Refused> {
        room(self.pos.len(), "points of sale", limits::SANDBOX_POS)?;
        Ok(self.number(FIRST_POS))
    }

    pub fn place_room(&self) -> Result<(), Refused> {
        room(self.placed_in_all, "orders on points of sale", limits::SANDBOX_ORDERS)
    }

    /// What stood on the POS before is replaced without a word.
    pub fn place(&mut self, pos: u64, reference: &str, standing: Standing, at: i64) {
        let intent = match &standing {
            Standing::Order { .. } => None,
            Standing::Intent(id) => Some(id.clone()),
        };
        if let Some(pos) = self.pos.get_mut(&pos) {
            pos.standing = Some(standing);
        }
        self.placed_in_all += 1;
        let placed = self.placed.entry(reference.to_ascii_lowercase()).or_default();
        placed.push((at, intent));
    }

    /// Each time that an order was put on a POS, oldest first.
    pub fn placed(&self, reference: &str) -> impl Iterator<Item = Placed> {
        let placed = self.placed.get(&reference.to_ascii_lowercase());
        placed.into_iter().flatten().map(|(at, intent)| Placed {
            at: *at,
            intent: intent.as_ref().and_then(|id| self.intents.get(id)).cloned(),
        })
    }

    /// Ends an intent that nobody pays; whether it was open. One with a payment under review waits for that.
    pub fn end_intent(&mut self, id: &str, status: &'static str, at: i64) -> bool {
        let Some(intent) = self.intents.get(id).filter(|intent| intent.status == "OPENED") else {
            return false;
        };
        let is_its = |order: &&MerchantOrder| order.intent.as_deref() == Some(id);
        let scanned = self.by_reference(&intent.order.reference).filter(is_its);
        let is_tried = scanned
            .flat_map(|order| self.payments_of(order))
            .any(|payment| payment.status.is_waiting());
        let Some(intent) = self.intents.get_mut(id).filter(|_| !is_tried) else {
            return false;
        };
        intent.status = status;
        intent.ended = Some(at);
        if let Some(pos) = self.pos.get_mut(&intent.pos) {
            pos.standing = None;
        }
        true
    }

    /// U5: external ids do not differ by case.
    pub fn pos_by_name(&self, user: Option<u64>, external_id: &str) -> Option<&Pos> {
        self.pos
            .values()
            .find(|pos| user.is_none_or(|user| pos.user == user) && pos.external_id.eq_ignore_ascii_case(external_id))
    }

    pub fn store_by_name(&self, user: u64, external_id: &str) -> Option<&Store> {
        self.stores
            .values()
            .find(|store| store.user == user && store.external_id.as_deref() == Some(external_id))
    }

    /// A new merchant order for each scan.
    pub fn open(&mut self, account: &Account, order: Order, origin: Origin, at: i64) -> Result<u64, Refused> {
        room(self.orders.len(), "merchant orders", limits::SANDBOX_ORDERS)?;
        let id = self.number(FIRST_ORDER);
        let reference = order.reference.to_ascii_lowercase();
        let opened = MerchantOrder {
            id,
            collector: account.collector,
            site: account.site,
            order,
            pos: origin.pos,
            intent: origin.intent,
            payments: Vec::new(),
            status: "opened",
            order_status: "payment_required",
            paid: Decimal::ZERO,
            refunded: Decimal::ZERO,
            created: at,
            updated: at,
        };
        self.orders.insert(id, opened);
        self.references.entry(reference).or_default().push(id);
        self.show_order(id, at);
        Ok(id)
    }

    /// An attempt. Without an amount it is all that is still to be paid.
    pub fn pay(
        &mut self,
        order: u64,
        amount: Option<Decimal>,
        outcome: (Status, &'static str),
        at: i64,
    ) -> Result<u64, Refused> {
        room(self.payments.len(), "payments", limits::SANDBOX_PAYMENTS)?;
        let known = self
            .orders
            .get(&order)
            .ok_or_else(|| unknown("merchant order", order))?;
        room(
            known.payments.len(),
            "payments of one merchant order",
            limits::SANDBOX_ATTEMPTS,
        )?;
        if known.status == "closed" {
            return Err(Refused::Closed(order));
        }
        let amount = checked(amount, known.open_amount(), known.site)?;
        let (status, detail) = outcome;
        let payment = Payment {
            id: 0,
            merchant_order: order,
            collector: known.collector,
            site: known.site,
            reference: known.order.reference.clone(),
            notification_url: known.order.notification_url.clone(),
            amount,
            refunded: Decimal::ZERO,
            status,
            detail,
            refunds: Vec::new(),
            created: at,
            approved: (status == Status::Approved).then_some(at),
            updated: at,
        };
        let id = self.number(FIRST_PAYMENT);
        self.payments.insert(id, Payment { id, ..payment });
        if let Some(known) = self.orders.get_mut(&order) {
            known.payments.push(id);
        }
        self.payment_changed(id, at);
        Ok(id)
    }

    /// An attempt under review comes to its end.
    pub fn finish(&mut self, id: u64, outcome: (Status, &'static str), at: i64) -> Result<(), Refused> {
        let payment = self.payments.get_mut(&id).ok_or_else(|| unknown("payment", id))?;
        if !payment.status.is_waiting() {
            return Err(wrong_status(payment));
        }
        (payment.status, payment.detail) = outcome;
        payment.approved = (payment.status == Status::Approved).then_some(at);
        self.payment_changed(id, at);
        Ok(())
    }

    /// The payer disputes: in mediation, or charged back.
    pub fn dispute(&mut self, id: u64, status: Status, at: i64) -> Result<(), Refused> {
        let payment = self.payments.get_mut(&id).ok_or_else(|| unknown("payment", id))?;
        if !matches!(payment.status, Status::Approved | Status::InMediation) {
            return Err(wrong_status(payment));
        }
        (payment.status, payment.detail) = (status, status.word());
        self.payment_changed(id, at);
        Ok(())
    }

    /// The refund that this key asked for already, if any.
    pub fn asked_before(&self, id: u64, amount: Option<Decimal>, user: u64, key: &str) -> Option<Before> {
        let (payment, asked, refund) = self.keys.get(&(user, key.to_owned()))?;
        Some(if (*payment, *asked) == (id, amount) {
            Before::Same(refund.clone())
        } else {
            Before::Other
        })
    }

    /// Without an amount all that is left. Together refunds never exceed the payment.
    pub fn refund(&mut self, id: u64, amount: Option<Decimal>, key: Option<&str>, at: i64) -> Result<Refund, Refused> {
        let number = self.number(FIRST_REFUND);
        let payment = self.payments.get_mut(&id).ok_or_else(|| unknown("payment", id))?;
        if payment.status != Status::Approved {
            return Err(wrong_status(payment));
        }
        if payment.refunds.len() >= limits::SANDBOX_REFUNDS {
            return Err(Refused::Refunds(limits::SANDBOX_REFUNDS));
        }
        let refund = Refund {
            id: number,
            payment: id,
            collector: payment.collector,
            amount: checked(amount, payment.refundable(), payment.site)?,
            created: at,
            key: key.map(str::to_owned),
        };
        payment.refunded += refund.amount;
        payment.refunds.push(refund.clone());
        (payment.status, payment.detail) = if payment.refundable().is_zero() {
            (Status::Refunded, "refunded")
        } else {
            (Status::Approved, "partially_refunded")
        };
        if let Some(key) = key {
            self.keys
                .insert((payment.collector, key.to_owned()), (id, amount, refund.clone()));
        }
        self.payment_changed(id, at);
        Ok(refund)
    }

    fn payment_changed(&mut self, id: u64, at: i64) {
        let Some(payment) = self.payments.get_mut(&id) else {
            return;
        };
        payment.updated = at;
        self.shown_payments.entry(id).or_default().push(at, payment.json());
        let of = payment.merchant_order;
        let Some(order) = self.orders.get_mut(&of) else { return };
        let payments = order.payments.clone();
        order.settle(payments.iter().filter_map(|id| self.payments.get(id)), at);
        self.show_order(of, at);
    }

    fn show_order(&mut self, id: u64, at: i64) {
        if let Some(shown) = self.order_json(id) {
            self.shown_orders.entry(id).or_default().push(at, shown);
        }
    }

    pub fn order_json(&self, id: u64) -> Option<Json> {
        let order = self.orders.get(&id)?;
        Some(order.json(self.payments_of(order)))
    }

    pub fn payments_of<'a>(&'a self, order: &'a MerchantOrder) -> impl Iterator<Item = &'a Payment> {
        order.payments.iter().filter_map(|id| self.payments.get(id))
    }

    /// References do not differ by case.
    pub fn by_reference(&self, reference: &str) -> impl Iterator<Item = &MerchantOrder> {
        let known = self.references.get(&reference.to_ascii_lowercase());
        known.into_iter().flatten().filter_map(|id| self.orders.get(id))
    }

    /// A collector's merchant orders as they read at that time; of one reference, or all.
    pub fn orders_at<'a>(&'a self, collector: u64, reference: Option<&str>, at: i64) -> Vec<&'a Json> {
        let one: Option<Vec<&MerchantOrder>> = reference.map(|reference| self.by_reference(reference).collect());
        let all = one.unwrap_or_else(|| self.orders.values().collect());
        all.into_iter()
            .filter(|order| order.collector == collector)
            .filter_map(|order| self.shown_orders.get(&order.id)?.at(at))
            .collect()
    }

    pub fn payments_at<'a>(&'a self, collector: u64, reference: Option<&str>, at: i64) -> Vec<&'a Json> {
        let one: Option<Vec<&MerchantOrder>> = reference.map(|reference| self.by_reference(reference).collect());
        let all: Vec<&Payment> = match one {
            Some(orders) => orders.into_iter().flat_map(|order| self.payments_of(order)).collect(),
            None => self.payments.values().collect(),
        };
        all.into_iter()
            .filter(|payment| payment.collector == collector)
            .filter_map(|payment| self.shown_payments.get(&payment.id)?.at(at))
            .collect()
    }

    /// A paid order leaves its POS; any end of an attempt closes an intent, which is given back if that is news.
    pub fn clear_pos(&mut self, payment: &Payment) -> Option<String> {
        let order = self.orders.get(&payment.merchant_order)?;
        let is_ended = match &order.intent {
            Some(_) => !payment.status.is_waiting(),
            None => order.status == "closed",
        };
        let pos = self.pos.get_mut(&order.pos?).filter(|_| is_ended)?;
        let is_its = match (&pos.standing, &order.intent) {
            (Some(Standing::Order { order: standing, .. }), None) => standing.reference == order.order.reference,
            (Some(Standing::Intent(standing)), Some(intent)) => standing == intent,
            _ => false,
        };
        if is_its {
            pos.standing = None;
        }
        let intent = self.intents.get_mut(order.intent.as_ref()?)?;
        if intent.status != "OPENED" {
            return None;
        }
        intent.status = "CLOSED";
        intent.ended = Some(payment.updated);
        intent.result = Some(payment.id);
        Some(intent.id.clone())
    }

    /// The reference of what is on a POS now.
    pub fn standing_at(&mut self, external_id: &str, at: i64) -> Result<Option<String>, Refused> {
        let pos = self.pos_by_name(None, external_id);
        let pos = pos.ok_or_else(|| unknown("point of sale", external_id))?.id;
        let standing = self.standing(pos, at);
        Ok(standing.and_then(|standing| match standing {
            Standing::Order { order, .. } => Some(order.reference),
            Standing::Intent(id) => self.intents.get(&id).map(|intent| intent.order.reference.clone()),
        }))
    }

    /// What is on a POS now. What has expired is taken off.
    pub fn standing(&mut self, pos: u64, at: i64) -> Option<Standing> {
        let pos = self.pos.get_mut(&pos)?;
        if matches!(pos.standing, Some(Standing::Order { expires: Some(expires), .. }) if expires <= at) {
            pos.standing = None;
        }
        pos.standing.clone()
    }
}

fn room(held: usize, what: &'static str, max: usize) -> Result<(), Refused> {
    if held < max {
        Ok(())
    } else {
        Err(Refused::Full { what, max })
    }
}

fn wrong_status(payment: &Payment) -> Refused {
    Refused::Status {
        id: payment.id,
        status: payment.status.word(),
    }
}

fn checked(amount: Option<Decimal>, max: Decimal, site: &Site) -> Result<Decimal, Refused> {
    let amount = amount.unwrap_or(max);
    let exact = amount.normalize().scale() <= site.places;
    if exact && amount > Decimal::ZERO && amount <= max {
        Ok(amount)
    } else {
        Err(Refused::Amount {
            places: site.places,
            max,
        })
    }
}
