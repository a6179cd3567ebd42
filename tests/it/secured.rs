//! Built-in TLS, as clients meet it: handshakes whole, resumed, broken and held; another certificate while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::support::process::{Client, Server, WAIT, config, folder_in_memory, on, poll, push, register, skip, told};
use crate::support::tls::{Authority, NAME, client, connect, is_resumed, write_key};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// A server that speaks TLS to polls and to controllers, and one point of sale.
struct House {
    folder: TempDir,
    authority: Authority,
    server: Server,
}

impl House {
    fn new() -> House {
        let folder = folder_in_memory();
        let authority = Authority::new();
        let files = authority.certify(folder.path(), 2090);
        write(folder.path(), &files);
        let server = on(folder.path()).start();
        register(&mut server.controller(), "PUMP1");
        House {
            folder,
            authority,
            server,
        }
    }

    fn polls(&self) -> SocketAddr {
        self.server.secured["polls"]
    }

    fn trusted(&self) -> Arc<ClientConfig> {
        self.authority.trusted(&[&TLS13, &TLS12])
    }

    fn metric(&self, name: &str) -> f64 {
        let text = Client::tcp(self.server.admin).and_then(|mut admin| admin.get("/metrics"));
        let text = text.expect("it runs").expect(200).body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().expect("a number")
    }

    fn handshakes(&self, outcome: &str) -> f64 {
        self.metric(&format!(
            "surtidor_tls_handshakes_total{{face=\"poll\",outcome=\"{outcome}\"}}"
        ))
    }

    fn ends_well(self) -> TempDir {
        let ended = self.server.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        self.folder
    }
}

/// The configuration of such a server; `files` names certificate and key.
fn write(folder: &Path, files: &str) {
    let text = config(folder)
        + &format!("[poll.tls]\nlisten = \"127.0.0.1:0\"\n{files}[control.tls]\nlisten = \"0.0.0.0:0\"\n{files}");
    let text = text.replace(
        "[admin]",
        &format!("token_file = {:?}\n[admin]", folder.join("control-token")),
    );
    write_key(&folder.join("control-token"), TOKEN);
    fs::write(folder.join("surtidor.toml"), text).expect("the folder is ours");
}

fn serves(client: &mut Client) {
    let reply = poll(client, "PUMP1").expect("its connection is kept");
    assert_eq!(told(&reply.expect(400)), "unavailable");
}

#[test]
fn who_comes_back_resumes_on_any_thread() {
    let house = House::new();
    let mut full = 0;
    for version in [&TLS13, &TLS12] {
        let trusted = house.authority.trusted(&[version]);
        full += 1;
        for i in 0..24 {
            let stream = connect(house.polls(), &trusted).expect("it listens");
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(is_resumed(&stream), i > 0, "{version:?}, connection {i}");
            // The ticket of TLS 1.3 comes behind the handshake.
            serves(&mut Client::over(Box::new(stream)));
        }
    }
    assert_eq!(house.handshakes("full"), f64::from(full));
    assert_eq!(house.handshakes("resumed"), 46.0);
    assert_eq!(house.handshakes("failed"), 0.0);
    house.ends_well();
}

