//! The built command line against a running server.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use surtidor::sandbox::Faults;

use crate::support::api;
use crate::support::market::Market;
use crate::support::process::binary;
use crate::support::station::{CANARIES, Setup, Station, order};

/// Longer than anything that goes well takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Station {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(args).env_clear().env("SURTIDOR_SOCKET", self.socket());
        command
    }

    /// Runs the command line to its end.
    fn cli(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().expect("the binary runs"))
    }

    fn cli_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the binary runs");
        // Its standard input ends here.
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran(child.wait_with_output().unwrap())
    }

    fn watch(&self, args: &[&str]) -> Watch {
        let mut child = self
            .command(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let (lines, heard) = sync_channel(1024);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        Watch { child, heard }
    }
}

/// What a command said.
#[derive(Debug)]
struct Ran(Output);

impl Ran {
    fn code(&self) -> i32 {
        self.0.status.code().expect("it ended by itself")
    }

    #[track_caller]
    fn out(&self) -> String {
        assert_eq!(self.code(), 0, "{self:?}");
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap()
    }

    /// Standard error of one that failed with this code.
    #[track_caller]
    fn failed(&self, code: i32) -> String {
        assert_eq!(self.code(), code, "{self:?}");
        let said = String::from_utf8(self.0.stderr.clone()).unwrap();
        assert!(!said.contains("canary"), "a secret was told: {said}");
        said
    }
}

/// `watch` while it runs.
struct Watch {
    child: Child,
    heard: Receiver<String>,
}

impl Watch {
    fn next(&self) -> String {
        self.heard.recv_timeout(PATIENCE).expect("watch shows the event")
    }

