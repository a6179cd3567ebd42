//! Sockets that were open before us and stay open after us: over a restart connections wait in them, and none is refused.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

use crate::limits;
use crate::net::listen::{adopt, adopt_tcp};

/// By the name of the face that they are for.
#[derive(Debug, Default)]
pub struct Sockets {
    /// One or several, of one address or several. The same holds with TLS.
    pub poll: Vec<TcpListener>,
    pub poll_tls: Vec<TcpListener>,
    pub control: Option<UnixListener>,
    pub control_tcp: Option<TcpListener>,
    pub control_tls: Option<TcpListener>,
    pub admin: Option<TcpListener>,
}

/// What was handed over cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    #[error("LISTEN_FDS is {0:?}: it must be a number from 0 to {max}", max = limits::HANDED_SOCKETS)]
    Count(String),
    #[error("{sockets} sockets were handed over, and LISTEN_FDNAMES has {names} names: {RULE}")]
    Unnamed { sockets: usize, names: usize },
    #[error("a socket called {0:?} was handed over: {RULE}")]
    Unknown(String),
    #[error("two sockets called {0:?} were handed over, but there is one such face")]
    Twice(&'static str),
    #[error("the socket {name:?} that was handed over must be a listening {kind}: {source}")]
    Kind {
        name: &'static str,
        kind: &'static str,
        source: io::Error,
    },
    #[error(
        "the socket {name:?} that was handed over can be reached from outside ({address}), but this face is for this machine alone"
    )]
    NotLoopback { name: &'static str, address: SocketAddr },
}

const RULE: &str = "each must have its face's name, poll, poll-tls, control, control-tcp, control-tls or admin (FileDescriptorName= in its unit)";

const TCP: &str = "TCP socket (ListenStream= with a port)";
const UNIX: &str = "Unix stream socket (ListenStream= with a path)";

impl Sockets {
    /// Takes what was handed to this process, if anything was. Once, and before anything else is opened.
    pub fn take(env: &BTreeMap<String, String>) -> Result<Sockets, HandedError> {
        let mut sockets = Sockets::default();
        // The variables may have come down from a parent, for whom they were meant.
        if env.get("LISTEN_PID") != Some(&std::process::id().to_string()) {
            return Ok(sockets);
        }
        let count = count(env)?;
        let names: Vec<&str> = match env.get("LISTEN_FDNAMES").map_or("", String::as_str) {
            "" => Vec::new(),
            names => names.split(':').collect(),
        };
        if names.len() != count {
            return Err(HandedError::Unnamed {
                sockets: count,
                names: names.len(),
            });
        }
        // It takes the variables out of the environment as well.
        let mut handed = ListenFd::from_env();
        for (place, name) in names.into_iter().enumerate() {
            match name {
                "poll" => sockets.poll.push(tcp(&mut handed, place, "poll")?),
                "poll-tls" => sockets.poll_tls.push(tcp(&mut handed, place, "poll-tls")?),
                "control" => put(&mut sockets.control, "control", unix(&mut handed, place, "control")?)?,
                "control-tcp" => put(
                    &mut sockets.control_tcp,
                    "control-tcp",
                    local(&mut handed, place, "control-tcp")?,
                )?,
                "control-tls" => put(
                    &mut sockets.control_tls,
                    "control-tls",
                    tcp(&mut handed, place, "control-tls")?,
                )?,
                "admin" => put(&mut sockets.admin, "admin", local(&mut handed, place, "admin")?)?,
                other => return Err(HandedError::Unknown(other.to_owned())),
            }
        }
        Ok(sockets)
    }

    /// The names of those that were handed over.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("poll", !self.poll.is_empty()),
            ("poll-tls", !self.poll_tls.is_empty()),
            ("control", self.control.is_some()),
            ("control-tcp", self.control_tcp.is_some()),
            ("control-tls", self.control_tls.is_some()),
            ("admin", self.admin.is_some()),
        ];
        all.into_iter()
            .filter_map(|(name, is_there)| is_there.then_some(name))
            .collect()
    }
}

fn count(env: &BTreeMap<String, String>) -> Result<usize, HandedError> {
    let Some(text) = env.get("LISTEN_FDS") else {
        return Ok(0);
    };
    let count = text.parse().ok().filter(|count| *count <= limits::HANDED_SOCKETS);
    count.ok_or_else(|| HandedError::Count(text.clone()))
}

fn put<T>(slot: &mut Option<T>, name: &'static str, socket: T) -> Result<(), HandedError> {
    match slot.replace(socket) {
        None => Ok(()),
        Some(_) => Err(HandedError::Twice(name)),
    }
}

fn tcp(handed: &mut ListenFd, place: usize, name: &'static str) -> Result<TcpListener, HandedError> {
    let kind = |source| HandedError::Kind {
        name,
        kind: TCP,
        source,
    };
    let listener = taken(handed.take_tcp_listener(place)).map_err(kind)?;
    adopt_tcp(&listener).map_err(kind)?;
    Ok(listener)
}

fn unix(handed: &mut ListenFd, place: usize, name: &'static str) -> Result<UnixListener, HandedError> {
    let kind = |source| HandedError::Kind {
        name,
        kind: UNIX,
        source,
    };
    let listener = taken(handed.take_unix_listener(place)).map_err(kind)?;
    adopt(&listener).map_err(kind)?;
    Ok(listener)
}

fn taken<T>(taken: io::Result<Option<T>>) -> io::Result<T> {
    taken?.ok_or_else(|| io::Error::other("it is not there"))
}

fn local(handed: &mut ListenFd, place: usize, name: &'static str) -> Result<TcpListener, HandedError> {
    let listener = tcp(handed, place, name)?;
    let address = listener.local_addr().map_err(|source| HandedError::Kind {
        name,
        kind: TCP,
        source,
    })?;
    match address.ip().to_canonical().is_loopback() {
        true => Ok(listener),
        false => Err(HandedError::NotLoopback { name, address }),
    }
}
