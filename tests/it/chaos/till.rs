//! One point of sale: its controller, and the customers in front of it. They never look into the server, and remember
//! what they did for those who judge.

use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use surtidor::sandbox::{Attempt, Outcome, Payment, Place, Sandbox, Screen, Status};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::support::caller::Caller;
use crate::support::dice::Dice;
use crate::support::process::text;

/// How long a controller waits for an outcome: an order is asked for every ten seconds, and the server is often away.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a telephone shows is looked at this often. Following all that happens would wake every customer for each other.
const GLANCE: Duration = Duration::from_millis(100);

/// What the controller did about one order.
#[derive(Debug, Default)]
pub struct Deal {
    pub reference: String,
    pub amount: Decimal,
    /// It was told that the order is canceled.
    pub canceled: bool,
    /// It was told that nobody knows yet whether it is.
    pub undecided: bool,
    pub paid_elsewhere: bool,
    pub replaced: bool,
    pub reported: bool,
    /// Reported as not delivered.
    pub undelivered: Decimal,
    /// Refunds that it asked for and was promised.
    pub asked: Vec<Decimal>,
    pub charged_back: bool,
}

/// What the customers come to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Play {
    Pay,
    TwoPay,
    RejectedFirst,
    PendingFirst,
    InParts,
    /// A part only; then the controller cancels, or the time is up.
    Short,
    /// Two pay a part each, on telephones of their own: together enough, and yet neither is closed.
    PartsApart,
    PayAfterCancel,
    PayWhileCanceled,
    PayAfterReplaced,
    PayAroundExpiry,
    Nobody,
}

const PLAYS: [(u64, Play); 12] = [
    (30, Play::Pay),
    (12, Play::TwoPay),
    (6, Play::RejectedFirst),
    (6, Play::PendingFirst),
    (6, Play::InParts),
    (6, Play::Short),
    (4, Play::PartsApart),
    (8, Play::PayAfterCancel),
    (8, Play::PayWhileCanceled),
    (6, Play::PayAfterReplaced),
    (10, Play::PayAroundExpiry),
    (2, Play::Nobody),
];

pub struct Till {
    pub pos: String,
    /// Its orders are put at Mercado Pago.
    pub is_posted: bool,
    pub caller: Caller,
    pub sandbox: Arc<Sandbox>,
    /// What the feed has told of this POS.
    pub heard: watch::Receiver<Vec<Value>>,
    pub dice: Dice,
    /// The longest thought.
    pub think: Duration,
    pub deals: Vec<Deal>,
}

impl Till {
    /// So many orders, one after the other.
    pub async fn trade(mut self, orders: u64) -> Till {
        // Someone who will pay an order that was replaced.
        let mut late = None;
        for left in (0..orders).rev() {
            self.think().await;
            let play = match self.play() {
                Play::PayAfterReplaced if left == 0 => Play::PayAfterCancel,
                play => play,
            };
            let seconds = match play {
                Play::PayAroundExpiry | Play::Nobody | Play::Short | Play::PartsApart => 3 + self.dice.below(6),
                // One that is to be canceled, and whose intent's name and end are both lost, ends only then.
                _ if self.is_posted => 60,
                _ => 300,
            };
            self.push(seconds, late.is_some()).await;
            if let Some(scan) = late.take() {
                self.pay(scan, None).await;
            }
            late = self.serve(play, seconds).await;
        }
        self
    }

    fn play(&mut self) -> Play {
        let mut roll = self.dice.below(PLAYS.iter().map(|(weight, _)| weight).sum());
        for (weight, play) in PLAYS {
            match roll.checked_sub(weight) {
                Some(rest) => roll = rest,
                None => return play,
            }
        }
        Play::Pay
    }

    async fn think(&mut self) {
        let longest = u64::try_from(self.think.as_millis()).expect("seconds");
        sleep(Duration::from_millis(self.dice.below(longest + 1))).await;
    }

    /// A moment in which another thing may or may not happen first.
    async fn moment(&mut self) {
        sleep(Duration::from_millis(self.dice.below(1_500))).await;
    }

