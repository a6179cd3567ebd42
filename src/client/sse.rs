//! Server-sent events, as far as our feed uses them: `id` and `data` lines, an empty line ends an event.

use bytes::Bytes;

use crate::limits::WATCH_EVENT_BYTES;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Events that are not kept have none.
    pub id: Option<String>,
    pub data: String,
}

/// Puts events together from whatever pieces come.
#[derive(Default)]
pub struct Events {
    bytes: Vec<u8>,
    begun: Sent,
}

/// The server sent an event larger than any of ours, or one that is no text.
#[derive(Debug)]
pub struct Garbled;

impl Events {
    /// The events that this piece completes.
    pub fn take(&mut self, piece: &Bytes) -> Result<Vec<Sent>, Garbled> {
        self.bytes.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut read = 0;
        while let Some(end) = self.bytes[read..].iter().position(|byte| *byte == b'\n') {
            let line = str::from_utf8(&self.bytes[read..read + end]).map_err(|_| Garbled)?;
            events.extend(self.begun.line(line.trim_end_matches('\r')));
            read += end + 1;
        }
        self.bytes.drain(..read);
        let bounded = self.bytes.len() + self.begun.data.len() <= WATCH_EVENT_BYTES;
        if bounded { Ok(events) } else { Err(Garbled) }
    }
}

impl Sent {
    /// Takes one line in; gives the event if this line ends it.
    fn line(&mut self, line: &str) -> Option<Sent> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" if self.data.is_empty() => self.data = value.into(),
            "data" => self.data = format!("{}\n{value}", self.data),
            "id" => self.id = Some(value.into()),
            "" if line.is_empty() && !self.data.is_empty() => return Some(std::mem::take(self)),
            // Comments are heartbeats; the type stands in the data as well.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str =
        ": hello\n\nid: 16\nevent: scanned\ndata: {\"a\":1}\r\n\r\n: beat\n\ndata:{}\n\ndata: 1\ndata: 2\n\n";

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let whole = Events::default().take(&Bytes::from(FEED)).unwrap();
        assert_eq!(
            whole[0],
            Sent {
                id: Some("16".into()),
                data: "{\"a\":1}".into()
            }
        );
        assert_eq!(
            whole[1],
            Sent {
                id: None,
                data: "{}".into()
            }
        );
        assert_eq!(whole[2].data, "1\n2");
        for size in 1..FEED.len() {
            let mut events = Events::default();
            let pieces = FEED.as_bytes().chunks(size).map(Bytes::copy_from_slice);
            let cut: Vec<Sent> = pieces.flat_map(|piece| events.take(&piece).unwrap()).collect();
            assert_eq!(cut, whole, "pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let piece = Bytes::from(vec![b'x'; WATCH_EVENT_BYTES / 2 + 1]);
        assert!(events.take(&piece).is_ok());
        assert!(events.take(&piece).is_err());
    }
}
