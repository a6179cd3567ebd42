//! Control over the network: one token for each controller, which opens its points of sale and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::http::{Reply, Wire};
use crate::support::process::{Client, folder, on};
use crate::support::station::{CANARIES, Feed, Setup, Station, order, order_for, request};

fn over_tcp() -> Setup {
    Setup::default().env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")
}

/// Makes a token; the header of whoever has it.
async fn holder(station: &Station, name: &str, scope: Value) -> String {
    bearer(&station.token(name, scope).await)
}

async fn get(station: &Station, header: &str, path: &str) -> Reply {
    station.call_from_afar(header, "GET", path, "").await
}

async fn follow(station: &Station, header: &str, query: &str) -> Feed {
    station.feed_over(station.afar().await, query, header).await
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// The names in a list of points of sale, or the references in one of orders.
fn names(list: &Reply, of: &str, member: &str) -> Vec<String> {
    let list = list.json();
    let rows = list[of].as_array().expect("a list").iter();
    rows.map(|row| row[member].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_does_all_for_its_own_points_of_sale() {
    let mut station = Station::with(over_tcp()).await;
    let mine = holder(&station, "north", json!({"pos": ["PUMP2", "PUMP1", "PUMP1"]})).await;
    // The first call of a controller: nobody else registers its pump.
    let keys = json!({"keys": {"locationId": "1", "positionId": "PUMP1"}});
    assert_eq!(
        station.call_from_afar(&mine, "PUT", "/v1/pos/PUMP1", &keys).await,
        (201, "PUMP1")
    );
    let word = json!({"state": "in_process"});
    assert_eq!(
        station.call_from_afar(&mine, "PUT", "/v1/pos/PUMP1/state", word).await,
        204
    );
    let lease = json!({"seconds": 30});
    assert_eq!(
        station.call_from_afar(&mine, "PUT", "/v1/pos/PUMP1/lease", lease).await,
        204
    );
    let pushed = station
        .call_from_afar(&mine, "PUT", "/v1/pos/PUMP1/order", order("T-1", "100"))
        .await;
    assert_eq!(pushed, (201, "T-1"));
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
    station.pay("PUMP1", "T-1", 1, "100").await;
    let mut feed = follow(&station, &mine, "?pos=PUMP1&after=0").await;
    assert_eq!(feed.until("order_paid").await.data["external_reference"], "T-1");
    let delivery = json!({"result": "dispensed"});
    assert_eq!(
        station
            .call_from_afar(&mine, "PUT", "/v1/orders/T-1/delivery", delivery)
            .await,
        (200, "T-1")
    );
    assert_eq!(get(&station, &mine, "/v1/orders/T-1/receipt").await, 200);
    let key = format!("{}idempotency-key: k-1\r\n", mine);
    for status in [201, 200] {
        let refunded = station
            .call_from_afar(&key, "POST", "/v1/orders/T-1/refunds", "{}")
            .await;
        assert_eq!(refunded, (status, "T-1"));
    }
    assert_eq!(names(&get(&station, &mine, "/v1/pos").await, "pos", "pos"), ["PUMP1"]);
    assert_eq!(
        names(
            &get(&station, &mine, "/v1/orders").await,
            "orders",
            "external_reference"
        ),
        ["T-1"]
    );
    assert_eq!(station.call_from_afar(&mine, "DELETE", "/v1/pos/PUMP1", "").await, 204);
    assert_eq!(get(&station, &mine, "/v1/pos/PUMP1").await, (404, "pos_unknown"));
}

/// How each call of the control API treats a token of other points of sale.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// What it names is not there.
    Hidden,
    /// It tells of the token's own only, or of nobody's.
    Narrowed,
    /// It is not for such a token.
    Forbidden,
}

use Rule::{Forbidden, Hidden, Narrowed};

/// Every call, with a query and a body that it takes: whoever adds one says here what it does for others, or the test
/// after this one fails.
#[rustfmt::skip]
const ROUTES: &[(&str, &str, Rule, &str, &str)] = &[
    ("GET",    "/v1/pos",                         Narrowed,  "limit=9",                  ""),
    ("GET",    "/v1/pos/{pos}",                   Hidden,    "",                         ""),
    ("PUT",    "/v1/pos/{pos}",                   Hidden,    "",                         r#"{"keys":{"locationId":"1","positionId":"foreign"}}"#),
    ("DELETE", "/v1/pos/{pos}",                   Hidden,    "",                         ""),
    ("PUT",    "/v1/pos/{pos}/state",             Hidden,    "",                         r#"{"state":"timeout"}"#),
    ("PUT",    "/v1/pos/{pos}/lease",             Hidden,    "",                         r#"{"seconds":30}"#),
    ("PUT",    "/v1/pos/{pos}/order",             Hidden,    "replace=true",             r#"{"amount":"1","title":"a"}"#),
    ("DELETE", "/v1/pos/{pos}/order",             Hidden,    "reason=paid_elsewhere",    ""),
    ("GET",    "/v1/orders",                      Narrowed,  "pos={pos}",                ""),
    ("GET",    "/v1/orders/{reference}",          Hidden,    "",                         ""),
    ("PUT",    "/v1/orders/{reference}/delivery", Hidden,    "",                         r#"{"result":"dispensed"}"#),
    ("POST",   "/v1/orders/{reference}/refunds",  Hidden,    "",                         "{}"),
    ("GET",    "/v1/orders/{reference}/receipt",  Hidden,    "width=32",                 ""),
    ("GET",    "/v1/events",                      Narrowed,  "pos={pos}&after=0&wait=0", ""),
    ("GET",    "/v1/tokens",                      Forbidden, "limit=9",                  ""),
    ("PUT",    "/v1/tokens/{name}",               Forbidden, "",                         r#"{"all":true}"#),
    ("DELETE", "/v1/tokens/{name}",               Forbidden, "",                         ""),
    ("GET",    "/v1/openapi.json",                Narrowed,  "",                         ""),
];

/// The calls that the server knows, as its source says them.
pub fn routes_of_the_source() -> BTreeSet<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/mod.rs");
    let source = std::fs::read_to_string(file).expect("the source");
    let arms = source.lines().filter_map(|line| {
        let (parts, rest) = line.trim().strip_prefix("([\"v1\"")?.split_once("], &Method::")?;
        let (method, _) = rest.split_once(')')?;
        let part = |part: &str| match part.trim().strip_prefix('"') {
            Some(word) => word.trim_end_matches('"').to_owned(),
            None => format!("{{{}}}", part.trim()),
        };
        let path: Vec<String> = parts.split(',').skip(1).map(part).collect();
        Some((method.to_owned(), format!("/v1/{}", path.join("/"))))
    });
    arms.collect()
}

#[test]
fn each_call_says_what_it_does_for_others() {
    let said: BTreeSet<_> = ROUTES
        .iter()
        .map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(said, routes_of_the_source());
}

/// A station where others have a point of sale in each situation: idle, with an order, paid and half refunded.
async fn with_others() -> Station {
    let mut station = Station::with(over_tcp()).await;
    for pos in ["FOREIGN-1", "FOREIGN-2", "FOREIGN-3"] {
        let more = json!({
            "name": format!("foreign {pos}"), "external_id": pos.replace('-', ""), "external_store_id": "FOREIGNSTORE",
            "keys": {"locationId": "1", "positionId": pos.replace("FOREIGN", "foreign")},
        });
        assert_eq!(station.register_as(pos, more).await, 201);
    }
    let foreign = |reference: &str| {
        let mut order = order(reference, "77.77");
        order["title"] = json!("foreign goods");
        order["metadata"] = json!({"foreign": "data"});
        order
    };
    assert_eq!(station.push("FOREIGN-2", foreign("foreign-open")).await, 201);
    assert_eq!(station.push("FOREIGN-3", foreign("foreign-paid")).await, 201);
    station.pay("FOREIGN-3", "foreign-paid", 1, "77.77").await;
    let refunded = station.refund("foreign-paid", "k-1", json!({"amount": "7.77"})).await;
    assert_eq!(refunded, 201);
    station
}

const OTHERS: [(&str, &str); 3] = [
    ("FOREIGN-1", "foreign-none"),
    ("FOREIGN-2", "foreign-open"),
    ("FOREIGN-3", "foreign-paid"),
];

/// Each call with a token of another's point of sale, or of none, is answered as if there were nothing.
#[tokio::test]
async fn what_is_anothers_is_not_there() {
    let station = with_others().await;
    station.register("MINE").await;
    station.push("MINE", order_for("T-1", 3600)).await;
    let mine = holder(&station, "mine", json!({"pos": ["MINE"]})).await;
    let before = station.get("/v1/pos").await.text() + &station.get("/v1/orders").await.text();
    for (method, template, rule, query, body) in ROUTES {
        // Of the whole feed, its own part in one page: the stream would not end.
        let none = if *template == "/v1/events" {
            "after=0&wait=0"
        } else {
            ""
        };
        for (query, body, key) in [
            (*query, *body, "k-1"),
            (query, body, "k-2"),
            (query, body, ""),
            (none, body, "k-1"),
            (query, "nonsense", "k-1"),
            ("x=1", body, "k-1"),
        ] {
            let ask = async |pos: &str, reference: &str| {
                let path = format!("{template}?{query}")
                    .replace("{pos}", pos)
                    .replace("{reference}", reference)
                    .replace("{name}", "mine");
                let headers = format!("{mine}idempotency-key: {key}\r\n");
                let reply = station.call_from_afar(&headers, method, &path, body).await;
                (reply.bytes().replace(pos, "POS").replace(reference, "REFERENCE"), reply)
            };
            // As long as the others' names, which stand in the answers.
            let (nothing, reply) = ask("NOWHERE-1", "nothing-none").await;
            let call = format!("{method} {template}?{query} {body} {key}");
            assert!(!nothing.to_lowercase().contains("foreign"), "{call}: {nothing}");
            match rule {
                Hidden => assert!(matches!(reply.status, 400 | 404), "{call}: {reply:?}"),
                Forbidden => assert_eq!(reply, (403, "forbidden"), "{call}"),
                Narrowed => {}
            }
            for (pos, reference) in OTHERS {
                let (text, reply) = ask(pos, reference).await;
                assert_eq!(text, nothing, "{call} of {pos}, {reference}");
                if *rule == Hidden && body != "nonsense" && key == "k-1" && query != "x=1" {
                    let code = if template.contains("{pos}") {
                        "pos_unknown"
                    } else {
                        "order_unknown"
                    };
                    assert_eq!(reply, (404, code), "{call}");
                }
            }
        }
    }
    let after = station.get("/v1/pos").await.text() + &station.get("/v1/orders").await.text();
    assert_eq!(before, after, "and nothing was touched");
    assert_eq!(
        get(&station, &mine, "/v1/pos/MINE").await,
        (200, "MINE"),
        "its own still is"
    );
}

/// What a call for one's own point of sale meets of another's is not told.
#[tokio::test]
async fn a_conflict_with_another_does_not_tell_with_whom() {
    let station = with_others().await;
    station.register("MINE").await;
    let mine = holder(&station, "mine", json!({"pos": ["MINE", "MINE2"]})).await;
    let taken = json!({"keys": {"locationId": "1", "positionId": "foreign-1"}});
    let attended = json!({"mode": "attended", "external_id": "FOREIGN1", "external_store_id": "FOREIGNSTORE"});
    for (method, path, body, code) in [
        ("PUT", "/v1/pos/MINE", taken.clone(), "keys_taken"),
        ("PUT", "/v1/pos/MINE2", taken.clone(), "keys_taken"),
        (
            "PUT",
            "/v1/pos/MINE/order",
            order("foreign-open", "77.77"),
            "reference_used",
        ),
        (
            "PUT",
            "/v1/pos/MINE/order",
            order("foreign-paid", "1"),
            "reference_used",
        ),
        (
            "PUT",
            "/v1/pos/MINE/order",
            order("FOREIGN-PAID", "1"),
            "reference_used",
        ),
        (
            "PUT",
            "/v1/pos/MINE/order?replace=true",
            order("foreign-open", "1"),
            "reference_used",
        ),
    ] {
        let reply = station.call_from_afar(&mine, method, path, &body).await;
        assert_eq!(reply, (409, code), "{path} {body}");
        let text = reply.text();
        assert!(!text.to_lowercase().contains("foreign"), "{text}");
        assert_eq!(reply.json().get("pos"), None, "{text}");
        // Whoever may know is told.
        let told = station.call(method, path, &body).await.text();
        assert!(told.contains("FOREIGN-"), "{told}");
    }
    // A place at Mercado Pago, under which somebody else is registered.
    station.delete("/v1/pos/FOREIGN-1").await;
    assert_eq!(station.put("/v1/pos/FOREIGN-1", &attended).await, 201);
    let reply = station.call_from_afar(&mine, "PUT", "/v1/pos/MINE", &attended).await;
    assert_eq!(reply, (409, "external_id_taken"));
    assert!(!reply.text().contains("FOREIGN"), "{reply:?}");
    // Its own it is told of.
    let own = json!({"keys": {"locationId": "1", "positionId": "MINE"}});
    let reply = station.call_from_afar(&mine, "PUT", "/v1/pos/MINE2", own).await;
    assert_eq!(reply, (409, "keys_taken"));
    assert_eq!(reply.json()["pos"], "MINE");
}

/// A controller must not sell for another merchant, nor learn which there are.
#[tokio::test]
async fn a_token_gives_no_point_of_sale_to_another_account() {
    let setup = over_tcp().account("id = \"rival\"\ncollector_id = 7\nsite = \"MLA\"");
    let station = Station::with(setup).await;
    let keys = |account: Value| json!({"account": account, "keys": {"locationId": "1", "positionId": "MINE"}});
    let mine = holder(&station, "mine", json!({"pos": ["MINE"]})).await;
    for account in [json!("test"), json!("rival"), json!("nobody"), Value::Null] {
        let reply = station
            .call_from_afar(&mine, "PUT", "/v1/pos/MINE", keys(account))
            .await;
        assert_eq!(reply, (400, "account_unknown"), "an administrator says whose it is");
    }
    assert_eq!(station.put("/v1/pos/MINE", keys(json!("test"))).await, 201);
    let [rival, other] = ["rival", "other"].map(|name| keys(json!(name)));
    let refused = [
        station.call_from_afar(&mine, "PUT", "/v1/pos/MINE", rival).await,
        station.call_from_afar(&mine, "PUT", "/v1/pos/MINE", other).await,
    ];
    assert_eq!(refused[0], (400, "account_unknown"));
    assert_eq!(refused[0].bytes().replace("rival", "other"), refused[1].bytes());
    // It need not say it.
    for account in [json!("test"), Value::Null] {
        let reply = station
            .call_from_afar(&mine, "PUT", "/v1/pos/MINE", keys(account))
            .await;
        assert_eq!(reply, (200, "MINE"));
        assert_eq!(reply.json()["account"], "test");
    }
}

#[tokio::test]
async fn lists_have_ones_own_in_pages() {
    let station = Station::with(over_tcp()).await;
    for pos in ["A", "B", "C", "D", "E"] {
        station.register(pos).await;
    }
    for n in 0..10 {
        let pos = ["A", "B", "C", "D", "E"][n % 5];
        station.push(pos, order(&format!("T-{n}"), "1")).await;
        station.cancel(pos).await;
    }
    let some = holder(&station, "some", json!({"pos": ["D", "B", "E", "Z"]})).await;
    let all = async |path: &str, of: &str, member: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&station, &some, &format!("{path}limit=2{cursor}")).await;
            let rows = names(&page, of, member);
            assert!(rows.len() <= 2);
            found.extend(rows);
            match page.json()["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found.join(" "),
            }
        }
    };
    assert_eq!(all("/v1/pos?", "pos", "pos").await, "B D E");
    let orders = async |query: &str| all(&format!("/v1/orders?{query}"), "orders", "external_reference").await;
    assert_eq!(orders("").await, "T-9 T-8 T-6 T-4 T-3 T-1");
    assert_eq!(orders("status=canceled&").await, "T-9 T-8 T-6 T-4 T-3 T-1");
    assert_eq!(orders("status=paid&").await, "");
    assert_eq!(orders("since=2001-01-01T00:00:00Z&").await, "T-9 T-8 T-6 T-4 T-3 T-1");
    assert_eq!(orders("pos=D&").await, "T-8 T-3");
    for pos in ["A", "NEVER"] {
        let page = get(&station, &some, &format!("/v1/orders?pos={pos}")).await;
        assert_eq!(page.json(), json!({"orders": [], "next": null}));
    }
}

/// One by one, resumed, live and late: who follows hears of its own, of all of them, once and in order.
#[tokio::test]
async fn a_feed_has_ones_own_only() {
    let station = Station::with(over_tcp()).await;
    let some = holder(&station, "some", json!({"pos": ["B", "D"]})).await;
    let one = holder(&station, "one", json!({"pos": ["C"]})).await;
    for pos in ["A", "B", "C", "D"] {
        station.register(pos).await;
    }
    let (mut of_some, mut of_one) = (
        follow(&station, &some, "?after=0").await,
        follow(&station, &one, "?after=0").await,
    );
    let mut of_d = follow(&station, &some, "?pos=D&after=0").await;
    for n in 0..3 {
        for pos in ["A", "B", "C", "D"] {
            station.push(pos, order(&format!("{pos}-{n}"), "1")).await;
            station.cancel(pos).await;
        }
    }
    let expected = |pos: &[&str]| {
        let registered = pos.iter().map(|pos| format!("{pos} pos_registered"));
        let rounds = (0..3).flat_map(|_| pos.iter());
        let each = rounds.flat_map(|pos| {
            ["order_ready", "order_canceled"]
                .into_iter()
                .map(move |kind| format!("{pos} {kind}"))
        });
        registered.chain(each).collect::<Vec<_>>()
    };
    let told = |event: &Value| {
        format!(
            "{} {}",
            event["pos"].as_str().expect("a name"),
            event["type"].as_str().expect("a type")
        )
    };
    for (feed, pos) in [
        (&mut of_some, ["B", "D"].as_slice()),
        (&mut of_one, &["C"]),
        (&mut of_d, &["D"]),
    ] {
        let mut last = 0;
        for expected in expected(pos) {
            let event = feed.next().await;
            assert_eq!(told(&event.data), expected);
            assert!(event.id.expect("a number") > last);
            last = event.id.expect("a number");
        }
    }
    // In pages, from the log.
    let page = get(&station, &some, "/v1/events?after=0&wait=0").await.json();
    let events = page["events"].as_array().expect("events");
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected(&["B", "D"]));
    let middle = &events[5];
    let after = format!("/v1/events?wait=0&after={}", middle["seq"]);
    let rest = get(&station, &some, &after).await.json();
    assert_eq!(rest["events"].as_array().expect("events"), &events[6..]);
    let next = format!("/v1/events?wait=0&after={}", page["next"]);
    assert_eq!(get(&station, &some, &next).await.json()["events"], json!([]));
    for pos in ["A", "NEVER", "C"] {
        let refused = get(&station, &some, &format!("/v1/events?pos={pos}&wait=0")).await;
        assert_eq!(refused, (404, "pos_unknown"));
    }
    // Who stands at another's machine is none of its business either.
    station.poll("A").await;
    station.poll("B").await;
    let event = of_some.next().await;
    assert_eq!(told(&event.data), "B scanned");
}

#[tokio::test]
async fn a_revoked_token_is_cut_off_at_once() {
    let station = Station::with(over_tcp()).await;
    station.register("A").await;
    station.register("B").await;
    let token = station.token("lost", json!({"pos": ["A", "B"]})).await;
    let kept = holder(&station, "kept", json!({"pos": ["A"]})).await;
    let header = bearer(&token);
    let mut feed = station.feed_over(station.afar().await, "", &header).await;
    let mut of_one = station.feed_over(station.afar().await, "?pos=A", &header).await;
    let mut of_kept = follow(&station, &kept, "").await;
    let mut waiting = station.afar().await;
    waiting.send(&request("GET", "/v1/events?wait=60", &header, b"")).await;
    // A push of which only the head has come.
    let mut half = station.afar().await;
    let body = order("T-1", "1").to_string();
    let whole = request("PUT", "/v1/pos/A/order", &header, body.as_bytes());
    let (head, rest) = whole.split_at(whole.len() - 5);
    half.send(head).await;
    let mut idle = station.afar().await;
    idle.send(&request("GET", "/v1/pos/A", &header, b"")).await;
    assert_eq!(idle.reply().await, 200);
    while station.metric("surtidor_feed_followers").await < 4.0 {}

    assert_eq!(station.delete("/v1/tokens/lost").await, 204);
    half.send(rest).await;
    assert_eq!(half.reply().await, (401, "unauthorized"));
    station.push("A", order("T-2", "1")).await;
    assert!(feed.next_or_end().await.is_none(), "the stream has ended");
    assert!(of_one.next_or_end().await.is_none());
    assert_eq!(waiting.reply().await, (401, "unauthorized"));
    idle.send(&request("GET", "/v1/pos/A", &header, b"")).await;
    assert_eq!(idle.reply().await, (401, "unauthorized"), "on a connection that it had");
    assert_eq!(of_kept.next().await.data["external_reference"], "T-2", "others go on");
    assert_eq!(station.get("/v1/orders/T-1").await, (404, "order_unknown"));
    assert_eq!(station.delete("/v1/tokens/lost").await, (404, "token_unknown"));
    // Its name may be given again, and the old token stays dead.
    let again = holder(&station, "lost", json!({"pos": ["A"]})).await;
    assert_eq!(get(&station, &again, "/v1/pos/A").await, 200);
    let old = station.call_from_afar(&header, "GET", "/v1/pos/A", "").await;
    assert_eq!(old, (401, "unauthorized"));
}

#[tokio::test]
async fn only_administrators_make_tokens() {
    let setup = over_tcp().env("SURTIDOR_CONTROL__TOKEN", CANARIES[2]);
    let mut station = Station::with(setup).await;
    let some = holder(&station, "some", json!({"pos": ["A"]})).await;
    for (method, path) in [
        ("GET", "/v1/tokens"),
        ("GET", "/v1/tokens?x=1"),
        ("PUT", "/v1/tokens/mine"),
        ("PUT", "/v1/tokens/a%20b"),
        ("DELETE", "/v1/tokens/some"),
        ("DELETE", "/v1/tokens/none"),
    ] {
        let refused = station.call_from_afar(&some, method, path, json!({"all": true})).await;
        assert_eq!(refused, (403, "forbidden"), "{method} {path}");
    }
    let all = holder(&station, "all", json!({"all": true})).await;
    let configured = bearer(CANARIES[2]);
    for header in [&all, &configured] {
        assert_eq!(station.call_from_afar(header, "GET", "/v1/pos", "").await, 200);
        let list = station.call_from_afar(header, "GET", "/v1/tokens", "").await;
        assert_eq!(names(&list, "tokens", "name"), ["all", "some"]);
        let again = station
            .call_from_afar(header, "PUT", "/v1/tokens/some", json!({"all": true}))
            .await;
        assert_eq!(again, (409, "token_exists"));
    }
    let list = station.get("/v1/tokens").await.json();
    let [all_row, some_row] = list["tokens"].as_array().expect("rows").as_slice() else {
        panic!("{list}")
    };
    assert_eq!((&all_row["all"], &all_row["pos"]), (&json!(true), &json!([])));
    assert_eq!((&some_row["all"], &some_row["pos"]), (&json!(false), &json!(["A"])));
    assert!(some_row["created_at"].is_string() && some_row["used_at"].is_string());
    let page = station.get("/v1/tokens?limit=1").await.json();
    assert_eq!(page["next"], "all");
    let page = station.get("/v1/tokens?limit=1&cursor=all").await.json();
    assert_eq!(
        (&page["tokens"][0]["name"], &page["next"]),
        (&json!("some"), &Value::Null)
    );

    let header = some.clone();
    let used = some_row["used_at"].clone();
    station.restart().await;
    assert_eq!(
        station.call_from_afar(&header, "GET", "/v1/pos/A", "").await,
        (404, "pos_unknown"),
        "it is let in"
    );
    let list = station.get("/v1/tokens").await.json();
    assert!(list["tokens"][1]["used_at"].as_str() >= used.as_str(), "{list}");
    assert!(list["tokens"][0]["used_at"].is_string(), "it is remembered: {list}");
    station.delete("/v1/tokens/some").await;
    station.restart().await;
    let reply = station.call_from_afar(&header, "GET", "/v1/pos/A", "").await;
    assert_eq!(reply, (401, "unauthorized"), "a restart brings nothing back");
}

#[tokio::test]
async fn what_a_token_is_made_of_is_checked() {
    let station = Station::start().await;
    let many = json!({"pos": (0..65).map(|n| format!("P{n}")).collect::<Vec<_>>()});
    for (body, code, pointer) in [
        ("", "invalid_json", ""),
        ("[]", "invalid_field", ""),
        ("{}", "invalid_field", "/pos"),
        (r#"{"pos":[]}"#, "invalid_field", "/pos"),
        (r#"{"pos":"A"}"#, "invalid_field", "/pos"),
        (r#"{"pos":["A","a b"]}"#, "invalid_field", "/pos/1"),
        (r#"{"pos":["*"]}"#, "invalid_field", "/pos/0"),
        (r#"{"pos":[7]}"#, "invalid_field", "/pos/0"),
        (r#"{"all":false}"#, "invalid_field", "/all"),
        (r#"{"all":1}"#, "invalid_field", "/all"),
        (r#"{"all":true,"pos":["A"]}"#, "unknown_field", "/pos"),
        (r#"{"pos":["A"],"expires":1}"#, "unknown_field", "/expires"),
        (&many.to_string(), "invalid_field", "/pos"),
    ] {
        let reply = station.put("/v1/tokens/a", body).await;
        assert_eq!(reply, (400, code), "{body}");
        assert_eq!(reply.json()["pointer"].as_str().unwrap_or_default(), pointer, "{body}");
    }
    for name in ["a%20b", "..", "", &"x".repeat(65)] {
        let reply = station.put(&format!("/v1/tokens/{name}"), json!({"all": true})).await;
        assert_eq!(reply, (400, "invalid_name"), "{name}");
    }
    assert_eq!(
        station.call("POST", "/v1/tokens", "{}").await,
        (405, "method_not_allowed")
    );
    assert_eq!(station.get("/v1/tokens/a").await, (405, "method_not_allowed"));
    assert_eq!(
        station.get("/v1/tokens").await.json(),
        json!({"tokens": [], "next": null})
    );
}

#[tokio::test]
async fn ten_thousand_wrong_tokens_open_nothing() {
    let station = Station::with(over_tcp()).await;
    let token = station.token("right", json!({"all": true})).await;
    let (prefix, hex) = token.split_at("srt_".len());
    assert_eq!((prefix, hex.len()), ("srt_", 64));
    // One that holds a place and says nothing costs nobody else's.
    let _silent: Wire = station.afar().await;
    for n in 0..10_000_usize {
        // One digit of it is another.
        let mut wrong: Vec<u8> = hex.into();
        let place = n % 64;
        let digit = (wrong[place] as char).to_digit(16).expect("hexadecimal") as usize;
        wrong[place] = b"0123456789abcdef"[(digit + 1 + n / 64 % 15) % 16];
        let wrong = String::from_utf8(wrong).expect("digits");
        let mut wire = station.afar().await;
        wire.send(&request("GET", "/v1/pos", &bearer(&format!("srt_{wrong}")), b""))
            .await;
        assert_eq!(wire.reply().await, (401, "unauthorized"));
        assert!(n > 0 || wire.rest().await.is_empty(), "and the connection is closed");
    }
    for wrong in [hex, &token[..67], &format!("{token}0"), &token.to_uppercase(), ""] {
        let reply = station.call_from_afar(&bearer(wrong), "GET", "/v1/pos", "").await;
        assert_eq!(reply, (401, "unauthorized"));
    }
    let refused = "surtidor_control_problems_total{code=\"unauthorized\"}";
    assert_eq!(station.metric(refused).await, 10_005.0);
    let reply = station.call_from_afar(&bearer(&token), "GET", "/v1/pos", "").await;
    assert_eq!(reply, 200);
}

/// What the answer says is on the disk, whole: the token is good, and what it was made for.
#[test]
fn a_token_is_there_after_a_kill_at_its_answer() {
    let place = folder();
    let start = || on(place.path()).with(&[("SURTIDOR_CONTROL__TCP", "127.0.0.1:0".as_ref())]);
    let mut tokens: Vec<(String, String)> = Vec::new();
    for n in 0..5 {
        let server = start().start();
        let mut admin = server.controller();
        for (name, token) in &tokens {
            let mut wire = Client::tcp(server.control_tcp.expect("it listens")).expect("it listens");
            let request = |pos: &str| format!("GET /v1/pos/{pos} HTTP/1.1\r\nHost: s\r\n{}\r\n", bearer(token));
            wire.send(&request("PUMP0")).expect("it runs");
            let reply = wire.reply().expect("it answers");
            assert_eq!((reply.status, reply.code()), (404, "pos_unknown".into()), "{name}");
        }
        let name = format!("t-{n}");
        let body = format!(r#"{{"pos":["PUMP{n}"]}}"#);
        let made = admin.ask("PUT", &format!("/v1/tokens/{name}"), &body).expect("it runs");
        let token = made.expect(201).json()["token"].as_str().expect("a token").to_owned();
        let ended = server.kill();
        assert!(!ended.log.contains("srt_"), "a token was logged");
        tokens.push((name, token));
    }
    // Nowhere on the disk does one of them stand.
    let stored = std::fs::read(place.path().join("data/surtidor.sqlite")).expect("the log");
    let wal = std::fs::read(place.path().join("data/surtidor.sqlite-wal")).unwrap_or_default();
    for (_, token) in &tokens {
        for bytes in [&stored, &wal] {
            let found = bytes.windows(64).any(|window| window == &token.as_bytes()[4..]);
            assert!(!found, "a token stands on the disk");
        }
    }
}
