//! The simulated Mercado Pago against the facts that it was written from: by raw HTTP, since our own client is what it
//! must be able to catch.

mod calls;
mod command;
mod faults;
mod flows;
mod sdk;

use std::time::Duration;

use serde_json::Value;
use surtidor::sandbox::{Attempt, Outcome, Payment, Place, Sandbox, Screen, Settings, Status, TEST_TOKEN};
use tokio::net::TcpStream;

use crate::support::api;
pub use crate::support::api::{STORE, USER};
use crate::support::http::{Reply, Wire, patiently};

/// A sandbox, and those who call it.
pub struct Desk {
    pub sandbox: Sandbox,
}

impl Desk {
    pub fn start() -> Desk {
        Desk::with(Settings::default())
    }

    /// Its telephones ask every few milliseconds.
    pub fn with(settings: Settings) -> Desk {
        let settings = Settings {
            poll_every: Duration::from_millis(5),
            ..settings
        };
        Desk {
            sandbox: Sandbox::start(settings).expect("a port is free"),
        }
    }

    pub async fn wire(&self) -> Wire {
        Wire::new(TcpStream::connect(self.sandbox.address()).await.expect("it listens"))
    }

    /// One call with the right token; an empty body is none.
    pub async fn call(&self, method: &str, target: &str, body: &str) -> Reply {
        api::call(self.sandbox.address(), method, target, body).await
    }

    pub async fn call_with(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        api::call_with(self.sandbox.address(), method, target, headers, body).await
    }

    /// A refund, asked for with a key.
    pub async fn refund(&self, payment: u64, key: &str, body: &str) -> Reply {
        let headers = format!("Authorization: Bearer {TEST_TOKEN}\r\nX-Idempotency-Key: {key}\r\n");
        self.call_with("POST", &format!("/v1/payments/{payment}/refunds"), &headers, body)
            .await
    }

    pub async fn get(&self, target: &str) -> Value {
        let reply = self.call("GET", target, "").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    /// A store with one POS; gives the POS as the API answered it.
    pub async fn pos(&self, external_id: &str, url: &str) -> Value {
        api::pos(self.sandbox.address(), external_id, url).await
    }

    /// A customer scans and sees an order; gives the scan.
    pub async fn sees(&self, place: Place) -> u64 {
        let scan = self.sandbox.scan(place).await.unwrap();
        let shown = patiently(self.sandbox.shown(scan)).await.unwrap();
        assert!(matches!(shown.screen, Screen::Order(_)), "{shown:?}");
        scan
    }

    pub async fn pays(&self, scan: u64, status: Status) -> Payment {
        let attempt = Attempt {
            scan,
            outcome: Outcome::of(status),
            amount: None,
        };
        self.sandbox.pay(attempt).await.unwrap()
    }
}

pub fn place(url: &str) -> Place {
    Place::Url(url.to_owned())
}

/// The error body that all refusals share: status, key, and the code in its cause.
pub fn refused(reply: &Reply) -> (u16, String, Value) {
    let body = reply.json();
    assert_eq!(body["status"], reply.status, "{reply:?}");
    assert!(body["message"].is_string(), "{reply:?}");
    let cause = body["cause"][0].clone();
    assert!(cause["description"].is_string(), "{reply:?}");
    (
        reply.status,
        body["error"].as_str().unwrap().to_owned(),
        cause["code"].clone(),
    )
}
