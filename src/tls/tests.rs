use super::*;

/// A certificate of its own for each kind of key, and both as PEM.
fn made(kind: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = rcgen::KeyPair::generate_for(kind).expect("a key");
    let parameters = rcgen::CertificateParams::new(vec!["pay.example.com".into()]).expect("a name");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

fn p256() -> (String, String) {
    made(&rcgen::PKCS_ECDSA_P256_SHA256)
}

fn refused(certificate: &str, key: &str) -> KeyError {
    let chain = Chain::parse(certificate).expect("a chain");
    chain.with_key(key).expect_err("it is not its key")
}

#[test]
fn a_chain_goes_with_the_key_of_its_first_certificate() {
    for kind in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let ((certificate, key), (issuer, _)) = (made(kind), p256());
        let chain = Chain::parse(&format!("# ours\n{certificate}\n{issuer}")).expect("two certificates");
        chain.with_key(&key).expect("the first one's key");
        let chain = Chain::parse(&format!("{issuer}{certificate}")).expect("two certificates");
        assert_eq!(chain.with_key(&key).expect_err("the second one's key"), KeyError::Other);
    }
}

#[test]
fn what_is_no_certificate_says_why() {
    let (certificate, key) = p256();
    let parse = |text: &str| Chain::parse(text).expect_err(text);
    assert_eq!(parse(""), ChainError::Missing);
    assert_eq!(parse(&key), ChainError::Missing);
    assert_eq!(
        parse(&certificate.replace("-----END CERTIFICATE-----", "")),
        ChainError::Pem("a block has no end".into())
    );
    assert_eq!(
        parse(&certificate.replace("\nMII", "\n*II")),
        ChainError::Pem("a block is not base64".into())
    );
    assert_eq!(
        parse(&certificate.repeat(limits::CERTIFICATES + 1)),
        ChainError::Long(limits::CERTIFICATES + 1)
    );
    let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(parse(nothing), ChainError::Form(_)));
}

#[test]
fn what_is_not_its_key_says_why_and_quotes_nothing() {
    let (certificate, key) = p256();
    assert_eq!(refused(&certificate, ""), KeyError::Missing);
    assert_eq!(refused(&certificate, &certificate), KeyError::Missing);
    assert_eq!(refused(&certificate, &p256().1), KeyError::Other);
    let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(refused(&certificate, &locked), KeyError::Locked);
    let kindless = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(refused(&certificate, kindless), KeyError::Kind);
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    assert_eq!(refused(&certificate, &cut), KeyError::Pem("a block has no end".into()));
    let identity = Chain::parse(&certificate).expect("a chain").with_key(&key);
    assert_eq!(format!("{identity:?}"), "Ok(…)");
}

#[test]
fn a_certificate_tells_until_when_it_is_good() {
    // After 2049 the year has four digits.
    for ((year, month, day), until) in [((2026, 11, 28), 1_795_824_000), ((2061, 1, 2), 2_871_849_600)] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(vec!["a".into()]).expect("a name");
        parameters.not_before = rcgen::date_time_ymd(2001, 9, 9);
        parameters.not_after = rcgen::date_time_ymd(year, month, day);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let chain = Chain::parse(&certificate.pem()).expect("a chain");
        assert_eq!(
            chain.validity,
            Validity {
                from: 999_993_600,
                until
            }
        );
    }
}

#[test]
fn a_cut_certificate_tells_nothing() {
    let (certificate, _) = p256();
    let whole = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let validity = Validity::of(&whole).expect("it is whole");
    for end in 0..whole.len() {
        assert_eq!(Validity::of(&whole[..end]), None, "cut at {end}");
    }
    // Whatever one byte says, it is read without a panic.
    for at in 0..whole.len().min(200) {
        for byte in 0..=255 {
            let mut other = whole.to_vec();
            other[at] = byte;
            let _ = Validity::of(&other);
        }
    }
    assert!(validity.from < validity.until);
}
