//! `surtidor pos provision` and `pos sync`, against a station and the simulated Mercado Pago.

use std::collections::BTreeMap;

use clap::Parser as _;
use hyper::Method;
use serde_json::{Value, json};
use surtidor::cli::{self, Cli, Exit, Failure, Screen};
use surtidor::sandbox::{Account, Chance, Faults, Place, Settings, TEST_TOKEN};

use crate::support::http::Wire;
use crate::support::market::{Market, hurried};
use crate::support::station::order;

/// What a new store needs.
const PLACE: [&str; 14] = [
    "--store-name",
    "Station",
    "--street",
    "Av. Corrientes",
    "--number",
    "1234",
    "--city",
    "Capital Federal",
    "--state",
    "Capital Federal",
    "--latitude",
    "-34.6037",
    "--longitude",
    "-58.3816",
];

/// How a command ended.
#[derive(Debug)]
struct Ran {
    out: String,
    ended: Result<(), Failure>,
}

impl Ran {
    #[track_caller]
    fn out(self) -> String {
        self.ended.unwrap_or_else(|failure| panic!("{failure}\n{}", self.out));
        self.out
    }

    /// The failure with its advice.
    #[track_caller]
    fn failed(&self, exit: Exit) -> String {
        let failure = self.ended.as_ref().expect_err("it fails");
        assert_eq!(failure.exit(), exit, "{failure}");
        let said = format!("{failure} | {}", failure.advice().unwrap_or_default());
        assert!(!said.contains("APP_USR"), "the token was told: {said}");
        said
    }
}

impl Market {
    /// `surtidor pos …` as in a pipe, with the server's configuration and environment.
    async fn pos(&self, words: &[&str]) -> Ran {
        self.pos_on(words, false).await
    }

    async fn pos_on(&self, words: &[&str], terminal: bool) -> Ran {
        let mut env: BTreeMap<String, String> = self.station.environment().into_iter().collect();
        env.insert("SURTIDOR_SOCKET".into(), self.station.socket().display().to_string());
        env.insert("SURTIDOR_CONFIG".into(), self.station.file().display().to_string());
        let words = [&["surtidor", "pos"], words].concat();
        let cli = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let ran = tokio::task::spawn_blocking(move || {
            let mut out = Vec::new();
            let ended = cli::run(cli, &env, &mut Screen::new(&mut out, terminal, terminal));
            let out = String::from_utf8(out).unwrap();
            Ran { out, ended }
        });
        ran.await.unwrap()
    }

    /// Provisions in a store that may have to be made.
    async fn provision(&self, words: &[&str]) -> Ran {
        self.pos(&[&["provision", "--store", "STATION01"], words, &PLACE].concat())
            .await
    }

