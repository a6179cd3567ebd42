//! What an order has that does not wait to be polled: we put it at Mercado Pago, on a POS or as an intent.

use super::id::{ExternalPosId, ExternalStoreId, IntentId};
use super::order::Reason;
use super::pos::Mode;
use super::text::Text;
use crate::limits;

/// What a one-use QR code says.
pub type QrData = Text<{ limits::QR_DATA_LEN }>;

/// How such an order stands at Mercado Pago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub way: Way,
    /// Mercado Pago's own name of it. An intent can be there without our knowing its name: the answer may have been lost.
    pub intent: Option<IntentId>,
    pub qr_data: Option<QrData>,
    /// The controller wants it canceled; Mercado Pago is being asked.
    pub canceling: bool,
    /// Why Mercado Pago did not take it.
    pub refused: Option<Reason>,
}

/// Where it goes. An order keeps its own copy: its POS may get other names once it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    Attended { pos: ExternalPosId, store: ExternalStoreId },
    Intent { pos: ExternalPosId },
}

impl Way {
    /// The POS's name at Mercado Pago. It has one place for an order there.
    pub fn pos(&self) -> &ExternalPosId {
        match self {
            Way::Attended { pos, .. } | Way::Intent { pos } => pos,
        }
    }

    pub fn mode(&self) -> Mode {
        match self {
            Way::Attended { .. } => Mode::Attended,
            Way::Intent { .. } => Mode::Intent,
        }
    }
}

impl Posted {
    pub fn new(way: Way) -> Posted {
        Posted {
            way,
            intent: None,
            qr_data: None,
            canceling: false,
            refused: None,
        }
    }
}

/// Which QR code shows an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QrMode {
    /// The one that is printed on the machine.
    #[default]
    Static,
    /// One made for this order, to be shown on a screen.
    Dynamic,
    Both,
}

impl QrMode {
    pub const ALL: [QrMode; 3] = [QrMode::Static, QrMode::Dynamic, QrMode::Both];

    pub fn as_str(self) -> &'static str {
        match self {
            QrMode::Static => "static",
            QrMode::Dynamic => "dynamic",
            QrMode::Both => "both",
        }
    }

    pub fn parse(text: &str) -> Option<QrMode> {
        QrMode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}
