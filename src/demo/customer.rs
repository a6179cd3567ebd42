//! A customer who needs no page, for machines without a browser: buys one product at the vending machine, by the buttons
//! that a visitor has.

use super::actions::{Action, Hands, Which};
use super::machine::{Kind, PRODUCTS, Phase};
use super::show::{Busy, Stage};

/// What became of it, for who was not looking.
pub struct Bought {
    /// The protocol, a line for each thing that was said, oldest first.
    pub said: Vec<String>,
    pub receipt: String,
}

/// Chooses, scans, pays, and takes the product.
pub async fn buy(hands: &Hands) -> Result<Bought, Busy> {
    let machine = Kind::Vending;
    // Before, nobody would hear what becomes of its order.
    wait(hands, "machine that the server knows", |stage| {
        let mut said = stage.lines.all();
        said.any(|line| line.what == "pos_registered" && line.machine == Some(machine))
    })
    .await?;
    let slot = PRODUCTS[0].slot.to_owned();
    hands.act(Action::Choose { slot }).await?;
    wait(hands, "order on the machine", |stage| {
        stage.stands[machine as usize].machine.phase == Phase::Asking
    })
    .await?;
    hands.act(Action::Scan { machine }).await?;
    wait(hands, "amount on the telephone", |stage| {
        let [phone, _] = &stage.stands[machine as usize].phones;
        phone.as_ref().is_some_and(|phone| phone.screen == "order")
    })
    .await?;
    let phone = Which::FIRST;
    hands.act(Action::Pay { machine, phone }).await?;
    wait(hands, "receipt", |stage| receipt(stage, machine).is_some()).await?;
    let bought = hands.show.look(|stage| Bought {
        said: stage.lines.all().map(ToString::to_string).collect(),
        receipt: receipt(stage, machine).unwrap_or_default(),
    });
    Ok(bought)
}

fn receipt(stage: &Stage, machine: Kind) -> Option<String> {
    stage.stands[machine as usize].machine.sale.as_ref()?.receipt.clone()
}

async fn wait(hands: &Hands, what: &str, so: impl FnMut(&Stage) -> bool) -> Result<(), Busy> {
    if hands.show.until(so).await {
        Ok(())
    } else {
        Err(Busy::Phone(format!("there was no {what} in time")))
    }
}
