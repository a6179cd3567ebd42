use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn network(text: &str) -> Network {
    text.parse().expect("a network")
}

#[test]
fn a_network_contains_what_begins_alike() {
    for (text, inside, outside) in [
        (
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255"][..],
            &["11.0.0.0", "9.255.255.255", "::1"][..],
        ),
        ("127.0.0.1", &["127.0.0.1"], &["127.0.0.2"]),
        ("192.168.4.0/23", &["192.168.5.9"], &["192.168.6.0"]),
        ("0.0.0.0/0", &["1.2.3.4"], &["::"]),
        ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::", "10.0.0.0"]),
        ("::1/128", &["::1"], &["::2"]),
        ("::/0", &["2001:db8::1"], &["0.0.0.0"]),
    ] {
        let network = network(text);
        assert!(inside.iter().all(|address| network.contains(ip(address))), "{text}");
        assert!(!outside.iter().any(|address| network.contains(ip(address))), "{text}");
    }
}

#[test]
fn what_is_no_network_says_what_would_be() {
    for text in [
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "::/129",
        "localhost",
        "10.0.0.0/8 ",
    ] {
        assert_eq!(text.parse::<Network>(), Err(BadNetwork::Form(text.into())));
    }
    let inside = "10.1.2.3/8".parse::<Network>().expect_err("an address");
    assert_eq!(
        inside.to_string(),
        "\"10.1.2.3/8\" has an address within the network; the network itself is \"10.0.0.0/8\""
    );
}

#[test]
fn who_asks_is_the_last_that_a_proxy_of_ours_did_not_add() {
    let proxies = Proxies(vec![network("10.0.0.0/8"), network("::1")]);
    for (peer, lines, client) in [
        // Nobody else is believed.
        ("1.1.1.1", &["9.9.9.9"][..], "1.1.1.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["9.9.9.9"], "9.9.9.9"),
        ("::1", &["2001:db8::7"], "2001:db8::7"),
        // What the client invented stands before what the proxy saw.
        ("10.0.0.1", &["127.0.0.1, 9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", &["8.8.8.8, 9.9.9.9,10.0.0.2"], "9.9.9.9"),
        ("10.0.0.1", &["8.8.8.8", "9.9.9.9", "10.0.0.2"], "9.9.9.9"),
        // All of it is ours: the first of them.
        ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        // Who writes no address is not passed over.
        ("10.0.0.1", &["9.9.9.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["9.9.9.9, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &[""], "10.0.0.1"),
        ("10.0.0.1", &["9.9.9.9:1234"], "9.9.9.9"),
        ("10.0.0.1", &["[2001:db8::7]:1234"], "2001:db8::7"),
        ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", &["::ffff:9.9.9.9"], "9.9.9.9"),
        ("10.0.0.1", &["\t9.9.9.9 "], "9.9.9.9"),
    ] {
        let forwarded = lines.iter().map(|line| line.as_bytes());
        assert_eq!(behind(&proxies, ip(peer), forwarded), ip(client), "{peer} {lines:?}");
    }
    let not_text = [&b"\xff"[..]];
    assert_eq!(behind(&proxies, ip("::1"), not_text.into_iter()), ip("::1"));
}

/// A header of version 2.
fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, content].concat()
}

const FOUR: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb];
const MORE: &[u8] = b"\x01\0\x08http/1.1\x04\0\x01\0";

#[test]
fn a_header_tells_for_whom_a_proxy_connects() {
    let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0; 16]].concat();
    let mapped = "PROXY TCP6 ::ffff:9.9.9.9 ::1 1 2\r\n";
    let cases: [(Vec<u8>, Option<&str>); 13] = [
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".into(),
            Some("192.0.2.1"),
        ),
        (b"PROXY TCP6 2001:db8::7 ::1 65535 0\r\n".into(), Some("2001:db8::7")),
        (mapped.into(), Some("9.9.9.9")),
        (b"PROXY UNKNOWN\r\n".into(), None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
        (binary(0x21, 0x11, FOUR), Some("192.0.2.1")),
        (binary(0x21, 0x11, &[FOUR, MORE].concat()), Some("192.0.2.1")),
        (binary(0x21, 0x21, &[&six[..], &[0; 4]].concat()), Some("2001:db8::7")),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, FOUR), None),
        (binary(0x21, 0x00, MORE), None),
        (binary(0x21, 0x31, &[0; 216]), None),
        (binary(0x21, 0x12, FOUR), None),
    ];
    for (bytes, client) in cases {
        let expected = Announced {
            length: bytes.len(),
            client: client.map(ip),
        };
        let followed = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(announced(&followed), Ok(Some(expected)), "{bytes:?}");
        fuzz::header(&followed);
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    let cases: [(Vec<u8>, BadHeader); 14] = [
        (b"GET / HTTP/1.1\r\n".into(), BadHeader::None),
        (b"\x16\x03\x01".into(), BadHeader::None),
        (b"\r\n\r\nGET".into(), BadHeader::None),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n".into(), BadHeader::Form),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n".into(), BadHeader::Form),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n".into(),
            BadHeader::Form,
        ),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n".into(), BadHeader::Form),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n".into(), BadHeader::Form),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n".into(), BadHeader::Form),
        (long.into(), BadHeader::Long),
        (binary(0x21, 0x11, &FOUR[..11]), BadHeader::Form),
        (binary(0x11, 0x11, FOUR), BadHeader::Form),
        (binary(0x22, 0x11, FOUR), BadHeader::Form),
        (binary(0x20, 0x00, &[0; limits::PROXY_HEADER_BYTES]), BadHeader::Long),
    ];
    for (bytes, why) in cases {
        assert_eq!(announced(&bytes), Err(why), "{:?}", String::from_utf8_lossy(&bytes));
    }
}

use crate::limits;

proptest! {
    #[test]
    fn whatever_comes_is_read_alike_in_pieces(
        begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 1.1.1.1 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        fuzz::header(&[begin, &rest].concat());
    }
}
