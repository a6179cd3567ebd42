//! Whole commands against a small server that answers as it is told.

mod fake;
mod help;
mod modes;

use std::path::Path;

use clap::Parser as _;
use fake::{Fake, Reply};

use super::{Cli, Environment, Exit, Failure, Screen, command_first, run};

const POS: &str = r#"{"pos":"PUMP4","name":"Pump 4","account":"main","mode":"unattended","keys":{"locationId":"6232","positionId":"4"},
"state":"ready","message":null,"lease_until":null,"require_lease":true,"rev":3,"order":null}"#;
const ORDER: &str = r#"{"external_reference":"T-1","pos":"PUMP4","status":"shown","amount":"18525.50","currency_id":"ARS",
"items":[{"title":"SUPER","description":"SUPER","quantity":1,"unit_price":"18525.50"}],"metadata":{"n":1.10},"created_at":"2026-11-21T14:05:09.123Z",
"expires_at":"2026-11-21T14:10:09.123Z","shown_at":null,"ended_at":null,"payments":[],"refunds":[],"delivery":null}"#;

/// What a command printed and how it ended.
fn surtidor(socket: &Path, words: &[&str]) -> (String, Result<(), Failure>) {
    let words: Vec<_> = ["surtidor"].iter().chain(words).map(Into::into).collect();
    let cli = Cli::try_parse_from(command_first(words.clone())).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let mut out = Vec::new();
    let env = Environment::from([("SURTIDOR_SOCKET".into(), socket.to_str().unwrap().into())]);
    let ended = run(cli, &env, &mut Screen::new(&mut out, false, false));
    (String::from_utf8(out).unwrap(), ended)
}

fn printed(fake: &Fake, words: &[&str]) -> String {
    let (out, ended) = surtidor(fake.socket(), words);
    ended.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
    out
}

#[test]
fn each_command_asks_what_the_api_says() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "PUT" if asked.target.ends_with("/order") => Reply::new(201, ORDER),
        "PUT" if asked.target.starts_with("/v1/orders") => Reply::new(200, ORDER),
        "PUT" if asked.target == "/v1/pos/PUMP4" => Reply::new(201, POS),
        _ => Reply::new(204, ""),
    });
    let table: [(&[&str], &str, &str); 9] = [
        (
            &[
                "pos",
                "add",
                "PUMP4",
                "--key",
                "locationId=6232",
                "--key",
                "positionId=4",
                "--require-lease",
            ],
            r#"PUT /v1/pos/PUMP4 {"keys":{"locationId":"6232","positionId":"4"},"require_lease":true}"#,
            "PUMP4: registered\n",
        ),
        (&["pos", "remove", "PUMP4"], "DELETE /v1/pos/PUMP4 ", "PUMP4: removed\n"),
        (
            &["state", "PUMP4", "in_process", "--message", "Filling", "--lease", "60"],
            r#"PUT /v1/pos/PUMP4/state {"state":"in_process","message":"Filling","lease_seconds":60}"#,
            "PUMP4: in_process\n",
        ),
        (
            &["lease", "PUMP4", "30"],
            r#"PUT /v1/pos/PUMP4/lease {"seconds":30}"#,
            "PUMP4: the lease holds for 30 s\n",
        ),
        (
            &[
                "order",
                "push",
                "PUMP4",
                "--amount",
                "18525.50",
                "--title",
                "SUPER",
                "--reference",
                "T-1",
                "--json",
            ],
            r#"PUT /v1/pos/PUMP4/order {"external_reference":"T-1","amount":"18525.50","title":"SUPER"}"#,
            &format!("{}\n", ORDER.replace('\n', " ")),
        ),
        (
            &["order", "cancel", "PUMP4"],
            "DELETE /v1/pos/PUMP4/order ",
            "PUMP4: the order is canceled\n",
        ),
        (
            &["order", "cancel", "PUMP4", "--reason", "paid_elsewhere"],
            "DELETE /v1/pos/PUMP4/order?reason=paid_elsewhere ",
            "PUMP4: the order is canceled\n",
        ),
        (
            &["order", "deliver", "T-1", "dispensed"],
            r#"PUT /v1/orders/T-1/delivery {"result":"dispensed"}"#,
            "reference\tT-1\npos\tPUMP4\nstatus\tshown\namount\t18525.50 ARS\nitem\t1 x SUPER at 18525.50\n\
             created\t2026-11-21T14:05:09.123Z\nexpires\t2026-11-21T14:10:09.123Z\nmetadata\t{\"n\":1.10}\n",
        ),
        (
            &["state", "PUMP4", "timeout", "--json"],
            r#"PUT /v1/pos/PUMP4/state {"state":"timeout"}"#,
            "",
        ),
    ];
    for (words, asked, out) in table {
        assert_eq!(printed(&fake, words), out, "{words:?}");
        assert_eq!(fake.asked().pop().unwrap().to_string(), asked);
    }
}

