//! The receipt of an order that has ended and for which money came: as text for a narrow printer, or as JSON. Pure: an
//! order becomes lines. It says what was sold and what became of the money; it is no invoice, and says that too.

use hyper::header::{self, HeaderMap};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::write::{self, DeliveryView, Digits, PaymentView, RefundView, Time};
use crate::domain::command::Refusal;
use crate::domain::id::Timestamp;
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Delivery, Item, Order, Status};
use crate::domain::payment::{Payment, Refund, RefundState, Reversal};
use crate::limits;

/// The characters of a printer's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width(usize);

impl Default for Width {
    fn default() -> Width {
        Width(42)
    }
}

impl Width {
    const ALL: [Width; 3] = [Width(32), Width(42), Width(48)];

    pub(super) fn parse(text: &str) -> Result<Width, &'static str> {
        let mut all = Width::ALL.into_iter();
        all.find(|width| width.0.to_string() == text)
            .ok_or("must be 32, 42 or 48")
    }
}

const _: () = assert!(
    limits::AMOUNT_INTEGER_DIGITS + "-.00".len() <= 32,
    "an amount fits the narrowest line"
);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
}

impl Format {
    pub(super) fn parse(text: &str) -> Result<Format, &'static str> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("must be text or json"),
        }
    }

    /// The first that `Accept` names; text if it names neither, since that is what a receipt is.
    pub(super) fn accepted(headers: &HeaderMap) -> Format {
        let accepts = headers.get_all(header::ACCEPT).iter();
        let mut ranges = accepts
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        let named = ranges.find_map(|range| match range.split(';').next().unwrap_or("").trim() {
            "application/json" => Some(Format::Json),
            "text/plain" | "text/*" | "*/*" => Some(Format::Text),
            _ => None,
        });
        named.unwrap_or(Format::Text)
    }
}

pub(super) struct Receipt<'a> {
    order: &'a Order,
    /// The point of sale's, if it has one.
    name: Option<&'a str>,
}

