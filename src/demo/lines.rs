//! The protocol as it happened, a line for each thing that was said: what an integrator came to see. The newest are kept.

use std::collections::VecDeque;
use std::fmt;

use serde::Serialize;

use super::machine::Kind;
use crate::limits;

/// Who speaks, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Mercado Pago asks for what is to be paid.
    Poll,
    /// Mercado Pago says that something happened.
    Notification,
    /// The server asks Mercado Pago's API.
    Api,
    /// A machine calls the control socket.
    Control,
    /// The server tells the machines.
    Event,
    /// The server's process itself.
    Server,
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub channel: Channel,
    /// When it was asked, in milliseconds since 1970. Its answer may have come after other lines.
    pub at: i64,
    pub machine: Option<Kind>,
    /// A request's method and target, or an event's type.
    pub what: String,
    /// The answer's; none if there was no answer, or if none is due.
    pub status: Option<u16>,
    /// A word or two of what was said.
    pub note: Option<String>,
    /// Bodies, as they were sent.
    pub sent: Option<String>,
    pub answer: Option<String>,
}

impl Line {
    pub fn new(channel: Channel, at: i64, what: impl Into<String>) -> Line {
        Line {
            channel,
            at,
            machine: None,
            what: what.into(),
            status: None,
            note: None,
            sent: None,
            answer: None,
        }
    }
}

/// For who reads it in a terminal: who speaks, what was said, and the answer.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speaks = match self.channel {
            Channel::Poll => "poll",
            Channel::Notification => "notification",
            Channel::Api => "api",
            Channel::Control => "control",
            Channel::Event => "event",
            Channel::Server => "server",
        };
        write!(f, "{speaks:12}  {}", self.what)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        self.note.iter().try_for_each(|note| write!(f, "  {note}"))
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Numbered {
    pub seq: u64,
    #[serde(flatten)]
    pub line: Line,
}

#[derive(Debug, Default)]
pub struct Lines {
    kept: VecDeque<Numbered>,
    newest: u64,
}

impl Lines {
    pub fn push(&mut self, mut line: Line) {
        [&mut line.sent, &mut line.answer]
            .into_iter()
            .flatten()
            .for_each(|text| text.truncate(text.floor_char_boundary(limits::DEMO_QUOTE)));
        if self.kept.len() == limits::DEMO_LINES {
            self.kept.pop_front();
        }
        self.newest += 1;
        self.kept.push_back(Numbered { seq: self.newest, line });
    }

    pub fn all(&self) -> impl Iterator<Item = &Line> {
        self.kept.iter().map(|numbered| &numbered.line)
    }

    /// The oldest of those after `seq` that are kept, at most so many as fit a chunk.
    pub fn after(&self, seq: u64) -> impl Iterator<Item = &Numbered> {
        let after = self.kept.iter().filter(move |line| line.seq > seq);
        after.take(limits::DEMO_CHUNK_LINES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_found_again() {
        let mut lines = Lines::default();
        for _ in 0..limits::DEMO_LINES + 3 {
            let mut line = Line::new(Channel::Poll, 1, "GET /");
            line.answer = Some("ñ".repeat(limits::DEMO_QUOTE));
            lines.push(line);
        }
        let first = lines.after(0).next().expect("one");
        assert_eq!(first.seq, 4);
        assert!(
            first
                .line
                .answer
                .as_ref()
                .is_some_and(|text| text.len() <= limits::DEMO_QUOTE)
        );
        let newest = limits::DEMO_LINES as u64 + 3;
        assert_eq!(lines.after(newest - 2).count(), 2);
        assert_eq!(lines.after(newest).count(), 0);
        assert_eq!(lines.after(0).count(), limits::DEMO_CHUNK_LINES);
    }
}