#[test]
fn a_refund_has_its_key_and_is_shown() {
    let back = ORDER
        .replace("\"shown\"", "\"paid\"")
        .replace(
            "\"payments\":[]",
            r#""payments":[{"id":7,"merchant_order":8,"amount":"18525.50","status":"approved","approved_at":"2026-11-21T14:06:00.000Z"}]"#,
        )
        .replace(
            "\"refunds\":[]",
            r#""refunds":[{"id":41,"payment":7,"amount":"500.00","status":"done","cause":"asked"},
            {"id":null,"payment":7,"amount":"1.00","status":"failed","cause":"asked","reason":"no money"}]"#,
        );
    let fake = Fake::start(move |_| Reply::new(201, &back));
    let words = [
        "order",
        "refund",
        "T-1",
        "--amount",
        "500.00",
        "--payment",
        "7",
        "--key",
        "k-1",
    ];
    let out = printed(&fake, &words);
    for line in [
        "payment\t18525.50 approved at 2026-11-21T14:06:00.000Z as 7\n",
        "refund\t500.00 of 7 done as 41 (asked)\n",
        "refund\t1.00 of 7 failed (asked): no money\n",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let asked = fake.asked().pop().unwrap();
    let wanted = r#"POST /v1/orders/T-1/refunds {"amount":"500.00","payment":7}"#;
    assert_eq!(
        (asked.to_string().as_str(), asked.idempotency_key.as_str()),
        (wanted, "k-1")
    );

    let keys: Vec<String> = (0..2)
        .map(|_| {
            printed(&fake, &["order", "refund", "T-1", "--json"]);
            let asked = fake.asked().pop().unwrap();
            assert_eq!(asked.to_string(), "POST /v1/orders/T-1/refunds {}");
            asked.idempotency_key
        })
        .collect();
    assert!(keys[0].len() == 36 && keys[0] != keys[1], "{keys:?}");
    assert!(Cli::try_parse_from(["surtidor", "order", "refund", "T-1", "--key", "a b"]).is_err());
}

#[test]
fn a_receipt_is_printed_as_it_came() {
    let fake = Fake::start(|asked| match asked.target.contains("format=json") {
        true => Reply::new(200, "{\"left\":\"1.00\"}"),
        false => Reply::new(200, "Surtidor 4\n     1.00\n"),
    });
    let words = ["order", "receipt", "T-1", "--width", "32"];
    assert_eq!(printed(&fake, &words), "Surtidor 4\n     1.00\n");
    let json = printed(&fake, &["order", "receipt", "T-1", "--json"]);
    assert_eq!(json, "{\"left\":\"1.00\"}\n");
    let targets: Vec<String> = fake.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(
        targets,
        [
            "/v1/orders/T-1/receipt?format=text&width=32",
            "/v1/orders/T-1/receipt?format=json&width=42"
        ]
    );
    assert!(Cli::try_parse_from(["surtidor", "order", "receipt", "T-1", "--width", "40"]).is_err());
}

