//! The word to stop, from any thread to all faces.

use tokio::sync::watch;

/// Says it, once. Dropping it says it too, so that a face cannot outlive who may stop it.
pub struct Stop(watch::Sender<bool>);

/// Hears it.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<bool>);

pub fn channel() -> (Stop, Stopping) {
    let (sender, receiver) = watch::channel(false);
    (Stop(sender), Stopping(receiver))
}

impl Stop {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Returns once it was said.
    pub async fn wait(&mut self) {
        // An error is a dropped `Stop`.
        let _ = self.0.wait_for(|said| *said).await;
    }
}
