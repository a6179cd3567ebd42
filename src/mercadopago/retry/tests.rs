//! In paused time and without a network: when a call is tried again, and when the API is left alone.

use std::cell::Cell;

use metrics::Gauge;
use tokio::time::advance;

use super::*;
use crate::mercadopago::error::Complaint;

fn status(status: u16) -> ApiError {
    ApiError::of(Complaint::read(status, b"", &[]), None)
}

fn limited(seconds: u64) -> ApiError {
    ApiError::of(Complaint::read(429, b"", &[]), Some(Duration::from_secs(seconds)))
}

fn cut() -> ApiError {
    Broken::Cut("reset".into()).into()
}

fn circuit() -> Circuit {
    Circuit::new(Gauge::noop())
}

fn end() -> Instant {
    Instant::now() + limits::API_CALL_TIME
}

/// Fails always in this way; how often it was tried, how long it took, and how it ended.
async fn failing(again: bool, error: ApiError) -> (u32, Duration, ApiError) {
    let (circuit, tried, begun) = (circuit(), Cell::new(0), Instant::now());
    let result = tries((&circuit, Haste::Patient), end(), again, async || {
        tried.set(tried.get() + 1);
        Err::<(), _>(error.clone())
    });
    let error = result.await.expect_err("it fails always");
    (tried.get(), begun.elapsed(), error)
}