#[test]
fn lists_follow_their_pages_up_to_the_limit() {
    let fake = Fake::start(|asked| {
        let next = if asked.target.contains("cursor=a%2Fb") {
            "null"
        } else {
            r#""a/b""#
        };
        match asked.target.contains("orders") {
            true => Reply::new(200, &format!(r#"{{"orders":[{ORDER},{ORDER}],"next":{next}}}"#)),
            false => Reply::new(200, &format!(r#"{{"pos":[{POS}],"next":{next}}}"#)),
        }
    });
    let row = "PUMP4\tready\tmain\tlocationId=6232 positionId=4\t-\t-\t-\tPump 4\n";
    assert_eq!(printed(&fake, &["pos", "list"]), row.repeat(2));
    assert_eq!(
        printed(&fake, &["pos", "list", "--json"]),
        format!("{}\n", POS.replace('\n', " ")).repeat(2)
    );
    let row = "T-1\tPUMP4\tshown\t18525.50\tARS\t2026-11-21T14:05:09.123Z\n";
    let words = [
        "order",
        "list",
        "--limit",
        "3",
        "--since",
        "2026-11-21T00:00:00+01:00",
        "--status",
        "shown",
    ];
    assert_eq!(printed(&fake, &words), row.repeat(3));
    let targets: Vec<String> = fake.asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets[1], "/v1/pos?limit=100&cursor=a%2Fb");
    assert_eq!(
        targets[4],
        "/v1/orders?limit=3&status=shown&since=2026-11-21T00%3A00%3A00%2B01%3A00"
    );
    assert_eq!(targets.len(), 6);
}

#[test]
fn an_order_file_goes_as_it_is() {
    let fake = Fake::start(|_| Reply::new(200, ORDER));
    let file = fake.folder().join("order.json");
    std::fs::write(&file, "{\"amount\": 18525.50}\n").unwrap();
    printed(
        &fake,
        &["order", "push", "PUMP4", "--replace", "--file", file.to_str().unwrap()],
    );
    assert_eq!(
        fake.asked()[0].to_string(),
        "PUT /v1/pos/PUMP4/order?replace=true {\"amount\": 18525.50}\n"
    );
    std::fs::write(&file, "x".repeat(64 * 1024 + 1)).unwrap();
    let (_, ended) = surtidor(
        fake.socket(),
        &["order", "push", "PUMP4", "--file", file.to_str().unwrap()],
    );
    assert_eq!(ended.unwrap_err().exit(), Exit::Usage);
}

#[test]
fn a_refusal_and_an_absent_server_end_differently() {
    let fake = Fake::start(|_| Reply::new(404, r#"{"code":"pos_unknown","detail":"no POS NONE","status":404}"#));
    let (out, ended) = surtidor(fake.socket(), &["pos", "show", "NONE"]);
    let failure = ended.unwrap_err();
    assert_eq!((out.as_str(), failure.exit()), ("", Exit::Refused));
    assert_eq!(failure.to_string(), "no POS NONE (pos_unknown)");

    let nowhere = fake.folder().join("nowhere.sock");
    let failure = surtidor(&nowhere, &["pos", "list"]).1.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    assert!(failure.to_string().contains("nowhere.sock"), "{failure}");
    assert!(failure.advice().unwrap().contains("is `surtidor serve` running?"));
}

#[test]
fn options_may_stand_before_the_command() {
    let fake = Fake::start(|_| Reply::new(200, POS));
    let nowhere = fake.folder().join("nowhere.sock");
    let shown = ["pos", "show", "PUMP4"];
    let socket = fake.socket().to_str().unwrap();
    let with_name = format!("--socket={socket}");
    for before in [["--socket", socket].as_slice(), &[&with_name]] {
        let words: Vec<&str> = before.iter().chain(&["--json"]).chain(&shown).copied().collect();
        let (out, ended) = surtidor(&nowhere, &words);
        ended.unwrap_or_else(|failure| panic!("{words:?}: {failure}"));
        assert!(out.starts_with('{'), "{out}");
    }
    // `log` has none itself, only `export` has.
    let failure = surtidor(
        &nowhere,
        &["--socket", "/elsewhere", "log", "export", "--format", "csv"],
    );
    assert_eq!(failure.0, "", "no head of a table that nobody sent");
    assert!(failure.1.unwrap_err().to_string().contains("/elsewhere"));
    for wrong in [
        ["--socket", "/s"].as_slice(),
        &["--socket"],
        &["--json", "--url", "http://u", "check"],
        &["--what", "pos", "list"],
        &["--socket", "/s", "pos", "list", "--", "more"],
    ] {
        let words = ["surtidor"].iter().chain(wrong).map(Into::into).collect();
        assert!(Cli::try_parse_from(command_first(words)).is_err(), "{wrong:?}");
    }
    let words = ["surtidor", "--socket", "/s", "order", "push", "P", "--", "--json"];
    let moved = command_first(words.map(Into::into).to_vec());
    assert_eq!(
        moved,
        ["surtidor", "order", "push", "P", "--socket", "/s", "--", "--json"]
    );
}

#[test]
fn over_tcp_the_token_goes_along() {
    let fake = Fake::start_tcp(|_| Reply::new(200, POS));
    let token = fake.folder().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let words = [
        "pos",
        "show",
        "PUMP4",
        "--url",
        fake.url(),
        "--token-file",
        token.to_str().unwrap(),
    ];
    let out = printed(&fake, &words);
    assert!(out.starts_with("pos\tPUMP4\nstate\tready\n"), "{out}");
    assert_eq!(fake.asked()[0].authorization, "Bearer s3cret");
    let failure = surtidor(fake.socket(), &words[..5]).1.unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
}

#[test]
fn import_tries_every_row_and_names_those_that_failed() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/pos/TAKEN" => Reply::new(
            409,
            r#"{"code":"keys_taken","detail":"PUMP9 has these keys","status":409}"#,
        ),
        "/v1/pos/OLD" => Reply::new(200, POS),
        _ => Reply::new(201, POS),
    });
    let file = fake.folder().join("pumps.csv");
    let mut csv = String::from("pos,name,require_lease,key.locationId,key.positionId\n");
    csv.push_str("A,\"Pump, the first\",true,1,1\nTAKEN,,,1,2\nOLD,,,1,3\nb d,,,1,4\nA,,,1,5\nC,,maybe,1,6\nD,,\n");
    (0..40).for_each(|n| csv.push_str(&format!("P{n},,,2,{n}\n")));
    std::fs::write(&file, csv).unwrap();
    let (out, ended) = surtidor(fake.socket(), &["pos", "import", file.to_str().unwrap()]);
    let mut lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.pop(), Some("41 registered, 1 up to date, 5 failed"));
    lines.sort_unstable();
    assert_eq!(lines[0], "line 3: TAKEN: PUMP9 has these keys (keys_taken)");
    assert!(lines[1].starts_with("line 5: b d: pos must be 1 to 64"), "{lines:?}");
    assert_eq!(lines[2], "line 6: A: it was on line 2 already");
    assert_eq!(lines[3], "line 7: C: require_lease is `maybe`, not true or false");
    assert!(lines[4].starts_with("line 8: D: "), "{lines:?}");
    assert_eq!(ended.unwrap_err().exit(), Exit::Refused);
    let asked = fake
        .asked()
        .into_iter()
        .find(|asked| asked.target == "/v1/pos/A")
        .unwrap();
    let body = r#"{"keys":{"locationId":"1","positionId":"1"},"name":"Pump, the first","require_lease":true}"#;
    assert_eq!(asked.body, body);
}

