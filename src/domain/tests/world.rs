//! Points of sale and orders in memory, driven as the engine drives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::account::{DeliveryFailed, LatePayment, Payee};
use crate::domain::command::{Command, Event, Push, Refusal, Report, Wanted};
use crate::domain::decide::{Beyond, decide};
use crate::domain::evolve::{evolve, evolve_order};
use crate::domain::id::{AccountId, IdempotencyKey, IntentId, PosId, Reference, Timestamp};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{CancelReason, Content, Delivery, Item, Items, Metadata, Order, Quantity};
use crate::domain::payment::{Findings, Found, Oddity, Payment, RefundState, Reversal, Reversed, Sighting, Suspect};
use crate::domain::pos::{Mode, PollKey, Registration, State, Waiting, Word};
use crate::domain::text::Text;

pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// What is recorded, by POS and by folded reference, and how it came about.
pub(crate) struct World {
    pub(crate) pos: BTreeMap<PosId, State>,
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) history: Vec<(PosId, Event, Timestamp)>,
    pub(crate) now: Timestamp,
    pub(crate) policy: LatePayment,
}

impl World {
    pub(crate) fn new(policy: LatePayment) -> World {
        World {
            pos: BTreeMap::new(),
            orders: BTreeMap::new(),
            history: Vec::new(),
            now: START,
            policy,
        }
    }

    pub(crate) fn state(&self, pos: &PosId) -> State {
        self.pos.get(pos).cloned().flatten()
    }

    pub(crate) fn order(&self, reference: &Reference) -> Option<&Order> {
        self.orders.get(&reference.folded())
    }

    pub(crate) fn apply(&mut self, pos: &PosId, command: &Command) -> Result<Vec<Event>, Refusal> {
        let state = self.state(pos);
        let known = command.reference().and_then(|reference| self.order(reference));
        let keys = match command {
            Command::Register(registration) => registration.keys.as_ref(),
            _ => None,
        };
        let beyond = Beyond {
            order: known,
            keys_owner: keys.and_then(|keys| self.owner(keys)),
            place_owner: None,
        };
        let decision = decide(&state, beyond, command, self.now)?;
        let mut after = state;
        for event in &decision.events {
            after = evolve(after, pos, event, self.now);
            self.follow(event);
            self.history.push((pos.clone(), event.clone(), self.now));
        }
        if let Some(pos) = &mut after {
            pos.lease = decision.lease;
        }
        self.pos.insert(pos.clone(), after);
        Ok(decision.events)
    }

    fn owner(&self, keys: &PollKey) -> Option<&PosId> {
        let mut registered = self.pos.values().flatten();
        let owner = registered.find(|pos| pos.registration.keys.as_ref() == Some(keys));
        owner.map(|pos| &pos.id)
    }

    fn follow(&mut self, event: &Event) {
        if let Event::OrderReady(order) = event {
            self.orders.insert(order.reference.folded(), (**order).clone());
        } else if let Some(reference) = event.reference() {
            let order = self.orders.get_mut(&reference.folded());
            evolve_order(order.expect("an event's order was made"), event, self.now);
        }
    }

