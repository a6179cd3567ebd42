//! Someone at the control socket who says what a server says on its worst day: to each controller the same, in a fixed order.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::shop::{Example, Program, signal};
use crate::support::process::text;

/// What a controller came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Cancel,
    Deliver,
    /// It reads the feed from its oldest event, since its place in it is there no more.
    Trimmed,
}

pub struct Clerk {
    folder: TempDir,
    day: Arc<Mutex<Day>>,
}

/// How far the day has come.
struct Day {
    turns: Vec<Turn>,
    /// The order, as it was pushed.
    order: Option<Value>,
    /// How often the feed was asked for.
    asked: u32,
    /// The button is pressed while the feed is listened to, and this answers the cancel.
    cancel: Option<u16>,
    /// The type of the order's last event.
    last: String,
    /// The order is unknown once its product was released.
    forgetful: bool,
    controller: u32,
}

/// A status and a body. None: the connection ends in the middle.
type Answer = Option<(u16, String)>;

impl Clerk {
    pub fn open(cancel: Option<u16>, last: &str) -> Clerk {
        let day = Day {
            turns: Vec::new(),
            order: None,
            asked: 0,
            cancel,
            last: last.to_owned(),
            forgetful: false,
            controller: 0,
        };
        Clerk {
            folder: tempfile::tempdir().expect("a temporary folder"),
            day: Arc::new(Mutex::new(day)),
        }
    }

    /// Of which it knows nothing once their product was released.
    pub fn without_orders(self) -> Clerk {
        self.day.lock().expect("whole").forgetful = true;
        self
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// A controller begins a sale here.
    pub fn start(&self, example: &'static Example) -> Program {
        let listener = UnixListener::bind(self.socket()).expect("the folder is ours");
        let sale = ["18525.50", "SUPER 23.45 L"];
        let program = Program::start(example, self.folder.path(), &self.socket(), "P", &sale);
        let day = self.day.clone();
        day.lock().expect("whole").controller = program.pid();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some((line, body)) = request(&stream) else { return };
                reply(stream, day.lock().expect("whole").answer(&line, &body));
            }
        });
        program
    }

    /// The controller is started again, to finish what it had begun.
    pub fn again(&self, program: &Program) -> Program {
        Program::start(program.example, self.folder.path(), &self.socket(), "P", &[])
    }

    pub fn was_asked(&self, turn: Turn) -> bool {
        self.day.lock().expect("whole").turns.contains(&turn)
    }
}

impl Drop for Clerk {
    /// Who says nothing ends the day.
    fn drop(&mut self) {
        let _ = UnixStream::connect(self.socket());
    }
}

/// A request's first line, and its body.
fn request(stream: &UnixStream) -> Option<(String, String)> {
    let mut stream = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", bytes)) => length = bytes.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).ok()?))
}

/// The controller may have gone meanwhile.
fn reply(mut stream: UnixStream, answer: Answer) {
    let _ = match answer {
        None => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"events\":[],\"next\":0}"),
        Some((status, body)) => {
            let length = match status {
                204 => String::new(),
                _ => format!("content-length: {}\r\n", body.len()),
            };
            stream.write_all(format!("HTTP/1.1 {status} So\r\n{length}\r\n{body}").as_bytes())
        }
    };
}

fn problem(status: u16, code: &str) -> Answer {
    let problem =
        json!({"type": "urn:surtidor:problem", "title": "t", "status": status, "detail": "a \"detail\"", "code": code});
    Some((status, problem.to_string()))
}

impl Day {
    fn answer(&mut self, line: &str, body: &str) -> Answer {
        let target = line.split(' ').nth(1).expect("a request line");
        match target.split('/').next_back().expect("a path") {
            "state" | "lease" => Some((204, String::new())),
            "order" if line.starts_with("DELETE") => self.cancel(),
            "order" => self.push(body),
            "delivery" => {
                self.turns.push(Turn::Deliver);
                if self.forgetful {
                    return problem(404, "order_unknown");
                }
                Some((200, self.order.as_ref().expect("pushed").to_string()))
            }
            events if events.starts_with("events") => self.feed(target),
            receipt => Some((200, format!("{receipt}\n"))),
        }
    }

    /// The first answer is lost: the same must be pushed again.
    fn push(&mut self, body: &str) -> Answer {
        let mut order: Value = serde_json::from_str(body).expect("JSON");
        let first = self.order.replace(order.clone())?;
        assert_eq!(order, first);
        order["status"] = json!("sending");
        Some((201, order.to_string()))
    }

    fn cancel(&mut self) -> Answer {
        self.turns.push(Turn::Cancel);
        match self.cancel.expect("the button was pressed") {
            204 => Some((204, String::new())),
            202 => Some((202, self.order.as_ref().expect("pushed").to_string())),
            404 => problem(404, "order_none"),
            status => problem(status, "order_paid"),
        }
    }

    fn feed(&mut self, target: &str) -> Answer {
        self.asked += 1;
        let after =
            |number: &str| target.contains(&format!("after={number}&")) || target.ends_with(&format!("after={number}"));
        match self.asked {
            1 => problem(503, "busy"),
            2 => None,
            3 => {
                if self.cancel.is_some() {
                    signal(self.controller, "INT");
                }
                self.page(&self.first_events())
            }
            4 => {
                assert!(after("175"), "where the page ended: {target}");
                problem(410, "events_trimmed")
            }
            5 => {
                assert!(after("0"), "from the oldest on: {target}");
                self.turns.push(Turn::Trimmed);
                self.page(&[])
            }
            _ => self.page(&[self.event(&self.last, 160)]),
        }
    }

    fn page(&self, events: &[Value]) -> Answer {
        Some((200, json!({"events": events, "next": 175}).to_string()))
    }

    /// An event of the order.
    fn event(&self, kind: &str, seq: u64) -> Value {
        let reference = text(self.order.as_ref().expect("pushed"), "external_reference");
        json!({"seq": seq, "type": kind, "external_reference": reference, "reason": "because \"so\""})
    }

    fn first_events(&self) -> [Value; 6] {
        let mut sent = self.event("order_sent", 80);
        sent["metadata"] = json!({"a": ["}]\\\"", {"type": "order_paid"}]});
        // Of another order, whose metadata looks like the event that all wait for.
        let mut other = self.event("order_paid", 96);
        other["metadata"] = self.event("order_paid", 96);
        other["external_reference"] = json!("another");
        [
            self.event("order_sending", 64),
            sent,
            other,
            json!({"type": "scanned", "pos": "P"}),
            json!({"seq": 112, "type": "late_payment", "external_reference": "another", "action": "report"}),
            self.event("payment_rejected", 128),
        ]
    }
}