    /// A call of the simulated API, as somebody else would make it.
    async fn api(&self, method: Method, path: &str, body: Value) -> Value {
        let stream = tokio::net::TcpStream::connect(self.sandbox.address()).await.unwrap();
        let mut wire = Wire::new(stream);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {TEST_TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.send(request.as_bytes()).await;
        let reply = wire.reply().await;
        assert_eq!(reply, 200, "{method} {path}: {reply:?}");
        reply.json()
    }

    async fn theirs(&self, external_id: &str) -> Value {
        let mut found = self
            .api(Method::GET, &format!("/pos?external_id={external_id}"), Value::Null)
            .await;
        found["results"][0].take()
    }

    /// Calls of the API that change something.
    async fn changes(&self) -> u64 {
        let calls = self.sandbox.calls().await.unwrap();
        calls
            .iter()
            .filter(|(name, _)| !name.starts_with("GET"))
            .map(|(_, count)| count)
            .sum()
    }
}

#[tokio::test]
async fn the_first_run_makes_all_and_the_second_changes_nothing() {
    let market = Market::open().await;
    let keys = json!({"locationId": "1", "positionId": "PUMP-1"});
    let registered =
        json!({"account": "shop", "keys": keys, "name": "Pump 1", "require_lease": true, "url_secret": false});
    market.station.register_as("PUMP-1", registered).await;
    let url = market.url("PUMP-1");

    let out = market.provision(&["PUMP-1", "--trade", "fuel"]).await.out();
    let theirs = market.theirs("PUMP1").await;
    let (id, image) = (&theirs["id"], theirs["qr"]["image"].as_str().unwrap());
    let document = theirs["qr"]["template_document"].as_str().unwrap();
    let facts = format!(
        "external id\tPUMP1\nexternal store\tSTATION01\nid there\t{id}\nurl\t{url}\nqr\t{image}\nto print\t{document}\n"
    );
    assert_eq!(
        out,
        format!("store STATION01: created at Mercado Pago\nPUMP-1: created at Mercado Pago\n{facts}")
    );
    for (member, value) in [
        ("name", json!("Pump 1")),
        ("url", json!(url)),
        ("fixed_amount", json!(true)),
        ("category", json!(473_000)),
        ("external_store_id", json!("STATION01")),
    ] {
        assert_eq!(theirs[member], value, "{member}");
    }
    let known = market.station.pos("PUMP-1").await;
    for (member, value) in [
        ("external_id", json!("PUMP1")),
        ("external_store_id", json!("STATION01")),
        ("name", json!("Pump 1")),
        ("require_lease", json!(true)),
        ("url_secret", json!(false)),
        ("account", json!("shop")),
    ] {
        assert_eq!(known[member], value, "{member}");
    }

    let (changes, rev) = (market.changes().await, known["rev"].clone());
    let again = market.pos(&["provision", "PUMP-1", "--trade", "fuel"]).await.out();
    assert_eq!(again, format!("PUMP-1: up to date\n{facts}"));
    let again: Value = serde_json::from_str(&market.provision(&["PUMP-1", "--json"]).await.out()).unwrap();
    let expected = json!({
        "pos": "PUMP-1", "result": "up_to_date", "changed": [], "id": id, "external_id": "PUMP1",
        "external_store_id": "STATION01", "store_id": theirs["store_id"].as_str().unwrap().parse::<u64>().unwrap(),
        "store_created": false, "url": url, "qr": theirs["qr"],
    });
    assert_eq!(again, expected);
    assert_eq!(market.changes().await, changes);
    assert_eq!(market.station.pos("PUMP-1").await["rev"], rev);
}

#[tokio::test]
async fn what_was_provisioned_is_scanned_and_paid() {
    let market = Market::open().await;
    market.register("PUMP1").await;
    market.provision(&["PUMP1"]).await.out();
    let mut feed = market.feed().await;
    market.push("PUMP1", "T-1", "18525.50").await;
    market.scan_at(Place::Pos("PUMP1".into())).await.pay().await;
    assert_eq!(feed.until("order_paid").await.data["external_reference"], "T-1");
    market.no_violations().await;
}

#[tokio::test]
async fn a_station_is_set_up_at_once_and_who_fails_is_named() {
    let market = Market::open().await;
    for pump in ["PUMP1", "PUMP2", "PUMP3"] {
        market.register(pump).await;
    }
    market.station.register_as("OTHER", json!({"account": "test"})).await;
    market.station.register_as("...-", json!({"account": "shop"})).await;
    let folder = market.station.folder().join("codes");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.display().to_string();
    let ran = market.provision(&["--all", "--qr-svg", &path, "--qr-png", &path]).await;
    assert!(
        ran.failed(Exit::Refused).starts_with("2 of 5 points of sale failed"),
        "{ran:?}"
    );
    for said in [
        "PUMP1: created at Mercado Pago\n",
        "PUMP3: created at Mercado Pago\n",
        "...-: the letters and digits of ...- cannot name it at Mercado Pago: a name there must be 1 to 39 letters or digits; \
         give one with --external-id\n",
    ] {
        assert!(ran.out.contains(said), "{}", ran.out);
    }
    let other = ran
        .out
        .lines()
        .find(|line| line.starts_with("OTHER: "))
        .expect("it failed");
    assert!(
        other.contains("cannot be looked for: Mercado Pago does not allow it: 401"),
        "{other}"
    );
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            "PUMP1.png",
            "PUMP1.svg",
            "PUMP2.png",
            "PUMP2.svg",
            "PUMP3.png",
            "PUMP3.svg"
        ]
    );
    let stores = market.sandbox.calls().await.unwrap();
    let count = |name: &str| {
        stores
            .iter()
            .filter(|(call, _)| call.contains(name))
            .map(|(_, count)| count)
            .sum::<u64>()
    };
    assert_eq!(
        count("/stores"),
        2,
        "the store is looked for once, and made: {stores:?}"
    );

    let file = folder.join("one.svg").display().to_string();
    let several = market.provision(&["PUMP1", "PUMP2", "--qr-svg", &file]).await;
    assert!(several.failed(Exit::Usage).contains("is no folder"));
    let several = market.provision(&["PUMP1", "PUMP2", "--external-id", "X"]).await;
    assert!(several.failed(Exit::Usage).contains("--external-id"));
}

