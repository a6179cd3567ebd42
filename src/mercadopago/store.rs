//! Stores: the physical shops that POS stand in (`protocol.md` 2.4).

use hyper::Method;
use rust_decimal::Decimal;
use serde::Serialize;

use super::client::{Call, Client};
use super::error::ApiError;
use super::metrics::Name;
use super::wire::{self, Object};
use crate::config::Secret;
use crate::domain::id::ExternalStoreId;

/// A store as we make it. City and state must be spelled as Mercado Libre spells them, and the coordinates lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStore {
    pub name: String,
    pub external_id: ExternalStoreId,
    pub location: Location,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Location {
    pub street_number: String,
    pub street_name: String,
    pub city_name: String,
    pub state_name: String,
    #[serde(serialize_with = "wire::digits")]
    pub latitude: Decimal,
    #[serde(serialize_with = "wire::digits")]
    pub longitude: Decimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A store as Mercado Pago tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    pub id: u64,
    pub name: Option<String>,
    pub external_id: Option<String>,
    /// Street, number, city and state in one line.
    pub address: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    /// It cannot be changed, so an update leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    location: &'a Location,
}

impl Store {
    fn read(object: &Object<'_>) -> Result<Store, ApiError> {
        Ok(Store {
            id: object.need_id("id")?,
            name: object.text("name"),
            external_id: object.text("external_id"),
            address: object
                .object("location")
                .and_then(|location| location.text("address_line")),
        })
    }
}

fn read(bytes: &[u8]) -> Result<Store, ApiError> {
    Store::read(&wire::object(bytes)?)
}

impl Client {
    /// Never tried twice: it might be made twice.
    pub async fn create_store(&self, token: &Secret, collector: u64, store: &NewStore) -> Result<Store, ApiError> {
        let body = Body {
            name: &store.name,
            external_id: Some(store.external_id.as_str()),
            location: &store.location,
        };
        let call = Call::new(
            Name::StoreCreate,
            Method::POST,
            format!("/users/{collector}/stores"),
            token,
        );
        self.ask(call.with(wire::write(&body)), read).await
    }

    pub async fn find_store(
        &self,
        token: &Secret,
        collector: u64,
        external_id: &ExternalStoreId,
    ) -> Result<Option<Store>, ApiError> {
        let path = format!("/users/{collector}/stores/search?external_id={external_id}");
        let call = Call::new(Name::StoreFind, Method::GET, path, token);
        self.ask(call, |bytes| wire::find(bytes, external_id.as_str(), Store::read))
            .await
    }

    pub async fn store(&self, token: &Secret, id: u64) -> Result<Store, ApiError> {
        self.ask(
            Call::new(Name::StoreGet, Method::GET, format!("/stores/{id}"), token),
            read,
        )
        .await
    }

    /// Name and location become those of `store`; its `external_id` cannot change and is not sent.
    pub async fn update_store(
        &self,
        token: &Secret,
        collector: u64,
        id: u64,
        store: &NewStore,
    ) -> Result<Store, ApiError> {
        let body = Body {
            name: &store.name,
            external_id: None,
            location: &store.location,
        };
        let call = Call::new(
            Name::StoreUpdate,
            Method::PUT,
            format!("/users/{collector}/stores/{id}"),
            token,
        );
        self.ask(call.with(wire::write(&body)), read).await
    }

    pub async fn delete_store(&self, token: &Secret, collector: u64, id: u64) -> Result<(), ApiError> {
        let call = Call::new(
            Name::StoreDelete,
            Method::DELETE,
            format!("/users/{collector}/stores/{id}"),
            token,
        );
        self.ask(call, wire::nothing).await
    }
}
