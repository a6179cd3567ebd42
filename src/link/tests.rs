//! One link as time and answers come: when it is due, and what its account has.

use std::time::Duration;

use tokio::time::Instant;

use super::store::Consent;
use super::tended::Tended;
use super::*;
use crate::clock::Now;
use crate::config::Secret;

fn secret(text: &str) -> Secret {
    Secret::parse(text).unwrap()
}

fn link(refresh: &str) -> OAuth {
    OAuth {
        client_id: None,
        owner_id: None,
        client_secret: secret("client"),
        refresh_token: secret(refresh),
    }
}

fn start() -> Now {
    Clock::default().now()
}

fn after(now: Now, seconds: u64) -> Now {
    Now {
        at: now.at.plus_seconds(seconds),
        instant: now.instant + Duration::from_secs(seconds),
    }
}

/// Of the consent, made now, with a life of so many seconds.
fn stored(consent: &str, now: Now, life: u64) -> Stored {
    Stored {
        consent: Consent::of(&secret(consent)),
        access_token: secret("APP"),
        refresh_token: secret("TG-newest"),
        user_id: Some(7),
        refreshed_at: now.at,
        expires_at: now.at.plus_seconds(life),
    }
}

/// In how many seconds it is due.
fn due(tended: &Tended, now: Now) -> u64 {
    tended
        .due(now)
        .saturating_duration_since(Instant::from_std(now.instant))
        .as_secs()
}

#[test]
fn what_is_stored_is_used_until_a_tenth_is_left() {
    let now = start();
    let tended = Tended::new(link("TG-1"), 7, Some(stored("TG-1", now, 1_000)), now, 0);
    assert_eq!(tended.token(now.at).map(Secret::expose), Ok("APP"));
    assert_eq!(due(&tended, now), 900);
    assert_eq!(due(&tended, after(now, 2_000)), 0);
    assert_eq!(
        tended.token(after(now, 2_000).at).map(Secret::expose),
        Err(Link::Awaited)
    );
}

#[test]
fn another_consent_wins_over_what_is_stored() {
    let now = start();
    let tended = Tended::new(link("TG-2"), 7, Some(stored("TG-1", now, 1_000)), now, 0);
    assert_eq!(tended.token(now.at).map(Secret::expose), Err(Link::Awaited));
    assert!(tended.stored.is_none() && due(&tended, now) == 0);
}

#[test]
fn a_link_of_another_seller_is_not_used() {
    let now = start();
    let mut tended = Tended::new(link("TG-1"), 8, Some(stored("TG-1", now, 1_000)), now, 0);
    let says = "the consent is of the seller 7, not of collector_id 8";
    assert_eq!(tended.token(now.at).map(Secret::expose), Err(Link::Cut(says.into())));
    tended.renew(link("TG-1"), 7, now);
    assert_eq!(tended.token(now.at).map(Secret::expose), Ok("APP"));
}

#[test]
fn a_refusal_cuts_until_it_is_refreshed_or_read_anew() {
    let now = start();
    let mut tended = Tended::new(link("TG-1"), 7, Some(stored("TG-1", now, 1_000)), now, 0);
    tended.refused("400 invalid_grant", now);
    assert_eq!(
        tended.token(now.at).map(Secret::expose),
        Err(Link::Cut("400 invalid_grant".into()))
    );
    assert_eq!(due(&tended, now), 3_600);
    // What fails meanwhile does not make it whole, nor hurry it.
    tended.failed(None, now, 0);
    assert!(tended.is_cut() && due(&tended, now) < 3_600);
    tended.refused("400 invalid_grant", now);
    tended.renew(link("TG-1"), 7, now);
    assert_eq!(due(&tended, now), 0);
    tended.refreshed(stored("TG-1", now, 1_000), 0);
    assert_eq!(tended.token(now.at).map(Secret::expose), Ok("APP"));
    assert_eq!(due(&tended, now), 900);
}

#[test]
fn silence_is_met_with_ever_longer_pauses_shorter_without_a_token() {
    let now = start();
    for (known, most) in [(None, 60), (Some(stored("TG-1", now, 1_000_000)), 3_600)] {
        let mut tended = Tended::new(link("TG-1"), 7, known, now, 0);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            tended.failed(None, now, 1_000);
            pauses.push(due(&tended, now));
        }
        assert!(pauses.is_sorted() && pauses[0] <= 1, "{pauses:?}");
        assert!((most - 1..=most).contains(&pauses[39]), "{pauses:?}");
        tended.failed(Some(Duration::from_secs(5_000)), now, 0);
        assert_eq!(due(&tended, now), 5_000);
    }
}

#[test]
fn doubts_are_looked_into_at_once_and_then_not_for_a_while() {
    let now = start();
    let mut tended = Tended::new(link("TG-1"), 7, Some(stored("TG-1", now, 100_000)), now, 0);
    tended.doubt();
    assert_eq!(due(&tended, now), 0);
    tended.begin(now);
    tended.refreshed(stored("TG-1", now, 100_000), 0);
    assert_eq!(due(&tended, now), 90_000);
    let later = after(now, 100);
    tended.doubt();
    assert_eq!(due(&tended, later), 500);
    assert_eq!(due(&tended, after(now, 601)), 0);
}

/// Of one account with a link, and an API that nobody answers at.
fn keeper(folder: &Path) -> (Keeper, AccountId) {
    let accounts = Arc::new(Accounts::new(&[]));
    let base = crate::mercadopago::tests::server::base("http://127.0.0.1:1");
    let parts = Parts {
        data: folder,
        accounts: accounts.clone(),
        client: Client::new(&base),
        clock: Clock::default(),
        bell: Bell::new(accounts),
    };
    let (keeper, _) = Keeper::new(parts, vec![known()]);
    (keeper, known().account)
}

fn known() -> Known {
    Known {
        account: AccountId::parse("main").unwrap(),
        collector_id: 7,
        link: link("TG-1"),
        stored: None,
    }
}

#[tokio::test]
async fn a_refresh_that_panics_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut keeper, account) = keeper(folder.path());
    let now = keeper.clock.now();
    let tended = keeper.links.get_mut(&account).expect("it is configured");
    tended.begin(now);
    tended.unwritten = Some(stored("TG-1", now, 1_000));
    let job = keeper.jobs.spawn(async { panic!("on purpose") });
    keeper.begun.insert(job.id(), account.clone());
    let ended = keeper.jobs.join_next_with_id().await.expect("a job");
    keeper.end(ended);
    let tended = &keeper.links[&account];
    assert!(!tended.is_busy && due(tended, keeper.clock.now()) <= 1);
    assert!(tended.unwritten.is_some(), "what came is written the next time");
}

/// Two at once would use the same refresh token, and write the same file.
#[tokio::test]
async fn an_account_that_comes_back_while_its_refresh_is_under_way_waits_for_that() {
    let folder = tempfile::tempdir().unwrap();
    let (mut keeper, account) = keeper(folder.path());
    let now = keeper.clock.now();
    keeper.links.get_mut(&account).expect("it is configured").begin(now);
    let job = keeper.jobs.spawn(async { panic!("on purpose") });
    keeper.begun.insert(job.id(), account.clone());
    keeper.take(Vec::new());
    keeper.take(vec![known()]);
    assert!(keeper.links[&account].is_busy);
    let ended = keeper.jobs.join_next_with_id().await.expect("a job");
    keeper.end(ended);
    assert!(!keeper.links[&account].is_busy);
}