#[tokio::test]
async fn the_code_is_drawn_as_mercado_pago_made_it() {
    let market = Market::open().await;
    market.register("PUMP1").await;
    let file = market.station.folder().join("code.png");
    let words = [
        "provision",
        "PUMP1",
        "--store",
        "STATION01",
        "--qr-png",
        file.to_str().unwrap(),
    ];
    let shown = market.pos_on(&[&words[..], &PLACE].concat(), true).await.out();
    assert!(
        shown.contains(&format!("PUMP1: its QR code is in {}\n", file.display())),
        "{shown}"
    );
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("\x1b[38;5;16;48;5;231m"))
        .collect();
    let png = std::fs::read(&file).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let side = reader.info().width as usize;
    assert_eq!(lines.len(), (side / 16).div_ceil(2));
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let row = reader.next_frame(&mut bytes).unwrap().line_size;
    let light = |x: usize, y: usize| bytes[y * row + x / 8] >> (7 - x % 8) & 1 == 1;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, |x, y| 255 * u8::from(light(x, y)));
    let says = image.detect_grids()[0].decode().unwrap().1;
    assert_eq!(says, format!("{}/sandbox/scan/PUMP1", market.sandbox.base_url()));
    let plain = market.pos_on(&["provision", "PUMP1", "--no-qr"], true).await.out();
    assert!(!plain.contains('█'));
    let piped = market.pos(&["provision", "PUMP1"]).await.out();
    assert!(!piped.contains('█'));
}

#[tokio::test]
async fn what_differs_is_told_and_mended() {
    let market = Market::open().await;
    for pump in ["PUMP1", "PUMP2"] {
        market.register(pump).await;
    }
    let missing = market.pos(&["sync"]).await;
    assert!(
        missing
            .failed(Exit::Refused)
            .starts_with("2 points of sale compared: 2 differences")
    );
    assert_eq!(missing.out, "PUMP1\tmissing\tPUMP1\t-\nPUMP2\tmissing\tPUMP2\t-\n");
    market.provision(&["PUMP1", "PUMP2"]).await.out();
    let same = market.pos(&["sync"]).await.out();
    assert_eq!(same, "2 points of sale compared: nothing differs\n");

    let id = market.theirs("PUMP1").await["id"].to_string();
    let made = json!({"name": "Old", "url": "https://old.example.com/p?x=1", "category": 621_102});
    market.api(Method::PUT, &format!("/pos/{id}"), made).await;
    let extra = json!({"name": "Shop", "fixed_amount": false, "external_id": "SHOP", "external_store_id": "STATION01"});
    market.api(Method::POST, "/pos", extra).await;
    let url = market.url("PUMP1");
    let ran = market.pos(&["sync", "--trade", "fuel"]).await;
    assert!(ran.failed(Exit::Refused).contains("5 differences"), "{ran:?}");
    assert_eq!(
        ran.out,
        format!(
            "PUMP1\tname\tPUMP1\tOld\nPUMP1\turl\t{url}\thttps://old.example.com/p?x=1\nPUMP1\tcategory\t473000\t621102\n\
             PUMP2\tcategory\t473000\t-\nSHOP\tunknown here\t-\tShop\n"
        )
    );
    let ran = market.pos(&["sync", "PUMP1", "--json"]).await;
    ran.failed(Exit::Refused);
    let first: Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!(
        first,
        json!({"pos": "PUMP1", "what": "name", "ours": "PUMP1", "theirs": "Old"})
    );
    assert_eq!(ran.out.lines().count(), 2);

    let mended = market.pos(&["provision", "PUMP1"]).await.out();
    assert!(
        mended.starts_with("PUMP1: changed at Mercado Pago: name, url\n"),
        "{mended}"
    );
    assert_eq!(market.theirs("PUMP1").await["category"], 621_102, "nobody said which");
    market.pos(&["sync", "PUMP1"]).await.out();
}