impl<'a> Receipt<'a> {
    pub(super) fn of(order: &'a Order, name: Option<&'a str>) -> Result<Receipt<'a>, Refusal> {
        if order.status.is_open() {
            Err(Refusal::OrderOpen(order.reference.clone()))
        } else if order.payments.is_empty() {
            Err(Refusal::OrderNotPaid(order.status))
        } else {
            Ok(Receipt { order, name })
        }
    }

    /// What is left of all that came; nothing if it is more than an amount can say.
    fn left(&self) -> Option<Money> {
        let mut payments = self.order.payments.iter();
        payments.try_fold(Money::zero(self.order.currency()), |sum, payment| {
            sum.plus(self.order.left_of(payment))
        })
    }

    pub(super) fn text(&self, Width(width): Width) -> String {
        let words = Words::of(self.order.currency());
        let mut page = Page {
            width,
            text: String::new(),
        };
        self.head(&mut page, words);
        page.rule();
        self.order.content.items.iter().for_each(|item| sold(&mut page, item));
        page.rule();
        page.row(
            &format!("TOTAL {}", self.order.currency().code()),
            &self.order.amount().to_string(),
        );
        let payments = self.order.payments.iter();
        payments.for_each(|payment| self.payment(&mut page, words, payment));
        self.went_back(&mut page, words);
        self.undelivered(&mut page, words);
        page.rule();
        page.line(words.no_invoice);
        page.text
    }

    fn head(&self, page: &mut Page, words: &Words) {
        page.line(self.name.unwrap_or(self.order.pos.as_str()));
        page.line(words.title);
        page.line(&format!("{} {}", words.order, self.order.reference));
        let ending = match self.order.status {
            Status::Canceled => Some(words.canceled),
            Status::Replaced => Some(words.replaced),
            Status::Expired => Some(words.expired),
            Status::Rejected => Some(words.rejected),
            Status::Sending | Status::Ready | Status::Shown | Status::Paid => None,
        };
        ending.iter().for_each(|ending| page.line(ending));
    }

    fn payment(&self, page: &mut Page, words: &Words, payment: &Payment) {
        page.row("Mercado Pago", &payment.amount.to_string());
        // Mercado Pago's own time; where it told none, ours.
        let paid_at = payment.approved_at.or(self.order.ended_at);
        paid_at
            .iter()
            .for_each(|at| page.line(&local(*at, self.order.currency())));
        page.line(&format!("{} {}", words.payment, payment.id));
        let merchant_order = payment.merchant_order.iter();
        merchant_order.for_each(|id| page.line(&format!("{} {id}", words.merchant_order)));
    }

    fn went_back(&self, page: &mut Page, words: &Words) {
        let Order { payments, refunds, .. } = self.order;
        let reversed = payments.iter().filter_map(|payment| payment.reversed);
        if refunds.is_empty() && reversed.clone().next().is_none() {
            return;
        }
        page.rule();
        for Refund { amount, state, .. } in refunds {
            match state {
                RefundState::Requested => page.row(words.refund_requested, &format!("-{amount}")),
                RefundState::Done(id) => page.row(&format!("{} {id}", words.refund), &format!("-{amount}")),
                // It did not go back, so it has no sign.
                RefundState::Failed(_) => page.row(words.refund_failed, &amount.to_string()),
            }
        }
        for reversed in reversed {
            let word = match reversed.how {
                Reversal::Refunded => words.refund,
                Reversal::ChargedBack => words.charged_back,
            };
            page.row(word, &format!("-{}", reversed.amount));
        }
        self.left()
            .iter()
            .for_each(|left| page.row(words.left, &left.to_string()));
    }

    fn undelivered(&self, page: &mut Page, words: &Words) {
        match &self.order.delivery {
            Some((Delivery::Failed { amount: None, .. }, _)) => page.line(words.undelivered),
            Some((Delivery::Failed { amount: Some(part), .. }, _)) => page.row(words.undelivered, &part.to_string()),
            Some((Delivery::Dispensed, _)) | None => {}
        }
    }

    pub(super) fn view(&self) -> ReceiptView<'_> {
        let order = self.order;
        let delivery = order.delivery.as_ref();
        ReceiptView {
            external_reference: order.reference.as_str(),
            pos: order.pos.as_str(),
            name: self.name,
            status: order.status.as_str(),
            ended_at: order.ended_at.map(Time),
            items: order.content.items.iter().map(line).collect(),
            amount: Digits(order.amount()),
            currency_id: order.currency().code(),
            payments: order
                .payments
                .iter()
                .map(|paid| write::payment_of(order, paid))
                .collect(),
            refunds: order.refunds.iter().map(write::refund).collect(),
            left: self.left().map(Digits),
            delivery: delivery.map(|(reported, at)| write::delivery(reported, Some(*at))),
        }
    }
}

/// What one item comes to.
fn total(item: &Item) -> Money {
    item.total().expect("an order's items were summed when it was made")
}

fn sold(page: &mut Page, item: &Item) {
    page.line(item.title.as_str());
    let count = format!("{} x {}", item.quantity.get(), item.unit_price);
    page.row(&count, &total(item).to_string());
}

/// The same facts for a program.
#[derive(Serialize)]
pub(super) struct ReceiptView<'a> {
    external_reference: &'a str,
    pos: &'a str,
    name: Option<&'a str>,
    status: &'static str,
    ended_at: Option<Time>,
    items: Vec<LineView<'a>>,
    amount: Digits,
    currency_id: &'static str,
    payments: Vec<PaymentView>,
    refunds: Vec<RefundView<'a>>,
    left: Option<Digits>,
    delivery: Option<DeliveryView<'a>>,
}

#[derive(Serialize)]
struct LineView<'a> {
    title: &'a str,
    quantity: u32,
    unit_price: Digits,
    amount: Digits,
}

