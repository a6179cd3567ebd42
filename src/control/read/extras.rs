//! What stations and countries add to an order: whether this account and POS may have it, and what it says.

use super::super::json::{Field, Object};
use super::{Read, Terms, amount, optional};
use crate::domain::account::Dialect;
use crate::domain::extras::{Cashier, Code, Fee, Iva, Loyalty, Measure, Percentage, Product, Products, Program, Unit};
use crate::domain::id::Timestamp;
use crate::domain::money::{Currency, Money, Site};
use crate::domain::pos::Mode;
use crate::domain::text::Text;

impl Terms {
    fn is_polled_as(&self, dialect: Dialect) -> bool {
        self.mode == Mode::Unattended && self.dialect == dialect
    }
}

/// `[{"type":"IVA","value":1900}]`, as Mercado Pago has it: a list of the one tax there is.
pub(super) fn taxes(field: &Field<'_>, terms: &Terms, total: Money) -> Read<Iva> {
    if terms.mode == Mode::Intent {
        return Err(field.bad("is for points of sale of mode unattended or attended: an intent has no place for it"));
    }
    if !terms.site.has_taxes() {
        return Err(field.bad(terms.site.without(Site::has_taxes)));
    }
    let list = field.array()?;
    let [tax] = &list[..] else {
        return Err(field.bad("must have one element, with the IVA of the whole order"));
    };
    let mut object = tax.object()?;
    let named = object.require("type")?;
    named.word("IVA", |word| (word == "IVA").then_some(()))?;
    let value = object.require("value")?;
    let percentage = optional(&mut object, "percentage", |field| percentage(field, terms))?;
    let iva = Iva::new(amount(&value, total.currency())?, percentage, total).map_err(|error| value.bad(error))?;
    object.finish("type, value and percentage")?;
    Ok(iva)
}

/// Only one of the three bodies has a place for it.
fn percentage(field: &Field<'_>, terms: &Terms) -> Read<Percentage> {
    if !terms.is_polled_as(Dialect::OrderVersion2) {
        return Err(field.bad(
            "is for accounts with poll_dialect order-version-2, in mode unattended: the IVA is the amount in value",
        ));
    }
    Percentage::parse(&field.digits()?).map_err(|error| field.bad(error))
}

pub(super) fn fee(field: &Field<'_>, terms: &Terms, total: Money) -> Read<Fee> {
    if !terms.linked || !terms.is_polled_as(Dialect::OrderVersion2) {
        return Err(field.bad(
            "is for accounts that are reached through a link (OAuth) and have poll_dialect order-version-2, in mode \
             unattended",
        ));
    }
    let fee = amount(field, total.currency())?;
    Fee::new(fee, total).map_err(|error| field.bad(error))
}

pub(super) fn loyalty(field: &Field<'_>, terms: &Terms) -> Read<Loyalty> {
    if !terms.site.has_loyalty() {
        return Err(field.bad(terms.site.without(Site::has_loyalty)));
    }
    if !terms.is_polled_as(Dialect::Documented) {
        return Err(field.bad("is for points of sale of mode unattended, with poll_dialect documented"));
    }
    let mut object = field.object()?;
    let loyalty = Loyalty {
        program: object
            .require("program")?
            .word("CTC, serviclub or payback", Program::parse)?,
        transaction_id: object.require("transaction_id")?.parsed(Text::parse)?,
        invoice_number: object.require("invoice_number")?.parsed(Code::padded)?,
        transaction_date: date(&object.require("transaction_date")?)?,
        transaction_amount: paid(&object.require("transaction_amount")?, terms.site.currency())?,
        store_id: object.require("store_id")?.parsed(Code::padded)?,
        products: products(&object.require("products")?)?,
        cashier: cashier(&mut object)?,
        period: optional(&mut object, "period", |field| field.parsed(Code::parse))?
            .unwrap_or_else(Loyalty::unknown_period),
        shift: optional(&mut object, "shift", |field| field.parsed(Code::parse))?,
        affinity_plan: optional(&mut object, "affinity_plan", |field| field.parsed(Code::parse))?
            .unwrap_or_else(Loyalty::usual_plan),
    };
    object.finish(
        "program, transaction_id, invoice_number, transaction_date, transaction_amount, store_id, products, \
         cashier_identification, period, shift and affinity_plan",
    )?;
    Ok(loyalty)
}

/// An instant, whatever offset it is written with.
fn date(field: &Field<'_>) -> Read<Timestamp> {
    let rule = "must be a date and time with an offset, like 2026-01-12T10:40:49.000-03:00";
    let date: jiff::Timestamp = field.string()?.parse().map_err(|_| field.bad(rule))?;
    match date.as_millisecond() {
        millis @ 0.. => Ok(Timestamp(millis)),
        _ => Err(field.bad("must not be before 1970")),
    }
}

fn paid(field: &Field<'_>, currency: Currency) -> Read<Money> {
    match amount(field, currency)? {
        none if none.is_zero() => Err(field.bad("must be more than zero")),
        some => Ok(some),
    }
}

fn products(field: &Field<'_>) -> Read<Products> {
    let products = field.array()?.iter().map(product).collect::<Read<Vec<_>>>()?;
    Products::new(products).map_err(|error| field.bad(error))
}

fn product(field: &Field<'_>) -> Read<Product> {
    let mut object = field.object()?;
    let product = Product {
        code: object.require("code")?.parsed(Code::parse)?,
        quantity: measure(&object.require("quantity")?)?,
        unit: object.require("unit")?.word("litre or piece", Unit::parse)?,
        unit_price: measure(&object.require("unit_price")?)?,
    };
    object.finish("code, quantity, unit and unit_price")?;
    Ok(product)
}

fn measure(field: &Field<'_>) -> Read<Measure> {
    Measure::parse(&field.digits()?).map_err(|error| field.bad(error))
}

fn cashier(loyalty: &mut Object<'_>) -> Read<Cashier> {
    let (mut kind, mut number) = (None, None);
    if let Some(field) = loyalty.take("cashier_identification") {
        let mut object = field.object()?;
        kind = optional(&mut object, "type", |field| field.parsed(Code::parse))?;
        number = optional(&mut object, "number", |field| field.parsed(Code::parse))?;
        object.finish("type and number")?;
    }
    Ok(Cashier {
        kind: kind.unwrap_or_else(Cashier::unknown_kind),
        number: number.unwrap_or_else(Cashier::unknown_number),
    })
}