    fn next_json(&self) -> Value {
        serde_json::from_str(&self.next()).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_refund_and_a_receipt_by_hand() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    let open = station.cli(&["order", "receipt", "T-1"]).failed(1);
    assert!(open.contains("(order_open)"), "{open}");
    station.pay("PUMP1", "T-1", 1, "100").await;

    let first = station.cli(&["order", "refund", "T-1", "--amount", "10.50"]);
    assert!(first.out().contains("refund\t10.50 of 1 requested (asked)\n"));
    let told = String::from_utf8(first.0.stderr.clone()).unwrap();
    let key = told.trim().rsplit(' ').next().unwrap();
    let again = station.cli(&["order", "refund", "T-1", "--amount", "10.50", "--key", key, "--json"]);
    assert_eq!(again.json()["refunds"].as_array().unwrap().len(), 1, "{told}");
    assert!(again.0.stderr.is_empty(), "the key is known");
    let other = station.cli(&["order", "refund", "T-1", "--key", key]).failed(1);
    assert!(other.contains("(refund_key_used)"), "{other}");
    station.cli(&["order", "refund", "T-1", "--payment", "1"]).out();
    let none = station.cli(&["order", "refund", "T-1"]).failed(1);
    assert!(none.contains("(refund_nothing_left)"), "{none}");

    let receipt = station.cli(&["order", "receipt", "T-1", "--width", "32"]).out();
    assert!(
        receipt.ends_with(
            "\nSaldo                       0.00\n--------------------------------\nNo válido como factura\n"
        )
    );
    assert_eq!(
        station.cli(&["order", "receipt", "T-1", "--json"]).json()["left"],
        "0.00"
    );
}

#[tokio::test]
async fn a_sale_by_hand() {
    let station = Station::start().await;
    let add = [
        "pos",
        "add",
        "PUMP1",
        "--key",
        "locationId=1",
        "--key",
        "positionId=PUMP1",
        "--name",
        "Pump 1",
    ];
    assert_eq!(station.cli(&add).out(), "PUMP1: registered\n");
    assert_eq!(station.cli(&add).out(), "PUMP1: up to date\n");
    assert_eq!(station.pos("PUMP1").await["name"], "Pump 1");
    station
        .cli(&["state", "PUMP1", "in_process", "--message", "Filling", "--lease", "60"])
        .out();
    assert_eq!(station.poll("PUMP1").await.json()["error"]["message"], "Filling");
    station.cli(&["lease", "PUMP1", "30"]).out();

    let push = [
        "order",
        "push",
        "PUMP1",
        "--amount",
        "18525.50",
        "--title",
        "SUPER",
        "--reference",
        "T-1",
        "--json",
    ];
    let pushed = station.cli(&push).json();
    assert_eq!(
        (&pushed["external_reference"], &pushed["amount"]),
        (&json!("T-1"), &json!("18525.50"))
    );
    assert_eq!(station.cli(&push).json(), pushed, "again is harmless");
    assert_eq!(station.poll("PUMP1").await, (200, "T-1"));
    let file = ["order", "push", "PUMP1", "--file", "-", "--replace"];
    let order = order("T-2", "900").to_string();
    assert!(station.cli_with_input(&file, &order).out().contains("T-2"));
    assert_eq!(station.poll("PUMP1").await, (200, "T-2"));

    let shown = station.cli(&["pos", "show", "PUMP1"]).out();
    assert!(
        shown.contains("ready") && shown.contains("T-2") && shown.contains("900.00"),
        "{shown}"
    );
    let listed = station.cli(&["pos", "list"]).out();
    assert!(listed.starts_with("PUMP1\tready\ttest\t"), "{listed:?}");
    assert_eq!(station.cli(&["pos", "list", "--json"]).json()["pos"], "PUMP1");
    assert!(station.cli(&["order", "show", "t-1"]).out().contains("replaced"));
    station
        .cli(&["order", "cancel", "PUMP1", "--reason", "paid_elsewhere"])
        .out();
    let orders = station
        .cli(&["order", "list", "--pos", "PUMP1", "--status", "canceled", "--json"])
        .json();
    assert_eq!(orders["external_reference"], "T-2");
    assert_eq!(station.cli(&["order", "list"]).out().lines().count(), 2);
    station.cli(&["pos", "remove", "PUMP1"]).out();
    assert_eq!(station.cli(&["pos", "list"]).out(), "");
}

#[tokio::test]
async fn a_sale_by_hand_at_mercado_pago() {
    for mode in ["attended", "intent"] {
        let market = Market::open().await;
        let station = &market.station;
        let mut feed = market.feed().await;
        api::pos(market.sandbox.address(), "DESK1", "").await;
        let add = [
            "pos",
            "add",
            "DESK1",
            "--mode",
            mode,
            "--external-store-id",
            "S1",
            "--account",
            "shop",
        ];
        assert_eq!(station.cli(&add).out(), "DESK1: registered\n");
        assert!(station.cli(&["pos", "show", "DESK1"]).out().contains(mode));
        let push = |reference: &'static str, more: &[&'static str]| {
            let words = [
                "order",
                "push",
                "DESK1",
                "--amount",
                "900",
                "--title",
                "a",
                "--reference",
                reference,
            ];
            station.cli(&[&words[..], more].concat())
        };
        let out = push("T-1", &["--wait", "10"]).out();
        assert!(out.contains("status\tready\n") && out.contains(mode), "{out}");
        assert_eq!(
            station.cli(&["order", "cancel", "DESK1"]).out(),
            "DESK1: the order is canceled\n"
        );
        if mode == "intent" {
            let out = push("T-2", &["--wait", "10", "--qr", "dynamic"]).out();
            assert!(out.contains("qr data\t00020101"), "{out}");
        } else {
            let refused = push("T-2", &["--qr", "dynamic"]).failed(1);
            assert!(refused.contains("/qr"), "{refused}");
            push("T-2", &["--wait", "10"]).out();
        }
        market.stand_at("DESK1").await.pay().await;
        assert_eq!(feed.until("order_canceled").await.data["external_reference"], "T-1");
        feed.until("order_paid").await;
        assert!(
            station
                .cli(&["order", "cancel", "DESK1"])
                .failed(1)
                .contains("(order_paid)")
        );

        // Mercado Pago does not answer: nobody knows whether it is canceled.
        push("T-3", &["--wait", "10"]).out();
        let slow = Faults {
            slow: Duration::from_secs(7),
            ..Faults::default()
        };
        market.sandbox.set_faults(slow).await.expect("it runs");
        let undecided = station.cli(&["order", "cancel", "DESK1"]).failed(3);
        assert!(
            undecided.contains("Mercado Pago has not answered yet: T-3 on DESK1"),
            "{undecided}"
        );
        assert!(station.cli(&["order", "show", "T-3"]).out().contains("being canceled"));
        market.sandbox.set_faults(Faults::default()).await.expect("it runs");
        assert_eq!(feed.until("order_canceled").await.data["external_reference"], "T-3");

        let nowhere = [
            "pos",
            "add",
            "NOWHERE",
            "--mode",
            mode,
            "--external-store-id",
            "S1",
            "--account",
            "shop",
        ];
        station.cli(&nowhere).out();
        let push = [
            "order", "push", "NOWHERE", "--amount", "9", "--title", "a", "--wait", "10",
        ];
        let rejected = station.cli(&push).failed(1);
        assert!(
            rejected.contains("no such point of sale") && rejected.contains("(order_rejected)"),
            "{rejected}"
        );
        let listed = station
            .cli(&["order", "list", "--status", "rejected", "--pos", "NOWHERE"])
            .out();
        assert_eq!(listed.lines().count(), 1);
    }
}

