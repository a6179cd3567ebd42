//! The demo as it is built: whole sales through what a visitor's buttons say, everything that goes wrong, and its end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::{Client, Events, Reply, WAIT, all_events, binary};

/// A running demo. It is killed when this is dropped.
struct Demo {
    child: Child,
    _out: BufReader<ChildStdout>,
    page: SocketAddr,
    sandbox: SocketAddr,
    socket: PathBuf,
}

impl Demo {
    /// Returns once it has said all.
    fn start() -> Demo {
        let mut child = Command::new(binary())
            .args(["demo"])
            .env("SURTIDOR_DATA__DIR", "/nowhere/of/another/server")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let (mut page, mut sandbox, mut socket) = (None, None, None);
        loop {
            let mut line = String::new();
            assert!(out.read_line(&mut line).expect("readable") > 0, "it ended");
            let address = |url: &str| url.split('/').nth(2).expect("a host").parse().expect("an address");
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["page", url] => page = Some(address(url)),
                ["sandbox", url] => sandbox = Some(address(url)),
                ["control", path] => socket = Some(PathBuf::from(path)),
                ["Open", ..] => break,
                _ => {}
            }
        }
        Demo {
            child,
            _out: out,
            page: page.expect("it was told"),
            sandbox: sandbox.expect("it was told"),
            socket: socket.expect("it was told"),
        }
    }

    fn folder(&self) -> &Path {
        self.socket.parent().expect("a folder")
    }

    fn client(&self) -> Client {
        Client::tcp(self.page).expect("it listens").named("localhost")
    }

    fn ask(&self, request: &str) -> Reply {
        let mut client = self.client();
        client.send(request).expect("it listens");
        client.reply().expect("it answers")
    }

    fn act(&self, action: &str) -> Reply {
        let (page, length) = (self.page, action.len());
        self.ask(&format!(
            "POST /do HTTP/1.1\r\nHost: {page}\r\nOrigin: http://{page}\r\nContent-Length: {length}\r\n\r\n{action}"
        ))
    }

    fn does(&self, actions: &[&str]) {
        for action in actions {
            let reply = self.act(action);
            assert_eq!(reply.status, 204, "{action}: {}", reply.body);
        }
    }

    fn state(&self) -> Value {
        self.client().get("/state").expect("it answers").expect(200).json()
    }

    fn events(&self, last: &str) -> Events {
        self.client().follow("/events", last).expect("it answers")
    }

    /// Waits until the show is so, as a page would see it.
    fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + WAIT;
        let mut states = self.events("").filter(|event| event["boot"].is_string());
        loop {
            let state = states.next().expect("it goes on");
            if so(&state) {
                return state;
            }
            assert!(Instant::now() < deadline, "not {what}: {state:#}");
        }
    }

    /// Waits until a line of the protocol is so.
    fn said(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut lines = self.events("").filter(|event| event["channel"].is_string());
        lines
            .find(|line| so(line))
            .unwrap_or_else(|| panic!("not said: {what}"))
    }

    /// A product is chosen and scanned, and the telephone shows its price.
    fn vending_shows(&self, slot: &str) {
        let choose = format!(r#"{{"do":"choose","slot":"{slot}"}}"#);
        self.does(&[&choose, r#"{"do":"scan","machine":"vending"}"#]);
        self.until("shown", |state| {
            state["vending"]["phones"][0]["screen"] == "order" && state["vending"]["phase"] == "asking"
        });
    }

    /// What the feed tells of an order, beside what the page shows.
    fn history(&self, reference: &str) -> Vec<String> {
        let mut client = Client::unix(&self.socket).expect("it listens");
        let events = all_events(&mut client).into_iter();
        let its = events.filter(|event| event["external_reference"] == reference);
        its.map(|event| event["type"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The simulated Mercado Pago's own payments of an order: how each stands.
    fn payments(&self, reference: &str) -> Vec<String> {
        let mut client = Client::tcp(self.sandbox).expect("it listens");
        let state = client.get("/sandbox/state").expect("it answers").expect(200).json();
        assert_eq!(state["violations_in_all"], 0, "{}", state["violations"]);
        let payments = state["payments"].as_array().expect("a list").iter();
        let its = payments.filter(|payment| payment["external_reference"] == reference);
        its.map(|payment| payment["status"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The process ids of its servers.
    fn servers(&self) -> Vec<String> {
        let folder = self.folder().display().to_string();
        let found = Command::new("pgrep").args(["-f", &folder]).output().expect("pgrep");
        let text = String::from_utf8(found.stdout).expect("numbers");
        text.lines().map(str::to_owned).collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(done.is_ok_and(|status| status.success()), "kill -{name}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test that failed leaves nothing behind.
        let _ = std::fs::remove_dir_all(self.folder());
    }
}

fn phase(machine: &'static str, phase: &'static str) -> impl Fn(&Value) -> bool {
    move |state| state[machine]["phase"] == phase
}

fn has_news(state: &Value, machine: &str, kind: &str) -> bool {
    let news = state[machine]["sale"]["news"].as_array();
    news.is_some_and(|news| news.iter().any(|item| item["type"] == kind))
}

#[test]
fn a_tank_is_filled_and_paid() {
    let demo = Demo::start();
    demo.does(&[r#"{"do":"lift"}"#, r#"{"do":"scan","machine":"pump"}"#]);
    let waits = demo.said("in_process", |line| {
        line["channel"] == "poll" && line["note"] == "in_process"
    });
    assert_eq!(waits["status"], 400);
    assert_eq!(
        waits["answer"],
        r#"{"error":{"type":"in_process","message":"Fuel is still flowing."}}"#
    );
    demo.until("some petrol", |state| state["pump"]["litres"] != "0.00");
    demo.does(&[r#"{"do":"hang_up"}"#]);
    let state = demo.until("shown", |state| state["pump"]["phones"][0]["screen"] == "order");
    let amount = state["pump"]["phones"][0]["order"]["amount"].clone();
    assert_eq!(state["pump"]["counted"], amount, "all decimals are there");
    demo.does(&[r#"{"do":"pay","machine":"pump","phone":1}"#]);
    let state = demo.until("the receipt", |state| state["pump"]["sale"]["receipt"].is_string());
    assert_eq!(state["pump"]["phase"], "thanks");
    let receipt = state["pump"]["sale"]["receipt"].as_str().expect("text");
    assert!(
        receipt.contains(amount.as_str().expect("text")) && receipt.contains("Surtidor 4"),
        "{receipt}"
    );
    assert_eq!(
        demo.history("PUMP4-0001"),
        ["order_ready", "order_shown", "order_paid", "delivery_reported"]
    );
    assert_eq!(demo.payments("PUMP4-0001"), ["approved"]);
    for channel in ["poll", "control", "event", "notification", "api"] {
        demo.said(channel, |line| {
            line["channel"] == channel && (line["status"] == 200 || channel == "event")
        });
    }
    demo.does(&[r#"{"do":"next","machine":"pump"}"#]);
    let state = demo.state();
    assert_eq!(
        (&state["pump"]["phase"], &state["pump"]["phones"][0]),
        (&"idle".into(), &Value::Null)
    );
}

#[test]
fn in_each_mode_a_product_is_bought() {
    let demo = Demo::start();
    let mut reference = 0;
    for mode in ["attended", "intent", "unattended"] {
        demo.does(&[&format!(r#"{{"do":"mode","machine":"vending","mode":"{mode}"}}"#)]);
        let printed = demo.state()["vending"]["code"].clone();
        // Scanned first: nothing is there yet.
        demo.does(&[r#"{"do":"scan","machine":"vending"}"#, r#"{"do":"choose","slot":"A1"}"#]);
        let state = demo.until("shown", |state| state["vending"]["phones"][0]["screen"] == "order");
        assert_eq!(
            state["vending"]["phones"][0]["polls"] == 0,
            mode != "unattended",
            "{mode}"
        );
        assert_eq!(state["vending"]["code"] == printed, mode != "intent", "{mode}");
        assert_eq!(
            demo.act(r#"{"do":"mode","machine":"vending","mode":"intent"}"#).status,
            409
        );
        demo.does(&[r#"{"do":"pay","machine":"vending","phone":1}"#]);
        demo.until("the receipt", |state| state["vending"]["sale"]["receipt"].is_string());
        reference += 1;
        let reference = format!("VEND1-{reference:04}");
        let history = demo.history(&reference);
        let begins = match mode {
            "unattended" => ["order_ready", "order_shown"],
            _ => ["order_sending", "order_sent"],
        };
        assert_eq!(history[..2], begins);
        assert_eq!(history[2..], ["order_paid", "delivery_reported"]);
        assert_eq!(demo.payments(&reference), ["approved"]);
        demo.does(&[r#"{"do":"next","machine":"vending"}"#]);
    }
}

#[test]
fn a_cancel_waits_for_mercado_pago_and_a_killed_server_sends_again() {
    let demo = Demo::start();
    demo.does(&[r#"{"do":"mode","machine":"vending","mode":"attended"}"#]);
    demo.vending_shows("A1");
    demo.does(&[
        r#"{"do":"slow","on":true}"#,
        r#"{"do":"cancel_while_paying","machine":"vending"}"#,
    ]);
    demo.until("Mercado Pago is asked", phase("vending", "canceling"));
    demo.said("not yet", |line| {
        line["what"] == "DELETE /v1/pos/VEND1/order?reason=paid_elsewhere" && line["status"] == 202
    });
    demo.does(&[r#"{"do":"slow","on":false}"#]);
    demo.until("it goes back", |state| {
        state["vending"]["phase"] == "canceled" && state["vending"]["phones"][0]["payment"]["status"] == "refunded"
    });
    assert_eq!(demo.payments("VEND1-0001"), ["refunded"]);

    demo.does(&[
        r#"{"do":"slow","on":true}"#,
        r#"{"do":"mode","machine":"vending","mode":"intent"}"#,
        r#"{"do":"choose","slot":"B1"}"#,
    ]);
    demo.said("on its way", |line| {
        line["what"] == "order_sending" && line["note"] == "VEND1-0002"
    });
    demo.does(&[
        r#"{"do":"kill"}"#,
        r#"{"do":"slow","on":false}"#,
        r#"{"do":"scan","machine":"vending"}"#,
    ]);
    demo.until("it is there", |state| {
        state["server"]["deaths"] == 1 && state["vending"]["phones"][0]["screen"] == "order"
    });
    demo.until("the machine knows", phase("vending", "asking"));
    demo.does(&[r#"{"do":"pay","machine":"vending","phone":1}"#]);
    demo.until("paid", phase("vending", "thanks"));
    assert_eq!(demo.payments("VEND1-0002"), ["approved"]);
}

#[test]
fn what_goes_wrong_at_the_vending_machine_ends_well() {
    let demo = Demo::start();
    // The notification is lost, and the search finds the payment.
    demo.does(&[r#"{"do":"lose","on":true}"#]);
    demo.vending_shows("A1");
    demo.does(&[r#"{"do":"pay","machine":"vending","phone":1}"#]);
    let state = demo.until("paid all the same", phase("vending", "thanks"));
    assert_eq!(state["loses"], false, "they are lost for one order");
    demo.said("lost", |line| line["note"] == "lost on the way");
    assert_eq!(demo.payments("VEND1-0001"), ["approved"]);

    // Two telephones pay.
    demo.vending_shows("A2");
    demo.does(&[r#"{"do":"pay_twice","machine":"vending"}"#]);
    let state = demo.until("one goes back", |state| {
        state["vending"]["phase"] == "thanks"
            && has_news(state, "vending", "refund_done")
            && state["vending"]["phones"][1]["payment"]["status"] == "refunded"
    });
    assert_eq!(state["vending"]["phones"][0]["payment"]["status"], "approved");
    let mut payments = demo.payments("VEND1-0002");
    payments.sort();
    assert_eq!(payments, ["approved", "refunded"]);

    // It is canceled while the telephone still shows it.
    demo.vending_shows("A3");
    demo.does(&[r#"{"do":"cancel_while_paying","machine":"vending"}"#]);
    demo.until("it goes back", |state| {
        state["vending"]["phase"] == "canceled" && state["vending"]["phones"][0]["payment"]["status"] == "refunded"
    });
    let history = demo.history("VEND1-0003");
    assert!(history.contains(&"late_payment".to_owned()) && !history.contains(&"order_paid".to_owned()));
    assert_eq!(demo.payments("VEND1-0003"), ["refunded"]);

    // The product is stuck.
    demo.does(&[r#"{"do":"jam","on":true}"#]);
    demo.vending_shows("B1");
    demo.does(&[r#"{"do":"pay","machine":"vending","phone":1}"#]);
    let state = demo.until("it goes back", |state| {
        state["vending"]["phones"][0]["payment"]["status"] == "refunded"
            && state["vending"]["sale"]["receipt"]
                .as_str()
                .is_some_and(|text| text.contains("Devolución"))
    });
    assert_eq!(
        (&state["vending"]["phase"], &state["vending"]["jammed"]),
        (&"not_delivered".into(), &false.into())
    );
    assert_eq!(demo.payments("VEND1-0004"), ["refunded"]);
}

#[test]
fn a_killed_server_comes_back_and_knows_all() {
    let demo = Demo::start();
    let before = demo.until("up", |state| state["server"]["health"] == "up");
    assert_eq!(before["server"]["deaths"], 0);
    demo.vending_shows("B2");
    let old = demo.servers();
    demo.does(&[r#"{"do":"kill"}"#]);
    demo.until("down", |state| state["server"]["health"] == "down");
    assert_eq!(demo.act(r#"{"do":"kill"}"#).status, 409);
    // What is done meanwhile waits: the payment at Mercado Pago, the order at the pump.
    demo.does(&[
        r#"{"do":"pay","machine":"vending","phone":1}"#,
        r#"{"do":"lift"}"#,
        r#"{"do":"scan","machine":"pump"}"#,
    ]);
    demo.until("some petrol", |state| state["pump"]["litres"] != "0.00");
    demo.does(&[r#"{"do":"hang_up"}"#]);
    demo.said("no answer", |line| {
        line["channel"] == "poll" && line["note"] == "no answer"
    });
    let state = demo.until("all is paid, or can be", |state| {
        state["vending"]["phase"] == "thanks" && state["pump"]["phones"][0]["screen"] == "order"
    });
    assert_eq!(
        (&state["server"]["health"], &state["server"]["deaths"]),
        (&"up".into(), &1.into())
    );
    assert_eq!(
        demo.history("VEND1-0001")
            .iter()
            .filter(|kind| *kind == "order_paid")
            .count(),
        1
    );
    assert_eq!(demo.history("PUMP4-0001"), ["order_ready", "order_shown"]);
    assert!(!old.is_empty() && demo.servers() != old);
}

#[test]
fn a_page_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let demo = Demo::start();
    demo.said("both machines live", |line| {
        line["what"] == "PUT /v1/pos/VEND1/lease" && line["status"] == 204
    });
    let boot = demo.state()["boot"].as_str().expect("text").to_owned();
    let seqs = |last: &str, count: usize| -> Vec<u64> {
        let lines = demo.events(last).filter_map(|event| event["seq"].as_u64());
        lines.take(count).collect()
    };
    assert_eq!(seqs("", 4), [1, 2, 3, 4]);
    assert_eq!(seqs(&format!("{boot}.2"), 2), [3, 4]);
    // What another run has said counts for nothing.
    assert_eq!(seqs("another.2", 2), [1, 2]);
}

#[test]
fn only_the_page_on_this_machine_may_look_and_act() {
    let demo = Demo::start();
    let page = demo.page;
    let page_itself = demo.ask(&format!("GET / HTTP/1.1\r\nHost: {page}\r\n\r\n")).expect(200);
    for header in [
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
    ] {
        assert!(page_itself.head.to_lowercase().contains(header), "{}", page_itself.head);
    }
    // Another name leads here by somebody else's DNS.
    for path in ["/", "/state", "/events"] {
        demo.ask(&format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n\r\n"))
            .expect(421);
    }
    let kill = r#"{"do":"kill"}"#;
    let length = kill.len();
    for origin in ["", "Origin: http://evil.example\r\n", "Origin: null\r\n"] {
        let request = format!("POST /do HTTP/1.1\r\nHost: {page}\r\n{origin}Content-Length: {length}\r\n\r\n{kill}");
        demo.ask(&request).expect(403);
    }
    assert_eq!(demo.act("{}").status, 400);
    assert_eq!(demo.act(&format!("{{\"do\":\"{}\"}}", "x".repeat(2_000))).status, 400);
    assert_eq!(demo.act(r#"{"do":"pay","machine":"pump","phone":1}"#).status, 409);
    demo.ask(&format!("GET /../etc/passwd HTTP/1.1\r\nHost: {page}\r\n\r\n"))
        .expect(404);
    demo.ask(&format!("PUT / HTTP/1.1\r\nHost: {page}\r\nContent-Length: 0\r\n\r\n"))
        .expect(405);
    assert_eq!(demo.state()["server"]["deaths"], 0);
}

/// Whether it is so within what a test waits: for processes of others, of which nothing tells the end.
fn comes_true(so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + WAIT;
    while !so() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    true
}

#[test]
fn ctrl_c_leaves_no_child_and_no_folder() {
    for signal in ["INT", "TERM"] {
        let mut demo = Demo::start();
        let _looks = demo.events("");
        assert_eq!(demo.servers().len(), 1);
        let folder = std::fs::metadata(demo.folder()).expect("it is there");
        assert_eq!(folder.permissions().mode() & 0o777, 0o700, "nobody else looks into it");
        demo.signal(signal);
        assert!(demo.child.wait().expect("it is our child").success());
        assert!(demo.servers().is_empty(), "{:?}", demo.servers());
        assert!(!demo.folder().exists());
    }
}

#[test]
fn a_killed_demo_takes_its_server_along() {
    let mut demo = Demo::start();
    assert_eq!(demo.servers().len(), 1);
    demo.child.kill().expect("it is our child");
    assert!(comes_true(|| demo.servers().is_empty()), "{:?}", demo.servers());
}

#[test]
fn a_customer_that_comes_by_itself_pays_and_shows_its_receipt() {
    let bought = Command::new(binary())
        .args(["demo", "--buy"])
        .env_clear()
        .output()
        .expect("it runs");
    assert!(bought.status.success(), "{bought:?}");
    let told = String::from_utf8(bought.stdout).expect("text");
    let (said, receipt) = told.split_once("\n\n").expect("an empty line before the receipt");
    let at = |what: &str| {
        said.lines()
            .position(|line| line.contains(what))
            .unwrap_or_else(|| panic!("{what}: {said}"))
    };
    let order = [
        at("PUT /v1/pos/VEND1/order 201"),
        at("order_shown"),
        at("order_paid"),
        at("/delivery 200"),
    ];
    assert!(order.is_sorted(), "{said}");
    assert!(receipt.contains("VEND1-0001"), "{receipt}");
}
