//! What no notification may break. Built for the fuzzer, and for the tests, which try what it kept.

use ring::hmac;

use super::read::{Query, Subject, Told};
use crate::domain::hint::{Thing, Topic};
use crate::domain::id::{AccountId, Reference};
use crate::mercadopago::signature::{Signed, Unproven};
use crate::seal::{KEY_LEN, Seal};

const SECRET: &str = "secret";

/// Four parts, a line each: the query, `x-signature`, `x-request-id`, and all that follows is the body.
pub fn notification(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (query, header, request_id, body) = (next(), next(), next(), next());
    let Ok(query) = std::str::from_utf8(query) else { return };
    let Some(query) = Query::read(query) else { return };
    if let Ok(Subject::Thing(thing)) = Told::read(&query, body).and_then(|told| told.subject) {
        what_is_told_can_be_told_again(&thing);
    }
    let signed = Signed {
        signature: Some(header),
        request_id: Some(request_id),
        data_id: query.data_id.as_deref(),
    };
    nothing_is_proven_by_chance(signed);
    what_is_signed_is_proven(signed);
    if let Some(Ok(reference)) = query.reference.as_deref().map(Reference::parse) {
        our_own_url_is_known_again(&reference, query.mark.as_deref());
    }
}

fn what_is_told_can_be_told_again(thing: &Thing) {
    assert_eq!(Thing::parse(thing.topic(), &thing.id()).as_ref(), Some(thing));
    let name = match thing.topic() {
        Topic::MerchantOrder => "merchant_order",
        Topic::Payment => "payment",
        Topic::Intent => "topic_instore_integration_wh",
    };
    let id = thing.id();
    let body = format!("{{\"type\":\"{name}\",\"data\":{{\"id\":\"{id}\"}}}}");
    for (query, body) in [
        (format!("id={id}&topic={name}"), ""),
        (format!("x&type={name}&data.id={id}&id=0"), "{"),
        (String::new(), &*body),
    ] {
        let query = Query::read(&query).expect("plain text");
        let told = Told::read(&query, body.as_bytes()).expect("what is needed is there");
        assert_eq!(told.subject, Ok(Subject::Thing(thing.clone())));
    }
}

/// Nobody who does not know the secret can sign; and keys that mean nothing change nothing.
fn nothing_is_proven_by_chance(signed: Signed<'_>) {
    let why = signed.verify(&[SECRET]).expect_err("nobody signed it");
    assert_ne!(why, Unproven::NoHeader);
    for [before, after] in [["alg=none,", ""], ["", ",x=1"], [",,", ",\u{20}"]] {
        let header = [
            before.as_bytes(),
            signed.signature.unwrap_or_default(),
            after.as_bytes(),
        ]
        .concat();
        let again = Signed {
            signature: Some(&header),
            ..signed
        };
        assert_eq!(again.verify(&[SECRET]), Err(why));
    }
}

/// `protocol.md` 4.5, written once more.
fn what_is_signed_is_proven(signed: Signed<'_>) {
    let mut manifest = Vec::new();
    let parts = [
        (&b"id:"[..], signed.data_id.map(str::as_bytes)),
        (b"request-id:", signed.request_id),
        (b"ts:", Some(b"17")),
    ];
    for (key, value) in parts {
        if let Some(value) = value.filter(|value| !value.iter().all(u8::is_ascii_whitespace)) {
            manifest.extend([key, value, b";"].concat());
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let hash: String = hmac::sign(&key, &manifest)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let header = format!("ts=17,v1={hash}");
    let own = Signed {
        signature: Some(header.as_bytes()),
        ..signed
    };
    assert_eq!(own.verify(&["other", SECRET]), Ok(()));
    assert_eq!(own.verify(&["other"]), Err(Unproven::Mismatch));
}

fn our_own_url_is_known_again(reference: &Reference, mark: Option<&str>) {
    let seal = Seal::new(&[7; KEY_LEN]);
    let account = AccountId::parse("main").expect("a name");
    let own = seal.query(&account, reference);
    let read = Query::read(&own).expect("plain text");
    let (text, own) = (read.reference.expect("it is there"), read.mark.expect("it is there"));
    assert_eq!(seal.verify(&account, &text, &own).as_ref(), Some(reference));
    if let Some(mark) = mark.filter(|mark| *mark != own) {
        assert_eq!(seal.verify(&account, &text, mark), None);
    }
}
