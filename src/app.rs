//! Builds everything from a configuration, starts the threads, and stops them in order.
//!
//! Threads: one for each poll listener; one for the control and admin faces and all that happens by itself; one that
//! speaks with Mercado Pago; the log's writer and its two readers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::{Unit, describe_gauge, gauge};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::admin::{Admin, Probe};
use crate::clock::Clock;
use crate::config::{self, Config, Secret};
use crate::control::{self, BindError, Control};
use crate::domain::id::AccountId;
use crate::engine::{self, Accounts, Condition, Engine, Expiring, Lull, Parts, Writer};
use crate::limits;
use crate::link::{self, Bell, Keeper, Reloads, StoreError};
use crate::log::{Log, LogError, OpenError};
use crate::mercadopago::{self, Client};
use crate::net::listen::Tcp;
use crate::net::metrics::{Connections, Handshakes};
use crate::net::presence::{self, Answerer, Asker};
use crate::net::seats::Seats;
use crate::net::stop::{Stop, Stopping, channel};
use crate::net::tls::Tls;
use crate::net::{self, Face, Limits};
use crate::notify::{self, Notifications};
use crate::poll::{self, Elsewhere};
use crate::seal::Seal;
use crate::systemd::{HandedError, Sockets};
use crate::table::{Names, Ring, Table, UrlSecrets, doorbell};
use crate::telemetry::Metrics;
use crate::tls;
use crate::tracker::{self, Tracker};

mod listeners;
mod outward;
mod secured;

