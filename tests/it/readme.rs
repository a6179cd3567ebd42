//! Runs the examples of README.md against the built server, so that it stays true.
//!
//! An HTML comment before a fenced block says what it is:
//!
//! - `<!-- test:serve -->` its first command starts the server, as `cargo run --release -- serve` or `surtidor serve`.
//!   It runs until the end or until the next such block, with folders and ports of its own; what follows in the block
//!   is run.
//! - `<!-- test:demo -->` its command starts the demo, whose page must answer.
//! - `<!-- test:run -->` each line that begins with `$ ` is a command for bash (it goes on while a `'` is open or the line
//!   ends in `\`); the lines after it are all that it prints. `…` stands for anything within a line, alone for any
//!   lines. One whose last line is `…` may go on for ever: it is ended once it has shown what stands there and is silent.
//!   One that shows nothing, or only `…`, must succeed.
//! - `<!-- test:config -->` a configuration that must load. Its secrets' files are made; without an account it gets one.
//! - `<!-- test:skip why -->` not run.
//!
//! Where the README names the default addresses and socket, the server's own are put in their place.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use surtidor::config::{Config, Overrides, Source};

use crate::support::process::binary;
use crate::support::tls::Authority;

/// The longest that a command, or the server's start, may take. On a busy machine all is slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// A command with an open end is done when it has said nothing for this long.
const SILENCE: Duration = Duration::from_secs(1);
/// Lines that a command may have printed before we read them.
const LINES: usize = 1024;
/// Blocks in these languages must say what they are.
const MARKED: [&str; 7] = ["sh", "bash", "shell", "console", "toml", "json", "yaml"];

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Serve,
    Demo,
    Run,
    Config,
    Skip,
}

#[derive(Debug)]
struct Block {
    /// Of its first line within the README.
    line: usize,
    kind: Kind,
    text: String,
}

/// The blocks that are marked, or what is wrong with the marks.
fn blocks(readme: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut mark: Option<(usize, Kind)> = None;
    let mut lines = readme.lines().enumerate().map(|(at, line)| (at + 1, line));
    while let Some((at, line)) = lines.next() {
        if let Some(said) = line.trim().strip_prefix("<!-- test:") {
            if let Some((at, _)) = mark {
                return Err(format!("README.md:{at}: no block follows this mark"));
            }
            mark = Some((at, kind(said).map_err(|why| format!("README.md:{at}: {why}"))?));
        } else if let Some(language) = line.trim_start().strip_prefix("```") {
            let text: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| line.trim() != "```")
                .collect();
            match mark.take() {
                Some((_, kind)) => blocks.push(Block {
                    line: at + 1,
                    kind,
                    text: text.join("\n"),
                }),
                None if MARKED.contains(&language) => {
                    return Err(format!(
                        "README.md:{at}: this {language} block needs a mark: <!-- test:run -->, for one"
                    ));
                }
                None => {}
            }
        } else if let Some((at, _)) = mark.as_ref().filter(|_| !line.trim().is_empty()) {
            return Err(format!("README.md:{at}: no block follows this mark"));
        }
    }
    mark.map_or(Ok(blocks), |(at, _)| {
        Err(format!("README.md:{at}: no block follows this mark"))
    })
}

fn kind(said: &str) -> Result<Kind, String> {
    let said = said.strip_suffix("-->").ok_or("a mark stands on one line")?.trim();
    match said.split_once(' ').unwrap_or((said, "")) {
        ("serve", "") => Ok(Kind::Serve),
        ("demo", "") => Ok(Kind::Demo),
        ("run", "") => Ok(Kind::Run),
        ("config", "") => Ok(Kind::Config),
        ("skip", why) if !why.is_empty() => Ok(Kind::Skip),
        ("skip", _) => Err("a skipped block says why".into()),
        _ => Err(format!("no such mark: {said:?}")),
    }
}

/// A command and the lines that it prints.
#[derive(Debug, PartialEq)]
struct Example {
    command: String,
    prints: Vec<String>,
}

fn examples(text: &str) -> Result<Vec<Example>, String> {
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(command) = line.strip_prefix("$ ") {
            let mut command = command.to_owned();
            while command.ends_with('\\') || command.matches('\'').count() % 2 == 1 {
                command.push('\n');
                command.push_str(lines.next().ok_or_else(|| format!("{command:?} does not end"))?);
            }
            examples.push(Example {
                command,
                prints: Vec::new(),
            });
        } else if !line.trim().is_empty() {
            let example = examples
                .last_mut()
                .ok_or_else(|| format!("no command before {line:?}: begin it with `$ `"))?;
            example.prints.push(plain(line));
        }
    }
    Ok(examples)
}

