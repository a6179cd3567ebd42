//! The one kind of connection that HTTP is spoken over. hyper is compiled for it once, and so a poll runs through code that
//! is laid out for it whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::Secured;

pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Twenty times as large as the others.
    Tls(Box<Secured>),
}

/// Does the same to the connection within, whatever it is.
macro_rules! within {
    ($stream:expr, $io:ident => $does:expr) => {
        match $stream.get_mut() {
            Stream::Tcp(stream) => {
                let $io = Pin::new(stream);
                $does
            }
            Stream::Unix(stream) => {
                let $io = Pin::new(stream);
                $does
            }
            Stream::Tls(stream) => {
                let $io = Pin::new(&mut **stream);
                $does
            }
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        within!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        within!(self, io => io.poll_write(cx, bytes))
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, io => io.poll_shutdown(cx))
    }
}
