//! The thread that speaks with Mercado Pago: what the tracker learns and does there, and the links' tokens. A handshake is some
//! hundred microseconds of computing, and hundreds of points of sale may want one at once: no controller waits for that.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::engine::Expiring;
use crate::limits;
use crate::link::Keeper;
use crate::net::presence::Answerer;
use crate::net::stop::Stopping;
use crate::telemetry::Metrics;
use crate::tracker::Tracker;

pub(super) struct Outward {
    pub(super) tracker: Tracker,
    pub(super) keeper: Keeper,
    pub(super) expiring: mpsc::Receiver<Expiring>,
    pub(super) present: Answerer,
}

/// Held by who serves those that wait for Mercado Pago.
pub(super) struct Hold {
    until: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Hold {
    /// Nobody waits any more. Returns once nothing is under way.
    pub(super) async fn release(self) {
        drop(self.until);
        // Nothing is ever sent: it ends with the thread, and a panic in that is told by `App::stop`.
        let _ = self.ended.await;
    }
}

/// Returns once the tracker knows what the log says, or after a moment.
pub(super) fn start(outward: Outward, metrics: &Metrics, stopping: Stopping) -> io::Result<(JoinHandle<()>, Hold)> {
    let (until, held) = oneshot::channel();
    let (ending, ended) = oneshot::channel();
    let (begins, begun) = sync_channel(1);
    let metrics = metrics.clone();
    let thread = std::thread::Builder::new().name("mercadopago".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime needs a few file descriptors, and this is the start");
        // Everything counted on this thread is this server's.
        metrics.within(|| LocalSet::new().block_on(&runtime, run(outward, begins, held, stopping)));
        drop(runtime);
        drop::<oneshot::Sender<()>>(ending);
    })?;
    // Where the log says much, the tracker goes on reading while controllers are served.
    let _ = begun.recv_timeout(limits::RECALL_TIME);
    Ok((thread, Hold { until, ended }))
}

async fn run(outward: Outward, begins: SyncSender<()>, held: oneshot::Receiver<()>, stopping: Stopping) {
    let present = spawn_local(outward.present.run());
    let tracking = async {
        tokio::select! {
            _ = held => {}
            () = outward.tracker.run(outward.expiring, begins) => {}
        }
    };
    // Not tasks of their own: a panic would be known to their handles alone, and the thread would go on without them.
    tokio::join!(tracking, outward.keeper.run(stopping));
    present.abort();
}
