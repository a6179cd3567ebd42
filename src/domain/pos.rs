//! A point of sale: how it is registered, what its controller says, and the order that is open on it.

use std::sync::Arc;

use smol_str::SmolStr;

use super::id::{AccountId, ExternalPosId, ExternalStoreId, PosId, Reference, Timestamp};
use super::order::{Order, Status};
use super::posted::Way;
use super::text::Text;
use crate::limits;

pub type Name = Text<{ limits::POS_NAME_LEN }>;
pub type Message = Text<{ limits::MESSAGE_LEN }>;

/// How an order of this POS reaches Mercado Pago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Unattended,
    Attended,
    Intent,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Unattended, Mode::Attended, Mode::Intent];

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Unattended => "unattended",
            Mode::Attended => "attended",
            Mode::Intent => "intent",
        }
    }

    pub fn parse(text: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// The values by which a poll's query names a POS, in the configured order.
///
/// They are kept joined by a character that no value may contain, and short ones in place: a poll that had to follow a
/// pointer to them would wait for one more cache miss.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PollKey(SmolStr);

/// The one character between joined values.
pub const POLL_KEY_SEPARATOR: char = '\u{1f}';

impl PollKey {
    /// Refuses with the place of the value that is wrong.
    pub fn new<S: AsRef<str>>(values: &[S]) -> Result<PollKey, usize> {
        let fits =
            |value: &str| (1..=limits::POLL_VALUE_LEN).contains(&value.len()) && !value.chars().any(char::is_control);
        match values.iter().position(|value| !fits(value.as_ref())) {
            Some(wrong) => Err(wrong),
            None if values.is_empty() || values.len() > limits::POLL_KEYS => Err(0),
            None => {
                let parts: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
                Ok(PollKey(parts.join(POLL_KEY_SEPARATOR.encode_utf8(&mut [0; 4])).into()))
            }
        }
    }

    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.split(POLL_KEY_SEPARATOR)
    }

    /// The values as the table looks them up.
    pub fn joined(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for PollKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

/// Its names at Mercado Pago; the POS's own name where left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct External {
    pub pos: Option<ExternalPosId>,
    pub store: Option<ExternalStoreId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub account: AccountId,
    pub mode: Mode,
    /// Only a POS that is polled needs them.
    pub keys: Option<PollKey>,
    pub name: Option<Name>,
    /// No payment is offered unless a live controller holds the lease.
    pub require_lease: bool,
    /// The URL must carry the POS's secret, where secrets are configured.
    pub url_secret: bool,
    pub external: Option<Box<External>>,
}

impl Registration {
    /// How orders get from this POS to Mercado Pago, if they do not wait to be polled; else which of its names there is
    /// missing: its own name serves only if it is a name there too.
    pub fn way(&self, pos: &PosId) -> Result<Option<Way>, &'static str> {
        let external = self.external.as_deref();
        let at = || {
            let named = external.and_then(|external| external.pos.clone());
            named
                .or_else(|| ExternalPosId::parse(pos.as_str()).ok())
                .ok_or("external_id")
        };
        let store = || {
            let named = external.and_then(|external| external.store.clone());
            let own = || ExternalStoreId::parse(pos.as_str()).ok();
            named.or_else(own).ok_or("external_store_id")
        };
        Ok(match self.mode {
            Mode::Unattended => None,
            Mode::Attended => Some(Way::Attended {
                pos: at()?,
                store: store()?,
            }),
            Mode::Intent => Some(Way::Intent { pos: at()? }),
        })
    }
}

/// What the controller says while no order is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    Unavailable,
    InProcess,
    Timeout,
}

impl Waiting {
    pub const ALL: [Waiting; 3] = [Waiting::Unavailable, Waiting::InProcess, Waiting::Timeout];

    pub fn as_str(self) -> &'static str {
        match self {
            Waiting::Unavailable => "unavailable",
            Waiting::InProcess => "in_process",
            Waiting::Timeout => "timeout",
        }
    }

    pub fn parse(text: &str) -> Option<Waiting> {
        Waiting::ALL.into_iter().find(|waiting| waiting.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub waiting: Waiting,
    pub message: Option<Message>,
}

impl Word {
    pub const fn plain(waiting: Waiting) -> Word {
        Word { waiting, message: None }
    }
}

/// What a poll of the POS is answered with, and what the control socket calls its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    Waiting(&'a Word),
    /// There is an order, but no live controller to release its product.
    Withheld(&'a Order),
    Ready(&'a Order),
}

impl Standing<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Waiting(word) => word.waiting.as_str(),
            Standing::Withheld(_) => Waiting::Timeout.as_str(),
            Standing::Ready(_) => "ready",
        }
    }
}

/// A registered POS. What is not registered is no `Pos`: see [`State`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pos {
    pub id: PosId,
    pub registration: Registration,
    /// What holds while no order is open; an open order makes it plain `unavailable`, since that is what any ending leaves.
    pub word: Word,
    pub open: Option<Arc<Order>>,
    /// The order that ended last.
    pub last: Option<Box<(Reference, Status)>>,
    /// Until when the controller has said that it is alive. A heartbeat: the newest is all that counts, so it is
    /// kept beside the history and is no part of it.
    pub lease: Option<Timestamp>,
}

/// A POS that was never registered, or was removed, is `None`.
pub type State = Option<Pos>;

impl Pos {
    pub fn new(id: PosId, registration: Registration) -> Pos {
        Pos {
            id,
            registration,
            word: Word::plain(Waiting::Unavailable),
            open: None,
            last: None,
            lease: None,
        }
    }

    pub fn standing(&self) -> Standing<'_> {
        match &self.open {
            Some(order) if order.posted.is_none() && self.registration.require_lease && self.lease.is_none() => {
                Standing::Withheld(order)
            }
            Some(order) => Standing::Ready(order),
            None => Standing::Waiting(&self.word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_keys_cannot_be_confused() {
        let key = PollKey::new(&["6232", "1"]).expect("plain values");
        assert_eq!(key.values().collect::<Vec<_>>(), ["6232", "1"]);
        assert_eq!(PollKey::new(&["6232", "1\u{1f}2"]), Err(1));
        assert_eq!(PollKey::new(&["", "1"]), Err(0));
        assert_eq!(PollKey::new::<&str>(&[]), Err(0));
        assert_eq!(PollKey::new(&["x".repeat(61)]), Err(0));
        assert_ne!(PollKey::new(&["ab", "c"]), PollKey::new(&["a", "bc"]));
    }
}
