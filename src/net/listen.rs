//! Listening sockets, and one way to accept from TCP and Unix ones.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::limits;

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

/// A source of connections.
#[allow(async_fn_in_trait, reason = "faces run on one thread, so no future needs to be Send")]
pub trait Accept {
    type Io: AsyncRead + AsyncWrite + Unpin + 'static;

    async fn accept(&mut self) -> io::Result<Self::Io>;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Without it, replies of pipelined requests wait 40 ms for the other side's delayed acknowledgement. It fails
        // only on a connection that is gone already.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Io = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        Ok(UnixListener::accept(self).await?.0)
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
    fn an_address_in_use_is_an_error() {
        let first = tcp(([127, 0, 0, 1], 0).into(), Sharing::Alone).expect("loopback");
        let again = tcp(first.local_addr().expect("bound"), Sharing::Alone);
        assert_eq!(again.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
    }
}
