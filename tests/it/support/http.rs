//! A small HTTP/1.1 client that hides nothing: bytes out, bytes in, and every reply looked at.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// Longer than anything that goes well takes, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// One connection.
pub struct Wire(BufReader<Box<dyn Socket>>);

/// A reply as it came. Equal to `(status, what it says)`, so that tests read as sentences.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// How a body's end is told.
enum Length {
    Bytes(usize),
    Chunked,
}

impl Wire {
    pub fn new(socket: impl Socket + 'static) -> Wire {
        Wire(BufReader::new(Box::new(socket)))
    }

    /// A server that has refused already may have closed its end: then the reply says so, not this.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes).await;
        let _ = self.0.get_mut().flush().await;
    }

    /// Closes this direction; the other stays open.
    pub async fn say_no_more(&mut self) {
        let _ = self.0.get_mut().shutdown().await;
    }

    /// The whole reply to a request that was not HEAD.
    pub async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        reply.body = match length(&reply) {
            Length::Bytes(bytes) => {
                let mut body = vec![0; bytes];
                patiently(self.0.read_exact(&mut body))
                    .await
                    .expect("the body is whole");
                body
            }
            Length::Chunked => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk().await {
                    body.extend(chunk);
                }
                body
            }
        };
        reply
    }

    /// Status line and headers.
    pub async fn head(&mut self) -> Reply {
        let status_line = self.line().await;
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status = status.and_then(|code| code.parse().ok());
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect("a header has a name and a value");
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Reply {
            status: status.unwrap_or_else(|| panic!("no status in {status_line:?}")),
            headers,
            body: Vec::new(),
        }
    }

    /// The next chunk of a chunked body; none at its end, or if the connection broke.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        patiently(self.0.read_line(&mut size)).await.ok()?;
        let size = usize::from_str_radix(size.trim_end(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        patiently(self.0.read_exact(&mut chunk)).await.ok()?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// All that comes until the other end closes. Fails if it stays open.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // What had come before a reset was received all the same.
        let _ = patiently(self.0.read_to_end(&mut rest)).await;
        rest
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        patiently(self.0.read_line(&mut line)).await.expect("a line of text");
        assert!(line.ends_with("\r\n"), "the connection ended after {line:?}");
        line.truncate(line.len() - 2);
        line
    }
}

pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("this should not take so long")
}

fn length(reply: &Reply) -> Length {
    let length = reply
        .header("content-length")
        .map(|text| text.parse().expect("a length"));
    let chunked = reply.header("transfer-encoding") == Some("chunked");
    match (length, chunked) {
        (Some(bytes), false) => Length::Bytes(bytes),
        (None, true) => Length::Chunked,
        (None, false) if matches!(reply.status, 204 | 304) => Length::Bytes(0),
        _ => panic!("neither a length nor chunks, or both: {reply:?}"),
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What it says, in one word: a problem's code, why there is nothing to pay, an order's reference or a POS's name.
    pub fn word(&self) -> String {
        let Ok(body) = serde_json::from_slice::<Value>(&self.body) else {
            return String::new();
        };
        let places = [
            "/code",
            "/error/type",
            "/status/status_detail",
            "/external_reference",
            "/pos",
        ];
        let word = places.iter().find_map(|place| body.pointer(place)?.as_str());
        word.unwrap_or_default().to_owned()
    }

    /// Head and body as they were sent, but for the date.
    pub fn bytes(&self) -> String {
        let mut text = format!("{}\n", self.status);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "date") {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text + "\n" + &self.text() + "\n"
    }

    /// What holds for every reply of ours: it may not be kept, its length is known.
    pub fn check(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        if self.status != 204 {
            assert!(self.header("content-type").is_some(), "{self:?}");
        }
    }

    /// What holds for every reply to a poll.
    pub fn check_poll(&self) {
        self.check();
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        assert!(self.header("content-length").is_some(), "{self:?}");
        if !self.body.is_empty() {
            assert!(self.json().is_object());
        }
    }

    /// What holds for every reply to a controller.
    pub fn check_control(&self) {
        self.check();
        match self.status {
            204 => assert!(
                self.body.is_empty() && self.header("content-type").is_none(),
                "{self:?}"
            ),
            200..=202 => {
                assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
                assert!(self.json().is_object());
            }
            _ => self.check_problem(),
        }
    }

    fn check_problem(&self) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        let text = |name: &str| problem[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert_eq!(text("type"), format!("urn:surtidor:problem:{}", text("code")));
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(!text("title").is_empty() && !text("detail").is_empty());
        assert!(problem.get("pointer").is_none_or(Value::is_string), "{self:?}");
        assert_eq!(self.status == 405, self.header("allow").is_some(), "{self:?}");
        assert_eq!(self.status == 503, self.header("retry-after").is_some(), "{self:?}");
        assert_eq!(
            self.status == 401,
            self.header("www-authenticate").is_some(),
            "{self:?}"
        );
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {:?} {body}", self.status, self.word(), self.headers)
    }
}

impl PartialEq<(u16, &str)> for Reply {
    fn eq(&self, (status, word): &(u16, &str)) -> bool {
        self.status == *status && self.word() == *word
    }
}

impl PartialEq<u16> for Reply {
    fn eq(&self, status: &u16) -> bool {
        self.status == *status
    }
}