#[test]
fn an_import_with_a_strange_column_asks_nothing() {
    let fake = Fake::start(|_| Reply::new(500, ""));
    let file = fake.folder().join("pumps.csv");
    for head in ["pos,key.a,colour", "pos,name", "key.a", "pos,pos,key.a", "pos,key."] {
        std::fs::write(&file, format!("{head}\nA,1,2\n")).unwrap();
        let failure = surtidor(fake.socket(), &["pos", "import", file.to_str().unwrap()])
            .1
            .unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{head}");
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn watch_goes_on_where_the_connection_broke() {
    let event = |seq: u64| {
        format!(
            "id: {seq}\nevent: order_paid\ndata: {{\"seq\":{seq},\"pos\":\"PUMP4\",\"rev\":2,\"at\":\"2026-11-21T14:05:09.123Z\",\
             \"type\":\"order_paid\",\"external_reference\":\"T-1\",\"amount\":\"18525.50\",\"currency_id\":\"ARS\",\"late\":true}}\n\n"
        )
    };
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v1/events?wait=0&pos=PUMP4" => Reply::new(200, r#"{"events":[],"next":16}"#),
        "/v1/events?after=16&pos=PUMP4" => Reply::new(200, &(event(32) + ": beat\n\n" + &event(48))),
        "/v1/events?after=48&pos=PUMP4" => Reply::new(200, &event(64)),
        _ => Reply::new(
            410,
            r#"{"code":"events_trimmed","detail":"the oldest kept is 80","status":410,"oldest":80}"#,
        ),
    });
    let (out, ended) = surtidor(fake.socket(), &["watch", "--pos", "PUMP4"]);
    let line = |seq: u64| format!("{seq}\t2026-11-21T14:05:09.123Z\tPUMP4\torder_paid\tT-1 18525.50 ARS late=true\n");
    assert_eq!(out, [32, 48, 64].map(line).concat());
    assert_eq!(ended.unwrap_err().to_string(), "the oldest kept is 80 (events_trimmed)");
}

