//! Exact money: sites, their currencies and decimals, and amounts that cannot be wrong.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::pos::Mode;
use crate::limits;

/// A country of Mercado Pago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    Mla,
    Mlb,
    Mlc,
    Mco,
    Mlm,
    Mpe,
    Mlu,
}

/// Each country has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Currency {
    Ars,
    Brl,
    Clp,
    Cop,
    Mxn,
    Pen,
    Uyu,
}

/// All in which countries differ.
struct Row {
    site_code: &'static str,
    currency: Currency,
    currency_code: &'static str,
    /// The decimals that Mercado Pago takes: it refuses centavos of Colombian pesos, whatever ISO 4217 says.
    places: u32,
    /// Has references of the Instore API.
    intents: bool,
    /// An order tells the IVA that is part of it.
    taxes: bool,
    /// An order may bring points of a loyalty programme.
    loyalty: bool,
    /// Each site numbers the categories of points of sale by itself (`protocol.md` 2.3): petrol stations and gastronomy.
    categories: [u64; 2],
}

#[rustfmt::skip]
static COUNTRIES: [Row; 7] = {
    use Currency::*;
    [
        Row { site_code: "MLA", currency: Ars, currency_code: "ARS", places: 2, intents: true,  taxes: false, loyalty: true,  categories: [473_000, 621_102] },
        Row { site_code: "MLB", currency: Brl, currency_code: "BRL", places: 2, intents: true,  taxes: false, loyalty: false, categories: [4_731_300, 5_611_203] },
        Row { site_code: "MLC", currency: Clp, currency_code: "CLP", places: 0, intents: false, taxes: false, loyalty: false, categories: [473_001, 561_000] },
        Row { site_code: "MCO", currency: Cop, currency_code: "COP", places: 0, intents: false, taxes: true,  loyalty: false, categories: [4_731, 5_611] },
        Row { site_code: "MLM", currency: Mxn, currency_code: "MXN", places: 2, intents: false, taxes: false, loyalty: false, categories: [468_419, 5_812] },
        Row { site_code: "MPE", currency: Pen, currency_code: "PEN", places: 2, intents: false, taxes: false, loyalty: false, categories: [5_050, 5_520] },
        Row { site_code: "MLU", currency: Uyu, currency_code: "UYU", places: 2, intents: false, taxes: false, loyalty: false, categories: [47_300, 56_101] },
    ]
};

impl Site {
    pub const ALL: [Site; 7] = [
        Site::Mla,
        Site::Mlb,
        Site::Mlc,
        Site::Mco,
        Site::Mlm,
        Site::Mpe,
        Site::Mlu,
    ];

    /// The table is in the order of both enums, as a test says.
    fn row(self) -> &'static Row {
        &COUNTRIES[self as usize]
    }

    pub fn code(self) -> &'static str {
        self.row().site_code
    }

    pub fn currency(self) -> Currency {
        self.row().currency
    }

    /// Whether orders of a POS can get to Mercado Pago this way.
    pub fn serves(self, mode: Mode) -> bool {
        mode != Mode::Intent || self.row().intents
    }

    pub fn has_taxes(self) -> bool {
        self.row().taxes
    }

    pub fn has_loyalty(self) -> bool {
        self.row().loyalty
    }

    pub fn petrol_station(self) -> u64 {
        self.row().categories[0]
    }

    pub fn gastronomy(self) -> u64 {
        self.row().categories[1]
    }

    /// Why a country cannot have something, and which can.
    pub fn without(self, has: impl Fn(Site) -> bool) -> String {
        let others = Site::ALL.into_iter().filter(|site| has(*site)).map(Site::code);
        format!(
            "is for accounts of {}; this one's site is {}",
            others.collect::<Vec<_>>().join(" and "),
            self.code()
        )
    }

    pub fn parse(code: &str) -> Option<Site> {
        Site::ALL.into_iter().find(|site| site.code() == code)
    }
}

