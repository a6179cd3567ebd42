//! What the entries say and the tables do not yet.
//!
//! A commit writes entries only, since somebody waits for it. The tables that are made of them (orders as they stand,
//! each POS's newest entry, a POS's entries) follow when nobody does, many entries at once. Until then what they will
//! say is here. A crash loses nothing by that: the entries are on the disk, and the next start makes the tables follow.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::stored_order;
use crate::domain::id::{PosId, Reference};
use crate::domain::order::Order;
use crate::log::LogError;

/// As the writer and the readers share it.
#[derive(Debug, Default)]
pub(in crate::log) struct Behind(Mutex<Late>);

/// What entries said, oldest first. A commit in the making has one of its own.
#[derive(Debug, Default)]
pub(super) struct Late {
    entries: VecDeque<LateEntry>,
    /// By folded reference, as the newest entry about it left it.
    orders: HashMap<String, LateOrder>,
    /// Each POS's newest entry.
    heads: HashMap<PosId, u64>,
    /// The newest entry of all that were ever here.
    last_seq: u64,
}

#[derive(Debug)]
struct LateEntry {
    seq: u64,
    pos: PosId,
    /// The orders that it changed, folded.
    orders: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct LateOrder {
    pub(super) order: Arc<Order>,
    /// The entry that changed it last.
    pub(super) seq: u64,
    is_written: bool,
}

/// What the tables take up in one commit.
pub(super) struct Piece {
    pub(super) last_seq: u64,
    pub(super) entries: Vec<(PosId, u64)>,
    /// In the order in which they were made.
    pub(super) orders: Vec<LateOrder>,
}

impl Behind {
    pub(super) fn late(&self) -> MutexGuard<'_, Late> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::log) fn is_empty(&self) -> bool {
        self.late().entries.is_empty()
    }

    pub(in crate::log) fn order(&self, reference: &Reference) -> Option<Arc<Order>> {
        self.late().order(reference).map(|late| late.order.clone())
    }

    /// An order as it stands: what its table has may be older.
    pub(super) fn order_beside(
        &self,
        connection: &Connection,
        reference: &Reference,
    ) -> Result<Option<Arc<Order>>, LogError> {
        match self.order(reference) {
            Some(late) => Ok(Some(late)),
            None => Ok(stored_order(connection, reference)?.map(Arc::new)),
        }
    }

    /// The newest entry of which all is here that tables may lack.
    pub(in crate::log) fn last_seq(&self) -> u64 {
        self.late().last_seq
    }

    /// The orders that their table may lack, or have as they were.
    pub(in crate::log) fn orders(&self) -> Vec<Arc<Order>> {
        self.late().orders.values().map(|late| late.order.clone()).collect()
    }

    /// The entries of each of these POS that its table lacks; and the newest entry of all, up to which table and answer
    /// together are whole for whoever reads the table afterwards.
    pub(in crate::log) fn entries_of(&self, names: &[PosId]) -> (Vec<Vec<u64>>, u64) {
        let late = self.late();
        let of_pos = |pos: &PosId| {
            let entries = late.entries.iter().filter(|entry| entry.pos == *pos);
            entries.map(|entry| entry.seq).collect()
        };
        (names.iter().map(of_pos).collect(), late.last_seq)
    }
}

impl Late {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Up to which entry the tables lack nothing.
    pub(super) fn taken_up(&self) -> u64 {
        let first = self.entries.front();
        first.map_or(self.last_seq, |first| first.seq - 1)
    }

    /// Where the entries begin to be numbered.
    pub(super) fn begin_after(&mut self, seq: u64) {
        self.last_seq = seq;
    }

    pub(super) fn add(&mut self, seq: u64, pos: &PosId, changed: Vec<Arc<Order>>) {
        let folded: Vec<String> = changed.iter().map(|order| order.reference.folded()).collect();
        for (folded, order) in folded.iter().zip(changed) {
            let late = LateOrder {
                order,
                seq,
                is_written: false,
            };
            self.orders.insert(folded.clone(), late);
        }
        self.heads.insert(pos.clone(), seq);
        self.last_seq = seq;
        self.entries.push_back(LateEntry {
            seq,
            pos: pos.clone(),
            orders: folded,
        });
    }

    /// Puts what a commit made behind what was there.
    pub(super) fn extend(&mut self, newer: Late) {
        if newer.entries.is_empty() {
            return;
        }
        self.entries.extend(newer.entries);
        self.orders.extend(newer.orders);
        self.heads.extend(newer.heads);
        self.last_seq = newer.last_seq;
    }

    pub(super) fn order(&self, reference: &Reference) -> Option<&LateOrder> {
        self.orders.get(&reference.folded())
    }

    pub(super) fn head(&self, pos: &PosId) -> Option<u64> {
        self.heads.get(pos).copied()
    }

    /// The oldest entries, at most so many, with all that they changed: as it stands now, even if a later one changed it.
    pub(super) fn piece(&self, entries: usize) -> Option<Piece> {
        let taken = || self.entries.iter().take(entries);
        let last_seq = taken().next_back()?.seq;
        let mut seen = HashSet::new();
        let changed = taken()
            .flat_map(|entry| &entry.orders)
            .filter(|folded| seen.insert(*folded));
        let late = changed.filter_map(|folded| self.orders.get(folded));
        Some(Piece {
            last_seq,
            entries: taken().map(|entry| (entry.pos.clone(), entry.seq)).collect(),
            orders: late.filter(|late| !late.is_written).cloned().collect(),
        })
    }

    /// The tables say it now.
    pub(super) fn done(&mut self, piece: &Piece) {
        self.entries.drain(..piece.entries.len().min(self.entries.len()));
        // Nobody adds to what is behind between a piece and this, so each is as it was written.
        for LateOrder { order, .. } in &piece.orders {
            if let Some(late) = self.orders.get_mut(&order.reference.folded()) {
                late.is_written = true;
            }
        }
        self.orders.retain(|_, late| late.seq > piece.last_seq);
        self.heads.retain(|_, seq| *seq > piece.last_seq);
    }
}