    /// Gives a telephone that shows an order which will be replaced.
    async fn serve(&mut self, play: Play, seconds: u64) -> Option<u64> {
        let pushed = Instant::now();
        if play == Play::Nobody {
            self.outcome().await;
            return None;
        }
        let scan = self.scan().await?;
        match play {
            Play::Pay | Play::Nobody => {
                self.pay(scan, None).await;
            }
            Play::TwoPay => {
                let second = self.scan().await;
                self.pay(scan, None).await;
                self.moment().await;
                if let Some(second) = second {
                    self.pay(second, None).await;
                }
            }
            Play::RejectedFirst => {
                self.attempt(scan, Status::Rejected, None).await;
                self.moment().await;
                self.pay(scan, None).await;
            }
            Play::PendingFirst => self.pay_slowly(scan).await,
            Play::InParts => {
                let part = self.part();
                self.pay(scan, Some(part)).await;
                self.moment().await;
                self.pay(scan, None).await;
            }
            Play::Short => {
                let part = self.part();
                self.pay(scan, Some(part)).await;
                self.moment().await;
                if self.dice.one_in(2) {
                    self.cancel().await;
                }
            }
            Play::PartsApart => {
                let most = self.deal().amount - cents(1);
                let second = self.scan().await;
                self.pay(scan, Some(most)).await;
                if let Some(second) = second {
                    self.pay(second, Some(most)).await;
                }
            }
            Play::PayAfterCancel => {
                self.cancel().await;
                self.moment().await;
                self.pay(scan, None).await;
            }
            Play::PayWhileCanceled => self.pay_while_canceled(scan).await,
            Play::PayAfterReplaced => {
                self.deal().replaced = true;
                return Some(scan);
            }
            Play::PayAroundExpiry => {
                let shift = Duration::from_millis(self.dice.below(3_000));
                let at = pushed + Duration::from_secs(seconds - 1) + shift;
                tokio::time::sleep_until(at).await;
                self.pay(scan, None).await;
            }
        }
        if self.outcome().await == "order_paid" {
            self.hand_out().await;
        }
        None
    }

    // --- the customers --------------------------------------------------------------------------------------

