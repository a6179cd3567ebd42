//! When a call is tried again, and how long it waits before that.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{Instant, sleep, timeout_at};

use super::circuit::{Circuit, Haste, Health, Turn};
use super::error::{ApiError, Broken};
use crate::limits;

/// Tries until it ends well, or may not be tried again: `again` says whether the call may be made twice. Each try has
/// `limits::API_TRY_TIME`, and all are over at `end`. Only the first is pressing.
pub(super) async fn tries<T, F: Future<Output = Result<T, ApiError>>>(
    (circuit, haste): (&Circuit, Haste),
    end: Instant,
    again: bool,
    attempt: impl Fn() -> F,
) -> Result<T, ApiError> {
    let mut last = ApiError::Resting;
    for tried in 1..=limits::API_TRIES {
        let haste = if tried == 1 { haste } else { Haste::Patient };
        match once((circuit, haste), end, attempt()).await {
            // The API was found down meanwhile; what this call itself met says more.
            Err(ApiError::Resting) => return Err(last),
            Err(error) if again && error.is_retried() => last = error,
            result => return result,
        }
        // Too little time for another would only look like a silent API.
        let fits = |pause: &Duration| Instant::now() + *pause + limits::API_CONNECT_TIME < end;
        match pause(tried, &last).filter(fits) {
            Some(pause) if tried < limits::API_TRIES => sleep(pause).await,
            _ => break,
        }
    }
    Err(last)
}

async fn once<T>(
    (circuit, haste): (&Circuit, Haste),
    end: Instant,
    attempt: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let pass = circuit.enter(haste).ok_or(ApiError::Resting)?;
    let limit = end.min(Instant::now() + limits::API_TRY_TIME);
    let result = timeout_at(limit, attempt).await.unwrap_or(Err(Broken::Late.into()));
    let turn = pass.end(match &result {
        Err(ApiError::Unavailable(_) | ApiError::Broken(_)) => Health::Bad,
        Err(ApiError::Limited { .. } | ApiError::Resting) => Health::Neither,
        _ => Health::Good,
    });
    match (turn, &result) {
        (Some(Turn::Rests), Err(error)) => tracing::warn!(%error, "Mercado Pago's API is left alone, but for probes"),
        (Some(Turn::Well), _) => tracing::info!("Mercado Pago's API answers again"),
        _ => {}
    }
    result
}

/// Exponential, with full jitter, so that those who failed together do not come back together; and never sooner than the
/// API asks for. Nothing if it asks for more than a call may wait.
fn pause(tried: u32, error: &ApiError) -> Option<Duration> {
    let jitter = up_to(limits::API_PAUSE * 2_u32.saturating_pow(tried - 1));
    match error {
        ApiError::Limited {
            retry_after: Some(wait),
            ..
        } => (*wait <= limits::API_RETRY_AFTER).then_some(*wait + jitter),
        _ => Some(jitter),
    }
}

/// A random time. Without randomness all of it: waiting too long does no harm.
fn up_to(most: Duration) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
    let mut random = [0; 8];
    match SystemRandom::new().fill(&mut random) {
        Ok(()) => Duration::from_millis(u64::from_le_bytes(random) % (millis + 1)),
        Err(_) => most,
    }
}

#[cfg(test)]
mod tests;
