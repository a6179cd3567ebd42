//! A controller: one connection to the control socket, on which it asks for one thing at a time.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub struct Controller {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Controller {
    pub fn connect(socket: &Path) -> Controller {
        Controller {
            stream: UnixStream::connect(socket).expect("it listens"),
            answer: Vec::new(),
        }
    }

    /// From now on it only looks whether it is answered.
    pub fn never_waits(self) -> Controller {
        self.stream.set_nonblocking(true).expect("it is open");
        self
    }

    pub fn register(&mut self, pos: &str, position: &str) {
        let keys = format!(r#"{{"keys":{{"locationId":"6232","positionId":"{position}"}}}}"#);
        self.ask(&format!("/v1/pos/{pos}"), &keys);
        self.wait();
    }

    /// Puts an order in place of one that may be there.
    pub fn put_order(&mut self, pos: &str, reference: &str) {
        self.ask_for_order(pos, reference);
        self.wait();
    }

    pub fn ask_for_order(&mut self, pos: &str, reference: &str) {
        let order = format!(
            r#"{{"external_reference":"{reference}","items":[{{"title":"SUPER 23.45 L","quantity":1,"unit_price":"18525.50"}}],"metadata":{{"nozzle":4}}}}"#
        );
        self.ask(&format!("/v1/pos/{pos}/order?replace=true"), &order);
    }

    fn ask(&mut self, path: &str, body: &str) {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).expect("sent");
    }

    fn wait(&mut self) {
        while !self.is_answered() {}
    }

    /// Whether all of the answer is there. What is put is new.
    pub fn is_answered(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(read) => self.answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
        let text = String::from_utf8_lossy(&self.answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        if rest.len() < length {
            return false;
        }
        assert!(head.starts_with("HTTP/1.1 201"), "{text}");
        self.answer.clear();
        true
    }
}
