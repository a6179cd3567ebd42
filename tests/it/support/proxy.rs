//! Proxies in front of the server: as small as they may be, on a Unix socket with connections kept; and the samples of
//! `deploy/`, on a port of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Instant;

use super::process::{WAIT, skip};

/// A proxy that ends with this.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One on a Unix socket.
pub struct Proxy {
    _running: Running,
    pub socket: PathBuf,
}

/// None, and said so, where it is not installed.
pub fn nginx(folder: &Path, server: SocketAddr) -> Option<Proxy> {
    let place = folder.display();
    let temporary = temporary(folder);
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
    let mut command = nginx_with(folder, &config);
    on_socket(&mut command, folder.join("nginx.sock"))
}

fn nginx_with(folder: &Path, config: &str) -> Command {
    let file = folder.join("nginx.conf");
    fs::write(&file, config).expect("the folder is ours");
    let mut command = program("nginx");
    command.arg("-e").arg(folder.join("nginx.log")).arg("-c").arg(file);
    command
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
    on_socket(
        program("haproxy").args(["-db", "-f"]).arg(&file),
        folder.join("haproxy.sock"),
    )
}

/// The certificate with its key that a sample shows, both as PEM.
pub struct Shown<'a> {
    pub certificate: &'a str,
    pub key: &'a str,
}

