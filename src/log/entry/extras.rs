//! The stored form of what stations and countries add to an order.

use serde::{Deserialize, Serialize};

use super::{Read, Str, digits, field, known, optional, text};
use crate::domain::extras::{Cashier, Code, Fee, Iva, Loyalty, Measure, Percentage, Product, Products, Program, Unit};
use crate::domain::id::Timestamp;
use crate::domain::money::{Currency, Money};
use crate::domain::text::Text;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredIva<'a> {
    #[serde(borrow)]
    value: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percentage: Option<Str<'a>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredLoyalty<'a> {
    #[serde(borrow)]
    program: Str<'a>,
    transaction_id: Str<'a>,
    invoice_number: Str<'a>,
    transaction_date: i64,
    transaction_amount: Str<'a>,
    store_id: Str<'a>,
    products: Vec<StoredProduct<'a>>,
    /// Kind and number.
    cashier: (Str<'a>, Str<'a>),
    period: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shift: Option<Str<'a>>,
    affinity_plan: Str<'a>,
}

#[derive(Serialize, Deserialize)]
struct StoredProduct<'a> {
    #[serde(borrow)]
    code: Str<'a>,
    quantity: Str<'a>,
    unit: Str<'a>,
    unit_price: Str<'a>,
}

fn code<const N: usize>(code: &Code<N>) -> Str<'_> {
    code.as_str().into()
}

pub(super) fn store_iva(iva: &Iva) -> StoredIva<'static> {
    StoredIva {
        value: digits(iva.value()),
        percentage: iva.percentage().map(|percentage| percentage.to_string().into()),
    }
}

pub(super) fn store_fee(fee: &Fee) -> Str<'static> {
    digits(fee.amount())
}

pub(super) fn store_loyalty(loyalty: &Loyalty) -> StoredLoyalty<'_> {
    StoredLoyalty {
        program: loyalty.program.as_str().into(),
        transaction_id: text(&loyalty.transaction_id),
        invoice_number: code(&loyalty.invoice_number),
        transaction_date: loyalty.transaction_date.0,
        transaction_amount: digits(loyalty.transaction_amount),
        store_id: code(&loyalty.store_id),
        products: loyalty.products.iter().map(store_product).collect(),
        cashier: (code(&loyalty.cashier.kind), code(&loyalty.cashier.number)),
        period: code(&loyalty.period),
        shift: loyalty.shift.as_ref().map(code),
        affinity_plan: code(&loyalty.affinity_plan),
    }
}

fn store_product(product: &Product) -> StoredProduct<'_> {
    StoredProduct {
        code: code(&product.code),
        quantity: product.quantity.to_string().into(),
        unit: product.unit.as_str().into(),
        unit_price: product.unit_price.to_string().into(),
    }
}

/// `of` is the order's amount.
pub(super) fn read_iva(stored: &StoredIva<'_>, of: Money) -> Read<Iva> {
    let value = field("taxes", Money::parse(&stored.value, of.currency()))?;
    let percentage = stored.percentage.as_deref().map(Percentage::parse).transpose();
    field("taxes", Iva::new(value, field("taxes", percentage)?, of))
}

pub(super) fn read_fee(stored: &str, of: Money) -> Read<Fee> {
    let fee = field("marketplace_fee", Money::parse(stored, of.currency()))?;
    field("marketplace_fee", Fee::new(fee, of))
}

pub(super) fn read_loyalty(stored: StoredLoyalty<'_>, currency: Currency) -> Read<Loyalty> {
    let products = stored.products.iter().map(read_product).collect::<Read<_>>()?;
    let amount = Money::parse(&stored.transaction_amount, currency);
    Ok(Loyalty {
        program: known("program", Program::parse(&stored.program))?,
        transaction_id: field("transaction_id", Text::parse(&stored.transaction_id))?,
        invoice_number: field("invoice_number", Code::padded(&stored.invoice_number))?,
        transaction_date: Timestamp(stored.transaction_date),
        transaction_amount: field("transaction_amount", amount)?,
        store_id: field("store_id", Code::padded(&stored.store_id))?,
        products: field("products", Products::new(products))?,
        cashier: Cashier {
            kind: field("cashier", Code::parse(&stored.cashier.0))?,
            number: field("cashier", Code::parse(&stored.cashier.1))?,
        },
        period: field("period", Code::parse(&stored.period))?,
        shift: optional("shift", stored.shift, Code::parse)?,
        affinity_plan: field("affinity_plan", Code::parse(&stored.affinity_plan))?,
    })
}

fn read_product(stored: &StoredProduct<'_>) -> Read<Product> {
    Ok(Product {
        code: field("products", Code::parse(&stored.code))?,
        quantity: field("products", Measure::parse(&stored.quantity))?,
        unit: known("products", Unit::parse(&stored.unit))?,
        unit_price: field("products", Measure::parse(&stored.unit_price))?,
    })
}
