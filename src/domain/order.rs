//! An order: what was asked for, what became of it, and the money that came. Totals are right by construction.

use super::account::{LatePayment, Payee};
use super::extras::{Fee, Iva, Loyalty};
use super::id::{AccountId, PosId, Reference, Timestamp};
use super::money::{Currency, Money};
use super::payment::{Payment, Refund, RefundState, Sighting};
use super::pos::Mode;
use super::posted::{Posted, QrMode, Way};
use super::text::Text;
use crate::limits;

pub type Title = Text<{ limits::TITLE_LEN }>;
pub type Description = Text<{ limits::DESCRIPTION_LEN }>;
pub type Sku = Text<{ limits::SKU_LEN }>;
pub type Category = Text<{ limits::CATEGORY_LEN }>;
pub type PictureUrl = Text<{ limits::URL_LEN }>;
pub type Reason = Text<{ limits::REASON_LEN }>;

/// One thing sold. Litres belong in the title: a quantity is a whole number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub title: Title,
    /// The title, if the controller gave none: Mercado Pago wants one always.
    pub description: Description,
    pub quantity: Quantity,
    pub unit_price: Money,
    pub sku_number: Option<Sku>,
    pub category: Option<Category>,
    pub unit_measure: Option<UnitMeasure>,
    pub picture_url: Option<PictureUrl>,
}

impl Item {
    /// One with no more than every mode asks for.
    pub fn plain(title: Title, description: Description, quantity: Quantity, unit_price: Money) -> Item {
        Item {
            title,
            description,
            quantity,
            unit_price,
            sku_number: None,
            category: None,
            unit_measure: None,
            picture_url: None,
        }
    }

    pub fn total(&self) -> Option<Money> {
        self.unit_price.times(self.quantity.0)
    }
}

/// 1 to 1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity(u32);

impl Quantity {
    pub const ONE: Quantity = Quantity(1);

    pub fn new(quantity: u32) -> Option<Quantity> {
        (1..=limits::QUANTITY).contains(&quantity).then_some(Quantity(quantity))
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitMeasure {
    Unit,
    Pack,
}

impl UnitMeasure {
    pub fn as_str(self) -> &'static str {
        match self {
            UnitMeasure::Unit => "unit",
            UnitMeasure::Pack => "pack",
        }
    }

    pub fn parse(text: &str) -> Option<UnitMeasure> {
        [UnitMeasure::Unit, UnitMeasure::Pack]
            .into_iter()
            .find(|u| u.as_str() == text)
    }
}

/// The items of an order and their sum, which is more than zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    items: Vec<Item>,
    total: Money,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadItems {
    #[error("must have at least one item")]
    None,
    #[error("must have at most {} items", limits::ITEMS)]
    TooMany,
    #[error("must sum to more than zero")]
    ZeroTotal,
    #[error("must sum to at most {} digits before the point", limits::AMOUNT_INTEGER_DIGITS)]
    TooLarge,
    #[error("must all be in one currency")]
    Currencies,
}

impl Items {
    pub fn new(items: Vec<Item>) -> Result<Items, BadItems> {
        let currency = items.first().ok_or(BadItems::None)?.unit_price.currency();
        if items.len() > limits::ITEMS {
            return Err(BadItems::TooMany);
        }
        if items.iter().any(|item| item.unit_price.currency() != currency) {
            return Err(BadItems::Currencies);
        }
        let total = items
            .iter()
            .try_fold(Money::zero(currency), |sum, item| sum.plus(item.total()?))
            .ok_or(BadItems::TooLarge)?;
        if total.is_zero() {
            Err(BadItems::ZeroTotal)
        } else {
            Ok(Items { items, total })
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Item> {
        self.items.iter()
    }

    /// It stands for the order where there is one line.
    pub fn first(&self) -> &Item {
        self.items.first().expect("there is one at least")
    }

    pub fn total(&self) -> Money {
        self.total
    }
}

/// The controller's own JSON object: it comes back in every event of the order and is never sent on. The edge that
/// read it has put it into one form (no spaces, members sorted), so that equal values are equal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata(pub std::sync::Arc<str>);

/// What the controller asked for. A repeated push is "the same" if this is equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub items: Items,
    pub expires_in_seconds: u64,
    pub metadata: Option<Metadata>,
    /// Overrides the account's policy.
    pub late_payment: Option<LatePayment>,
    /// Of an intent; of other orders it is always the printed one.
    pub qr: QrMode,
    pub taxes: Option<Iva>,
    pub loyalty: Option<Box<Loyalty>>,
    pub marketplace_fee: Option<Fee>,
}

impl Content {
    /// One with no more than every mode asks for.
    pub fn plain(items: Items, expires_in_seconds: u64) -> Content {
        Content {
            items,
            expires_in_seconds,
            metadata: None,
            late_payment: None,
            qr: QrMode::Static,
            taxes: None,
            loyalty: None,
            marketplace_fee: None,
        }
    }

    /// The first field in which two contents differ, as the controller spells it.
    pub fn differs(&self, other: &Content) -> Option<&'static str> {
        if self.items != other.items {
            Some("items")
        } else if self.expires_in_seconds != other.expires_in_seconds {
            Some("expires_in_seconds")
        } else if self.metadata != other.metadata {
            Some("metadata")
        } else if self.late_payment != other.late_payment {
            Some("late_payment")
        } else if self.qr != other.qr {
            Some("qr")
        } else if self.taxes != other.taxes {
            Some("taxes")
        } else if self.loyalty != other.loyalty {
            Some("loyalty")
        } else if self.marketplace_fee != other.marketplace_fee {
            Some("marketplace_fee")
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is on its way to Mercado Pago, or there already: only the answer tells.
    Sending,
    /// It can be paid: Mercado Pago has it, or polls are told.
    Ready,
    /// It was polled: a customer may have it on the telephone.
    Shown,
    Paid,
    Canceled,
    Replaced,
    Expired,
    /// Mercado Pago did not take it.
    Rejected,
}

impl Status {
    pub const ALL: [Status; 8] = [
        Status::Sending,
        Status::Ready,
        Status::Shown,
        Status::Paid,
        Status::Canceled,
        Status::Replaced,
        Status::Expired,
        Status::Rejected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Sending => "sending",
            Status::Ready => "ready",
            Status::Shown => "shown",
            Status::Paid => "paid",
            Status::Canceled => "canceled",
            Status::Replaced => "replaced",
            Status::Expired => "expired",
            Status::Rejected => "rejected",
        }
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }

