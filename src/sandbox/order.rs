//! Merchant orders, payments and refunds: what they are and how they read (`protocol.md`, 5 and 7).

use rust_decimal::Decimal;

use super::json::{Json, object};
use super::settings::Site;
use super::time;

/// What a phone was shown, and what may be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub reference: String,
    pub total: Decimal,
    pub items: Vec<Item>,
    pub notification_url: Option<String>,
    pub sponsor: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub id: Option<String>,
    pub category: Option<String>,
    pub title: String,
    pub description: Option<String>,
    pub quantity: u64,
    pub unit_price: Decimal,
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    InProcess,
    Approved,
    Rejected,
    Cancelled,
    InMediation,
    Refunded,
    ChargedBack,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::InProcess => "in_process",
            Status::Approved => "approved",
            Status::Rejected => "rejected",
            Status::Cancelled => "cancelled",
            Status::InMediation => "in_mediation",
            Status::Refunded => "refunded",
            Status::ChargedBack => "charged_back",
        }
    }

    /// What a customer's attempt can come to at first.
    pub fn outcome(word: &str) -> Option<Status> {
        [Status::Pending, Status::InProcess, Status::Approved, Status::Rejected]
            .into_iter()
            .find(|status| status.word() == word)
    }

    /// What an attempt under review can come to.
    pub fn end(word: &str) -> Option<Status> {
        [Status::Approved, Status::Rejected, Status::Cancelled]
            .into_iter()
            .find(|status| status.word() == word)
    }

    pub fn is_waiting(self) -> bool {
        matches!(self, Status::Pending | Status::InProcess)
    }

    fn is_void(self) -> bool {
        matches!(self, Status::Rejected | Status::Cancelled)
    }

    /// Counts towards `order_status: paid` by Mercado Pago's own definition.
    fn is_or_was_money(self) -> bool {
        matches!(self, Status::Approved | Status::ChargedBack | Status::InMediation)
    }
}

#[derive(Debug, Clone)]
pub struct Payment {
    pub id: u64,
    pub merchant_order: u64,
    pub collector: u64,
    pub site: &'static Site,
    pub reference: String,
    pub notification_url: Option<String>,
    pub amount: Decimal,
    pub refunded: Decimal,
    pub status: Status,
    /// Why, in Mercado Pago's words.
    pub detail: &'static str,
    pub refunds: Vec<Refund>,
    pub created: i64,
    pub approved: Option<i64>,
    pub updated: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub id: u64,
    pub payment: u64,
    pub collector: u64,
    pub amount: Decimal,
    pub created: i64,
    /// The idempotency key that asked for it; none if it came from outside.
    pub key: Option<String>,
}

#[derive(Debug, Clone)]
pub struct MerchantOrder {
    pub id: u64,
    pub collector: u64,
    pub site: &'static Site,
    pub order: Order,
    /// Where it was scanned; none for a bare URL.
    pub pos: Option<u64>,
    pub intent: Option<String>,
    pub payments: Vec<u64>,
    pub status: &'static str,
    pub order_status: &'static str,
    /// The sum of what is approved.
    pub paid: Decimal,
    pub refunded: Decimal,
    pub created: i64,
    pub updated: i64,
}

impl MerchantOrder {
    /// Status and sums, from its payments. Once closed it stays so, whatever is given back.
    pub fn settle<'a>(&mut self, payments: impl Iterator<Item = &'a Payment> + Clone, at: i64) {
        let sum = |which: fn(Status) -> bool| {
            payments
                .clone()
                .filter(|payment| which(payment.status))
                .map(|payment| payment.amount)
                // Each may be for all of it if they were under review together: more than a decimal holds.
                .fold(Decimal::ZERO, Decimal::saturating_add)
        };
        self.paid = sum(|status| status == Status::Approved);
        let refunded = payments.clone().map(|payment| payment.refunded);
        self.refunded = refunded.fold(Decimal::ZERO, Decimal::saturating_add);
        if self.paid >= self.order.total {
            self.status = "closed";
        }
        let counts = sum(Status::is_or_was_money) >= self.order.total;
        self.order_status = order_status(counts, payments);
        self.updated = at;
    }

    /// What is still to be paid.
    pub fn open_amount(&self) -> Decimal {
        (self.order.total - self.paid).max(Decimal::ZERO)
    }

    pub fn json<'a>(&self, payments: impl Iterator<Item = &'a Payment>) -> Json {
        let order = &self.order;
        object([
            ("id", self.id.into()),
            ("status", self.status.into()),
            ("order_status", self.order_status.into()),
            ("external_reference", order.reference.as_str().into()),
            ("preference_id", format!("{}-{:x}", self.collector, self.id).into()),
            (
                "payments",
                payments
                    .map(|payment| payment.short(self.site))
                    .collect::<Vec<_>>()
                    .into(),
            ),
            ("shipments", Json::Array(Vec::new())),
            ("payouts", Json::Array(Vec::new())),
            (
                "collector",
                object([
                    ("id", self.collector.into()),
                    ("nickname", "SANDBOX".into()),
                    ("email", "".into()),
                ]),
            ),
            ("payer", Json::Null),
            ("marketplace", "NONE".into()),
            ("notification_url", order.notification_url.clone().into()),
            ("date_created", time::write(self.created).into()),
            ("last_updated", time::write(self.updated).into()),
            ("sponsor_id", order.sponsor.map(|sponsor| sponsor.to_string()).into()),
            ("shipping_cost", 0u64.into()),
            ("total_amount", order.total.into()),
            ("paid_amount", self.paid.into()),
            ("refunded_amount", self.refunded.into()),
            ("site_id", self.site.code.into()),
            (
                "items",
                order
                    .items
                    .iter()
                    .map(|item| item.json(self.site))
                    .collect::<Vec<_>>()
                    .into(),
            ),
            ("cancelled", false.into()),
            ("additional_info", "".into()),
            ("application_id", Json::Null),
            ("is_test", true.into()),
        ])
    }
}

