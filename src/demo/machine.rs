//! A petrol pump and a vending machine, as far as selling goes: what a customer does and what the server tells becomes the
//! machine's next phase, and the calls it makes on the control socket. Pure: no clock, no IO; who drives it makes the calls.

use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Pump,
    Vending,
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Pump, Kind::Vending];

    /// Its name on the control socket.
    pub fn pos(self) -> &'static str {
        match self {
            Kind::Pump => "PUMP4",
            Kind::Vending => "VEND1",
        }
    }

    /// Its name on receipts.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pump => "Surtidor 4",
            Kind::Vending => "Máquina 1",
        }
    }

    /// What stands in its QR code beside the place.
    pub fn position(self) -> &'static str {
        match self {
            Kind::Pump => "4",
            Kind::Vending => "11",
        }
    }

    pub fn of_pos(pos: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.pos() == pos)
    }

    /// Whose sale a reference is.
    pub fn of_reference(reference: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| reference.starts_with(kind.pos()))
    }
}

/// How an order of the machine reaches Mercado Pago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It waits to be polled.
    #[default]
    Unattended,
    /// It is put on the point of sale there.
    Attended,
    /// It is put there as an intent, with a code of its own beside the printed one.
    Intent,
}

/// Where the machines stand; also the store's name at Mercado Pago.
pub const PLACE: &str = "6232";

/// What a slot of the vending machine holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    pub slot: &'static str,
    pub title: &'static str,
    pub price: &'static str,
}

#[rustfmt::skip]
pub static PRODUCTS: [Product; 6] = [
    Product { slot: "A1", title: "Alfajor",    price: "1450.00" },
    Product { slot: "A2", title: "Chocolate",  price: "2100.00" },
    Product { slot: "A3", title: "Galletitas", price: "1200.00" },
    Product { slot: "B1", title: "Agua",       price: "1100.00" },
    Product { slot: "B2", title: "Gaseosa",    price: "1900.00" },
    Product { slot: "B3", title: "Yerba mate", price: "3600.00" },
];

/// Hundredths of a peso for a litre.
pub const LITRE: u64 = 149_000;
/// Hundredths of a litre that flow in one tick, and that the tank takes.
const FLOW: u64 = 21;
const TANK: u64 = 4_500;

/// Hundredths as people write them, with a point.
fn hundredths(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Idle,
    /// The nozzle is out.
    Filling,
    /// The order is on its way to the server.
    Sending,
    /// It can be paid.
    Asking,
    /// It is to be canceled, and Mercado Pago is asked whether it was paid.
    Canceling,
    /// It was paid, and the product is on its way out.
    Releasing,
    Thanks,
    /// It was paid, and could not be delivered.
    NotDelivered,
    Canceled,
    Expired,
    /// The server or Mercado Pago said no. They are not expected to.
    Refused,
}

impl Phase {
    fn is_free(self) -> bool {
        use Phase::{Asking, Canceling, Filling, Releasing, Sending};
        !matches!(self, Filling | Sending | Asking | Canceling | Releasing)
    }
}

/// Something that became of a sale: the feed's own word, and the amount that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct News {
    #[serde(rename = "type")]
    pub kind: String,
    pub amount: Option<String>,
}

/// The one order of a machine, as the server tells it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sale {
    pub reference: String,
    pub title: String,
    /// The server's, from when it has taken the order.
    pub amount: Option<String>,
    pub currency: Option<String>,
    /// A telephone was shown it.
    pub shown: bool,
    /// What its own code says, if it has one.
    pub qr_data: Option<String>,
    pub news: Vec<News>,
    pub receipt: Option<String>,
    /// Why the server or Mercado Pago refused something.
    pub problem: Option<String>,
}

/// A call on the control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub what: What,
    pub method: Method,
    pub target: String,
    pub body: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Register,
    Lease,
    State,
    Push,
    Cancel,
    Deliver,
    Receipt(String),
}

/// What is to be done next, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    Call(Call),
    /// The product moves; then [`Machine::moved`] says how that went.
    Move,
}

/// A button that does nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine cannot do that now")]
pub struct NotNow;

type Jobs = Result<Vec<Job>, NotNow>;

#[derive(Debug)]
pub struct Machine {
    pub kind: Kind,
    pub mode: Mode,
    pub phase: Phase,
    /// Hundredths of a litre.
    volume: u64,
    /// The slot that was chosen.
    pub chosen: Option<&'static Product>,
    pub sale: Option<Sale>,
    /// The next product gets stuck.
    pub jammed: bool,
    sales: u32,
}

