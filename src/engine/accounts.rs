//! The accounts as they are configured now, each with the token that it has now. A reload puts others in their place; what
//! was offered keeps its own payee.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{Account, OAuth, Secret};
use crate::domain::account::Dialect;
use crate::domain::id::AccountId;

#[derive(Debug)]
pub struct Accounts(ArcSwap<ById>);

type ById = BTreeMap<AccountId, Entry>;

#[derive(Debug, Clone)]
struct Entry {
    account: Arc<Account>,
    link: Link,
}

/// Whether Mercado Pago can be asked for an account, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It has a token: its own, or one that its link (OAuth) brought.
    Good,
    /// Neither a token nor a link is configured.
    Unconfigured,
    /// It has a link, whose token has not come yet: it is being asked for.
    Awaited,
    /// Its link is cut, or refused. In Mercado Pago's words, which are fit to be shown.
    Cut(Arc<str>),
}

impl Accounts {
    pub fn new(accounts: &[Account]) -> Accounts {
        Accounts(ArcSwap::from_pointee(by_id(accounts, &ById::new())))
    }

    /// A link of the same consent keeps its token.
    pub fn replace(&self, accounts: &[Account]) {
        self.0.rcu(|old| by_id(accounts, old));
    }

    pub fn get(&self, id: &AccountId) -> Option<Arc<Account>> {
        self.0.load().get(id).map(|entry| entry.account.clone())
    }

    /// The only one, if there is but one: then nobody has to name it.
    pub fn only(&self) -> Option<Arc<Account>> {
        let accounts = self.0.load();
        if accounts.len() == 1 {
            accounts.values().next().map(|entry| entry.account.clone())
        } else {
            None
        }
    }

    /// An account that is configured no more has the documented dialect.
    pub fn dialect(&self, id: &AccountId) -> Dialect {
        self.0
            .load()
            .get(id)
            .map_or(Dialect::default(), |entry| entry.account.poll_dialect)
    }

    /// Whether Mercado Pago can be asked for this account; one that is configured no more has nothing to ask with.
    pub fn link(&self, id: &AccountId) -> Link {
        self.0
            .load()
            .get(id)
            .map_or(Link::Unconfigured, |entry| entry.link.clone())
    }

    /// Those whose link is cut.
    pub fn cut(&self) -> Vec<AccountId> {
        let accounts = self.0.load();
        let cut = accounts.iter().filter(|(_, entry)| matches!(entry.link, Link::Cut(_)));
        cut.map(|(id, _)| id.clone()).collect()
    }

    /// Those with a link of which this is true.
    pub fn linked(&self, is_meant: impl Fn(&Account) -> bool) -> Vec<AccountId> {
        let accounts = self.0.load();
        let meant = accounts.iter().filter(|(_, entry)| {
            let account = &entry.account;
            account.oauth.is_some() && is_meant(account)
        });
        meant.map(|(id, _)| id.clone()).collect()
    }

    /// From now on this token is used, if the account's link is still of this consent.
    pub fn admit(&self, id: &AccountId, link: &OAuth, token: &Secret) {
        self.set(id, link, Some(token), &Link::Good);
    }

    /// From now on the account has no token, if its link is still of this consent.
    pub fn withdraw(&self, id: &AccountId, link: &OAuth, why: &Link) {
        self.set(id, link, None, why);
    }

    fn set(&self, id: &AccountId, of: &OAuth, token: Option<&Secret>, link: &Link) {
        self.0.rcu(|accounts| {
            let mut accounts = ById::clone(accounts);
            if let Some(entry) = accounts.get_mut(id)
                && entry.account.oauth.as_ref().is_some_and(|own| own.same_consent(of))
            {
                let mut account = Account::clone(&entry.account);
                account.access_token = token.cloned();
                entry.account = Arc::new(account);
                entry.link = link.clone();
            }
            accounts
        });
    }
}

fn by_id(accounts: &[Account], old: &ById) -> ById {
    accounts
        .iter()
        .map(|account| (account.id.clone(), entry(account.clone(), old.get(&account.id))))
        .collect()
}

fn entry(mut account: Account, old: Option<&Entry>) -> Entry {
    let same_link = |old: &&Entry| match (&old.account.oauth, &account.oauth) {
        (Some(old), Some(new)) => old.same_consent(new),
        _ => false,
    };
    let link = match old.filter(same_link) {
        Some(old) => {
            account.access_token = old.account.access_token.clone();
            old.link.clone()
        }
        None if account.oauth.is_some() => Link::Awaited,
        None if account.access_token.is_some() => Link::Good,
        None => Link::Unconfigured,
    };
    Entry {
        account: Arc::new(account),
        link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, Source};

    fn configured(more: &[(&str, &str)]) -> Vec<Account> {
        let env = more
            .iter()
            .map(|(key, value)| (format!("SURTIDOR_ACCOUNT__TEST__{key}"), (*value).to_owned()));
        let env: Vec<_> = env
            .chain([("SURTIDOR_DATA__DIR".to_owned(), "/nowhere".to_owned())])
            .collect();
        Config::load(Source::BuiltIn, env, Overrides::default())
            .expect("whole")
            .0
            .accounts
    }

    fn linked(refresh: &str) -> Vec<Account> {
        configured(&[("OAUTH_CLIENT_SECRET", "secret"), ("OAUTH_REFRESH_TOKEN", refresh)])
    }

    fn token(accounts: &Accounts) -> Option<String> {
        let account = accounts.only().expect("there is one");
        account.access_token.as_ref().map(|token| token.expose().to_owned())
    }

    #[test]
    fn a_link_brings_a_token_and_keeps_it_over_a_reload() {
        let first = linked("TG-1");
        let (id, link) = (&first[0].id, first[0].oauth.clone().expect("a link"));
        let accounts = Accounts::new(&first);
        assert_eq!((accounts.link(id), token(&accounts)), (Link::Awaited, None));
        accounts.admit(id, &link, &Secret::parse("APP-1").expect("a token"));
        accounts.replace(&linked("TG-1"));
        assert_eq!(
            (accounts.link(id), token(&accounts)),
            (Link::Good, Some("APP-1".into()))
        );
        let cut = Link::Cut("400 invalid_grant".into());
        accounts.withdraw(id, &link, &cut);
        accounts.replace(&linked("TG-1"));
        assert_eq!((accounts.link(id), token(&accounts)), (cut, None));
        accounts.replace(&linked("TG-2"));
        assert_eq!((accounts.link(id), token(&accounts)), (Link::Awaited, None));
        accounts.admit(id, &link, &Secret::parse("APP-2").expect("a token"));
        assert_eq!(token(&accounts), None, "that was another consent's");
    }

    #[test]
    fn without_a_link_it_has_its_own_token_or_none() {
        let own = configured(&[("ACCESS_TOKEN", "APP-1")]);
        let accounts = Accounts::new(&own);
        assert_eq!(accounts.link(&own[0].id), Link::Good);
        assert_eq!(accounts.linked(|_| true), []);
        accounts.replace(&configured(&[]));
        assert_eq!(accounts.link(&own[0].id), Link::Unconfigured);
    }
}
