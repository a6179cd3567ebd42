//! The demo: the server as it is, a simulated Mercado Pago, a pump and a vending machine, and a page that shows them to a
//! visitor. Everything is on loopback and in a throwaway folder.
//!
//! The server is a process of its own, so that it can be killed. The machines know its control socket and nothing else; no
//! rule of selling lives here, and no part of the server.

mod actions;
mod controller;
mod customer;
mod lines;
mod machine;
mod market;
mod phone;
mod server;
mod show;
mod stream;
mod web;

use std::fs::Permissions;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::net::listen::{Reserved, Sharing, tcp};
use crate::net::stop::channel;
use crate::sandbox::{Sandbox, Settings as SandboxSettings};
use actions::Hands;
pub use customer::Bought;
use machine::Kind;
use server::{Launch, Lost};
use show::{Busy, Fixed, Show};

/// The seller: the collector of the sandbox's token, and its country.
const SELLER: (u64, &str) = (178_106_235, "MLA");
/// The control socket's name in the folder.
const SOCKET: &str = "control.sock";

/// What the demo is told.
pub struct Settings {
    /// What `serve` is started with: this program.
    pub program: PathBuf,
    /// Where the page is; port 0 is any that is free.
    pub listen: SocketAddr,
    /// What the server logs.
    pub log: String,
    /// A customer comes by itself, and the demo ends when it has its product.
    pub buys: bool,
}

/// Where its parts are.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub page: SocketAddr,
    pub polls: SocketAddr,
    pub sandbox: SocketAddr,
    pub socket: PathBuf,
}

/// Why it does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Start(#[from] io::Error),
    #[error("{0}")]
    Server(#[from] Lost),
    #[error("nothing could be bought: {0}")]
    Customer(#[from] Busy),
}

/// Runs until `end`, or until something was bought if a customer comes by itself. `ready` is called once everything is
/// there. Runs inside a `LocalSet`.
pub async fn run(
    settings: Settings,
    ready: impl FnOnce(&Addresses) -> io::Result<()>,
    end: impl Future<Output = ()>,
) -> Result<Option<Bought>, Failed> {
    let listened = |source| Failed::Listen {
        address: settings.listen,
        source,
    };
    let listener = tcp(settings.listen, Sharing::Alone).map_err(listened)?;
    // Gone with all that is in it when this function ends. For this user alone: it has a token, if only a simulated one.
    let folder = tempfile::Builder::new()
        .prefix("surtidor-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    // The server has the same address in each of its lives: it stands in the QR codes.
    let reserved = Reserved::new()?;
    let sandbox_settings = SandboxSettings {
        // Of intents it tells nobody else.
        dashboard_url: Some(format!("http://{}/notifications/demo", reserved.address()?)),
        ..SandboxSettings::default()
    };
    // Mercado Pago's waits before it repeats a notification, a tenth of them: three seconds at first.
    let sandbox = Rc::new(Sandbox::start(sandbox_settings.hurried(10))?);
    let furnished = market::furnish(&sandbox, SELLER.0).await?;
    let addresses = Addresses {
        page: listener.local_addr()?,
        polls: reserved.address()?,
        sandbox: sandbox.address(),
        socket: folder.path().join(SOCKET),
    };
    let launch = Launch::new(
        settings.program,
        settings.log,
        folder.path(),
        addresses.polls,
        &sandbox.base_url(),
    )?;
    let running = launch.start().await?;

    let fixed = Fixed {
        boot: uuid::Uuid::now_v7().simple().to_string(),
        polls: addresses.polls.to_string(),
        sandbox: sandbox.base_url(),
        place: addresses.socket.display().to_string(),
    };
    let (show, jobs) = Show::new(fixed);
    let show = Rc::new(show);
    let (stop, stopping) = channel();
    let mut tasks = JoinSet::new();
    let place = controller::place(&addresses.socket);
    for (kind, jobs) in Kind::ALL.into_iter().zip(jobs) {
        tasks.spawn_local(controller::work(show.clone(), kind, place.clone(), jobs));
        tasks.spawn_local(controller::live(show.clone(), kind));
    }
    tasks.spawn_local(controller::count(show.clone()));
    tasks.spawn_local(controller::follow(show.clone(), place));
    tasks.spawn_local(market::follow(show.clone(), sandbox.clone(), furnished));
    tasks.spawn_local(market::mend(show.clone(), sandbox.clone()));
    let kill = Rc::new(Notify::new());
    let hands = Hands {
        show: show.clone(),
        sandbox: sandbox.clone(),
        kill: kill.clone(),
    };
    let hands = Rc::new(hands);
    let web = web::run(
        tokio::net::TcpListener::from_std(listener)?,
        hands.clone(),
        stopping.clone(),
    );
    let web = tokio::task::spawn_local(web);
    let kept = tokio::task::spawn_local(server::keep(launch, running, show, kill, stopping));

    let told = ready(&addresses);
    let mut kept = kept;
    let (mut lost, mut bought) = (None, None);
    if told.is_ok() {
        tokio::select! {
            () = end => {}
            died = &mut kept => lost = Some(died),
            done = customer::buy(&hands), if settings.buys => bought = Some(done),
        }
    }
    drop(hands);
    // First the visitors, then the machines, then the server, and its folder last.
    stop.stop();
    // A task that panicked has said so already.
    let _ = web.await;
    tasks.shutdown().await;
    let lost = match lost {
        Some(lost) => lost,
        None => kept.await,
    };
    if let Some(sandbox) = Rc::into_inner(sandbox) {
        sandbox.stop();
    }
    folder.close()?;
    told?;
    lost.map_err(io::Error::other)??;
    Ok(bought.transpose()?)
}
