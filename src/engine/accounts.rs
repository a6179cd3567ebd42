//! The accounts as they are configured now. A reload puts others in their place; what was offered keeps its own payee.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Account;
use crate::domain::account::Dialect;
use crate::domain::id::AccountId;

#[derive(Debug)]
pub struct Accounts(ArcSwap<BTreeMap<AccountId, Arc<Account>>>);

impl Accounts {
    pub fn new(accounts: &[Account]) -> Accounts {
        Accounts(ArcSwap::from_pointee(by_id(accounts)))
    }

    pub fn replace(&self, accounts: &[Account]) {
        self.0.store(Arc::new(by_id(accounts)));
    }

    pub fn get(&self, id: &AccountId) -> Option<Arc<Account>> {
        self.0.load().get(id).cloned()
    }

    /// The only one, if there is but one: then nobody has to name it.
    pub fn only(&self) -> Option<Arc<Account>> {
        let accounts = self.0.load();
        if accounts.len() == 1 {
            accounts.values().next().cloned()
        } else {
            None
        }
    }

    /// An account that is configured no more has the documented dialect.
    pub fn dialect(&self, id: &AccountId) -> Dialect {
        self.0
            .load()
            .get(id)
            .map_or(Dialect::default(), |account| account.poll_dialect)
    }
}

fn by_id(accounts: &[Account]) -> BTreeMap<AccountId, Arc<Account>> {
    accounts
        .iter()
        .map(|account| (account.id.clone(), Arc::new(account.clone())))
        .collect()
}
