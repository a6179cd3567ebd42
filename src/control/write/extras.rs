//! What stations and countries add to an order, as it is pushed.

use serde::Serialize;

use super::{Digits, Time};
use crate::domain::extras::{Loyalty, Product};
use crate::domain::order::{Content, Order};

#[derive(Serialize)]
pub(super) struct ExtrasView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    taxes: Option<[TaxView; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    loyalty: Option<LoyaltyView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    marketplace_fee: Option<Digits>,
}

#[derive(Serialize)]
struct TaxView {
    #[serde(rename = "type")]
    kind: &'static str,
    value: Digits,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentage: Option<String>,
}

#[derive(Serialize)]
struct LoyaltyView<'a> {
    program: &'static str,
    transaction_id: &'a str,
    invoice_number: &'a str,
    transaction_date: Time,
    transaction_amount: Digits,
    store_id: &'a str,
    products: Vec<ProductView<'a>>,
    cashier_identification: CashierView<'a>,
    period: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shift: Option<&'a str>,
    affinity_plan: &'a str,
}

#[derive(Serialize)]
struct ProductView<'a> {
    code: &'a str,
    quantity: String,
    unit: &'static str,
    unit_price: String,
}

#[derive(Serialize)]
struct CashierView<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    number: &'a str,
}

pub(super) fn extras(order: &Order) -> ExtrasView<'_> {
    let Content {
        taxes,
        loyalty,
        marketplace_fee,
        ..
    } = &order.content;
    ExtrasView {
        taxes: taxes.map(|iva| {
            [TaxView {
                kind: "IVA",
                value: Digits(iva.value()),
                percentage: iva.percentage().map(|percentage| percentage.to_string()),
            }]
        }),
        loyalty: loyalty.as_deref().map(points),
        marketplace_fee: marketplace_fee.map(|fee| Digits(fee.amount())),
    }
}

fn points(loyalty: &Loyalty) -> LoyaltyView<'_> {
    LoyaltyView {
        program: loyalty.program.as_str(),
        transaction_id: loyalty.transaction_id.as_str(),
        invoice_number: loyalty.invoice_number.as_str(),
        transaction_date: Time(loyalty.transaction_date),
        transaction_amount: Digits(loyalty.transaction_amount),
        store_id: loyalty.store_id.as_str(),
        products: loyalty.products.iter().map(product).collect(),
        cashier_identification: CashierView {
            kind: loyalty.cashier.kind.as_str(),
            number: loyalty.cashier.number.as_str(),
        },
        period: loyalty.period.as_str(),
        shift: loyalty.shift.as_ref().map(|shift| shift.as_str()),
        affinity_plan: loyalty.affinity_plan.as_str(),
    }
}

fn product(product: &Product) -> ProductView<'_> {
    ProductView {
        code: product.code.as_str(),
        quantity: product.quantity.to_string(),
        unit: product.unit.as_str(),
        unit_price: product.unit_price.to_string(),
    }
}
