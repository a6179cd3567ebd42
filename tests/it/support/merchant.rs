//! A merchant's server of a few lines: it answers polls as it is told, takes notifications, and keeps what it was sent.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::http::patiently;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, as it was written.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("a notification's body is JSON")
    }
}

/// Status, further headers and body of its next answers.
type Answer = (u16, &'static str, String);

pub struct Merchant {
    address: std::net::SocketAddr,
    poll: Arc<Mutex<Answer>>,
    notified: Arc<Mutex<u16>>,
    asked: mpsc::Receiver<Asked>,
}

const JSON: &str = "Content-Type: application/json\r\n";

impl Merchant {
    pub async fn start() -> Merchant {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let idle = r#"{"error":{"type":"unavailable","message":"Nothing here."}}"#;
        let poll = Arc::new(Mutex::new((400, JSON, idle.to_owned())));
        let notified = Arc::new(Mutex::new(200));
        let (sender, asked) = mpsc::channel(10_000);
        let (answers, statuses) = (poll.clone(), notified.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, answers.clone(), statuses.clone(), sender.clone()));
            }
        });
        Merchant {
            address,
            poll,
            notified,
            asked,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What polls are answered from now on.
    pub fn polls(&self, status: u16, body: &str) {
        self.polls_with(status, JSON, body);
    }

    pub fn polls_with(&self, status: u16, headers: &'static str, body: &str) {
        *self.poll.lock().unwrap() = (status, headers, body.to_owned());
    }

    /// An order of that amount.
    pub fn sells(&self, reference: &str, amount: &str) {
        let url = self.url("/notifications/test?mine=1");
        self.polls(
            200,
            &format!(
                r#"{{"collector_id":178106235,"items":[{{"title":"SUPER","description":"Pump 4","currency_id":"ARS",
                "quantity":1,"unit_price":{amount}}}],"external_reference":"{reference}","notification_url":"{url}"}}"#
            ),
        );
    }

    /// What notifications are answered from now on.
    pub fn answers(&self, status: u16) {
        *self.notified.lock().unwrap() = status;
    }

    /// The next notification.
    pub async fn notification(&mut self) -> Asked {
        loop {
            let asked = patiently(self.asked.recv()).await.expect("it runs");
            if asked.method == "POST" {
                return asked;
            }
        }
    }

    pub async fn notifications(&mut self, count: usize) -> Vec<Asked> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.notification().await);
        }
        all
    }

    /// The next poll.
    pub async fn poll(&mut self) -> Asked {
        loop {
            let asked = patiently(self.asked.recv()).await.expect("it runs");
            if asked.method != "POST" {
                return asked;
            }
        }
    }
}

async fn serve(
    socket: TcpStream,
    poll: Arc<Mutex<Answer>>,
    notified: Arc<Mutex<u16>>,
    asked: mpsc::Sender<Asked>,
) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    socket.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        socket.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut request = Asked {
        method,
        target,
        headers,
        body: String::new(),
    };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).ok()?;
    let (status, headers, body) = match request.method.as_str() {
        "POST" => (*notified.lock().unwrap(), "", String::new()),
        _ => poll.lock().unwrap().clone(),
    };
    asked.send(request).await.ok()?;
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} So\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    socket.get_mut().write_all(answer.as_bytes()).await.ok()
}
