//! What stations and countries add to an order: Colombia's IVA, the points of Argentina's loyalty programmes, and the fee
//! of a marketplace. Which account may have which is not said here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::id::Timestamp;
use super::money::{Money, is_plain_decimal};
use super::text::Text;
use crate::limits;

/// A part of an order's amount that is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPart {
    #[error("must be at most the order's amount, which is {0}")]
    MoreThan(Money),
    #[error("must be less than the order's amount, which is {0}")]
    NotLessThan(Money),
}

/// The IVA that an order's amount contains: an amount, since Mercado Pago reads no percentage there. Zero is more than
/// nothing: of an order that says nothing, Mercado Pago takes 19 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iva {
    value: Money,
    percentage: Option<Percentage>,
}

impl Iva {
    pub fn new(value: Money, percentage: Option<Percentage>, of: Money) -> Result<Iva, BadPart> {
        if of.covers(value) {
            Ok(Iva { value, percentage })
        } else {
            Err(BadPart::MoreThan(of))
        }
    }

    pub fn value(self) -> Money {
        self.value
    }

    /// Told beside the amount where there is a place for it.
    pub fn percentage(self) -> Option<Percentage> {
        self.percentage
    }
}

/// What a marketplace keeps of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fee(Money);

impl Fee {
    pub fn new(fee: Money, of: Money) -> Result<Fee, BadPart> {
        if of.covers(fee) && of != fee {
            Ok(Fee(fee))
        } else {
            Err(BadPart::NotLessThan(of))
        }
    }

    pub fn amount(self) -> Money {
        self.0
    }
}

/// Why a decimal that is no amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDecimal {
    #[error("must be a plain decimal such as 20.513, without sign or exponent")]
    NotDecimal,
    #[error("must have at most {0} decimals")]
    TooManyDecimals(usize),
    #[error("must be more than zero")]
    Zero,
    #[error("must have at most {} digits before the point", limits::AMOUNT_INTEGER_DIGITS)]
    TooLarge,
    #[error("must be 0 to 100")]
    NoPercentage,
}

/// Without zeros that say nothing, so that equal values are equal.
fn decimal(text: &str, places: usize) -> Result<Decimal, BadDecimal> {
    if !is_plain_decimal(text) {
        return Err(BadDecimal::NotDecimal);
    }
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > places {
        return Err(BadDecimal::TooManyDecimals(places));
    }
    if integer.trim_start_matches('0').len() > limits::AMOUNT_INTEGER_DIGITS {
        return Err(BadDecimal::TooLarge);
    }
    let decimal = Decimal::from_str(text).map_err(|_| BadDecimal::NotDecimal)?;
    Ok(decimal.normalize())
}

/// How much of something, or a price of one: 20.513 litres at 1247.35. Nobody pays it, so a currency's decimals are no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure(Decimal);

