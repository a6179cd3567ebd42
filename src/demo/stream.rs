//! The page's stream of server-sent events: the whole show whenever it changed, and each line of the protocol once. A page
//! that comes back says which line it had last.

use std::rc::Rc;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::show::Show;
use crate::limits;
use crate::net::body::Chunks;
use crate::net::stop::Stopping;

/// Goes on until the page leaves or the demo stops. `last` is what the page says it had: the `id` of a line of this run, or
/// of another one.
pub fn stream(show: Rc<Show>, last: Option<&str>, mut stopping: Stopping) -> Chunks {
    let of_this_run = last.and_then(|last| last.strip_prefix(&show.fixed.boot)?.strip_prefix('.'));
    let mut teller = Teller {
        changes: show.changes(),
        line: of_this_run.and_then(|seq| seq.parse().ok()).unwrap_or(0),
        show,
    };
    let (chunks, body) = mpsc::channel(limits::DEMO_CHUNKS);
    spawn_local(async move {
        let mut chunk = format!("retry: 500\n\n{}", teller.state());
        loop {
            // Who does not read is cut off by the connection's limit. Until then changes are told together.
            if chunks.send(chunk.into()).await.is_err() {
                return;
            }
            chunk = tokio::select! {
                next = teller.next() => next,
                () = chunks.closed() => return,
                () = stopping.wait() => return,
            };
        }
    });
    Chunks(body)
}

struct Teller {
    show: Rc<Show>,
    changes: watch::Receiver<u64>,
    /// The last that was told.
    line: u64,
}

impl Teller {
    /// What is new: at once if there is something.
    async fn next(&mut self) -> String {
        let lines = self.lines();
        if !lines.is_empty() {
            return lines;
        }
        match timeout(limits::HEARTBEAT, self.changes.changed()).await {
            Err(_) => ": still here\n\n".to_owned(),
            // The sender lives in `show`, so this is a change.
            Ok(_) => {
                self.changes.mark_unchanged();
                self.state() + &self.lines()
            }
        }
    }

    fn state(&self) -> String {
        format!("event: state\ndata: {}\n\n", self.show.snapshot())
    }

    fn lines(&mut self) -> String {
        let boot = &self.show.fixed.boot;
        let mut text = String::new();
        let mut last = self.line;
        self.show.look(|stage| {
            for line in stage.lines.after(self.line) {
                last = line.seq;
                let data = serde_json::to_string(line).expect("a struct of texts and numbers is JSON");
                text.push_str(&format!("id: {boot}.{last}\nevent: line\ndata: {data}\n\n"));
            }
        });
        self.line = last;
        text
    }
}
