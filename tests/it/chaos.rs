//! Everything goes wrong at once: notifications are lost, repeated and shuffled, the API fails one call in ten and its
//! search is behind, and the server is killed every few seconds. Every order must end right all the same, in each mode.

mod oracle;
mod till;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use surtidor::sandbox::{Account, Chance, Faults, Flavour, Sandbox, Settings, TEST_SECRET};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::NOBODY;
use crate::support::caller::Caller;
use crate::support::dice::Dice;
use crate::support::process::{Client, Server, all_events, folder, long, on, say, text, verify_numbers};

use oracle::Case;
use till::Till;

/// An account for each policy, named by it.
const ACCOUNTS: [(&str, u64); 3] = [
    ("report", 178_106_235),
    ("refund", 178_106_236),
    ("accept", 178_106_237),
];
/// How old a search is at times.
const STALE: Duration = Duration::from_secs(2);
/// For all to be told once nothing goes wrong any more: what ended is asked for every thirty seconds.
const SETTLE: Duration = Duration::from_secs(120);

/// An intent lives no longer: one whose name was lost in a broken answer is over by then.
const INTENT_LIFE: Duration = Duration::from_secs(20);

/// How much there is of it.
struct Form {
    mode: &'static str,
    tills: usize,
    orders: u64,
    think: Duration,
    kills: usize,
    flavour: Flavour,
    delivery_seconds: u32,
}

impl Form {
    fn of_this_run(mode: &'static str) -> Form {
        let is_polled = mode == "unattended";
        if long() {
            Form {
                mode,
                tills: if is_polled { 500 } else { 250 },
                orders: 4,
                think: Duration::from_secs(20),
                kills: usize::MAX,
                flavour: Flavour::Webhook,
                delivery_seconds: 15,
            }
        } else {
            Form {
                mode,
                tills: if is_polled { 50 } else { 30 },
                orders: 2,
                think: Duration::from_secs(2),
                kills: 2,
                // Both kinds of each: seldom are all lost, and found by a search half a minute later.
                flavour: Flavour::Both,
                delivery_seconds: 4,
            }
        }
    }
}

#[tokio::test]
async fn in_chaos_every_order_ends_right() {
    chaos(Form::of_this_run("unattended")).await;
}

#[tokio::test]
async fn in_chaos_every_attended_order_ends_right() {
    chaos(Form::of_this_run("attended")).await;
}

#[tokio::test]
async fn in_chaos_every_intent_ends_right() {
    chaos(Form::of_this_run("intent")).await;
}