fn line(item: &Item) -> LineView<'_> {
    LineView {
        title: item.title.as_str(),
        quantity: item.quantity.get(),
        unit_price: Digits(item.unit_price),
        amount: Digits(total(item)),
    }
}

/// The hour by which most of a country lives, with its offset, so that it is right wherever in the country it is read,
/// and whatever its parliament decides next year. Only the rules are here: a time zone database would be one more thing
/// to keep up to date, and the machine's own zone is often UTC.
fn local(at: Timestamp, currency: Currency) -> String {
    let rule = match currency {
        Currency::Ars | Currency::Brl | Currency::Uyu => "<-03>3",
        Currency::Clp => "<-04>4<-03>,M9.1.6/24,M4.1.6/24",
        Currency::Cop | Currency::Pen => "<-05>5",
        Currency::Mxn => "<-06>6",
    };
    let zone = TimeZone::posix(rule).unwrap_or(TimeZone::UTC);
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// What is printed, in the language of the country.
struct Words {
    title: &'static str,
    order: &'static str,
    canceled: &'static str,
    replaced: &'static str,
    expired: &'static str,
    rejected: &'static str,
    payment: &'static str,
    merchant_order: &'static str,
    refund: &'static str,
    refund_requested: &'static str,
    refund_failed: &'static str,
    charged_back: &'static str,
    left: &'static str,
    undelivered: &'static str,
    no_invoice: &'static str,
}

impl Words {
    fn of(currency: Currency) -> &'static Words {
        match currency {
            Currency::Brl => &PORTUGUESE,
            _ => &SPANISH,
        }
    }
}

const SPANISH: Words = Words {
    title: "Comprobante de pago",
    order: "Pedido",
    canceled: "Pedido cancelado",
    replaced: "Pedido reemplazado",
    expired: "Pedido vencido",
    rejected: "Pedido rechazado",
    payment: "Pago",
    merchant_order: "Orden",
    refund: "Devolución",
    refund_requested: "Devolución en curso",
    refund_failed: "Devolución no realizada",
    charged_back: "Contracargo",
    left: "Saldo",
    undelivered: "Producto no entregado",
    no_invoice: "No válido como factura",
};

const PORTUGUESE: Words = Words {
    title: "Comprovante de pagamento",
    order: "Pedido",
    canceled: "Pedido cancelado",
    replaced: "Pedido substituído",
    expired: "Pedido vencido",
    rejected: "Pedido recusado",
    payment: "Pagamento",
    merchant_order: "Ordem",
    refund: "Devolução",
    refund_requested: "Devolução em andamento",
    refund_failed: "Devolução não realizada",
    charged_back: "Estorno do banco",
    left: "Saldo",
    undelivered: "Produto não entregue",
    no_invoice: "Não é documento fiscal",
};

/// Lines, none of them longer than the width. It counts characters, as a printer does.
struct Page {
    width: usize,
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        for line in wrapped(text, self.width) {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    fn rule(&mut self) {
        self.line(&"-".repeat(self.width));
    }

    /// What is said at the left, and an amount at the right end of its last line, or of one more.
    fn row(&mut self, left: &str, amount: &str) {
        let mut lines = wrapped(left, self.width);
        let room = |line: &String| self.width.checked_sub(line.chars().count() + " ".len());
        let last = lines.pop_if(|line| room(line).is_some_and(|room| room >= amount.chars().count()));
        let last = last.unwrap_or_default();
        let gap = self.width.saturating_sub(last.chars().count());
        lines.push(format!("{last}{amount:>gap$}"));
        for line in lines {
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }
}

/// Between words where that is possible, else within them.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut room = 0;
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width) {
            match lines.last_mut() {
                Some(line) if piece.len() < room => {
                    line.push(' ');
                    line.extend(piece);
                    room -= piece.len() + 1;
                }
                _ => {
                    lines.push(piece.iter().collect());
                    room = width - piece.len();
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests;