/// Runs of white space are one space.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether all lines are as shown.
fn as_shown(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "…" => (0..=printed.len()).any(|from| as_shown(rest, &printed[from..])),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| line_as_shown(first, line) && as_shown(rest, others)),
    }
}

fn line_as_shown(shown: &str, printed: &str) -> bool {
    match shown.split_once('…') {
        None => shown == printed,
        Some((begin, rest)) => printed.strip_prefix(begin).is_some_and(|printed| {
            let ends = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
            ends.into_iter().any(|at| line_as_shown(rest, &printed[at..]))
        }),
    }
}

/// A process whose lines, of both outputs, can be waited for. It ends, with all its children, when this is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let (out, inlet) = std::io::pipe().expect("a pipe");
        let twin = inlet.try_clone().expect("a pipe");
        let child = command
            .stdin(Stdio::null())
            .stdout(inlet)
            .stderr(twin)
            .process_group(0)
            .spawn();
        // It holds the pipe's other end, and the reader below would wait for it for ever.
        drop(command);
        let (give, lines) = sync_channel(LINES);
        std::thread::spawn(move || {
            let mut read = BufReader::new(out).lines().map_while(Result::ok);
            // It is read on when nobody listens any more, so that the process is never held up.
            read.by_ref().find(|line| give.send(line.clone()).is_err());
            read.for_each(drop);
        });
        Running {
            child: child.expect("it starts"),
            lines,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The whole group: bash, and what it started.
        let group = format!("-{}", self.child.id());
        drop(
            Command::new("kill")
                .args(["-KILL", "--", &group])
                .stderr(Stdio::null())
                .status(),
        );
        drop(self.child.wait());
    }
}

struct Server {
    folder: tempfile::TempDir,
    /// What the README says, and what it is here.
    names: Vec<(String, String)>,
    _running: Running,
}

/// What stands before `surtidor`'s arguments in the README.
const CALLS: [&str; 3] = ["cargo run --release -- ", "cargo run -- ", "surtidor "];

/// What a command of ours says after its subcommand.
fn arguments<'a>(command: &'a str, subcommand: &str) -> Option<&'a str> {
    let arguments = CALLS.iter().find_map(|call| command.strip_prefix(call));
    arguments.and_then(|arguments| arguments.strip_prefix(subcommand))
}

fn demo(command: &str) -> Result<(), String> {
    let arguments = arguments(command, "demo").ok_or_else(|| format!("{command:?} does not start the demo"))?;
    let mut demo = Command::new(binary());
    demo.arg("demo").args(arguments.split_whitespace());
    let mut running = Running::start(demo);
    let mut lines = std::iter::from_fn(|| running.lines.recv_timeout(PATIENCE).ok());
    let page = lines.find_map(|line| line.trim().strip_prefix("page").map(|url| url.trim().to_owned()));
    let page = page.ok_or("the demo told no page")?;
    let fetched = Command::new("curl").args(["-fsS", "--max-time", "10", &page]).output();
    let fetched = fetched.map_err(|error| format!("curl: {error}"))?;
    // Ended as a visitor ends it, so that its folder goes.
    let id = running.child.id().to_string();
    let told = Command::new("kill").args(["-INT", &id]).status();
    if told.is_ok_and(|told| told.success()) {
        running
            .child
            .wait()
            .map_err(|error| format!("the demo does not end: {error}"))?;
    }
    if fetched.status.success() && fetched.stdout.starts_with(b"<!doctype html>") {
        Ok(())
    } else {
        Err(format!("{page} is no page: {fetched:?}"))
    }
}

