//! Whole histories from a seed, in one thread and without a socket: the rules, the verdict, and a Mercado Pago in memory.
//!
//! Customers scan and pay copies of orders whenever they like, controllers push, cancel, replace and vanish, the bank takes
//! money back, looks at the API are told late or get lost in a crash, and refunds are made although nobody hears of it.
//! Orders that are put at Mercado Pago come there or are refused, and are taken off, and what came of it is recorded late
//! or never. Whatever the interleaving, in the end no money may be kept by accident, and no product released for nothing.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use crate::domain::account::LatePayment;
use crate::domain::command::{Action, Command, Event};
use crate::domain::id::{PosId, Reference, Timestamp};
use crate::domain::order::{CancelReason, Order, Status};
use crate::domain::payment::{Cause, Findings, RefundState};
use crate::domain::pos::Mode;
use crate::domain::tests::world::{World, payee, pos_id, reference, replay};
use crate::mercadopago::{self, MerchantOrder, MerchantOrderStatus, PaymentOfOrder, PaymentStatus};
use crate::tracker::verdict::{about, findings, questions};

/// SplitMix64: one number after another, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll() % sides.max(1) as u64).expect("small")
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.up_to(sides) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() {
            None
        } else {
            all.get(self.up_to(all.len()))
        }
    }
}

/// What Mercado Pago has of one scan.
struct Scan {
    id: u64,
    reference: String,
    amount: Decimal,
    payments: Vec<Paid>,
}

struct Paid {
    id: u64,
    amount: Decimal,
    status: PaymentStatus,
    refunded: Decimal,
    approved: bool,
}

impl Scan {
    fn is_closed(&self) -> bool {
        let approved = self.payments.iter().filter(|payment| payment.approved);
        approved.map(|payment| payment.amount).sum::<Decimal>() >= self.amount
    }

    fn has(&self, payment: u64) -> bool {
        self.payments.iter().any(|known| known.id == payment)
    }

    fn answer(&self) -> MerchantOrder {
        MerchantOrder {
            id: self.id,
            status: if self.is_closed() {
                MerchantOrderStatus::Closed
            } else {
                MerchantOrderStatus::Opened
            },
            external_reference: Some(self.reference.clone()),
            collector_id: Some(payee().collector_id),
            payments: self.payments.iter().map(Paid::told).collect(),
            currencies: vec!["ARS".into()],
            total_amount: Some(self.amount),
        }
    }
}

impl Paid {
    fn told(&self) -> PaymentOfOrder {
        PaymentOfOrder {
            id: Some(self.id),
            status: self.status.clone(),
            status_detail: None,
            transaction_amount: Some(self.amount),
            refunded_amount: Some(self.refunded),
            currency_id: Some("ARS".into()),
            date_approved: Some(Timestamp(i64::try_from(self.id).expect("small"))),
        }
    }

    fn answer(&self, scan: &Scan) -> mercadopago::Payment {
        mercadopago::Payment {
            id: Some(self.id),
            status: self.status.clone(),
            status_detail: None,
            transaction_amount: Some(self.amount),
            refunded_amount: Some(self.refunded),
            currency_id: Some("ARS".into()),
            external_reference: Some(scan.reference.clone()),
            collector_id: Some(payee().collector_id),
            merchant_order: Some(scan.id),
            date_created: None,
            date_approved: Some(Timestamp(i64::try_from(self.id).expect("small"))),
            payment_method_id: None,
            payment_type_id: None,
            live_mode: None,
            refunds: Vec::new(),
        }
    }

    fn left(&self) -> Decimal {
        match self.status {
            PaymentStatus::Approved => self.amount - self.refunded,
            _ => Decimal::ZERO,
        }
    }
}