impl Currency {
    fn row(self) -> &'static Row {
        &COUNTRIES[self as usize]
    }

    pub fn code(self) -> &'static str {
        self.row().currency_code
    }

    pub fn parse(code: &str) -> Option<Currency> {
        Site::ALL
            .into_iter()
            .map(Site::currency)
            .find(|currency| currency.code() == code)
    }

    pub fn places(self) -> u32 {
        self.row().places
    }
}

/// Why an amount was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    #[error("must be a plain decimal such as 18525.50, without sign or exponent")]
    NotDecimal,
    #[error("must not be negative")]
    Negative,
    #[error("must be more than zero")]
    Zero,
    #[error("has more decimals than {0} takes ({1})")]
    TooManyDecimals(&'static str, u32),
    #[error("has more than {} digits before the point", limits::AMOUNT_INTEGER_DIGITS)]
    TooLarge,
}

/// An amount in one currency, never negative, with exactly the currency's decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    pub fn zero(currency: Currency) -> Money {
        Money {
            amount: Decimal::new(0, currency.places()),
            currency,
        }
    }

    /// Reads digits with an optional point, as a person or a controller writes them.
    pub fn parse(text: &str, currency: Currency) -> Result<Money, BadAmount> {
        let digits = match text.strip_prefix('-') {
            Some(rest) if is_plain_decimal(rest) => return Err(BadAmount::Negative),
            _ => text,
        };
        if !is_plain_decimal(digits) {
            return Err(BadAmount::NotDecimal);
        }
        let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.len() > currency.places() as usize {
            return Err(BadAmount::TooManyDecimals(currency.code(), currency.places()));
        }
        if integer.trim_start_matches('0').len() > limits::AMOUNT_INTEGER_DIGITS {
            return Err(BadAmount::TooLarge);
        }
        let amount = Decimal::from_str(digits).map_err(|_| BadAmount::NotDecimal)?;
        Money::from_decimal(amount, currency).ok_or(BadAmount::TooLarge)
    }

    /// `None` if it is negative, too large, or finer than the currency.
    pub fn from_decimal(mut amount: Decimal, currency: Currency) -> Option<Money> {
        if amount.is_sign_negative() && !amount.is_zero() {
            return None;
        }
        amount.normalize_assign();
        if amount.scale() > currency.places()
            || amount.trunc().mantissa() >= 10_i128.pow(limits::AMOUNT_INTEGER_DIGITS as u32)
        {
            return None;
        }
        amount.rescale(currency.places());
        amount.set_sign_positive(true);
        Some(Money { amount, currency })
    }

    pub fn currency(self) -> Currency {
        self.currency
    }

    pub fn amount(self) -> Decimal {
        self.amount
    }

    pub fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// `None` beyond the largest amount, or of another currency.
    pub fn plus(self, other: Money) -> Option<Money> {
        (self.currency == other.currency).then_some(())?;
        Money::from_decimal(self.amount.checked_add(other.amount)?, self.currency)
    }

    /// `None` if there is not that much, or of another currency.
    pub fn minus(self, other: Money) -> Option<Money> {
        (self.currency == other.currency).then_some(())?;
        Money::from_decimal(self.amount.checked_sub(other.amount)?, self.currency)
    }

    pub fn times(self, quantity: u32) -> Option<Money> {
        Money::from_decimal(self.amount.checked_mul(Decimal::from(quantity))?, self.currency)
    }

    /// Whether it reaches `asked`, in the same currency.
    pub fn covers(self, asked: Money) -> bool {
        self.currency == asked.currency && self.amount >= asked.amount
    }
}

pub(super) fn is_plain_decimal(text: &str) -> bool {
    let (integer, fraction) = match text.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.len() <= 40 && part.bytes().all(|b| b.is_ascii_digit());
    digits(integer) && fraction.is_none_or(digits)
}