#[test]
fn a_poll_url_is_made_of_the_configuration_and_the_pos() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v1/pos/OPEN" => Reply::new(200, &POS.replace("\"rev\":3", "\"url_secret\":false")),
        _ => Reply::new(200, POS),
    });
    let (file, secret) = (fake.folder().join("s.toml"), fake.folder().join("secret"));
    std::fs::write(&secret, "a-long-enough-secret-for-urls\n").unwrap();
    let account = "[[account]]\nid = \"main\"\ncollector_id = 1\nsite = \"MLA\"\n";
    let poll = format!(
        "[poll]\nkeys = [\"positionId\", \"locationId\"]\nsecret_file = {:?}\n",
        secret
    );
    let notifications = "[notifications]\npublic_url = \"https://pay.example.com/notifications\"\n";
    std::fs::write(&file, format!("{poll}{notifications}{account}")).unwrap();
    let url = |pos: &str, more: &[&str]| {
        printed(
            &fake,
            &[&["pos", "url", pos, "--config", file.to_str().unwrap()], more].concat(),
        )
    };
    let tagged = url("PUMP4", &[]);
    let (plain, tag) = tagged.trim().split_once("&k=").unwrap();
    assert_eq!(plain, "https://pay.example.com/pay-mp?positionId=4&locationId=6232");
    assert_eq!(tag.len(), 22);
    let open = url("OPEN", &["--base", "http://10.0.0.1:8080/"]);
    assert_eq!(open, "http://10.0.0.1:8080/pay-mp?positionId=4&locationId=6232\n");

    std::fs::write(&file, format!("[poll]\nkeys = [\"pump\"]\n{account}")).unwrap();
    let words = ["pos", "url", "PUMP4", "--config", file.to_str().unwrap()];
    assert!(
        surtidor(fake.socket(), &words)
            .1
            .unwrap_err()
            .to_string()
            .contains("--base")
    );
    let words = [&words[..], &["--base", "http://a"]].concat();
    assert!(
        surtidor(fake.socket(), &words)
            .1
            .unwrap_err()
            .to_string()
            .contains("poll.keys are pump here")
    );
}

