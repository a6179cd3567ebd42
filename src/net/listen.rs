//! Listening sockets, and one way to accept from TCP and Unix ones.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::stream::Stream;
use crate::limits;
use crate::peer::{Proxies, announced};

/// Whether several listeners of this process share the address, each with a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Alone,
    Shared,
}

/// A bound TCP listener. It takes connections from now on; they are answered once it is served.
pub fn tcp(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    socket.set_nonblocking(true)?;
    // Without it, replies of pipelined requests wait 40 ms for the other side's delayed acknowledgement. On Linux the
    // connections that are accepted have it from their listener: a system call less for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// `count` listeners on one address. With port 0 the first finds the port and the others share it.
pub fn tcp_shared(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = tcp(address, Sharing::Shared)?;
    let address = first.local_addr()?;
    let others = (1..count).map(|_| tcp(address, Sharing::Shared));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// A bound Unix listener. Nobody can connect before `guard` has seen to who may.
pub fn unix(path: &Path, guard: impl FnOnce() -> io::Result<()>) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    guard()?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// Makes a listener ours that somebody else had bound: as one of our own it never blocks, and holds as many connections
/// until they are accepted. An error if it is none.
pub fn adopt(listener: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(listener);
    socket.set_nonblocking(true)?;
    socket.listen(limits::BACKLOG)
}

/// The same of one of TCP.
pub fn adopt_tcp(listener: &std::net::TcpListener) -> io::Result<()> {
    SockRef::from(listener).set_tcp_nodelay(true)?;
    adopt(listener)
}

/// Shares listeners out to `count` threads an address. Several of one address have a queue each; where there are fewer of
/// them than threads, threads accept from the same queue, which goes on after us: a queue of our own would be lost with us.
pub fn share_out(listeners: &[std::net::TcpListener], count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let mut queues: BTreeMap<SocketAddr, Vec<&std::net::TcpListener>> = BTreeMap::new();
    for listener in listeners {
        queues.entry(listener.local_addr()?).or_default().push(listener);
    }
    let shares = queues.values().flat_map(|queues| {
        let threads = count.max(queues.len());
        queues.iter().cycle().take(threads)
    });
    shares.map(|listener| listener.try_clone()).collect()
}

/// A free loopback port, kept from others for as long as this lives. Only a listener that shares its address can have it,
/// and one that comes after it, too.
pub struct Reserved {
    socket: Socket,
}

impl Reserved {
    pub fn new() -> io::Result<Reserved> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // Without SO_REUSEADDR, by which any listener could take the port of one that does not listen.
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        Ok(Reserved { socket })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?.as_socket();
        address.ok_or_else(|| io::Error::other("a TCP socket has a port"))
    }
}

/// A source of connections.
#[allow(async_fn_in_trait, reason = "faces run on one thread, so no future needs to be Send")]
pub trait Accept {
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;

    async fn accept(&mut self) -> io::Result<Opening<Self::Io>>;
}

/// A connection that was accepted. What it says before HTTP is read on its own task, so that nobody else waits for it.
pub enum Opening<T> {
    Open(Met<T>),
    Later(Pin<Box<dyn Future<Output = io::Result<Met<T>>>>>),
}

/// A connection, and who is at its other end: the client, if a proxy announced it.
pub struct Met<T> {
    pub io: T,
    /// None: over a Unix socket.
    pub peer: Option<IpAddr>,
}

/// A TCP listener.
pub struct Tcp {
    listener: TcpListener,
    /// Whose connections begin with a PROXY header.
    announcing: Option<Arc<Proxies>>,
}

impl Tcp {
    pub fn new(listener: TcpListener) -> Tcp {
        Tcp {
            listener,
            announcing: None,
        }
    }

    pub fn behind(listener: TcpListener, announcing: Option<Arc<Proxies>>) -> Tcp {
        Tcp { listener, announcing }
    }

    pub(super) async fn accept_plain(&mut self) -> io::Result<Opening<TcpStream>> {
        let (io, address) = self.listener.accept().await?;
        let peer = address.ip().to_canonical();
        Ok(match &self.announcing {
            Some(proxies) if proxies.contains(peer) => Opening::Later(Box::pin(hear(io, peer))),
            _ => Opening::Open(Met { io, peer: Some(peer) }),
        })
    }
}

impl Accept for Tcp {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<Opening<Stream>> {
        let stream = |Met { io, peer }| Met {
            io: Stream::Tcp(io),
            peer,
        };
        Ok(match self.accept_plain().await? {
            Opening::Open(met) => Opening::Open(stream(met)),
            Opening::Later(opening) => Opening::Later(Box::pin(async move { opening.await.map(stream) })),
        })
    }
}

/// For whom a proxy connects. Not a byte beyond its header is taken.
async fn hear(mut io: TcpStream, proxy: IpAddr) -> io::Result<Met<TcpStream>> {
    let mut begun = [0; limits::PROXY_HEADER_BYTES];
    let mut length = 0;
    loop {
        let more = io.peek(&mut begun[length..]).await?;
        let whole = announced(&begun[..length + more]).map_err(|error| {
            tracing::debug!(%proxy, %error, "a connection is closed");
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        let end = whole.map_or(length + more, |whole| whole.length);
        io.read_exact(&mut begun[length..end]).await?;
        length = end;
        if let Some(whole) = whole {
            let peer = Some(whole.client.unwrap_or(proxy));
            return Ok(Met { io, peer });
        }
        if more == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

impl Accept for UnixListener {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<Opening<Stream>> {
        let (io, _) = UnixListener::accept(self).await?;
        Ok(Opening::Open(Met {
            io: Stream::Unix(io),
            peer: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_listeners_have_one_port() {
        let listeners = tcp_shared(([127, 0, 0, 1], 0).into(), 3).expect("loopback");
        let ports: Vec<_> = listeners
            .iter()
            .map(|l| l.local_addr().expect("bound").port())
            .collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]));
    }

    #[test]
    fn nobody_connects_to_a_unix_socket_before_it_is_guarded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let connect = || std::os::unix::net::UnixStream::connect(&path);
        let guard = || {
            assert_eq!(connect().expect_err("not yet").kind(), io::ErrorKind::ConnectionRefused);
            Ok(())
        };
        let _listener = unix(&path, guard).expect("it is free");
        connect().expect("it listens");
    }

    #[test]
    fn what_is_accepted_does_not_delay() {
        let listener = tcp(([127, 0, 0, 1], 0).into(), Sharing::Alone).expect("loopback");
        listener.set_nonblocking(false).expect("it is open");
        let _client = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (stream, _) = listener.accept().expect("somebody connects");
        assert!(stream.nodelay().expect("it is open"));

        let foreign = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        adopt_tcp(&foreign).expect("it listens");
        foreign.set_nonblocking(false).expect("it is open");
        let _client = std::net::TcpStream::connect(foreign.local_addr().expect("bound")).expect("it listens");
        let (stream, _) = foreign.accept().expect("somebody connects");
        assert!(
            stream.nodelay().expect("it is open"),
            "nor what comes to one that was adopted"
        );
    }

    #[test]
    fn listeners_are_shared_out_to_the_threads_of_each_address() {
        let bound = |address: &str| tcp(address.parse().expect("an address"), Sharing::Shared).expect("loopback");
        let one = bound("127.0.0.1:0");
        let same = bound(&one.local_addr().expect("bound").to_string());
        let other = bound("127.0.0.1:0");
        let counts = |listeners: &[std::net::TcpListener], threads| {
            let shared = share_out(listeners, threads).expect("descriptors are free");
            let count = |of: &std::net::TcpListener| {
                let at = |l: &std::net::TcpListener| l.local_addr().expect("bound");
                shared.iter().filter(|listener| at(listener) == at(of)).count()
            };
            (count(&one), count(&other))
        };
        let all = [one.try_clone(), same.try_clone(), other.try_clone()].map(|clone| clone.expect("a descriptor"));
        assert_eq!(
            counts(&all, 3),
            (3, 3),
            "two queues for three threads, and one for three others"
        );
        assert_eq!(counts(&all, 1), (2, 1), "no queue is without a thread");
        assert_eq!(counts(&all[2..], 4), (0, 4));
    }

    #[test]
    fn a_reserved_port_is_had_only_by_who_shares_it() {
        let reserved = Reserved::new().expect("loopback");
        let address = reserved.address().expect("bound");
        assert!(tcp(address, Sharing::Alone).is_err());
        for _ in 0..2 {
            let listener = tcp(address, Sharing::Shared).expect("it is kept for this");
            std::net::TcpStream::connect(address).expect("it listens");
            drop(listener);
            assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens");
        }
    }

    #[test]
    fn an_address_in_use_is_an_error() {
        let first = tcp(([127, 0, 0, 1], 0).into(), Sharing::Alone).expect("loopback");
        let again = tcp(first.local_addr().expect("bound"), Sharing::Alone);
        assert_eq!(again.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }
}