fn order_status<'a>(counts: bool, payments: impl Iterator<Item = &'a Payment> + Clone) -> &'static str {
    let mut real = payments.filter(|payment| !payment.status.is_void()).peekable();
    let is_back = |payment: &Payment| matches!(payment.status, Status::Refunded | Status::ChargedBack);
    if real.peek().is_none() {
        return "payment_required";
    }
    let (back, there): (Vec<&Payment>, Vec<&Payment>) = real.partition(|payment| is_back(payment));
    match (counts, back.is_empty(), there.is_empty()) {
        (true, ..) => "paid",
        (_, false, true) => "reverted",
        (_, false, false) => "partially_reverted",
        _ if there.iter().any(|payment| payment.status.is_waiting()) => "payment_in_process",
        _ => "partially_paid",
    }
}

impl Item {
    fn json(&self, site: &Site) -> Json {
        object([
            ("id", self.id.clone().unwrap_or_default().into()),
            ("category_id", self.category.clone().unwrap_or_default().into()),
            ("currency_id", site.currency.into()),
            ("description", self.description.clone().unwrap_or_default().into()),
            ("picture_url", Json::Null),
            ("title", self.title.as_str().into()),
            ("quantity", self.quantity.into()),
            ("unit_price", self.unit_price.into()),
        ])
    }
}

impl Payment {
    /// What can still be given back.
    pub fn refundable(&self) -> Decimal {
        self.amount - self.refunded
    }

    /// As a merchant order lists it.
    fn short(&self, site: &Site) -> Json {
        object([
            ("id", self.id.into()),
            ("transaction_amount", self.amount.into()),
            ("total_paid_amount", self.amount.into()),
            ("shipping_cost", 0u64.into()),
            ("currency_id", site.currency.into()),
            ("status", self.status.word().into()),
            ("status_detail", self.detail.into()),
            ("operation_type", "regular_payment".into()),
            ("date_approved", self.approved.map(time::write).into()),
            ("date_created", time::write(self.created).into()),
            ("last_modified", time::write(self.updated).into()),
            ("amount_refunded", self.refunded.into()),
        ])
    }

    /// As `GET /v1/payments/{id}` tells it.
    pub fn json(&self) -> Json {
        let order = object([
            ("id", self.merchant_order.to_string().into()),
            ("type", "mercadopago".into()),
        ]);
        object([
            ("id", self.id.into()),
            ("status", self.status.word().into()),
            ("status_detail", self.detail.into()),
            ("transaction_amount", self.amount.into()),
            ("transaction_amount_refunded", self.refunded.into()),
            ("currency_id", self.site.currency.into()),
            ("external_reference", self.reference.as_str().into()),
            ("collector_id", self.collector.into()),
            ("order", order),
            ("pos_id", Json::Null),
            ("store_id", Json::Null),
            ("date_created", time::write(self.created).into()),
            ("date_approved", self.approved.map(time::write).into()),
            ("date_last_updated", time::write(self.updated).into()),
            ("operation_type", "regular_payment".into()),
            ("payment_method_id", "account_money".into()),
            ("payment_type_id", "account_money".into()),
            ("live_mode", true.into()),
            ("notification_url", self.notification_url.clone().into()),
            (
                "refunds",
                self.refunds.iter().map(Refund::json).collect::<Vec<_>>().into(),
            ),
            (
                "transaction_details",
                object([
                    ("net_received_amount", "***".into()),
                    ("total_paid_amount", self.amount.into()),
                ]),
            ),
        ])
    }
}

impl Refund {
    pub fn json(&self) -> Json {
        let source = [
            ("id", self.collector.to_string().into()),
            ("name", "SANDBOX".into()),
            ("type", "collector".into()),
        ];
        object([
            ("id", self.id.into()),
            ("payment_id", self.payment.into()),
            ("amount", self.amount.into()),
            ("metadata", object([])),
            ("source", object(source)),
            ("date_created", time::write(self.created).into()),
            ("unique_sequence_number", Json::Null),
            ("refund_mode", "standard".into()),
            ("adjustment_amount", 0u64.into()),
            ("status", "approved".into()),
            ("reason", Json::Null),
        ])
    }
}