#[test]
fn curl_and_openssl_trust_it() {
    let house = House::new();
    let authority = house.authority.file(house.folder.path());
    let port = house.polls().port();
    for version in ["1.2", "1.3"] {
        let url = format!("https://{NAME}:{port}/pay-mp?locationId=here&positionId=PUMP1");
        let asked = Command::new("curl")
            .args(["-sS", "--max-time", "20", "--tls-max", version, "--cacert"])
            .arg(&authority)
            .args([
                "--connect-to",
                &format!("::127.0.0.1:{port}"),
                "-w",
                " %{http_code}",
                &url,
            ])
            .output()
            .expect("curl is installed");
        let said = String::from_utf8_lossy(&asked.stdout).into_owned() + &String::from_utf8_lossy(&asked.stderr);
        assert_eq!(said, r#"{"error":{"type":"unavailable"}} 400"#);
    }
    let openssl = |words: &[&str]| {
        let asked = Command::new("openssl")
            .args(["s_client", "-connect", &house.polls().to_string(), "-servername", NAME])
            .args(["-verify_return_error", "-CAfile"])
            .arg(&authority)
            .args(words)
            .stdin(std::process::Stdio::null())
            .output();
        asked.ok().map(|asked| {
            let said = String::from_utf8_lossy(&asked.stdout).into_owned() + &String::from_utf8_lossy(&asked.stderr);
            (asked.status.success(), said)
        })
    };
    let Some((went_well, said)) = openssl(&["-alpn", "h2,http/1.1"]) else {
        return skip("openssl is not installed: it is not asked what it thinks of our TLS");
    };
    assert!(went_well && said.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    // Old versions and other protocols are refused in the handshake, and nothing else happens.
    for words in [["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["-tls1_3", "-alpn", "h2"]] {
        let (went_well, said) = openssl(&words).expect("it is installed");
        assert!(!went_well && said.contains("alert"), "{words:?}: {said}");
    }
    house.ends_well();
}

#[test]
fn what_is_no_handshake_is_closed_and_counted() {
    let house = House::new();
    let tell = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(house.polls()).expect("it listens");
        stream.set_read_timeout(Some(WAIT)).expect("a socket");
        stream.write_all(bytes).expect("it is open");
        let _ = stream.shutdown(Shutdown::Write);
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        told
    };
    // Plain HTTP is told what to do, in HTTP.
    let told = String::from_utf8(tell(b"GET /pay-mp HTTP/1.1\r\nHost: a\r\n\r\n")).expect("text");
    let (head, body) = told.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{told}");
    assert_eq!(body, "This port speaks TLS: use https://.\n");
    // Who only looks whether somebody listens is nobody's failure.
    assert_eq!(tell(b""), b"");
    // To anything else an alert is said at most: a record of kind 21.
    let garbage: [&[u8]; 5] = [
        b"\0\0\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\xff\xff\x01\0\0\0",
        b"\x16\x03\x01\0\x05\x01\xff\xff\xff\0",
        b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10",
        &[0x16; 20_000],
    ];
    for bytes in garbage {
        let told = tell(bytes);
        assert!(told.is_empty() || told[0] == 21, "{told:?}");
    }
    let begun = Instant::now();
    while house.handshakes("failed") < 6.0 {
        assert!(begun.elapsed() < WAIT, "not counted");
    }
    serves(&mut client(house.polls(), &house.trusted()).expect("it listens"));
    house.ends_well();
}

#[test]
fn handshakes_that_are_held_hold_nobody_else() {
    let house = House::new();
    // The first bytes of a handshake, on both threads.
    let held: Vec<_> = (0..40)
        .map(|i| {
            let mut stream = TcpStream::connect(house.polls()).expect("it listens");
            stream.set_read_timeout(Some(WAIT)).expect("a socket");
            stream
                .write_all(&b"\x16\x03\x01\x02\0\x01"[..i % 7])
                .expect("it is open");
            stream
        })
        .collect();
    let trusted = house.trusted();
    for _ in 0..10 {
        serves(&mut client(house.polls(), &trusted).expect("it listens"));
    }
    // They have the time of a head, and that is all.
    let begun = Instant::now();
    for mut stream in held {
        assert!(matches!(stream.read(&mut [0]), Ok(0)), "it is closed");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let timed_out = "surtidor_connections_timed_out_total{face=\"poll\",limit=\"opening\"}";
    assert_eq!(house.metric(timed_out), 40.0);
    house.ends_well();
}

#[test]
fn another_certificate_is_shown_and_no_connection_is_dropped() {
    let mut house = House::new();
    let expiry = "surtidor_certificate_expiry_timestamp_seconds{face=\"poll\"}";
    let year = |year: i64| (365.25 * 86_400.0 * (year as f64 - 1970.0) / 86_400.0).round() * 86_400.0;
    let near = |shown: f64, expected: i64| (shown - year(expected)).abs() < 2.0 * 86_400.0;
    assert!(near(house.metric(expiry), 2090), "{}", house.metric(expiry));
    let (address, trusted) = (house.polls(), house.trusted());
    let (enough, polls) = (AtomicBool::new(false), AtomicU64::new(0));
    scope(|all| {
        // Two stay, and two come anew for each poll.
        for stays in [true, true, false, false] {
            let (trusted, enough, polls) = (&trusted, &enough, &polls);
            all.spawn(move || {
                let mut kept = client(address, trusted).expect("it listens");
                while !enough.load(Relaxed) {
                    if !stays {
                        kept = client(address, trusted).expect("nobody is refused");
                    }
                    serves(&mut kept);
                    polls.fetch_add(1, Relaxed);
                }
            });
        }
        for until in [2091, 2092, 2093] {
            let before = polls.load(Relaxed);
            house.authority.certify(house.folder.path(), until);
            house.server.signal("HUP");
            house.server.says("the configuration was read anew");
            assert!(near(house.metric(expiry), until.into()), "{}", house.metric(expiry));
            while polls.load(Relaxed) < before + 100 {
                yield_now();
            }
        }
        enough.store(true, Relaxed);
    });
    // Who comes for the first time is shown the newest.
    let newest = fs::read(house.folder.path().join("certificate.pem")).expect("it is there");
    let newest: rustls::pki_types::CertificateDer<'static> =
        rustls::pki_types::pem::PemObject::from_pem_slice(&newest).expect("a certificate");
    let stream = connect(address, &house.trusted()).expect("it listens");
    assert_eq!(stream.conn.peer_certificates().expect("one")[0], newest);
    house.ends_well();
}

#[test]
fn a_broken_certificate_changes_nothing_and_is_named() {
    let mut house = House::new();
    let folder = house.folder.path().to_owned();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let good = fs::read_to_string(&certificate).expect("it is there");
    let good_key = fs::read_to_string(&key).expect("it is there");
    let expiry = house.metric("surtidor_certificate_expiry_timestamp_seconds{face=\"control\"}");
    for (file, text, why) in [
        (&certificate, "rubbish", "holds no certificate"),
        (&certificate, &good[..good.len() / 2], "a block has no end"),
        (
            &certificate,
            &house.authority.certificate(2095).0,
            "is not the key of the certificate",
        ),
        (&key, "", "holds no private key"),
    ] {
        write_key(&certificate, &good);
        write_key(&key, &good_key);
        write_key(file, text);
        house.server.signal("HUP");
        let said = house.server.says("the old configuration stays");
        assert!(
            said.contains(why) && said.contains("poll.tls.") && said.contains("surtidor.toml:"),
            "{said}"
        );
        // The key is what does not fit, whichever of the two was changed.
        assert!(said.contains(".pem: "), "{said}");
        serves(&mut client(house.polls(), &house.trusted()).expect("the old one is shown"));
    }
    assert_eq!(
        house.metric("surtidor_certificate_expiry_timestamp_seconds{face=\"control\"}"),
        expiry
    );
    let _kept = house.ends_well();
    let refused = on(&folder).refused();
    assert_eq!(refused.code, Some(78), "{}", refused.log);
    assert!(refused.log.contains("holds no private key"), "{}", refused.log);
    // Who can read the key is named as well, and what has expired.
    write_key(&key, &good_key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let server = on(&folder).start();
    let warning = format!(
        "poll.tls.key_file: every user of this machine can read or change {0}: chmod o-rw {0}",
        key.display()
    );
    assert!(server.log.contains(&warning), "{}", server.log);
    drop(server);
    Authority::new().certify(&folder, 2001);
    let server = on(&folder).start();
    assert!(server.log.contains("the certificate has expired"), "{}", server.log);
}

#[test]
fn controllers_come_by_tls_with_the_token() {
    let house = House::new();
    let address = SocketAddr::from(([127, 0, 0, 1], house.server.secured["control"].port()));
    let mut controller = client(address, &house.trusted()).expect("it listens");
    controller.get("/v1/pos/PUMP1").expect("it runs").expect(401);
    assert!(controller.is_closed(), "whoever is let in nowhere keeps no connection");
    let mut controller = client(address, &house.trusted()).expect("it listens");
    let ask = format!("GET /v1/pos/PUMP1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    controller.send(&ask).expect("it runs");
    let pos = controller.reply().expect("it runs").expect(200).json();
    assert_eq!(pos["pos"], "PUMP1");
    // A stop ends who waits for nothing, and says so to who speaks TLS.
    house.ends_well();
    assert!(controller.is_closed());
}

#[test]
fn a_token_opens_its_points_of_sale_by_tls() {
    let house = House::new();
    let mut admin = house.server.controller();
    register(&mut admin, "PUMP2");
    let made = admin
        .ask("PUT", "/v1/tokens/north", r#"{"pos":["PUMP1"]}"#)
        .expect("it runs");
    let token = made.expect(201).json()["token"].as_str().expect("a token").to_owned();
    let address = SocketAddr::from(([127, 0, 0, 1], house.server.secured["control"].port()));
    let trusted = house.trusted();
    let come = || client(address, &trusted).expect("it listens");
    let ask = |client: &mut Client, path: &str| {
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
        client.send(&asked).expect("it runs");
    };
    let mut controller = come();
    ask(&mut controller, "/v1/pos/PUMP1");
    assert_eq!(controller.reply().expect("it runs").expect(200).json()["pos"], "PUMP1");
    ask(&mut controller, "/v1/pos/PUMP2");
    assert_eq!(controller.reply().expect("it runs").expect(404).code(), "pos_unknown");
    let mut stream = come();
    ask(&mut stream, "/v1/events?after=0");
    assert!(stream.head().expect("it runs").starts_with("HTTP/1.1 200 "));
    let mut events = stream.events();
    assert_eq!(events.next().expect("its registration")["pos"], "PUMP1");

    admin
        .ask("DELETE", "/v1/tokens/north", "")
        .expect("it runs")
        .expect(204);
    push(&mut admin, "PUMP1", "T-1").expect("it runs").expect(201);
    assert!(
        events.next().is_none() && events.ended,
        "nothing more is told, and the stream ends as HTTP wants it"
    );
    ask(&mut controller, "/v1/pos/PUMP1");
    assert_eq!(controller.reply().expect("it runs").expect(401).code(), "unauthorized");
    house.ends_well();
}

#[test]
fn the_command_line_asks_by_tls_and_trusts_whom_it_is_told() {
    let house = House::new();
    let folder = house.folder.path();
    let made = house
        .server
        .controller()
        .ask("PUT", "/v1/tokens/north", r#"{"pos":["PUMP1"]}"#);
    let made = made.expect("it runs").expect(201).json();
    write_key(&folder.join("north.token"), made["token"].as_str().expect("a token"));
    let authority = house.authority.file(folder);
    let stranger = Authority::new().file(folder.join("data").as_path());
    let url = format!("https://{NAME}:{}", house.server.secured["control"].port());
    let ask = |ca: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_surtidor"));
        command
            .args(["pos", "list", "--url", &url, "--token-file"])
            .arg(folder.join("north.token"));
        ca.iter().for_each(|ca| {
            command.arg("--ca").arg(ca);
        });
        let ran = command.env_clear().output().expect("the binary runs");
        let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
        (ran.status.code(), said.into_owned())
    };
    let (code, said) = ask(Some(&authority));
    assert!(code == Some(0) && said.contains("PUMP1"), "{said}");
    for stranger in [Some(stranger.as_path()), None] {
        let (code, said) = ask(stranger);
        assert!(
            code == Some(3) && said.contains("peer certificate") && said.contains("`--ca FILE`"),
            "{code:?} {said}"
        );
    }
    let (code, said) = ask(Some(&folder.join("north.token")));
    assert!(code == Some(2) && said.contains("holds no certificate"), "{said}");
    house.ends_well();
}
