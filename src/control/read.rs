//! From a controller's JSON to the domain. Whatever comes out of here is valid.

use super::json::{self, Bad, Field, Object};
use crate::config::Account;
use crate::domain::access::Scope;
use crate::domain::account::{Dialect, LatePayment};
use crate::domain::command::{Report, Wanted};
use crate::domain::id::{ExternalPosId, ExternalStoreId, IdempotencyKey, PosId, Reference};
use crate::domain::money::{BadAmount, Currency, Money, Site};
use crate::domain::order::{Content, Description, Item, Items, Metadata, PictureUrl, Quantity, Title, UnitMeasure};
use crate::domain::pos::{External, Mode, Name, PollKey, Registration, Waiting, Word};
use crate::domain::posted::QrMode;
use crate::domain::text::Text;
use crate::limits;

mod extras;

type Read<T> = Result<T, Bad>;

/// A registration but for its account, which the body may leave out.
pub(super) struct RegistrationBody {
    pub(super) account: Option<String>,
    mode: Mode,
    keys: Option<PollKey>,
    name: Option<Name>,
    require_lease: bool,
    url_secret: bool,
    external: External,
}

impl RegistrationBody {
    /// Refused where the account's country, or a missing name, is in the way of its orders.
    pub(super) fn of(self, account: &Account, pos: &PosId) -> Read<Registration> {
        let wrong = |field: &str, detail: String| Bad {
            code: "invalid_field",
            pointer: Some(format!("/{field}")),
            detail,
        };
        if !account.site.serves(self.mode) {
            return Err(wrong("mode", not_served(account.site, self.mode)));
        }
        let registration = Registration {
            account: account.id.clone(),
            mode: self.mode,
            keys: self.keys,
            name: self.name,
            require_lease: self.require_lease,
            url_secret: self.url_secret,
            external: (self.external != External::default()).then(|| Box::new(self.external)),
        };
        match registration.way(pos) {
            Ok(_) => Ok(registration),
            Err(missing) => {
                let rule = "must be given: the POS's own name has other characters than letters and digits";
                Err(wrong(missing, rule.into()))
            }
        }
    }
}

/// Why an account's POS cannot have a mode.
pub(super) fn not_served(site: Site, mode: Mode) -> String {
    let why = site.without(|site| site.serves(mode));
    format!("{} {why}", mode.as_str())
}

/// What a token is to open: all points of sale, or those that are named.
pub(super) fn scope(body: &Field<'_>) -> Read<Scope> {
    let mut object = body.object()?;
    let all = optional(&mut object, "all", |field| match field.boolean()? {
        true => Ok(()),
        false => Err(field.bad("must be true, or left out for a token of some points of sale")),
    })?;
    let scope = match all {
        Some(()) => Scope::All,
        None => {
            let field = object.require("pos")?;
            let names = field.array()?;
            if !(1..=limits::TOKEN_POS).contains(&names.len()) {
                return Err(field.bad(format!("must name 1 to {} points of sale", limits::TOKEN_POS)));
            }
            let names = names.iter().map(|name| name.parsed(PosId::parse));
            Scope::of(names.collect::<Read<Vec<_>>>()?)
        }
    };
    object.finish("pos alone, or all alone")?;
    Ok(scope)
}

/// `names` are the configured poll keys, in their order.
pub(super) fn registration(body: &Field<'_>, names: &[String]) -> Read<RegistrationBody> {
    let mut object = body.object()?;
    let mode = optional(&mut object, "mode", |field| {
        field.word("unattended, attended or intent", Mode::parse)
    })?;
    let mode = mode.unwrap_or_default();
    let keys = match object.take("keys") {
        Some(field) => Some(poll_key(&field, names)?),
        None if mode == Mode::Unattended => return Err(object.require("keys").expect_err("taken just now")),
        None => None,
    };
    let read = RegistrationBody {
        account: optional(&mut object, "account", |field| Ok(field.string()?.into_owned()))?,
        mode,
        keys,
        name: optional(&mut object, "name", |field| field.parsed(Text::parse))?,
        require_lease: optional(&mut object, "require_lease", |field| match (field.boolean()?, mode) {
            (true, Mode::Attended | Mode::Intent) => Err(field
                .bad("must be false here: Mercado Pago has the order, and goes on offering it without the controller")),
            (required, _) => Ok(required),
        })?
        .unwrap_or(false),
        url_secret: optional(&mut object, "url_secret", Field::boolean)?.unwrap_or(true),
        external: External {
            pos: optional(&mut object, "external_id", |field| field.parsed(ExternalPosId::parse))?,
            store: optional(&mut object, "external_store_id", |field| {
                field.parsed(ExternalStoreId::parse)
            })?,
        },
    };
    object.finish("account, mode, keys, name, require_lease, url_secret, external_id and external_store_id")?;
    Ok(read)
}

