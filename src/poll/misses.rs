//! Who only misses: polls for places that we do not know, counted by network in a table of fixed size.
//!
//! Mercado Pago polls all merchants from a few networks, so one whose URL is registered wrongly must not take the others'
//! answers away: a hit never comes here, however many misses its network has. A miss that is refused says so by its
//! status alone. Nothing is hidden from who walks through names by this, since a hit would still be told; that is what
//! secrets in the URLs are for.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::limits;
use crate::peer::Network;

/// Networks share sets of so many places; who misses least gives way.
const WAYS: usize = 4;

pub(super) struct Misses {
    /// In each place 32 bits of a network's hash, and the moment at which all that it missed is forgiven, in ticks.
    places: Box<[AtomicU64]>,
    /// Seeded, so that nobody can choose whose place to take.
    hasher: RandomState,
    begun: Instant,
}

impl Misses {
    pub(super) fn new() -> Misses {
        Misses {
            places: (0..limits::MISS_NETWORKS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            begun: Instant::now(),
        }
    }

    /// Whether this one is too many for its network.
    #[cold]
    pub(super) fn is_too_many(&self, client: IpAddr) -> bool {
        let ticks = self.begun.elapsed().as_millis() / limits::MISS_EVERY.as_millis();
        self.is_too_many_at(client, u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// Each miss is forgiven a tick later than the one before it. The worst of races forgets a few.
    fn is_too_many_at(&self, client: IpAddr, now: u32) -> bool {
        let hash = self.hasher.hash_one(network_of(client));
        let mark = hash >> 32;
        let sets = self.places.len() / WAYS;
        let set = (hash as u32 as usize % sets) * WAYS;
        let places = &self.places[set..set + WAYS];
        let until = |place: u64| place as u32;
        let own = places.iter().find(|place| place.load(Relaxed) >> 32 == mark);
        let least = || places.iter().min_by_key(|place| until(place.load(Relaxed)));
        let Some(place) = own.or_else(least) else { return false };
        let missed = |seen: u64| {
            let forgiven = if seen >> 32 == mark { until(seen).max(now) } else { now };
            (forgiven < now.saturating_add(limits::MISSES))
                .then_some(mark << 32 | u64::from(forgiven.saturating_add(1)))
        };
        place.fetch_update(Relaxed, Relaxed, missed).is_err()
    }
}

/// Whoever has one IPv4 address easily has its neighbours, and less than a /24 is not routed; of IPv6 a /64 is the least that
/// anybody is given, so its addresses are one client's.
fn network_of(client: IpAddr) -> Network {
    let bits = if client.is_ipv4() { 24 } else { 64 };
    Network::of(client, bits)
}

const _: () = assert!(limits::MISS_NETWORKS.is_multiple_of(WAYS));

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_may_miss_some_at_once_and_then_one_a_tick() {
        let misses = Misses::new();
        for i in 0..limits::MISSES {
            // Neighbours count together.
            let client = Ipv4Addr::new(192, 0, 2, i as u8).into();
            assert!(!misses.is_too_many_at(client, 7), "{i}");
        }
        assert!(misses.is_too_many_at(ip("192.0.2.1"), 7));
        assert!(!misses.is_too_many_at(ip("192.0.3.1"), 7), "another network");
        for now in 8..20 {
            assert!(!misses.is_too_many_at(ip("192.0.2.1"), now), "one is forgiven");
            assert!(misses.is_too_many_at(ip("192.0.2.1"), now), "and no more");
        }
        let later = 20 + limits::MISSES;
        for _ in 0..limits::MISSES {
            assert!(!misses.is_too_many_at(ip("192.0.2.1"), later), "all is forgiven");
        }
        assert!(misses.is_too_many_at(ip("192.0.2.1"), later));
    }

    #[test]
    fn a_client_with_a_network_of_ipv6_is_one() {
        let misses = Misses::new();
        let of = |host: u64| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(host)));
        let refused = (0..1_000).filter(|host| misses.is_too_many_at(of(host * 7_919), 0));
        assert_eq!(refused.count(), 1_000 - limits::MISSES as usize);
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_room_and_refuses_nobody_new() {
        let misses = Misses::new();
        for i in 0..100_000_u32 {
            assert!(!misses.is_too_many_at(Ipv4Addr::from_bits(i << 8).into(), 0), "{i}");
        }
        // Who misses much keeps its place beside those who miss once.
        let worst = ip("203.0.113.5");
        for i in 0..100_000_u32 {
            misses.is_too_many_at(worst, 0);
            misses.is_too_many_at(Ipv4Addr::from_bits(i << 8).into(), 0);
        }
        assert!(misses.is_too_many_at(worst, 0));
    }

    #[test]
    fn threads_lose_few() {
        let misses = Misses::new();
        let refused = |_| (0..10_000).filter(|_| misses.is_too_many_at(ip("::1"), 0)).count();
        let all: usize = std::thread::scope(|scope| {
            let threads = [0, 1, 2, 3].map(|i| scope.spawn(move || refused(i)));
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        let passed = 40_000 - all;
        assert!(
            (limits::MISSES as usize..2 * limits::MISSES as usize).contains(&passed),
            "{passed}"
        );
    }
}
