//! What Mercado Pago notifies us of: kept, then answered, and never more than a hint.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use surtidor::domain::hint::Signature;
use surtidor::limits;
use surtidor::log::Log;

use crate::support::NOBODY;
use crate::support::http::{Reply, Wire};
use crate::support::process::{config, folder, on};
use crate::support::station::{CANARIES, Setup, Station, order};

const PUBLIC: &str = "https://pay.example.com/notifications";

/// An API that takes calls and never answers, so that nothing is worked off while this lives.
struct Mute(TcpListener);

impl Mute {
    fn new() -> Mute {
        Mute(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("it is bound"))
    }
}

async fn station(api: &Mute) -> Station {
    let setup = Setup::default()
        .env("SURTIDOR_NOTIFICATIONS__PUBLIC_URL", PUBLIC)
        .env("SURTIDOR_MERCADOPAGO__BASE_URL", &api.url());
    Station::with(setup).await
}

/// Two, as many as are worked on at once: those that come after them wait.
async fn occupy(station: &Station) {
    assert_eq!(limits::LOOKS_UNTRUSTED, 2);
    for id in [999_999_991, 999_999_992] {
        let query = format!("topic=payment&id={id}");
        assert_eq!(notify(station, &query, "").await, 200);
    }
}

fn post(target: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {target} HTTP/1.1\r\nhost: pay.example.com\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

async fn ask(wire: &mut Wire, request: &str) -> Reply {
    wire.send(request.as_bytes()).await;
    let reply = wire.reply().await;
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    assert!(!format!("{reply:?}").contains(CANARIES[1]), "{reply:?}");
    reply
}

/// One to the account `test`, on a connection of its own.
async fn notify(station: &Station, query: &str, body: &str) -> Reply {
    let request = post(&format!("/notifications/test?{query}"), "", body);
    ask(&mut station.poller().await, &request).await
}

/// An order's `notification_url` as Mercado Pago calls it, without the host.
async fn sealed_target(station: &Station, pos: &str, reference: &str) -> String {
    station.register(pos).await;
    station.push(pos, order(reference, "100.00")).await;
    let polled = station.poll(pos).await.json();
    let url = polled["notification_url"].as_str().expect("it has one");
    assert!(url.len() < 500, "{url}");
    let target = url.strip_prefix("https://pay.example.com").expect(url);
    target.to_owned()
}

async fn waiting(station: &Station, trusted: &str) -> f64 {
    station
        .metric(&format!("surtidor_inbox{{trusted=\"{trusted}\"}}"))
        .await
}

async fn became(station: &Station, outcome: &str) -> f64 {
    station
        .metric(&format!("surtidor_inbox_total{{outcome=\"{outcome}\"}}"))
        .await
}

async fn not_stored(station: &Station, reason: &str) -> f64 {
    let name = format!("surtidor_notifications_not_stored_total{{reason=\"{reason}\"}}");
    station.metric(&name).await
}

/// What ends last is who writes it down, also where nobody else is left.
#[test]
fn one_that_is_on_its_way_when_the_server_stops_is_taken() {
    let folder = folder();
    let server = on(folder.path()).start();
    let mut idle = server.controller();
    idle.get("/v1/pos").expect("it runs").expect(200);
    let mut mercado_pago = server.poller();
    let body = r#"{"type":"payment","data":{"id":"14"}}"#;
    let length = body.len();
    let head = format!(
        "POST /notifications/main HTTP/1.1\r\nHost: s\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    );
    mercado_pago.send(&head).expect("it runs");
    let head = mercado_pago.head().expect("it waits for the body");
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    server.signal("TERM");
    assert!(idle.is_closed(), "the control thread has nothing more to do");
    let lock = File::open(folder.path().join("data/lock")).expect("it is there");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        assert!(lock.try_lock().is_err(), "the log was closed");
        std::thread::yield_now();
    }
    mercado_pago.send(body).expect("it still reads");
    mercado_pago
        .reply()
        .expect("it was taken, so it is answered")
        .expect(200);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let (folder, api) = (folder(), Mute::new());
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-some-length").expect("the folder is ours");
    let config = config(folder.path()).replace(NOBODY, &api.url());
    let file = folder.path().join("surtidor.toml");
    let more = format!("access_token_file = \"{}\"\n", token.display());
    std::fs::write(file, config + &more).expect("the folder is ours");
    let server = on(folder.path()).start();
    let mut mercado_pago = server.poller();
    let shapes = [
        ("?topic=merchant_order&id=11", "", "merchant_order 11"),
        (
            "",
            r#"{"resource":"https://api.mercadolibre.com/merchant_orders/12","topic":"merchant_order"}"#,
            "merchant_order 12",
        ),
        (
            "?topic=payment&id=13",
            r#"{"resource":"13","topic":"payment"}"#,
            "payment 13",
        ),
        (
            "?data.id=14&type=payment",
            r#"{"type":"payment","data":{"id":"14"}}"#,
            "payment 14",
        ),
        (
            "",
            r#"{"type":"topic_merchant_order_wh","id":"15","data":{"status":"closed"}}"#,
            "merchant_order 15",
        ),
        (
            "",
            r#"{"type":"topic_instore_integration_wh","id":"x","data":{"id":"7c1d-16"}}"#,
            "intent 7c1d-16",
        ),
    ];
    for (query, body, _) in shapes {
        let reply = mercado_pago.ask("POST", &format!("/notifications/main{query}"), body);
        let reply = reply.expect("answered").expect(200);
        assert_eq!(reply.body, "");
    }
    server.kill();

    for _ in 0..2 {
        let things = shapes.map(|(_, _, thing)| thing.to_owned());
        assert_eq!(stored(folder.path()), things);
        // It takes up what is there, and is killed over it.
        on(folder.path()).start().kill();
    }
}

fn stored(folder: &Path) -> Vec<String> {
    let log = Log::open(&folder.join("data"), "locationId,positionId").expect("it is free again");
    let mut things = Vec::new();
    log.inbox(|kept| {
        assert_eq!((kept.hint.reference, kept.hint.signature), (None, Signature::Absent));
        things.push(kept.hint.thing.to_string());
    })
    .expect("whole");
    things
}

#[tokio::test]
async fn one_that_came_by_our_own_url_is_trusted() {
    let api = Mute::new();
    let mut station = station(&api).await;
    let target = sealed_target(&station, "PUMP1", "T-1").await;
    let forged = target.replace("T-1", "T-2");
    let mut wire = station.poller().await;
    for (target, id) in [(&target, 1), (&forged, 2)] {
        let reply = ask(&mut wire, &post(&format!("{target}&topic=payment&id={id}"), "", "")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    }
    assert_eq!(waiting(&station, "yes").await, 1.0);
    assert_eq!(waiting(&station, "no").await, 1.0);
    station.restart().await;
    assert_eq!(waiting(&station, "yes").await, 1.0);
    let target = format!("{target}&topic=payment&id=3");
    assert_eq!(ask(&mut station.poller().await, &post(&target, "", "")).await, 200);
    assert_eq!(
        waiting(&station, "yes").await,
        2.0,
        "the seal is the same after a restart"
    );
}

#[tokio::test]
async fn repeats_are_written_once() {
    let api = Mute::new();
    let station = station(&api).await;
    occupy(&station).await;
    for _ in 0..3 {
        assert_eq!(notify(&station, "topic=merchant_order&id=7", "").await, 200);
        assert_eq!(notify(&station, "type=topic_merchant_order_wh&id=7", "").await, 200);
        assert_eq!(notify(&station, "topic=payment&id=7", "").await, 200);
    }
    assert_eq!(became(&station, "merged").await, 7.0);
    assert_eq!(became(&station, "kept").await, 4.0);
    assert_eq!(waiting(&station, "no").await, 4.0);
}

#[tokio::test]
async fn a_signature_is_counted_and_changes_no_answer() {
    let api = Mute::new();
    let station = station(&api).await;
    let sign = |secret: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let hash = ring::hmac::sign(&key, b"id:7;request-id:req-1;ts:1742505638683;");
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x-signature: ts=1742505638683,v1={hex}\r\nx-request-id: req-1\r\n")
    };
    let mut wire = station.poller().await;
    for (headers, signature) in [
        (sign(CANARIES[1]), "valid"),
        (sign("another"), "invalid"),
        ("x-signature: nonsense\r\n".into(), "invalid"),
        (String::new(), "absent"),
    ] {
        let name = format!("surtidor_notifications_total{{topic=\"payment\",signature=\"{signature}\"}}");
        let before = station.metric(&name).await;
        let request = post("/notifications/test?type=payment&data.id=7", &headers, "");
        assert_eq!(ask(&mut wire, &request).await, 200);
        assert_eq!(station.metric(&name).await, before + 1.0, "{headers}");
    }
    assert_eq!(
        waiting(&station, "yes").await,
        1.0,
        "that is reason enough to look first"
    );
}

#[tokio::test]
async fn what_cannot_be_used_is_counted_and_not_stored() {
    let api = Mute::new();
    let station = station(&api).await;
    let big = " ".repeat(limits::NOTIFICATION_BYTES + 1);
    for (query, body, status, reason) in [
        ("", "not JSON", 400, "unreadable"),
        ("topic=payment&id=%ff", "", 400, "unreadable"),
        ("topic=payment&id=1", big.as_str(), 413, "too_large"),
        ("topic=chargebacks&id=1", "", 200, "unknown_topic"),
        ("topic=payment&id=123456789012345678901", "", 200, "impossible_id"),
    ] {
        let before = not_stored(&station, reason).await;
        let reply = notify(&station, query, body).await;
        assert_eq!(reply.status, status, "{query}: {reply:?}");
        assert_eq!(not_stored(&station, reason).await, before + 1.0, "{reason}");
    }
    let just_fits = " ".repeat(limits::NOTIFICATION_BYTES);
    assert_eq!(notify(&station, "topic=payment&id=1", &just_fits).await, 200);
    assert_eq!(became(&station, "kept").await, 1.0, "and that is all");
}

#[tokio::test]
async fn only_a_post_to_an_account_is_a_notification() {
    let api = Mute::new();
    let station = station(&api).await;
    let mut wire = station.poller().await;
    for method in ["GET", "PUT", "DELETE"] {
        let request = format!("{method} /notifications/test?topic=payment&id=1 HTTP/1.1\r\nhost: x\r\n\r\n");
        let reply = ask(&mut wire, &request).await;
        assert_eq!(reply, (405, "method_not_allowed"));
        assert_eq!(reply.header("allow"), Some("POST"));
    }
    for name in ["nobody", "", "TEST", "%74est"] {
        let reply = ask(
            &mut wire,
            &post(&format!("/notifications/{name}?topic=payment&id=1"), "", ""),
        )
        .await;
        assert_eq!(reply, (404, "not_found"), "{name}");
    }
    assert_eq!(not_stored(&station, "not_found").await, 4.0);
    // These are nobody's: answered as the poll face answers what it does not know.
    for path in ["/notifications", "/notifications/test/x", "/notificationstest", "/"] {
        let reply = ask(&mut wire, &post(&format!("{path}?topic=payment&id=1"), "", "")).await;
        assert_eq!(reply, (404, "not_found"), "{path}");
        reply.check_poll();
    }
    assert_eq!(not_stored(&station, "not_found").await, 4.0);
    assert_eq!(station.metric("surtidor_polls_total{outcome=\"not_found\"}").await, 4.0);
    assert_eq!(became(&station, "kept").await, 0.0);
}

#[tokio::test]
async fn another_sellers_is_counted_and_still_a_hint() {
    let api = Mute::new();
    let station = station(&api).await;
    let body = |user: &str| format!(r#"{{"type":"payment","data":{{"id":"{user}"}},"user_id":{user}}}"#);
    assert_eq!(notify(&station, "", &body("178106235")).await, 200);
    assert_eq!(station.metric("surtidor_notifications_foreign_total").await, 0.0);
    assert_eq!(notify(&station, "", &body("44444")).await, 200);
    assert_eq!(station.metric("surtidor_notifications_foreign_total").await, 1.0);
    assert_eq!(became(&station, "kept").await, 2.0);
}

/// The median, since this machine has much else to do.
#[tokio::test]
async fn an_answer_takes_no_50_milliseconds() {
    let api = Mute::new();
    let station = station(&api).await;
    let mut wire = station.poller().await;
    let mut times = Vec::new();
    for id in 1..=200 {
        let begun = Instant::now();
        let target = format!("/notifications/test?topic=merchant_order&id={id}");
        assert_eq!(ask(&mut wire, &post(&target, "", "")).await, 200);
        times.push(begun.elapsed());
    }
    times.sort();
    assert!(times[times.len() / 2].as_millis() < 50, "{times:?}");
    assert_eq!(became(&station, "kept").await, 200.0);
}

#[tokio::test]
async fn a_flood_of_forged_ones_is_refused_and_a_real_one_still_taken() {
    const WIRES: usize = 50;
    let api = Mute::new();
    let station = station(&api).await;
    let target = sealed_target(&station, "PUMP1", "T-1").await;
    let mut wires = Vec::new();
    for _ in 0..WIRES {
        wires.push(station.poller().await);
    }
    // Each connection has one request on its way, so that they share commits.
    for round in 0..limits::INBOX_UNTRUSTED / WIRES {
        for (i, wire) in wires.iter_mut().enumerate() {
            let id = round * WIRES + i + 1;
            let request = post(&format!("/notifications/test?topic=payment&id={id}"), "", "");
            wire.send(request.as_bytes()).await;
        }
        for wire in &mut wires {
            assert_eq!(wire.reply().await, 200);
        }
    }
    let refused = notify(&station, "topic=payment&id=9999999", "").await;
    assert_eq!(refused, (503, "inbox_full"));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(became(&station, "refused").await, 1.0);
    assert_eq!(not_stored(&station, "inbox_full").await, 1.0);
    let newest = format!("topic=payment&id={}", limits::INBOX_UNTRUSTED);
    assert_eq!(notify(&station, &newest, "").await, 200, "that one waits already");
    let real = post(&format!("{target}&topic=payment&id=9999999"), "", "");
    assert_eq!(ask(&mut station.poller().await, &real).await, 200);
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
}

#[tokio::test]
async fn bodies_that_never_come_leave_room_for_real_ones() {
    let api = Mute::new();
    let station = station(&api).await;
    let target = sealed_target(&station, "PUMP1", "T-1").await;
    let head = "POST /notifications/test?topic=payment&id=1 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
                content-length: 10\r\n\r\n";
    let mut wires = Vec::new();
    for _ in 0..limits::NOTIFICATIONS_UNSEALED {
        let mut wire = station.poller().await;
        wire.send(head.as_bytes()).await;
        assert_eq!(wire.head().await, 100, "its body is waited for");
        wires.push(wire);
    }
    assert_eq!(notify(&station, "topic=payment&id=1", "").await, (503, "busy"));
    let real = post(&format!("{target}&topic=payment&id=1"), "", "");
    assert_eq!(ask(&mut station.poller().await, &real).await, 200);
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
    for wire in &mut wires {
        wire.send(b"0123456789").await;
        assert_eq!(wire.reply().await, 200);
    }
    assert_eq!(
        notify(&station, "topic=payment&id=2", "").await,
        200,
        "there is room again"
    );
}