#[tokio::test]
async fn exit_codes_and_advice_tell_what_went_wrong() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.push("PUMP1", order("T-1", "100")).await;
    for (args, code, says) in [
        (&["pos", "show", "NOBODY"][..], 1, "(pos_unknown)"),
        (&["order", "show", "NONE"], 1, "(order_unknown)"),
        (&["order", "deliver", "T-1", "dispensed"], 1, "(order_not_paid)"),
        (
            &["order", "push", "PUMP1", "--amount", "1", "--title", "a"],
            1,
            "(order_open)",
        ),
        (
            &[
                "order",
                "push",
                "PUMP1",
                "--amount",
                "1",
                "--title",
                "a",
                "--reference",
                "T-1",
            ],
            1,
            "(reference_used)",
        ),
        (
            &[
                "order",
                "push",
                "PUMP1",
                "--amount",
                "1.001",
                "--title",
                "a",
                "--replace",
            ],
            1,
            "/amount",
        ),
        (&["state", "PUMP1", "timeout"], 1, "(order_open)"),
        (&["state", "PUMP1", "ready"], 2, "ready"),
        (&["pos", "add", "a b", "--key", "locationId=1"], 2, "a b"),
        (&["pos", "import", "/nowhere.csv"], 2, "/nowhere.csv"),
        (&["pos", "url", "PUMP1"], 2, "--base"),
        (
            &["pos", "url", "PUMP1", "--config", "/nowhere.toml"],
            78,
            "/nowhere.toml",
        ),
        (&["watch", "--after", "999999"], 1, "(events_trimmed)"),
        (&["pos", "list", "--socket", "/nowhere.sock"], 3, "/nowhere.sock"),
        (&["nonsense"], 2, "nonsense"),
    ] {
        let said = station.cli(args).failed(code);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    let problem = station.cli(&["pos", "show", "NOBODY", "--json"]);
    assert!(problem.failed(1).contains("pos_unknown"));
    let socket = station.socket().display().to_string();
    station.stop().await;
    assert!(
        Ran(Command::new(binary())
            .args(["pos", "list", "--socket", &socket])
            .output()
            .unwrap())
        .failed(3)
        .contains("is `surtidor serve` running?")
    );
}

