//! Points of sale at Mercado Pago, each with its fixed QR (`protocol.md` 2.1 to 2.3).

use std::collections::BTreeMap;

use hyper::Method;
use serde::Serialize;

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::wire::{self, Object};
use crate::config::Secret;
use crate::domain::id::{ExternalPosId, ExternalStoreId};
use crate::domain::money::Site;
use crate::limits;

/// What is sold, as far as Mercado Pago has a code for it; nothing is its generic category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trade {
    PetrolStation,
    Gastronomy,
}

impl Trade {
    pub fn category(self, site: Site) -> u64 {
        match self {
            Trade::PetrolStation => site.petrol_station(),
            Trade::Gastronomy => site.gastronomy(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPos {
    pub external_id: ExternalPosId,
    pub external_store_id: ExternalStoreId,
    pub fields: PosFields,
}

/// What can change. `fixed_amount` is always sent as true: in no mode of ours does a customer type an amount, and a POS
/// with a URL must have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosFields {
    /// Under 45 characters.
    pub name: String,
    pub category: Option<u64>,
    /// Where it is polled, if it is; under 300 characters.
    pub url: Option<String>,
}

/// A POS as Mercado Pago tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pos {
    pub id: u64,
    pub external_id: Option<String>,
    pub store_id: Option<u64>,
    pub external_store_id: Option<String>,
    pub name: Option<String>,
    pub category: Option<u64>,
    pub fixed_amount: Option<bool>,
    pub url: Option<String>,
    pub status: Option<String>,
    /// A PNG of the bare QR.
    pub qr_image: Option<String>,
    /// A PNG and a PDF to print.
    pub qr_template_image: Option<String>,
    pub qr_template_document: Option<String>,
}

/// Unknown fields are refused, so nothing is sent that is not set.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    fixed_amount: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_store_id: Option<&'a str>,
}

impl PosFields {
    fn body(&self) -> Body<'_> {
        Body {
            name: &self.name,
            fixed_amount: true,
            category: self.category,
            url: self.url.as_deref(),
            external_id: None,
            external_store_id: None,
        }
    }
}

impl Pos {
    fn read(object: &Object<'_>) -> Result<Pos, ApiError> {
        let qr = |name| object.object("qr").and_then(|qr| qr.text(name));
        Ok(Pos {
            id: object.need_id("id")?,
            external_id: object.text("external_id"),
            store_id: object.id("store_id"),
            external_store_id: object.text("external_store_id"),
            name: object.text("name"),
            category: object.id("category"),
            fixed_amount: object.flag("fixed_amount"),
            url: object.text("url"),
            status: object.text("status"),
            qr_image: qr("image"),
            qr_template_image: qr("template_image"),
            qr_template_document: qr("template_document"),
        })
    }
}

fn read(bytes: &[u8]) -> Result<Pos, ApiError> {
    Pos::read(&wire::object(bytes)?)
}

impl Client {
    /// Never tried twice: the second time its `external_id` would be taken, by itself.
    pub async fn create_pos(&self, token: &Secret, pos: &NewPos) -> Result<Pos, ApiError> {
        let body = Body {
            external_id: Some(pos.external_id.as_str()),
            external_store_id: Some(pos.external_store_id.as_str()),
            ..pos.fields.body()
        };
        let call = Call::new(Name::PosCreate, Method::POST, "/pos".into(), token);
        self.ask(call.with(wire::write(&body)), read).await
    }

    pub async fn find_pos(&self, token: &Secret, external_id: &ExternalPosId) -> Result<Option<Pos>, ApiError> {
        let call = Call::new(
            Name::PosFind,
            Method::GET,
            format!("/pos?external_id={external_id}"),
            token,
        );
        self.ask(call, |bytes| wire::find(bytes, external_id.as_str(), Pos::read))
            .await
    }

    /// Those that stand in a store, in the order of their ids; of more than `limits::API_PAGES` pages only the first.
    pub async fn pos_of_store(&self, token: &Secret, store: &ExternalStoreId) -> Result<Vec<Pos>, ApiError> {
        let mut found = BTreeMap::new();
        let mut offset = 0;
        for _ in 0..limits::API_PAGES {
            let limit = limits::API_PAGE;
            let path = format!("/pos?external_store_id={store}&limit={limit}&offset={offset}");
            let call = Call::new(Name::PosList, Method::GET, path, token);
            let page = self.ask(call, |bytes| wire::results(bytes)?.iter().map(Pos::read).collect());
            let page: Vec<Pos> = page.await?;
            let before = found.len();
            offset += page.len();
            found.extend(page.into_iter().map(|pos| (pos.id, pos)));
            // It ends with a page that has nothing new: how long a page may be, and whether `offset` is heeded, is theirs.
            if found.len() == before {
                break;
            }
        }
        Ok(found.into_values().collect())
    }

    pub async fn pos(&self, token: &Secret, id: u64) -> Result<Pos, ApiError> {
        self.ask(Call::new(Name::PosGet, Method::GET, format!("/pos/{id}"), token), read)
            .await
    }

    pub async fn update_pos(&self, token: &Secret, id: u64, fields: &PosFields) -> Result<Pos, ApiError> {
        let call = Call::new(Name::PosUpdate, Method::PUT, format!("/pos/{id}"), token);
        self.ask(call.with(wire::write(&fields.body())), read).await
    }

    pub async fn delete_pos(&self, token: &Secret, id: u64) -> Result<(), ApiError> {
        self.ask(
            Call::new(Name::PosDelete, Method::DELETE, format!("/pos/{id}"), token),
            wire::nothing,
        )
        .await
    }
}
