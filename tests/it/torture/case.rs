//! The list: `tests/wire/torture.txt`, and how its bytes are written.

use crate::support::http::Reply;

const FILE: &str = include_str!("../../wire/torture.txt");
const BODY: &[u8] = br#"{"seconds":9}"#;

/// To whom the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    Poll,
    Notify,
    Control,
}

/// One entry of the list.
pub struct Case {
    pub name: &'static str,
    template: &'static str,
    listed: Vec<&'static str>,
}

/// What a client says.
pub struct Sent {
    pub bytes: Vec<u8>,
    /// And then no more.
    pub ends: bool,
}

pub fn all() -> Vec<Case> {
    let lines: Vec<&'static str> = FILE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    lines
        .chunks(3)
        .map(|lines| Case {
            name: lines[0],
            template: lines[1].strip_prefix("  ").expect("the second line of an entry"),
            listed: lines[2].split('|').map(str::trim).collect(),
        })
        .collect()
}

impl Case {
    /// What is listed in this column.
    pub fn listed(&self, column: usize) -> &'static str {
        self.listed[column]
    }

    pub fn sent(&self, face: Face) -> Sent {
        let (method, path, query) = match face {
            Face::Poll => ("GET", "/pay-mp", "locationId=here&positionId=PUMP1"),
            Face::Notify => ("POST", "/notifications/main", "topic=merchant_order&id=7"),
            Face::Control => ("GET", "/v1/pos/PUMP1", ""),
        };
        let (gives, takes) = match face {
            Face::Poll | Face::Notify => ("POST", path),
            Face::Control => ("PUT", "/v1/pos/PUMP1/lease"),
        };
        let of = |path: &str| match query {
            "" => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let (whole, ends) = match self.template.strip_suffix("{end}") {
            Some(rest) => (rest, true),
            None => (self.template, false),
        };
        let text = whole
            .replace("{ask}", &format!("{method} {}", of(path)))
            .replace("{give}", &format!("{gives} {}", of(takes)))
            .replace("{path}?{query} ", &format!("{} ", of(path)))
            .replace("{method}", method)
            .replace("{path}", path)
            .replace("{query}", query);
        Sent {
            bytes: written(&text),
            ends,
        }
    }
}

/// The bytes for `\r`, `\x00`, `{3*x}` and `{body}`.
fn written(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\\' => escaped(rest, &mut bytes),
            '{' => repeated(rest, &mut bytes),
            _ => {
                bytes.extend(first.to_string().as_bytes());
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    bytes
}

/// How much of the text was read, here and below.
fn escaped(text: &str, bytes: &mut Vec<u8>) -> usize {
    let (byte, length) = match &text[1..2] {
        "r" => (b'\r', 2),
        "n" => (b'\n', 2),
        "t" => (b'\t', 2),
        "0" => (0, 2),
        "x" => (u8::from_str_radix(&text[2..4], 16).expect("two digits"), 4),
        other => panic!("\\{other} means nothing"),
    };
    bytes.push(byte);
    length
}

fn repeated(text: &str, bytes: &mut Vec<u8>) -> usize {
    if text.starts_with("{body}") {
        bytes.extend(BODY);
        return "{body}".len();
    }
    let mut depth = 0;
    let end = text.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    let end = end.expect("it is closed");
    let (times, what) = text[1..end].split_once('*').expect("how often");
    bytes.extend(written(what).repeat(times.parse().expect("a number")));
    end + 1
}

/// The answers in the words of the list. `honest` is what the request behind them is answered.
pub fn told(received: &[u8], honest: &str) -> String {
    let mut words = answers(received);
    let end = match words.last() {
        Some(last) if last == honest => {
            words.pop();
            "open"
        }
        _ => "closed",
    };
    words.push(end.to_owned());
    shortened(&words)
}

/// `200 200 200` is `3*200`.
fn shortened(words: &[String]) -> String {
    let runs = words.chunk_by(|a, b| a == b).map(|run| match run.len() {
        1 => run[0].clone(),
        times => format!("{times}*{}", run[0]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

fn answers(mut received: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    while !received.is_empty() {
        let Some(head) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
            words.push("unfinished".into());
            break;
        };
        let (text, rest) = received.split_at(head + 4);
        let Some(mut reply) = head_of(&String::from_utf8_lossy(text)) else {
            words.push("no-http".into());
            break;
        };
        let length = reply
            .header("content-length")
            .map_or(0, |n| n.parse().expect("a number"));
        // An answer to HEAD tells the length of what does not follow.
        let length = if rest.starts_with(b"HTTP/1.") || rest.is_empty() {
            0
        } else {
            length
        };
        let (body, rest) = rest.split_at(length.min(rest.len()));
        reply.body = body.to_vec();
        words.push(match reply.word().as_str() {
            "" => reply.status.to_string(),
            word => format!("{}:{word}", reply.status),
        });
        received = rest;
    }
    words
}

fn head_of(text: &str) -> Option<Reply> {
    let mut lines = text.trim_end().lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some(Reply {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: Vec::new(),
    })
}
