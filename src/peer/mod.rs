//! Who is at the other end: networks, and who stands behind a proxy. Nothing here waits or holds a socket.
//!
//! A proxy says in two ways for whom it asks: in a PROXY header before anything else ([`announced()`]), or in
//! `X-Forwarded-For`, whose last entry is its own ([`behind`]). Both are believed of configured proxies only, since anybody
//! can write either.

mod announced;
#[cfg(any(test, fuzzing))]
pub mod fuzz;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

pub use announced::{Announced, BadHeader, announced};

/// A network such as `10.0.0.0/8`; an address alone is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    #[error("\"{0}\" is not a network such as \"127.0.0.1/32\" or \"2001:db8::/48\"")]
    Form(String),
    #[error("\"{0}\" has an address within the network; the network itself is \"{1}\"")]
    Inside(String, Network),
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let form = || BadNetwork::Form(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| form())?,
            Some(_) => return Err(form()),
            None => most,
        };
        if bits > most {
            return Err(form());
        }
        match Network::of(address, bits) {
            network if network.first == address => Ok(network),
            network => Err(BadNetwork::Inside(text.to_owned(), network)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl Network {
    /// The one of this size that the address is in.
    pub fn of(address: IpAddr, bits: u8) -> Network {
        let first = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & mask).into()
            }
        };
        Network { first, bits }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && Network::of(address, self.bits).first == self.first
    }

    pub fn is_everybody(&self) -> bool {
        self.bits == 0
    }
}

/// The networks of the proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(pub Vec<Network>);

impl Proxies {
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Who asks, where `peer` is connected and `forwarded` are the request's lines of `X-Forwarded-For`.
///
/// Each proxy adds at the end whom it asks for. So from the end on, as long as it was a proxy of ours who said so: the first
/// that is none is who asks. What stands before that may be invented.
pub fn behind<'a>(proxies: &Proxies, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
    let mut client = peer;
    for entry in forwarded.rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        if !proxies.contains(client) {
            break;
        }
        match entry_address(entry) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// An address, perhaps with a port, as some proxies write it.
fn entry_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let address = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    address
        .or_else(with_port)
        .or_else(in_brackets)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
