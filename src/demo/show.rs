//! What is on show: both machines, the telephones before them, the server's health, and the protocol. It is all in this
//! process, so every visitor sees the same, and a page that is loaded again too.

use std::cell::RefCell;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::lines::{Channel, Line, Lines};
use super::machine::{Job, Kind, LITRE, Machine, Mode, NotNow, PRODUCTS, Phase};
use super::phone::Phone;
use crate::clock::Clock;
use crate::limits;

/// The server's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Up,
    /// Killed, or dead by itself.
    Down,
    Starting,
}

#[derive(Debug, Serialize)]
pub struct ServerSeen {
    pub health: Health,
    /// Deaths so far.
    pub deaths: u32,
    /// Milliseconds that its last start took.
    pub start_ms: u64,
    /// When it died, if it is down.
    pub down_at: Option<i64>,
}

/// A machine with the telephones before it. The second one is there for who pays twice.
pub struct Stand {
    pub machine: Machine,
    pub phones: [Option<Phone>; 2],
    jobs: mpsc::Sender<Job>,
}

impl Stand {
    /// Hands the machine's calls on; they wait while the server is away, but not without end.
    fn does(&mut self, jobs: Vec<Job>) -> Result<(), Busy> {
        jobs.into_iter()
            .try_for_each(|job| self.jobs.try_send(job).map_err(|_| Busy::TooMuch))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("{0}")]
    NotNow(#[from] NotNow),
    #[error("the machine has calls waiting for the server: wait for it")]
    TooMuch,
    #[error("{0}")]
    Phone(String),
    #[error("the server is down already")]
    Down,
}

/// What goes wrong on the way to Mercado Pago and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spoilt {
    /// Notifications get lost until the next order is paid.
    pub loses: bool,
    /// Its API takes its time.
    pub slow: bool,
}

pub struct Stage {
    pub stands: [Stand; 2],
    pub server: ServerSeen,
    pub spoilt: Spoilt,
    pub lines: Lines,
}

impl Stage {
    pub fn stand(&mut self, kind: Kind) -> &mut Stand {
        let [pump, vending] = &mut self.stands;
        match kind {
            Kind::Pump => pump,
            Kind::Vending => vending,
        }
    }

    fn snapshot(&self, fixed: &Fixed) -> Value {
        let [pump, vending] = &self.stands;
        json!({
            "boot": fixed.boot,
            "place": fixed.place,
            "pump": stand(pump, fixed),
            "vending": stand(vending, fixed),
            "products": PRODUCTS,
            "litre_price": format!("{}.{:02}", LITRE / 100, LITRE % 100),
            "server": self.server,
            "loses": self.spoilt.loses,
            "slow": self.spoilt.slow,
        })
    }
}

fn stand(stand: &Stand, fixed: &Fixed) -> Value {
    let machine = &stand.machine;
    json!({
        "pos": machine.kind.pos(),
        "name": machine.kind.name(),
        "mode": machine.mode,
        "code": fixed.code(machine),
        "phase": machine.phase,
        "litres": machine.litres(),
        "counted": machine.counted(),
        "chosen": machine.chosen.map(|product| product.slot),
        "jammed": machine.jammed,
        "sale": machine.sale,
        "phones": stand.phones,
    })
}

/// What does not change while the demo runs.
pub struct Fixed {
    /// Tells one run of the demo from another on the same address.
    pub boot: String,
    /// The address that is polled.
    pub polls: String,
    /// The simulated Mercado Pago.
    pub sandbox: String,
    /// The control socket, for those who want to look for themselves.
    pub place: String,
}

impl Fixed {
    /// What the code says that can be scanned on a machine now: the order's own, else the printed one.
    pub fn code(&self, machine: &Machine) -> String {
        let own = machine.sale.as_ref().and_then(|sale| sale.qr_data.clone());
        let own = own.filter(|_| matches!(machine.phase, Phase::Asking | Phase::Canceling));
        own.unwrap_or_else(|| match machine.mode {
            Mode::Unattended => self.url(machine.kind),
            Mode::Attended | Mode::Intent => format!("{}/sandbox/scan/{}", self.sandbox, machine.kind.pos()),
        })
    }

    /// Where a machine is polled.
    pub fn url(&self, kind: Kind) -> String {
        let (place, position) = (super::machine::PLACE, kind.position());
        format!("http://{}/pay-mp?locationId={place}&positionId={position}", self.polls)
    }
}

pub struct Show {
    pub fixed: Fixed,
    stage: RefCell<Stage>,
    changes: watch::Sender<u64>,
    clock: Clock,
}

impl Show {
    /// The machines' jobs come out at the other ends.
    pub fn new(fixed: Fixed) -> (Show, [mpsc::Receiver<Job>; 2]) {
        let [(pump, pump_jobs), (vending, vending_jobs)] = Kind::ALL.map(|kind| {
            let (jobs, waiting) = mpsc::channel(limits::DEMO_CALLS);
            let stand = Stand {
                machine: Machine::new(kind),
                phones: [None, None],
                jobs,
            };
            (stand, waiting)
        });
        let server = ServerSeen {
            health: Health::Starting,
            deaths: 0,
            start_ms: 0,
            down_at: None,
        };
        let stage = Stage {
            stands: [pump, vending],
            server,
            spoilt: Spoilt::default(),
            lines: Lines::default(),
        };
        let show = Show {
            fixed,
            stage: RefCell::new(stage),
            changes: watch::Sender::new(0),
            clock: Clock::default(),
        };
        (show, [pump_jobs, vending_jobs])
    }

    pub fn now(&self) -> i64 {
        self.clock.now().at.0
    }

    /// Looks without changing anything.
    pub fn look<T>(&self, look: impl FnOnce(&Stage) -> T) -> T {
        look(&self.stage.borrow())
    }

    /// Changes what is on show, and tells everybody who looks.
    pub fn change<T>(&self, change: impl FnOnce(&mut Stage) -> T) -> T {
        let done = change(&mut self.stage.borrow_mut());
        self.changes.send_modify(|count| *count += 1);
        done
    }

    /// Does something to a machine, and hands on what follows from it.
    pub fn machine(&self, kind: Kind, work: impl FnOnce(&mut Machine) -> Result<Vec<Job>, NotNow>) -> Result<(), Busy> {
        self.change(|stage| {
            let stand = stage.stand(kind);
            let jobs = work(&mut stand.machine)?;
            stand.does(jobs)
        })
    }

    pub fn tell(&self, line: Line) {
        self.change(|stage| stage.lines.push(line));
    }

    pub fn tell_of_server(&self, what: impl Into<String>) {
        self.tell(Line::new(Channel::Server, self.now(), what));
    }

    pub fn snapshot(&self) -> String {
        self.stage.borrow().snapshot(&self.fixed).to_string()
    }

    /// Hears of every change; of several at once, once.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until it is so, at most for as long as a visitor would.
    pub async fn until(&self, mut so: impl FnMut(&Stage) -> bool) -> bool {
        let mut changes = self.changes();
        let wait = async {
            loop {
                changes.mark_unchanged();
                // The sender is ours, so this cannot end without a change.
                if self.look(&mut so) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limits::DEMO_PATIENCE, wait).await.is_ok()
    }
}