struct Simulation {
    dice: Dice,
    world: World,
    poses: Vec<PosId>,
    references: Vec<Reference>,
    scans: Vec<Scan>,
    /// Refunds made, by the key that asked for them.
    refunds: BTreeMap<(String, u32), u64>,
    /// What was learnt of an order, and is told the rules some time later, or never.
    told_later: Vec<(Reference, Findings)>,
    /// What stands on a POS at Mercado Pago; and all that ever did.
    places: BTreeMap<PosId, Reference>,
    placed: BTreeSet<Reference>,
    /// What a call came to that brought an order there or took it off. It is recorded some time later, or never.
    recorded_later: Vec<(Reference, String)>,
    next: u64,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut dice = Dice(seed);
        let policies = [LatePayment::Report, LatePayment::Refund, LatePayment::Accept];
        let policy = *dice.of(&policies).expect("three");
        let mut world = World::new(policy);
        let poses: Vec<PosId> = ["P", "Q"].map(pos_id).into();
        for pos in &poses {
            let mode = dice.of(&Mode::ALL).expect("three");
            let register = world.read(pos, &format!("register {}", mode.as_str()));
            world.apply(pos, &register).expect("a new POS");
        }
        Simulation {
            dice,
            world,
            poses,
            references: Vec::new(),
            scans: Vec::new(),
            refunds: BTreeMap::new(),
            told_later: Vec::new(),
            places: BTreeMap::new(),
            placed: BTreeSet::new(),
            recorded_later: Vec::new(),
            next: 1,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn step(&mut self) {
        self.world.now = self.world.now.plus_seconds(1);
        match self.dice.up_to(19) {
            0 | 1 => self.push(),
            2 => self.say("cancel"),
            3 => self.end_one(),
            4 | 5 => self.scan(),
            6..=8 => self.pay(),
            9 => self.take_back(),
            10 | 11 => self.look(),
            12 => self.tell(),
            13 | 14 => self.send(),
            15 => self.take_off(),
            16 => self.record(),
            _ => match self.dice.up_to(4) {
                0 => self.crash(),
                1 => self.deliver(),
                2 => self.ask_for_money(),
                _ => self.give_back(),
            },
        }
    }

    /// A sentence about a POS, whatever comes of it.
    fn say(&mut self, sentence: &str) {
        let pos = self.dice.of(&self.poses).expect("two").clone();
        let command = self.world.read(&pos, sentence);
        let _ = self.world.apply(&pos, &command);
    }

    /// A sentence about an order, on its own POS.
    fn say_of(&mut self, reference: &Reference, sentence: &str) {
        if let Some(pos) = self.world.order(reference).map(|order| order.pos.clone()) {
            let command = self.world.read(&pos, sentence);
            let _ = self.world.apply(&pos, &command);
        }
    }

    fn any_order(&mut self) -> Option<Reference> {
        self.dice.of(&self.references).cloned()
    }

    fn push(&mut self) {
        let name = format!("R-{}", self.number());
        let amount = self.dice.of(&["50", "100"]).expect("two");
        let replace = if self.dice.one_in(3) { " replace" } else { "" };
        let late = self
            .dice
            .of(&["", "", " late accept", " late refund", " late report"])
            .expect("five");
        let sentence = format!("push {name} {amount}{late}{replace}");
        self.say(&sentence);
        if self.world.order(&reference(&name)).is_some() {
            self.references.push(reference(&name));
        }
    }

    /// Its time is up, perhaps after a last look; or the customer used another wallet.
    fn end_one(&mut self) {
        let Some(order) = self.any_order() else { return };
        if self.dice.one_in(4) {
            return self.say("cancel paid_elsewhere");
        }
        if self.dice.one_in(2) {
            let seen = self.seen(&order, false);
            self.settle(&order, seen);
        }
        self.say_of(&order, &format!("expire {order}"));
    }

    /// A telephone takes a copy of what is offered. That it was shown may get lost.
    fn scan(&mut self) {
        let pos = self.dice.of(&self.poses).expect("two").clone();
        let offered = match self.mode(&pos) {
            Mode::Unattended => self.world.state(&pos).and_then(|pos| pos.open),
            _ => self.places.get(&pos).map(|there| self.known(there).into()),
        };
        let Some(order) = offered else { return };
        let id = self.number();
        self.scans.push(Scan {
            id,
            reference: order.reference.to_string(),
            amount: order.amount().amount(),
            payments: Vec::new(),
        });
        if order.mode() == Mode::Unattended && !self.dice.one_in(5) {
            self.say_of(&order.reference, &format!("shown {}", order.reference));
        }
    }

    fn mode(&self, pos: &PosId) -> Mode {
        self.world
            .state(pos)
            .map_or(Mode::Unattended, |pos| pos.registration.mode)
    }

    fn known(&self, reference: &Reference) -> Order {
        self.world.order(reference).expect("it was pushed").clone()
    }

    /// Brings an open order to Mercado Pago, where it may be already: then the money is looked for first.
    fn send(&mut self) {
        let pos = self.dice.of(&self.poses).expect("two").clone();
        let is_sent = |order: &Order| order.status == Status::Sending && !order.is_canceling();
        let open = |simulation: &Simulation| simulation.world.state(&pos).and_then(|pos| pos.open);
        let Some(order) = open(self).filter(|order| is_sent(order)) else {
            return;
        };
        let reference = order.reference.clone();
        // One call at a time for one order.
        if self.recorded_later.iter().any(|(of, _)| *of == reference) {
            return;
        }
        if self.placed.contains(&reference) && self.places.get(&pos) != Some(&reference) {
            let seen = self.seen(&reference, false);
            self.settle(&reference, seen);
            if !open(self).is_some_and(|order| is_sent(&order)) {
                return;
            }
        }
        let is_refused = self.dice.one_in(8) && !self.placed.contains(&reference);
        let is_queued = order.mode() == Mode::Intent && self.places.get(&pos).is_some_and(|there| *there != reference);
        let said = if is_refused || is_queued {
            format!("reject {reference} no")
        } else {
            self.places.insert(pos, reference.clone());
            self.placed.insert(reference.clone());
            match order.mode() {
                Mode::Intent => format!("sent {reference} as i-{reference}"),
                _ => format!("sent {reference}"),
            }
        };
        self.heard_perhaps(&reference, said);
    }

    /// Takes one off that is to be canceled, that has ended, or, if it is an intent, that is over by itself.
    fn take_off(&mut self) {
        let Some(reference) = self.any_order() else { return };
        let order = self.known(&reference);
        let is_there = self.places.get(&order.pos) == Some(&reference);
        let is_over = order.mode() == Mode::Intent && order.status == Status::Ready && !is_there;
        if order.posted.is_none() || !(order.is_canceling() || !order.status.is_open() || is_over) {
            return;
        }
        if is_there {
            self.places.remove(&order.pos);
        }
        let behind = self.dice.one_in(4);
        let seen = self.seen(&reference, behind);
        self.settle(&reference, seen);
        if order.status.is_open() {
            let why = if order.is_canceling() { "" } else { " there" };
            self.heard_perhaps(&reference, format!("withdraw {reference}{why}"));
        }
    }

    /// What an answer said is recorded at once, or later, or it got lost.
    fn heard_perhaps(&mut self, reference: &Reference, said: String) {
        match self.dice.up_to(4) {
            0 => {}
            1 => self.recorded_later.push((reference.clone(), said)),
            _ => self.say_of(reference, &said),
        }
    }

    fn record(&mut self) {
        if !self.recorded_later.is_empty() {
            let place = self.dice.up_to(self.recorded_later.len());
            let (reference, said) = self.recorded_later.swap_remove(place);
            self.say_of(&reference, &said);
        }
    }

    /// Somebody pays what is missing, or a part, or tries to. Mercado Pago takes no more than its copy asks for.
    fn pay(&mut self) {
        let id = self.number();
        let place = self.dice.up_to(self.scans.len());
        let (rejected, part) = (self.dice.one_in(6), self.dice.one_in(4));
        let Some(scan) = self.scans.get_mut(place).filter(|scan| !scan.is_closed()) else {
            return;
        };
        let approved = scan.payments.iter().filter(|payment| payment.approved);
        let missing = scan.amount - approved.map(|payment| payment.amount).sum::<Decimal>();
        scan.payments.push(Paid {
            id,
            amount: if part { missing / Decimal::TWO } else { missing }
                .round_dp(2)
                .max(Decimal::ONE),
            status: if rejected {
                PaymentStatus::Rejected
            } else {
                PaymentStatus::Approved
            },
            refunded: Decimal::ZERO,
            approved: !rejected,
        });
        let (of, is_closed) = (scan.reference.clone(), scan.is_closed());
        // Whoever pays frees the place; an intent is over however that ends.
        let order = self.known(&reference(&of));
        let frees = is_closed || order.mode() == Mode::Intent;
        if frees && self.places.get(&order.pos) == Some(&order.reference) {
            self.places.remove(&order.pos);
        }
    }

    /// The bank, or the merchant at Mercado Pago itself.
    fn take_back(&mut self) {
        let (place, by_bank) = (self.dice.up_to(self.scans.len()), self.dice.one_in(2));
        let rare = self.dice.one_in(3);
        let payments = self.scans.get_mut(place).map(|scan| &mut scan.payments);
        let Some(payment) = payments.and_then(|payments| payments.iter_mut().find(|payment| !payment.left().is_zero()))
        else {
            return;
        };
        match (rare, by_bank) {
            (false, _) => {}
            (true, true) => payment.status = PaymentStatus::ChargedBack,
            (true, false) => give(payment, payment.left()),
        }
    }

    /// What the API says of an order now; a search that is behind leaves the newest scan out.
    fn seen(&self, reference: &Reference, behind: bool) -> Option<Findings> {
        let order = self.world.order(reference)?;
        let known = self.scans.len() - usize::from(behind && !self.scans.is_empty());
        let told = about(order, self.scans[..known].iter().map(Scan::answer).collect());
        let all = self
            .scans
            .iter()
            .flat_map(|scan| scan.payments.iter().map(move |payment| (scan, payment)));
        let asked = questions(order, &told);
        let answers = all
            .filter(|(_, payment)| asked.contains(&payment.id))
            .map(|(scan, payment)| (payment.id, payment.answer(scan)))
            .collect();
        Some(findings(order, &told, &answers))
    }

    fn look(&mut self) {
        let Some(reference) = self.any_order() else { return };
        let behind = self.dice.one_in(4);
        let seen = self.seen(&reference, behind);
        if self.dice.one_in(2) {
            self.settle(&reference, seen);
        } else if let Some(seen) = seen {
            self.told_later.push((reference, seen));
        }
    }

    fn tell(&mut self) {
        if !self.told_later.is_empty() {
            let place = self.dice.up_to(self.told_later.len());
            let (reference, seen) = self.told_later.swap_remove(place);
            self.settle(&reference, Some(seen));
        }
    }

    fn settle(&mut self, reference: &Reference, seen: Option<Findings>) {
        let order = self.world.order(reference).map(|order| order.pos.clone());
        if let (Some(pos), Some(findings)) = (order, seen) {
            let reference = reference.clone();
            let settled = self.world.apply(&pos, &Command::Settle { reference, findings });
            settled.expect("its own POS is told");
        }
    }

    /// Makes a refund that waits. Mercado Pago remembers its key; that it answered may get lost.
    fn give_back(&mut self) {
        let Some(reference) = self.any_order() else { return };
        let heard = !self.dice.one_in(3);
        self.pursue(&reference, heard);
    }

    fn pursue(&mut self, reference: &Reference, heard: bool) {
        let Some(order) = self.world.order(reference).cloned() else {
            return;
        };
        let waiting = order.refunds.iter().find(|refund| refund.waits());
        let Some(refund) = waiting else { return };
        let key = (order.reference.folded(), refund.number);
        let done = self.refunds.contains_key(&key) || {
            let all = self.scans.iter_mut().flat_map(|scan| &mut scan.payments);
            let payment = all.into_iter().find(|payment| payment.id == refund.payment);
            let payment = payment.filter(|payment| payment.left() >= refund.amount.amount());
            let may = payment.is_some();
            if let Some(payment) = payment {
                give(payment, refund.amount.amount());
                let id = 900 + self.refunds.len() as u64;
                self.refunds.insert(key.clone(), id);
            }
            may
        };
        if heard {
            let what = if done { "refunded" } else { "not-refunded" };
            self.say_of(reference, &format!("{what} {reference} {}", refund.number));
        }
    }

    fn deliver(&mut self) {
        let Some(order) = self.any_order() else { return };
        let sentence = match self.dice.up_to(3) {
            0 => format!("dispensed {order}"),
            1 => format!("failed {order}"),
            _ => format!("failed {order} amount 30"),
        };
        self.say_of(&order, &sentence);
    }

    fn ask_for_money(&mut self) {
        let Some(order) = self.any_order() else { return };
        let key = self.dice.up_to(3);
        self.say_of(&order, &format!("refund {order} k{key} amount 10"));
    }

    /// All that was not written down is gone; what was gives the same state again.
    fn crash(&mut self) {
        self.told_later.clear();
        self.recorded_later.clear();
        let (pos, orders) = replay(&self.world.history);
        assert_eq!(orders, self.world.orders, "the orders, from the log");
        self.world.pos = pos;
    }

    /// Nothing happens any more; everything is looked at and pursued until nothing changes.
    fn come_to_rest(&mut self) {
        for reference in self.references.clone() {
            self.say_of(&reference, &format!("expire {reference}"));
        }
        for reference in self.references.clone() {
            assert!(!self.known(&reference).status.is_open(), "{reference} is open");
            self.places.retain(|_, there| *there != reference);
        }
        for _ in 0..100 {
            let before = self.world.history.len();
            for reference in self.references.clone() {
                let seen = self.seen(&reference, false);
                self.settle(&reference, seen);
                for _ in 0..refunds_of(&self.world, &reference) {
                    self.pursue(&reference, true);
                }
            }
            if self.world.history.len() == before {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self) {
        for reference in &self.references {
            let order = self.world.order(reference).expect("it was pushed");
            self.every_payment_is_known(order);
            self.each_is_told_once(order);
            self.each_ends_once(order);
            self.nothing_is_kept_by_accident(order);
        }
    }

    fn payments_of<'a>(&'a self, order: &'a Order) -> impl Iterator<Item = &'a Paid> {
        let own = |scan: &&Scan| scan.reference == order.reference.as_str();
        self.scans.iter().filter(own).flat_map(|scan| &scan.payments)
    }

    fn every_payment_is_known(&self, order: &Order) {
        for payment in self.payments_of(order).filter(|payment| !payment.left().is_zero()) {
            let recorded = order.payments.iter().find(|known| known.id == payment.id);
            let recorded = recorded.unwrap_or_else(|| panic!("{} of {} is not recorded", payment.id, order.reference));
            assert_eq!(
                order.left_of(recorded).amount(),
                payment.left(),
                "of {} is left",
                payment.id
            );
        }
        let keys = self
            .refunds
            .keys()
            .filter(|(reference, _)| *reference == order.reference.folded());
        let done = order
            .refunds
            .iter()
            .filter(|refund| matches!(refund.state, RefundState::Done(_)));
        assert_eq!(keys.count(), done.count(), "each refund was made once, and is known");
    }

    /// A product is released once at most; and no payment is told both as kept and as too much.
    fn each_is_told_once(&self, order: &Order) {
        let (mut paid, mut kept, mut late) = (0, BTreeSet::new(), BTreeSet::new());
        for (_, event, _) in &self.world.history {
            if event.reference() != Some(&order.reference) {
                continue;
            }
            match event {
                Event::OrderPaid { payments, .. } => {
                    paid += 1;
                    let closed = |id| self.scans.iter().any(|scan| scan.is_closed() && scan.has(id));
                    assert!(
                        payments.iter().all(|payment| closed(payment.id)),
                        "paid by what is not closed"
                    );
                    kept.extend(payments.iter().map(|payment| payment.id));
                }
                Event::LatePayment {
                    payments,
                    action: Action::Refund,
                    ..
                } => {
                    for payment in payments {
                        assert!(late.insert(payment.id), "{} was late twice", payment.id);
                    }
                }
                _ => {}
            }
        }
        assert_eq!(paid, i32::from(order.status == Status::Paid));
        assert!(kept.is_disjoint(&late), "given back and kept: {kept:?} {late:?}");
    }

    /// What was refused nobody could pay; and what is there is told once, and after the end only if that names it.
    fn each_ends_once(&self, order: &Order) {
        let (mut ends, mut told, mut is_wanted_off) = (0, None::<bool>, false);
        let own = |event: &&Event| event.reference() == Some(&order.reference);
        for event in self.world.history.iter().map(|(_, event, _)| event).filter(own) {
            match event {
                Event::OrderPaid { late, .. } => ends += i32::from(!late),
                Event::OrderCanceled { .. }
                | Event::OrderReplaced(_)
                | Event::OrderExpired(_)
                | Event::OrderRejected { .. } => ends += 1,
                Event::OrderSent { intent, .. } => {
                    let is_news = told.map_or(ends == 0 || intent.is_some(), |named| !named && intent.is_some());
                    assert!(is_news, "{} is told to be there", order.reference);
                    told = Some(intent.is_some());
                }
                Event::CancelAsked { .. } => {
                    assert!(!is_wanted_off, "{} is to be canceled twice", order.reference);
                    is_wanted_off = true;
                }
                _ => {}
            }
        }
        let is_refused = order.status == Status::Rejected;
        assert!(!(is_refused && is_wanted_off), "{} was to be canceled", order.reference);
        assert_eq!(ends, 1, "{} ended so often", order.reference);
        if is_refused {
            assert!(
                !self.placed.contains(&order.reference),
                "{} could be paid",
                order.reference
            );
        }
    }

    fn nothing_is_kept_by_accident(&self, order: &Order) {
        let left: Decimal = self.payments_of(order).map(Paid::left).sum();
        // A refund that could not be made was told as such.
        let failed = order
            .refunds
            .iter()
            .any(|refund| matches!(refund.state, RefundState::Failed(_)));
        if failed {
            return;
        }
        let most = match (order.status, order.late_payment) {
            (_, LatePayment::Report) => return,
            (Status::Paid, _) => order.amount().amount(),
            // What was paid with another wallet too goes back; short money under `accept` is told.
            (_, LatePayment::Accept) if order.canceled_for != Some(CancelReason::PaidElsewhere) => return,
            _ => Decimal::ZERO,
        };
        assert!(left <= most, "{left} is kept of {} {:?}", order.reference, order.status);
        let owed = order
            .refunds
            .iter()
            .filter(|refund| !matches!(refund.cause, Cause::Late | Cause::Overpaid));
        let owed: Decimal = owed.map(|refund| refund.amount.amount()).sum();
        let taken = order.payments.iter().any(|payment| payment.reversed.is_some());
        assert!(
            taken || left + owed >= most,
            "more than was owed went back of {}",
            order.reference
        );
    }
}

fn give(payment: &mut Paid, amount: Decimal) {
    payment.refunded += amount;
    if payment.refunded == payment.amount {
        payment.status = PaymentStatus::Refunded;
    }
}

fn refunds_of(world: &World, reference: &Reference) -> usize {
    world.order(reference).map_or(0, |order| order.refunds.len())
}

#[test]
fn in_no_history_is_money_kept_by_accident() {
    let all = std::env::var("SURTIDOR_TESTS").is_ok_and(|form| form == "all");
    let histories: u64 = if all { 100_000 } else { 4_000 };
    let given = std::env::var("SURTIDOR_SEED").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = given.unwrap_or_else(|| std::process::id().into());
    for seed in first..first + histories {
        let ran = std::panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed);
            let steps = 20 + simulation.dice.up_to(80);
            for _ in 0..steps {
                simulation.step();
            }
            simulation.crash();
            simulation.come_to_rest();
            simulation.check();
        });
        assert!(ran.is_ok(), "it was the history of SURTIDOR_SEED={seed}");
    }
}
