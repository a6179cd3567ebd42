//! Choices that a printed seed makes again.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::process::say;

/// Splitmix64.
pub struct Dice(u64);

impl Dice {
    /// From `SURTIDOR_SEED`, or by chance; printed either way.
    pub fn from_seed() -> Dice {
        let given = std::env::var("SURTIDOR_SEED").ok().and_then(|seed| seed.parse().ok());
        let dice = given.map_or_else(Dice::by_chance, Dice);
        say(&format!("SURTIDOR_SEED={}", dice.0));
        dice
    }

    /// Where nobody needs the same again.
    pub fn by_chance() -> Dice {
        Dice(RandomState::new().build_hasher().finish())
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Dice of its own for somebody who plays beside the others.
    pub fn fork(&mut self) -> Dice {
        Dice(self.below(u64::MAX))
    }
}
