//! The PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` has it: for whom a proxy connects, said before
//! anything else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// How many bytes it has; what follows is the client's.
    pub length: usize,
    /// None: the proxy asks for itself, or does not know for whom.
    pub client: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("a proxy's connection does not begin with a PROXY header")]
    None,
    #[error("the PROXY header is not as its version wants it")]
    Form,
    #[error("the PROXY header is longer than {max} bytes", max = limits::PROXY_HEADER_BYTES)]
    Long,
}

const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// With its line break.
const LINE: usize = 107;

/// What a connection begins with; `None` while it is not all there, and then all of it belongs to the header.
pub fn announced(begun: &[u8]) -> Result<Option<Announced>, BadHeader> {
    if let Some(rest) = begun.strip_prefix(VERSION_2) {
        version_2(rest)
    } else if begun.starts_with(VERSION_1) {
        version_1(begun)
    } else if VERSION_1.starts_with(begun) || VERSION_2.starts_with(begun) {
        Ok(None)
    } else {
        Err(BadHeader::None)
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` in a line.
fn version_1(begun: &[u8]) -> Result<Option<Announced>, BadHeader> {
    let line = &begun[..begun.len().min(LINE)];
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() < LINE {
            Ok(None)
        } else {
            Err(BadHeader::Long)
        };
    };
    let text = line[..end].strip_suffix(b"\r").ok_or(BadHeader::Form)?;
    let text = std::str::from_utf8(text).map_err(|_| BadHeader::Form)?;
    let words: Vec<&str> = text.split(' ').skip(1).collect();
    let client = match words[..] {
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, from_port, to_port] if are_ports([from_port, to_port]) => Some(both::<Ipv4Addr>(from, to)?),
        ["TCP6", from, to, from_port, to_port] if are_ports([from_port, to_port]) => Some(both::<Ipv6Addr>(from, to)?),
        _ => return Err(BadHeader::Form),
    };
    Ok(Some(Announced {
        length: end + 1,
        client,
    }))
}

fn are_ports(ports: [&str; 2]) -> bool {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    ports.into_iter().all(is_port)
}

/// The first of two addresses of one family.
fn both<T: std::str::FromStr + Into<IpAddr>>(from: &str, to: &str) -> Result<IpAddr, BadHeader> {
    let parse = |text: &str| text.parse::<T>().map_err(|_| BadHeader::Form);
    parse(to)?;
    Ok(parse(from)?.into().to_canonical())
}

/// Version and command, family, a length; then addresses and ports, then whatever the proxy adds.
fn version_2(rest: &[u8]) -> Result<Option<Announced>, BadHeader> {
    let Some((&[command, family, high, low], rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = VERSION_2.len() + 4 + length;
    if whole > limits::PROXY_HEADER_BYTES {
        return Err(BadHeader::Long);
    }
    let Some(rest) = rest.get(..length) else {
        return Ok(None);
    };
    let client = match (command, family) {
        // LOCAL: the proxy looks whether we are well.
        (0x20, _) => None,
        (0x21, 0x11) => Some(first_of_two::<4>(rest)?.into()),
        (0x21, 0x21) => Some(first_of_two::<16>(rest)?.into()),
        // No address, or none of TCP.
        (0x21, _) => None,
        _ => return Err(BadHeader::Form),
    };
    Ok(Some(Announced {
        length: whole,
        client: client.map(|client: IpAddr| client.to_canonical()),
    }))
}

/// Two addresses and two ports must be there.
fn first_of_two<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BadHeader> {
    match bytes.split_first_chunk() {
        Some((first, rest)) if rest.len() >= N + 4 => Ok(*first),
        _ => Err(BadHeader::Form),
    }
}