fn poll_key(field: &Field<'_>, names: &[String]) -> Read<PollKey> {
    let mut object = field.object()?;
    let fields = names
        .iter()
        .map(|name| object.require(name))
        .collect::<Read<Vec<_>>>()?;
    let values = fields.iter().map(Field::string).collect::<Read<Vec<_>>>()?;
    object.finish(&names.join(", "))?;
    PollKey::new(&values).map_err(|wrong| {
        fields[wrong].bad(format!(
            "must have 1 to {} bytes and no control characters",
            limits::POLL_VALUE_LEN
        ))
    })
}

pub(super) fn state(body: &Field<'_>) -> Read<(Word, Option<u64>)> {
    let mut object = body.object()?;
    let waiting = object
        .require("state")?
        .word("in_process, unavailable or timeout", Waiting::parse)?;
    let message = optional(&mut object, "message", |field| field.parsed(Text::parse))?;
    let lease = optional(&mut object, "lease_seconds", lease_seconds)?;
    object.finish("state, message and lease_seconds")?;
    Ok((Word { waiting, message }, lease))
}

pub(super) fn lease(body: &Field<'_>) -> Read<u64> {
    let mut object = body.object()?;
    let seconds = lease_seconds(&object.require("seconds")?)?;
    object.finish("seconds")?;
    Ok(seconds)
}

fn lease_seconds(field: &Field<'_>) -> Read<u64> {
    within(field, field.whole()?, limits::LEASE_SECONDS)
}

fn within(field: &Field<'_>, number: u64, range: std::ops::RangeInclusive<u64>) -> Read<u64> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(field.bad(format!("must be {} to {}", range.start(), range.end())))
    }
}

/// What the POS of an order and its account say of what it may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) site: Site,
    pub(super) mode: Mode,
    pub(super) dialect: Dialect,
    /// The account is reached through a link (OAuth).
    pub(super) linked: bool,
}

impl Terms {
    pub(super) fn of(account: &Account, mode: Mode) -> Terms {
        Terms {
            site: account.site,
            mode,
            dialect: account.poll_dialect,
            linked: account.oauth.is_some(),
        }
    }
}

/// The reference that an order names, whatever else is wrong with it.
pub(super) fn reference(body: &Field<'_>) -> Option<Reference> {
    let named = body.object().ok()?.take("external_reference")?;
    named.parsed(Reference::parse).ok()
}

/// An order's reference, if it has one, and what is asked for.
pub(super) fn order(body: &Field<'_>, terms: &Terms) -> Read<(Option<Reference>, Content)> {
    let currency = terms.site.currency();
    let mut object = body.object()?;
    let reference = optional(&mut object, "external_reference", |field| {
        field.parsed(Reference::parse)
    })?;
    let items = match (object.take("items"), object.take("amount")) {
        (Some(items), None) => item_list(&items, terms)?,
        (None, Some(amount)) => short_form(&mut object, &amount, currency)?,
        (Some(_), Some(amount)) => return Err(amount.bad("must be left out where items are given")),
        (None, None) => return Err(without_items(object)),
    };
    let total = items.total();
    let content = Content {
        items,
        expires_in_seconds: optional(&mut object, "expires_in_seconds", |field| {
            within(field, field.whole()?, limits::EXPIRES_IN_SECONDS)
        })?
        .unwrap_or(limits::EXPIRES_IN_SECONDS_DEFAULT),
        metadata: optional(&mut object, "metadata", metadata)?,
        late_payment: optional(&mut object, "late_payment", |field| {
            field.word("report, refund or accept", LatePayment::parse)
        })?,
        qr: optional(&mut object, "qr", |field| match terms.mode {
            Mode::Intent => field.word("static, dynamic or both", QrMode::parse),
            Mode::Unattended | Mode::Attended => Err(field.bad("is for points of sale of mode intent")),
        })?
        .unwrap_or_default(),
        taxes: optional(&mut object, "taxes", |field| extras::taxes(field, terms, total))?,
        loyalty: optional(&mut object, "loyalty", |field| {
            extras::loyalty(field, terms).map(Box::new)
        })?,
        marketplace_fee: optional(&mut object, "marketplace_fee", |field| extras::fee(field, terms, total))?,
    };
    object.finish(ORDER_FIELDS)?;
    Ok((reference, content))
}

const ORDER_FIELDS: &str = "external_reference, items (or amount, title and description), expires_in_seconds, metadata, \
    late_payment, qr, taxes, loyalty and marketplace_fee";

/// A misspelled name is more to the point than what is missing because of it.
fn without_items(mut object: Object<'_>) -> Bad {
    let missing = object.require("items").expect_err("neither it nor `amount` is there");
    for known in [
        "title",
        "description",
        "expires_in_seconds",
        "metadata",
        "late_payment",
        "qr",
        "taxes",
        "loyalty",
        "marketplace_fee",
    ] {
        object.take(known);
    }
    object.finish(ORDER_FIELDS).err().unwrap_or(missing)
}