#[tokio::test]
async fn many_are_imported_and_each_that_fails_is_named() {
    let station = Station::start().await;
    let file = station.folder().join("pumps.csv");
    let path = file.display().to_string();
    let mut rows = String::from("pos,name,key.locationId,key.positionId\n");
    (0..200).for_each(|n| rows.push_str(&format!("P{n},Pump {n},1,P{n}\n")));
    std::fs::write(&file, &rows).unwrap();
    assert_eq!(
        station.cli(&["pos", "import", &path]).out(),
        "200 registered, 0 up to date, 0 failed\n"
    );
    assert_eq!(
        station.cli(&["pos", "import", &path]).out(),
        "0 registered, 200 up to date, 0 failed\n"
    );
    assert_eq!(station.poll("P199").await, (400, "unavailable"));
    assert_eq!(
        station.cli(&["pos", "list", "--json"]).out().lines().count(),
        200,
        "over pages"
    );

    std::fs::write(&file, "pos,key.locationId,key.positionId\nQ1,1,P1\nQ 2,1,2\nQ3,9,9\n").unwrap();
    let ran = station.cli(&["pos", "import", &path]);
    assert!(ran.failed(1).contains("2 of 3 rows failed"));
    let out = String::from_utf8(ran.0.stdout).unwrap();
    assert!(
        out.contains("line 2: Q1: ") && out.contains("keys_taken") && out.contains("line 3: Q 2: "),
        "{out}"
    );
    assert_eq!(
        station.poll_with("locationId=9&positionId=9").await,
        (400, "unavailable")
    );
}

#[tokio::test]
async fn the_url_that_is_printed_can_be_polled() {
    let secrets = |text: &str| Setup::default().env("SURTIDOR_POLL__SECRET", text);
    let mut station = Station::with(secrets(CANARIES[3])).await;
    let keys = json!({"locationId": "62 32", "positionId": "ñ&k=1"});
    station.register_as("PUMP1", json!({"keys": keys})).await;
    station.register_as("PUMP2", json!({"url_secret": false})).await;
    let file = station.file().display().to_string();
    let mut printed = Vec::new();
    for pos in ["PUMP1", "PUMP2"] {
        let args = [
            "pos",
            "url",
            pos,
            "--config",
            &file,
            "--base",
            "https://pay.example.com",
        ];
        let ran = station
            .command(&args)
            .env("SURTIDOR_POLL__SECRET", CANARIES[3])
            .output()
            .unwrap();
        let url = Ran(ran).out().trim_end().to_owned();
        let query = url
            .strip_prefix("https://pay.example.com/pay-mp?")
            .expect("base and path")
            .to_owned();
        assert!(!query.contains("canary"));
        printed.push(query);
    }
    station.push("PUMP1", order("T-1", "100")).await;
    station.push("PUMP2", order("T-2", "100")).await;
    assert_eq!(station.poll_with(&printed[0]).await, (200, "T-1"));
    assert_eq!(station.poll_with(&printed[1]).await, (200, "T-2"));
    assert!(printed[0].contains("&k=") && !printed[1].contains("&k="));
    let without = printed[0].split("&k=").next().unwrap().to_owned();
    assert_eq!(station.poll_with(&without).await, (400, "invalid"));
    station.restart_with(secrets("another-secret")).await;
    assert_eq!(station.poll_with(&printed[0]).await, (400, "invalid"));
}

#[tokio::test]
async fn over_tcp_the_command_line_shows_its_token() {
    let setup = Setup::default()
        .env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")
        .env("SURTIDOR_CONTROL__TOKEN", CANARIES[2]);
    let station = Station::with(setup).await;
    station.register("PUMP1").await;
    let url = format!("http://{}", station.app().addresses().control_tcp.unwrap());
    let token = station.folder().join("token");
    let file = token.display().to_string();
    std::fs::write(&token, format!("{}\n", CANARIES[2])).unwrap();
    let asked = ["pos", "list", "--url", &url, "--token-file", &file];
    assert!(station.cli(&asked).out().contains("PUMP1"));
    std::fs::write(&token, "canary-of-another").unwrap();
    assert!(station.cli(&asked).failed(1).contains("(unauthorized)"));
}