#[tokio::test]
async fn a_name_of_another_is_not_taken_over_unasked() {
    let market = Market::open().await;
    market.register("PUMP1").await;
    market.provision(&["PUMP1"]).await.out();
    market.register("PUMP-1").await;
    let ours = market.provision(&["PUMP-1"]).await.failed(Exit::Refused);
    assert!(ours.contains("since PUMP1 is that already"), "{ours}");

    let foreign = json!({"name": "Pump 4", "fixed_amount": true, "external_id": "PUMP4", "external_store_id": "STATION01",
        "url": "https://other.example.com/p"});
    market.api(Method::POST, "/pos", foreign).await;
    market.register("PUMP4").await;
    let changes = market.changes().await;
    let taken = market.provision(&["PUMP4"]).await.failed(Exit::Refused);
    assert!(
        taken.contains(
            "the name PUMP4 is taken at Mercado Pago, by \"Pump 4\" in the store STATION01 with the URL \
             https://other.example.com/p"
        ),
        "{taken}"
    );
    let elsewhere = market
        .pos(&["provision", "PUMP4", "--external-id", "PUMP4", "--store", "OTHER"])
        .await;
    assert!(
        elsewhere.failed(Exit::Refused).contains("has the store \"STATION01\""),
        "{elsewhere:?}"
    );
    assert_eq!(market.changes().await, changes);
    assert_eq!(market.station.pos("PUMP4").await["external_id"], Value::Null);

    let asked = market.provision(&["PUMP4", "--external-id", "PUMP4"]).await.out();
    assert!(
        asked.starts_with("PUMP4: changed at Mercado Pago: name, url\n"),
        "{asked}"
    );
    // A run that was cut short after it made one: the next finds it, and stores its name.
    let made = json!({"name": "PUMP5", "fixed_amount": true, "external_id": "PUMP5", "external_store_id": "STATION01",
        "url": market.url("PUMP5")});
    market.api(Method::POST, "/pos", made).await;
    market.register("PUMP5").await;
    let found = market.provision(&["PUMP5"]).await.out();
    assert!(
        found.starts_with("PUMP5: found at Mercado Pago, and its name there stored\n"),
        "{found}"
    );
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_told_before_anything_is_made() {
    let market = Market::open().await;
    market.register("PUMP1").await;
    let told = |words: &'static [&'static str], exit, says: &'static str| {
        let market = &market;
        async move {
            let said = market.pos(&[&["provision"], words].concat()).await.failed(exit);
            assert!(said.contains(says), "{words:?}: {said}");
        }
    };
    told(&["NOBODY"], Exit::Refused, "(pos_unknown)").await;
    told(&["PUMP1"], Exit::Usage, "with --store").await;
    told(
        &["PUMP1", "--store", "S1", "--street", "A", "--latitude", "-1"],
        Exit::Usage,
        "to make it, give --store-name, --number, --city, --state, --longitude",
    )
    .await;
    told(
        &["PUMP1", "--store", "S1", "--base", "https://a.example.com/a-long-path-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
          aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
          aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
        Exit::Usage,
        "Mercado Pago takes 299 at most",
    )
    .await;
    let missing = market.pos(&["sync", "--config", "/nowhere.toml"]).await;
    missing.failed(Exit::Configuration);
    market.push("PUMP1", "T-1", "100").await;
    let open = market.provision(&["PUMP1"]).await.failed(Exit::Refused);
    assert!(open.contains("has the order T-1 open"), "{open}");
    assert_eq!(market.changes().await, 0);
}

