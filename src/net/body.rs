//! Bodies: one that is handed over whole, one that is made while it is sent, and the reading of one from outside within
//! its bounds.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::limits;

/// A body that is there already.
#[derive(Debug, Default)]
pub struct Whole(Option<Bytes>);

impl Whole {
    pub fn new(bytes: Bytes) -> Whole {
        Whole(Some(bytes))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// A body that goes on until whoever makes it has gone.
#[derive(Debug)]
pub struct Chunks(pub mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// One body for all answers of a face that also has streams.
#[derive(Debug)]
pub enum Content {
    Whole(Whole),
    Stream(Chunks),
}

impl Content {
    pub fn whole(bytes: impl Into<Bytes>) -> Content {
        Content::Whole(Whole::new(bytes.into()))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Content::Whole(body) => Pin::new(body).poll_frame(cx),
            Content::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Content::Whole(body) => body.is_end_stream(),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Whole(body) => body.size_hint(),
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

/// Why a request's body could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than allowed")]
    TooLarge,
    #[error("the body was not whole within {} s", limits::BODY_TIME.as_secs())]
    TooSlow,
    #[error("the body broke off")]
    Broken,
}

/// The whole body, at most `max` bytes, within `limits::BODY_TIME`.
pub async fn read_body<B>(body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    // A length that is announced too large is refused before a byte of it is read.
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(limits::BODY_TIME, Limited::new(body, max).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands over what it was given, then breaks off or stays silent.
    struct Parts(Vec<&'static str>, bool);

    impl Body for Parts {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            match self.0.pop() {
                Some(part) => Poll::Ready(Some(Ok(Frame::data(part.into())))),
                None if self.1 => Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_size_and_time() {
        assert_eq!(read_body(Whole::new("1234".into()), 4).await, Ok("1234".into()));
        assert_eq!(read_body(Whole::new("12345".into()), 4).await, Err(BodyError::TooLarge));
        assert_eq!(
            read_body(Parts(vec!["345", "12"], true), 4).await,
            Err(BodyError::TooLarge)
        );
        assert_eq!(read_body(Parts(vec!["12"], true), 4).await, Err(BodyError::Broken));
        assert_eq!(read_body(Parts(vec!["12"], false), 4).await, Err(BodyError::TooSlow));
    }
}
