//! Accounts that are reached through a link: tokens that come, are kept and are refreshed, and links that are cut.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use surtidor::net::listen::Reserved;
use surtidor::sandbox::{Account, Application, Chance, Faults, Proof, Sandbox, Settings, TEST_CLIENT_SECRET};
use tokio::net::TcpStream;

use crate::support::NOBODY;
use crate::support::http::{Wire, patiently};
use crate::support::log;
use crate::support::market::{Market, free_port, hurried};
use crate::support::process::{self, Client, Server, WAIT, binary, folder};
use crate::support::station::{CANARIES, Setup, Station};

const SHOP: u64 = 178_106_235;
const KIOSK: u64 = 90_210;
const HALF_A_YEAR: u64 = 15_552_000;
const REFRESH: &str = "POST /oauth/token";

/// Two sellers, and tokens that live so many seconds.
fn mercado_pago(token_life: u64, more: impl FnOnce(&mut Settings)) -> Sandbox {
    let mut settings = hurried();
    let kiosk = Account::new("APP_USR-7910800073137785-own-90210", "MLA").expect("it ends in a number");
    settings.accounts.push(kiosk);
    settings.application = Application {
        token_life: Duration::from_secs(token_life),
        ..settings.application
    };
    more(&mut settings);
    Sandbox::start(settings).expect("the sandbox starts")
}

