//! Bodies: one that is handed over whole, and the reading of one from outside within its bounds.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, SizeHint};

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
