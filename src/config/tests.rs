use super::*;

mod credentials;

mod tls;

/// What a file must have at least.
const ACCOUNT: &str = "[[account]]\nid = \"main\"\ncollector_id = 7\nsite = \"MLA\"\n";

type Loaded = Result<(Config, Vec<Warning>), Vec<Fault>>;

fn load_with(text: &str, env: &[(&str, &str)], flags: Overrides) -> Loaded {
    let env = env
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    read(text, Place::File("c.toml".into()), &Home::system(), &env, flags)
}

fn load(text: &str) -> Loaded {
    load_with(text, &[], Overrides::default())
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}

fn faults(loaded: Loaded) -> Vec<String> {
    lines(&loaded.expect_err("must be refused"))
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let (config, warnings) = load(ACCOUNT).expect("whole");
    assert_eq!(warnings, []);
    assert_eq!(config.poll.listen, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(
        (config.poll.path.as_str(), config.poll.connections),
        ("/pay-mp", limits::POLL_CONNECTIONS)
    );
    assert_eq!(config.poll.keys, ["locationId", "positionId"]);
    assert!(config.poll.threads >= 1 && config.poll.secrets.is_empty());
    assert_eq!(config.control.socket, Path::new("/run/surtidor/control.sock"));
    assert_eq!((config.control.socket_mode, config.control.socket_group), (0o660, None));
    assert!(config.control.tcp.is_none());
    assert_eq!(config.admin.listen, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(
        (config.data.dir.as_path(), config.data.keep_days),
        (Path::new("/var/lib/surtidor"), 400)
    );
    assert_eq!(
        (config.notifications.path.as_str(), config.notifications.public_url),
        ("/notifications", None)
    );
    assert_eq!(config.mercadopago.base_url.as_str(), "https://api.mercadopago.com");
    let account = &config.accounts[0];
    assert_eq!(
        (
            account.id.as_str(),
            account.collector_id,
            account.sponsor_id,
            account.site
        ),
        ("main", 7, None, Site::Mla)
    );
    assert!(account.access_token.is_none() && account.oauth.is_none() && account.webhook_secrets.is_empty());
    assert_eq!(
        (account.late_payment, account.delivery_failed),
        (LatePayment::Report, DeliveryFailed::Refund)
    );
    assert_eq!(
        (account.delivery_seconds, account.poll_dialect),
        (120, Dialect::Documented)
    );
}

#[test]
fn a_later_source_wins() {
    let text = format!("poll.listen = \"127.0.0.1:1\"\nadmin.listen = \"127.0.0.1:2\"\n{ACCOUNT}");
    let env = [
        ("SURTIDOR_POLL__LISTEN", "127.0.0.1:3, [::1]:3"),
        ("SURTIDOR_ADMIN__LISTEN", "127.0.0.1:4"),
        ("SURTIDOR_POLL__KEYS", "apies,pos"),
        ("SURTIDOR_LOG", "debug"),
        ("SURTIDOR_CONFIG", "/elsewhere"),
        ("PATH", "/bin"),
        ("SURTIDOR_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
    ];
    let flags = Overrides {
        admin_listen: Some("127.0.0.1:5".into()),
        data_dir: Some("here".into()),
        ..Overrides::default()
    };
    let (config, _) = load_with(&text, &env, flags).expect("whole");
    assert_eq!(
        config.poll.listen,
        ["127.0.0.1:3".parse().unwrap(), "[::1]:3".parse().unwrap()]
    );
    assert_eq!(config.poll.keys, ["apies", "pos"]);
    assert_eq!(config.admin.listen.port(), 5);
    assert_eq!(
        config.data.dir,
        std::env::current_dir().unwrap().join("here"),
        "a flag's path begins where its user stands"
    );
}

#[test]
fn an_account_is_found_in_the_environment_whatever_its_case() {
    let text = "[[account]]\nid = \"Norte-1\"\ncollector_id = 7\nsite = \"MLA\"\n";
    for variable in ["SURTIDOR_ACCOUNT__NORTE_1__SITE", "SURTIDOR_ACCOUNT__norte_1__SITE"] {
        let (config, _) = load_with(text, &[(variable, "MLC")], Overrides::default()).expect(variable);
        assert_eq!(config.accounts[0].site, Site::Mlc);
    }
}

#[test]
fn secrets_come_from_files_or_the_environment_and_never_show() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhook");
    std::fs::write(&file, "hook-new\nhook-old\n").unwrap();
    let text = format!(
        "[control]\ntcp = \"127.0.0.1:8081\"\n{ACCOUNT}webhook_secret_file = \"{}\"\n",
        file.display()
    );
    let env = [
        ("SURTIDOR_CONTROL__TOKEN", "control-token-of-this-test"),
        ("SURTIDOR_POLL__SECRET", "poll-secret-of-this-test"),
        ("SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN", " APP_USR-1\n"),
    ];
    let (config, _) = load_with(&text, &env, Overrides::default()).expect("whole");
    let account = &config.accounts[0];
    assert_eq!(account.access_token.as_ref().map(Secret::expose), Some("APP_USR-1"));
    assert_eq!(
        account.webhook_secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
        ["hook-new", "hook-old"]
    );
    assert_eq!(config.poll.secrets[0].expose(), "poll-secret-of-this-test");
    assert_eq!(
        config.control.token.as_ref().map(Secret::expose),
        Some("control-token-of-this-test")
    );
    let shown = format!("{config:?}");
    for secret in ["APP_USR", "hook-", "of-this-test"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_files_order() {
    let text = "[poll]\nlisen = \"x\"\nthreads = 0\n\n[admin]\nlisten = \"0.0.0.0:1\"\n\n[[account]]\nid = \"a b\"\n";
    let env = [("SURTIDOR_DATA__KEEP_DAYS", "soon")];
    let flags = Overrides {
        poll_listen: vec!["localhost".into()],
        ..Overrides::default()
    };
    assert_eq!(
        faults(load_with(text, &env, flags)),
        [
            "c.toml:2:1: poll.lisen: unknown key `lisen`; did you mean `listen`?",
            "c.toml:3:1: poll.threads: 0 is not a whole number from 1 to 256",
            "c.toml:6:1: admin.listen: 0.0.0.0:1 can be reached from outside, but this face is for this machine alone: \
             use 127.0.0.1 or [::1]",
            "c.toml:8:1: account.collector_id: is missing: write the number of the Mercado Pago account that receives the money",
            "c.toml:8:1: account.site: is missing: write site = \"MLA\" (one of MLA, MLB, MLC, MCO, MLM, MPE, MLU)",
            "c.toml:9:1: account.id: \"a b\" is not a name: it must be 1 to 32 letters, digits, '-' or '_'",
            "SURTIDOR_DATA__KEEP_DAYS: data.keep_days: soon is not a whole number from 1 to 36500",
            "--poll-listen: poll.listen: \"localhost\" is not an address with a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"",
        ]
    );
}

/// Each line stands before a whole account.
#[test]
fn each_fault_says_what_would_be_right() {
    let long = "x".repeat(120);
    for (line, fault) in [
        ("[poll", "1:6: not TOML: unclosed table, expected `]`"),
        ("poll.path = \"/a\"\npoll.path = \"/b\"", "2:6: not TOML: duplicate key"),
        ("[pol]", "1:2: pol: unknown section `pol`; did you mean `poll`?"),
        (
            "colour = 1",
            "1:1: colour: unknown section `colour`; known are poll, control, admin, data, notifications, mercadopago, account",
        ),
        ("poll = 3", "1:1: poll: is a section: write [poll] and its keys below"),
        (
            "[data]\ncolour = 1",
            "2:1: data.colour: unknown key `colour`; known here are dir, keep_days",
        ),
        ("poll.path = 7", "1:6: poll.path: must be text in quotes, not integer"),
        (
            "poll.threads = \"2\"",
            "1:6: poll.threads: must be a whole number without quotes, not string",
        ),
        (
            "poll.threads = 2.5",
            "1:6: poll.threads: must be a whole number without quotes, not float",
        ),
        (
            "poll.threads = -1",
            "1:6: poll.threads: -1 is not a whole number from 1 to 256",
        ),
        (
            "poll.threads = 0x101",
            "1:6: poll.threads: 257 is not a whole number from 1 to 256",
        ),
        (
            "poll.keys = [1]",
            "1:6: poll.keys: must be a list of texts such as [\"a\", \"b\"], not array",
        ),
        (
            "poll.secret = \"hush\"",
            "1:6: poll.secret: a secret must not stand here: put it into a file and name that file in `secret_file`",
        ),
        (
            "poll.listen = []",
            "1:6: poll.listen: the list is empty; write an address such as \"0.0.0.0:8080\"",
        ),
        (
            "poll.listen = [\"[::]:1\", \"[::]:1\"]",
            "1:6: poll.listen: [::]:1 stands there twice",
        ),
        (
            "poll.keys = []",
            "1:6: poll.keys: names 0 query parameters, must be 1 to 4",
        ),
        ("poll.keys = [\"a\", \"a\"]", "1:6: poll.keys: \"a\" stands there twice"),
        (
            "poll.keys = \"k\"",
            "1:6: poll.keys: \"k\" carries the URL's secret; another name is needed",
        ),
        (
            "poll.keys = \"a=b\"",
            "1:6: poll.keys: \"a=b\" must be 1 to 60 letters, digits, '-', '_', '.' or '~'",
        ),
        (
            "poll.path = \"/a?b\"",
            "1:6: poll.path: \"/a?b\" is not a path: it must begin with '/', have no '?', '#', space or letter beyond ASCII, \
             and at most 500 characters",
        ),
        (
            "poll.path = \"/notifications/x\"",
            "1:6: poll.path: polls at /notifications/x would be taken for notifications at /notifications: one of the two \
             must change",
        ),
        (
            "notifications.path = \"/pay-mp\"",
            "1:15: notifications.path: polls at /pay-mp would be taken for notifications at /pay-mp: one of the two must \
             change",
        ),
        (
            "notifications.path = \"/n/\"",
            "1:15: notifications.path: \"/n/\" must not end in '/': a '/' and the account are put behind it",
        ),
        (
            "notifications.public_url = \"pay.example.com\"",
            "1:15: notifications.public_url: \"pay.example.com\" is not an address such as \
             \"https://pay.example.com/path\" without '?', '#' and '@'",
        ),
        (
            "mercadopago.base_url = \"https://me:pw@host\"",
            "1:13: mercadopago.base_url: it is not an address such as \"https://pay.example.com/path\" without '?', '#' and \
             '@'",
        ),
        (
            "data.dir = \"data\"",
            "1:6: data.dir: \"data\" is not a whole path: it must begin with '/'",
        ),
        (
            &format!("control.socket = \"/{long}\""),
            "1:9: control.socket: has 121 bytes, but a socket's path has at most 103",
        ),
        (
            "control.socket_mode = \"660x\"",
            "1:9: control.socket_mode: \"660x\" is not a mode in octal digits such as \"0660\"",
        ),
        (
            "control.socket_mode = \"2660\"",
            "1:9: control.socket_mode: \"2660\" is not a mode in octal digits such as \"0660\"",
        ),
        (
            "control.socket_mode = 0o660",
            "1:9: control.socket_mode: must be text in quotes, not integer",
        ),
        (
            "control.socket_group = \"no such\"",
            "1:9: control.socket_group: /etc/group has no group \"no such\"; its number may be given instead",
        ),
        (
            "admin.listen = \"127.0.0.1:8080\"",
            "1:7: admin.listen: 127.0.0.1:8080 is taken by poll.listen; another port is needed",
        ),
        (
            "poll.listen = \"[::1]:9464\"\nadmin.listen = \"[::1]:9464\"",
            "2:7: admin.listen: [::1]:9464 is taken by poll.listen; another port is needed",
        ),
        (
            "poll.listen = \"0.0.0.0:9464\"",
            "1:6: admin.listen: 127.0.0.1:9464 is taken by poll.listen; another port is needed",
        ),
        (
            "poll.secret_file = \"/nowhere/s\"",
            "1:6: poll.secret_file: /nowhere/s: it cannot be read: No such file or directory (os error 2)",
        ),
        (
            "poll.secret_file = \"/dev/zero\"",
            "1:6: poll.secret_file: /dev/zero: it is not a regular file",
        ),
        (
            "[account]\nid = \"x\"",
            "1:2: account: accounts are a list: write [[account]], with two brackets, before each",
        ),
    ] {
        // A second definition of `account` would hide the fault that is meant.
        let account = if line.starts_with("[account]") { "" } else { ACCOUNT };
        let mut said = faults(load(&format!("{line}\n{account}")));
        said.retain(|fault| !fault.contains("there is none"));
        assert_eq!(said, [format!("c.toml:{fault}")], "{line}");
    }
}

#[test]
fn each_fault_of_an_account_says_what_would_be_right() {
    for (line, fault) in [
        (
            "sponsor_id = 0",
            "sponsor_id: 0 is not a whole number from 1 to 18446744073709551615",
        ),
        (
            "late_payment = \"keep\"",
            "late_payment: \"keep\" is none of \"report\", \"refund\", \"accept\"",
        ),
        (
            "delivery_failed = \"\"",
            "delivery_failed: \"\" is none of \"refund\", \"report\"",
        ),
        (
            "poll_dialect = \"2\"",
            "poll_dialect: \"2\" is none of \"documented\", \"order-version-2\"",
        ),
        (
            "delivery_seconds = 86401",
            "delivery_seconds: 86401 is not a whole number from 0 to 86400",
        ),
        (
            "acces_token_file = \"/t\"",
            "acces_token_file: unknown key `acces_token_file`; did you mean `access_token_file`?",
        ),
        (
            "access_token = \"APP\"",
            "access_token: a secret must not stand here: put it into a file and name that file in `access_token_file`",
        ),
    ] {
        assert_eq!(
            faults(load(&format!("{ACCOUNT}{line}\n"))),
            [format!("c.toml:5:1: account.{fault}")],
            "{line}"
        );
    }
    let site = ACCOUNT.replace("MLA", "mla");
    assert_eq!(
        faults(load(&site)),
        ["c.toml:4:1: account.site: \"mla\" is not a site; the sites are MLA, MLB, MLC, MCO, MLM, MPE, MLU"]
    );
    assert_eq!(
        faults(load("[data]")),
        ["c.toml: account: there is none: write at least one [[account]] with id, collector_id and site"]
    );
    let twice = format!("{ACCOUNT}{}", ACCOUNT.replace("main", "MAIN"));
    assert_eq!(
        faults(load(&twice)),
        [
            "c.toml:6:1: account.id: \"MAIN\" is taken by the account at c.toml:2:1; names must differ by more than case, '-' \
          and '_'"
        ]
    );
}

#[test]
fn a_consent_is_of_one_account() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refresh");
    std::fs::write(&file, "TG-refresh\n").unwrap();
    let refresh = format!("oauth_refresh_token_file = \"{}\"\n", file.display());
    let other = "[[account]]\nid = \"other\"\ncollector_id = 2\nsite = \"MLA\"\n";
    let secrets = ["MAIN", "OTHER"].map(|name| (format!("SURTIDOR_ACCOUNT__{name}__OAUTH_CLIENT_SECRET"), "client"));
    let secrets = secrets.each_ref().map(|(name, secret)| (name.as_str(), *secret));
    let text = format!("{ACCOUNT}{refresh}{other}{refresh}");
    assert_eq!(
        faults(load_with(&text, &secrets, Overrides::default())),
        [
            "c.toml:10:1: account.oauth_refresh_token_file: it is the one of account \"main\" too: a consent is of one seller, \
             and each refresh of the one would end the other's token"
        ]
    );
}

#[test]
fn a_link_takes_the_place_of_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("refresh");
    std::fs::write(&file, "TG-refresh\n").unwrap();
    let refresh = format!("oauth_refresh_token_file = \"{}\"\n", file.display());
    let secret = [("SURTIDOR_ACCOUNT__MAIN__OAUTH_CLIENT_SECRET", "client-secret")];
    let text = format!("{ACCOUNT}oauth_client_id = 77\n{refresh}");
    let (config, warnings) = load_with(&text, &secret, Overrides::default()).expect("whole");
    assert!(
        warnings
            .iter()
            .all(|warning| warning.what.contains("can read or change")),
        "{warnings:?}"
    );
    let link = config.accounts[0].oauth.as_ref().expect("a link");
    assert_eq!(link.client_id, Some(77));
    assert_eq!(
        (link.client_secret.expose(), link.refresh_token.expose()),
        ("client-secret", "TG-refresh")
    );
    assert!(!format!("{config:?}").contains("TG-refresh"));
    let token = [secret[0], ("SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN", "APP_USR-1")];
    assert_eq!(
        faults(load_with(&format!("{ACCOUNT}{refresh}"), &token, Overrides::default())),
        [
            "c.toml:5:1: account.oauth_refresh_token_file: account.access_token is given too: an account has a token of its \
          own or a link, not both"
        ]
    );
    for (line, env, fault) in [
        (
            refresh.as_str(),
            &[][..],
            "c.toml:5:1: account.oauth_refresh_token_file: needs the application's secret: name its file in \
             oauth_client_secret_file",
        ),
        (
            "",
            &secret[..],
            "SURTIDOR_ACCOUNT__MAIN__OAUTH_CLIENT_SECRET: account.oauth_client_secret: needs the refresh token of the \
             merchant's consent: name its file in oauth_refresh_token_file",
        ),
        (
            "poll_dialect = \"order-version-2\"\noauth_client_id = 77\n",
            &[],
            "c.toml:6:1: account.oauth_client_id: needs oauth_owner_id, the number of the integrator's own account: polls of \
             this dialect are told it",
        ),
        (
            "oauth_client_id = 0\n",
            &[],
            "c.toml:5:1: account.oauth_client_id: 0 is not a whole number from 1 to 18446744073709551615",
        ),
    ] {
        let said = faults(load_with(&format!("{ACCOUNT}{line}"), env, Overrides::default()));
        assert!(said.iter().any(|said| said == fault), "{said:#?}");
    }
}

#[test]
fn an_unknown_variable_is_a_fault() {
    let rule = "keys are SURTIDOR_SECTION__KEY or, for the accounts main, SURTIDOR_ACCOUNT__ID__KEY";
    for (variable, hint) in [
        ("SURTIDOR_POLL_LISTEN", "did you mean `SURTIDOR_POLL__LISTEN`?"),
        (
            "SURTIDOR_ACCOUNT__MIAN__SITE",
            "did you mean `SURTIDOR_ACCOUNT__MAIN__SITE`?",
        ),
        ("SURTIDOR_ACCOUNT__ELSEWHERE__SITE", rule),
        ("SURTIDOR_", rule),
    ] {
        let said = faults(load_with(ACCOUNT, &[(variable, "MLA")], Overrides::default()));
        assert_eq!(said, [format!("{variable}: no key has this name; {hint}")]);
    }
}

#[test]
fn no_message_quotes_a_secret() {
    let env = [
        ("SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN", "hush hush"),
        ("SURTIDOR_POLL__SECRET", ""),
        ("SURTIDOR_CONTROL__TOKEN", "hush-1\nhush-2"),
    ];
    assert_eq!(
        faults(load_with(ACCOUNT, &env, Overrides::default())),
        [
            "SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN: account.access_token: the secret has a space or a character that no HTTP \
             header can carry",
            "SURTIDOR_CONTROL__TOKEN: control.token: holds 2 lines, but there is one such secret",
            "SURTIDOR_POLL__SECRET: poll.secret: the secret is empty",
        ]
    );
    for misplaced in [
        "[[account]]\naccess_token = APP_USR-hush\n",
        "[[account]]\naccess_token = \"APP_USR-hush\"\n",
        "[[account]]\naccess_token_file = \"APP_USR-hush\"\n",
        "poll.secret_file = \"hush\"\n",
        "poll.tls.key_file = \"-----BEGIN PRIVATE KEY-----\\nhush\"\n",
        "mercadopago.base_url = \"https://me:hush@host\"\n",
        "mercadopago.base_url = \"me:hush@host/\"\n",
    ] {
        let said = faults(load(misplaced)).concat();
        assert!(!said.contains("hush"), "{misplaced} {said}");
    }
}

#[test]
fn what_is_allowed_but_unwise_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "short\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.display();
    let text = format!(
        "[control]\nsocket_mode = \"0666\"\ntoken_file = \"{file}\"\n[notifications]\npublic_url = \"http://pay.example.com/\"\n\
         [mercadopago]\nbase_url = \"http://[::1]:9000\"\n{ACCOUNT}"
    );
    let (config, warnings) = load(&text).expect("whole");
    assert_eq!(
        config.notifications.public_url.unwrap().as_str(),
        "http://pay.example.com"
    );
    assert_eq!(
        lines(&warnings),
        [
            "c.toml:2:1: control.socket_mode: every user of this machine may put and cancel orders; \"0660\" is usual"
                .into(),
            format!(
                "c.toml:3:1: control.token_file: every user of this machine can read or change {file}: chmod o-rw {file}"
            ),
            "c.toml:3:1: control.token_file: is of no use without control.tcp or control.tls".into(),
            "c.toml:3:1: control.token_file: is short enough to be guessed; `openssl rand -hex 32` makes a good one"
                .into(),
            "c.toml:5:1: notifications.public_url: notifications come unencrypted: use https://".into(),
        ]
    );
}

#[test]
fn a_group_is_a_name_or_a_number() {
    for (group, number) in [("\"root\"", 0), ("\"1234\"", 1234)] {
        let (config, _) = load(&format!("control.socket_group = {group}\n{ACCOUNT}")).expect(group);
        assert_eq!(config.control.socket_group, Some(number));
    }
}

#[test]
fn without_a_file_all_is_loopback_and_in_the_users_own_folders() {
    let built_in = |root, env: &[(&str, &str)]| {
        let env: BTreeMap<String, String> = env
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        read(
            include_str!("default.toml"),
            Place::BuiltIn,
            &Home::of(root, &env),
            &env,
            Overrides::default(),
        )
    };
    for (root, env, dir, socket) in [
        (
            true,
            &[("HOME", "/root")][..],
            "/var/lib/surtidor",
            "/run/surtidor/control.sock",
        ),
        (
            false,
            &[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/7")],
            "/home/a/.local/state/surtidor",
            "/run/user/7/surtidor/control.sock",
        ),
        (
            false,
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")],
            "/s/surtidor",
            "/s/surtidor/control.sock",
        ),
        (false, &[("SURTIDOR_DATA__DIR", "/d")], "/d", "/d/control.sock"),
    ] {
        let (config, warnings) = built_in(root, env).expect("whole");
        assert_eq!(
            (config.data.dir.as_path(), config.control.socket.as_path()),
            (Path::new(dir), Path::new(socket))
        );
        assert!(config.poll.listen.iter().all(|address| address.ip().is_loopback()));
        assert!(config.accounts[0].id.as_str() == "test" && config.accounts[0].access_token.is_none());
        assert_eq!(warnings, []);
    }
    assert_eq!(
        faults(built_in(false, &[])),
        [
            "built-in configuration: data.dir: no place is known: neither XDG_STATE_HOME nor HOME is set; give --data-dir or \
          SURTIDOR_DATA__DIR"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let loaded = Config::load(Source::File("/nowhere.toml".into()), [], Overrides::default());
    assert_eq!(
        faults(loaded),
        ["/nowhere.toml: it cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn reloading_takes_what_can_change_and_names_what_cannot() {
    let base = load(ACCOUNT).expect("whole").0;
    let (may, _) = load(&format!("poll.connections = 5\n{ACCOUNT}late_payment = \"refund\"\n")).expect("whole");
    assert_eq!(reloadable(&base, &may), Ok(()));
    let env = [("SURTIDOR_POLL__SECRET", "a-new-secret-for-this-test")];
    let text = format!("poll.path = \"/x\"\nadmin.listen = \"127.0.0.1:1\"\ndata.dir = \"/d\"\n{ACCOUNT}");
    let (may_not, _) = load_with(&text, &env, Overrides::default()).expect("whole");
    let names = ["poll.path", "poll.secret_file", "admin.listen", "data.dir"];
    assert_eq!(reloadable(&base, &may_not), Err(names.map(String::from).to_vec()));
    let (moved, _) = load(&ACCOUNT.replace("MLA", "MLB")).expect("whole");
    assert_eq!(reloadable(&base, &moved), Err(vec!["account.site of main".to_owned()]));
}

const SAMPLE: &str = include_str!("../../deploy/surtidor.toml");

#[test]
fn the_documented_file_loads() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "APP_USR-1").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/surtidor.toml");
    let env = [(
        "SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN_FILE".to_owned(),
        token.display().to_string(),
    )];
    Config::load(Source::File(path), env, Overrides::default()).expect("whole");
}

#[test]
fn the_documented_file_shows_every_key_and_each_example_is_right() {
    let is_key = |line: &str| {
        line.split_once(" = ")
            .is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let is_section = |line: &str| line.starts_with('[') && line.ends_with(']');
    let uncommented = |line: &str| {
        line.strip_prefix("# ")
            .filter(|rest| is_key(rest) || is_section(rest))
            .unwrap_or(line)
            .to_owned()
            + "\n"
    };
    let text: String = SAMPLE.lines().map(uncommented).collect();
    assert_eq!(raw::keys_not_in(&text), Vec::<String>::new());
    let said = faults(load(&text));
    // The example of a link stands in the place of the token.
    let secrets_only = |fault: &String| {
        fault.contains("_file: /etc/surtidor/")
            || fault.contains("/etc/group has no group")
            || fault.ends_with("not both")
    };
    assert!(said.iter().all(secrets_only), "{said:#?}");
}

#[test]
fn proxies_are_networks_and_their_header_needs_them() {
    let text = "[poll]\nproxies = [\"127.0.0.1\", \"2001:db8::/48\"]\nproxy_protocol = true\n";
    let (config, warnings) = load(&format!("{text}{ACCOUNT}")).expect("whole");
    assert_eq!((config.poll.proxies.0.len(), config.poll.proxy_protocol), (2, true));
    assert_eq!(warnings, []);
    let everybody = "[poll]\nproxies = \"0.0.0.0/0\"\n";
    let (_, warnings) = load(&format!("{everybody}{ACCOUNT}")).expect("whole");
    assert!(
        warnings[0].what.starts_with("whoever connects is believed"),
        "{warnings:?}"
    );
    for (text, said) in [
        (
            "proxy_protocol = true",
            "poll.proxy_protocol: needs poll.proxies: the networks of those who send its header",
        ),
        (
            "proxy_protocol = \"yes\"",
            "poll.proxy_protocol: must be true or false without quotes, not string",
        ),
        (
            "proxies = \"10.1.2.3/8\"",
            "poll.proxies: \"10.1.2.3/8\" has an address within the network; the network itself is \"10.0.0.0/8\"",
        ),
        (
            "proxies = [\"nginx\"]",
            "poll.proxies: \"nginx\" is not a network such as \"127.0.0.1/32\" or \"2001:db8::/48\"",
        ),
    ] {
        let found = faults(load(&format!("[poll]\n{text}\n{ACCOUNT}")));
        assert_eq!(found, [format!("c.toml:2:1: {said}")]);
    }
}