impl Machine {
    pub fn new(kind: Kind) -> Machine {
        Machine {
            kind,
            mode: Mode::default(),
            phase: Phase::Idle,
            volume: 0,
            chosen: None,
            sale: None,
            jammed: false,
            sales: 0,
        }
    }

    pub fn litres(&self) -> String {
        hundredths(self.volume)
    }

    /// What the pump's own counter shows. What is to be paid is the server's.
    pub fn counted(&self) -> String {
        hundredths(self.volume * LITRE / 100)
    }

    /// Once, when the server first runs; then the lease is renewed for as long as the machine lives.
    pub fn register(&self) -> Vec<Job> {
        vec![self.registration(), self.lease()]
    }

    fn registration(&self) -> Job {
        let (mode, name) = (self.mode, self.kind.name());
        let body = match mode {
            Mode::Unattended => {
                let keys = json!({ "locationId": PLACE, "positionId": self.kind.position() });
                json!({ "mode": mode, "name": name, "keys": keys, "require_lease": true })
            }
            Mode::Attended | Mode::Intent => json!({ "mode": mode, "name": name, "external_store_id": PLACE }),
        };
        self.put(What::Register, "", body)
    }

    /// From the next order on. It is all that changes for the machine: its calls stay the same.
    pub fn switch(&mut self, mode: Mode) -> Jobs {
        if !self.next() {
            return Err(NotNow);
        }
        self.mode = mode;
        Ok(vec![self.registration()])
    }

    pub fn lease(&self) -> Job {
        self.put(What::Lease, "/lease", json!({ "seconds": 30 }))
    }

    fn put(&self, what: What, path: &str, body: Value) -> Job {
        let target = format!("/v1/pos/{}{path}", self.kind.pos());
        call(what, Method::PUT, target, Some(body))
    }

    // --- what a customer does -------------------------------------------------------------------------------

    pub fn lift(&mut self) -> Jobs {
        self.begin(Kind::Pump)?;
        self.phase = Phase::Filling;
        let body = json!({ "state": "in_process", "message": "Fuel is still flowing.", "lease_seconds": 30 });
        Ok(vec![self.put(What::State, "/state", body)])
    }

    /// A moment passes; whether that shows.
    pub fn tick(&mut self) -> bool {
        let flows = self.phase == Phase::Filling && self.volume < TANK;
        self.volume += if flows { FLOW } else { 0 };
        flows
    }

    pub fn hang_up(&mut self) -> Jobs {
        if self.phase != Phase::Filling {
            return Err(NotNow);
        }
        if self.volume == 0 {
            self.phase = Phase::Idle;
            return Ok(vec![self.put(What::State, "/state", json!({ "state": "unavailable" }))]);
        }
        let title = format!("SUPER {} L", self.litres());
        Ok(vec![self.push(title, &self.counted())])
    }

    pub fn choose(&mut self, slot: &str) -> Jobs {
        let product = PRODUCTS.iter().find(|product| product.slot == slot).ok_or(NotNow)?;
        self.begin(Kind::Vending)?;
        self.chosen = Some(product);
        Ok(vec![self.push(product.title.to_owned(), product.price)])
    }

    fn begin(&mut self, kind: Kind) -> Result<(), NotNow> {
        if self.kind != kind || !self.phase.is_free() {
            return Err(NotNow);
        }
        self.next();
        Ok(())
    }

    fn push(&mut self, title: String, price: &str) -> Job {
        self.sales += 1;
        let reference = format!("{}-{:04}", self.kind.pos(), self.sales);
        let item = json!({ "title": title, "description": self.kind.name(), "quantity": 1, "unit_price": price });
        let mut body = json!({ "external_reference": reference, "items": [item], "expires_in_seconds": 300 });
        if self.mode == Mode::Intent {
            body["qr"] = "both".into();
        }
        self.phase = Phase::Sending;
        self.sale = Some(Sale {
            reference,
            title,
            ..Sale::default()
        });
        self.put(What::Push, "/order", body)
    }

    /// Somebody at the till takes the money instead.
    pub fn cancel(&mut self) -> Jobs {
        if self.phase != Phase::Asking {
            return Err(NotNow);
        }
        let target = format!("/v1/pos/{}/order?reason=paid_elsewhere", self.kind.pos());
        Ok(vec![call(What::Cancel, Method::DELETE, target, None)])
    }