#[tokio::test]
async fn a_controllers_token_is_made_used_and_revoked() {
    let station = Station::with(Setup::default().env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")).await;
    station.register("PUMP1").await;
    station.register("PUMP9").await;
    let made = station.cli(&["token", "create", "north", "--pos", "PUMP1", "--pos", "PUMP2"]);
    let token = made.out();
    assert!(token.starts_with("srt_") && token.trim_end().len() == 68, "{token}");
    let again = station.cli(&["token", "create", "north", "--pos", "PUMP1"]).failed(1);
    assert!(
        again.contains("(token_exists)") && again.contains("surtidor token list"),
        "{again}"
    );
    let json = station.cli(&["token", "create", "office", "--all", "--json"]).json();
    assert!(
        json["token"].as_str().unwrap().starts_with("srt_"),
        "once, and to who asked"
    );

    let file = station.folder().join("north.token").display().to_string();
    std::fs::write(&file, &token).unwrap();
    let url = format!("http://{}", station.app().addresses().control_tcp.unwrap());
    let from_afar = |words: &[&str]| {
        let words: Vec<&str> = words
            .iter()
            .chain(&["--url", &url, "--token-file", &file])
            .copied()
            .collect();
        station.cli(&words)
    };
    let listed = station.cli(&["token", "list"]).out();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows[0][0], rows[0][1], rows[0][3]), ("north", "PUMP1 PUMP2", "-"));
    assert_eq!((rows[1][0], rows[1][1]), ("office", "all"));
    assert!(!listed.contains("srt_"));
    let seen = from_afar(&["pos", "list"]).out();
    assert!(seen.contains("PUMP1") && !seen.contains("PUMP9"), "{seen}");
    assert!(from_afar(&["pos", "show", "PUMP9"]).failed(1).contains("(pos_unknown)"));
    let refused = from_afar(&["token", "create", "mine", "--all"]).failed(1);
    assert!(
        refused.contains("(forbidden)") && refused.contains("administrator"),
        "{refused}"
    );
    let used = station.cli(&["token", "list", "--json"]).out();
    let north: Value = serde_json::from_str(used.lines().next().unwrap()).unwrap();
    assert!(north["used_at"].is_string(), "{north}");

    assert_eq!(station.cli(&["token", "revoke", "north"]).out(), "north: revoked\n");
    assert!(from_afar(&["pos", "list"]).failed(1).contains("(unauthorized)"));
    let gone = station.cli(&["token", "revoke", "north"]).failed(1);
    assert!(gone.contains("(token_unknown)"), "{gone}");
    for wrong in [
        ["token", "create", "a b", "--all"].as_slice(),
        &["token", "create", "a"],
        &["token", "create", "a", "--all", "--pos", "P"],
        &["token", "create", "a", "--pos", "P*"],
    ] {
        station.cli(wrong).failed(2);
    }
}

#[tokio::test]
async fn watch_shows_what_happens_and_goes_on_after_a_restart() {
    let mut station = Station::start().await;
    station.register("PUMP1").await;
    station.register("PUMP2").await;
    let watch = station.watch(&["watch", "--json", "--after", "0", "--pos", "PUMP1"]);
    assert_eq!(watch.next_json()["type"], "pos_registered");
    station.push("PUMP2", order("T-2", "1")).await;
    station.push("PUMP1", order("T-1", "1")).await;
    let ready = watch.next_json();
    assert_eq!(
        (&ready["type"], &ready["external_reference"]),
        (&json!("order_ready"), &json!("T-1"))
    );
    station.restart().await;
    station.cancel("PUMP1").await;
    assert_eq!(
        watch.next_json()["type"],
        "order_canceled",
        "nothing is missed and nothing repeated"
    );

    let people = station.watch(&["watch", "--after", "0"]);
    let first = people.next();
    assert!(
        first.contains("16") && first.contains("PUMP1") && first.contains("pos_registered"),
        "{first}"
    );
}