#[tokio::test(start_paused = true)]
async fn only_what_may_pass_at_once_is_tried_again() {
    for (error, tried) in [
        (status(500), 3),
        (status(502), 3),
        (status(503), 3),
        (status(504), 3),
        (status(501), 1),
        (status(429), 3),
        (cut(), 3),
        (Broken::Connect("refused".into()).into(), 3),
        (status(400), 1),
        (status(401), 1),
        (status(404), 1),
        (status(409), 1),
        (status(302), 1),
        (ApiError::nonsense("x"), 1),
    ] {
        let (times, _, ended) = failing(true, error.clone()).await;
        assert_eq!((times, &ended), (tried, &error), "{error}");
        let (times, took, _) = failing(false, error.clone()).await;
        assert_eq!((times, took), (1, Duration::ZERO), "{error}: it must not be made twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_ends_well_is_the_last() {
    let (circuit, tried) = (circuit(), Cell::new(0));
    let result = tries((&circuit, Haste::Patient), end(), true, async || {
        tried.set(tried.get() + 1);
        if tried.get() < 3 { Err(cut()) } else { Ok("well") }
    });
    assert_eq!((result.await, tried.get()), (Ok("well"), 3));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_are_random() {
    let mut took = Vec::new();
    for _ in 0..50 {
        took.push(failing(true, status(500)).await.1);
    }
    let most = limits::API_PAUSE * 3;
    // Timers are rounded up to a millisecond.
    assert!(
        took.iter().all(|took| *took <= most + Duration::from_millis(2)),
        "{took:?}"
    );
    assert!(took.iter().any(|took| *took > limits::API_PAUSE / 2));
    took.dedup();
    assert!(took.len() > 10, "they come back apart");
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_it_is_told() {
    let (tried, took, _) = failing(true, limited(7)).await;
    assert!(
        tried == 3 && took >= Duration::from_secs(14),
        "{tried} tries in {took:?}"
    );
    assert!(took <= Duration::from_secs(16), "{took:?}");
    let (tried, took, error) = failing(true, limited(60)).await;
    assert_eq!(
        (tried, took),
        (1, Duration::ZERO),
        "who asked is told, and comes back by itself"
    );
    assert!(matches!(error, ApiError::Limited { retry_after: Some(wait), .. } if wait == Duration::from_secs(60)));
    let (_, _, error) = failing(true, limited(u64::MAX)).await;
    assert!(matches!(error, ApiError::Limited { retry_after: Some(wait), .. } if wait == limits::API_PATIENCE));
}

#[tokio::test(start_paused = true)]
async fn a_try_and_a_call_have_their_time() {
    let silent = async |again| {
        let (circuit, tried, begun) = (circuit(), Cell::new(0), Instant::now());
        let result = tries((&circuit, Haste::Patient), end(), again, async || {
            tried.set(tried.get() + 1);
            std::future::pending::<Result<(), _>>().await
        });
        let result = result.await;
        (tried.get(), begun.elapsed(), result)
    };
    let late = Err(ApiError::Broken(Broken::Late));
    let near = |took: Duration, limit: Duration| took >= limit && took <= limit + Duration::from_millis(2);
    let (tried, took, result) = silent(false).await;
    assert!(
        tried == 1 && result == late && near(took, limits::API_TRY_TIME),
        "{took:?}"
    );
    let (tried, took, result) = silent(true).await;
    assert!(
        tried == 3 && result == late && near(took, limits::API_CALL_TIME),
        "{tried} tries in {took:?}"
    );
}

/// One request through the circuit, which ends so; whether it was let through.
async fn one(circuit: &Circuit, result: Result<(), ApiError>) -> bool {
    let sent = Cell::new(false);
    let ended = tries((circuit, Haste::Patient), end(), false, async || {
        sent.set(true);
        result.clone()
    });
    let ended = ended.await;
    assert_eq!(
        ended,
        if sent.get() {
            result.clone()
        } else {
            Err(ApiError::Resting)
        }
    );
    sent.get()
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_the_circuit() {
    let circuit = circuit();
    for _ in 0..4 {
        assert!(one(&circuit, Err(status(503))).await);
    }
    assert!(
        one(&circuit, Err(status(404))).await,
        "an answer that says no is an answer"
    );
    for error in [cut(), Broken::Late.into(), status(500)] {
        assert!(one(&circuit, Err(error)).await);
    }
    assert!(one(&circuit, Err(status(429))).await, "neither good nor bad");
    assert!(one(&circuit, Err(status(501))).await);
    assert!(!circuit.is_shut(Haste::Patient), "four in a row");
    assert!(one(&circuit, Err(cut())).await);
    assert!(
        circuit.is_shut(Haste::Patient) && !one(&circuit, Ok(())).await,
        "five in a row"
    );
    advance(limits::API_REST - Duration::from_millis(1)).await;
    assert!(!one(&circuit, Ok(())).await);
    advance(Duration::from_millis(1)).await;
    assert!(one(&circuit, Err(status(429))).await, "a probe, which says nothing");
    assert!(!one(&circuit, Ok(())).await);
    advance(limits::API_REST).await;
    assert!(one(&circuit, Err(cut())).await, "a probe, which fails");
    assert!(!one(&circuit, Ok(())).await);
    advance(limits::API_REST).await;
    assert!(
        one(&circuit, Ok(())).await && !circuit.is_shut(Haste::Patient),
        "a probe ends it"
    );
    for _ in 0..4 {
        assert!(one(&circuit, Err(cut())).await, "and all is forgotten");
    }
}

async fn opened() -> Circuit {
    let circuit = circuit();
    for _ in 0..limits::API_FAILURES {
        assert!(one(&circuit, Err(cut())).await);
    }
    advance(limits::API_REST).await;
    circuit
}

#[tokio::test(start_paused = true)]
async fn probes_go_one_after_the_other_and_none_waits_for_one_that_hangs() {
    let circuit = opened().await;
    let slow = circuit.enter(Haste::Patient).expect("the probe");
    assert!(circuit.enter(Haste::Patient).is_none(), "one at a time");
    advance(limits::API_REST).await;
    let probe = circuit.enter(Haste::Patient).expect("the next probe");
    assert!(circuit.enter(Haste::Patient).is_none());
    assert_eq!(probe.end(Health::Good), Some(Turn::Well));
    assert_eq!(slow.end(Health::Bad), None);
    assert!(circuit.enter(Haste::Patient).is_some() && !circuit.is_shut(Haste::Patient));
}

#[tokio::test(start_paused = true)]
async fn failures_of_some_say_nothing_while_others_are_answered() {
    let circuit = circuit();
    let slow: Vec<_> = (0..500).map(|_| circuit.enter(Haste::Patient).expect("well")).collect();
    assert!(one(&circuit, Ok(())).await);
    for pass in slow {
        assert_eq!(pass.end(Health::Bad), None);
    }
    assert!(
        !circuit.is_shut(Haste::Patient),
        "one was answered while they were under way"
    );
    let alone: Vec<_> = (0..500).map(|_| circuit.enter(Haste::Patient).expect("well")).collect();
    for pass in alone {
        pass.end(Health::Bad);
    }
    assert!(circuit.is_shut(Haste::Patient), "nobody was");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_waits_for_is_asked_once_though_the_api_rests() {
    let circuit = circuit();
    for _ in 0..limits::API_FAILURES {
        assert!(one(&circuit, Err(cut())).await);
    }
    let tried = Cell::new(0);
    let pressing = async |result: Result<(), ApiError>| {
        let attempt = async || {
            tried.set(tried.get() + 1);
            result.clone()
        };
        tries((&circuit, Haste::Pressing), end(), true, attempt).await
    };
    assert_eq!((pressing(Err(cut())).await, tried.get()), (Err(cut()), 1));
    assert!(circuit.is_shut(Haste::Patient));
    assert_eq!((pressing(Ok(())).await, tried.get()), (Ok(()), 2));
    assert!(!circuit.is_shut(Haste::Patient), "it answers again");
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_says_little_when_the_api_rests() {
    let circuit = circuit();
    let (early, late) = (
        circuit.enter(Haste::Patient).expect("well"),
        circuit.enter(Haste::Patient).expect("well"),
    );
    for _ in 0..limits::API_FAILURES {
        assert!(one(&circuit, Err(cut())).await);
    }
    advance(limits::API_REST / 2).await;
    assert_eq!(early.end(Health::Bad), None);
    advance(limits::API_REST / 2).await;
    let probe = circuit
        .enter(Haste::Patient)
        .expect("a late failure does not put the probe off");
    assert_eq!(late.end(Health::Good), Some(Turn::Well));
    assert!(!circuit.is_shut(Haste::Patient), "a late success is one");
    assert_eq!(probe.end(Health::Bad), None);
    assert!(!circuit.is_shut(Haste::Patient), "it began before that");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_the_circuit_open_says_what_it_met_itself() {
    let circuit = circuit();
    for _ in 0..3 {
        assert!(one(&circuit, Err(cut())).await);
    }
    let result = tries((&circuit, Haste::Patient), end(), true, async || {
        Err::<(), _>(status(500))
    })
    .await;
    assert_eq!(
        result,
        Err(status(500)),
        "the second of its tries was the fifth failure"
    );
    assert!(circuit.is_shut(Haste::Patient));
}
