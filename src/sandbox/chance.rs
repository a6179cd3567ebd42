//! All that is random here, from one seed.

use super::settings::Chance;

/// SplitMix64: small, and the same everywhere.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `max`.
    pub fn up_to(&mut self, max: u64) -> u64 {
        self.roll() % max.saturating_add(1).max(1)
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll().to_le_bytes()[0]).collect()
    }

    pub fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.bytes(16));
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Whether it happens this time.
    pub fn happens(&mut self, chance: &mut Chance) -> bool {
        if chance.next > 0 {
            chance.next -= 1;
            return true;
        }
        chance.one_in > 0 && self.roll().is_multiple_of(u64::from(chance.one_in))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same() {
        let rolls = |seed| {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.up_to(9)).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
    }

    #[test]
    fn a_chance_is_the_next_ones_then_some() {
        let mut dice = Dice::new(1);
        let mut chance = Chance { next: 2, one_in: 0 };
        assert_eq!([0; 4].map(|_| dice.happens(&mut chance)), [true, true, false, false]);
        let mut chance = Chance::one_in(10);
        let hits = (0..10_000).filter(|_| dice.happens(&mut chance)).count();
        assert!((800..1_200).contains(&hits), "{hits}");
    }
}