/// The digits alone, with the currency's decimals: `18525.50`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.amount.fmt(f)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stay_as_written() {
        for (text, shown) in [
            ("18525.50", "18525.50"),
            ("18525.5", "18525.50"),
            ("7", "7.00"),
            ("0.01", "0.01"),
            ("007.10", "7.10"),
        ] {
            assert_eq!(Money::parse(text, Currency::Ars).expect(text).to_string(), shown);
        }
        assert_eq!(
            Money::parse("18525", Currency::Cop).expect("whole").to_string(),
            "18525"
        );
    }

    #[test]
    fn what_is_not_an_amount_says_why() {
        use BadAmount::*;
        for (text, why) in [
            ("1e400", NotDecimal),
            ("1E2", NotDecimal),
            ("NaN", NotDecimal),
            ("", NotDecimal),
            (".5", NotDecimal),
            ("5.", NotDecimal),
            ("+5", NotDecimal),
            ("1_000", NotDecimal),
            ("1,50", NotDecimal),
            (" 1", NotDecimal),
            ("٣", NotDecimal),
            ("--1", NotDecimal),
            ("-1e2", NotDecimal),
            ("-1", Negative),
            ("-0", Negative),
            ("1.001", TooManyDecimals("ARS", 2)),
            ("1000000000000", TooLarge),
            ("99999999999999999999999999999999", TooLarge),
        ] {
            assert_eq!(Money::parse(text, Currency::Ars), Err(why), "{text}");
        }
        assert_eq!(Money::parse("1.5", Currency::Clp), Err(TooManyDecimals("CLP", 0)));
        assert_eq!(Money::parse("10.00", Currency::Cop), Err(TooManyDecimals("COP", 0)));
    }

    #[test]
    fn every_site_has_its_currency() {
        let table: Vec<_> = Site::ALL
            .into_iter()
            .map(|s| (s.code(), s.currency().code(), s.currency().places()))
            .collect();
        assert_eq!(
            table,
            [
                ("MLA", "ARS", 2),
                ("MLB", "BRL", 2),
                ("MLC", "CLP", 0),
                ("MCO", "COP", 0),
                ("MLM", "MXN", 2),
                ("MPE", "PEN", 2),
                ("MLU", "UYU", 2)
            ]
        );
        let numbers: Vec<_> = Site::ALL.into_iter().map(|site| site as usize).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
        for site in Site::ALL {
            assert_eq!(site.currency() as usize, site as usize);
            assert_eq!(Site::parse(site.code()), Some(site));
            assert_eq!(Currency::parse(site.currency().code()), Some(site.currency()));
        }
        assert_eq!(Site::parse("mla"), None);
    }

    #[test]
    fn what_a_country_lacks_is_said_with_those_that_have_it() {
        let intents = |site: Site| site.serves(Mode::Intent);
        assert_eq!(
            Site::Mlc.without(intents),
            "is for accounts of MLA and MLB; this one's site is MLC"
        );
        let with = |has: fn(Site) -> bool| -> Vec<Site> { Site::ALL.into_iter().filter(|site| has(*site)).collect() };
        assert_eq!(with(Site::has_taxes), [Site::Mco]);
        assert_eq!(with(Site::has_loyalty), [Site::Mla]);
    }

    #[test]
    fn sums_are_exact_and_bounded() {
        let ars = |text| Money::parse(text, Currency::Ars).expect(text);
        assert_eq!(ars("0.1").plus(ars("0.2")), Some(ars("0.30")));
        assert_eq!(ars("0.10").minus(ars("0.20")), None);
        assert_eq!(ars("999999999999.99").plus(ars("0.01")), None);
        assert_eq!(ars("333.33").times(3), Some(ars("999.99")));
        assert_eq!(ars("999999999999").times(1_000_000), None);
        assert!(!ars("1").covers(Money::parse("1", Currency::Uyu).expect("whole")));
    }
}
