//! What the simulated Mercado Pago tells of itself: its polls, its notifications and the calls it answers become lines of
//! the protocol, and the telephones show what it shows. Before anybody looks, the machines are made known to it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::lines::{Channel, Line};
use super::machine::{Kind, PLACE, Phase};
use super::phone;
use super::show::{Show, Spoilt, Stage};
use crate::client::{Error, Place, Session};
use crate::sandbox::json::Json;
use crate::sandbox::{Chance, Event, Faults, Refused, Sandbox, TEST_TOKEN};

/// More than a cancel waits for its answer.
const SLOW: Duration = Duration::from_secs(6);

/// Makes the store and its points of sale, as `surtidor pos provision` does it at the real one. Gives the last event of
/// that: what comes after it belongs to the show.
pub async fn furnish(sandbox: &Sandbox, seller: u64) -> io::Result<u64> {
    make(sandbox, seller).await.map_err(io::Error::other)?;
    let events = sandbox.events(0).await.map_err(io::Error::other)?;
    Ok(events.last().map_or(0, |event| event.seq))
}

async fn make(sandbox: &Sandbox, seller: u64) -> Result<(), Error> {
    let place = Place::tcp(&sandbox.base_url(), TEST_TOKEN, None)?;
    let mut session = Session::open(Arc::new(place)).await?;
    let mut post = async |target: &str, body: Value| {
        let body = body.to_string().into_bytes();
        session.call(Method::POST, target, body).await.map(drop)
    };
    let location = json!({ "street_number": "1234", "street_name": "Av. Corrientes", "city_name": "Capital Federal",
        "state_name": "Capital Federal", "latitude": -34, "longitude": -58 });
    let store = json!({ "name": "Estación", "external_id": PLACE, "location": location });
    post(&format!("/users/{seller}/stores"), store).await?;
    for kind in Kind::ALL {
        let pos =
            json!({ "name": kind.name(), "external_id": kind.pos(), "external_store_id": PLACE, "fixed_amount": true });
        post("/pos", pos).await?;
    }
    Ok(())
}

/// From after this event until the sandbox ends.
pub async fn follow(show: Rc<Show>, sandbox: Rc<Sandbox>, mut after: u64) {
    while let Ok(events) = sandbox.next_events(after).await {
        after = events.last().map_or(after, |event| event.seq);
        let now = show.now();
        let lines: Vec<Line> = events.iter().filter_map(|event| line_of(now, event)).collect();
        if !lines.is_empty() {
            show.change(|stage| lines.into_iter().for_each(|line| stage.lines.push(line)));
        }
        if phone::refresh(&show, &sandbox).await.is_err() {
            return;
        }
    }
}

fn line_of(now: i64, event: &Event) -> Option<Line> {
    let facts = &event.facts;
    let text = |name: &str| facts.get(name).text().map(str::to_owned);
    let status = || {
        facts
            .get("status")
            .integer()
            .and_then(|status| u16::try_from(status).ok())
    };
    let answered = || status().filter(|status| *status != 0);
    // What was asked comes before what followed from it, even if its answer came later.
    let begun = facts.get("begun").integer().and_then(|at| i64::try_from(at).ok());
    let at = begun.unwrap_or(now);
    let line = |channel, what: String| Line {
        sent: text("sent").filter(|sent| !sent.is_empty()),
        answer: text("answer"),
        machine: machine_of(facts),
        ..Line::new(channel, at, what)
    };
    Some(match event.kind {
        "poll" => Line {
            status: answered(),
            note: text("said").map(|said| if answered().is_some() { said } else { "no answer".into() }),
            ..line(Channel::Poll, format!("GET {}", path_of(&text("url")?)))
        },
        "call" => {
            let method = facts.get("call").text()?.split(' ').next()?;
            Line {
                status: answered(),
                ..line(Channel::Api, format!("{method} {}", text("target")?))
            }
        }
        "notification" => {
            let answer = text("answer").unwrap_or_default();
            let status = answer.parse().ok();
            Line {
                status,
                note: text("topic").map(|topic| {
                    if status.is_some() {
                        topic
                    } else {
                        "no answer: it is sent again".into()
                    }
                }),
                answer: None,
                ..line(Channel::Notification, format!("POST {}", path_of(&text("url")?)))
            }
        }
        "notification_lost" => Line {
            note: Some("lost on the way".into()),
            ..line(Channel::Notification, format!("POST {}", path_of(&text("url")?)))
        },
        _ => return None,
    })
}

