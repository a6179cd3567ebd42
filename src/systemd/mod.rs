//! What a service manager and the server say to each other: the sockets that it hands over, and what it is told in return.
//!
//! The words are systemd's (`sd_listen_fds(3)`, `sd_notify(3)`), and others speak them too. Without such a manager nothing
//! is handed over and nothing told. Nothing here knows what is served, or whether it does well.

mod manager;
mod sockets;

pub use manager::Manager;
pub use sockets::{HandedError, Sockets};
