//! Certificates and keys are read with the configuration, so what is wrong with them is a fault like any other.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.renew();
        files
    }

    fn renew(&self) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["pay.example.com".into()]).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        self.write("certificate", &certificate.pem());
        self.write("key", &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Their two keys.
    fn keys(&self) -> String {
        let (certificate, key) = (self.path("certificate"), self.path("key"));
        format!("certificate_file = {certificate:?}\nkey_file = {key:?}\n")
    }
}

#[test]
fn tls_has_addresses_of_its_own_and_leaves_none_without_it_unless_asked() {
    let files = Files::new();
    let keys = files.keys();
    let secured = format!("[poll.tls]\nlisten = [\"0.0.0.0:443\", \"[::]:443\"]\n{keys}");
    let (config, warnings) = load(&format!("{secured}{ACCOUNT}")).expect("whole");
    assert_eq!(warnings, []);
    assert_eq!(config.poll.listen, []);
    assert_eq!(config.poll.tls.expect("it was asked for").listen.len(), 2);
    let (config, _) = load(&format!("[poll]\nlisten = \"127.0.0.1:80\"\n{secured}{ACCOUNT}")).expect("whole");
    assert_eq!(config.poll.listen.len(), 1);

    let control = format!("[control.tls]\nlisten = \"0.0.0.0:8444\"\n{keys}{ACCOUNT}");
    let (config, warnings) = load(&control).expect("whole");
    assert_eq!(warnings, []);
    assert!(config.control.tcp.is_none());
    let tls = config.control.tls.expect("it was asked for");
    assert_eq!(tls.listen, "0.0.0.0:8444".parse().unwrap());
    assert!(
        config.control.token.is_none(),
        "there are those that `surtidor token` makes"
    );

    // All of it by variables.
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let env = [
        ("SURTIDOR_POLL__TLS__LISTEN", "0.0.0.0:443"),
        ("SURTIDOR_POLL__TLS__CERTIFICATE_FILE", certificate.to_str().unwrap()),
        ("SURTIDOR_POLL__TLS__KEY_FILE", key.to_str().unwrap()),
    ];
    let (config, _) = load_with(ACCOUNT, &env, Overrides::default()).expect("whole");
    assert!(config.poll.tls.is_some());
}

#[test]
fn what_is_wrong_with_tls_names_its_key_and_file() {
    let files = Files::new();
    let (certificate, key) = (files.path("certificate"), files.path("key"));
    let (certificate, key) = (certificate.display(), key.display());
    let keys = files.keys();
    for (text, said) in [
        (
            "[poll]\ntls = true\n".to_owned(),
            vec!["2:1: poll.tls: is a section: write [poll.tls] and its keys below".to_owned()],
        ),
        (
            "[poll.tls]\nlisten = \"0.0.0.0:443\"\n".to_owned(),
            vec![
                "poll.tls.certificate_file: is missing: write certificate_file = \"/etc/surtidor/tls/fullchain.pem\""
                    .into(),
                "poll.tls.key_file: is missing: write key_file = \"/etc/surtidor/tls/privkey.pem\"".into(),
            ],
        ),
        (
            format!("[poll.tls]\n{keys}"),
            vec!["poll.tls.listen: is missing: write listen = \"0.0.0.0:443\"".into()],
        ),
        (
            format!("[poll.tls]\nlisten = \"0.0.0.0:443\"\ncertificate_file = \"/nowhere\"\nkey_file = \"{key}\"\n"),
            vec![
                "3:1: poll.tls.certificate_file: /nowhere: it cannot be read: No such file or directory (os error 2)"
                    .into(),
            ],
        ),
        (
            format!(
                "[poll.tls]\nlisten = \"0.0.0.0:443\"\ncertificate_file = \"{key}\"\nkey_file = \"{certificate}\"\n"
            ),
            vec![format!(
                "3:1: poll.tls.certificate_file: {key}: holds no certificate: one begins with -----BEGIN CERTIFICATE-----"
            )],
        ),
        (
            format!(
                "[poll.tls]\nlisten = \"0.0.0.0:443\"\ncertificate_file = \"{certificate}\"\nkey_file = \"{certificate}\"\n"
            ),
            vec![format!(
                "4:1: poll.tls.key_file: {certificate}: holds no private key: one begins with -----BEGIN PRIVATE KEY-----"
            )],
        ),
        (
            format!("[poll]\nlisten = \"0.0.0.0:443\"\n[poll.tls]\nlisten = \"127.0.0.1:443\"\n{keys}"),
            vec!["4:1: poll.tls.listen: 127.0.0.1:443 is taken by poll.listen; another port is needed".into()],
        ),
        (
            format!("[poll.tls]\nlisten = \"0.0.0.0:443\"\nkeys_file = \"/x\"\n{keys}"),
            vec!["3:1: poll.tls.keys_file: unknown key `keys_file`; did you mean `key_file`?".into()],
        ),
    ] {
        let expected: Vec<_> = said
            .into_iter()
            .map(|said| match said.starts_with(|first: char| first.is_ascii_digit()) {
                true => format!("c.toml:{said}"),
                false => format!("c.toml: {said}"),
            })
            .collect();
        assert_eq!(faults(load(&format!("{text}{ACCOUNT}"))), expected, "{text}");
    }
}

#[test]
fn a_certificate_may_change_while_running_and_an_address_may_not() {
    let files = Files::new();
    let text = |listen: &str| format!("[poll.tls]\nlisten = \"{listen}\"\n{}{ACCOUNT}", files.keys());
    let (old, _) = load(&text("0.0.0.0:443")).expect("whole");
    files.renew();
    let (renewed, _) = load(&text("0.0.0.0:443")).expect("whole");
    assert_eq!(reloadable(&old, &renewed), Ok(()));
    let (moved, _) = load(&text("0.0.0.0:444")).expect("whole");
    assert_eq!(reloadable(&old, &moved), Err(vec!["poll.tls.listen".to_owned()]));
    let (plain, _) = load(&format!("poll.listen = []\n{ACCOUNT}").replace("[]", "\"0.0.0.0:80\"")).expect("whole");
    let names = ["poll.listen", "poll.tls.listen"];
    assert_eq!(reloadable(&old, &plain), Err(names.map(String::from).to_vec()));
}
