//! A server and a simulated Mercado Pago, with a point of sale for each example; and the programs that sell there.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use surtidor::sandbox::{Attempt, Outcome, Place, Sandbox, Screen, Settings, Status, TEST_SECRET, TEST_TOKEN};
use tempfile::TempDir;

use crate::chaos::steady_port;
use crate::sandbox::{STORE, USER};
use crate::support::NOBODY;
use crate::support::dice::Dice;
use crate::support::http::patiently;
use crate::support::market::hurried;
use crate::support::process::{self, Client, Server, WAIT, all_events, folder_in_memory, on, skip, text};

/// A program, and what it is called here; its point of sale has the same name.
pub struct Example {
    pub name: &'static str,
    command: Vec<PathBuf>,
}

/// All that can run here. The one in C is compiled as its users would, and with all that finds mistakes.
pub fn examples() -> &'static [Example] {
    static EXAMPLES: OnceLock<Vec<Example>> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
        let plain = compiled(&source, "plain", &[]).expect("cc takes it without a warning");
        let checked = compiled(&source, "checked", &["-fsanitize=address,undefined"]);
        if checked.is_none() {
            skip("the example in C with the address sanitizer, which cc does not have");
        }
        let mut examples = vec![example("C", [plain])];
        examples.extend(checked.map(|checked| example("CHECKED", [checked])));
        if has("go", "version") {
            examples.push(example("GO", [built(&source)]));
        } else {
            skip("controller.go: go is missing; Debian's package is golang-go, and tests/run.sh --all installs it");
        }
        for (name, interpreter, file, needs) in [
            ("PYTHON", "python3", "controller.py", "python3"),
            ("NODE", "node", "controller.mjs", "node"),
            ("SHELL", "sh", "controller.sh", "jq"),
        ] {
            if has(needs, "--version") {
                examples.push(example(name, [interpreter.into(), source.join(file)]));
            } else {
                skip(&format!("{file}: {needs} is missing"));
            }
        }
        examples
    })
}

fn example<const WORDS: usize>(name: &'static str, command: [PathBuf; WORDS]) -> Example {
    Example {
        name,
        command: command.into(),
    }
}

fn compiled(source: &Path, name: &str, more: &[&str]) -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("controller-{name}"));
    let done = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1"])
        .args(more)
        .arg("-o")
        .args([&program, &source.join("controller.c")])
        .status();
    done.is_ok_and(|status| status.success()).then_some(program)
}

/// As `go build` makes it; its cache is kept for the next time.
fn built(source: &Path) -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = tools.join("controller-go");
    let done = Command::new("go")
        .args(["build", "-o"])
        .args([&program, &source.join("controller.go")])
        .env("GOCACHE", tools.join("go"))
        .env("GO111MODULE", "off")
        .status();
    assert!(done.is_ok_and(|status| status.success()), "go takes it");
    program
}

fn has(program: &str, version: &str) -> bool {
    let done = Command::new(program).arg(version).output();
    done.is_ok_and(|output| output.status.success())
}

/// A controller that runs. It is killed when this is dropped.
pub struct Program {
    pub example: &'static Example,
    child: Child,
    lines: Receiver<String>,
    said: String,
    begun: Instant,
}

