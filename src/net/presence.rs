//! Whether a thread still gets around to its tasks: it is asked, and answers. A thread that hangs, or has ended, does not.

use tokio::sync::{mpsc, oneshot};

type Question = oneshot::Sender<()>;

/// Asks one thread.
#[derive(Clone)]
pub struct Asker(mpsc::Sender<Question>);

/// Answers on it.
pub struct Answerer(mpsc::Receiver<Question>);

pub fn channel() -> (Asker, Answerer) {
    let (asker, answerer) = mpsc::channel(1);
    (Asker(asker), Answerer(answerer))
}

impl Asker {
    /// Whether the thread answered. Waits for as long as it hangs; false if it has ended.
    pub async fn ask(&self) -> bool {
        let (question, answer) = oneshot::channel();
        self.0.send(question).await.is_ok() && answer.await.is_ok()
    }

    /// Whether the thread has not ended, though it may hang.
    pub fn is_there(&self) -> bool {
        !self.0.is_closed()
    }
}

impl Answerer {
    /// For as long as the thread runs, as a task beside the others.
    pub async fn run(mut self) {
        while let Some(question) = self.0.recv().await {
            // Who asked may have gone.
            let _ = question.send(());
        }
    }
}