    pub fn is_open(self) -> bool {
        matches!(self, Status::Sending | Status::Ready | Status::Shown)
    }
}

/// Why an order was canceled, where that matters later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// The customer used another wallet: what comes later was paid twice.
    PaidElsewhere,
    /// An intent was canceled there, not by us.
    AtMercadoPago,
    /// An intent is over, and its payment was rejected.
    NotPaid,
}

impl CancelReason {
    pub fn as_str(self) -> &'static str {
        match self {
            CancelReason::PaidElsewhere => "paid_elsewhere",
            CancelReason::AtMercadoPago => "at_mercadopago",
            CancelReason::NotPaid => "not_paid",
        }
    }

    pub fn parse(text: &str) -> Option<CancelReason> {
        [
            CancelReason::PaidElsewhere,
            CancelReason::AtMercadoPago,
            CancelReason::NotPaid,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == text)
    }
}

/// What the controller says of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    Dispensed,
    /// Without an amount nothing was delivered.
    Failed {
        amount: Option<Money>,
        reason: Option<Reason>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub reference: Reference,
    pub pos: PosId,
    pub account: AccountId,
    pub payee: Payee,
    pub content: Content,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// What is done about late and double money: the account's policy when the order was made, or the order's own.
    pub late_payment: LatePayment,
    pub status: Status,
    pub shown_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// Why it was canceled, or is to be.
    pub canceled_for: Option<CancelReason>,
    pub payments: Vec<Payment>,
    pub refunds: Vec<Refund>,
    pub sightings: Vec<Sighting>,
    pub delivery: Option<(Delivery, Timestamp)>,
    /// The controller was silent for too long after the order was paid.
    pub overdue_at: Option<Timestamp>,
    /// None: it waits to be polled.
    pub posted: Option<Box<Posted>>,
}

impl Order {
    /// One that was just pushed: nothing has become of it.
    pub fn new(
        reference: Reference,
        pos: PosId,
        account: AccountId,
        payee: Payee,
        content: Content,
        late_payment: LatePayment,
        now: Timestamp,
    ) -> Order {
        Order {
            reference,
            pos,
            account,
            payee,
            created_at: now,
            expires_at: now.plus_seconds(content.expires_in_seconds),
            content,
            late_payment,
            status: Status::Ready,
            shown_at: None,
            ended_at: None,
            canceled_for: None,
            payments: Vec::new(),
            refunds: Vec::new(),
            sightings: Vec::new(),
            delivery: None,
            overdue_at: None,
            posted: None,
        }
    }

    /// The same, to be put at Mercado Pago.
    pub fn to_post(self, way: Way) -> Order {
        Order {
            status: Status::Sending,
            posted: Some(Box::new(Posted::new(way))),
            ..self
        }
    }

    pub fn mode(&self) -> Mode {
        self.posted
            .as_ref()
            .map_or(Mode::Unattended, |posted| posted.way.mode())
    }

    /// Whether Mercado Pago is still to be told of it, or to be asked to let go of it.
    pub fn is_errand(&self) -> bool {
        self.status == Status::Sending || self.is_canceling()
    }

    /// Whether the controller waits to hear that it is canceled.
    pub fn is_canceling(&self) -> bool {
        self.status.is_open() && self.posted.as_ref().is_some_and(|posted| posted.canceling)
    }

    pub fn amount(&self) -> Money {
        self.content.items.total()
    }

    pub fn currency(&self) -> Currency {
        self.amount().currency()
    }

    /// What is left of a payment: it came, and went back neither by us nor otherwise.
    pub fn left_of(&self, payment: &Payment) -> Money {
        let left = self.gone_of(payment).and_then(|gone| payment.amount.minus(gone));
        left.unwrap_or(Money::zero(payment.amount.currency()))
    }

    /// What went back of a payment as far as we know, by us or otherwise.
    pub fn gone_of(&self, payment: &Payment) -> Option<Money> {
        let ours = self.given_back(payment.id)?;
        payment
            .reversed
            .map_or(Some(ours), |reversed| ours.plus(reversed.amount))
    }

    /// What we gave back of a payment, or have promised to.
    pub fn given_back(&self, payment: u64) -> Option<Money> {
        let live = |refund: &&Refund| refund.payment == payment && !matches!(refund.state, RefundState::Failed(_));
        let mut refunds = self.refunds.iter().filter(live);
        refunds.try_fold(Money::zero(self.currency()), |sum, refund| sum.plus(refund.amount))
    }

    /// Whether something is still to be done at Mercado Pago for it.
    pub fn refunds_wait(&self) -> bool {
        self.refunds.iter().any(Refund::waits)
    }

    /// What every event of the order repeats, so that a controller can act on one event alone.
    pub fn facts(&self) -> Facts {
        Facts {
            reference: self.reference.clone(),
            amount: self.amount(),
            metadata: self.content.metadata.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub reference: Reference,
    pub amount: Money,
    pub metadata: Option<Metadata>,
}
