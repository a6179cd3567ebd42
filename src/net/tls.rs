//! A TCP listener whose connections speak TLS. Each shakes hands on its own task, within the time of a head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::listen::{Accept, Met, Opening, Tcp};
use super::metrics::Handshakes;
use super::stream::Stream;
use crate::tls::Server;

/// For who speaks HTTP to a port of HTTPS: as a browser would otherwise show nothing but a broken connection.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 36\r\n\r\n\
    This port speaks TLS: use https://.\n";

pub struct Tls {
    tcp: Tcp,
    acceptor: TlsAcceptor,
    handshakes: Handshakes,
}

impl Tls {
    pub fn new(tcp: Tcp, server: &Server, handshakes: Handshakes) -> Tls {
        Tls {
            tcp,
            acceptor: server.config().into(),
            handshakes,
        }
    }
}

impl Accept for Tls {
    type Io = Stream;

    async fn accept(&mut self) -> io::Result<Opening<Stream>> {
        let opening = self.tcp.accept_plain().await?;
        let (acceptor, handshakes) = (self.acceptor.clone(), self.handshakes.clone());
        Ok(Opening::Later(Box::pin(async move {
            let Met { io, peer } = match opening {
                Opening::Open(met) => met,
                Opening::Later(opening) => opening.await?,
            };
            let io = shake_hands(io, &acceptor).await.inspect_err(|error| {
                // Who only looks whether somebody listens says nothing.
                if error.kind() != io::ErrorKind::NotConnected {
                    handshakes.failed.increment(1);
                    tracing::debug!(peer = ?peer, %error, "a TLS handshake failed");
                }
            })?;
            match io.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => handshakes.resumed.increment(1),
                _ => handshakes.full.increment(1),
            }
            Ok(Met {
                io: Stream::Tls(Box::new(Secured(io))),
                peer,
            })
        })))
    }
}

async fn shake_hands(mut stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::NotConnected.into());
    }
    // A method's first letter; TLS begins with 22.
    if !first[0].is_ascii_uppercase() {
        return acceptor.accept(stream).await;
    }
    stream.write_all(PLAIN).await?;
    stream.shutdown().await?;
    // What is left unread at the end would take back what was just said.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"))
}

/// A connection that says goodbye, however it ends: who speaks TLS takes a silent end for an attack.
pub struct Secured(TlsStream<TcpStream>);

impl Drop for Secured {
    fn drop(&mut self) {
        let (tcp, tls) = self.0.get_mut();
        tls.send_close_notify();
        let mut last = Vec::new();
        // Nothing is to be said if it was said before, or if the other side is gone.
        if tls.wants_write() && tls.write_tls(&mut last).is_ok() {
            let _ = tcp.try_write(&last);
        }
    }
}

impl AsyncRead for Secured {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
