//! The server as it is, as a child of the same program. It is started again whenever it dies, by whatever hand.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::show::{Health, Show};
use crate::limits;
use crate::net::stop::Stopping;
use crate::sandbox::{TEST_SECRET, TEST_TOKEN};

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("the server did not start: {0}")]
    Start(#[from] io::Error),
    #[error("the server did not start: it ended with {0}")]
    Ended(ExitStatus),
    #[error("the server did not start within {} s", limits::DEMO_START.as_secs())]
    Late,
}

/// How it is started.
pub struct Launch {
    program: PathBuf,
    file: PathBuf,
    log: String,
}

/// A server that serves.
pub struct Running {
    child: Child,
    /// Held apart from the child, whose `wait` would close it.
    stdin: Option<ChildStdin>,
    /// Kept open, since it still tells a few lines.
    _said: Lines<BufReader<ChildStdout>>,
    took: u64,
}

impl Launch {
    /// Writes its configuration into the folder.
    pub fn new(program: PathBuf, log: String, folder: &Path, polls: SocketAddr, api: &str) -> io::Result<Launch> {
        let file = folder.join("surtidor.toml");
        let (token, secret) = (folder.join("token"), folder.join("webhook-secret"));
        write(&token, TEST_TOKEN)?;
        write(&secret, TEST_SECRET)?;
        write(&file, &configuration(folder, polls, api))?;
        Ok(Launch { program, file, log })
    }

    pub async fn start(&self) -> Result<Running, Lost> {
        let begun = Instant::now();
        let mut child = Command::new(&self.program)
            .args(["serve", "--end-with-stdin", "--config"])
            .arg(&self.file)
            // What is in the environment for another server must not reach this one.
            .env_clear()
            .env("SURTIDOR_LOG", &self.log)
            // It ends when this process does, even by SIGKILL, since nobody holds the other end then.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for us: we end it in its turn.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("it has no output"))?;
        let stdin = child.stdin.take();
        let mut said = BufReader::new(stdout).lines();
        match timeout(limits::DEMO_START, said.next_line()).await {
            // It speaks once it serves.
            Ok(Ok(Some(_))) => Ok(Running {
                child,
                stdin,
                _said: said,
                took: begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            }),
            Ok(_) => Err(Lost::Ended(child.wait().await?)),
            Err(_) => Err(Lost::Late),
        }
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

fn configuration(folder: &Path, polls: SocketAddr, api: &str) -> String {
    let account = &super::SELLER;
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all that is written");
    let quoted = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    line(format!("[poll]\nlisten = \"{polls}\"\nthreads = 1"));
    line(format!(
        "[control]\nsocket = {}\nsocket_mode = \"0600\"",
        quoted(super::SOCKET)
    ));
    line("[admin]\nlisten = \"127.0.0.1:0\"".into());
    line(format!("[data]\ndir = {}", quoted("data")));
    line(format!(
        "[notifications]\npublic_url = \"http://{polls}/notifications\""
    ));
    line(format!("[mercadopago]\nbase_url = \"{api}\""));
    line(format!(
        "[[account]]\nid = \"demo\"\ncollector_id = {}\nsite = \"{}\"",
        account.0, account.1
    ));
    line(format!("access_token_file = {}", quoted("token")));
    line(format!("webhook_secret_file = {}", quoted("webhook-secret")));
    line("late_payment = \"refund\"\ndelivery_failed = \"refund\"".into());
    text
}

impl Running {
    fn is_up(&self, show: &Show) {
        show.change(|stage| {
            stage.server.health = Health::Up;
            stage.server.start_ms = self.took;
            stage.server.down_at = None;
        });
    }

    /// As a service manager would: it finishes what is in flight, and is killed if that takes too long.
    async fn end(mut self) {
        drop(self.stdin.take());
        if timeout(limits::DEMO_END, self.child.wait()).await.is_err() {
            // It is gone already, or goes now; there is nobody to tell.
            let _ = self.child.kill().await;
        }
    }
}

/// Keeps a server running until the demo stops, or until it cannot be started any more.
pub async fn keep(
    launch: Launch,
    first: Running,
    show: Rc<Show>,
    kill: Rc<Notify>,
    mut stopping: Stopping,
) -> Result<(), Lost> {
    let mut running = first;
    loop {
        running.is_up(&show);
        let (status, by_whom) = tokio::select! {
            status = running.child.wait() => (status?, "it died"),
            () = kill.notified() => {
                running.child.start_kill()?;
                (running.child.wait().await?, "kill -9")
            }
            () = stopping.wait() => {
                running.end().await;
                return Ok(());
            }
        };
        let now = show.now();
        show.change(|stage| {
            stage.server.health = Health::Down;
            stage.server.deaths += 1;
            stage.server.down_at = Some(now);
        });
        show.tell_of_server(format!("{by_whom}: {status}"));
        let again = async {
            sleep(limits::DEMO_DOWN).await;
            show.change(|stage| stage.server.health = Health::Starting);
            start_again(&launch).await
        };
        running = tokio::select! {
            again = again => again?,
            () = stopping.wait() => return Ok(()),
        };
        show.tell_of_server(format!(
            "it is back after {} ms, with all that it had acknowledged",
            running.took
        ));
    }
}

async fn start_again(launch: &Launch) -> Result<Running, Lost> {
    let mut tries = 1;
    loop {
        match launch.start().await {
            Err(_) if tries < limits::DEMO_STARTS => sleep(limits::DEMO_AGAIN).await,
            started => return started,
        }
        tries += 1;
    }
}