/// One after the other: each keeps the machine busy.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn chaos(form: Form) {
    let _turn = TURN.lock().await;
    let mut dice = Dice::from_seed();
    let folder = folder();
    let port = steady_port(&mut dice);
    let sandbox = Arc::new(Sandbox::start(settings(&form, &mut dice, port)).expect("the sandbox starts"));
    configure(folder.path(), port, &form, &sandbox);
    let server = on(folder.path()).start();
    let caller = Caller::new(server.socket.clone());
    let poses: Vec<String> = (1..=form.tills).map(|number| format!("C{number}")).collect();
    set_up(&sandbox, &caller, &poses, port, form.mode).await;

    // Who hears, who spoils, and who kills.
    let feed = Arc::new(Feed::new(&poses));
    let mut aside = JoinSet::new();
    aside.spawn(follow(caller.clone(), feed.clone()));
    let paged = Arc::new(Mutex::new(Vec::new()));
    aside.spawn(follow_by_pages(caller.clone(), paged.clone()));
    let spoiling = tokio::spawn(spoil(sandbox.clone(), dice.fork()));
    let (spare, spared) = std::sync::mpsc::sync_channel(1);
    let killing = thread::spawn({
        let (path, dice, kills) = (folder.path().to_owned(), dice.fork(), form.kills);
        // Who cancels an intent may wait five seconds to hear that it is undecided; at times it lives that long.
        let longest = if form.mode == "intent" { 10_000 } else { 4_000 };
        move || kill(server, &path, dice, (kills, longest), &spared)
    });

    let mut trading = JoinSet::new();
    for pos in &poses {
        let till = Till {
            pos: pos.clone(),
            is_posted: form.mode != "unattended",
            caller: caller.clone(),
            sandbox: sandbox.clone(),
            heard: feed.of_pos(pos),
            dice: dice.fork(),
            think: form.think,
            deals: Vec::new(),
        };
        trading.spawn(till.trade(form.orders));
    }
    let tills = trading.join_all().await;

    // From here on nothing goes wrong any more.
    spoiling.abort();
    let _ = spoiling.await;
    sandbox.set_faults(Faults::default()).await.expect("faults");
    drop(spare);
    let Killed { server, kills, mut log } = tokio::task::spawn_blocking(|| killing.join())
        .await
        .expect("it is waited for")
        .expect("the server started each time");
    say(&format!(
        "{} orders, {}; killed {kills} times",
        form.tills as u64 * form.orders,
        form.mode
    ));

    let ended = Ended {
        mode: form.mode,
        tills,
        caller,
        sandbox: &sandbox,
    };
    ended.settle().await;
    ended.calm(&server, &form).await;
    let evidence = ended.gather().await;
    let events = all_events(&mut server.controller());
    same_feed(&events, || feed.all(), "by the stream").await;
    same_feed(&events, || paged.lock().expect("whole").clone(), "by pages").await;
    verify_numbers(&events);
    aside.abort_all();
    let stopped = tokio::task::spawn_blocking(|| server.stop()).await.expect("it ends");
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    log.push_str(&stopped.log);
    assert!(!log.contains("panicked"), "{log}");
    none_wrong(&ended.judge(&evidence, |reference| is_blind(&log, reference)));
    let violations = sandbox.violations().await.expect("it answers");
    assert!(violations.is_empty(), "{violations:?}");
    let notified = sandbox.notified().await.expect("it answers");
    say(&format!(
        "{notified:?}; {:?}",
        sandbox.calls().await.expect("it answers")
    ));
}

/// Below those that the system gives to outgoing connections: else one of them may have it while the server is away.
pub fn steady_port(dice: &mut Dice) -> u16 {
    let mut tries = std::iter::repeat_with(|| 20_000 + dice.below(12_000) as u16);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    tries.find(is_free).expect("one is free")
}

fn token(policy: &str, collector: u64) -> String {
    format!("APP_USR-chaos-{policy}-{collector}")
}

fn settings(form: &Form, dice: &mut Dice, port: u16) -> Settings {
    let account = |(policy, collector)| Account {
        dashboard_url: Some(format!("http://127.0.0.1:{port}/notifications/{policy}")),
        ..Account::new(&token(policy, collector), "MLA").expect("it ends in a number")
    };
    Settings {
        accounts: ACCOUNTS.map(account).into(),
        intent_life: INTENT_LIFE,
        flavour: form.flavour,
        poll_every: Duration::from_millis(200),
        seed: dice.below(u64::MAX),
        ..Settings::default().hurried(100)
    }
}

fn configure(folder: &Path, port: u16, form: &Form, sandbox: &Sandbox) {
    let places = crate::support::places(folder).replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    let mut text = places.replace(NOBODY, &sandbox.base_url());
    // The last section of the places is Mercado Pago's.
    text += "calls_per_second = 1000\n[notifications]\n";
    text += &format!("public_url = \"http://127.0.0.1:{port}/notifications\"\n");
    let secret = folder.join("webhook-secret");
    std::fs::write(&secret, TEST_SECRET).expect("the folder is ours");
    for (policy, collector) in ACCOUNTS {
        let file = folder.join(policy);
        std::fs::write(&file, token(policy, collector)).expect("the folder is ours");
        text += &format!(
            r#"
[[account]]
id = "{policy}"
collector_id = {collector}
site = "MLA"
access_token_file = "{}"
webhook_secret_file = "{}"
late_payment = "{policy}"
delivery_seconds = {}
"#,
            file.display(),
            secret.display(),
            form.delivery_seconds
        );
    }
    std::fs::write(folder.join("surtidor.toml"), text).expect("the folder is ours");
}

