//! The log's lines on their way to standard error: written by a thread of their own, so that nobody who has something to
//! say waits for who reads it. A reader that stalls would else hold up the writer of orders.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Instant;

use tracing::warn;

use crate::limits;

enum Item {
    Line(Vec<u8>),
    /// Answered once all before it is written.
    End(SyncSender<()>),
}

/// Takes lines. What finds the queue full is lost, and how many were is said once there is room.
#[derive(Clone)]
pub(super) struct Pen {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// While this lives lines are written; dropped, it waits a moment for those that are still on their way.
#[must_use = "the last lines are lost without it"]
pub struct Lines(SyncSender<Item>);

pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<(Pen, Lines)> {
    let (queue, items) = sync_channel(limits::LOG_LINES);
    let lost = Arc::new(AtomicU64::new(0));
    let pen = Pen {
        queue: queue.clone(),
        lost: lost.clone(),
    };
    thread::Builder::new()
        .name("log-lines".into())
        .spawn(move || write(to, &items, &lost))?;
    Ok((pen, Lines(queue)))
}

fn write(mut to: impl Write, items: &Receiver<Item>, lost: &AtomicU64) {
    for item in items {
        match item {
            // A terminal that is gone takes nothing any more, and there is nobody left to tell.
            Item::Line(line) => drop(to.write_all(&line)),
            Item::End(written) => drop(written.send(())),
        }
        let lines = lost.swap(0, Relaxed);
        if lines > 0 {
            // It comes to this queue, which has room just now.
            warn!(
                lines,
                "nobody read the log in time: so many of its lines are missing here"
            );
        }
    }
}

impl Write for Pen {
    /// A whole line, or several: they stay together.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Item::Line(lines.to_vec())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let end = Instant::now() + limits::LOG_LINES_TIME;
        let (written, is_written) = sync_channel(1);
        let mut item = Item::End(written);
        while let Err(TrySendError::Full(back)) = self.0.try_send(item) {
            if Instant::now() >= end {
                return;
            }
            item = back;
            thread::sleep(limits::LOG_LINES_PAUSE);
        }
        // If that takes longer, nobody reads them.
        let _ = is_written.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{SyncSender, sync_channel};

    use super::*;

    /// A reader that takes a line when it is let.
    struct Slow {
        lets: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            let _ = self.lets.recv();
            self.read.lock().expect("no panic").extend(lines);
            Ok(lines.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Slow, SyncSender<()>, Arc<Mutex<Vec<u8>>>) {
        let (letting, lets) = sync_channel(1);
        let read = Arc::new(Mutex::default());
        let slow = Slow {
            lets,
            read: read.clone(),
        };
        (slow, letting, read)
    }

    #[test]
    fn whoever_writes_does_not_wait_for_who_reads_and_what_is_lost_is_counted() {
        let (slow, letting, read) = slow();
        let (mut pen, lines) = start(slow).expect("a thread");
        let lost = pen.lost.clone();
        for n in 0..limits::LOG_LINES + 10 {
            pen.write_all(format!("{n}\n").as_bytes()).expect("it never fails");
        }
        // One may be in the reader's hands already.
        assert!((9..=10).contains(&lost.load(Relaxed)), "{lost:?}");
        drop(letting);
        drop(lines);
        let read = String::from_utf8(read.lock().expect("no panic").clone()).expect("text");
        let first: Vec<_> = read.lines().take(3).collect();
        assert_eq!(first, ["0", "1", "2"]);
        assert_eq!(lost.load(Relaxed), 0, "it was said");
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        let (slow, letting, read) = slow();
        let (mut pen, lines) = start(slow).expect("a thread");
        pen.write_all(b"the last one\n").expect("it never fails");
        drop(letting);
        drop(lines);
        assert_eq!(*read.lock().expect("no panic"), b"the last one\n");
    }

    #[test]
    fn an_end_does_not_wait_for_a_reader_that_never_reads() {
        let (slow, letting, _) = slow();
        let (mut pen, lines) = start(slow).expect("a thread");
        for _ in 0..limits::LOG_LINES + 2 {
            pen.write_all(b"nobody reads this\n").expect("it never fails");
        }
        let begun = Instant::now();
        drop(lines);
        assert!(begun.elapsed() >= limits::LOG_LINES_TIME);
        drop(letting);
    }
}
