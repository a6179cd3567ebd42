//! The customers' telephones. What they show is what the simulated Mercado Pago says of their scans; nothing is made up
//! here.

use std::rc::Rc;

use rust_decimal::Decimal;
use serde::Serialize;

use super::machine::{Kind, Mode};
use super::show::{Busy, Show};
use crate::limits;
use crate::sandbox::{Attempt, MerchantOrder, Outcome, Payment, Place, Refused, Sandbox, Screen, Status};

/// One telephone before one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Phone {
    pub scan: u64,
    pub screen: &'static str,
    /// How often it asked, and the word or the error of the last answer.
    pub polls: u64,
    pub said: String,
    pub order: Option<Shown>,
    pub payment: Option<Paid>,
}

/// What is to be paid, as the telephone has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub merchant_order: u64,
    pub title: String,
    pub amount: String,
    pub currency: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paid {
    pub id: u64,
    pub status: &'static str,
    pub amount: String,
    pub refunded: String,
}

impl Phone {
    fn new(scan: u64) -> Phone {
        Phone {
            scan,
            screen: "waiting",
            polls: 0,
            said: String::new(),
            order: None,
            payment: None,
        }
    }

    pub fn is_done(&self) -> bool {
        self.screen == "over" || self.payment.is_some()
    }
}

fn shown(order: &MerchantOrder) -> Shown {
    let titles: Vec<&str> = order.order.items.iter().map(|item| item.title.as_str()).collect();
    Shown {
        merchant_order: order.id,
        title: titles.join(", "),
        amount: digits(order.order.total, order.site.places),
        currency: order.site.currency,
    }
}

fn paid(payment: &Payment) -> Paid {
    Paid {
        id: payment.id,
        status: payment.status.word(),
        amount: digits(payment.amount, payment.site.places),
        refunded: digits(payment.refunded, payment.site.places),
    }
}

fn digits(amount: Decimal, places: u32) -> String {
    format!("{amount:.*}", places as usize)
}

/// A telephone scans a machine's code: the first one, or the second.
pub async fn scan(show: &Show, sandbox: &Sandbox, kind: Kind, which: usize) -> Result<u64, Busy> {
    let before = show.look(|stage| stage.stands[kind as usize].phones[which].clone());
    if let Some(phone) = before {
        if !phone.is_done() {
            return Err(Busy::Phone("this telephone has scanned already".into()));
        }
        leave(show, sandbox, kind, which).await;
    }
    let place = match show.look(|stage| stage.stands[kind as usize].machine.mode) {
        Mode::Unattended => Place::Url(show.fixed.url(kind)),
        Mode::Attended | Mode::Intent => Place::Pos(kind.pos().to_owned()),
    };
    let scan = sandbox.scan(place).await;
    let scan = scan.map_err(said)?;
    show.change(|stage| stage.stand(kind).phones[which] = Some(Phone::new(scan)));
    Ok(scan)
}

fn said(refused: Refused) -> Busy {
    Busy::Phone(refused.to_string())
}

/// The customer puts the telephone away.
pub async fn leave(show: &Show, sandbox: &Sandbox, kind: Kind, which: usize) {
    let phone = show.change(|stage| stage.stand(kind).phones[which].take());
    if let Some(phone) = phone {
        // It may have been forgotten already, which is as good.
        let _ = sandbox.leave(phone.scan).await;
    }
}

pub async fn pay(show: &Show, sandbox: &Sandbox, kind: Kind, which: usize) -> Result<(), Busy> {
    let phone = show.look(|stage| stage.stands[kind as usize].phones[which].clone());
    let phone = phone.ok_or_else(|| Busy::Phone("nothing was scanned yet".into()))?;
    let attempt = Attempt {
        scan: phone.scan,
        outcome: Outcome::of(Status::Approved),
        amount: None,
    };
    sandbox.pay(attempt).await.map(drop).map_err(said)
}

/// Two customers pay one order: the second telephone scans, and once it shows the amount both pay.
pub async fn pay_twice(show: Rc<Show>, sandbox: Rc<Sandbox>, kind: Kind) -> Result<(), Busy> {
    let scan = scan(&show, &sandbox, kind, 1).await?;
    let shown = tokio::time::timeout(limits::DEMO_PATIENCE, sandbox.shown(scan)).await;
    match shown {
        Ok(Ok(seen)) if seen.screen != Screen::Over => {
            pay(&show, &sandbox, kind, 0).await?;
            pay(&show, &sandbox, kind, 1).await
        }
        _ => {
            leave(&show, &sandbox, kind, 1).await;
            Err(Busy::Phone("the second telephone was shown no order".into()))
        }
    }
}

/// Looks at what all telephones show now.
pub async fn refresh(show: &Show, sandbox: &Sandbox) -> Result<(), Refused> {
    for kind in Kind::ALL {
        for which in 0..2 {
            let before = show.look(|stage| stage.stands[kind as usize].phones[which].clone());
            let Some(before) = before else { continue };
            let now = seen(sandbox, before.scan).await?;
            if now == before {
                continue;
            }
            // Another customer may have come meanwhile.
            show.change(|stage| {
                let place = &mut stage.stand(kind).phones[which];
                if place.as_ref().is_some_and(|phone| phone.scan == now.scan) {
                    *place = Some(now);
                }
            });
        }
    }
    Ok(())
}

async fn seen(sandbox: &Sandbox, scan: u64) -> Result<Phone, Refused> {
    let seen = sandbox.scanned(scan).await?;
    let mut phone = Phone {
        polls: seen.polls,
        said: seen.last.clone(),
        ..Phone::new(scan)
    };
    match seen.screen {
        Screen::Waiting => {}
        Screen::Over => phone.screen = "over",
        Screen::Order(id) => {
            phone.screen = "order";
            let orders = sandbox.merchant_orders(&seen.last).await?;
            phone.order = orders.iter().find(|order| order.id == id).map(shown);
            let payments = sandbox.payments(&seen.last).await?;
            let its = payments.iter().rev().find(|payment| payment.merchant_order == id);
            phone.payment = its.map(paid);
        }
    }
    Ok(phone)
}