    /// The command that a sentence means: see `rules` for the language.
    pub(crate) fn read(&self, pos: &PosId, sentence: &str) -> Command {
        let words: Vec<&str> = sentence.split(' ').collect();
        let has = |word: &str| words.contains(&word);
        let after = |word: &str| words.iter().position(|w| *w == word).map(|at| words[at + 1]);
        let number = |text: &str| text.parse::<u64>().expect("a number");
        match words[0] {
            "register" => Command::Register(Registration {
                require_lease: has("require_lease"),
                mode: words.get(1).and_then(|word| Mode::parse(word)).unwrap_or_default(),
                name: after("named").map(text),
                keys: after("keys").map(|keys| keys_of(&[keys])),
                ..registration()
            }),
            "remove" => Command::Remove,
            "say" => Command::Say {
                word: Word {
                    waiting: Waiting::parse(words[1]).expect("a state"),
                    message: after("message").map(text),
                },
                lease_seconds: after("for").map(number),
            },
            "hold" => Command::HoldLease {
                seconds: number(words[1]),
            },
            "lapse" => Command::LapseLease {
                until: self.state(pos).and_then(|pos| pos.lease).unwrap_or(START),
            },
            "lapse-older" => Command::LapseLease {
                until: Timestamp(START.0 + 1),
            },
            "push" => Command::Push(Box::new(Push {
                account: AccountId::parse(after("of").unwrap_or("main")).expect("a name"),
                reference: reference(words[1]),
                content: Content {
                    metadata: after("metadata").map(|text| Metadata(text.into())),
                    expires_in_seconds: after("expires").map_or(300, number),
                    late_payment: after("late").map(policy),
                    ..content(words[2])
                },
                payee: payee(),
                late_payment: self.policy,
                replace: has("replace"),
            })),
            "cancel" => Command::Cancel {
                reason: has("paid_elsewhere").then_some(CancelReason::PaidElsewhere),
            },
            "shown" => Command::Shown {
                reference: reference(words[1]),
            },
            "sent" => Command::Sent {
                reference: reference(words[1]),
                intent: after("as").map(|id| IntentId::parse(id).expect("an id")),
                qr_data: after("qr").map(text),
            },
            "reject" => Command::Rejected {
                reference: reference(words[1]),
                why: text(words[2]),
            },
            "withdraw" => Command::Withdrawn {
                reference: reference(words[1]),
                reason: has("there").then_some(CancelReason::AtMercadoPago),
            },
            "give-up" => Command::GiveUp {
                reference: reference(words[1]),
            },
            "expire" => Command::Expire {
                reference: reference(words[1]),
            },
            "pay" => Command::Settle {
                reference: reference(words[1]),
                findings: Findings {
                    payments: words[2..].iter().map(|word| found(word)).collect(),
                    sightings: Vec::new(),
                },
            },
            "see" => Command::Settle {
                reference: reference(words[1]),
                findings: Findings {
                    payments: Vec::new(),
                    sightings: words[2..].iter().map(|word| sighting(word)).collect(),
                },
            },
            "refund" => Command::Refund {
                reference: reference(words[1]),
                wanted: Wanted {
                    key: IdempotencyKey::parse(words[2]).expect("a key"),
                    payment: after("of").map(number),
                    amount: after("amount").map(str::to_owned),
                },
            },
            "refunded" | "not-refunded" => Command::Refunded {
                reference: reference(words[1]),
                number: u32::try_from(number(words[2])).expect("small"),
                state: if words[0] == "refunded" {
                    RefundState::Done(number(words[2]) + 900)
                } else {
                    RefundState::Failed(text("no money"))
                },
            },
            "overdue" => Command::Overdue {
                reference: reference(words[1]),
            },
            "dispensed" => Command::Deliver {
                reference: reference(words[1]),
                report: Report::Dispensed,
                failed: DeliveryFailed::Refund,
            },
            "failed" => Command::Deliver {
                reference: reference(words[1]),
                report: Report::Failed {
                    amount: after("amount").map(str::to_owned),
                    reason: after("because").map(text),
                },
                failed: if has("report") {
                    DeliveryFailed::Report
                } else {
                    DeliveryFailed::Refund
                },
            },
            other => panic!("no such command: {other}"),
        }
    }
}

pub(crate) fn pos_id(name: &str) -> PosId {
    PosId::parse(name).expect("a name")
}

pub(crate) fn reference(name: &str) -> Reference {
    Reference::parse(name).expect("a reference")
}

pub(crate) fn ars(amount: &str) -> Money {
    Money::parse(amount, Currency::Ars).expect("an amount")
}

pub(crate) fn keys_of(values: &[&str]) -> PollKey {
    PollKey::new(values).expect("keys")
}

fn text<const N: usize>(words: &str) -> Text<N> {
    Text::parse(words).expect("text")
}

fn policy(name: &str) -> LatePayment {
    match name {
        "report" => LatePayment::Report,
        "refund" => LatePayment::Refund,
        "accept" => LatePayment::Accept,
        other => panic!("no such policy: {other}"),
    }
}

/// `id:amount`, approved in the order of the ids; `id:amountBRL` is of another currency, `id:amount?` of a merchant order
/// that is not closed; of `id:amount-40` 40 went back, of `id:amount!40` the bank took them.
fn found(word: &str) -> Found {
    let (id, amount) = word.split_once(':').expect("id:amount");
    let (amount, closed) = match amount.strip_suffix('?') {
        Some(amount) => (amount, false),
        None => (amount, true),
    };
    let reversed = |how, amount| Reversed {
        how,
        amount: ars(amount),
    };
    let (amount, reversed) = match (amount.split_once('-'), amount.split_once('!')) {
        (Some((amount, back)), _) => (amount, Some(reversed(Reversal::Refunded, back))),
        (_, Some((amount, back))) => (amount, Some(reversed(Reversal::ChargedBack, back))),
        (None, None) => (amount, None),
    };
    let id = id.parse().expect("an id");
    let money = match amount.strip_suffix("BRL") {
        Some(amount) => Money::parse(amount, Currency::Brl).expect("an amount"),
        None => ars(amount),
    };
    let payment = Payment {
        id,
        merchant_order: None,
        amount: money,
        approved_at: Some(Timestamp(i64::try_from(id).expect("small"))),
        reversed,
    };
    Found { payment, closed }
}

