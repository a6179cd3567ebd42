//! Files of secrets that systemd made of credentials.

use super::*;

#[test]
fn a_credential_names_a_file_of_secrets_where_systemd_put_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "APP_USR-1\n").unwrap();
    let place = [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())];
    let text = format!("{ACCOUNT}access_token_file = \"credential:token\"\n");
    let (config, _) = load_with(&text, &place, Overrides::default()).expect("whole");
    assert_eq!(config.accounts[0].access_token.as_ref().unwrap().expose(), "APP_USR-1");
    let in_environment = [
        place[0],
        ("SURTIDOR_ACCOUNT__MAIN__ACCESS_TOKEN_FILE", "credential:token"),
    ];
    load_with(ACCOUNT, &in_environment, Overrides::default()).expect("the same");

    let missing = text.replace("token\"", "other\"");
    let missing = faults(load_with(&missing, &place, Overrides::default()));
    assert!(
        missing.len() == 1 && missing[0].contains("/other: it cannot be read"),
        "{missing:?}"
    );
    let outside = faults(load(&text));
    assert!(
        outside.len() == 1 && outside[0].contains("CREDENTIALS_DIRECTORY is not set"),
        "{outside:?}"
    );
    for name in ["", "../token", "a/b"] {
        let wrong = text.replace("credential:token", &format!("credential:{name}"));
        let wrong = faults(load_with(&wrong, &place, Overrides::default()));
        assert!(
            wrong.len() == 1 && wrong[0].contains("is not the name of a credential"),
            "{wrong:?}"
        );
    }
}
