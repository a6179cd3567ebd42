//! Who asks, where proxies stand in front: told in a PROXY header or in `X-Forwarded-For`, and believed of ours only. It
//! shows in whose misses are too many.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustls::version::{TLS12, TLS13};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

use crate::support::process::{Client, Reply, Server, WAIT, config, folder_in_memory, on, poll, register, told};
use crate::support::proxy::{
    Running, Sample, Shown, caddy_sample, haproxy_sample, haproxy_that_passes_on, nginx_sample,
};
use crate::support::tls::{self, Authority};

/// A network's misses at once, and as many more as it may have earned meanwhile.
const MANY: usize = 100;
const TOO_MANY: usize = 1_000;

fn server(poll: &str, more: &str) -> (TempDir, Server) {
    let folder = folder_in_memory();
    let text = config(folder.path()).replace("[poll]\n", &format!("[poll]\n{poll}\n")) + more;
    fs::write(folder.path().join("surtidor.toml"), text).expect("the folder is ours");
    let server = on(folder.path()).start();
    register(&mut server.controller(), "PUMP1");
    (folder, server)
}

/// A connection that comes from this address; all of 127.0.0.0/8 is ours.
fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("loopback");
    socket.connect(&to.into()).expect("it listens");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(WAIT)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn client(stream: TcpStream) -> Client {
    Client::over(Box::new(stream))
}

fn miss(client: &mut Client, headers: &str) -> Reply {
    let ask = format!("GET /pay-mp?locationId=here&positionId=NOWHERE HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    client.send(&ask).expect("it is open");
    let reply = client.reply().expect("its connection is kept");
    assert_eq!(told(&reply), "invalid");
    reply
}

/// Misses until its network is refused, and how that is said.
fn exhaust(client: &mut Client, headers: &str) -> Reply {
    for i in 0..TOO_MANY {
        let reply = miss(client, headers);
        match reply.status {
            400 => {}
            429 => {
                assert!(i >= MANY, "refused after {i}");
                return reply;
            }
            status => panic!("{status}"),
        }
    }
    panic!("never refused");
}

/// Whether a miss is refused of a network that has been exhausted. A little is forgiven in each moment that passes, and
/// far more would be left of a network that was not.
fn is_refused(mut miss: impl FnMut() -> u16) -> bool {
    (0..10).any(|_| miss() == 429)
}

fn is_limited(client: &mut Client, headers: &str) -> bool {
    is_refused(|| miss(client, headers).status)
}

fn hits(client: &mut Client) {
    let reply = poll(client, "PUMP1").expect("its connection is kept").expect(400);
    assert_eq!(told(&reply), "unavailable");
}

#[test]
fn a_network_that_only_misses_is_told_so_and_hits_never_are() {
    let (_folder, server) = server("", "");
    let mut here = client(connect([127, 1, 1, 1], server.polls));
    let refused = exhaust(&mut here, "");
    assert!(
        refused.head.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"),
        "{}",
        refused.head
    );
    // A hit on the same connection, and a miss of a neighbour; but not of another network.
    (0..50).for_each(|_| hits(&mut here));
    assert!(is_limited(&mut client(connect([127, 1, 1, 200], server.polls)), ""));
    assert!(!is_limited(&mut client(connect([127, 1, 2, 1], server.polls)), ""));
    // Nobody is a proxy here, so nobody is believed.
    assert!(is_limited(&mut here, "X-Forwarded-For: 9.9.9.9\r\n"));
    let metrics = Client::tcp(server.admin).and_then(|mut admin| admin.get("/metrics"));
    let metrics = metrics.expect("it runs").expect(200).body;
    assert!(
        metrics.contains("surtidor_polls_total{outcome=\"limited\"} "),
        "{metrics}"
    );
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn only_a_proxy_of_ours_says_for_whom_it_asks() {
    let (_folder, server) = server("proxies = [\"127.5.0.0/16\"]", "");
    let mut proxy = client(connect([127, 5, 0, 1], server.polls));
    exhaust(&mut proxy, "X-Forwarded-For: 192.0.2.1\r\n");
    assert!(is_limited(&mut proxy, "X-Forwarded-For: 192.0.2.77\r\n"));
    assert!(!is_limited(&mut proxy, "X-Forwarded-For: 198.51.100.1\r\n"));
    assert!(!is_limited(&mut proxy, ""), "the proxy itself");
    // What the client wrote there itself stands before what the proxies add.
    assert!(is_limited(&mut proxy, "X-Forwarded-For: 198.51.100.9, 192.0.2.1\r\n"));
    let lines = "X-Forwarded-For: 198.51.100.9\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 127.5.9.9\r\n";
    assert!(is_limited(&mut proxy, lines));
    let mut other = client(connect([127, 6, 0, 1], server.polls));
    assert!(
        !is_limited(&mut other, "X-Forwarded-For: 192.0.2.1\r\n"),
        "it counts for itself"
    );
    assert_eq!(server.stop().code, Some(0));
}

/// A header of version 2, of these addresses or none.
fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, content].concat()
}