    /// None: the order ended before anybody saw it.
    async fn scan(&mut self) -> Option<u64> {
        let place = Place::Pos(self.pos.clone());
        let mut scan = self.sandbox.scan(place.clone()).await.expect("a place");
        let begun = Instant::now();
        loop {
            let seen = self.sandbox.scanned(scan).await.expect("a scan");
            match seen.screen {
                Screen::Order(_) if seen.last == self.reference() => return Some(scan),
                // An intent of the order before, which nobody could cancel: its price is not what is asked.
                Screen::Order(_) => scan = self.sandbox.scan(place.clone()).await.expect("a place"),
                Screen::Waiting | Screen::Over => {}
            }
            if self.heard.borrow().iter().any(|event| self.ends(event)) {
                self.sandbox.leave(scan).await.expect("a scan");
                return None;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} is never shown: {seen:?}",
                self.reference()
            );
            sleep(GLANCE).await;
        }
    }

    async fn pay(&self, scan: u64, amount: Option<Decimal>) -> Payment {
        self.attempt(scan, Status::Approved, amount).await
    }

    async fn attempt(&self, scan: u64, status: Status, amount: Option<Decimal>) -> Payment {
        let outcome = Outcome::of(status);
        let attempt = Attempt { scan, outcome, amount };
        self.sandbox.pay(attempt).await.expect("it is paid")
    }

    /// It is under review, and ends well in the end.
    async fn pay_slowly(&mut self, scan: u64) {
        let pending = self.attempt(scan, Status::Pending, None).await;
        self.moment().await;
        let end = if self.dice.one_in(3) {
            Status::Rejected
        } else {
            Status::Approved
        };
        self.sandbox.finish(pending.id, end).await.expect("it was pending");
        if end == Status::Rejected {
            self.pay(scan, None).await;
        }
    }

    async fn pay_while_canceled(&mut self, scan: u64) {
        let paid = {
            let (sandbox, wait) = (self.sandbox.clone(), self.dice.below(60));
            async move {
                sleep(Duration::from_millis(wait)).await;
                let attempt = Attempt {
                    scan,
                    outcome: Outcome::of(Status::Approved),
                    amount: None,
                };
                sandbox.pay(attempt).await.expect("it is paid")
            }
        };
        tokio::join!(paid, self.cancel());
    }

    /// Less than the whole.
    fn part(&mut self) -> Decimal {
        let all = self.deal().amount.mantissa();
        let all = u64::try_from(all).expect("an amount");
        cents(1 + self.dice.below(all - 1))
    }

    // --- the controller -------------------------------------------------------------------------------------

    fn deal(&mut self) -> &mut Deal {
        self.deals.last_mut().expect("an order was pushed")
    }

    fn reference(&self) -> &str {
        self.deals.last().map_or("", |deal| &deal.reference)
    }

    async fn push(&mut self, seconds: u64, replace: bool) {
        let deal = Deal {
            reference: format!("{}-{}", self.pos, self.deals.len() + 1),
            amount: cents(100 + self.dice.below(10_000_000)),
            ..Deal::default()
        };
        let order = json!({
            "external_reference": deal.reference, "amount": deal.amount.to_string(), "title": "SUPER",
            "expires_in_seconds": seconds,
        });
        let path = format!("/v1/pos/{}/order?replace={replace}", self.pos);
        let answer = self.caller.ask("PUT", &path, &order).await;
        assert!(matches!(answer.status, 200 | 201), "{}: {answer:?}", deal.reference);
        self.deals.push(deal);
    }

    async fn cancel(&mut self) {
        let elsewhere = self.dice.one_in(4);
        let reason = if elsewhere { "?reason=paid_elsewhere" } else { "" };
        let path = format!("/v1/pos/{}/order{reason}", self.pos);
        let answer = self.caller.ask("DELETE", &path, &Value::Null).await;
        let is_posted = self.is_posted;
        let deal = self.deal();
        match answer.status {
            204 => (deal.canceled, deal.paid_elsewhere) = (true, elsewhere),
            202 if is_posted => (deal.undecided, deal.paid_elsewhere) = (true, elsewhere),
            // Paid or expired before.
            409 | 404 => {}
            _ => panic!("{}: {answer:?}", deal.reference),
        }
    }

    /// Waits until the feed tells how the order ended.
    async fn outcome(&mut self) -> String {
        let reference = self.reference().to_owned();
        let mut heard = self.heard.clone();
        let ended = heard.wait_for(|events| events.iter().any(|event| self.ends(event)));
        let ended = timeout(PATIENCE, ended).await;
        let events = ended.unwrap_or_else(|_| panic!("the controller never heard what became of {reference}"));
        let events = events.expect("the feed is followed");
        let end = events
            .iter()
            .find(|event| self.ends(event))
            .expect("waited for just now");
        text(end, "type").to_owned()
    }

    fn ends(&self, event: &Value) -> bool {
        let ends = [
            "order_paid",
            "order_canceled",
            "order_replaced",
            "order_expired",
            "order_rejected",
        ];
        text(event, "external_reference") == self.reference() && ends.contains(&text(event, "type"))
    }

    /// The product of an order that was paid: it comes out, wholly, in part, not at all, or nobody says.
    async fn hand_out(&mut self) {
        let amount = self.deal().amount;
        let (report, undelivered) = match self.dice.below(20) {
            0..14 => (json!({"result": "dispensed"}), Decimal::ZERO),
            14..16 => (json!({"result": "failed", "reason": "no fuel"}), amount),
            16..19 => {
                let part = self.part();
                (json!({"result": "failed", "amount": part.to_string()}), part)
            }
            _ => (Value::Null, Decimal::ZERO),
        };
        if !report.is_null() {
            self.report(&report).await;
            self.deal().undelivered = undelivered;
        }
        if self.dice.one_in(10) {
            self.moment().await;
            self.ask_back().await;
        }
        if self.dice.one_in(20) {
            self.moment().await;
            self.charge_back().await;
        }
    }

    async fn report(&mut self, report: &Value) {
        let path = format!("/v1/orders/{}/delivery", self.reference());
        let times = if self.dice.one_in(3) { 2 } else { 1 };
        for _ in 0..times {
            let answer = self.caller.ask("PUT", &path, report).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        self.deal().reported = true;
    }

    /// A tenth of the price, under a key; and once more under the same.
    async fn ask_back(&mut self) {
        let amount = cents(u64::try_from(self.deal().amount.mantissa() / 10).expect("an amount"));
        let path = format!("/v1/orders/{}/refunds", self.reference());
        let header = format!("Idempotency-Key: tenth-of-{}\r\n", self.reference());
        let body = json!({"amount": amount.to_string()});
        let first = self.caller.ask_under("POST", &path, &header, &body).await;
        let again = self.caller.ask_under("POST", &path, &header, &body).await;
        match (first.status, again.status) {
            (200 | 201, 200) => self.deal().asked.push(amount),
            // Less is left than that, or nothing.
            (400, 400) | (409, 409) => {}
            _ => panic!("{path}: {first:?}, {again:?}"),
        }
    }

    /// The bank of one who has paid takes the money back, if it is still there.
    async fn charge_back(&mut self) {
        let paid = self.sandbox.payments(self.reference()).await.expect("it answers");
        if let Some(payment) = paid.first() {
            let taken = self.sandbox.charge_back(payment.id).await;
            self.deal().charged_back = taken.is_ok();
        }
    }
}

fn cents(count: u64) -> Decimal {
    Decimal::new(i64::try_from(count).expect("an amount"), 2)
}
