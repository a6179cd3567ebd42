//! What is counted of connections, alike for every face.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

/// Why a connection was ended by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// What comes before HTTP took too long: a PROXY header, a TLS handshake.
    Opening,
    /// Its request's head took too long.
    Head,
    /// It asked nothing for too long.
    Idle,
    /// It accepted no byte of a reply for too long.
    Write,
}

#[derive(Clone)]
pub struct Connections {
    pub open: Gauge,
    pub refused: Counter,
    pub accept_errors: Counter,
    /// Ended by what was no HTTP, nor what has to come before it.
    pub malformed: Counter,
    opening: Counter,
    head: Counter,
    idle: Counter,
    write: Counter,
}

impl Connections {
    pub fn new(face: &'static str) -> Connections {
        let timed_out =
            |limit: &'static str| counter!("surtidor_connections_timed_out_total", "face" => face, "limit" => limit);
        Connections {
            open: gauge!("surtidor_connections", "face" => face),
            refused: counter!("surtidor_connections_refused_total", "face" => face),
            accept_errors: counter!("surtidor_accept_errors_total", "face" => face),
            malformed: counter!("surtidor_connections_malformed_total", "face" => face),
            opening: timed_out("opening"),
            head: timed_out("head"),
            idle: timed_out("idle"),
            write: timed_out("write"),
        }
    }

    pub fn timed_out(&self, limit: Limit) -> &Counter {
        match limit {
            Limit::Opening => &self.opening,
            Limit::Head => &self.head,
            Limit::Idle => &self.idle,
            Limit::Write => &self.write,
        }
    }
}

/// Who asked for TLS, and how it went.
#[derive(Clone)]
pub struct Handshakes {
    pub full: Counter,
    /// Of who was here before: without certificate and signature.
    pub resumed: Counter,
    pub failed: Counter,
}

impl Handshakes {
    pub fn new(face: &'static str) -> Handshakes {
        let counted =
            |outcome: &'static str| counter!("surtidor_tls_handshakes_total", "face" => face, "outcome" => outcome);
        Handshakes {
            full: counted("full"),
            resumed: counted("resumed"),
            failed: counted("failed"),
        }
    }
}

pub fn describe() {
    describe_gauge!("surtidor_connections", "Open connections.");
    describe_counter!(
        "surtidor_connections_refused_total",
        "Connections closed at once because the face was full."
    );
    describe_counter!(
        "surtidor_connections_timed_out_total",
        "Connections ended by us, by the limit they passed."
    );
    describe_counter!(
        "surtidor_connections_malformed_total",
        "Connections ended by what is no HTTP, no TLS where that is spoken, or no PROXY header where one is due."
    );
    describe_counter!(
        "surtidor_accept_errors_total",
        "Connections that could not be accepted."
    );
    describe_counter!(
        "surtidor_tls_handshakes_total",
        "TLS handshakes that ended, by outcome. Those that took too long are counted as timed out."
    );
}