impl Measure {
    pub fn parse(text: &str) -> Result<Measure, BadDecimal> {
        match decimal(text, limits::MEASURE_PLACES)? {
            none if none.is_zero() => Err(BadDecimal::Zero),
            some => Ok(Measure(some)),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentage(Decimal);

impl Percentage {
    pub fn parse(text: &str) -> Result<Percentage, BadDecimal> {
        let percentage = decimal(text, 2)?;
        if percentage <= Decimal::ONE_HUNDRED {
            Ok(Percentage(percentage))
        } else {
            Err(BadDecimal::NoPercentage)
        }
    }
}

impl fmt::Display for Percentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Letters and digits that name something for somebody else's programme.
#[derive(Clone, PartialEq, Eq)]
pub struct Code<const MAX: usize>(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have only letters and digits, at least one and at most {0}")]
pub struct BadCode(usize);

impl<const MAX: usize> Code<MAX> {
    pub fn parse(text: &str) -> Result<Self, BadCode> {
        let fits = (1..=MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if fits { Ok(Self(text.into())) } else { Err(BadCode(MAX)) }
    }

    /// With zeros before it up to the whole length, as its reference wants it.
    pub fn padded(text: &str) -> Result<Self, BadCode> {
        let Self(code) = Self::parse(text)?;
        Ok(Self(format!("{code:0>MAX$}").into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Debug for Code<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

pub type TransactionId = Text<{ limits::LOYALTY_TRANSACTION_LEN }>;
pub type InvoiceNumber = Code<{ limits::LOYALTY_INVOICE_LEN }>;
pub type StoreId = Code<{ limits::LOYALTY_STORE_LEN }>;
pub type Period = Code<{ limits::LOYALTY_PERIOD_LEN }>;
pub type ProductCode = Code<{ limits::LOYALTY_CODE_LEN }>;
pub type CashierCode = Code<{ limits::LOYALTY_CASHIER_LEN }>;

/// What a programme needs to know to give points (`protocol.md` 1.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loyalty {
    pub program: Program,
    /// Unique over all merchants of the programme.
    pub transaction_id: TransactionId,
    /// Padded.
    pub invoice_number: InvoiceNumber,
    pub transaction_date: Timestamp,
    pub transaction_amount: Money,
    /// Padded.
    pub store_id: StoreId,
    pub products: Products,
    pub cashier: Cashier,
    pub period: Period,
    /// What is sent when it is not known is not documented: then nothing is.
    pub shift: Option<Code<1>>,
    pub affinity_plan: Code<1>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Shell.
    Ctc,
    /// YPF.
    Serviclub,
    Payback,
}

impl Program {
    pub const ALL: [Program; 3] = [Program::Ctc, Program::Serviclub, Program::Payback];

    pub fn as_str(self) -> &'static str {
        match self {
            Program::Ctc => "CTC",
            Program::Serviclub => "serviclub",
            Program::Payback => "payback",
        }
    }

    pub fn parse(text: &str) -> Option<Program> {
        Program::ALL.into_iter().find(|program| program.as_str() == text)
    }
}

/// Who sold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cashier {
    /// The kind of document.
    pub kind: CashierCode,
    pub number: CashierCode,
}

/// What is sent when a value is not known.
impl Cashier {
    pub fn unknown_kind() -> CashierCode {
        Code("DNI".into())
    }

    pub fn unknown_number() -> CashierCode {
        Code("00000000".into())
    }
}

impl Loyalty {
    pub fn unknown_period() -> Period {
        Code("0000".into())
    }

    pub fn usual_plan() -> Code<1> {
        Code("7".into())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The programme's own: 2 is super at Shell.
    pub code: ProductCode,
    pub quantity: Measure,
    pub unit: Unit,
    pub unit_price: Measure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Litre,
    Piece,
}

impl Unit {
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Litre => "litre",
            Unit::Piece => "piece",
        }
    }

    pub fn parse(text: &str) -> Option<Unit> {
        [Unit::Litre, Unit::Piece]
            .into_iter()
            .find(|unit| unit.as_str() == text)
    }
}

/// At least one; fuel comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Products(Vec<Product>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {} products", limits::LOYALTY_PRODUCTS)]
pub struct BadProducts;

impl Products {
    pub fn new(products: Vec<Product>) -> Result<Products, BadProducts> {
        if (1..=limits::LOYALTY_PRODUCTS).contains(&products.len()) {
            Ok(Products(products))
        } else {
            Err(BadProducts)
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Product> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::Currency;

    fn cop(text: &str) -> Money {
        Money::parse(text, Currency::Cop).expect(text)
    }

    #[test]
    fn a_part_is_not_more_than_the_whole() {
        let total = cop("11900");
        for (value, good) in [("0", true), ("1900", true), ("11900", true), ("11901", false)] {
            assert_eq!(Iva::new(cop(value), None, total).is_ok(), good, "{value}");
        }
        for (value, good) in [("0", true), ("11899", true), ("11900", false), ("11901", false)] {
            assert_eq!(Fee::new(cop(value), total).is_ok(), good, "{value}");
        }
        let pesos = Money::parse("1", Currency::Ars).expect("whole");
        assert_eq!(Iva::new(pesos, None, total), Err(BadPart::MoreThan(total)));
        assert_eq!(
            BadPart::MoreThan(total).to_string(),
            "must be at most the order's amount, which is 11900"
        );
    }

    #[test]
    fn measures_are_exact() {
        use BadDecimal::*;
        for (text, read) in [
            ("20.513", Ok("20.513")),
            ("11.20", Ok("11.2")),
            ("007", Ok("7")),
            ("0.001", Ok("0.001")),
            ("20.5130", Err(TooManyDecimals(3))),
            ("0.000", Err(Zero)),
            ("1e2", Err(NotDecimal)),
            ("-1", Err(NotDecimal)),
            ("1000000000000", Err(TooLarge)),
        ] {
            let measure = Measure::parse(text).map(|measure| measure.to_string());
            assert_eq!(measure, read.map(str::to_owned), "{text}");
        }
        assert_eq!(Measure::parse("2"), Measure::parse("2.000"));
        let percentage = |text| Percentage::parse(text).map(|percentage| percentage.to_string());
        assert_eq!(percentage("19.00"), Ok("19".into()));
        assert_eq!(percentage("0"), Ok("0".into()));
        assert_eq!(percentage("100.01"), Err(NoPercentage));
    }

    #[test]
    fn codes_are_padded_to_their_length() {
        let padded = |text| StoreId::padded(text).map(|code| code.as_str().to_owned());
        for (text, code) in [("29", "00029"), ("00029", "00029"), ("1", "00001"), ("a1", "000a1")] {
            assert_eq!(padded(text), Ok(code.into()));
        }
        for text in ["", "123456", "1 2", "ñ", "1-2"] {
            assert_eq!(padded(text), Err(BadCode(5)), "{text}");
        }
        assert_eq!(Products::new(Vec::new()), Err(BadProducts));
    }
}
