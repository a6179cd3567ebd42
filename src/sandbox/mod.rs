//! A simulated Mercado Pago: its API, the customer's telephone, its notifications, and faults on command.
//!
//! It is written from what Mercado Pago documents and never from what our client sends: a mistake in one must be caught by
//! the other. So nothing of `mercadopago`, nor of our rules of selling, is used here.

mod api;
mod chance;
mod client;
mod control;
mod extras;
mod journal;
pub mod json;
mod links;
mod notify;
mod order;
mod phone;
mod poll;
mod serve;
mod settings;
mod shape;
mod sign;
mod simulator;
mod time;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::thread::JoinHandle;

use rust_decimal::Decimal;
use tokio::sync::{mpsc, oneshot, watch};

pub use journal::{Event, Notified};
pub use notify::Proof;
pub use order::{Item, MerchantOrder, Order, Payment, Refund, Status};
pub use phone::{Attempt, Outcome, Place, Scan, Screen};
pub use settings::{
    Account, Application, BadSettings, Chance, Faults, Flavour, SITES, Settings, Site, Stamp, TEST_CLIENT_SECRET,
    TEST_SECRET, TEST_TOKEN,
};
pub use sign::signature;
pub use world::{Intent, Placed, Refused};

use crate::limits;
use crate::net::listen::{Sharing, tcp};
use crate::net::stop::{Stop, channel};
use simulator::Simulator;

/// Work for the sandbox's thread, asked in process.
type Job = Box<dyn FnOnce(&Rc<Simulator>) + Send>;

