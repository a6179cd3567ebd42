//! nginx and HAProxy in front of the server, as small as they may be: on a Unix socket, with connections kept.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::process::{WAIT, skip};

/// Ends with this.
pub struct Proxy {
    child: Child,
    pub socket: PathBuf,
}

/// None, and said so, where it is not installed.
pub fn nginx(folder: &Path, server: SocketAddr) -> Option<Proxy> {
    let place = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|name| format!("{name}_temp_path {place}/{name};"))
        .join(" ");
    let config = format!(
        "
        daemon off; master_process off; pid {place}/nginx.pid; error_log {place}/nginx.log;
        events {{ worker_connections 1000; }}
        http {{
            access_log off; keepalive_requests 1000000; {temporary}
            client_header_timeout 1s; client_body_timeout 1s;
            upstream surtidor {{ server {server}; keepalive 4; }}
            server {{
                listen unix:{place}/nginx.sock;
                location / {{
                    proxy_pass http://surtidor; proxy_http_version 1.1; proxy_set_header Connection \"\";
                    proxy_ignore_client_abort on;
                }}
            }}
        }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).expect("the folder is ours");
    let log = folder.join("nginx.log");
    let words = ["-e".as_ref(), log.as_os_str(), "-c".as_ref(), file.as_os_str()];
    start(Command::new("nginx").args(words), folder.join("nginx.sock"))
}

pub fn haproxy(folder: &Path, server: SocketAddr) -> Option<Proxy> {
    let place = folder.display();
    let config = format!(
        "
defaults
    mode http
    timeout http-request 1s
    timeout http-keep-alive 1s
    timeout client 2s
    timeout connect 2s
    timeout server 15s
    http-reuse always
frontend public
    bind unix@{place}/haproxy.sock
    default_backend surtidor
backend surtidor
    server surtidor {server}
"
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config).expect("the folder is ours");
    start(
        Command::new("haproxy").args(["-db", "-f"]).arg(&file),
        folder.join("haproxy.sock"),
    )
}

fn start(command: &mut Command, socket: PathBuf) -> Option<Proxy> {
    // Debian keeps them where only root looks.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let command = command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(child) = command.stderr(Stdio::null()).spawn() else {
        skip(&format!(
            "{:?} is not installed: nothing is tested behind it",
            command.get_program()
        ));
        return None;
    };
    let proxy = Proxy { child, socket };
    let begun = Instant::now();
    while !proxy.answers() {
        assert!(begun.elapsed() < WAIT, "it does not serve");
        std::thread::yield_now();
    }
    Some(proxy)
}

impl Proxy {
    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else {
            return false;
        };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 404 ")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
