//! What the server listens on: a socket that was handed over goes before what the configuration says, which is then bound
//! by nobody. Where the two differ, it is said.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::secured::Secured;
use super::{Addresses, StartError};
use crate::config::{self, Config};
use crate::net::listen::{Sharing, share_out, tcp, tcp_shared};
use crate::systemd::Sockets;
use crate::{control, poll, tls};

/// What the faces listen on, but for the admin face: that answers before any of this is bound.
pub(super) struct Bound {
    pub poll: Vec<poll::Listener>,
    pub control: UnixListener,
    pub control_tcp: Option<TcpListener>,
    pub control_tls: Option<(TcpListener, tls::Server)>,
    pub addresses: Addresses,
    /// Whether the control socket's file goes with us: one that was handed over stays, and connections wait there for who
    /// comes next.
    pub owns_socket: bool,
}

/// Takes or binds all of it. `names` are those of the sockets that were handed over.
pub(super) fn bind(
    handed: Sockets,
    names: Vec<&'static str>,
    admin: SocketAddr,
    config: &Config,
    secured: &Secured,
) -> Result<Bound, StartError> {
    let threads = config.poll.threads;
    let plain = shared("poll.listen", &handed.poll, &config.poll.listen, threads)?;
    let plain_addresses = addresses(&plain)?;
    let mut polls: Vec<_> = plain.into_iter().map(poll::Listener::Plain).collect();
    let mut tls_addresses = Vec::new();
    if let (Some(tls), Some(secure)) = (&config.poll.tls, &secured.poll) {
        let with_tls = shared("poll.tls.listen", &handed.poll_tls, &tls.listen, threads)?;
        tls_addresses = addresses(&with_tls)?;
        let server = |listener| poll::Listener::Tls(listener, secure.server.clone());
        polls.extend(with_tls.into_iter().map(server));
    }
    let tcp = match config.control.tcp {
        Some(address) => Some(one("control.tcp", handed.control_tcp, address)?),
        None => None,
    };
    let tls = match (&config.control.tls, &secured.control) {
        (Some(tls), Some(secure)) => {
            let listener = one("control.tls.listen", handed.control_tls, tls.listen)?;
            Some((listener, secure.server.clone()))
        }
        _ => None,
    };
    let owns_socket = handed.control.is_none();
    let (control, path) = control(handed.control, &config.control)?;
    let addresses = Addresses {
        poll: plain_addresses,
        poll_tls: tls_addresses,
        control: path,
        control_tcp: tcp.as_ref().map(TcpListener::local_addr).transpose()?,
        control_tls: tls.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?,
        admin,
        handed: names,
    };
    Ok(Bound {
        poll: polls,
        control,
        control_tcp: tcp,
        control_tls: tls,
        addresses,
        owns_socket,
    })
}

/// A face that others can reach is not served without what guards it: a token, a certificate.
pub(super) fn guarded(handed: &[&'static str], config: &Config) -> Result<(), StartError> {
    let faces = [
        ("poll-tls", "poll.tls", config.poll.tls.is_some()),
        ("control-tcp", "control.tcp", config.control.tcp.is_some()),
        ("control-tls", "control.tls", config.control.tls.is_some()),
    ];
    match faces
        .into_iter()
        .find(|(name, _, configured)| handed.contains(name) && !configured)
    {
        Some((name, key, _)) => Err(StartError::Unguarded { name, key }),
        None => Ok(()),
    }
}

/// The face's only socket.
pub(super) fn one(
    key: &'static str,
    handed: Option<TcpListener>,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    match handed {
        Some(listener) => {
            tell_difference(key, &[address], &[listener.local_addr()?]);
            Ok(listener)
        }
        None => {
            let bound = tcp(address, Sharing::Alone);
            bound.map_err(|source| StartError::Listen { key, address, source })
        }
    }
}

/// As many for each address as there are threads.
fn shared(
    key: &'static str,
    handed: &[TcpListener],
    configured: &[SocketAddr],
    threads: usize,
) -> Result<Vec<TcpListener>, StartError> {
    if handed.is_empty() {
        let bound = configured.iter().map(|&address| {
            let shared = tcp_shared(address, threads);
            shared.map_err(|source| StartError::Listen { key, address, source })
        });
        return Ok(bound.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect());
    }
    let listeners = share_out(handed, threads)?;
    tell_difference(key, configured, &addresses(&listeners)?);
    Ok(listeners)
}

/// Each address once, in order.
fn addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.local_addr()?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// The control socket, and where its file is.
fn control(handed: Option<UnixListener>, config: &config::Control) -> Result<(UnixListener, PathBuf), StartError> {
    let Some(listener) = handed else {
        return Ok((control::bind(config)?, config.socket.clone()));
    };
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or(StartError::NoPath)?.to_owned();
    if path != config.socket {
        let (configured, used) = (config.socket.display(), path.display());
        tracing::warn!(%configured, %used, "control.socket is not used: another was handed over");
    }
    if let Ok(file) = fs::symlink_metadata(&path) {
        let mode = file.mode() & 0o777;
        if mode != config.socket_mode || config.socket_group.is_some_and(|group| group != file.gid()) {
            tracing::warn!(
                mode = format!("{mode:04o}"),
                group = file.gid(),
                "control.socket_mode and control.socket_group are not used: the socket that was handed over has its own \
                 (SocketMode=, SocketGroup= in its unit)"
            );
        }
    }
    Ok((listener, path))
}

/// With port 0, whatever was handed over is right.
fn tell_difference(key: &str, configured: &[SocketAddr], handed: &[SocketAddr]) {
    let covers = |address: &SocketAddr| {
        let same = |wanted: &SocketAddr| wanted.ip() == address.ip() && [0, address.port()].contains(&wanted.port());
        configured.iter().any(same)
    };
    if configured.len() != handed.len() || !handed.iter().all(covers) {
        let list = |all: &[SocketAddr]| all.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        let (configured, used) = (list(configured), list(handed));
        tracing::warn!(
            key,
            configured,
            used,
            "this key is not used: sockets of other addresses were handed over"
        );
    }
}
