//! Links that sellers give the application (`protocol.md` 8.2): codes, access tokens and refresh tokens, and their ends.
//!
//! Each refresh gives both tokens anew. The refresh token that was sent stays good until the new access token is used, and
//! at most for `Application::replaced_for`: so who lost an answer can ask again, and who lost the tokens has lost the link.
//! An access token lives until its end, or until the link is cut.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::notify;
use super::settings::Application;
use super::sign::hex;
use super::simulator::Simulator;
use super::world::{Refused, unknown};
use crate::limits;

#[derive(Debug, Default)]
pub struct Links {
    /// Whose consent each is.
    codes: BTreeMap<String, u64>,
    /// By seller.
    links: BTreeMap<u64, Link>,
}

#[derive(Debug)]
struct Link {
    /// Oldest first, each with its end.
    access: Vec<(String, i64)>,
    refresh: String,
    replaced: Option<Replaced>,
}

/// A refresh token that is good until `by` is used, or until its end.
#[derive(Debug)]
struct Replaced {
    refresh: String,
    by: String,
    until: i64,
}

/// What `POST /oauth/token` gives.
pub struct Granted {
    pub seller: u64,
    pub access: String,
    pub refresh: String,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Link {
    fn knows(&self, refresh: &str, now: i64) -> bool {
        let replaced = |old: &Replaced| old.refresh == refresh && now < old.until;
        self.refresh == refresh || self.replaced.as_ref().is_some_and(replaced)
    }

    fn grant(&mut self, sent: Option<&str>, fresh: &Granted, application: &Application, now: i64) {
        if let Some(sent) = sent {
            // Asked for again, the first of the two goes on being the one that was replaced, and no longer than it was.
            let until = match &self.replaced {
                Some(old) if old.refresh == sent => old.until,
                _ => now.saturating_add(millis(application.replaced_for)),
            };
            self.replaced = Some(Replaced {
                refresh: sent.to_owned(),
                by: fresh.access.clone(),
                until,
            });
        }
        self.refresh.clone_from(&fresh.refresh);
        self.access.retain(|(_, until)| now < *until);
        if self.access.len() == limits::SANDBOX_TOKENS {
            self.access.remove(0);
        }
        let end = now.saturating_add(millis(application.token_life));
        self.access.push((fresh.access.clone(), end));
    }

    /// Whether it is good; and if so, it is used.
    fn takes(&mut self, token: &str, now: i64) -> bool {
        let good = self.access.iter().any(|(known, until)| known == token && now < *until);
        if good && self.replaced.as_ref().is_some_and(|old| old.by == token) {
            self.replaced = None;
        }
        good
    }
}

impl Links {
    pub fn has(&self, seller: u64) -> bool {
        self.links.contains_key(&seller)
    }

    pub fn seller(&mut self, token: &str, now: i64) -> Option<u64> {
        let mut links = self.links.iter_mut();
        links.find_map(|(seller, link)| link.takes(token, now).then_some(*seller))
    }
}

fn fresh(sim: &Simulator, seller: u64) -> Granted {
    let mut dice = sim.dice.borrow_mut();
    let application = sim.settings.application.id;
    Granted {
        seller,
        access: format!("APP_USR-{application}-010112-{}-{seller}", hex(&dice.bytes(16))),
        refresh: format!("TG-refresh-{}-{seller}", hex(&dice.bytes(16))),
    }
}

/// A seller lets the application reach the account.
pub fn consent(sim: &Rc<Simulator>, seller: u64) -> Result<String, Refused> {
    sim.account(seller).ok_or_else(|| unknown("account", seller))?;
    let code = format!("TG-code-{}-{seller}", hex(&sim.dice.borrow_mut().bytes(12)));
    let codes = &mut sim.links.borrow_mut().codes;
    if codes.len() == limits::SANDBOX_CODES {
        return Err(Refused::Full {
            what: "codes",
            max: limits::SANDBOX_CODES,
        });
    }
    codes.insert(code.clone(), seller);
    Ok(code)
}

/// A seller cuts the link.
pub fn cut(sim: &Rc<Simulator>, seller: u64) -> Result<(), Refused> {
    let link = sim.links.borrow_mut().links.remove(&seller);
    link.ok_or_else(|| unknown("link of the account", seller))?;
    notify::link(sim, seller, "application.deauthorized");
    Ok(())
}

/// The first tokens of a link. A new consent takes the place of the one before. None: the code is not good.
pub fn redeem(sim: &Rc<Simulator>, code: &str) -> Option<Granted> {
    let granted = {
        let mut links = sim.links.borrow_mut();
        let seller = links.codes.remove(code)?;
        let granted = fresh(sim, seller);
        let mut link = Link {
            access: Vec::new(),
            refresh: String::new(),
            replaced: None,
        };
        link.grant(None, &granted, &sim.settings.application, sim.now());
        links.links.insert(seller, link);
        granted
    };
    notify::link(sim, granted.seller, "application.authorized");
    Some(granted)
}

/// The next tokens of a link. None: the refresh token is not good, or not any more.
pub fn refresh(sim: &Simulator, sent: &str) -> Option<Granted> {
    let now = sim.now();
    let mut links = sim.links.borrow_mut();
    let (seller, link) = links.links.iter_mut().find(|(_, link)| link.knows(sent, now))?;
    let granted = fresh(sim, *seller);
    link.grant(Some(sent), &granted, &sim.settings.application, now);
    Some(granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(access: &str, refresh: &str) -> Granted {
        Granted {
            seller: 7,
            access: access.to_owned(),
            refresh: refresh.to_owned(),
        }
    }

    fn application() -> Application {
        Application {
            id: 1,
            owner: 2,
            secret: String::new(),
            token_life: Duration::from_secs(100),
            replaced_for: Duration::from_secs(10),
        }
    }

    #[test]
    fn a_refresh_token_dies_once_what_replaced_it_is_used_or_after_a_while() {
        let mut link = Link {
            access: Vec::new(),
            refresh: String::new(),
            replaced: None,
        };
        link.grant(None, &granted("a1", "r1"), &application(), 0);
        assert!(link.takes("a1", 1) && !link.takes("a2", 1) && !link.takes("a1", 100_000));
        link.grant(Some("r1"), &granted("a2", "r2"), &application(), 0);
        assert!(link.knows("r1", 9_999) && link.knows("r2", 0) && !link.knows("r1", 10_000));
        // The answer was lost: asked again, with the same one.
        link.grant(Some("r1"), &granted("a3", "r3"), &application(), 5_000);
        assert!(link.knows("r1", 9_999) && !link.knows("r1", 10_000) && !link.knows("r2", 0));
        assert!(link.takes("a1", 1) && link.knows("r1", 0), "an old one may be used");
        assert!(link.takes("a3", 1) && !link.knows("r1", 0) && link.knows("r3", 0));
    }
}
