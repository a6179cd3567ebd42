//! kill -9 and power cuts under load: what was acknowledged is there, what was not is there whole or not at all, and the
//! feed goes on where it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use serde_json::Value;

use crate::support::dice::Dice;
use crate::support::process::{
    Client, Mount, Server, all_events, folder, long, on, poll, push, register, run, skip, text, told, verify_numbers,
};

const TILLS: u64 = 6;

/// For strace: a sync says that it was done, and does nothing.
const SKIP_SYNCS: &[&str] = &["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:retval=0"];

/// What a controller asks for.
#[derive(Debug, Clone, PartialEq)]
enum Ask {
    Push {
        reference: String,
        amount: String,
    },
    Replace {
        reference: String,
        amount: String,
    },
    /// The open order once more.
    Repeat {
        reference: String,
        amount: String,
    },
    Cancel,
    Say {
        message: String,
    },
}

impl Ask {
    fn send(&self, client: &mut Client, pos: &str) -> std::io::Result<u16> {
        let order = |reference: &str, amount: &str| {
            format!(
                r#"{{"external_reference":"{reference}","amount":"{amount}","title":"S","expires_in_seconds":86400}}"#
            )
        };
        let (method, path, body) = match self {
            Ask::Push { reference, amount } | Ask::Repeat { reference, amount } => {
                ("PUT", "order", order(reference, amount))
            }
            Ask::Replace { reference, amount } => ("PUT", "order?replace=true", order(reference, amount)),
            Ask::Cancel => ("DELETE", "order", String::new()),
            Ask::Say { message } => (
                "PUT",
                "state",
                format!(r#"{{"state":"in_process","message":"{message}"}}"#),
            ),
        };
        Ok(client.ask(method, &format!("/v1/pos/{pos}/{path}"), &body)?.status)
    }

    fn success(&self) -> u16 {
        match self {
            Ask::Push { .. } | Ask::Replace { .. } => 201,
            Ask::Repeat { .. } => 200,
            Ask::Cancel | Ask::Say { .. } => 204,
        }
    }
}

/// What follows from what was asked, by the design's rules and none of the server's code.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    /// Reference and amount.
    open: Option<(String, String)>,
    message: Option<String>,
    /// Amount and how it ended.
    orders: BTreeMap<String, (String, &'static str)>,
    events: Vec<(&'static str, String)>,
}

impl Model {
    fn after(mut self, ask: &Ask) -> Model {
        match ask {
            Ask::Repeat { .. } => {}
            Ask::Say { message } => {
                self.message = Some(message.clone());
                self.events.push(("state_changed", String::new()));
            }
            Ask::Cancel => self.end("canceled", "order_canceled"),
            Ask::Push { reference, amount } | Ask::Replace { reference, amount } => {
                if self.open.is_some() {
                    self.end("replaced", "order_replaced");
                }
                self.message = None;
                self.open = Some((reference.clone(), amount.clone()));
                self.orders.insert(reference.clone(), (amount.clone(), "open"));
                self.events.push(("order_ready", reference.clone()));
            }
        }
        self
    }

    fn end(&mut self, status: &'static str, event: &'static str) {
        let (reference, amount) = self.open.take().expect("only an open order is ended");
        self.orders.insert(reference.clone(), (amount, status));
        self.events.push((event, reference));
    }

    /// What a poll is told.
    fn told(&self) -> &str {
        match (&self.open, &self.message) {
            (Some((reference, _)), _) => reference,
            (None, Some(_)) => "in_process",
            (None, None) => "unavailable",
        }
    }
}

/// A controller with its point of sale.
struct Till {
    pos: String,
    dice: Dice,
    made: u64,
    /// After all that was acknowledged.
    model: Model,
    /// What was asked last, if it was not answered.
    doubt: Option<Ask>,
}

impl Till {
    fn choose(&mut self) -> Ask {
        self.made += 1;
        let reference = format!("{}-{}", self.pos, self.made);
        let amount = format!("{}.{:02}", 1 + self.dice.below(99_999), self.dice.below(100));
        match (&self.model.open, self.dice.below(10)) {
            (None, 0..3) => Ask::Say { message: reference },
            (None, _) => Ask::Push { reference, amount },
            (Some(_), 0..2) => Ask::Replace { reference, amount },
            (Some((reference, amount)), 2..3) => Ask::Repeat {
                reference: reference.clone(),
                amount: amount.clone(),
            },
            (Some(_), _) => Ask::Cancel,
        }
    }

    /// Asks one thing after the other until the server is gone. What is acknowledged is told to polls at once.
    fn work(&mut self, mut client: Client, mut poller: Client, acknowledged: &SyncSender<()>) {
        loop {
            let ask = self.choose();
            match ask.send(&mut client, &self.pos) {
                Ok(status) => assert_eq!(status, ask.success(), "{ask:?} after {:?}", self.model.open),
                Err(_) => {
                    self.doubt = Some(ask);
                    return;
                }
            }
            self.model = std::mem::take(&mut self.model).after(&ask);
            let _ = acknowledged.send(());
            match poll(&mut poller, &self.pos) {
                Ok(reply) => assert_eq!(told(&reply), self.model.told(), "{ask:?} was acknowledged"),
                Err(_) => return,
            }
        }
    }

    /// What the server that comes after knows is what was acknowledged, or that and what was in doubt; and all who ask are
    /// told the same.
    fn verify(&mut self, server: &Server, events: &[Value]) {
        let found: Vec<(&str, &str)> = events
            .iter()
            .filter(|event| event["pos"] == *self.pos)
            .map(|event| (text(event, "type"), text(event, "external_reference")))
            .filter(|(kind, _)| !matches!(*kind, "pos_registered" | "order_shown"))
            .collect();
        let is = |model: &Model| {
            let expected = model.events.iter().map(|(kind, reference)| (*kind, reference.as_str()));
            found.iter().copied().eq(expected)
        };
        let done = self.doubt.as_ref().map(|ask| self.model.clone().after(ask));
        let doubt_done = !is(&self.model);
        if let Some(done) = done.filter(|_| doubt_done) {
            self.model = done;
        }
        assert!(
            is(&self.model),
            "{}: {:?}\nfeed: {found:?}\nin doubt: {:?}",
            self.pos,
            self.model.events,
            self.doubt
        );

        let mut client = server.controller();
        let pos = client
            .get(&format!("/v1/pos/{}", self.pos))
            .expect("it runs")
            .expect(200)
            .json();
        assert_eq!(
            pos["order"]["external_reference"].as_str(),
            self.model.open.as_ref().map(|(r, _)| r.as_str())
        );
        assert_eq!(pos["message"].as_str(), self.model.message.as_deref(), "{pos}");
        let polled = poll(&mut server.poller(), &self.pos).expect("it runs");
        assert_eq!(told(&polled), self.model.told());
        self.verify_orders(&mut client);
        self.settle_doubt(&mut client, doubt_done);
    }

    fn verify_orders(&self, client: &mut Client) {
        let mut found = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let page = client.get(&format!("/v1/orders?pos={}&limit=1000{cursor}", self.pos));
            let page = page.expect("it runs").expect(200).json();
            for order in page["orders"].as_array().expect("a list") {
                let status = match text(order, "status") {
                    "ready" | "shown" => "open",
                    ended => ended,
                };
                let known = (text(order, "amount").to_owned(), status.to_owned());
                let twice = found.insert(text(order, "external_reference").to_owned(), known);
                assert_eq!(twice, None, "an order is listed once");
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let owned = |(amount, status): &(String, &str)| (amount.clone(), (*status).to_owned());
        let expected: BTreeMap<_, _> = self.model.orders.iter().map(|(r, o)| (r.clone(), owned(o))).collect();
        assert_eq!(found, expected);
    }

    /// As a controller does it: the call is repeated, and the answer says what had become of it.
    fn settle_doubt(&mut self, client: &mut Client, done: bool) {
        let Some(ask) = self.doubt.take() else { return };
        if let Ask::Push { .. } | Ask::Replace { .. } = ask {
            let status = ask.send(client, &self.pos).expect("it runs");
            assert_eq!(status, if done { 200 } else { 201 }, "{ask:?}");
            if !done {
                self.model = std::mem::take(&mut self.model).after(&ask);
            }
        }
    }
}

/// Follows the feed until the server is gone; begins where it was cut off.
fn follow(client: Client, last: u64) -> Vec<Value> {
    let events = client
        .follow("/v1/events", last)
        .expect("nobody kills it before it was asked much");
    events.filter(|event| event["seq"].is_u64()).collect()
}

fn tills(dice: &mut Dice) -> Vec<Till> {
    (1..=TILLS)
        .map(|number| Till {
            pos: format!("PUMP{number}"),
            dice: dice.fork(),
            made: 0,
            model: Model::default(),
            doubt: None,
        })
        .collect()
}

#[test]
fn a_killed_server_keeps_what_it_acknowledged() {
    let mut dice = Dice::from_seed();
    let folder = folder();
    let mut server = on(folder.path()).start();
    let mut tills = tills(&mut dice);
    for till in &tills {
        register(&mut server.controller(), &till.pos);
    }
    let mut followed: Vec<Value> = Vec::new();
    let mut in_doubt = 0;
    for _ in 0..if long() { 50 } else { 5 } {
        let last = followed
            .last()
            .map_or(0, |event| event["seq"].as_u64().expect("a number"));
        let acks = 20 + dice.below(200);
        followed.extend(work_and_kill(server, &mut tills, last, acks, |_| ()));
        in_doubt += tills.iter().filter(|till| till.doubt.is_some()).count();
        server = on(folder.path()).start();
        let events = all_events(&mut server.controller());
        verify_numbers(&events);
        let told_before: Vec<_> = events.iter().take(followed.len()).collect();
        assert_eq!(
            followed.iter().collect::<Vec<_>>(),
            told_before,
            "each event once, in order"
        );
        for till in &mut tills {
            till.verify(&server, &events);
        }
    }
    assert!(in_doubt > 0, "no kill hit anything");
    let events = all_events(&mut server.controller());
    let last = followed
        .last()
        .map_or(0, |event| event["seq"].as_u64().expect("a number"));
    let rest = server.controller().follow("/v1/events", last).expect("it runs");
    followed.extend(rest.take(events.len() - followed.len()));
    assert_eq!(followed, events, "who resumes is told of every event once");
    // Also who was cut off between two events of one entry.
    let entry = |event: &Value| event["seq"].as_u64().map(|seq| seq / 16);
    let within = events.windows(2).filter(|pair| entry(&pair[0]) == entry(&pair[1]));
    for pair in within.take(10) {
        let path = format!("/v1/events?wait=0&after={}", pair[0]["seq"]);
        let page = server.controller().get(&path).expect("it runs").expect(200).json();
        assert_eq!(page["events"][0], pair[1]);
    }
}

/// Lets all tills work at once, and kills the server after so many acknowledgements and after `before`. Returns what a
/// follower was told.
fn work_and_kill(server: Server, tills: &mut [Till], last: u64, acks: u64, before: impl FnOnce(&Server)) -> Vec<Value> {
    let (acknowledged, heard) = sync_channel(1_000);
    thread::scope(|scope| {
        let client = server.controller();
        let follower = scope.spawn(move || follow(client, last));
        for till in tills {
            let (client, poller, acknowledged) = (server.controller(), server.poller(), acknowledged.clone());
            scope.spawn(move || till.work(client, poller, &acknowledged));
        }
        drop(acknowledged);
        for _ in 0..acks {
            heard.recv().expect("a till works on until the server is gone");
        }
        before(&server);
        server.kill();
        while heard.recv().is_ok() {}
        follower.join().expect("it only reads")
    })
}

/// A disk in a file, and a place to mount copies of it.
struct Disk {
    room: tempfile::TempDir,
    copies: u32,
}

impl Disk {
    /// The disk, mounted. The kernel writes nothing back by itself while a test runs.
    fn new() -> Option<(Disk, PathBuf, Mount)> {
        let disk = Disk {
            room: folder(),
            copies: 0,
        };
        let image = disk.room.path().join("disk");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(64 << 20))
            .expect("there is room");
        if !run("mkfs.ext4", &["-q", "-F"], &image) {
            skip("a power cut: there is no mkfs.ext4");
            return None;
        }
        let (folder, mount) = disk.mount(&image, "mounted")?;
        Some((disk, folder, mount))
    }

    fn mount(&self, image: &Path, name: &str) -> Option<(PathBuf, Mount)> {
        let folder = self.room.path().join(name);
        std::fs::create_dir(&folder).expect("the name is new");
        let image = image.to_str().expect("a plain name");
        let mount = Mount::new(&folder, &["-o", "loop,commit=300", image])?;
        Some((folder, mount))
    }

    /// What is on the disk at this moment: all that a machine finds whose power was cut.
    fn copy(&mut self, server: &Server) -> PathBuf {
        server.signal("STOP");
        self.copies += 1;
        let copy = self.room.path().join(format!("copy-{}", self.copies));
        let image = self.room.path().join("disk");
        let image = image.to_str().expect("a plain name");
        assert!(run("cp", &["--sparse=always", image], &copy), "there is room");
        copy
    }
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    if !long() {
        return skip("a power cut: it is of the long form, SURTIDOR_TESTS=all");
    }
    let mut dice = Dice::from_seed();
    for _ in 0..10 {
        let Some((mut disk, folder, mount)) = Disk::new() else {
            return;
        };
        let server = on(&folder).start();
        let mut tills = tills(&mut dice);
        for till in &tills {
            register(&mut server.controller(), &till.pos);
        }
        let mut copy = PathBuf::new();
        let acks = 20 + dice.below(400);
        let followed = work_and_kill(server, &mut tills, 0, acks, |server| copy = disk.copy(server));
        drop(mount);
        let (folder, _mount) = disk.mount(&copy, "after").expect("the first was");
        // Its configuration names the folder it was in, if it got to the disk at all.
        let _ = std::fs::remove_file(folder.join("surtidor.toml"));
        let server = on(&folder).start();
        let events = all_events(&mut server.controller());
        verify_numbers(&events);
        assert!(events.starts_with(&followed), "nobody was told of what is not there");
        for till in &mut tills {
            till.verify(&server, &events);
        }
    }
}

/// The test above sees what it says that it sees: without syncs it fails.
#[test]
fn a_power_cut_without_syncs_loses_orders() {
    if !long() {
        return skip("a power cut without syncs: it is of the long form, SURTIDOR_TESTS=all");
    }
    let Some((mut disk, folder, mount)) = Disk::new() else {
        return;
    };
    assert_eq!(on(&folder).start().stop().code, Some(0));
    let report = disk.room.path().join("strace");
    let server = on(&folder).under_strace(&report, SKIP_SYNCS).start();
    register(&mut server.controller(), "PUMP1");
    push(&mut server.controller(), "PUMP1", "LOST")
        .expect("it runs")
        .expect(201);
    let copy = disk.copy(&server);
    drop((server, mount));
    let (folder, _mount) = disk.mount(&copy, "after").expect("the first was");
    let _ = std::fs::remove_file(folder.join("surtidor.toml"));
    let server = on(&folder).start();
    let lost = server.controller().get("/v1/orders/LOST").expect("it runs");
    assert_eq!(lost.status, 404, "{}", lost.body);
}

/// A server is killed between writing and syncing; the next one shows the order, so it must be on the disk by then.
#[test]
fn what_a_killed_server_did_not_sync_is_synced_before_it_is_shown() {
    if !long() {
        return skip("a power cut after a kill: it is of the long form, SURTIDOR_TESTS=all");
    }
    let Some((mut disk, folder, mount)) = Disk::new() else {
        return;
    };
    assert_eq!(on(&folder).start().stop().code, Some(0));
    let report = disk.room.path().join("strace");
    let server = on(&folder).under_strace(&report, SKIP_SYNCS).start();
    register(&mut server.controller(), "PUMP1");
    push(&mut server.controller(), "PUMP1", "WRITTEN")
        .expect("it runs")
        .expect(201);
    server.kill();
    let server = on(&folder).start();
    push(&mut server.controller(), "PUMP1", "WRITTEN")
        .expect("it runs")
        .expect(200);
    let copy = disk.copy(&server);
    drop((server, mount));
    let (folder, _mount) = disk.mount(&copy, "after").expect("the first was");
    let _ = std::fs::remove_file(folder.join("surtidor.toml"));
    let server = on(&folder).start();
    server
        .controller()
        .get("/v1/orders/WRITTEN")
        .expect("it runs")
        .expect(200);
}