impl Server {
    fn start(command: &str) -> Result<Server, String> {
        let arguments = arguments(command, "serve").ok_or_else(|| format!("{command:?} does not start the server"))?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("control.sock");
        // Examples run where a user would be who has just cloned the repository, yet can spoil nothing in it.
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        std::os::unix::fs::symlink(repository.join("deploy"), folder.path().join("deploy")).expect("a link");
        // Curl draws no progress when a terminal shows its output; here it must be told.
        fs::write(folder.path().join(".curlrc"), "silent\nshow-error\n").expect("a file");
        let mut serve = Command::new(binary());
        serve.arg("serve").args(arguments.split_whitespace());
        serve.args(["--poll-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        serve
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--socket")
            .arg(&socket);
        serve.env_clear().env("SURTIDOR_LOG", "warn").current_dir(folder.path());
        let running = Running::start(serve);
        let mut said = Vec::new();
        let lines = std::iter::from_fn(|| running.lines.recv_timeout(PATIENCE).ok());
        said.extend(lines.take_while(|line| !line.starts_with("Try it")));
        let address = |face: &str| {
            let line = said.iter().find_map(|line| line.trim().strip_prefix(face));
            let address = line.and_then(|line| line.trim().strip_prefix("http://")?.split('/').next());
            address
                .map(str::to_owned)
                .ok_or_else(|| format!("the server did not start:\n{}", said.join("\n")))
        };
        let names = vec![
            ("127.0.0.1:8080".to_owned(), address("polls")?),
            ("127.0.0.1:9464".to_owned(), address("admin")?),
            ("/run/surtidor/control.sock".to_owned(), socket.display().to_string()),
        ];
        Ok(Server {
            folder,
            names,
            _running: running,
        })
    }

    fn here(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    }

    fn run(&self, example: &Example) -> Result<(), String> {
        let command = CALLS.iter().fold(self.here(&example.command), |command, call| {
            match command.strip_prefix(call) {
                Some(arguments) => format!("surtidor {arguments}"),
                None => command,
            }
        });
        let shown: Vec<String> = example
            .prints
            .iter()
            .map(|line| self.here(line).replace("$SOCKET", self.socket()))
            .collect();
        let binary = binary();
        let programs = binary.parent().expect("a folder").display();
        let path = format!("{programs}:{}", std::env::var("PATH").expect("a path"));
        let mut bash = Command::new("bash");
        bash.args(["-c", &command]).current_dir(self.folder.path()).env_clear();
        bash.env("PATH", path)
            .env("HOME", self.folder.path())
            .env("TERM", "dumb");
        bash.env("SOCKET", self.socket()).env("SURTIDOR_SOCKET", self.socket());
        let (printed, end) = watch(Running::start(bash), &shown);
        let silent_failure = shown.iter().all(|line| line == "…") && end == End::Badly;
        if as_shown(&shown, &printed) && !silent_failure {
            return Ok(());
        }
        Err(format!(
            "$ {command}\nshould print\n{}\nbut {end:?} printed\n{}\n",
            indent(&shown),
            indent(&printed)
        ))
    }

    fn socket(&self) -> &str {
        &self.names[2].1
    }
}

fn indent(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[derive(Debug, PartialEq)]
enum End {
    Well,
    Badly,
    /// By us: it had shown all, or took too long.
    Cut,
}

/// What a command prints until it ends, or until it has shown what an open end asks for.
fn watch(mut running: Running, shown: &[String]) -> (Vec<String>, End) {
    let until = Instant::now() + PATIENCE;
    let open = shown.last().is_some_and(|last| last == "…");
    let mut printed = Vec::new();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let enough = open && !printed.is_empty() && as_shown(shown, &printed);
        match running
            .lines
            .recv_timeout(if enough { left.min(SILENCE) } else { left })
        {
            Ok(line) => printed.extend(Some(plain(&line)).filter(|line| !line.is_empty())),
            Err(RecvTimeoutError::Timeout) => return (printed, End::Cut),
            Err(RecvTimeoutError::Disconnected) => {
                let well = running.child.wait().is_ok_and(|status| status.success());
                return (printed, if well { End::Well } else { End::Badly });
            }
        }
    }
}

/// The configuration as it stands, but for its secrets' files and an account if it shows none.
fn load(text: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (certificate, key) = Authority::new().certificate(2090);
    let made = [
        ("certificate_file", certificate),
        ("key_file", key),
        ("_file", "a-secret-for-the-tests".into()),
    ];
    for (name, text) in &made {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let line = |line: &str| {
        let (key, _) = line.split_once('=')?;
        let (name, _) = made.iter().find(|(name, _)| key.trim().ends_with(name))?;
        Some(format!("{key}= {:?}", folder.path().join(name)))
    };
    let line = |text: &str| line(text).unwrap_or_else(|| text.to_owned());
    let mut text: Vec<String> = text.lines().map(line).collect();
    if !text.iter().any(|line| line.trim() == "[[account]]") {
        text.push("[[account]]\nid = \"main\"\ncollector_id = 1\nsite = \"MLA\"".into());
    }
    let file: PathBuf = folder.path().join("surtidor.toml");
    fs::write(&file, text.join("\n")).expect("a file");
    let loaded = Config::load(Source::File(file), [], Overrides::default());
    let said = |faults: Vec<_>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    loaded.map(drop).map_err(said)
}

/// All that is wrong with a README's examples.
fn faults(readme: &str) -> Vec<String> {
    let blocks = match blocks(readme) {
        Ok(blocks) => blocks,
        Err(why) => return vec![why],
    };
    let mut faults = Vec::new();
    let mut server: Option<Server> = None;
    for block in blocks {
        let done = match block.kind {
            Kind::Serve => serve(&block.text, &mut server),
            Kind::Demo => demo(block.text.trim()),
            Kind::Run => examples(&block.text).and_then(|examples| run(&examples, server.as_ref())),
            Kind::Config => load(&block.text),
            Kind::Skip => Ok(()),
        };
        faults.extend(done.err().map(|why| format!("README.md:{}: {why}", block.line)));
    }
    faults
}

/// Commands here may stand without `$ `.
fn serve(text: &str, server: &mut Option<Server>) -> Result<(), String> {
    let text = text.trim();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    // The old one goes first.
    drop(server.take());
    let started = server.insert(Server::start(first.strip_prefix("$ ").unwrap_or(first))?);
    run(&examples(rest)?, Some(started))
}

fn run(examples: &[Example], server: Option<&Server>) -> Result<(), String> {
    let server = server.ok_or("no server runs: a block with <!-- test:serve --> starts it")?;
    examples.iter().try_for_each(|example| server.run(example))
}

#[test]
fn the_readme_is_true() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("README.md");
    let ran = |kind| blocks(&readme).is_ok_and(|blocks| blocks.iter().any(|block| block.kind == kind));
    let faults = faults(&readme);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(
        ran(Kind::Serve) && ran(Kind::Run) && ran(Kind::Config),
        "the README shows each kind of example"
    );
}

#[test]
fn what_is_shown_is_compared_with_what_is_printed() {
    for (shown, printed, same) in [
        ("", "", true),
        ("", "x", false),
        ("a b", "a b", true),
        ("a", "b", false),
        ("a …", "a b c", true),
        (
            "{…\"status\":\"ready\"…}",
            "{\"pos\":1,\"status\":\"ready\",\"x\":2}",
            true,
        ),
        ("{…\"status\":\"ready\"…}", "{\"status\":\"paid\"}", false),
        ("a…a", "a", false),
        ("a … b", "a\nb", false),
        ("a\n…\nd", "a\nb\nc\nd", true),
        ("a\n…\nd", "a\nd", true),
        ("a\n…\nd", "a\nb", false),
        ("…", "", true),
    ] {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            as_shown(&lines(shown), &lines(printed)),
            same,
            "{shown:?} and {printed:?}"
        );
    }
}

#[test]
fn a_command_may_have_several_lines() {
    let examples = examples("$ curl -d '{\n  \"a\": 1 }' x\nHTTP/1.1   200\n\n{}\n$ a \\\n  b\n").unwrap();
    let commands: Vec<_> = examples.iter().map(|example| example.command.as_str()).collect();
    assert_eq!(commands, ["curl -d '{\n  \"a\": 1 }' x", "a \\\n  b"]);
    assert_eq!(examples[0].prints, ["HTTP/1.1 200", "{}"]);
}

#[test]
fn an_untrue_readme_is_noticed() {
    for (readme, why) in [
        ("```sh\nls\n```", "README.md:1: this sh block needs a mark"),
        ("\n```toml\n```", "README.md:2: this toml block needs a mark"),
        ("<!-- test:walk -->\n```sh\n```", "no such mark"),
        ("<!-- test:skip -->\n```sh\n```", "says why"),
        ("<!-- test:run -->\ntext", "no block follows"),
        ("<!-- test:run -->", "no block follows"),
        ("<!-- test:run -->\n```sh\n$ true\n```", "no server runs"),
        ("<!-- test:config -->\n```toml\n[pol]\n```", "pol"),
        ("<!-- test:serve -->\n```sh\nls\n```", "does not start the server"),
        (
            "<!-- test:demo -->\n```sh\nsurtidor serve\n```",
            "does not start the demo",
        ),
        ("<!-- test:demo -->\n```sh\nsurtidor demo --no\n```", "told no page"),
        (
            "<!-- test:serve -->\n```sh\nsurtidor serve --no-such-flag\n```",
            "did not start",
        ),
        (
            "<!-- test:serve -->\n```sh\nsurtidor serve\n$ echo a\nb\n```",
            "should print\n    b\nbut Well printed\n    a",
        ),
        ("<!-- test:serve -->\n```sh\nsurtidor serve\n$ false\n```", "Badly"),
        (
            "<!-- test:serve -->\n```sh\nsurtidor serve\n$ surtidor order show NONE\n…\n```",
            "NONE",
        ),
    ] {
        let faults = faults(readme);
        assert!(faults.len() == 1 && faults[0].contains(why), "{readme:?}: {faults:?}");
    }
}

#[test]
fn a_true_readme_is_fine() {
    let readme = "
<!-- test:serve -->
```sh
$ cargo run --release -- serve
$ curl -i 'http://127.0.0.1:8080/pay-mp?locationId=1&positionId=1'
HTTP/1.1 400 Bad Request
…
{\"error\":{\"type\":\"invalid\"}}
```
<!-- test:run -->
```sh
$ echo $SOCKET
/run/surtidor/control.sock
$ curl -N --unix-socket $SOCKET 'http://s/v1/events?after=0' & echo first; wait
first
…
```
<!-- test:config -->
```toml
[poll]
secret_file = \"/etc/surtidor/poll-secret\"
```
```text
anything
```";
    assert_eq!(faults(readme), Vec::<String>::new());
}
