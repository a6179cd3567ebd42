//! The simulated Mercado Pago while it runs: its world, its chances and its journal, on one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tokio::sync::{Semaphore, watch};

use super::chance::Dice;
use super::journal::Journal;
use super::json::Json;
use super::links::Links;
use super::phone::Scan;
use super::settings::{Account, Chance, Faults, Settings};
use super::world::World;
use crate::clock::Clock;
use crate::limits;

pub struct Simulator {
    pub settings: Settings,
    pub base_url: String,
    pub world: RefCell<World>,
    pub links: RefCell<Links>,
    pub scans: RefCell<BTreeMap<u64, Scan>>,
    pub faults: RefCell<Faults>,
    pub dice: RefCell<Dice>,
    pub journal: RefCell<Journal>,
    /// The newest event's number.
    pub happened: watch::Sender<u64>,
    /// A permit for each notification that may be on its way.
    pub sending: Semaphore,
    clock: Clock,
}

impl Simulator {
    pub fn new(settings: Settings, base_url: String, happened: watch::Sender<u64>) -> Simulator {
        Simulator {
            dice: RefCell::new(Dice::new(settings.seed)),
            faults: RefCell::new(settings.faults.clone()),
            settings,
            base_url,
            world: RefCell::default(),
            links: RefCell::default(),
            scans: RefCell::default(),
            journal: RefCell::default(),
            happened,
            sending: Semaphore::new(limits::SANDBOX_SENDING),
            clock: Clock::default(),
        }
    }

    /// Milliseconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().at.0
    }

    pub fn tell(&self, kind: &'static str, facts: Json) {
        let seq = self.journal.borrow_mut().tell(self.now(), kind, facts);
        self.happened.send_replace(seq);
    }

    /// What was sent to us is not as Mercado Pago documents it.
    pub fn violate(&self, text: String) {
        tracing::warn!(text, "the sandbox was sent what Mercado Pago would not take");
        self.journal.borrow_mut().violate(text.clone());
        self.tell("violation", text.into());
    }

    pub fn happens(&self, which: fn(&mut Faults) -> &mut Chance) -> bool {
        self.dice.borrow_mut().happens(which(&mut self.faults.borrow_mut()))
    }

    pub fn account(&self, collector: u64) -> Option<&Account> {
        self.settings
            .accounts
            .iter()
            .find(|account| account.collector == collector)
    }

    /// By the seller's own token, or by one that came of a link and is still good.
    pub fn account_of_token(&self, token: &str) -> Option<&Account> {
        let own = self.settings.accounts.iter().find(|account| account.token == token);
        own.or_else(|| self.account(self.links.borrow_mut().seller(token, self.now())?))
    }
}
