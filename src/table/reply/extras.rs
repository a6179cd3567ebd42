//! What stations and countries add to an order, as polls are told it (`protocol.md` 1.3 to 1.5).

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::number;
use crate::domain::extras::{Iva, Loyalty, Product};
use crate::domain::id::Timestamp;

#[derive(Serialize)]
pub(super) struct DocumentedTax {
    value: Box<RawValue>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
pub(super) struct TaxVersion2 {
    #[serde(rename = "type")]
    kind: &'static str,
    value: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentage: Option<Box<RawValue>>,
}

const IVA: &str = "IVA";

impl DocumentedTax {
    pub(super) fn of(iva: Iva) -> [DocumentedTax; 1] {
        [DocumentedTax {
            value: number(iva.value()),
            kind: IVA,
        }]
    }
}

impl TaxVersion2 {
    pub(super) fn of(iva: Iva) -> [TaxVersion2; 1] {
        [TaxVersion2 {
            kind: IVA,
            value: number(iva.value()),
            percentage: iva.percentage().map(number),
        }]
    }
}

#[derive(Serialize)]
pub(super) struct Points<'a> {
    program: &'static str,
    transaction_id: &'a str,
    invoice_number: &'a str,
    #[serde(serialize_with = "with_offset")]
    transaction_date: Timestamp,
    transaction_amount: Box<RawValue>,
    store_id: &'a str,
    products: Vec<Bought<'a>>,
    cashier_identification: Document<'a>,
    period: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<&'a str>,
    affinity_plan: &'a str,
}

#[derive(Serialize)]
struct Bought<'a> {
    code: &'a str,
    quantity: Box<RawValue>,
    unit: &'static str,
    unit_price: Box<RawValue>,
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    number: &'a str,
}

/// `2026-01-12T10:40:49.000+00:00`: the documents show milliseconds and an offset, never a `Z`.
fn with_offset<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    let time = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::MAX);
    to.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%3f+00:00"))
}

impl<'a> Points<'a> {
    pub(super) fn of(loyalty: &'a Loyalty) -> Points<'a> {
        let bought = |product: &'a Product| Bought {
            code: product.code.as_str(),
            quantity: number(product.quantity),
            unit: product.unit.as_str(),
            unit_price: number(product.unit_price),
        };
        Points {
            program: loyalty.program.as_str(),
            transaction_id: loyalty.transaction_id.as_str(),
            invoice_number: loyalty.invoice_number.as_str(),
            transaction_date: loyalty.transaction_date,
            transaction_amount: number(loyalty.transaction_amount),
            store_id: loyalty.store_id.as_str(),
            products: loyalty.products.iter().map(bought).collect(),
            cashier_identification: Document {
                kind: loyalty.cashier.kind.as_str(),
                number: loyalty.cashier.number.as_str(),
            },
            period: loyalty.period.as_str(),
            shift: loyalty.shift.as_ref().map(|shift| shift.as_str()),
            affinity_plan: loyalty.affinity_plan.as_str(),
        }
    }
}