fn from_v4(client: [u8; 4], more: &[u8]) -> Vec<u8> {
    binary(
        0x21,
        0x11,
        &[&client[..], &[127, 0, 0, 1], &[1, 2, 3, 4], more].concat(),
    )
}

fn line(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 127.0.0.1 56324 443\r\n").into_bytes()
}

const PROXY: [u8; 4] = [127, 5, 0, 1];
const BEHIND: &str = "proxies = [\"127.5.0.0/16\"]\nproxy_protocol = true";

#[test]
fn a_proxy_announces_whom_it_connects_for() {
    let (_folder, server) = server(BEHIND, "");
    let announced = |header: &[u8]| {
        let mut stream = connect(PROXY, server.polls);
        stream.write_all(header).expect("it is open");
        client(stream)
    };
    exhaust(&mut announced(&line("192.0.2.1")), "");
    hits(&mut announced(&line("192.0.2.1")));
    let more = b"\x01\0\x08http/1.1\x04\0\x03\0\0\0";
    for header in [
        line("192.0.2.200"),
        from_v4([192, 0, 2, 3], b""),
        from_v4([192, 0, 2, 4], more),
    ] {
        assert!(is_limited(&mut announced(&header), ""), "{header:?}");
        // In any pieces; the last of them has the request as well.
        for at in 1..header.len() {
            let in_pieces = || {
                let mut stream = connect(PROXY, server.polls);
                stream.write_all(&header[..at]).expect("it is open");
                // Others are answered meanwhile.
                if at % 8 == 0 {
                    hits(&mut announced(&line("198.51.100.1")));
                }
                let ask = b"GET /pay-mp?locationId=here&positionId=NOWHERE HTTP/1.1\r\nHost: a\r\n\r\n";
                stream.write_all(&[&header[at..], ask].concat()).expect("it is open");
                let mut client = client(stream);
                let status = client.reply().expect("an answer").status;
                hits(&mut client);
                status
            };
            assert!(is_refused(in_pieces), "cut at {at}");
        }
    }
    // The proxy asks for itself, or cannot say for whom.
    for header in [
        binary(0x20, 0, b""),
        binary(0x21, 0, more),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ] {
        assert!(!is_limited(&mut announced(&header), ""), "{header:?}");
    }
    // A proxy behind a proxy may say the rest in its own way.
    let mut chained = announced(&line("127.5.0.9"));
    assert!(is_limited(&mut chained, "X-Forwarded-For: 192.0.2.1\r\n"));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn a_header_that_is_wrong_or_of_somebody_else_gets_nowhere() {
    let (_folder, server) = server(BEHIND, "");
    let ask = "GET /pay-mp?locationId=here&positionId=PUMP1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let told = |from: [u8; 4], header: &[u8]| {
        let mut stream = connect(from, server.polls);
        let _ = stream.write_all(&[header, ask.as_bytes()].concat());
        let mut told = String::new();
        let _ = stream.read_to_string(&mut told);
        told
    };
    let too_long = [&b"PROXY UNKNOWN "[..], &[b'x'; 100], b"\r\n"].concat();
    for header in [
        // A proxy that is to say for whom it asks, and does not.
        Vec::new(),
        b"PROXY TCP4 192.0.2.1\r\n".to_vec(),
        too_long,
        binary(0x21, 0x11, &[0; 11]),
        binary(0x20, 0, &[0; 3_000]),
        binary(0x31, 0x11, &[0; 12]),
        from_v4([192, 0, 2, 1], b"")[..10].to_vec(),
    ] {
        assert_eq!(told(PROXY, &header), "", "{header:?}");
    }
    // From anybody else it is no header, but a request that is none.
    let of_a_stranger = told([127, 6, 0, 1], &line("192.0.2.1"));
    assert!(
        of_a_stranger.starts_with("HTTP/1.1 400 ") && !of_a_stranger.contains("unavailable"),
        "{of_a_stranger}"
    );
    assert!(told([127, 6, 0, 1], &from_v4([192, 0, 2, 1], b"")).starts_with("HTTP/1.1 400 "));
    assert!(
        told([127, 6, 0, 1], b"").contains("unavailable"),
        "a stranger without one is served"
    );
    // One that begins a header and stops holds nobody, and goes with the server.
    let mut held = connect(PROXY, server.polls);
    held.write_all(b"PROXY TC").expect("it is open");
    hits(&mut client(connect([127, 6, 0, 1], server.polls)));
    assert_eq!(server.stop().code, Some(0));
    assert!(matches!(held.read(&mut [0]), Ok(0)), "it is closed");
}