#[tokio::test]
async fn what_mercado_pago_refuses_is_explained() {
    let settings = Settings {
        url_hosts: vec!["pay.example.com".into()],
        ..hurried()
    };
    let market = Market::with(settings, "").await;
    market.register("PUMP1").await;
    let host = market.provision(&["PUMP1"]).await.failed(Exit::Refused);
    assert!(
        host.contains("the host of the URL is not enabled by Mercado Pago: ask your adviser"),
        "{host}"
    );
    let base = ["PUMP1", "--base", "https://pay.example.com"];
    market.provision(&base).await.out();
    let faults = Faults {
        broken: Chance::one_in(1),
        ..Faults::default()
    };
    market.sandbox.set_faults(faults).await.unwrap();
    let broken = market.provision(&base).await.failed(Exit::Unreachable);
    assert!(broken.contains("run it again later"), "{broken}");
}

#[tokio::test]
async fn what_is_not_polled_has_no_url() {
    let market = Market::open().await;
    let reply = market
        .station
        .put("/v1/pos/DESK1", json!({"account": "shop", "mode": "attended"}))
        .await;
    assert_eq!(reply, 201);
    let out = market.provision(&["DESK1"]).await.out();
    assert!(!out.contains("\nurl\t"), "{out}");
    assert_eq!(market.theirs("DESK1").await["url"], Value::Null);
    assert_eq!(market.station.pos("DESK1").await["mode"], "attended");
    market.pos(&["sync", "DESK1"]).await.out();
    let again = market.provision(&["DESK1"]).await.out();
    assert!(again.starts_with("DESK1: up to date\n"), "{again}");
    assert_eq!(market.theirs("DESK1").await["fixed_amount"], true);

    let intent = json!({"account": "shop", "mode": "intent"});
    market.station.put("/v1/pos/DESK2", intent).await;
    market.provision(&["DESK2"]).await.out();
    let mut feed = market.feed().await;
    for (desk, reference) in [("DESK1", "T-1"), ("DESK2", "T-2")] {
        market.push(desk, reference, "100").await;
        feed.until("order_sent").await;
        market.stand_at(desk).await.pay().await;
        assert_eq!(feed.until("order_paid").await.data["external_reference"], reference);
    }
}

#[tokio::test]
async fn one_that_was_polled_keeps_its_url() {
    let market = Market::open().await;
    market.register("PUMP1").await;
    market.provision(&["PUMP1"]).await.out();
    let url = market.url("PUMP1");
    let attended =
        json!({"account": "shop", "mode": "attended", "external_id": "PUMP1", "external_store_id": "STATION01"});
    market.station.put("/v1/pos/PUMP1", attended).await;
    let told = market.provision(&["PUMP1"]).await.failed(Exit::Refused);
    let says = format!("PUMP1 at Mercado Pago has the URL {url}, which cannot be taken away");
    assert!(told.contains(&says), "{told}");
    let differs = market.pos(&["sync", "PUMP1"]).await;
    differs.failed(Exit::Refused);
    assert_eq!(differs.out, format!("PUMP1\turl\t-\t{url}\n"));
    market.provision(&["PUMP1", "--external-id", "PUMP1B"]).await.out();
    assert_eq!(market.theirs("PUMP1B").await["url"], Value::Null);
}

#[tokio::test]
async fn an_account_without_a_token_says_so() {
    let settings = Settings {
        accounts: vec![Account::new(TEST_TOKEN, "MLA").unwrap()],
        ..hurried()
    };
    let market = Market::with(
        settings,
        "\n[[account]]\nid = \"bare\"\ncollector_id = 5\nsite = \"MLA\"\n",
    )
    .await;
    market.station.register_as("PUMP1", json!({"account": "bare"})).await;
    let bare = market.provision(&["PUMP1"]).await.failed(Exit::Usage);
    assert!(bare.contains("the account bare, which has no access token"), "{bare}");
    let ran = market.pos(&["sync"]).await;
    ran.failed(Exit::Refused);
    assert!(
        ran.out
            .starts_with("PUMP1\tnot compared\t-\tPUMP1 is of the account bare"),
        "{}",
        ran.out
    );
    market.station.push("PUMP1", order("T-1", "1")).await;
}
