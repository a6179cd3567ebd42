//! What the tests of this room write.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::{Batch, Entry, Log, LogError, Sum};
use crate::domain::account::{LatePayment, Payee};
use crate::domain::command::{Event, NewState};
use crate::domain::evolve::{evolve, orders_after};
use crate::domain::id::{AccountId, PosId, Reference, Rev, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{Content, Item, Items, Metadata, Order, Quantity, Status};
use crate::domain::pos::{Mode, PollKey, Registration, State, Waiting};
use crate::domain::text::Text;
use crate::limits;

pub(super) fn open(folder: &Path) -> Log {
    Log::open(folder, "locationId,positionId").expect("a log")
}

/// Writes entries as the engine does, and remembers what it wrote.
#[derive(Default)]
pub(super) struct Book {
    pub(super) written: Vec<Entry>,
    at: HashMap<PosId, (State, Rev, Sum)>,
}

impl Book {
    pub(super) fn append(&mut self, batch: &mut Batch<'_>, pos: &str, at: i64, event: Event) -> Result<(), LogError> {
        let id = pos_id(pos);
        let (state, rev, sum) = self.at.get(&id).cloned().unwrap_or((None, Rev(0), Sum::NONE));
        let state_after = evolve(state, &id, &event, Timestamp(at));
        let entry = Entry {
            seq: self.written.len() as u64 + 1,
            pos: id.clone(),
            rev: rev.next(),
            at: Timestamp(at),
            events: vec![event],
            state_after: state_after.clone(),
        };
        let known = entry.events[0].reference().map(|reference| batch.order(reference));
        let changed = orders_after(&known.transpose()?.flatten(), &entry.events, entry.at);
        let sum = batch.append(&entry, sum, changed)?;
        self.at.insert(id, (state_after, entry.rev, sum));
        self.written.push(entry);
        Ok(())
    }

    /// An order as it is, whatever became of it.
    pub(super) fn put(&mut self, batch: &mut Batch<'_>, order: Order) -> Result<(), LogError> {
        let (pos, at) = (order.pos.clone(), order.created_at.0);
        self.append(batch, pos.as_str(), at, Event::OrderReady(Arc::new(order)))
    }

    /// One entry in a commit of its own.
    pub(super) fn write(&mut self, log: &mut Log, pos: &str, at: i64, event: Event) {
        log.commit(false, |batch| self.append(batch, pos, at, event))
            .expect("written");
    }
}

/// Lets the tables follow all entries.
pub(super) fn caught_up(log: &mut Log) -> &mut Log {
    while log.catch_up(limits::TABLES_PIECE).expect("taken up") {}
    log
}

pub(super) fn pos_id(name: &str) -> PosId {
    PosId::parse(name).expect("a name")
}

pub(super) fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("a reference")
}

pub(super) fn ars(amount: &str) -> Money {
    Money::parse(amount, Currency::Ars).expect("an amount")
}

pub(super) fn text<const N: usize>(text: &str) -> Text<N> {
    Text::parse(text).expect("text")
}

/// Registered under keys that are its name.
pub(super) fn registered(pos: &str) -> Event {
    Event::Registered(Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: Some(PollKey::new(&["6232", pos]).expect("keys")),
        name: None,
        require_lease: false,
        url_secret: true,
        external: None,
    })
}

pub(super) fn said(message: &str) -> Event {
    Event::StateChanged {
        to: NewState::Waiting(Waiting::InProcess),
        message: Some(text(message)),
    }
}

pub(super) fn order(name: &str, pos: &str, created_at: i64) -> Order {
    let item = Item::plain(text("SUPER 23.45 L"), text("Pump 4"), Quantity::ONE, ars("18525.50"));
    Order::new(
        reference(name),
        pos_id(pos),
        AccountId::parse("main").expect("a name"),
        Payee {
            collector_id: 178_106_235,
            sponsor_id: Some(334_249_281),
            notification_url: Some(Arc::from("https://pay.example.com/notifications/main")),
            client_id: None,
        },
        Content {
            metadata: Some(Metadata(Arc::from(r#"{"nozzle":4}"#))),
            late_payment: None,
            ..Content::plain(Items::new(vec![item]).expect("items"), 300)
        },
        LatePayment::Report,
        Timestamp(created_at),
    )
}

pub(super) fn ended(mut order: Order, status: Status, at: i64) -> Order {
    order.status = status;
    order.ended_at = Some(Timestamp(at));
    order
}