impl Program {
    /// What it keeps, it keeps in the folder.
    pub fn start(example: &'static Example, folder: &Path, socket: &Path, pos: &str, sale: &[&str]) -> Program {
        let mut child = Command::new(&example.command[0])
            .args(&example.command[1..])
            .args([socket.as_os_str(), OsStr::new(pos)])
            .args(sale)
            .current_dir(folder)
            // The sanitizer looks for leaks by tracing, which fails wherever something else traces; nothing is freed here.
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can run");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = sync_channel(10_000);
        thread::spawn(move || {
            let lines = stdout.lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).count()
        });
        Program {
            example,
            child,
            lines,
            said: String::new(),
            begun: Instant::now(),
        }
    }

    pub fn pos(&self) -> &'static str {
        self.example.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line; none once it has ended.
    fn line(&mut self) -> Option<String> {
        let is_lost = self.begun.elapsed() > 4 * WAIT;
        assert!(!is_lost, "{} goes on and on:\n{}", self.pos(), self.said);
        match self.lines.recv_timeout(WAIT) {
            Ok(line) => {
                self.said += &line;
                self.said.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} is silent:\n{}", self.pos(), self.said),
        }
    }

    /// Waits until it prints this.
    pub fn says(&mut self, what: &str) {
        while let Some(line) = self.line() {
            if line.contains(what) {
                return;
            }
        }
        panic!("{} ended without saying {what:?}:\n{}", self.pos(), self.said);
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until it ends, with this exit code; gives all that it printed.
    #[track_caller]
    pub fn ends(&mut self, code: i32) -> String {
        while self.line().is_some() {}
        let status = self.child.wait().expect("it is our child");
        assert_eq!(status.code(), Some(code), "{}:\n{}", self.pos(), self.said);
        self.said.clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(done.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

pub struct Shop {
    folder: TempDir,
    sandbox: Sandbox,
    server: Option<Server>,
    mode: &'static str,
    /// Where it is polled and notified: the same over all restarts.
    public: String,
}

impl Shop {
    /// Open for business, with a point of sale for each example.
    pub fn open(mode: &'static str) -> Shop {
        let public = format!("127.0.0.1:{}", steady_port(&mut Dice::by_chance()));
        let settings = Settings {
            // What is told of intents is told there.
            dashboard_url: Some(format!("http://{public}/notifications/main")),
            ..hurried()
        };
        let mut shop = Shop {
            folder: folder_in_memory(),
            sandbox: Sandbox::start(settings).expect("the sandbox starts"),
            server: None,
            mode,
            public,
        };
        shop.configure();
        shop.start();
        shop.at_mercado_pago(&format!("/users/{USER}/stores"), STORE);
        examples().iter().for_each(|example| shop.set_up(example.name));
        shop
    }

    /// A point of sale, at Mercado Pago and here.
    fn set_up(&self, name: &str) {
        let url = format!("http://{}/pay-mp?locationId=1&positionId={name}", self.public);
        let there =
            json!({"name": name, "fixed_amount": true, "external_store_id": "S1", "external_id": name, "url": url});
        self.at_mercado_pago("/pos", &there.to_string());
        let here = json!({"mode": self.mode, "name": "Máquina «1»", "external_id": name, "external_store_id": "S1",
            "keys": {"locationId": "1", "positionId": name}});
        let mut controller = self.server().controller();
        let reply = controller.ask("PUT", &format!("/v1/pos/{name}"), &here.to_string());
        reply.expect("it runs").expect(201);
    }

    fn at_mercado_pago(&self, path: &str, body: &str) {
        let mut client = Client::tcp(self.sandbox.address()).expect("it listens");
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {TEST_TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        client.send(&request).expect("it listens");
        client.reply().expect("it answers").expect(200);
    }

    fn configure(&self) {
        let folder = self.folder.path();
        let secret = |name: &str, secret: &str| {
            let file = folder.join(name);
            std::fs::write(&file, secret).expect("the folder is ours");
            file
        };
        let (token, webhook) = (secret("token", TEST_TOKEN), secret("webhook", TEST_SECRET));
        let places = process::config(folder)
            .replacen("127.0.0.1:0", &self.public, 1)
            .replace(NOBODY, &self.sandbox.base_url());
        let more = format!(
            "access_token_file = {token:?}\nwebhook_secret_file = {webhook:?}\n\
             [notifications]\npublic_url = \"http://{}/notifications\"\n",
            self.public
        );
        std::fs::write(folder.join("surtidor.toml"), places + &more).expect("the folder is ours");
    }

    pub fn start(&mut self) {
        self.server = Some(on(self.folder.path()).start());
    }

    pub fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    // --- the controllers --------------------------------------------------------------------------------------------

    /// A sale begins at each point of sale.
    pub fn begin(&self) -> Vec<Program> {
        let begin = |example| self.start_of(example, example.name, &["18525.50", "SUPER 23.45 L"]);
        examples().iter().map(begin).collect()
    }

    /// The program is started again, to finish what it had begun.
    pub fn again(&self, program: &Program) -> Program {
        self.start_of(program.example, program.pos(), &[])
    }

    pub fn start_of(&self, example: &'static Example, pos: &str, sale: &[&str]) -> Program {
        Program::start(example, self.folder.path(), &self.server().socket, pos, sale)
    }

    // --- the customer -----------------------------------------------------------------------------------------------

    /// A telephone that shows the order.
    pub async fn scan(&self, sale: &Program) -> u64 {
        let place = Place::Pos(sale.pos().to_owned());
        let phone = self.sandbox.scan(place).await.expect("a place");
        let shown = patiently(self.sandbox.shown(phone)).await.expect("an order is shown");
        assert!(matches!(shown.screen, Screen::Order(_)), "{shown:?}");
        phone
    }

    pub async fn pay(&self, phone: u64, status: Status) {
        let attempt = Attempt {
            scan: phone,
            outcome: Outcome::of(status),
            amount: None,
        };
        self.sandbox.pay(attempt).await.expect("it is answered");
    }

    // --- what became of it ------------------------------------------------------------------------------------------

    /// What the feed tells once an order can be paid.
    pub fn ready(&self) -> &'static str {
        match self.mode {
            "unattended" => "order_ready",
            _ => "order_sent",
        }
    }

    pub fn get(&self, path: &str) -> String {
        self.server().controller().get(path).expect("it runs").expect(200).body
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    pub fn last_order(&self, pos: &str) -> Value {
        self.json(&format!("/v1/orders?pos={pos}&limit=1"))["orders"][0].take()
    }

    /// Waits until the feed tells it of the point of sale.
    pub fn hears(&self, pos: &str, kind: &str) {
        let (mut after, deadline) = (0, Instant::now() + 2 * WAIT);
        while Instant::now() < deadline {
            let page = self.json(&format!("/v1/events?pos={pos}&after={after}&wait=10"));
            let events = page["events"].as_array().expect("events");
            if events.iter().any(|event| text(event, "type") == kind) {
                return;
            }
            after = page["next"].as_u64().expect("a number");
        }
        panic!("{pos}: no {kind}: {:?}", self.kinds(pos));
    }

    /// The types of all events of the point of sale.
    pub fn kinds(&self, pos: &str) -> Vec<String> {
        let events = all_events(&mut self.server().controller());
        let ours = events.iter().filter(|event| text(event, "pos") == pos);
        ours.map(|event| text(event, "type").to_owned()).collect()
    }

    /// What the simulated Mercado Pago saw us do wrong.
    pub async fn no_violations(&self) {
        let violations = self.sandbox.violations().await.expect("it answers");
        assert!(violations.is_empty(), "{violations:?}");
    }
}