use listeners::Bound;
use outward::{Hold, Outward};
use secured::Secured;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        key: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("control.socket: {0}")]
    Socket(#[from] BindError),
    #[error(transparent)]
    Handed(#[from] HandedError),
    #[error("a socket {name:?} was handed over, but the configuration has no {key}: it says how this face is guarded")]
    Unguarded { name: &'static str, key: &'static str },
    #[error("the socket \"control\" that was handed over has no path: an abstract one has no mode, and is everybody's")]
    NoPath,
    #[error("the tokens of an account's link: {0}")]
    Link(#[from] StoreError),
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

impl StartError {
    /// Whether something else has what we need.
    pub fn is_taken(&self) -> bool {
        match self {
            StartError::Log(OpenError::Held(_)) | StartError::Socket(BindError::Live(_)) => true,
            StartError::Listen { source, .. } => source.kind() == io::ErrorKind::AddrInUse,
            _ => false,
        }
    }

    /// Whether starting again will not help before somebody corrects the configuration.
    pub fn is_misconfigured(&self) -> bool {
        matches!(
            self,
            StartError::Log(OpenError::PollKeys { .. } | OpenError::NotAFolder(_))
                | StartError::Socket(BindError::NotASocket(_))
                | StartError::Handed(_)
                | StartError::Unguarded { .. }
                | StartError::NoPath
        )
    }
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> StartError {
        StartError::Log(error.into())
    }
}

/// Why the old configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("these keys cannot change while running: {}", .0.join(", "))]
    Fixed(Vec<String>),
    #[error("the tokens of an account's link: {0}")]
    Link(#[from] StoreError),
}

/// Where a running server listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub poll: Vec<SocketAddr>,
    pub poll_tls: Vec<SocketAddr>,
    pub control: PathBuf,
    pub control_tcp: Option<SocketAddr>,
    pub control_tls: Option<SocketAddr>,
    pub admin: SocketAddr,
    /// The names of the sockets that were handed over; those of the other faces are bound by us.
    pub handed: Vec<&'static str>,
}

/// A running server.
pub struct App {
    addresses: Addresses,
    /// Whether the control socket's file goes with us.
    owns_socket: bool,
    config: Mutex<Config>,
    accounts: Arc<Accounts>,
    links: Reloads,
    clock: Clock,
    engine: Engine,
    seats: Arc<Seats>,
    secured: Secured,
    calls_per_second: Arc<AtomicU32>,
    stop: Stop,
    poll: poll::Running,
    /// Held until the poll threads have ended.
    polling: oneshot::Sender<()>,
    shared: JoinHandle<()>,
    outward: JoinHandle<()>,
    shared_answers: Asker,
    outward_answers: Asker,
    writer: Writer,
}

/// What the shared thread serves once the views are rebuilt.
struct Faces {
    engine: Engine,
    outward: Hold,
    expiring: mpsc::Sender<Expiring>,
    rings: mpsc::Receiver<Ring>,
    clock: Clock,
    settings: control::Settings,
    socket: UnixListener,
    tcp: Option<TcpListener>,
    tls: Option<(TcpListener, tls::Server)>,
    token: Option<Secret>,
    probe: Probe,
    present: Answerer,
    /// Ends with the poll threads.
    polling: oneshot::Receiver<()>,
}

impl App {
    /// Listens where the configuration says. Returns once all of that is bound.
    pub fn start(config: Config) -> Result<App, StartError> {
        App::start_on(Sockets::default(), config)
    }

    /// The same, but for the faces whose sockets are there already.
    pub fn start_on(handed: Sockets, config: Config) -> Result<App, StartError> {
        let metrics = Metrics::new();
        metrics.within(|| {
            describe();
            App::start_within(handed, config, &metrics)
        })
    }

    fn start_within(mut handed: Sockets, config: Config, metrics: &Metrics) -> Result<App, StartError> {
        let (stop, stopping) = channel();
        // First of all, so that whoever asks is told that we are starting.
        let names = handed.names();
        listeners::guarded(&names, &config)?;
        let admin = listeners::one("admin.listen", handed.admin.take(), config.admin.listen)?;
        let admin_address = admin.local_addr()?;
        let (go, begin) = oneshot::channel();
        let lull = Arc::new(Lull::default());
        let shared = {
            let (metrics, lull, stopping) = (metrics.clone(), lull.clone(), stopping.clone());
            std::thread::Builder::new()
                .name("control".into())
                .spawn(move || run_shared(&metrics, lull, admin, begin, stopping))?
        };

        warn_of_missing_tokens(&config);
        let clock = Clock::default();
        let secured = Secured::new(&config, &clock);
        let accounts = Arc::new(Accounts::new(&config.accounts));
        let (table, rings) = table(&config);
        let log = Log::open(&config.data.dir, &config.poll.keys.join(","))?;
        // While the log's lock is held: no other process writes tokens there.
        let known = link::load(&config.data.dir, &config.accounts)?;
        let bell = Bell::new(accounts.clone());
        let client = {
            let bell = bell.clone();
            Client::reporting(&config.mercadopago.base_url, move |token| bell.token(token))
        };
        let parts = link::Parts {
            data: &config.data.dir,
            accounts: accounts.clone(),
            client: client.clone(),
            clock: clock.clone(),
            bell: bell.clone(),
        };
        let (keeper, links) = Keeper::new(parts, known);
        let seal = Arc::new(Seal::new(&log.seal_key()?));
        let reader = log.reader()?;
        let (engine, writer) = Engine::start(Parts {
            log,
            reader,
            table: table.clone(),
            accounts: accounts.clone(),
            clock: clock.clone(),
            keep_entries: Duration::from_secs(u64::from(config.data.keep_days) * 86_400),
            lull,
        })?;

        let (shared_answers, present) = presence::channel();
        let Bound {
            poll: poll_listeners,
            control: socket,
            control_tcp: tcp,
            control_tls: tls,
            addresses,
            owns_socket,
        } = listeners::bind(handed, names, admin_address, &config, &secured)?;

        let seats = Seats::new(config.poll.connections);
        let settings = poll::Settings {
            path: config.poll.path.clone(),
            table,
            seats: seats.clone(),
            proxies: Arc::new(config.poll.proxies.clone()),
            proxy_protocol: config.poll.proxy_protocol,
            elsewhere: elsewhere(notify::Settings {
                path: config.notifications.path.clone(),
                inbox: engine.inbox().clone(),
                accounts: accounts.clone(),
                seal: seal.clone(),
                bell,
            }),
        };
        let poll = poll::start(poll_listeners, settings, &stopping)?;
        let calls_per_second = Arc::new(AtomicU32::new(config.mercadopago.calls_per_second));
        let (expiring, expired) = mpsc::channel(limits::EXPIRING);
        let tracker = Tracker {
            engine: engine.clone(),
            accounts: accounts.clone(),
            client,
            clock: clock.clone(),
            calls_per_second: calls_per_second.clone(),
            metrics: tracker::Metrics::new(),
        };
        let (outward_answers, outward_present) = presence::channel();
        let parts = Outward {
            tracker,
            keeper,
            expiring: expired,
            present: outward_present,
        };
        let (outward, hold) = outward::start(parts, metrics, stopping.clone())?;
        let (polling, polled) = oneshot::channel();
        let faces = Faces {
            outward: hold,
            expiring,
            probe: probe(&engine, clock.clone(), accounts.clone(), &poll, outward_answers.clone()),
            settings: control::Settings {
                accounts: accounts.clone(),
                keys: config.poll.keys.clone(),
                notification_url: config
                    .notifications
                    .public_url
                    .as_ref()
                    .map(|url| url.as_str().to_owned()),
                seal,
                stopping,
            },
            engine: engine.clone(),
            rings,
            clock: clock.clone(),
            socket,
            tcp,
            tls,
            token: config.control.token.clone(),
            present,
            polling: polled,
        };
        // If it is gone it had panicked, and `stop` will say so.
        let _ = go.send(faces);
        Ok(App {
            addresses,
            owns_socket,
            config: Mutex::new(config),
            accounts,
            links,
            clock,
            seats,
            secured,
            calls_per_second,
            engine,
            stop,
            poll,
            polling,
            shared,
            outward,
            shared_answers,
            outward_answers,
            writer,
        })
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// How the log does. Once it has failed the server should be stopped: it acknowledges nothing more.
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.engine.condition()
    }

    /// Waits until the log's writer, the poll threads, the control thread and the one that speaks with Mercado Pago have each
    /// answered: for as long as one of them hangs, and for ever if one has ended.
    pub async fn answers(&self) {
        let all = self.engine.answers().await
            && self.shared_answers.ask().await
            && self.outward_answers.ask().await
            && self.poll.answers().await;
        if !all {
            std::future::pending().await
        }
    }

    /// Takes over what can change while running, or nothing. The error names the keys that cannot.
    pub async fn reload(&self, new: Config) -> Result<(), ReloadError> {
        let known = {
            let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
            config::reloadable(&config, &new).map_err(ReloadError::Fixed)?;
            let known = link::load(&new.data.dir, &new.accounts)?;
            *config = new.clone();
            known
        };
        warn_of_missing_tokens(&new);
        self.seats.set_max(new.poll.connections);
        self.secured.show(&new, &self.clock);
        self.calls_per_second.store(new.mercadopago.calls_per_second, Relaxed);
        self.accounts.replace(&new.accounts);
        self.links.tell(known).await;
        self.engine.accounts_changed().await;
        Ok(())
    }

    /// Stops accepting, finishes what is in flight, and closes the log. False if a thread had panicked.
    pub fn stop(self) -> bool {
        self.stop.stop();
        if self.owns_socket {
            // While we still hold the folder: a server that comes after us binds a socket of its own.
            let _ = std::fs::remove_file(&self.addresses.control);
        }
        let polls = self.poll.join();
        drop(self.polling);
        // The shared thread ends the writer, after the last command and the last notification.
        let shared = self.shared.join().is_ok();
        let outward = self.outward.join().is_ok();
        // With it goes the log's reader.
        drop(self.engine);
        let writer = self.writer.join();
        polls && shared && outward && writer
    }
}

fn warn_of_missing_tokens(config: &Config) {
    let mute = |account: &&config::Account| account.access_token.is_none() && account.oauth.is_none();
    for account in config.accounts.iter().filter(mute) {
        let account = &account.id;
        tracing::warn!(%account, "no access token: Mercado Pago is not asked, so none of its orders becomes paid");
    }
}

fn table(config: &Config) -> (Arc<Table>, mpsc::Receiver<Ring>) {
    let (bell, rings) = doorbell();
    let names = Names::new(&config.poll.keys).expect("`config` takes no other names");
    let secrets: Vec<&str> = config.poll.secrets.iter().map(Secret::expose).collect();
    (Arc::new(Table::new(names, UrlSecrets::new(&secrets), bell)), rings)
}

/// What comes to the poll listeners and is no poll.
fn elsewhere(settings: notify::Settings) -> Elsewhere {
    let notifications = Notifications::new(settings);
    Arc::new(move |path| Some(Box::new(notifications.at(path)?)))
}

fn describe() {
    net::metrics::describe();
    secured::describe();
    poll::describe();
    notify::describe();
    control::describe();
    engine::describe();
    link::describe();
    mercadopago::describe();
    tracker::describe();
    describe_gauge!(
        "surtidor_paid_unfetched",
        "Orders paid since the start of which no follower of the feed was told, and no delivery was reported."
    );
    describe_gauge!(
        "surtidor_paid_unfetched_oldest_seconds",
        Unit::Seconds,
        "How long ago the first of them was paid."
    );
    describe_gauge!("surtidor_feed_followers", "Event streams and long polls that are open.");
    describe_gauge!(
        "surtidor_feed_lag_entries",
        "Entries that the slowest follower of the feed has yet to read."
    );
}

/// Numbers in metrics are floats; a float holds whole numbers up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts, far below 2^53")]
fn set(gauge: &metrics::Gauge, value: u64) {
    gauge.set(value as f64);
}

fn probe(engine: &Engine, clock: Clock, accounts: Arc<Accounts>, poll: &poll::Running, outward: Asker) -> Probe {
    let (counts, is_whole) = (poll.counts(), poll.watch());
    let (followers, lag) = (gauge!("surtidor_feed_followers"), gauge!("surtidor_feed_lag_entries"));
    let unfetched = gauge!("surtidor_paid_unfetched");
    let unfetched_oldest = gauge!("surtidor_paid_unfetched_oldest_seconds");
    let feed = engine.feed().clone();
    let condition = engine.condition();
    let well = move |ready: bool| match &*condition.borrow() {
        _ if condition.has_changed().is_err() => Err("the log's writer has ended".to_owned()),
        Condition::Failed(what) => Err(format!("the log failed: {what}")),
        Condition::Full if ready => Ok("ready, but the disk is full: new orders are refused"),
        Condition::Full | Condition::Well => Ok(if ready { "ready" } else { "well" }),
    };
    let ready = well.clone();
    Probe {
        refresh: Box::new(move || {
            counts.publish();
            set(&followers, feed.followers() as u64);
            set(&lag, feed.lag());
            let (count, oldest) = feed.unfetched(clock.now().at);
            set(&unfetched, count as u64);
            unfetched_oldest.set(oldest.as_secs_f64());
        }),
        ready: Box::new(move || ready(true)),
        healthy: Box::new(move || {
            if !is_whole() {
                Err("a poll thread has ended".into())
            } else if !outward.is_there() {
                Err("the thread that speaks with Mercado Pago has ended".into())
            } else {
                Ok(with_cut_links(well(false)?, &accounts.cut()))
            }
        }),
    }
}

/// The others go on, so this is no illness of the server.
fn with_cut_links(well: &str, cut: &[AccountId]) -> String {
    let names: Vec<_> = cut.iter().map(AccountId::to_string).collect();
    match names.len() {
        0 => well.to_owned(),
        _ => format!("{well}, but Mercado Pago refuses the links of: {}", names.join(", ")),
    }
}

fn run_shared(
    metrics: &Metrics,
    lull: Arc<Lull>,
    admin: TcpListener,
    begin: oneshot::Receiver<Faces>,
    stopping: Stopping,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || lull.begins())
        .build()
        .expect("a runtime needs a few file descriptors, and this is the start");
    // Everything counted on this thread is this server's.
    metrics.within(|| LocalSet::new().block_on(&runtime, serve_shared(metrics, admin, begin, stopping)));
}

async fn serve_shared(metrics: &Metrics, admin: TcpListener, begin: oneshot::Receiver<Faces>, stopping: Stopping) {
    let upkeep = spawn_local({
        let metrics = metrics.clone();
        async move { metrics.keep_up().await }
    });
    let probe = Rc::new(OnceLock::new());
    let serve_admin = serve_tcp(
        admin,
        face("admin", limits::ADMIN_IDLE_TIME, limits::ADMIN_CONNECTIONS),
        Admin::new(metrics.clone(), probe.clone()),
        stopping.clone(),
    );
    let serve_faces = async {
        // Without them the start has failed.
        if let Ok(faces) = begin.await {
            serve_control(faces, &probe, stopping.clone()).await;
        }
    };
    tokio::join!(serve_admin, serve_faces);
    upkeep.abort();
}

async fn serve_control(faces: Faces, probe: &OnceLock<Probe>, stopping: Stopping) {
    let Faces {
        engine,
        outward,
        expiring,
        mut rings,
        clock,
        settings,
        socket,
        tcp,
        tls,
        token,
        probe: told,
        present,
        polling,
    } = faces;
    let present = spawn_local(present.run());
    let (shared, settings) = (Rc::new(engine.clone()), Rc::new(settings));
    let control = || face("control", limits::CONTROL_IDLE_TIME, limits::CONTROL_CONNECTIONS);
    // Whoever can reach a port can open connections to it, token or not: that must not take the socket's places.
    let (local, mut network) = (control(), control());
    network.limits.first = limits::CONTROL_FIRST_TIME;
    let _ = probe.set(told);
    let unix = async {
        match tokio::net::UnixListener::from_std(socket) {
            Ok(listener) => {
                let control = Control::trusted(shared.clone(), settings.clone());
                net::serve(listener, local, move |_| control.clone(), stopping.clone()).await
            }
            Err(error) => tracing::error!(%error, "the control socket is not served"),
        }
    };
    let secured = Control::with_tokens(shared.clone(), settings.clone(), token);
    let tcp = async {
        if let Some(listener) = tcp {
            serve_tcp(listener, network.clone(), secured.clone(), stopping.clone()).await;
        }
    };
    let tls = async {
        if let Some((listener, server)) = tls
            && let Some(listener) = on_runtime(listener)
        {
            let listener = Tls::new(listener, &server, Handshakes::new("control"));
            let control = secured.clone();
            net::serve(listener, network.clone(), move |_| control.clone(), stopping.clone()).await;
        }
    };
    // Not a task of its own: a panic would be known to its handle alone, and no order would expire any more.
    let by_itself = async { tokio::join!(engine.run(&mut rings, &expiring, &clock), engine.watch_space()) };
    tokio::select! {
        _ = async { tokio::join!(unix, tcp, tls) } => {}
        _ = by_itself => {}
    }
    present.abort();
    outward.release().await;
    // Nothing is ever sent. A notification that is still on its way in is answered once it is written down.
    let _ = polling.await;
    engine.stop().await;
}

async fn serve_tcp<S, B>(listener: TcpListener, face: Face, service: S, stopping: Stopping)
where
    S: hyper::service::Service<
            hyper::Request<hyper::body::Incoming>,
            Response = hyper::Response<B>,
            Error = std::convert::Infallible,
            Future: Unpin,
        > + Clone
        + 'static,
    B: hyper::body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static,
{
    if let Some(listener) = on_runtime(listener) {
        net::serve(listener, face, move |_| service.clone(), stopping).await;
    }
}

fn on_runtime(listener: TcpListener) -> Option<Tcp> {
    tokio::net::TcpListener::from_std(listener)
        .map(Tcp::new)
        .inspect_err(|error| tracing::error!(%error, "a listener is not served"))
        .ok()
}

fn face(name: &'static str, idle: Duration, connections: usize) -> Face {
    Face {
        limits: Limits::idle(idle),
        seats: Seats::new(connections),
        metrics: Connections::new(name),
        latency: None,
        half_close: true,
    }
}