/// Which account a POS belongs to.
fn account(place: usize) -> (&'static str, u64) {
    ACCOUNTS[place % ACCOUNTS.len()]
}

/// Stores and points of sale, at Mercado Pago and here.
async fn set_up(sandbox: &Sandbox, caller: &Caller, poses: &[String], port: u16, mode: &str) {
    let location = json!({"street_number": "1", "street_name": "S", "city_name": "C", "state_name": "S",
        "latitude": -34.6, "longitude": -58.4});
    for (policy, collector) in ACCOUNTS {
        let store = json!({"name": policy, "external_id": policy, "location": location});
        at_mercado_pago(
            sandbox,
            (policy, collector),
            &format!("/users/{collector}/stores"),
            &store,
        );
    }
    for (place, pos) in poses.iter().enumerate() {
        let (policy, collector) = account(place);
        let mut body = json!({"name": pos, "fixed_amount": true, "external_store_id": policy, "external_id": pos});
        let mut registration = json!({"account": policy, "mode": mode});
        if mode == "unattended" {
            body["url"] = format!("http://127.0.0.1:{port}/pay-mp?locationId=here&positionId={pos}").into();
            registration["keys"] = json!({"locationId": "here", "positionId": pos});
        } else {
            registration["external_store_id"] = policy.into();
        }
        at_mercado_pago(sandbox, (policy, collector), "/pos", &body);
        let answer = caller.ask("PUT", &format!("/v1/pos/{pos}"), &registration).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

fn at_mercado_pago(sandbox: &Sandbox, (policy, collector): (&str, u64), path: &str, body: &Value) {
    let mut client = Client::tcp(sandbox.address()).expect("it listens");
    let (token, body) = (token(policy, collector), body.to_string());
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    client.send(&request).expect("it listens");
    client.reply().expect("it answers").expect(200);
}

// --- what goes wrong ----------------------------------------------------------------------------------------------

/// One call in ten fails, and at times more; of the notifications one in five is lost, and the rest comes four times in any order.
async fn spoil(sandbox: Arc<Sandbox>, mut dice: Dice) {
    loop {
        let faults = Faults {
            lose: Chance::one_in(5),
            repeat: 3,
            reorder: Duration::from_millis(1_500),
            too_many: Chance::one_in(60),
            retry_after_seconds: 1,
            broken: Chance::one_in(60),
            cut_before: Chance::one_in(60),
            // The worst: it was done, and nobody was told. At times so often that all tries of a call fail.
            cut_after: Chance::one_in(if dice.one_in(3) { 3 } else { 20 }),
            stale: if dice.one_in(3) { STALE } else { Duration::ZERO },
            ..Faults::default()
        };
        sandbox.set_faults(faults).await.expect("faults");
        sleep(Duration::from_millis(2_000 + dice.below(3_000))).await;
    }
}

struct Killed {
    server: Server,
    kills: usize,
    /// What all of them said.
    log: String,
}

/// Kills the server every few seconds and starts it at once again, until nobody wants that any more.
fn kill(
    mut server: Server,
    folder: &Path,
    mut dice: Dice,
    (most, longest): (usize, u64),
    spared: &Receiver<()>,
) -> Killed {
    let (mut kills, mut log) = (0, String::new());
    while kills < most {
        let wait = Duration::from_millis(2_000 + dice.below(longest - 2_000));
        if spared.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        log.push_str(&server.kill().log);
        server = on(folder).start();
        kills += 1;
    }
    Killed { server, kills, log }
}

fn is_blind(log: &str, reference: &str) -> bool {
    let mut lines = log.lines().filter(|line| line.contains("without a last look"));
    lines.any(|line| {
        line.split_whitespace()
            .any(|word| word == format!("reference={reference}"))
    })
}

// --- who hears ----------------------------------------------------------------------------------------------------

/// What a follower has heard, over all and of each POS.
struct Feed {
    all: Mutex<Vec<Value>>,
    of_pos: HashMap<String, watch::Sender<Vec<Value>>>,
}

impl Feed {
    fn new(poses: &[String]) -> Feed {
        let empty = |pos: &String| (pos.clone(), watch::Sender::new(Vec::new()));
        Feed {
            all: Mutex::default(),
            of_pos: poses.iter().map(empty).collect(),
        }
    }

    fn of_pos(&self, pos: &str) -> watch::Receiver<Vec<Value>> {
        self.of_pos[pos].subscribe()
    }

    fn all(&self) -> Vec<Value> {
        self.all.lock().expect("whole").clone()
    }

    fn last(&self) -> u64 {
        last(&self.all.lock().expect("whole"))
    }

    fn hear(&self, event: Value) {
        // Who stands at a machine is told live, and has no number.
        if event["seq"].is_u64() {
            self.all.lock().expect("whole").push(event.clone());
            self.of_pos[text(&event, "pos")].send_modify(|heard| heard.push(event));
        }
    }
}

fn last(events: &[Value]) -> u64 {
    events.last().and_then(|event| event["seq"].as_u64()).unwrap_or(0)
}

/// A stream, taken up where it was cut off.
async fn follow(caller: Caller, feed: Arc<Feed>) {
    loop {
        // How it ended says nothing: the server was killed.
        let _ = caller.follow(feed.last(), |event| feed.hear(event)).await;
        sleep(Duration::from_millis(50)).await;
    }
}

/// The long poll, of which a page may be cut off.
async fn follow_by_pages(caller: Caller, paged: Arc<Mutex<Vec<Value>>>) {
    let mut after = 0;
    loop {
        let path = format!("/v1/events?after={after}&wait=5");
        let mut page = caller.ask("GET", &path, &Value::Null).await.body;
        after = page["next"].as_u64().expect("where the next page begins");
        if let Value::Array(events) = page["events"].take() {
            let numbered = events.into_iter().filter(|event| event["seq"].is_u64());
            paged.lock().expect("whole").extend(numbered);
        }
    }
}

/// Whoever followed has heard all that is recorded, once, in its order.
async fn same_feed(events: &[Value], heard: impl Fn() -> Vec<Value>, how: &str) {
    let begun = Instant::now();
    while last(&heard()) < last(events) {
        assert!(begun.elapsed() < SETTLE, "{how}: the feed's end is never heard");
        sleep(Duration::from_millis(50)).await;
    }
    let heard = heard();
    let differs = heard.iter().zip(events).position(|(heard, told)| heard != told);
    let differs = differs.map(|place| (&heard[place], &events[place]));
    assert_eq!(differs, None, "{how}");
    assert_eq!(heard.len(), events.len(), "{how}");
}

// --- the end ------------------------------------------------------------------------------------------------------

struct Ended<'a> {
    mode: &'static str,
    tills: Vec<Till>,
    caller: Caller,
    sandbox: &'a Sandbox,
}

/// Orders by their reference, as the server tells them, and their events.
struct Evidence {
    views: HashMap<String, Value>,
    events: HashMap<String, Vec<Value>>,
    truth: BTreeMap<String, Truth>,
}

struct Truth {
    merchant_orders: Vec<surtidor::sandbox::MerchantOrder>,
    payments: Vec<surtidor::sandbox::Payment>,
    placed: Vec<surtidor::sandbox::Placed>,
    /// A customer would be shown it now.
    stands: bool,
}

impl Ended<'_> {
    /// Waits until all has ended right.
    async fn settle(&self) {
        let begun = Instant::now();
        loop {
            let wrong = self.judge(&self.gather().await, |_| true);
            if wrong.is_empty() {
                say(&format!("all agrees after {:?}", begun.elapsed()));
                return;
            }
            if begun.elapsed() > SETTLE {
                none_wrong(&wrong);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Nothing is on its way any more; in the long form every order has been looked at once more.
    async fn calm(&self, server: &Server, form: &Form) {
        let notified = self.sandbox.until_notified(|notified| notified.waiting == 0);
        let notified = tokio::time::timeout(SETTLE, notified).await;
        notified.expect("all are delivered").expect("it answers");
        let looked = r#"surtidor_tracker_looks_total{outcome="answered"}"#;
        let more = if long() { form.tills as u64 * form.orders } else { 0 };
        let enough = metric(server, looked) + more;
        let begun = Instant::now();
        while metric(server, looked) < enough || metric(server, r#"surtidor_inbox{trusted="yes"}"#) > 0 {
            assert!(begun.elapsed() < SETTLE, "the tracker does not come to rest");
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn gather(&self) -> Evidence {
        let mut truth = BTreeMap::new();
        for till in &self.tills {
            let standing = self.sandbox.standing(&till.pos).await.expect("it answers");
            for reference in till.deals.iter().map(|deal| &deal.reference) {
                let known = Truth {
                    merchant_orders: self.sandbox.merchant_orders(reference).await.expect("it answers"),
                    payments: self.sandbox.payments(reference).await.expect("it answers"),
                    placed: self.sandbox.placed(reference).await.expect("it answers"),
                    stands: standing.as_ref() == Some(reference),
                };
                truth.insert(reference.clone(), known);
            }
        }
        let events = self.events().await;
        Evidence {
            views: self.views().await,
            events,
            truth,
        }
    }

    async fn views(&self) -> HashMap<String, Value> {
        let mut views = HashMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/orders?limit=1000{cursor}");
            let mut page = self.caller.ask("GET", &path, &Value::Null).await.body;
            if let Value::Array(orders) = page["orders"].take() {
                views.extend(
                    orders
                        .into_iter()
                        .map(|order| (text(&order, "external_reference").to_owned(), order)),
                );
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return views,
            }
        }
    }

    async fn events(&self) -> HashMap<String, Vec<Value>> {
        let mut events = HashMap::<String, Vec<Value>>::new();
        for till in &self.tills {
            for event in till.heard.borrow().iter() {
                let reference = text(event, "external_reference").to_owned();
                events.entry(reference).or_default().push(event.clone());
            }
        }
        events
    }

    fn judge(&self, evidence: &Evidence, is_blind: impl Fn(&str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (place, till) in self.tills_in_order() {
            for deal in &till.deals {
                let reference = &deal.reference;
                let (Some(view), Some(events)) = (evidence.views.get(reference), evidence.events.get(reference)) else {
                    wrong.push(format!("{reference} was acknowledged, and is not there"));
                    continue;
                };
                let truth = &evidence.truth[reference];
                let case = Case {
                    merchant_orders: &truth.merchant_orders,
                    payments: &truth.payments,
                    mode: self.mode,
                    placed: &truth.placed,
                    stands: truth.stands,
                    was_blind: is_blind(reference),
                    ..Case::new(deal, account(place).0, view, events)
                };
                wrong.extend(case.judge());
            }
        }
        wrong
    }

    /// With the place from which its account follows: those that were done first came first.
    fn tills_in_order(&self) -> impl Iterator<Item = (usize, &Till)> {
        let place = |till: &Till| till.pos[1..].parse::<usize>().expect("a number") - 1;
        self.tills.iter().map(move |till| (place(till), till))
    }
}

fn metric(server: &Server, name: &str) -> u64 {
    let page = Client::tcp(server.admin).and_then(|mut client| client.get("/metrics"));
    let page = page.expect("it runs").expect(200).body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().expect("a whole number"))
}

fn none_wrong(wrong: &[String]) {
    let first: Vec<&str> = wrong.iter().take(30).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), first.join("\n"));
}
