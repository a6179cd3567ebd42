//! What a person or a script sees: aligned and coloured on a terminal, tab-separated and without heads in a pipe. What
//! the server sent is cleaned of control characters before it reaches a terminal.

use std::future::Future;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::{AsFd as _, OwnedFd};

use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tint {
    Plain,
    Good,
    Busy,
    Wait,
    Bad,
    Dim,
}

impl Tint {
    /// The tint of a state, a status or an event's type.
    pub fn of(word: &str) -> Tint {
        match word {
            "paid" | "order_paid" | "refund_done" => Tint::Good,
            "ready" | "shown" | "sending" | "scanned" | "order_ready" | "order_shown" | "order_sending"
            | "order_sent" => Tint::Busy,
            "in_process" | "canceled" | "replaced" | "order_canceling" | "order_canceled" | "order_replaced"
            | "payment_partial" | "late_payment" | "overpaid" | "refund_requested" => Tint::Wait,
            "timeout" | "expired" | "rejected" | "order_expired" | "order_rejected" | "delivery_overdue"
            | "payment_suspect" | "payment_reversed" | "refund_failed" => Tint::Bad,
            "unavailable" => Tint::Dim,
            _ => Tint::Plain,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Tint::Plain => "",
            Tint::Good => "\x1b[1;32m",
            Tint::Busy => "\x1b[36m",
            Tint::Wait => "\x1b[33m",
            Tint::Bad => "\x1b[31m",
            Tint::Dim => "\x1b[2m",
        }
    }
}

pub struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    pub fn tinted(text: &str, tint: Tint) -> Cell {
        let text = if text.is_empty() { "-".into() } else { clean(text) };
        Cell { text, tint }
    }

    pub fn word(text: &str) -> Cell {
        Cell::tinted(text, Tint::of(text))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::tinted(text, Tint::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::from(text.as_str())
    }
}

/// Text from elsewhere must not move the cursor, nor break a line or a column.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub struct Screen<'a> {
    out: &'a mut dyn Write,
    terminal: bool,
    colour: bool,
    /// Standard output once more, to notice that nobody reads it any longer.
    reader: Option<OwnedFd>,
}

impl<'a> Screen<'a> {
    pub fn new(out: &'a mut dyn Write, terminal: bool, colour: bool) -> Screen<'a> {
        Screen {
            out,
            terminal,
            colour,
            reader: None,
        }
    }

    /// `no_color`: the user wants none, whatever the terminal can.
    pub fn stdout(out: &'a mut io::StdoutLock<'static>, no_color: bool) -> Screen<'a> {
        let terminal = out.is_terminal();
        let reader = out.as_fd().try_clone_to_owned().ok();
        Screen {
            out,
            terminal,
            colour: terminal && !no_color,
            reader,
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn has_colour(&self) -> bool {
        self.colour
    }

    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", clean(text))?;
        self.out.flush()
    }

    /// The server's JSON as it came, on one line: a line break in JSON can only stand between values.
    pub fn json(&mut self, document: &str) -> io::Result<()> {
        writeln!(self.out, "{}", document.trim().replace(['\n', '\r'], " "))?;
        self.out.flush()
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// Names and values, one pair a line. A value that is not there has no line.
    pub fn facts(&mut self, facts: Vec<(&str, Cell)>) -> io::Result<()> {
        let rows = facts.into_iter().filter(|(_, cell)| cell.text != "-");
        let rows = rows
            .map(|(name, value)| vec![Cell::tinted(name, Tint::Dim), value])
            .collect();
        Table::new(&[]).rows(self, rows)
    }

    /// Done when nobody reads our output any longer; never, when that cannot be known.
    pub fn reader_gone(&mut self) -> impl Future<Output = ()> + use<> {
        let reader = self.reader.take();
        async move {
            // Only watched, never written to, so it need not be in non-blocking mode (which our parent would share).
            let watched = reader.map(Sender::from_owned_fd_unchecked);
            match watched {
                Some(Ok(watched)) if watched.ready(Interest::ERROR).await.is_ok() => {}
                // A file, or a system that does not tell: the next write will.
                _ => std::future::pending().await,
            }
        }
    }

    fn cell(&mut self, cell: &Cell, width: usize) -> io::Result<()> {
        let Cell { text, tint } = cell;
        let reset = if self.colour && *tint != Tint::Plain {
            "\x1b[0m"
        } else {
            ""
        };
        let code = if self.colour { tint.code() } else { "" };
        let gap = width.saturating_sub(text.chars().count());
        write!(self.out, "{code}{text}{reset}{:gap$}", "")
    }
}

/// Rows with columns. They may come in pages: columns only grow, so no page waits for the next.
pub struct Table {
    heads: &'static [&'static str],
    widths: Vec<usize>,
}

impl Table {
    pub fn new(heads: &'static [&'static str]) -> Table {
        Table {
            heads,
            widths: Vec::new(),
        }
    }

    /// Columns that are at least so wide, for rows that come one at a time.
    pub fn with_widths(widths: &[usize]) -> Table {
        Table {
            heads: &[],
            widths: widths.to_vec(),
        }
    }

    pub fn rows(&mut self, screen: &mut Screen<'_>, mut rows: Vec<Vec<Cell>>) -> io::Result<()> {
        if screen.terminal && !self.heads.is_empty() && !rows.is_empty() {
            let heads = std::mem::take(&mut self.heads);
            rows.insert(0, heads.iter().map(|head| Cell::tinted(head, Tint::Dim)).collect());
        }
        if screen.terminal {
            self.widen(&rows);
        }
        rows.iter().try_for_each(|row| self.row(screen, row))?;
        screen.out.flush()
    }

    fn widen(&mut self, rows: &[Vec<Cell>]) {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.text.chars().count().max(*width);
            }
        }
    }

    fn row(&self, screen: &mut Screen<'_>, row: &[Cell]) -> io::Result<()> {
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                screen.out.write_all(if screen.terminal { b"  " } else { b"\t" })?;
            }
            let last = column + 1 == row.len();
            let width = if screen.terminal && !last {
                self.widths[column]
            } else {
                0
            };
            screen.cell(cell, width)?;
        }
        screen.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool, colour: bool) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, terminal, colour);
        let mut table = Table::new(&["POS", "STATE", "NAME"]);
        table
            .rows(
                &mut screen,
                vec![vec!["PUMP4".into(), Cell::word("ready"), "a\tb\x1b[2J".into()]],
            )
            .unwrap();
        table
            .rows(
                &mut screen,
                vec![vec!["P".into(), Cell::word("unavailable"), "".into()]],
            )
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pipe_gets_tabs_and_no_heads() {
        assert_eq!(shown(false, false), "PUMP4\tready\ta b [2J\nP\tunavailable\t-\n");
    }

    #[test]
    fn a_terminal_gets_columns_and_colours() {
        assert_eq!(
            shown(true, false),
            "POS    STATE  NAME\nPUMP4  ready  a b [2J\nP      unavailable  -\n"
        );
        assert!(shown(true, true).contains("\x1b[36mready\x1b[0m"));
    }
}