/// Which machine it is about, where the URL tells.
fn machine_of(facts: &Json) -> Option<Kind> {
    let url = facts.get("url").text().or_else(|| facts.get("target").text())?;
    let position = |kind: &Kind| url.ends_with(&format!("positionId={}", kind.position()));
    let reference = || url.split(['=', '/']).find_map(Kind::of_reference);
    Kind::ALL.into_iter().find(position).or_else(reference)
}

/// The URL without its scheme and host, which are always the same here.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or(rest, |at| &rest[at..])
}

/// Changes what goes wrong from now on.
pub async fn spoil(show: &Show, sandbox: &Sandbox, change: impl FnOnce(&mut Spoilt)) -> Result<(), Refused> {
    let mut spoilt = show.look(|stage| stage.spoilt);
    change(&mut spoilt);
    let faults = Faults {
        lose: if spoilt.loses {
            Chance::one_in(1)
        } else {
            Chance::default()
        },
        slow: if spoilt.slow { SLOW } else { Duration::ZERO },
        ..Faults::default()
    };
    sandbox.set_faults(faults).await?;
    show.change(|stage| stage.spoilt = spoilt);
    Ok(())
}

/// They are lost for one order: once one is paid all the same, they arrive again.
pub async fn mend(show: Rc<Show>, sandbox: Rc<Sandbox>) {
    let mut changes: watch::Receiver<u64> = show.changes();
    let mut before = released(&show);
    while changes.changed().await.is_ok() {
        let now = released(&show);
        let one_more = now.iter().zip(before).any(|(now, before)| *now && !before);
        before = now;
        if one_more
            && show.look(|stage| stage.spoilt.loses)
            && spoil(&show, &sandbox, |spoilt| spoilt.loses = false).await.is_err()
        {
            return;
        }
    }
}

fn released(show: &Show) -> [bool; 2] {
    let is = |stage: &Stage, kind: Kind| stage.stands[kind as usize].machine.phase == Phase::Releasing;
    show.look(|stage| Kind::ALL.map(|kind| is(stage, kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::json::object;

    #[test]
    fn what_happens_at_mercado_pago_becomes_lines() {
        let event = |kind, facts| Event {
            seq: 1,
            at: 2,
            kind,
            facts,
        };
        let url = "http://127.0.0.1:1/pay-mp?locationId=6232&positionId=4";
        let poll = object([
            ("url", url.into()),
            ("status", 400u64.into()),
            ("said", "in_process".into()),
            ("answer", "{}".into()),
            ("begun", 5u64.into()),
        ]);
        let line = line_of(7, &event("poll", poll)).expect("a line");
        assert_eq!(line.what, "GET /pay-mp?locationId=6232&positionId=4");
        assert_eq!((line.status, line.machine, line.at), (Some(400), Some(Kind::Pump), 5));
        assert_eq!(line.note.as_deref(), Some("in_process"));
        let poll = object([("url", url.into()), ("status", 0u64.into()), ("said", "refused".into())]);
        let line = line_of(7, &event("poll", poll)).expect("a line");
        assert_eq!((line.status, line.note.as_deref()), (None, Some("no answer")));
        let sent = object([
            ("topic", "payment".into()),
            (
                "url",
                "http://h/notifications/demo?r=VEND1-0001&t=x&topic=payment&id=3".into(),
            ),
            ("answer", "200".into()),
        ]);
        let line = line_of(7, &event("notification", sent)).expect("a line");
        assert_eq!((line.status, line.machine), (Some(200), Some(Kind::Vending)));
        assert!(line_of(7, &event("scanned", Json::Null)).is_none());
    }
}
