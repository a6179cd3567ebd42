//! A controller that outlives the server: what was cut off is asked again, and the feed is followed from where it was.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::process::WAIT;

/// Before a server that is away is asked again.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub struct Caller {
    socket: PathBuf,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Null if there is none.
    pub body: Value,
}

impl Caller {
    pub fn new(socket: PathBuf) -> Caller {
        Caller { socket }
    }

    /// Asks until it is answered, as the documentation says: also after `in_doubt` and the like.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask_under(method, path, "", body).await
    }

    /// The same with a header, which ends in a line break.
    pub async fn ask_under(&self, method: &str, path: &str, header: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n{header}Content-Length: {length}\r\n\r\n{body}"
        );
        let answered = async {
            loop {
                match self.once(&request).await {
                    Ok(answer) if answer.status != 503 => return answer,
                    _ => sleep(AGAIN).await,
                }
            }
        };
        let answered = timeout(2 * WAIT, answered).await;
        answered.unwrap_or_else(|_| panic!("no answer to {method} {path}"))
    }

    async fn once(&self, request: &str) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        answer(&reply).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Tells the events after `last`, until the server is gone.
    pub async fn follow(&self, last: u64, mut tell: impl FnMut(Value)) -> io::Result<()> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: s\r\nLast-Event-ID: {last}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut lines = BufReader::new(stream);
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).await?;
            // A line that was cut off is told again. Chunks end with an event, so none is cut within.
            let Some(line) = line.strip_suffix('\n') else {
                return Ok(());
            };
            if let Some(data) = line.strip_prefix("data: ") {
                tell(serde_json::from_str(data).expect("an event is JSON"));
            }
        }
    }
}

/// None if it is not whole.
fn answer(reply: &str) -> Option<Answer> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let status: u16 = head.get(9..12)?.parse().ok()?;
    if status == 204 {
        let body = Value::Null;
        return Some(Answer { status, body });
    }
    let body = serde_json::from_str(body).ok()?;
    Some(Answer { status, body })
}
