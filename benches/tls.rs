//! What built-in TLS costs beside nginx that terminates TLS in front of us: polls on connections that stay, and resumed
//! handshakes, each with the same version, cipher and curve, all servers of a kind on one core. Believe the ratios only:
//! `cargo bench --bench tls`; needs nginx and taskset.

#![allow(clippy::print_stdout, reason = "a bench prints its table")]
#![allow(clippy::float_arithmetic, reason = "no money here")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::secured::{Kind, Load, Version};
use support::{CONNECTIONS, Served, processor_time};

const ROUNDS: usize = 5;
const POS: usize = 10_000;

/// What is measured, how often, and the least of nginx's rate that we want.
const MEASURED: [(Kind, Version, usize, f64, &str); 4] = [
    (Kind::KeepAlive, Version::Tls13, 60_000, 0.9, "polls, TLS 1.3"),
    (Kind::KeepAlive, Version::Tls12, 60_000, 0.9, "polls, TLS 1.2"),
    (Kind::Resumed, Version::Tls13, 6_000, 0.7, "resumed handshakes, TLS 1.3"),
    (Kind::Resumed, Version::Tls12, 6_000, 0.7, "resumed handshakes, TLS 1.2"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => support::serve(POS),
        Some("secured") => support::secured::serve(POS, Path::new(&arguments[1])),
        _ if !has_nginx() => println!("SKIPPED, NOT MEASURED: nginx is not installed"),
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(),
        // As a test it only shows that it still runs.
        _ => {
            for (kind, version, ..) in MEASURED {
                for server in [Server::ours, Server::nginx] {
                    assert!(round(&[], server, kind, version, 200).rate > 0.0);
                }
            }
        }
    }
}

fn measure() {
    support::alone_on(1);
    println!("| | ours a second | nginx a second | ÷ nginx | processor time ÷ nginx's | wanted |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let mut well = true;
    for (kind, version, count, wanted, what) in MEASURED {
        let on_core = ["taskset", "-c", "0"];
        let rounds: Vec<[Figures; 2]> = (0..ROUNDS)
            .map(|_| [Server::ours, Server::nginx].map(|server| round(&on_core, server, kind, version, count)))
            .collect();
        let of = |figure: &dyn Fn(&[Figures; 2]) -> f64| support::median(rounds.iter().map(figure).collect());
        let ratio = of(&|[ours, nginx]| ours.rate / nginx.rate);
        println!(
            "| {what} | {:.0} | {:.0} | {ratio:.2} | {:.2} | {wanted} |",
            of(&|[ours, _]| ours.rate),
            of(&|[_, nginx]| nginx.rate),
            of(&|[ours, nginx]| ours.cost / nginx.cost),
        );
        well &= ratio >= wanted;
    }
    assert!(well, "less than wanted");
}

struct Figures {
    /// A second.
    rate: f64,
    /// Microseconds of the servers' processor time each.
    cost: f64,
}

fn round(tool: &[&str], server: Start, kind: Kind, version: Version, count: usize) -> Figures {
    let folder = tempfile::tempdir().expect("a temporary folder");
    support::secured::certify(folder.path());
    let server = server(tool, folder.path(), kind);
    let mut load = Load::new(server.address, folder.path(), kind, version, CONNECTIONS, POS);
    // Tickets are had, and what is slow at first is over.
    load.closed(count / 10 + 2 * CONNECTIONS);
    let resumed = load.resumed;
    let (busy, begun) = (server.processor_time(), Instant::now());
    load.closed(count);
    let (passed, busy) = (begun.elapsed(), server.processor_time() - busy);
    if kind == Kind::Resumed {
        assert_eq!(load.resumed - resumed, count, "each is resumed");
    }
    drop(load);
    server.stop();
    Figures {
        rate: count as f64 / passed.as_secs_f64(),
        cost: busy.as_secs_f64() * 1e6 / count as f64,
    }
}

type Start = fn(&[&str], &Path, Kind) -> Server;

/// It ends with this.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who speaks TLS, and who stands behind it.
struct Server {
    address: SocketAddr,
    ours: Served,
    nginx: Option<Nginx>,
}

impl Server {
    fn ours(tool: &[&str], folder: &Path, _: Kind) -> Server {
        let ours = Served::with(tool, &["secured", &folder.display().to_string()]);
        let address = ([127, 0, 0, 1], ours.port).into();
        Server {
            address,
            ours,
            nginx: None,
        }
    }

    /// It passes polls on; handshakes are measured with an answer of its own, since they are the whole of it.
    fn nginx(tool: &[&str], folder: &Path, kind: Kind) -> Server {
        let ours = Served::start(tool, "serve");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let (place, port) = (folder.display(), ours.port);
        let answer = match kind {
            Kind::KeepAlive => "proxy_pass http://surtidor; proxy_http_version 1.1; proxy_set_header Connection \"\";",
            Kind::Resumed => "default_type application/json; return 400 '{\"error\":{\"type\":\"in_process\"}}';",
        };
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};"))
            .join(" ");
        let config = format!(
            "daemon off; master_process off; pid {place}/nginx.pid; error_log {place}/nginx.log crit;
            events {{ worker_connections 1000; }}
            http {{
                access_log off; server_tokens off; {temporary}
                keepalive_requests 100000000; keepalive_timeout 75s;
                upstream surtidor {{ server 127.0.0.1:{port}; keepalive {CONNECTIONS}; keepalive_requests 100000000; }}
                server {{
                    listen {address} ssl backlog=4096;
                    ssl_certificate {place}/certificate.pem; ssl_certificate_key {place}/key.pem;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
                    ssl_ecdh_curve X25519:prime256v1; ssl_session_cache shared:polls:4m;
                    location / {{ {answer} }}
                }}
            }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).expect("the folder is ours");
        let words: Vec<&str> = tool.iter().copied().chain(["nginx"]).collect();
        let child = nginx(words[0])
            .args(&words[1..])
            .arg("-e")
            .arg(folder.join("nginx.log"))
            .arg("-c")
            .arg(file)
            .spawn()
            .expect("it is installed");
        let nginx = Nginx(child);
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "nginx does not serve");
            std::thread::yield_now();
        }
        Server {
            address,
            ours,
            nginx: Some(nginx),
        }
    }

    fn processor_time(&self) -> Duration {
        let nginx = self
            .nginx
            .as_ref()
            .map_or(Duration::ZERO, |nginx| processor_time(&nginx.0));
        nginx + self.ours.processor_time()
    }

    fn stop(self) {
        drop(self.nginx);
        self.ours.stop();
    }
}

/// Debian keeps it where only root looks.
fn nginx(program: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut command = Command::new(program);
    command.env("PATH", path).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

fn has_nginx() -> bool {
    nginx("nginx").arg("-v").status().is_ok_and(|status| status.success())
}
