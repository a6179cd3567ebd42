//! What a visitor may do: the customer's actions, and those that make something go wrong.

use std::rc::Rc;

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::machine::{Kind, Mode, Phase};
use super::market;
use super::phone;
use super::show::{Busy, Health, Show, Spoilt};
use crate::sandbox::Sandbox;

/// As a page sends it.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Lift,
    HangUp,
    Choose { slot: String },
    Scan { machine: Kind },
    Pay { machine: Kind, phone: Which },
    Leave { machine: Kind, phone: Which },
    Next { machine: Kind },
    Mode { machine: Kind, mode: Mode },
    Lose { on: bool },
    Slow { on: bool },
    PayTwice { machine: Kind },
    CancelWhilePaying { machine: Kind },
    Kill,
    Jam { on: bool },
}

/// The first telephone, or the second.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u8")]
pub struct Which(usize);

impl Which {
    pub const FIRST: Which = Which(0);
}

impl TryFrom<u8> for Which {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Which, &'static str> {
        match number {
            1 | 2 => Ok(Which(usize::from(number) - 1)),
            _ => Err("a telephone is 1 or 2"),
        }
    }
}

/// All that actions reach.
pub struct Hands {
    pub show: Rc<Show>,
    pub sandbox: Rc<Sandbox>,
    pub kill: Rc<Notify>,
}

impl Hands {
    /// Does it, or says why not. What takes longer goes on after the answer.
    pub async fn act(&self, action: Action) -> Result<(), Busy> {
        let Hands { show, sandbox, kill } = self;
        match action {
            Action::Lift => {
                self.clear(Kind::Pump).await;
                show.machine(Kind::Pump, |pump| pump.lift())
            }
            Action::HangUp => show.machine(Kind::Pump, |pump| pump.hang_up()),
            Action::Choose { slot } => {
                self.clear(Kind::Vending).await;
                show.machine(Kind::Vending, |vending| vending.choose(&slot))
            }
            Action::Scan { machine } => phone::scan(show, sandbox, machine, 0).await.map(drop),
            Action::Pay { machine, phone } => phone::pay(show, sandbox, machine, phone.0).await,
            Action::Leave { machine, phone } => {
                phone::leave(show, sandbox, machine, phone.0).await;
                Ok(())
            }
            Action::Next { machine } => {
                self.clear(machine).await;
                show.change(|stage| stage.stand(machine).machine.next());
                Ok(())
            }
            Action::Mode { machine, mode } => {
                show.machine(machine, |machine| machine.switch(mode))?;
                for which in 0..2 {
                    phone::leave(show, sandbox, machine, which).await;
                }
                Ok(())
            }
            Action::Lose { on } => self.spoil(|spoilt| spoilt.loses = on).await,
            Action::Slow { on } => self.spoil(|spoilt| spoilt.slow = on).await,
            Action::PayTwice { machine } => {
                self.payable(machine)?;
                spawn_local(told(
                    show.clone(),
                    phone::pay_twice(show.clone(), sandbox.clone(), machine),
                ));
                Ok(())
            }
            Action::CancelWhilePaying { machine } => {
                self.payable(machine)?;
                show.machine(machine, |machine| machine.cancel())?;
                spawn_local(told(show.clone(), pay_late(show.clone(), sandbox.clone(), machine)));
                Ok(())
            }
            Action::Kill => {
                if show.look(|stage| stage.server.health != Health::Up) {
                    return Err(Busy::Down);
                }
                kill.notify_one();
                Ok(())
            }
            Action::Jam { on } => {
                show.change(|stage| stage.stand(Kind::Vending).machine.jammed = on);
                Ok(())
            }
        }
    }

    async fn spoil(&self, change: impl FnOnce(&mut Spoilt)) -> Result<(), Busy> {
        let spoilt = market::spoil(&self.show, &self.sandbox, change).await;
        spoilt.map_err(|refused| Busy::Phone(refused.to_string()))
    }

    /// Telephones of the last customer go; one that waits for this one's amount stays.
    async fn clear(&self, kind: Kind) {
        for which in 0..2 {
            let done = self.show.look(|stage| {
                let stand = &stage.stands[kind as usize];
                let over = !matches!(stand.machine.phase, Phase::Filling | Phase::Sending | Phase::Asking);
                over && stand.phones[which].as_ref().is_some_and(|phone| phone.is_done())
            });
            if done {
                phone::leave(&self.show, &self.sandbox, kind, which).await;
            }
        }
    }

    /// The first telephone shows an order that is not paid yet.
    fn payable(&self, kind: Kind) -> Result<(), Busy> {
        let shows = self.show.look(|stage| {
            let [phone, _] = &stage.stands[kind as usize].phones;
            phone
                .as_ref()
                .is_some_and(|phone| phone.screen == "order" && phone.payment.is_none())
        });
        if shows {
            Ok(())
        } else {
            Err(Busy::Phone("the telephone shows no amount to pay".into()))
        }
    }
}

/// The order is canceled first; the telephone has a copy of it, and pays that.
async fn pay_late(show: Rc<Show>, sandbox: Rc<Sandbox>, kind: Kind) -> Result<(), Busy> {
    let canceled = show.until(|stage| stage.stands[kind as usize].machine.phase == Phase::Canceled);
    if !canceled.await {
        return Err(Busy::Phone("the order was not canceled in time".into()));
    }
    phone::pay(&show, &sandbox, kind, 0).await
}

/// What went on after the answer can only be told as a line.
async fn told(show: Rc<Show>, work: impl Future<Output = Result<(), Busy>>) {
    if let Err(busy) = work.await {
        show.tell_of_server(format!("the telephones: {busy}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_few_words() {
        let read = |text: &str| serde_json::from_str::<Action>(text);
        assert!(matches!(read(r#"{"do":"lift"}"#), Ok(Action::Lift)));
        let pay = read(r#"{"do":"pay","machine":"vending","phone":2}"#);
        assert!(matches!(
            pay,
            Ok(Action::Pay {
                machine: Kind::Vending,
                phone: Which(1)
            })
        ));
        assert!(matches!(
            read(r#"{"do":"mode","machine":"pump","mode":"intent"}"#),
            Ok(Action::Mode {
                machine: Kind::Pump,
                mode: Mode::Intent
            })
        ));
        for bad in [
            "{}",
            r#"{"do":"mode","machine":"pump","mode":"none"}"#,
            r#"{"do":"rob"}"#,
            r#"{"do":"pay","machine":"pump","phone":3}"#,
            r#"{"do":"scan","machine":"car"}"#,
            r#"{"do":"jam","on":true,"more":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
