//! A controller: one connection to the control socket, on which it waits for each answer.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

pub struct Controller(UnixStream);

impl Controller {
    pub fn connect(socket: &Path) -> Controller {
        Controller(UnixStream::connect(socket).expect("it listens"))
    }

    pub fn register(&mut self, pos: &str, position: &str) {
        let keys = format!(r#"{{"keys":{{"locationId":"6232","positionId":"{position}"}}}}"#);
        self.put(&format!("/v1/pos/{pos}"), &keys);
    }

    /// Puts an order in place of one that may be there.
    pub fn put_order(&mut self, pos: &str, reference: &str) {
        let order = format!(
            r#"{{"external_reference":"{reference}","items":[{{"title":"SUPER 23.45 L","quantity":1,"unit_price":"18525.50"}}],"metadata":{{"nozzle":4}}}}"#
        );
        self.put(&format!("/v1/pos/{pos}/order?replace=true"), &order);
    }

    /// What is put is new.
    fn put(&mut self, path: &str, body: &str) {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = self.0.read(&mut buffer).expect("answered");
            assert!(read > 0, "the server closed the connection");
            answer.extend_from_slice(&buffer[..read]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
                if rest.len() >= length {
                    assert!(head.starts_with("HTTP/1.1 201"), "{text}");
                    return;
                }
            }
        }
    }
}
