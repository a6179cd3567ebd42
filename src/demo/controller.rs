//! What drives the machines: their calls on the control socket, one after the other and repeated until they are answered,
//! their leases, and the feed that tells them what became of an order. The control socket is all they know.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::lines::{Channel, Line};
use super::machine::{Call, Job, Kind, Phase};
use super::show::Show;
use crate::client::sse::{Events, Sent};
use crate::client::{Answer, Error, Place, Session};
use crate::limits;

/// How often a lease of thirty seconds is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The pump's counter.
const TICK: Duration = Duration::from_millis(100);
/// What a machine needs to get something out, and a pump to say thanks.
const OUT: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(1_800)];

pub fn place(socket: &Path) -> Arc<Place> {
    Arc::new(Place::Socket(socket.to_owned()))
}

/// Does a machine's jobs in their order. It ends with the demo.
pub async fn work(show: Rc<Show>, kind: Kind, place: Arc<Place>, mut jobs: mpsc::Receiver<Job>) {
    let mut session = None;
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Call(call) => perform(&show, kind, &place, &mut session, call).await,
            Job::Move => {
                sleep(OUT[kind as usize]).await;
                follow_up(&show, kind, |machine| machine.moved());
            }
        }
    }
}

/// What follows by itself is never refused; only a server that is away for very long can be told too much.
fn follow_up(show: &Show, kind: Kind, work: impl FnOnce(&mut super::machine::Machine) -> Vec<Job>) {
    if let Err(busy) = show.machine(kind, |machine| Ok(work(machine))) {
        tracing::warn!(%busy, "a machine's calls were dropped");
    }
}

/// Makes a call until it is answered: the same again, with the same reference, so nothing is done twice.
async fn perform(show: &Show, kind: Kind, place: &Arc<Place>, session: &mut Option<Session>, call: Call) {
    loop {
        let begun = show.now();
        let answer = ask(place, session, &call).await;
        show.tell(line_of(begun, kind, &call, &answer));
        match answer {
            Ok(answer) => {
                return show.change(|stage| stage.stand(kind).machine.answered(&call.what, Ok(&answer.text)));
            }
            Err(error) if error.passes() => {
                *session = None;
                sleep(limits::DEMO_AGAIN).await;
            }
            Err(error) => {
                let why = error.to_string();
                return show.change(|stage| stage.stand(kind).machine.answered(&call.what, Err(&why)));
            }
        }
    }
}

async fn ask(place: &Arc<Place>, session: &mut Option<Session>, call: &Call) -> Result<Answer, Error> {
    if session.is_none() {
        *session = Some(Session::open(place.clone()).await?);
    }
    let session = session.as_mut().expect("it was opened just now, or before");
    let body = call.body.clone().unwrap_or_default().into_bytes();
    session.call(call.method.clone(), &call.target, body).await
}

fn line_of(at: i64, kind: Kind, call: &Call, answer: &Result<Answer, Error>) -> Line {
    let (status, note, text) = match answer {
        Ok(answer) => (Some(answer.status), None, Some(answer.text.clone())),
        Err(Error::Refused(problem)) => (
            Some(problem.status),
            Some(problem.code.clone()),
            Some(problem.text.clone()),
        ),
        Err(_) => (None, Some("no answer: it is asked again".to_owned()), None),
    };
    Line {
        machine: Some(kind),
        status,
        note,
        sent: call.body.clone(),
        answer: text.filter(|text| !text.is_empty()),
        ..Line::new(Channel::Control, at, format!("{} {}", call.method, call.target))
    }
}

/// Registers the machine, then says again and again that it lives.
pub async fn live(show: Rc<Show>, kind: Kind) {
    follow_up(&show, kind, |machine| machine.register());
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and comes with the registration.
    beat.tick().await;
    loop {
        beat.tick().await;
        // One that finds the queue full is left out: the next one says the same.
        let _ = show.machine(kind, |machine| Ok(vec![machine.lease()]));
    }
}

/// The pump's counter runs.
pub async fn count(show: Rc<Show>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // Nobody is told of a moment in which nothing flows.
        if show.look(|stage| stage.stands[Kind::Pump as usize].machine.phase == Phase::Filling) {
            show.change(|stage| stage.stand(Kind::Pump).machine.tick());
        }
    }
}

/// Follows the feed, from its beginning and over every death of the server: from the last event on, so none is missed.
pub async fn follow(show: Rc<Show>, place: Arc<Place>) {
    let mut after = "0".to_owned();
    loop {
        let opened = async {
            let session = Session::open(place.clone()).await?;
            session.stream(&format!("/v1/events?after={after}")).await
        };
        if let Ok(feed) = opened.await {
            read(&show, feed, &mut after).await;
        }
        sleep(limits::DEMO_AGAIN).await;
    }
}

async fn read(show: &Show, mut feed: Incoming, after: &mut String) {
    let mut events = Events::default();
    while let Ok(Some(Ok(frame))) = timeout(limits::WATCH_SILENCE, feed.frame()).await {
        let Some(piece) = frame.data_ref() else { continue };
        let Ok(sent) = events.take(piece) else { return };
        for Sent { id, data } in sent {
            hear(show, &data);
            *after = id.unwrap_or_else(|| std::mem::take(after));
        }
    }
}

fn hear(show: &Show, data: &str) {
    let Ok(event) = serde_json::from_str::<Value>(data) else {
        return;
    };
    let kind = event["pos"].as_str().and_then(Kind::of_pos);
    let name = event["type"].as_str().unwrap_or("event");
    let note = event["external_reference"].as_str().or(event["state"].as_str());
    show.tell(Line {
        machine: kind,
        note: note.map(str::to_owned),
        answer: Some(data.to_owned()),
        ..Line::new(Channel::Event, show.now(), name)
    });
    if let Some(kind) = kind {
        follow_up(show, kind, |machine| machine.heard(&event));
    }
}