async fn ask(sandbox: &Sandbox, body: Value) -> (u16, Value) {
    let mut wire = Wire::new(TcpStream::connect(sandbox.address()).await.expect("it listens"));
    let body = body.to_string();
    let length = body.len();
    wire.send(format!("POST /oauth/token HTTP/1.1\r\nhost: api\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
        .await;
    let reply = wire.reply().await;
    (reply.status, reply.json())
}

/// What the seller's consent gives the integrator.
async fn consent(sandbox: &Sandbox, seller: u64) -> String {
    let code = sandbox.consent(seller).await.expect("a seller");
    let body = json!({"client_secret": TEST_CLIENT_SECRET, "grant_type": "authorization_code", "code": code,
        "redirect_uri": "https://integrator.example.com/"});
    let (status, tokens) = ask(sandbox, body).await;
    assert_eq!((status, &tokens["user_id"]), (200, &json!(seller)), "{tokens}");
    tokens["refresh_token"].as_str().expect("a refresh token").to_owned()
}

async fn refreshes(sandbox: &Sandbox) -> u64 {
    sandbox
        .calls()
        .await
        .expect("it answers")
        .get(REFRESH)
        .copied()
        .unwrap_or(0)
}

/// Waits until tokens were asked for so many times.
async fn until_refreshed(sandbox: &Sandbox, times: u64) {
    let mut last = 0;
    patiently(async {
        while refreshes(sandbox).await < times {
            let events = sandbox.next_events(last).await.expect("it answers");
            last = events.last().map_or(last, |event| event.seq);
        }
    })
    .await;
}

/// The account `shop` with a link in place of a token.
fn linked(refresh: &str) -> Setup {
    Setup::default()
        .account(&format!(
            "id = \"shop\"\ncollector_id = {SHOP}\nsite = \"MLA\"\noauth_client_id = 7910800073137785"
        ))
        .env("SURTIDOR_ACCOUNT__SHOP__OAUTH_CLIENT_SECRET", TEST_CLIENT_SECRET)
        .env("SURTIDOR_ACCOUNT__SHOP__OAUTH_REFRESH_TOKEN", refresh)
}

async fn is_linked(station: &Station) -> bool {
    station.metric("surtidor_account_linked{account=\"shop\"}").await > 0.5
}

/// Waits until the gauge says so.
async fn until_linked(station: &Station, is: bool) {
    patiently(async {
        while is_linked(station).await != is {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Somebody buys, which takes a good token.
async fn sell(market: &Market, reference: &str) {
    market.register(reference).await;
    market.push(reference, reference, "100.00").await;
    let mut feed = market.station.feed(&format!("?pos={reference}&after=0")).await;
    market.scan(reference).await.pay().await;
    while feed.next().await.kind != "order_paid" {}
}

#[tokio::test]
async fn a_consent_brings_a_token_that_outlives_a_restart() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    // Kept from others while the station is down.
    let port = Reserved::new().expect("a port is free");
    let address = port.address().expect("it is bound");
    let mut market = Market::over(sandbox, address.port(), linked(&refresh)).await;
    until_linked(&market.station, true).await;
    sell(&market, "T-1").await;
    assert_eq!(refreshes(&market.sandbox).await, 2, "the consent and one refresh");
    market.station.restart().await;
    assert!(is_linked(&market.station).await, "at once");
    sell(&market, "T-2").await;
    assert_eq!(refreshes(&market.sandbox).await, 2, "what was kept is used");
    market.no_violations().await;
    log::check();
}

#[tokio::test]
async fn it_is_refreshed_before_its_end() {
    // A tenth of it is left for the refresh, also on a machine with much to do.
    let sandbox = mercado_pago(5, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    let market = Market::over(sandbox, free_port(), linked(&refresh)).await;
    until_linked(&market.station, true).await;
    for round in 3..5 {
        until_refreshed(&market.sandbox, round).await;
        assert!(is_linked(&market.station).await);
    }
    sell(&market, "T-1").await;
    let metrics = market.station.admin("GET", "/metrics").await.text();
    let mut refused = metrics.lines().filter(|line| line.contains("outcome=\"unauthorized\""));
    assert!(refused.all(|line| line.ends_with(" 0")), "{metrics}");
}

#[tokio::test]
async fn a_lost_answer_and_a_silent_api_are_no_cut() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    let faults = Faults {
        cut_after: Chance::next(4),
        ..Faults::default()
    };
    sandbox.set_faults(faults).await.expect("it runs");
    let market = Market::over(sandbox, free_port(), linked(&refresh)).await;
    until_linked(&market.station, true).await;
    sell(&market, "T-1").await;
}

#[tokio::test]
async fn a_notification_alone_only_makes_us_ask() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    let market = Market::over(sandbox, free_port(), linked(&refresh)).await;
    until_linked(&market.station, true).await;
    let body = format!(r#"{{"type":"mp-connect","action":"application.deauthorized","user_id":{SHOP}}}"#);
    for _ in 0..3 {
        let mut wire = market.station.poller().await;
        let length = body.len();
        // The application's URL is that of another account of ours.
        wire.send(
            format!("POST /notifications/test HTTP/1.1\r\nhost: pay\r\ncontent-length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
        .await;
        assert_eq!(wire.reply().await.status, 200);
    }
    until_refreshed(&market.sandbox, 3).await;
    sell(&market, "T-1").await;
    assert_eq!(refreshes(&market.sandbox).await, 3, "and not again for a while");
    let told = "surtidor_notifications_total{topic=\"link\",signature=\"absent\"}";
    assert!(market.station.metric(told).await > 2.5);
}

#[tokio::test]
async fn a_refused_call_makes_us_ask_and_a_cut_link_stops_its_account() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    let mut market = Market::over(sandbox, free_port(), linked(&refresh)).await;
    until_linked(&market.station, true).await;
    sell(&market, "T-1").await;
    // Nobody notifies us of it.
    market.sandbox.unlink(SHOP).await.expect("there was a link");
    let url = format!("{}/notifications/shop", market.url("").split("/pay-mp").next().unwrap());
    market.sandbox.forge(&url, 1, Proof::None).await.expect("it runs");
    until_linked(&market.station, false).await;
    let refused = market.station.refund("T-1", "key-1", json!({})).await;
    assert_eq!(refused.json()["code"], "account_unlinked");
    let config = market.station.config();
    market.station.app().reload(config).await.expect("it is the same");
    until_refreshed(&market.sandbox, 4).await;
    assert!(!is_linked(&market.station).await, "the same consent is of no use");
    let refresh = consent(&market.sandbox, SHOP).await;
    let mut setup = linked(&refresh);
    for (name, value) in market.station.environment().into_iter().skip(4) {
        if !name.contains("OAUTH") {
            setup = setup.env(&name, &value);
        }
    }
    market.station.setup(setup);
    let config = market.station.config();
    market.station.app().reload(config).await.expect("a secret may change");
    until_linked(&market.station, true).await;
    sell(&market, "T-2").await;
}

#[tokio::test]
async fn a_consent_of_another_seller_is_not_used() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, KIOSK).await;
    let market = Market::over(sandbox, free_port(), linked(&refresh)).await;
    until_refreshed(&market.sandbox, 2).await;
    market.station.register_as("PUMP1", json!({"account": "shop"})).await;
    assert!(!is_linked(&market.station).await);
    let file = market.station.folder().join("data/oauth/shop.json");
    patiently(async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!is_linked(&market.station).await, "it came, was kept, and is not used");
}

// --- as a process -----------------------------------------------------------------------------------------------

/// Two accounts with links, `shop` and `kiosk`, and their refresh tokens in files.
fn configure(folder: &Path, sandbox: &Sandbox, port: u16) {
    let mut text = crate::support::places(folder)
        .replace(NOBODY, &sandbox.base_url())
        .replace("127.0.0.1:0\"\nthreads", &format!("127.0.0.1:{port}\"\nthreads"));
    std::fs::write(folder.join("secret"), TEST_CLIENT_SECRET).expect("the folder is ours");
    for (name, seller) in [("shop", SHOP), ("kiosk", KIOSK)] {
        let folder = folder.display();
        text += &format!(
            "\n[[account]]\nid = \"{name}\"\ncollector_id = {seller}\nsite = \"MLA\"\n\
             oauth_client_secret_file = \"{folder}/secret\"\noauth_refresh_token_file = \"{folder}/{name}\"\n"
        );
    }
    std::fs::write(folder.join("surtidor.toml"), text).expect("the folder is ours");
}

fn metrics(server: &Server) -> String {
    let mut admin = Client::tcp(server.admin).expect("it listens");
    admin.get("/metrics").expect("it runs").expect(200).body
}

fn says_linked(server: &Server, account: &str, is: u8) -> bool {
    metrics(server).contains(&format!("surtidor_account_linked{{account=\"{account}\"}} {is}"))
}

fn no_secret(text: &str) {
    let told = CANARIES.iter().find(|canary| text.contains(**canary));
    assert_eq!(told, None, "{text}");
}

#[tokio::test]
async fn a_cut_link_stops_its_account_alone_until_a_new_consent() {
    let (folder, port) = (folder(), free_port());
    let sandbox = mercado_pago(HALF_A_YEAR, |settings| {
        settings.dashboard_url = Some(format!("http://127.0.0.1:{port}/notifications/kiosk"));
    });
    configure(folder.path(), &sandbox, port);
    for (name, seller) in [("shop", SHOP), ("kiosk", KIOSK)] {
        std::fs::write(folder.path().join(name), consent(&sandbox, seller).await).expect("the folder is ours");
    }
    let mut server = process::on(folder.path())
        .with(&[("SURTIDOR_LOG", OsStr::new("trace"))])
        .start();
    for _ in 0..2 {
        server.says("the link was refreshed");
    }
    sandbox.unlink(SHOP).await.expect("there was a link");
    let line = server.says("Mercado Pago refuses this account's link");
    assert!(
        line.contains("account=shop") && line.contains("invalid_grant"),
        "{line}"
    );
    until(|| says_linked(&server, "shop", 0));
    assert!(says_linked(&server, "kiosk", 1));
    let health = |server: &Server| {
        Client::tcp(server.admin)
            .unwrap()
            .get("/healthz")
            .unwrap()
            .expect(200)
            .body
    };
    assert_eq!(health(&server), "well, but Mercado Pago refuses the links of: shop\n");
    assert_eq!(server.ready().unwrap().body, "ready\n", "the other sells");
    std::fs::write(folder.path().join("shop"), consent(&sandbox, SHOP).await).expect("the folder is ours");
    server.signal("HUP");
    let line = server.says("the link was refreshed");
    assert!(line.contains("account=shop"), "{line}");
    until(|| says_linked(&server, "shop", 1));
    assert_eq!(health(&server), "well\n");
    no_secret(&metrics(&server));
    let ended = server.stop();
    assert_eq!(ended.code, Some(0));
    no_secret(&ended.log);
}

fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "it never came");
    }
}

/// Killed as soon as Mercado Pago has answered: before the tokens are written, while they are, or after.
#[tokio::test]
async fn no_kill_costs_the_link() {
    let folder = folder();
    let sandbox = mercado_pago(1, |_| {});
    configure(folder.path(), &sandbox, 0);
    for (name, seller) in [("shop", SHOP), ("kiosk", KIOSK)] {
        std::fs::write(folder.path().join(name), consent(&sandbox, seller).await).expect("the folder is ours");
    }
    for _ in 0..8 {
        let server = process::on(folder.path()).start();
        let before = refreshes(&sandbox).await;
        until_refreshed(&sandbox, before + 1).await;
        let ended = server.kill();
        assert!(!ended.log.contains("refuses this account's link"), "{}", ended.log);
    }
    let mut server = process::on(folder.path()).start();
    let mut whole = std::collections::BTreeSet::new();
    while whole.len() < 2 {
        let line = server.says("link");
        assert!(!line.contains("refuses"), "{line}");
        whole.extend(
            ["shop", "kiosk"]
                .into_iter()
                .filter(|name| line.contains(&format!("account={name}"))),
        );
    }
}

#[tokio::test]
async fn tokens_that_cannot_be_read_stop_the_start_and_stay() {
    let folder = folder();
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    configure(folder.path(), &sandbox, 0);
    for (name, seller) in [("shop", SHOP), ("kiosk", KIOSK)] {
        std::fs::write(folder.path().join(name), consent(&sandbox, seller).await).expect("the folder is ours");
    }
    let mut server = process::on(folder.path()).start();
    for _ in 0..2 {
        server.says("the link was refreshed");
    }
    server.stop();
    let file = folder.path().join("data/oauth/shop.json");
    let whole = std::fs::read_to_string(&file).expect("it was kept");
    let check = || {
        let mut check = std::process::Command::new(binary());
        let check = check
            .args(["check", "--config"])
            .arg(folder.path().join("surtidor.toml"))
            .env_clear();
        let done = check.output().expect("it runs");
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).expect("text"))
    };
    let (code, said) = check();
    assert!(
        code == Some(0) && said.contains("shop (MLA), through a link, with a token until 20"),
        "{said}"
    );
    no_secret(&said);
    std::fs::write(&file, &whole[..whole.len() / 2]).expect("it is ours");
    let ended = process::on(folder.path()).refused();
    assert_eq!(ended.code, Some(74));
    for said in [ended.log, check().1] {
        assert!(
            said.contains(&format!(
                "the tokens of an account's link: {}: it ends too early",
                file.display()
            )),
            "{said}"
        );
        no_secret(&said);
    }
    assert_eq!(
        std::fs::read_to_string(&file).expect("it is there"),
        whole[..whole.len() / 2]
    );
    std::fs::write(&file, whole).expect("it is ours");
    let server = process::on(folder.path()).start();
    assert!(says_linked(&server, "shop", 1));
}