/// What there is of it.
pub type Sample = fn(&Path, SocketAddr, &Shown<'_>) -> Option<(Running, SocketAddr)>;

pub fn nginx_sample(folder: &Path, server: SocketAddr, shown: &Shown<'_>) -> Option<(Running, SocketAddr)> {
    let (address, place) = (free(), folder.display());
    fs::write(folder.join("fullchain.pem"), shown.certificate).expect("the folder is ours");
    fs::write(folder.join("privkey.pem"), shown.key).expect("the folder is ours");
    let site = sample(
        "nginx.conf",
        &[
            ("127.0.0.1:8080", &server.to_string()),
            ("listen 443 ssl", &format!("listen {address} ssl")),
            ("listen [::]:443 ssl;", ""),
            ("/etc/letsencrypt/live/pay.example.com", &place.to_string()),
        ],
    );
    let temporary = temporary(folder);
    let config = format!(
        "daemon off; master_process off; pid {place}/nginx.pid; error_log {place}/nginx.log; events {{}}
        http {{ access_log off; {temporary} {site} }}"
    );
    let mut command = nginx_with(folder, &config);
    agrees(nginx_with(folder, &config).arg("-t"))?;
    on_port(&mut command, address)
}

pub fn haproxy_sample(folder: &Path, server: SocketAddr, shown: &Shown<'_>) -> Option<(Running, SocketAddr)> {
    let address = free();
    let both = folder.join("both.pem");
    fs::write(&both, format!("{}{}", shown.certificate, shown.key)).expect("the folder is ours");
    let config = sample(
        "haproxy.cfg",
        &[
            ("127.0.0.1:8080", &server.to_string()),
            ("bind :443", &format!("bind {address}")),
            ("/etc/haproxy/pay.example.com.pem", &both.display().to_string()),
        ],
    );
    haproxy_with(folder, &config, address)
}

/// One that passes TLS on as it comes, and says in a header of this kind (`send-proxy`, `send-proxy-v2`) who connects.
pub fn haproxy_that_passes_on(folder: &Path, server: SocketAddr, header: &str) -> Option<(Running, SocketAddr)> {
    let address = free();
    let config = format!(
        "
defaults
    mode tcp
    timeout client 30s
    timeout connect 2s
    timeout server 30s
frontend public
    bind {address}
    default_backend surtidor
backend surtidor
    server surtidor {server} {header}
"
    );
    haproxy_with(folder, &config, address)
}

fn haproxy_with(folder: &Path, config: &str, address: SocketAddr) -> Option<(Running, SocketAddr)> {
    let file = folder.join("haproxy.cfg");
    fs::write(&file, config).expect("the folder is ours");
    agrees(program("haproxy").args(["-c", "-f"]).arg(&file))?;
    on_port(program("haproxy").args(["-db", "-f"]).arg(&file), address)
}

pub fn caddy_sample(folder: &Path, server: SocketAddr, shown: &Shown<'_>) -> Option<(Running, SocketAddr)> {
    let (address, place) = (free(), folder.display());
    fs::write(folder.join("fullchain.pem"), shown.certificate).expect("the folder is ours");
    fs::write(folder.join("privkey.pem"), shown.key).expect("the folder is ours");
    // It must ask nobody for a certificate.
    let (port, ip) = (address.port(), address.ip());
    let tls = format!("tls {place}/fullchain.pem {place}/privkey.pem");
    let site = format!("https://localhost:{port} {{\n\tbind {ip}\n\t{tls}");
    let config = sample(
        "Caddyfile",
        &[("127.0.0.1:8080", &server.to_string()), ("pay.example.com {", &site)],
    );
    let file = folder.join("Caddyfile");
    fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{config}")).expect("the folder is ours");
    let caddy = |word: &str| {
        let mut command = program("caddy");
        command.args([word, "--adapter", "caddyfile", "--config"]).arg(&file);
        command.envs([("HOME", folder), ("XDG_DATA_HOME", folder), ("XDG_CONFIG_HOME", folder)]);
        command
    };
    agrees(&mut caddy("validate"))?;
    on_port(&mut caddy("run"), address)
}

/// A file of `deploy/` with other places in it; each must stand there.
fn sample(name: &str, places: &[(&str, &str)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = fs::read_to_string(file).expect("it is there");
    for (theirs, ours) in places {
        // What a comment says of Surtidor's side stays.
        let at = text
            .lines()
            .position(|line| line.contains(theirs) && !line.starts_with('#'));
        assert!(at.is_some(), "{name} has no {theirs:?}");
        let lines = text.lines().map(|line| match line.starts_with('#') {
            true => line.to_owned(),
            false => line.replace(theirs, ours),
        });
        text = lines.collect::<Vec<_>>().join("\n") + "\n";
    }
    text
}

/// A port that nobody has just now, at an address where nobody else looks for one.
fn free() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = [127, 128 | high, low, NEXT.fetch_add(1, Relaxed)];
    let listener = TcpListener::bind(SocketAddr::from((address, 0))).expect("a free port");
    listener.local_addr().expect("it is bound")
}

fn temporary(folder: &Path) -> String {
    let names = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    names
        .map(|name| format!("{name}_temp_path {}/{name};", folder.display()))
        .join(" ")
}

fn program(name: &str) -> Command {
    // Debian keeps them where only root looks.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut command = Command::new(name);
    command.env("PATH", path).stdin(Stdio::null());
    command
}

/// Whether the tool says that the configuration is right. None, and said so, where it is not installed.
fn agrees(command: &mut Command) -> Option<()> {
    let Ok(said) = command.output() else {
        skip(&format!(
            "{:?} is not installed: its sample is not tested",
            command.get_program()
        ));
        return None;
    };
    let text = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}");
    Some(())
}

fn on_socket(command: &mut Command, socket: PathBuf) -> Option<Proxy> {
    let running = start(command, || answers(&socket))?;
    Some(Proxy {
        _running: running,
        socket,
    })
}

fn on_port(command: &mut Command, address: SocketAddr) -> Option<(Running, SocketAddr)> {
    let running = start(command, || TcpStream::connect(address).is_ok())?;
    Some((running, address))
}

fn start(command: &mut Command, serves: impl Fn() -> bool) -> Option<Running> {
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        skip(&format!(
            "{:?} is not installed: nothing is tested behind it",
            command.get_program()
        ));
        return None;
    };
    let mut running = Running(child);
    let begun = Instant::now();
    while !serves() {
        let ended = running.0.try_wait().expect("it is our child");
        assert!(
            ended.is_none() && begun.elapsed() < WAIT,
            "it does not serve: {ended:?}"
        );
        std::thread::yield_now();
    }
    Some(running)
}

fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let mut answer = String::new();
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 404 ")
}