#[test]
fn what_mercado_pago_says_of_a_new_pos_is_explained() {
    let server = Fake::start(|asked| match asked.target.as_str() {
        "/v1/pos/PUMP4" => Reply::new(200, POS),
        _ => Reply::new(200, &format!(r#"{{"pos":[{POS}],"next":null}}"#)),
    });
    let provision = |answer: fn(&str, &str) -> Reply| {
        let there = Fake::start_tcp(move |asked| answer(&asked.method, &asked.target));
        let (file, token) = (server.folder().join("s.toml"), server.folder().join("token"));
        std::fs::write(&token, "APP_USR-1-token-1\n").unwrap();
        let account =
            format!("[[account]]\nid = \"main\"\ncollector_id = 1\nsite = \"MLA\"\naccess_token_file = {token:?}\n");
        let keys = "[poll]\nkeys = [\"locationId\", \"positionId\"]\n";
        let base = format!("[mercadopago]\nbase_url = \"{}\"\n", there.url());
        std::fs::write(&file, format!("{keys}{base}{account}")).unwrap();
        let file = file.to_str().unwrap();
        let words = [
            "pos",
            "provision",
            "PUMP4",
            "--config",
            file,
            "--base",
            "http://a",
            "--store",
            "S1",
        ];
        let failure = surtidor(server.socket(), &words).1.unwrap_err();
        (
            failure.exit(),
            format!("{failure} | {}", failure.advice().unwrap_or_default()),
        )
    };
    let (exit, taken) = provision(|method, target| match (method, target) {
        ("POST", "/pos") => Reply::new(
            409,
            r#"{"error":"external_id_used","message":"used","status":409,"cause":[]}"#,
        ),
        ("GET", "/pos?external_id=PUMP4") => Reply::new(200, r#"{"results":[]}"#),
        _ => Reply::new(200, r#"{"results":[{"id":"7","external_id":"S1"}]}"#),
    });
    assert_eq!(exit, Exit::Refused, "{taken}");
    assert!(
        taken.ends_with("the name PUMP4 is taken at Mercado Pago: give another one with --external-id"),
        "{taken}"
    );
    let (exit, unknown) = provision(|_, _| Reply::new(401, r#"{"message":"invalid token","error":"unauthorized"}"#));
    assert_eq!(exit, Exit::Refused, "{unknown}");
    assert!(
        unknown.ends_with("is the access token of the account main still good?"),
        "{unknown}"
    );
    let (exit, store) = provision(|_, target| match target.starts_with("/users") {
        true => Reply::new(403, r#"{"message":"Forbidden"}"#),
        false => Reply::new(200, "[]"),
    });
    assert_eq!(exit, Exit::Refused, "{store}");
    assert!(
        store.ends_with("collector_id of the account main of one merchant?"),
        "{store}"
    );
    let (exit, nonsense) = provision(|_, _| Reply::new(200, "<html>"));
    assert_eq!(exit, Exit::Refused, "{nonsense}");
    assert!(nonsense.contains("makes no sense: it is not JSON"), "{nonsense}");
    assert!(
        server.asked().iter().all(|asked| asked.method == "GET"),
        "nothing is stored"
    );
}

#[test]
fn check_names_all_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.toml");
    let check = || {
        surtidor(
            folder.path(),
            &["check", "--config", file.to_str().unwrap(), "--data-dir", "/tmp/d"],
        )
    };
    std::fs::write(&file, "[[account]]\nid = \"main\"\ncollector_id = 1\nsite = \"MLA\"\n").unwrap();
    let (out, ended) = check();
    ended.unwrap();
    assert!(out.contains("data\t/tmp/d\naccount\tmain (MLA)\n"), "{out}");
    assert!(out.ends_with("The configuration is right.\n"));
    std::fs::write(&file, "[poll]\nlisen = 1\n[[account]]\nid = \"main\"\nsite = \"MLX\"\n").unwrap();
    let (out, ended) = check();
    let failure = ended.unwrap_err();
    assert_eq!((out.as_str(), failure.exit()), ("", Exit::Configuration));
    let faults = failure.to_string();
    assert!(
        faults.lines().count() >= 3 && faults.contains("s.toml:2:1: poll.lisen"),
        "{faults}"
    );
}