#[test]
fn haproxy_passes_tls_on_and_says_who_connects() {
    let authority = Authority::new();
    let files = folder_in_memory();
    let files_text = authority.certify(files.path(), 2090);
    let tls = format!("[poll.tls]\nlisten = \"127.0.0.1:0\"\n{files_text}");
    for header in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"] {
        let (folder, server) = server("proxies = [\"127.0.0.1\"]\nproxy_protocol = true", &tls);
        let trusted = authority.trusted(&[&TLS13, &TLS12]);
        let Some((running, address)) = haproxy_that_passes_on(folder.path(), server.secured["polls"], header) else {
            return;
        };
        let from = |from: [u8; 4]| {
            let stream = tls::over(connect(from, address), &trusted).expect("it listens");
            Client::over(Box::new(stream))
        };
        exhaust(&mut from([127, 1, 1, 1]), "");
        assert!(is_limited(&mut from([127, 1, 1, 2]), ""), "{header}");
        assert!(!is_limited(&mut from([127, 2, 2, 2]), ""), "{header}");
        drop(running);
        assert_eq!(server.stop().code, Some(0));
    }
}

/// The sample agrees with its own tool, passes polls on by TLS, and says whom it asks for.
fn stands_in_front(sample: Sample) {
    let (folder, server) = server("proxies = [\"127.0.0.1/32\"]", "");
    let authority = Authority::new();
    let (certificate, key) = authority.certificate(2090);
    let shown = Shown {
        certificate: &certificate,
        key: &key,
    };
    let Some((running, address)): Option<(Running, SocketAddr)> = sample(folder.path(), server.polls, &shown) else {
        return;
    };
    let trusted = authority.trusted(&[&TLS13, &TLS12]);
    let from = |from: [u8; 4]| {
        let stream = tls::over(connect(from, address), &trusted).expect("it listens");
        Client::over(Box::new(stream)).named(tls::NAME)
    };
    let mut here = from([127, 1, 1, 1]);
    (0..10).for_each(|_| hits(&mut here));
    // A notification has a body, and is stored.
    let notified = here.ask("POST", "/notifications/main?topic=merchant_order&id=7", "{}");
    notified.expect("it is passed on").expect(200);
    here.get("/v1/pos").expect("it is not passed on").expect(404);
    let named = format!("Host: {}\r\n", tls::NAME);
    // What the client says of itself changes nothing.
    let mut lies = 0..;
    let mut lie = || format!("X-Forwarded-For: 203.0.{}.1\r\n", lies.next().expect("enough") % 250);
    let limited = (0..TOO_MANY).any(|_| {
        let ask = format!(
            "GET /pay-mp?locationId=here&positionId=NOWHERE HTTP/1.1\r\n{named}{}\r\n",
            lie()
        );
        here.send(&ask).expect("it is open");
        here.reply().expect("it is passed on").status == 429
    });
    assert!(limited, "its address is passed on");
    let mut other = from([127, 2, 2, 2]);
    let ask = format!("GET /pay-mp?locationId=here&positionId=NOWHERE HTTP/1.1\r\n{named}\r\n");
    other.send(&ask).expect("it is open");
    assert_eq!(
        other.reply().expect("it is passed on").status,
        400,
        "nor is it the proxy's"
    );
    hits(&mut here);
    drop(running);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn nginx_stands_in_front_as_its_sample_says() {
    stands_in_front(nginx_sample);
}

#[test]
fn haproxy_stands_in_front_as_its_sample_says() {
    stands_in_front(haproxy_sample);
}

#[test]
fn caddy_stands_in_front_as_its_sample_says() {
    stands_in_front(caddy_sample);
}
