//! `surtidor watch`: the live feed. It resumes where it was after the connection broke, so nothing is missed.

use std::sync::Arc;

use clap::Args;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::screen::{Cell, Table, Tint};
use super::wire::Event;
use super::{Environment, Failure, Options, Screen};
use crate::client::sse::{Events, Garbled, Sent};
use crate::client::{self, Place, Session, parse};
use crate::domain::id::PosId;
use crate::limits::{WATCH_PAUSE, WATCH_SILENCE, WATCH_TRIES};

/// Shows what happens, as it happens
///
/// Every event is a line: its number, its time, the point of sale, its type, and what it says. When the server is
/// restarted, watch waits for it and goes on with the next event.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor watch
  surtidor watch --pos PUMP4 --after 0
  surtidor watch --json | jq -c 'select(.type == \"order_paid\")'")]
pub struct WatchArgs {
    /// Only the events of this point of sale
    #[arg(long, value_parser = PosId::parse)]
    pos: Option<PosId>,
    /// Begin after the event of this number; 0 is the oldest kept [default: from now on]
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    #[command(flatten)]
    options: Options,
}

#[derive(Deserialize)]
struct Now {
    next: u64,
}

/// The feed from `after` on.
struct Watch<'a, 's> {
    /// The query's part that names the point of sale.
    pos: String,
    after: String,
    json: bool,
    table: Table,
    screen: &'a mut Screen<'s>,
}

pub fn run(args: WatchArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let WatchArgs { pos, after, options } = args;
    let pos = pos.map(|pos| format!("&pos={pos}")).unwrap_or_default();
    options.ask(env, async |mut session| {
        let gone = screen.reader_gone();
        let after = match after {
            Some(after) => after,
            // From a number on rather than from now on, so that a connection that breaks at once misses nothing.
            None => session.get::<Now>(&format!("/v1/events?wait=0{pos}")).await?.next,
        };
        let table = Table::with_widths(&[6, 24, 8, 15]);
        let watch = Watch {
            pos,
            after: after.to_string(),
            json: options.json,
            table,
            screen,
        };
        tokio::select! {
            ended = watch.follow(session) => ended,
            // `watch | head` ends with the head, not with the event after it.
            () = gone => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
        }
    })
}

impl Watch<'_, '_> {
    /// Follows the feed until it is refused, or the server stays away.
    async fn follow(mut self, session: Session) -> Result<(), Failure> {
        let place = session.place();
        let mut feed = self.open(session).await?;
        loop {
            let after = self.after.clone();
            self.show(feed).await?;
            // A server that closes every feed at once must not be asked in a circle.
            if self.after == after {
                sleep(WATCH_PAUSE).await;
            }
            feed = self.again(&place).await?;
        }
    }

    async fn open(&self, session: Session) -> Result<Incoming, client::Error> {
        session
            .stream(&format!("/v1/events?after={}{}", self.after, self.pos))
            .await
    }

    /// Looks for the server again, until it is back or was away for too long.
    async fn again(&self, place: &Arc<Place>) -> Result<Incoming, client::Error> {
        let mut tries = 0;
        loop {
            let opened = match Session::open(place.clone()).await {
                Ok(session) => self.open(session).await,
                Err(error) => Err(error),
            };
            match opened {
                Err(error) if error.passes() && tries < WATCH_TRIES => sleep(WATCH_PAUSE).await,
                opened => return opened,
            }
            tries += 1;
        }
    }

    /// Shows what comes, until the connection ends or falls silent.
    async fn show(&mut self, mut feed: Incoming) -> Result<(), Failure> {
        let mut events = Events::default();
        while let Ok(Some(Ok(frame))) = timeout(WATCH_SILENCE, feed.frame()).await {
            let Some(piece) = frame.data_ref() else { continue };
            for event in events.take(piece).map_err(|Garbled| garbled())? {
                self.event(event)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, Sent { id, data }: Sent) -> Result<(), Failure> {
        if self.json {
            self.screen.json(&data)?;
        } else {
            self.table.rows(self.screen, vec![row_of(parse(&data)?)])?;
        }
        self.after = id.unwrap_or_else(|| std::mem::take(&mut self.after));
        Ok(())
    }
}

fn garbled() -> Failure {
    Failure::Unreachable {
        server: "the server".into(),
        why: "sent an event that is none".into(),
    }
}

fn row_of(mut event: Event) -> Vec<Cell> {
    let [seq, at, pos, kind] = ["seq", "at", "pos", "type"].map(|name| event.take(name));
    let [reference, amount, currency] = ["external_reference", "amount", "currency_id"].map(|name| event.take(name));
    // The revision is between the server and its log; metadata is for programs, and a code's text for screens.
    let _ = ["rev", "metadata", "qr_data"].map(|name| event.take(name));
    let money = if currency.is_empty() {
        amount
    } else {
        format!("{amount} {currency}")
    };
    let mut said = vec![reference, money];
    said.extend(event.rest());
    said.retain(|text| !text.is_empty());
    let tint = Tint::of(&kind);
    vec![
        Cell::tinted(&seq, Tint::Dim),
        Cell::tinted(&at, Tint::Dim),
        pos.into(),
        Cell::tinted(&kind, tint),
        Cell::tinted(&said.join(" "), tint),
    ]
}