    /// Ready for the next customer, if the last one is done.
    pub fn next(&mut self) -> bool {
        if self.phase.is_free() {
            (self.phase, self.volume, self.chosen, self.sale) = (Phase::Idle, 0, None, None);
        }
        self.phase == Phase::Idle
    }

    // --- what the server says -------------------------------------------------------------------------------

    /// An event of the feed. Those of an earlier sale are history.
    pub fn heard(&mut self, event: &Value) -> Vec<Job> {
        let text = |name: &str| event[name].as_str().map(str::to_owned);
        let (Some(kind), Some(reference)) = (text("type"), text("external_reference")) else {
            return Vec::new();
        };
        let Some(sale) = self.sale.as_mut().filter(|sale| sale.reference == reference) else {
            return Vec::new();
        };
        if sale.news.len() < limits::DEMO_NEWS {
            let amount = amount_of(event, &kind);
            sale.news.push(News {
                kind: kind.clone(),
                amount,
            });
        }
        (sale.amount, sale.currency) = (text("amount"), text("currency_id"));
        match kind.as_str() {
            "order_ready" | "order_sent" => {
                sale.qr_data = text("qr_data");
                self.phase = Phase::Asking;
            }
            "order_rejected" => {
                let why = text("reason").unwrap_or_default();
                sale.problem = Some(format!("Mercado Pago did not take the order: {why}"));
                self.phase = Phase::Refused;
            }
            "order_canceling" => self.phase = Phase::Canceling,
            "order_shown" => sale.shown = true,
            "order_canceled" | "order_replaced" => self.phase = Phase::Canceled,
            "order_expired" => self.phase = Phase::Expired,
            "order_paid" => {
                self.phase = Phase::Releasing;
                return vec![Job::Move];
            }
            "refund_done" => return vec![receipt(&reference)],
            _ => {}
        }
        Vec::new()
    }

    /// The product has come out, or has not. Petrol is in the tank already.
    pub fn moved(&mut self) -> Vec<Job> {
        let Some(sale) = self.sale.as_ref().filter(|_| self.phase == Phase::Releasing) else {
            return Vec::new();
        };
        let target = format!("/v1/orders/{}/delivery", sale.reference);
        let receipt = receipt(&sale.reference);
        let stuck = self.kind == Kind::Vending && std::mem::take(&mut self.jammed);
        let (phase, body) = if stuck {
            let body = json!({ "result": "failed", "reason": "The product is stuck." });
            (Phase::NotDelivered, body)
        } else {
            (Phase::Thanks, json!({ "result": "dispensed" }))
        };
        self.phase = phase;
        vec![call(What::Deliver, Method::PUT, target, Some(body)), receipt]
    }

    /// The answer to a call: its text if it was done, else why not.
    pub fn answered(&mut self, what: &What, answer: Result<&str, &str>) {
        let refused_push = *what == What::Push && answer.is_err();
        match (what, answer, &mut self.sale) {
            (What::Receipt(of), Ok(text), Some(sale)) if sale.reference == *of => sale.receipt = Some(text.to_owned()),
            (What::Push | What::Cancel | What::Deliver, Err(why), Some(sale)) => sale.problem = Some(why.to_owned()),
            _ => {}
        }
        if refused_push && self.phase == Phase::Sending {
            self.phase = Phase::Refused;
        }
    }
}

/// The amount that an event is about, where that is not the order's.
fn amount_of(event: &Value, kind: &str) -> Option<String> {
    let refund = || event["refunds"].as_array()?.last()?["amount"].as_str();
    let payment = || event["payments"].as_array()?.last()?["amount"].as_str();
    let amount = match kind {
        "overpaid" => event["excess"].as_str(),
        "late_payment" => payment(),
        "refund_requested" | "refund_done" | "refund_failed" => refund(),
        _ => None,
    };
    amount.map(str::to_owned)
}

fn receipt(reference: &str) -> Job {
    let target = format!("/v1/orders/{reference}/receipt?width=32");
    call(What::Receipt(reference.to_owned()), Method::GET, target, None)
}

fn call(what: What, method: Method, target: String, body: Option<Value>) -> Job {
    let body = body.map(|body| body.to_string());
    Job::Call(Call {
        what,
        method,
        target,
        body,
    })
}

#[cfg(test)]
mod tests;
