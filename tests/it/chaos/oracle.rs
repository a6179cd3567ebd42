//! Whether all ended right. It knows Mercado Pago's truth, what the controllers did, and the design's rules; nothing of the
//! server's code.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use serde_json::Value;
use surtidor::sandbox::{Intent, MerchantOrder, Payment, Placed, Status};

use super::till::Deal;
use crate::support::process::text;

/// How much before an order's end a payment must be there for the last look to find it surely: as old as a search may be
/// made, and a moment.
const SURELY: i64 = super::STALE.as_millis() as i64 + 1_000;

/// One order, from all sides.
pub struct Case<'a> {
    pub deal: &'a Deal,
    pub policy: &'a str,
    /// As the server tells it.
    pub view: &'a Value,
    pub events: &'a [Value],
    pub merchant_orders: &'a [MerchantOrder],
    pub payments: &'a [Payment],
    pub mode: &'a str,
    /// When we put it there ourselves.
    pub placed: &'a [Placed],
    /// A customer would be shown it now.
    pub stands: bool,
    /// The server said that Mercado Pago did not answer in time before the order expired.
    pub was_blind: bool,
    pub wrong: Vec<String>,
}

impl<'a> Case<'a> {
    pub fn new(deal: &'a Deal, policy: &'a str, view: &'a Value, events: &'a [Value]) -> Case<'a> {
        Case {
            deal,
            policy,
            view,
            events,
            merchant_orders: &[],
            payments: &[],
            mode: "unattended",
            placed: &[],
            stands: false,
            was_blind: false,
            wrong: Vec::new(),
        }
    }

    /// What is wrong with it; nothing once all has ended right.
    pub fn judge(mut self) -> Vec<String> {
        self.beginning();
        self.ending();
        self.payments_are_told();
        self.refunds_are_as_made();
        self.nothing_is_kept_by_accident();
        self.attempts_are_told();
        self.delivery();
        let (reference, policy) = (&self.deal.reference, self.policy);
        let named = |what: String| format!("{reference} ({policy}): {what}");
        self.wrong.into_iter().map(named).collect()
    }

    fn expect(&mut self, right: bool, what: impl Into<String>) {
        if !right {
            self.wrong.push(what.into());
        }
    }

    fn count(&self, kind: &str) -> usize {
        self.of(kind).count()
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.events.iter().filter(move |event| text(event, "type") == kind)
    }

    fn status(&self) -> &'a str {
        text(self.view, "status")
    }

    fn is_paid(&self) -> bool {
        self.status() == "paid"
    }

    /// Late money pays for the product too.
    fn accepts(&self) -> bool {
        self.policy == "accept" && !self.deal.paid_elsewhere
    }

    /// When the money was there: the first merchant order that is closed.
    fn covered_at(&self) -> Option<i64> {
        let closed = self.merchant_orders.iter().filter(|order| order.status == "closed");
        let at = |order: &MerchantOrder| {
            let payments = self
                .payments
                .iter()
                .filter(|payment| payment.merchant_order == order.id);
            payments.filter_map(|payment| payment.approved).max()
        };
        closed.filter_map(at).min()
    }

    // --- how it came there, and off --------------------------------------------------------------------------

    fn beginning(&mut self) {
        let begun = if self.mode == "unattended" {
            ["order_ready", "order_shown"]
        } else {
            ["order_sending", "order_sent"]
        };
        let [begun, went_on] = begun.map(|kind| self.count(kind));
        self.expect(begun == 1, "its beginning is not told once");
        self.expect(went_on <= 1, "it is told twice to be shown, or sent");
        self.expect(!self.stands, "it has ended, and stands on its point of sale");
        if self.status() == "rejected" {
            self.expect(self.placed.is_empty(), "rejected, though it could be paid");
        }
        if went_on == 1 && self.mode != "unattended" {
            self.expect(!self.placed.is_empty(), "told to be there, and never was");
        }
        if self.mode == "attended" {
            let times = self.placed.len();
            self.expect(times <= 1, format!("it was put there {times} times"));
        }
        let intents: Vec<&Intent> = self.placed.iter().filter_map(|placed| placed.intent.as_ref()).collect();
        let is_paid = |intent: &&&Intent| {
            let result = self.payments.iter().find(|payment| Some(payment.id) == intent.result);
            result.is_some_and(|payment| payment.approved.is_some())
        };
        let live = intents
            .iter()
            .filter(|intent| intent.status == "OPENED" || is_paid(intent))
            .count();
        self.expect(live <= 1, format!("{live} intents of it are open or paid"));
        // One whose answer was lost is made again once a search shows nothing of it (README, "The same controller in three
        // modes"): so it was over and nobody had paid, or that was too new to be seen; and then the second is taken off.
        for (before, after) in intents.iter().zip(self.placed.iter().skip(1)) {
            let Some(paid) = before.ended.filter(|_| is_paid(&before)) else {
                continue;
            };
            let late = after.at - paid;
            self.expect(
                late <= SURELY,
                format!("another intent was made {late} ms after it was paid"),
            );
            let is_named = |intent: &&Intent| self.view["intent"] == *intent.id;
            let left = after.intent.as_ref().filter(is_named);
            let is_off = left.is_none_or(|intent| intent.status == "CANCELED");
            self.expect(is_off, "another intent was made after it was paid, and not taken off");
        }
    }

    // --- how it ended ---------------------------------------------------------------------------------------

    fn ending(&mut self) {
        let late = self.of("order_paid").filter(|event| event["late"] == true).count();
        let paid = self.count("order_paid");
        let ends: Vec<&str> = ["canceled", "replaced", "expired", "rejected"]
            .into_iter()
            .filter(|end| self.count(&format!("order_{end}")) > 0)
            .collect();
        let told: usize = ends.iter().map(|end| self.count(&format!("order_{end}"))).sum();
        self.expect(
            told + paid - late == 1,
            format!("it ended {told} times and was paid {paid} times"),
        );
        self.expect(late <= 1, "paid late twice");
        self.expect(
            late == 0 || self.accepts(),
            "paid late, though late money is not accepted",
        );
        let expected = if paid > 0 {
            "paid"
        } else {
            ends.first().copied().unwrap_or("open")
        };
        self.expect(
            self.status() == expected,
            format!("it is {}, and was told as {expected}", self.status()),
        );
        // While Mercado Pago was asked its time may have run out.
        let over = self.count("order_canceled") == 1 || (self.mode != "unattended" && ends == ["expired"]);
        self.expect(!self.deal.canceled || over, "canceled, and not told so");
        self.expect(!self.deal.undecided || over || paid > 0, "undecided, and never told");
        let replaced = self.count("order_replaced") == 1;
        // There an order may end that nobody here has ended.
        let ended_there = self.mode == "intent" && !replaced && !ends.is_empty();
        self.expect(
            self.deal.replaced == replaced || paid > 0 || ended_there,
            "replaced without being told so, or the other way",
        );
        match (self.is_paid(), self.covered_at()) {
            (true, None) => self.wrong.push("paid, and the money is not there".into()),
            (false, Some(at)) if !self.deal.charged_back => self.unpaid_rightly(at),
            _ => {}
        }
    }

    /// The money was there at this time.
    fn unpaid_rightly(&mut self, at: i64) {
        self.expect(!self.accepts(), "late money should have been accepted");
        if self.status() == "expired" && !self.was_blind {
            let [expires, ended] = ["expires_at", "ended_at"].map(|at| milliseconds(text(self.view, at)));
            let expired = expires.min(ended);
            let early = expired - at;
            self.expect(early <= SURELY, format!("expired, though paid {early} ms before that"));
        }
    }

    // --- each payment is told once --------------------------------------------------------------------------

    fn payments_are_told(&mut self) {
        let recorded: BTreeSet<u64> = list(self.view, "payments").iter().map(id).collect();
        let known: BTreeSet<u64> = self.payments.iter().map(|payment| payment.id).collect();
        self.expect(recorded.is_subset(&known), "a payment that nobody made");
        for payment in self.payments.iter().filter(|payment| payment.approved.is_some()) {
            if recorded.contains(&payment.id) {
                self.payment_is_told(payment);
            } else {
                let gone = payment.status == Status::ChargedBack;
                self.expect(gone, format!("payment {} was never told", payment.id));
            }
        }
        let in_events = self.events.iter().flat_map(|event| list(event, "payments")).map(id);
        let in_events: BTreeSet<u64> = in_events.collect();
        self.expect(
            in_events == recorded,
            "the feed and the order differ about the payments",
        );
    }

    fn payment_is_told(&mut self, payment: &Payment) {
        let carries = |event: &&Value| list(event, "payments").iter().any(|told| id(told) == payment.id);
        let [kept, over, late] =
            ["order_paid", "overpaid", "late_payment"].map(|kind| self.of(kind).filter(carries).count());
        // Short money that came late may become part of what pays late, or of what is too much then.
        let grew = self.accepts() && late == 1 && kept + over == 1;
        // Of what the bank took a part of, a payment may be kept in part.
        let parted = self.deal.charged_back && kept == 1 && over == 1;
        let told = format!(
            "payment {}: kept {kept}, overpaid {over}, late {late} times",
            payment.id
        );
        self.expect(kept + over + late == 1 || grew || parted, told);
        let view = list(self.view, "payments").iter().find(|view| id(view) == payment.id);
        let view = view.expect("it is recorded");
        let same = amount(view, "amount") == payment.amount && view["merchant_order"] == payment.merchant_order;
        self.expect(same, format!("payment {} differs: {view}", payment.id));
    }

    // --- money that went back -------------------------------------------------------------------------------

    fn refunds_are_as_made(&mut self) {
        let mut made = BTreeMap::new();
        for refund in self.payments.iter().flat_map(|payment| &payment.refunds) {
            made.insert(refund.id, (refund.payment, refund.amount.normalize()));
        }
        for payment in self.payments {
            let back: Decimal = payment.refunds.iter().map(|refund| refund.amount).sum();
            self.expect(
                back <= payment.amount,
                format!("payment {} went back twice", payment.id),
            );
        }
        let mut told = BTreeMap::new();
        for refund in list(self.view, "refunds") {
            match text(refund, "status") {
                "done" => {
                    let of = (
                        refund["payment"].as_u64().unwrap_or(0),
                        amount(refund, "amount").normalize(),
                    );
                    let twice = told.insert(id(refund), of).is_some();
                    self.expect(!twice, format!("two refunds are one at Mercado Pago: {refund}"));
                }
                "failed" if self.deal.charged_back => {}
                _ => self.wrong.push(format!("not refunded: {refund}")),
            }
        }
        self.expect(made == told, format!("refunds made are {made:?}, and told as {told:?}"));
        self.causes();
    }

    /// No two refunds for one reason.
    fn causes(&mut self) {
        let live = list(self.view, "refunds")
            .iter()
            .filter(|refund| text(refund, "status") != "failed");
        let mut of_payment = BTreeMap::<(&str, u64), u32>::new();
        for refund in live.filter(|refund| matches!(text(refund, "cause"), "late" | "overpaid")) {
            let payment = refund["payment"].as_u64().unwrap_or(0);
            *of_payment.entry((text(refund, "cause"), payment)).or_default() += 1;
        }
        for ((cause, payment), times) in of_payment {
            self.expect(
                times == 1,
                format!("payment {payment} is refunded {times} times as {cause}"),
            );
        }
        let requests = |cause: &str| {
            let is_its = |event: &&Value| {
                list(event, "refunds")
                    .iter()
                    .any(|refund| text(refund, "cause") == cause)
            };
            self.of("refund_requested").filter(is_its).count()
        };
        let (asked, delivery) = (requests("asked"), requests("delivery"));
        self.expect(
            asked == self.deal.asked.len(),
            format!("asked for a refund {asked} times"),
        );
        self.expect(delivery <= 1, "a delivery failed once, and was refunded twice");
        let ended = self.count("refund_done") + self.count("refund_failed");
        let refunds = list(self.view, "refunds").len();
        self.expect(
            ended == refunds,
            format!("{refunds} refunds, and {ended} told to have ended"),
        );
    }

    fn nothing_is_kept_by_accident(&mut self) {
        if self.deal.charged_back {
            return;
        }
        let came = self.payments.iter().filter(|payment| payment.approved.is_some());
        let came: Decimal = came.map(|payment| payment.amount).sum();
        let back: Decimal = self.payments.iter().map(|payment| payment.refunded).sum();
        let asked: Decimal = self.deal.asked.iter().sum();
        let due = match (self.is_paid(), self.policy) {
            (true, "report") => Decimal::ZERO,
            (true, _) => came - self.deal.amount,
            (false, "refund") => came,
            (false, "accept") if self.deal.paid_elsewhere => came,
            (false, _) => Decimal::ZERO,
        };
        let due = came.min(due + asked + self.deal.undelivered);
        self.expect(
            back == due,
            format!("{came} came, {back} went back, and {due} should have"),
        );
    }

    // --- the rest -------------------------------------------------------------------------------------------

    fn attempts_are_told(&mut self) {
        for payment in self.payments {
            let is_its = |event: &&Value| event["payment"] == payment.id;
            let rejected = self.of("payment_rejected").filter(is_its).count();
            let expected = usize::from(payment.status == Status::Rejected);
            self.expect(
                rejected == expected,
                format!("{} is told as rejected {rejected} times", payment.id),
            );
            let pending = self.of("payment_pending").filter(is_its).count();
            self.expect(
                pending <= 1,
                format!("{} is told as pending {pending} times", payment.id),
            );
            let view = list(self.view, "payments").iter().find(|view| id(view) == payment.id);
            if let Some(view) = view.filter(|_| payment.status == Status::ChargedBack) {
                let told = self.count("payment_reversed");
                // What we had promised to give back the bank has taken too; that is known once we cannot give it.
                let most = 1 + self.count("refund_failed");
                self.expect((1..=most).contains(&told), format!("a chargeback is told {told} times"));
                let status = text(view, "status");
                self.expect(
                    status == "charged_back",
                    format!("{} was charged back, and is {status}", payment.id),
                );
            }
        }
        self.expect(self.count("payment_suspect") == 0, "honest money is suspect");
    }

    fn delivery(&mut self) {
        let reported = usize::from(self.deal.reported);
        self.expect(
            self.count("delivery_reported") == reported,
            "delivery_reported is not told as it was",
        );
        let overdue = self.count("delivery_overdue");
        let right = match (self.is_paid(), self.deal.reported) {
            (true, false) => overdue == 1,
            (true, true) => overdue <= 1,
            (false, _) => overdue == 0,
        };
        self.expect(right, format!("delivery_overdue is told {overdue} times"));
    }
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

fn id(value: &Value) -> u64 {
    value["id"].as_u64().unwrap_or(0)
}

fn amount(value: &Value, member: &str) -> Decimal {
    text(value, member).parse().unwrap_or(Decimal::NEGATIVE_ONE)
}

fn milliseconds(time: &str) -> i64 {
    let time: jiff::Timestamp = time.parse().expect("a time");
    time.as_millisecond()
}
