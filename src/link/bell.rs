//! Doubts of a link: raised by whoever saw a sign that it may be cut, taken by the keeper, who asks Mercado Pago.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::config::{Account, Secret};
use crate::domain::id::AccountId;
use crate::engine::Accounts;

/// Copies ring the same bell. However often it is rung, it holds each account once.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    accounts: Arc<Accounts>,
    doubted: Mutex<BTreeSet<AccountId>>,
    rung: Notify,
}

impl Bell {
    pub fn new(accounts: Arc<Accounts>) -> Bell {
        Bell(Arc::new(Inner {
            accounts,
            doubted: Mutex::default(),
            rung: Notify::new(),
        }))
    }

    /// Somebody says that this seller made or cut a link.
    pub fn seller(&self, user_id: u64) {
        self.ring(|account| account.collector_id == user_id);
    }

    /// A call with this token was answered 401. One that was replaced meanwhile is nobody's.
    pub fn token(&self, refused: &Secret) {
        self.ring(|account| account.access_token.as_ref().is_some_and(|own| own.same_as(refused)));
    }

    fn ring(&self, is_meant: impl Fn(&Account) -> bool) {
        let meant = self.0.accounts.linked(is_meant);
        if !meant.is_empty() {
            // Nothing in here panics half-way.
            let mut doubted = self.0.doubted.lock().unwrap_or_else(PoisonError::into_inner);
            doubted.extend(meant);
            self.0.rung.notify_one();
        }
    }

    /// Returns once it was rung.
    pub(super) async fn rung(&self) -> BTreeSet<AccountId> {
        self.0.rung.notified().await;
        std::mem::take(&mut *self.0.doubted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
