//! Calls of the simulated Mercado Pago's API, by raw HTTP.

use std::net::SocketAddr;

use serde_json::Value;
use surtidor::sandbox::TEST_TOKEN;
use tokio::net::TcpStream;

use super::http::{Reply, Wire};

pub const USER: u64 = 178_106_235;

pub const STORE: &str = r#"{"name":"Station","external_id":"S1",
    "business_hours":{"monday":[{"open":"08:00","close":"13:00"}]},
    "location":{"street_number":"1","street_name":"Av. Uno","city_name":"Rosario","state_name":"Santa Fe",
    "latitude":-32.95,"longitude":-60.64,"reference":"Corner"}}"#;

/// One call with the right token; an empty body is none.
pub async fn call(api: SocketAddr, method: &str, target: &str, body: &str) -> Reply {
    let headers = format!("Authorization: Bearer {TEST_TOKEN}\r\n");
    call_with(api, method, target, &headers, body).await
}

pub async fn call_with(api: SocketAddr, method: &str, target: &str, headers: &str, body: &str) -> Reply {
    let mut wire = Wire::new(TcpStream::connect(api).await.expect("it listens"));
    let length = body.len();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: s\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    wire.send(request.as_bytes()).await;
    wire.reply().await
}

/// A store with one POS; gives the POS as the API answered it.
pub async fn pos(api: SocketAddr, external_id: &str, url: &str) -> Value {
    let stores = call(api, "GET", &format!("/users/{USER}/stores/search?external_id=S1"), "").await;
    if stores.json()["paging"]["total"] == 0 {
        let reply = call(api, "POST", &format!("/users/{USER}/stores"), STORE).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    let url = if url.is_empty() {
        String::new()
    } else {
        format!(r#","url":"{url}""#)
    };
    let body = format!(
        r#"{{"name":"Pump 4","fixed_amount":true,"category":473000,"external_store_id":"S1","external_id":"{external_id}"{url}}}"#
    );
    let reply = call(api, "POST", "/pos", &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}
