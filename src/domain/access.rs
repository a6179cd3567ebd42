//! Who may speak of which points of sale.

use std::sync::Arc;

use super::id::{PosId, Timestamp, TokenName};

/// All points of sale, or some of them: whether they are registered or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    /// By name, each once.
    Of(Arc<[PosId]>),
}

impl Scope {
    pub fn of(names: impl IntoIterator<Item = PosId>) -> Scope {
        let mut names: Vec<PosId> = names.into_iter().collect();
        names.sort();
        names.dedup();
        Scope::Of(names.into())
    }

    pub fn has(&self, pos: &PosId) -> bool {
        match self {
            Scope::All => true,
            Scope::Of(names) => names.binary_search(pos).is_ok(),
        }
    }

    /// Of these, only one; none, if it is not among them.
    pub fn only(&self, pos: PosId) -> Scope {
        Scope::of(Some(pos).filter(|pos| self.has(pos)))
    }
}

impl From<PosId> for Scope {
    fn from(pos: PosId) -> Scope {
        Scope::of([pos])
    }
}

/// What a token of the control API opens. The token itself is kept nowhere: it is known again by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub name: TokenName,
    pub hash: TokenHash,
    pub scope: Scope,
    pub created_at: Timestamp,
}

/// SHA-256 of a token. A slow hash would protect words that people choose; nobody tries through 256 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    fn pos(name: &str) -> PosId {
        PosId::parse(name).expect("a name")
    }

    #[test]
    fn a_scope_has_what_it_names_and_no_more() {
        let scope = Scope::of(["B", "A", "B"].map(pos));
        assert_eq!(scope, Scope::Of([pos("A"), pos("B")].into()));
        assert!(scope.has(&pos("A")) && scope.has(&pos("B")));
        for other in ["C", "a", "AB", "A.", "B-"] {
            assert!(!scope.has(&pos(other)), "{other}");
            assert_eq!(scope.only(pos(other)), Scope::of([]));
        }
        assert_eq!(scope.only(pos("A")), pos("A").into());
        assert!(Scope::All.has(&pos("C")));
        assert_eq!(Scope::All.only(pos("C")), pos("C").into());
    }
}