fn item_list(field: &Field<'_>, terms: &Terms) -> Read<Items> {
    let items = field
        .array()?
        .iter()
        .map(|item| read_item(item, terms))
        .collect::<Read<Vec<_>>>()?;
    Items::new(items).map_err(|error| field.bad(error))
}

fn read_item(field: &Field<'_>, terms: &Terms) -> Read<Item> {
    let mut object = field.object()?;
    let (title, description) = texts(&mut object)?;
    let quantity = object.require("quantity")?;
    let item = Item {
        title,
        description,
        quantity: u32::try_from(quantity.whole()?)
            .ok()
            .and_then(Quantity::new)
            .ok_or_else(|| quantity.bad(format!("must be 1 to {}", limits::QUANTITY)))?,
        unit_price: unit_price(&object.require("unit_price")?, terms)?,
        sku_number: optional(&mut object, "sku_number", |field| field.parsed(Text::parse))?,
        category: optional(&mut object, "category", |field| field.parsed(Text::parse))?,
        unit_measure: optional(&mut object, "unit_measure", |field| {
            field.word("unit or pack", UnitMeasure::parse)
        })?,
        picture_url: optional(&mut object, "picture_url", picture_url)?,
    };
    object.finish("title, description, quantity, unit_price, sku_number, category, unit_measure and picture_url")?;
    Ok(item)
}

/// A title, and the description that goes with it: the title again where there is none. The title is read as what it is
/// first, so that its own limit is the one that is named.
fn texts(object: &mut Object<'_>) -> Read<(Title, Description)> {
    let field = object.require("title")?;
    let title = field.parsed(Text::parse)?;
    let description = optional(object, "description", |field| field.parsed(Text::parse))?;
    let description = match description {
        Some(description) => description,
        None => field.parsed(Text::parse)?,
    };
    Ok((title, description))
}

/// `{"amount":"18525.50","title":"SUPER"}`: one item.
fn short_form(object: &mut Object<'_>, price: &Field<'_>, currency: Currency) -> Read<Items> {
    let (title, description) = texts(object)?;
    let item = Item::plain(title, description, Quantity::ONE, amount(price, currency)?);
    Items::new(vec![item]).map_err(|error| price.bad(error))
}

fn amount(field: &Field<'_>, currency: Currency) -> Read<Money> {
    Money::parse(&field.digits()?, currency).map_err(|error: BadAmount| field.bad(error))
}

/// Something may come along for nothing, but not in an intent (`protocol.md` 6.1).
fn unit_price(field: &Field<'_>, terms: &Terms) -> Read<Money> {
    let price = amount(field, terms.site.currency())?;
    if price.is_zero() && terms.mode == Mode::Intent {
        Err(field.bad("must be more than zero in an intent"))
    } else {
        Ok(price)
    }
}

fn picture_url(field: &Field<'_>) -> Read<PictureUrl> {
    let url: PictureUrl = field.parsed(Text::parse)?;
    let is_url = ["https://", "http://"]
        .iter()
        .any(|scheme| url.as_str().starts_with(scheme));
    if is_url && !url.as_str().contains(' ') {
        Ok(url)
    } else {
        Err(field.bad("must be an http or https URL"))
    }
}

fn metadata(field: &Field<'_>) -> Read<Metadata> {
    field.object()?;
    let text = field.canonical()?;
    if text.len() > limits::METADATA_LEN {
        return Err(field.bad(format!("must have at most {} bytes", limits::METADATA_LEN)));
    }
    Ok(Metadata(text.into()))
}

pub(super) fn delivery(body: &Field<'_>) -> Read<Report> {
    let mut object = body.object()?;
    let result = object.require("result")?;
    let failed = result.word("dispensed or failed", |word| match word {
        "dispensed" => Some(false),
        "failed" => Some(true),
        _ => None,
    })?;
    if !failed {
        object.finish("result")?;
        return Ok(Report::Dispensed);
    }
    let amount = optional(&mut object, "amount", |field| Ok(field.digits()?.into_owned()))?;
    let reason = optional(&mut object, "reason", |field| field.parsed(Text::parse))?;
    object.finish("result, amount and reason")?;
    Ok(Report::Failed { amount, reason })
}

/// No body at all says what `{}` says: all that is left.
pub(super) fn refund(body: &[u8], key: IdempotencyKey) -> Read<Wanted> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut object = json::body(body)?.object()?;
    let wanted = Wanted {
        key,
        payment: optional(&mut object, "payment", Field::whole)?,
        amount: optional(&mut object, "amount", |field| Ok(field.digits()?.into_owned()))?,
    };
    object.finish("amount and payment")?;
    Ok(wanted)
}

fn optional<'a, T>(object: &mut Object<'a>, name: &str, read: impl FnOnce(&Field<'a>) -> Read<T>) -> Read<Option<T>> {
    object.take(name).map(|field| read(&field)).transpose()
}