/// A running sandbox, on a thread of its own. What the control calls do over HTTP its methods do in process.
pub struct Sandbox {
    address: SocketAddr,
    seed: u64,
    jobs: mpsc::Sender<Job>,
    happened: watch::Receiver<u64>,
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Sandbox {
    /// Returns once it listens.
    pub fn start(settings: Settings) -> io::Result<Sandbox> {
        let listener = tcp(settings.listen, Sharing::Alone)?;
        let address = listener.local_addr()?;
        let seed = settings.seed;
        let (stop, stopping) = channel();
        let (jobs, waiting) = mpsc::channel(limits::SANDBOX_JOBS);
        let (happens, happened) = watch::channel(0);
        let thread = std::thread::Builder::new().name("sandbox".into()).spawn(move || {
            let base_url = format!("http://{address}");
            serve::run(listener, settings, base_url, happens, waiting, stopping);
        })?;
        Ok(Sandbox {
            address,
            seed,
            jobs,
            happened,
            stop,
            thread,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `mercadopago.base_url` is to be.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Print it when a test fails: all that was random came from it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Ends it, with all that is still on its way. False if its thread had panicked.
    pub fn stop(self) -> bool {
        self.stop.stop();
        drop(self.jobs);
        self.thread.join().is_ok()
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Rc<Simulator>) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |sim| {
            // Nobody waits any more if this fails.
            let _ = tell.send(work(sim));
        });
        self.jobs.send(job).await.map_err(|_| Refused::Stopped)?;
        told.await.map_err(|_| Refused::Stopped)
    }

    // --- the customer ---------------------------------------------------------------------------------------

    /// A telephone scans, and asks from then on. Gives the scan's number.
    pub async fn scan(&self, place: Place) -> Result<u64, Refused> {
        self.ask(|sim| phone::scan(sim, place)).await?
    }

    /// What the telephone shows now.
    pub async fn scanned(&self, scan: u64) -> Result<Scan, Refused> {
        self.ask(move |sim| phone::scanned(sim, scan)).await?
    }

    /// Waits until it shows an order, or gives up.
    pub async fn shown(&self, scan: u64) -> Result<Scan, Refused> {
        let mut happened = self.happened.clone();
        loop {
            happened.mark_unchanged();
            let seen = self.scanned(scan).await?;
            if seen.screen != Screen::Waiting {
                return Ok(seen);
            }
            happened.changed().await.map_err(|_| Refused::Stopped)?;
        }
    }

    pub async fn leave(&self, scan: u64) -> Result<(), Refused> {
        self.ask(move |sim| phone::leave(sim, scan)).await?
    }

    pub async fn pay(&self, attempt: Attempt) -> Result<Payment, Refused> {
        self.ask(move |sim| phone::pay(sim, &attempt)).await?
    }

    /// Ends a payment that was pending or under review: approved, rejected or cancelled.
    pub async fn finish(&self, payment: u64, end: Status) -> Result<Payment, Refused> {
        self.ask(move |sim| phone::finish(sim, payment, Outcome::of(end)))
            .await?
    }

    pub async fn charge_back(&self, payment: u64) -> Result<Payment, Refused> {
        self.ask(move |sim| phone::dispute(sim, payment, Status::ChargedBack))
            .await?
    }

    pub async fn mediate(&self, payment: u64) -> Result<Payment, Refused> {
        self.ask(move |sim| phone::dispute(sim, payment, Status::InMediation))
            .await?
    }

    /// A refund from the merchant's dashboard; all that is left without an amount.
    pub async fn refund_from_outside(&self, payment: u64, amount: Option<Decimal>) -> Result<Payment, Refused> {
        self.ask(move |sim| phone::refund_from_outside(sim, payment, amount))
            .await?
    }

    // --- the seller -----------------------------------------------------------------------------------------

    /// The seller lets the application reach the account. Gives the code that `POST /oauth/token` takes.
    pub async fn consent(&self, collector: u64) -> Result<String, Refused> {
        self.ask(move |sim| links::consent(sim, collector)).await?
    }

    /// The seller cuts the link: none of its tokens is good any more.
    pub async fn unlink(&self, collector: u64) -> Result<(), Refused> {
        self.ask(move |sim| links::cut(sim, collector)).await?
    }

    // --- what it knows --------------------------------------------------------------------------------------

    /// Those of a reference, oldest first.
    pub async fn merchant_orders(&self, reference: &str) -> Result<Vec<MerchantOrder>, Refused> {
        let reference = reference.to_owned();
        self.ask(move |sim| sim.world.borrow().by_reference(&reference).cloned().collect())
            .await
    }

    pub async fn payments(&self, reference: &str) -> Result<Vec<Payment>, Refused> {
        let reference = reference.to_owned();
        self.ask(move |sim| {
            let world = sim.world.borrow();
            let orders = world.by_reference(&reference);
            orders.flat_map(|order| world.payments_of(order)).cloned().collect()
        })
        .await
    }

    pub async fn refunds(&self, reference: &str) -> Result<Vec<Refund>, Refused> {
        let payments = self.payments(reference).await?;
        Ok(payments.into_iter().flat_map(|payment| payment.refunds).collect())
    }

    /// Each time that an order was put on a POS at the merchant's wish, oldest first.
    pub async fn placed(&self, reference: &str) -> Result<Vec<Placed>, Refused> {
        let reference = reference.to_owned();
        self.ask(move |sim| sim.world.borrow().placed(&reference).collect())
            .await
    }

    /// The reference of what the merchant has put on a POS and a customer would be shown now.
    pub async fn standing(&self, pos: &str) -> Result<Option<String>, Refused> {
        let pos = pos.to_owned();
        self.ask(move |sim| sim.world.borrow_mut().standing_at(&pos, sim.now()))
            .await?
    }

    /// Calls of the API so far, each endpoint for itself, such as `GET /merchant_orders/{id}`.
    pub async fn calls(&self) -> Result<BTreeMap<&'static str, u64>, Refused> {
        self.ask(|sim| sim.journal.borrow().calls.clone()).await
    }

    /// What was wrong with answers to polls, the newest ones.
    pub async fn violations(&self) -> Result<Vec<String>, Refused> {
        self.ask(|sim| sim.journal.borrow().violations()).await
    }

    pub async fn notified(&self) -> Result<Notified, Refused> {
        self.ask(|sim| sim.journal.borrow().notified).await
    }

    /// Waits until the notifications' counts are as wanted.
    pub async fn until_notified(&self, enough: impl Fn(&Notified) -> bool) -> Result<Notified, Refused> {
        let mut happened = self.happened.clone();
        loop {
            happened.mark_unchanged();
            let notified = self.notified().await?;
            if enough(&notified) {
                return Ok(notified);
            }
            happened.changed().await.map_err(|_| Refused::Stopped)?;
        }
    }

    /// What happened after the event of this number; the oldest ones are forgotten.
    pub async fn events(&self, after: u64) -> Result<Vec<Event>, Refused> {
        self.ask(move |sim| sim.journal.borrow().after(after, limits::SANDBOX_EVENTS))
            .await
    }

    /// The same, as soon as there is one.
    pub async fn next_events(&self, after: u64) -> Result<Vec<Event>, Refused> {
        let mut happened = self.happened.clone();
        // An error is the sandbox's end, which the question is answered with.
        let _ = happened.wait_for(|newest| *newest > after).await;
        self.events(after).await
    }

    // --- faults ---------------------------------------------------------------------------------------------

    /// From now on these, and no others.
    pub async fn set_faults(&self, faults: Faults) -> Result<(), Refused> {
        self.ask(move |sim| *sim.faults.borrow_mut() = faults).await
    }

    /// Sends made-up notifications to a URL. With `Flavour::Both` each is two.
    pub async fn forge(&self, url: &str, count: u32, proof: Proof) -> Result<(), Refused> {
        let url = url.to_owned();
        self.ask(move |sim| notify::forge(sim, &url, count, proof)).await
    }
}
