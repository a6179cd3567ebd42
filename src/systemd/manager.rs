//! The service manager, as far as it wants to know of us.

use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::limits;

/// Told by one datagram a message. What it does not hear is logged, and no reason to stop.
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started us, if there is one that wants to hear of us.
    pub fn of(env: &BTreeMap<String, String>) -> Manager {
        let named = env.get("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = named.and_then(|name| {
            open(name)
                .inspect_err(|error| tracing::warn!(%error, name, "the service manager (NOTIFY_SOCKET) cannot be told"))
                .ok()
        });
        Manager {
            watchdog: socket.as_ref().and(watchdog(env)),
            socket,
        }
    }

    /// How often it wants to hear that we are alive: three times before it would give us up.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// All is answered from now on, or again.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\n{}", line(status)));
    }

    /// Until the next `ready`.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\n{}", line(status)));
    }

    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// What `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.tell(&line(status));
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::warn!(%error, message, "the service manager was not told");
        }
    }
}

fn line(status: &str) -> String {
    format!("STATUS={}", status.replace('\n', "; "))
}

fn open(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(limits::MANAGER_TIME))?;
    Ok((socket, address))
}

fn watchdog(env: &BTreeMap<String, String>) -> Option<Duration> {
    let is_ours = env
        .get("WATCHDOG_PID")
        .is_none_or(|pid| *pid == std::process::id().to_string());
    let micros: u64 = env.get("WATCHDOG_USEC")?.parse().ok()?;
    let every = Duration::from_micros(micros / 3);
    (is_ours && !every.is_zero()).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn heard(socket: &UnixDatagram) -> String {
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("not zero");
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).expect("it was told");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }

    #[test]
    fn a_manager_with_a_path_or_an_abstract_name_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let name = format!("surtidor-test-{}", std::process::id());
        let abstractly = SocketAddr::from_abstract_name(&name).expect("short");
        let both = [
            (path.to_str().expect("UTF-8").to_owned(), UnixDatagram::bind(&path)),
            (format!("@{name}"), UnixDatagram::bind_addr(&abstractly)),
        ];
        for (name, socket) in both {
            let socket = socket.expect("it is free");
            let manager = Manager::of(&env(&[("NOTIFY_SOCKET", &name)]));
            manager.ready("serving\neverything");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=serving; everything");
            manager.alive();
            assert_eq!(heard(&socket), "WATCHDOG=1");
            manager.reloading();
            let said = heard(&socket);
            let micros = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both");
            assert!(micros.parse::<u64>().is_ok_and(|micros| micros > 0), "{said}");
            manager.stopping("no more");
            assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=no more");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_told_and_nothing_fails() {
        for pairs in [
            &[][..],
            &[("NOTIFY_SOCKET", "")],
            &[("NOTIFY_SOCKET", "/nowhere/at/all")],
        ] {
            let manager = Manager::of(&env(pairs));
            manager.ready("");
            manager.alive();
        }
    }

    #[test]
    fn the_watchdog_is_told_three_times_in_its_time_if_it_is_ours() {
        let me = std::process::id().to_string();
        for (pid, micros, every) in [
            (None, "3000000", Some(Duration::from_secs(1))),
            (Some(me.as_str()), "3000000", Some(Duration::from_secs(1))),
            (Some("1"), "3000000", None),
            (None, "0", None),
            (None, "soon", None),
        ] {
            let mut pairs = vec![("NOTIFY_SOCKET", "@somebody"), ("WATCHDOG_USEC", micros)];
            pairs.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            assert_eq!(Manager::of(&env(&pairs)).watchdog(), every, "{pid:?} {micros}");
        }
        assert_eq!(Manager::of(&env(&[("WATCHDOG_USEC", "3000000")])).watchdog(), None);
    }
}