/// `pending:1`, `rejected:1`, or an oddity: `currency:1`.
fn sighting(word: &str) -> Sighting {
    let (what, payment) = word.split_once(':').expect("what:id");
    let payment = payment.parse().expect("an id");
    match what {
        "pending" => Sighting::Pending(payment),
        "rejected" => Sighting::Rejected(payment),
        odd => Sighting::Suspect(Suspect {
            merchant_order: Some(7),
            payment: Some(payment),
            why: Oddity::parse(odd).expect("an oddity"),
        }),
    }
}

pub(crate) fn registration() -> Registration {
    Registration {
        account: AccountId::parse("main").expect("a name"),
        mode: Mode::Unattended,
        keys: None,
        name: None,
        require_lease: false,
        url_secret: false,
        external: None,
    }
}

pub(crate) fn payee() -> Payee {
    Payee {
        collector_id: 178_106_235,
        sponsor_id: None,
        notification_url: None,
        client_id: None,
    }
}

pub(crate) fn content(amount: &str) -> Content {
    let item = Item::plain(text("SUPER"), text("SUPER"), Quantity::ONE, ars(amount));
    Content::plain(Items::new(vec![item]).expect("items"), 300)
}

/// An event in a few words.
pub(crate) fn told(event: &Event) -> String {
    let about = event
        .reference()
        .map(|reference| format!(" {reference}"))
        .unwrap_or_default();
    let what = match event {
        Event::Registered(_) => "registered".into(),
        Event::Changed(_) => "changed".into(),
        Event::Removed => "removed".into(),
        Event::StateChanged { to, message } => {
            let message = message.as_ref().map(|text| format!(" {text}")).unwrap_or_default();
            format!("state {}{message}", to.as_str())
        }
        Event::OrderReady(order) => order.status.as_str().into(),
        Event::OrderSent { intent, .. } => intent.as_ref().map_or("sent".into(), |id| format!("sent as {id}")),
        Event::OrderRejected { why, .. } => format!("refused for {}", why.as_str()),
        Event::CancelAsked { .. } => "canceling".into(),
        Event::OrderShown(_) => "shown".into(),
        Event::OrderCanceled { reason, .. } => reason.map_or("canceled", CancelReason::as_str).into(),
        Event::OrderReplaced(_) => "replaced".into(),
        Event::OrderExpired(_) => "expired".into(),
        Event::OrderPaid { payments, late, .. } => {
            let late = if *late { "late " } else { "" };
            format!("{late}paid by {}", ids(payments))
        }
        Event::PaymentPartial { payments, .. } => format!("partial {}", ids(payments)),
        Event::LatePayment { payments, action, .. } => format!("{} late {}", action.as_str(), ids(payments)),
        Event::Overpaid {
            payments,
            excess,
            action,
            ..
        } => {
            format!("{} excess {excess} {}", action.as_str(), ids(payments))
        }
        Event::DeliveryReported { delivery, .. } => match delivery {
            Delivery::Dispensed => "dispensed".into(),
            Delivery::Failed { amount, .. } => {
                format!("failed {}", amount.map_or("all".into(), |amount| amount.to_string()))
            }
        },
        Event::DeliveryOverdue(_) => "overdue".into(),
        Event::PaymentSeen { sighting, .. } => match sighting {
            Sighting::Pending(id) => format!("pending {id}"),
            Sighting::Rejected(id) => format!("rejected {id}"),
            Sighting::Suspect(suspect) => format!("suspect {}", suspect.why.as_str()),
        },
        Event::PaymentReversed { payment, .. } => {
            let reversed = payment.reversed.expect("it was");
            format!("{} {} {}", reversed.how.as_str(), reversed.amount, payment.id)
        }
        Event::RefundRequested { refunds, .. } => {
            let parts: Vec<String> = refunds.iter().map(|r| format!("{}:{}", r.payment, r.amount)).collect();
            format!("back {}", parts.join("+"))
        }
        Event::RefundEnded { refund, .. } => format!("refund {} {}", refund.number, refund.state.as_str()),
    };
    format!("{what}{about}").replace("  ", " ")
}

fn ids(payments: &[Payment]) -> String {
    let ids: Vec<String> = payments.iter().map(|payment| payment.id.to_string()).collect();
    ids.join("+")
}

/// What an order's event leaves of an order, from its beginning: the fold that a reader of the feed would do.
pub(crate) fn replay(history: &[(PosId, Event, Timestamp)]) -> (BTreeMap<PosId, State>, BTreeMap<String, Order>) {
    let mut pos: BTreeMap<PosId, State> = BTreeMap::new();
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    for (id, event, at) in history {
        let state = pos.remove(id).flatten();
        pos.insert(id.clone(), evolve(state, id, event, *at));
        match event {
            Event::OrderReady(order) => {
                orders.insert(order.reference.folded(), Arc::unwrap_or_clone(order.clone()));
            }
            event => {
                let order = event
                    .reference()
                    .and_then(|reference| orders.get_mut(&reference.folded()));
                if let Some(order) = order {
                    evolve_order(order, event, *at);
                }
            }
        }
    }
    (pos, orders)
}
