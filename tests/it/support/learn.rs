//! What Mercado Pago's API would have told, submitted to the engine itself while the server is down: a stand-in for the
//! tracker wherever only what follows from its findings is tested.

use std::sync::Arc;
use std::time::Duration;

use surtidor::clock::Clock;
use surtidor::domain::command::Command;
use surtidor::domain::id::{PosId, Reference, Timestamp};
use surtidor::domain::money::{Currency, Money};
use surtidor::domain::payment::{Findings, Found, Payment, Reversed, Sighting};
use surtidor::engine::{Accounts, Engine, Parts};
use surtidor::log::Log;
use surtidor::table::{Names, Table, UrlSecrets, doorbell};

use super::station::Station;

/// 2026-11-21T14:05:09.123Z
pub const APPROVED: Timestamp = Timestamp(1_795_269_909_123);

pub fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("a reference")
}

pub fn ars(amount: &str) -> Money {
    Money::parse(amount, Currency::Ars).expect("an amount")
}

/// All that is known of a reference's money: payments of closed merchant orders, and what is no money.
pub fn settle(name: &str, payments: &[Payment], sightings: &[Sighting]) -> Command {
    let found = |payment: &Payment| Found {
        payment: payment.clone(),
        closed: true,
    };
    Command::Settle {
        reference: reference(name),
        findings: Findings {
            payments: payments.iter().map(found).collect(),
            sightings: sightings.to_vec(),
        },
    }
}

pub fn payment(id: u64, amount: &str) -> Payment {
    Payment {
        id,
        merchant_order: Some(id + 1000),
        amount: ars(amount),
        approved_at: Some(Timestamp(APPROVED.0 + id.cast_signed())),
        reversed: None,
    }
}

pub fn reversed(payment: Payment, reversed: Reversed) -> Payment {
    Payment {
        reversed: Some(reversed),
        ..payment
    }
}

impl Station {
    /// The order is paid, exactly.
    pub async fn pay(&mut self, pos: &str, reference: &str, id: u64, amount: &str) {
        let paid = settle(reference, &[payment(id, amount)], &[]);
        self.learn(pos, [paid]).await;
    }

    /// Stops the server, does these, and starts it again.
    pub async fn learn(&mut self, pos: &str, commands: impl IntoIterator<Item = Command>) {
        let config = self.config();
        self.stop().await;
        let log = Log::open(&config.data.dir, &config.poll.keys.join(",")).expect("the folder is free");
        let (bell, _rings) = doorbell();
        let names = Names::new(&config.poll.keys).expect("keys");
        let parts = Parts {
            reader: log.reader().expect("readable"),
            log,
            table: Arc::new(Table::new(names, UrlSecrets::new::<&str>(&[]), bell)),
            accounts: Arc::new(Accounts::new(&config.accounts)),
            clock: Clock::default(),
            keep_entries: Duration::from_secs(86_400),
            lull: Arc::default(),
        };
        let (engine, writer) = Engine::start(parts).expect("the log is whole");
        let pos = PosId::parse(pos).expect("a name");
        for command in commands {
            engine.submit(pos.clone(), command).await.expect("it is taken");
        }
        engine.stop().await;
        drop(engine);
        let writer = tokio::task::spawn_blocking(|| writer.join());
        assert!(writer.await.expect("it ends"), "the writer ended well");
        self.start_again().await;
    }
}