#[tokio::test]
async fn tokens_that_cannot_be_written_are_not_used_before_they_are() {
    let folder = folder();
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    configure(folder.path(), &sandbox, 0);
    for (name, seller) in [("shop", SHOP), ("kiosk", KIOSK)] {
        std::fs::write(folder.path().join(name), consent(&sandbox, seller).await).expect("the folder is ours");
    }
    let hindrance = folder.path().join("data/oauth/shop.json.new/full");
    std::fs::create_dir_all(&hindrance).expect("the folder is ours");
    let mut server = process::on(folder.path()).start();
    let line = server.says("cannot be kept");
    assert!(line.contains("account=shop"), "{line}");
    until(|| says_linked(&server, "kiosk", 1));
    assert!(says_linked(&server, "shop", 0));
    let asked = refreshes(&sandbox).await;
    std::fs::remove_dir_all(hindrance.parent().expect("a folder")).expect("it is ours");
    until(|| says_linked(&server, "shop", 1));
    assert_eq!(refreshes(&sandbox).await, asked, "what came is what is kept");
}

#[tokio::test]
async fn the_sandbox_gives_and_refuses_tokens_as_documented() {
    let sandbox = mercado_pago(HALF_A_YEAR, |_| {});
    let refresh = consent(&sandbox, SHOP).await;
    let with = |member: &str, value: &str| {
        let mut body = json!({"client_id": "7910800073137785", "client_secret": TEST_CLIENT_SECRET,
            "grant_type": "refresh_token", "refresh_token": refresh});
        body[member] = json!(value);
        body
    };
    for (body, error) in [
        (with("client_secret", "another"), "invalid_client"),
        (with("client_id", "1"), "invalid_client"),
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("refresh_token", "another"), "invalid_grant"),
        (json!({"client_secret": TEST_CLIENT_SECRET}), "invalid_request"),
    ] {
        let (status, said) = ask(&sandbox, body).await;
        assert_eq!(
            (status, &said["error"], &said["status"]),
            (400, &json!(error), &json!(400)),
            "{said}"
        );
    }
    let (status, tokens) = ask(&sandbox, with("grant_type", "refresh_token")).await;
    assert_eq!((status, &tokens["expires_in"]), (200, &json!(HALF_A_YEAR)));
    assert!(
        tokens["access_token"].as_str().unwrap().ends_with("-178106235") && tokens["refresh_token"] != json!(refresh)
    );
    sandbox.unlink(SHOP).await.expect("there was a link");
    let (_, said) = ask(&sandbox, with("grant_type", "refresh_token")).await;
    assert_eq!(said["error"], "invalid_grant");
    assert!(sandbox.unlink(SHOP).await.is_err() && sandbox.consent(1).await.is_err());
}
