//! Orders put on a POS and taken off again. Where Mercado Pago has a say, who asked may wait for it.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::caller::{Caller, Own};
use super::problem::Problem;
use super::query::Parameters;
use super::{Answer, Answered, Settings, json, made, read, whole, write};
use crate::config::Account;
use crate::domain::account::{Dialect, Payee};
use crate::domain::command::{Command, Event, Push, Refusal};
use crate::domain::id::Reference;
use crate::domain::money::Site;
use crate::domain::order::{CancelReason, Content, Order, Status};
use crate::domain::pos::Mode;
use crate::engine::Applied;
use crate::feed::{After, Follower, News};
use crate::limits;

impl Settings {
    pub(super) async fn push(
        &self,
        caller: &Caller,
        pos: &Own,
        mut parameters: Parameters,
        body: Incoming,
    ) -> Answered {
        let replace = parameters.parsed("replace", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false"),
        })?;
        let wait = parameters.parsed("wait", |text| match text.parse() {
            Ok(seconds) if (1..=limits::SEND_WAIT_SECONDS).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("must be 1 to {} seconds", limits::SEND_WAIT_SECONDS)),
        })?;
        parameters.finish()?;
        let bytes = whole(body).await?;
        let record = caller.record(pos)?;
        let registration = &record.pos.registration;
        let account = self.accounts.get(&registration.account).ok_or_else(|| {
            let detail = format!("account {} is not configured any more", registration.account);
            Problem::new(StatusCode::BAD_REQUEST, "account_unknown", detail)
        })?;
        let body = json::body(&bytes)?;
        let terms = read::Terms::of(&account, registration.mode);
        let (reference, content) = match read::order(&body, &terms) {
            Ok(read) => read,
            Err(bad) => self.read_again(caller, &body, account.site).await.ok_or(bad)?,
        };
        let reference = reference.unwrap_or_else(new_reference);
        if let Err(problem) = self.serves(&account, registration.mode) {
            // One that is recorded already is told of, whatever the account may do now.
            caller.order(reference.as_str()).await.map_err(|_| problem)?;
        }
        let push = Push {
            payee: self.payee(&account, &reference),
            reference,
            account: account.id.clone(),
            content,
            late_payment: account.late_payment,
            replace: replace.unwrap_or(false),
        };
        // Whoever listens before asking misses nothing.
        let waiting = match wait.filter(|_| registration.mode != Mode::Unattended) {
            Some(wait) => Some((wait, listen(caller, pos).await?)),
            None => None,
        };
        let applied = caller.submit(pos, Command::Push(Box::new(push))).await?;
        if let (Some((wait, follower)), Some(order)) = (waiting, &applied.order)
            && order.status == Status::Sending
        {
            self.sent(caller, pos, follower, order, wait).await?;
        }
        let now = match wait.and(applied.order.as_ref()) {
            Some(order) => Some(caller.order(order.reference.as_str()).await?.1),
            None => applied.order,
        };
        made(Applied { order: now, ..applied })
    }

    /// An order that is recorded already, by whatever terms it was pushed then: repeating a push is answered. None: it is not.
    async fn read_again(
        &self,
        caller: &Caller,
        body: &json::Field<'_>,
        site: Site,
    ) -> Option<(Option<Reference>, Content)> {
        let (_, known) = caller.order(read::reference(body)?.as_str()).await.ok()?;
        let account = self.accounts.get(&known.account);
        let site = account.as_ref().map_or(site, |account| account.site);
        let read = |dialect| {
            read::order(
                body,
                &read::Terms {
                    site,
                    mode: known.mode(),
                    dialect,
                    linked: true,
                },
            )
            .ok()
        };
        [Dialect::Documented, Dialect::OrderVersion2].into_iter().find_map(read)
    }

    /// An order that Mercado Pago must be told of needs a token, and a country that has the mode.
    fn serves(&self, account: &Account, mode: Mode) -> Result<(), Problem> {
        if mode == Mode::Unattended {
            Ok(())
        } else if !account.site.serves(mode) {
            Err(Problem::mode_not_served(account, mode))
        } else {
            self.has_token(&account.id, "no order can be put at Mercado Pago")
        }
    }

    fn payee(&self, account: &Account, reference: &Reference) -> Payee {
        let url = self
            .notification_url
            .as_ref()
            .map(|url| format!("{url}/{}?{}", account.id, self.seal.query(&account.id, reference)));
        Payee {
            collector_id: account.collector_id,
            sponsor_id: account.sponsor_id,
            notification_url: url.map(Arc::from),
            client_id: account.oauth.as_ref().and_then(|link| link.owner_id),
        }
    }

    /// Waits until Mercado Pago has the order. One that it does not have by then is canceled before that is said.
    async fn sent(
        &self,
        caller: &Caller,
        pos: &Own,
        follower: Follower,
        order: &Order,
        wait: Duration,
    ) -> Result<(), Problem> {
        let is_told = |event: &Event| !matches!(event, Event::OrderReady(_) | Event::CancelAsked { .. });
        if !self.told(follower, &order.reference, wait, is_told).await? {
            let command = Command::GiveUp {
                reference: order.reference.clone(),
            };
            let applied = caller.conclude(pos, command).await?;
            if !applied.events.is_empty() {
                return Err(Problem::order_not_sent(wait));
            }
        }
        let (_, order) = caller.order(order.reference.as_str()).await?;
        let refused = order.posted.as_ref().and_then(|posted| posted.refused.as_ref());
        refused.map_or(Ok(()), |why| Err(Problem::order_rejected(why)))
    }

    pub(super) async fn cancel(&self, caller: &Caller, pos: &Own, mut parameters: Parameters) -> Answered {
        let reason = parameters.parsed("reason", |text| match CancelReason::parse(text) {
            Some(CancelReason::PaidElsewhere) => Ok(CancelReason::PaidElsewhere),
            _ => Err("must be paid_elsewhere, or left out"),
        })?;
        parameters.finish()?;
        let has_a_say = open_order(caller, pos).is_some_and(|order| order.posted.is_some());
        let follower = match has_a_say {
            true => Some(listen(caller, pos).await?),
            false => None,
        };
        // Whatever ends it from here on, by a payment too, the follower hears.
        let open = open_order(caller, pos).filter(|order| order.posted.is_some());
        caller.submit(pos, Command::Cancel { reason }).await?;
        match (follower, open) {
            (Some(follower), Some(open)) => {
                let canceling = open_order(caller, pos).filter(|order| order.is_canceling());
                self.let_go(caller, follower, &canceling.unwrap_or(open)).await
            }
            _ => Ok(Answer::Done),
        }
    }

    /// Waits until Mercado Pago has let go of an order, or has said that it was paid.
    async fn let_go(&self, caller: &Caller, follower: Follower, order: &Order) -> Answered {
        let is_end = |event: &Event| {
            matches!(
                event,
                Event::OrderCanceled { .. }
                    | Event::OrderPaid { .. }
                    | Event::OrderExpired(_)
                    | Event::OrderReplaced(_)
            )
        };
        let wait = limits::CANCEL_WAIT;
        self.told(follower, &order.reference, wait, is_end).await?;
        let (_, order) = caller.order(order.reference.as_str()).await?;
        match order.status {
            Status::Paid => Err(caller.refused(Refusal::OrderPaid(order.reference.clone()))),
            status if status.is_open() => {
                let order = write::to_json(&write::order(&order));
                Ok(Answer::Json(StatusCode::ACCEPTED, order))
            }
            _ => Ok(Answer::Done),
        }
    }

    /// Waits for such an event of the order. False: there was none, and the time is over. A server that stops waits no
    /// longer.
    async fn told(
        &self,
        mut follower: Follower,
        reference: &Reference,
        wait: Duration,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<bool, Problem> {
        let waiting = timeout(wait, async {
            loop {
                if let News::Entry(entry) = follower.next().await?
                    && entry
                        .events
                        .iter()
                        .any(|event| event.reference().is_some_and(|named| named.same(reference)) && is_it(event))
                {
                    return Ok(true);
                }
            }
        });
        let mut stopping = self.stopping.clone();
        tokio::select! {
            told = waiting => told.unwrap_or(Ok(false)),
            () = stopping.wait() => Ok(true),
        }
    }
}

async fn listen(caller: &Caller, pos: &Own) -> Result<Follower, Problem> {
    let follower = caller.follow(Some(pos), After::Now).await?;
    Ok(follower.uncounted())
}

fn open_order(caller: &Caller, pos: &Own) -> Option<Arc<Order>> {
    caller.find(pos)?.pos.open.clone()
}

/// Ordered by time, so that it is found near its neighbours in the log.
fn new_reference() -> Reference {
    Reference::parse(&uuid::Uuid::now_v7().to_string()).expect("a UUID has 36 hex digits and hyphens")
}
