//! Orders that are put at Mercado Pago, as the command line pushes, shows and cancels them.

use clap::Parser as _;

use super::fake::{Fake, Reply};
use super::{Cli, Environment, Exit, ORDER, POS, Screen, printed, run, surtidor};

/// An intent with a code of its own.
fn intent(status: &str, canceling: bool) -> String {
    let posted = format!(
        r#""mode":"intent","canceling":{canceling},"qr":"dynamic","intent":"7c1d","qr_data":"00020101","reason":null"#
    );
    let order = ORDER.replace("\"shown\",", &format!("\"{status}\","));
    order.replace("\"delivery\":null", &format!("\"delivery\":null,{posted}"))
}

#[test]
fn a_push_waits_and_says_which_code_it_wants() {
    let fake = Fake::start(|_| Reply::new(201, &intent("ready", false)));
    let words = ["order", "push", "DESK1", "--amount", "9", "--title", "a"];
    let out = printed(
        &fake,
        &[&words[..], &["--wait", "30", "--replace", "--qr", "both"]].concat(),
    );
    let asked = fake.asked().pop().unwrap().to_string();
    assert_eq!(
        asked,
        r#"PUT /v1/pos/DESK1/order?replace=true&wait=30 {"amount":"9","title":"a","qr":"both"}"#
    );
    for line in [
        "status\tready\n",
        "mode\tintent\n",
        "intent\t7c1d\n",
        "qr data\t00020101\n",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(!out.contains('█'), "nobody scans a pipe");
    printed(&fake, &[&words[..], &["--wait", "1"]].concat());
    assert!(fake.asked().pop().unwrap().target.ends_with("/order?wait=1"));
    for wrong in [
        &["--wait", "31"][..],
        &["--wait", "0"],
        &["--qr", "printed"],
        &["--qr", "both", "--file", "-"],
    ] {
        let words = [&["surtidor"], &words[..], wrong].concat();
        assert!(Cli::try_parse_from(words).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_terminal_draws_the_code_of_an_open_intent() {
    let shown = |status: &'static str| {
        let fake = Fake::start(move |_| Reply::new(200, &intent(status, false)));
        let cli = Cli::try_parse_from(["surtidor", "order", "show", "T-1"]).unwrap();
        let env = Environment::from([("SURTIDOR_SOCKET".into(), fake.socket().to_str().unwrap().into())]);
        let mut out = Vec::new();
        run(cli, &env, &mut Screen::new(&mut out, true, false)).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert!(shown("ready").contains('█'));
    assert!(!shown("paid").contains('█'), "it cannot be paid any more");
}

#[test]
fn what_mercado_pago_refused_is_told_in_its_words() {
    let fake = Fake::start(|asked| match asked.method.as_str() {
        "GET" => {
            let rejected = intent("rejected", false).replace("\"reason\":null", "\"reason\":\"404: no such POS\"");
            Reply::new(200, &rejected)
        }
        _ => Reply::new(
            422,
            r#"{"code":"order_rejected","detail":"Mercado Pago did not take the order: 404: no such POS","status":422}"#,
        ),
    });
    let words = ["order", "push", "DESK1", "--amount", "9", "--title", "a", "--wait", "5"];
    let failure = surtidor(fake.socket(), &words).1.unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused);
    assert!(failure.to_string().contains("404: no such POS (order_rejected)"));
    let out = printed(&fake, &["order", "show", "T-1"]);
    assert!(
        out.contains("status\trejected\n") && out.contains("reason\t404: no such POS\n"),
        "{out}"
    );
}

#[test]
fn a_cancel_that_is_not_decided_is_no_success() {
    let fake = Fake::start(|_| Reply::new(202, &intent("ready", true)));
    let (out, ended) = surtidor(fake.socket(), &["order", "cancel", "PUMP4"]);
    let failure = ended.unwrap_err();
    assert_eq!((out.as_str(), failure.exit()), ("", Exit::Unreachable));
    assert_eq!(
        failure.to_string(),
        "Mercado Pago has not answered yet: T-1 on PUMP4 is open until it does"
    );
    let (out, ended) = surtidor(fake.socket(), &["order", "cancel", "PUMP4", "--json"]);
    assert!(out.contains("\"canceling\":true") && ended.is_err(), "{out}");
    let fake = Fake::start(|_| Reply::new(200, &intent("ready", true)));
    let out = printed(&fake, &["order", "show", "T-1"]);
    assert!(out.contains("status\tready, being canceled\n"), "{out}");
}

#[test]
fn what_is_not_polled_needs_no_keys_and_has_no_url() {
    let attended = POS.replace("\"mode\":\"unattended\"", "\"mode\":\"attended\"");
    let attended = attended.replace(r#"{"locationId":"6232","positionId":"4"}"#, "null");
    let fake = Fake::start(move |_| Reply::new(200, &attended));
    printed(
        &fake,
        &["pos", "add", "PUMP4", "--mode", "attended", "--external-store-id", "S1"],
    );
    assert_eq!(
        fake.asked().pop().unwrap().to_string(),
        r#"PUT /v1/pos/PUMP4 {"mode":"attended","external_store_id":"S1"}"#
    );
    for words in [&["pos", "add", "A"][..], &["pos", "add", "A", "--mode", "unattended"]] {
        let words = [&["surtidor"], words].concat();
        assert!(Cli::try_parse_from(words).is_err(), "keys are missing");
    }
    let file = fake.folder().join("s.toml");
    std::fs::write(&file, "[[account]]\nid = \"main\"\ncollector_id = 1\nsite = \"MLA\"\n").unwrap();
    let words = [
        "pos",
        "url",
        "PUMP4",
        "--base",
        "http://a",
        "--config",
        file.to_str().unwrap(),
    ];
    let failure = surtidor(fake.socket(), &words).1.unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused);
    assert!(failure.to_string().starts_with("PUMP4 is attended: "), "{failure}");
    let csv = fake.folder().join("desks.csv");
    std::fs::write(&csv, "pos,mode\nA,attended\nB,intent\n").unwrap();
    let out = printed(&fake, &["pos", "import", csv.to_str().unwrap()]);
    assert_eq!(out, "0 registered, 2 up to date, 0 failed\n");
}

#[test]
fn watch_tells_how_it_goes_at_mercado_pago() {
    let event = |kind: &str, more: &str| {
        format!(
            "id: 32\nevent: {kind}\ndata: {{\"seq\":32,\"pos\":\"DESK1\",\"rev\":2,\"at\":\"2026-11-21T14:05:09.123Z\",\"type\":\"{kind}\",\
             \"external_reference\":\"T-1\",\"amount\":\"9.00\",\"currency_id\":\"ARS\"{more}}}\n\n"
        )
    };
    let told = [
        event("order_sending", ",\"expires_at\":\"2026-11-21T14:10:09.123Z\""),
        event("order_sent", ",\"intent\":\"7c1d\",\"qr_data\":\"00020101\""),
        event("order_canceling", ""),
        event("order_rejected", ",\"reason\":\"404\""),
    ]
    .concat();
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v1/events?after=0" => Reply::new(200, &told),
        _ => Reply::new(410, r#"{"code":"events_trimmed","detail":"gone","status":410}"#),
    });
    let (out, _) = surtidor(fake.socket(), &["watch", "--after", "0"]);
    let line = |said: &str| format!("32\t2026-11-21T14:05:09.123Z\tDESK1\t{said}\n");
    let lines = [
        "order_sending\tT-1 9.00 ARS expires_at=2026-11-21T14:10:09.123Z",
        "order_sent\tT-1 9.00 ARS intent=7c1d",
        "order_canceling\tT-1 9.00 ARS",
        "order_rejected\tT-1 9.00 ARS reason=404",
    ];
    assert_eq!(out, lines.map(line).concat());
}
