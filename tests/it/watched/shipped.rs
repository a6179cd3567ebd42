//! The rules, the dashboard, the runbook and the operator's page as they are shipped: what they name is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::process::folder_in_memory;
use crate::support::station::{Setup, Station};
use crate::support::tls::{Authority, write_key};

pub(super) fn shipped(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The names that queries use: of metrics, `up`, and of recording rules, which have colons.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words
        .filter(|word| word.starts_with("surtidor_") || word.starts_with("surtidor:") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// The queries of the dashboard, those of its variables among them.
pub(super) fn dashboard() -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        Value::String(text) if name == "expr" || name == "definition" => found.push(text.clone()),
                        value => collect(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let dashboard: Value = serde_json::from_str(&shipped("deploy/grafana.json")).expect("JSON");
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() > 20, "they were found: {queries:?}");
    queries
}

/// After `- alert:` and `- record:`.
fn rules(kind: &str) -> Vec<String> {
    let text = shipped("deploy/rules.yml");
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let named: Vec<_> = named
        .filter_map(|line| Some(line.strip_prefix(kind)?.trim_start_matches(':').trim().to_owned()))
        .collect();
    assert!(!named.is_empty(), "{kind} was found");
    named
}

/// A setup in which there is all that is counted only where it is configured.
fn with_everything(folder: &Path) -> Setup {
    let (certificate, key) = Authority::new().certificate(2090);
    let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate_file, certificate).expect("the folder is ours");
    write_key(&key_file, &key);
    let linked = "id = \"linked\"\ncollector_id = 2\nsite = \"MLA\"\noauth_client_id = 1";
    Setup::default()
        .account(linked)
        .env("SURTIDOR_ACCOUNT__LINKED__OAUTH_CLIENT_SECRET", "a-secret-of-sixteen")
        .env("SURTIDOR_ACCOUNT__LINKED__OAUTH_REFRESH_TOKEN", "TG-another-16-long")
        .env("SURTIDOR_POLL__TLS__LISTEN", "127.0.0.1:0")
        .env(
            "SURTIDOR_POLL__TLS__CERTIFICATE_FILE",
            &certificate_file.to_string_lossy(),
        )
        .env("SURTIDOR_POLL__TLS__KEY_FILE", &key_file.to_string_lossy())
}

#[tokio::test]
async fn every_metric_of_the_rules_the_dashboard_and_the_page_is_there_from_the_start() {
    let folder = folder_in_memory();
    let station = Station::with(with_everything(folder.path())).await;
    let live = station.admin("GET", "/metrics").await.text();
    let live: BTreeSet<&str> = live
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let recorded = rules("record");
    let mut used = names_in(&dashboard().join("\n"));
    let queries = shipped("deploy/rules.yml");
    used.extend(names_in(&queries));
    assert!(used.len() > 30, "{used:?}");
    let page = names_in(&shipped("src/admin/page.html"));
    assert!(page.len() > 20, "{page:?}");
    used.extend(page);
    let is_live = |name: &str| live.contains(name) || live.contains(&*format!("{name}_count"));
    let is_there = |name: &String| is_live(name) || recorded.contains(name);
    let missing: Vec<_> = used.iter().filter(|name| !is_there(name)).collect();
    assert!(
        missing.is_empty(),
        "no such metric of a server that has just started: {missing:?}"
    );
}

/// Every code that the README says may come back is counted from the start.
#[tokio::test]
async fn every_code_of_a_problem_is_there_from_the_start() {
    let station = Station::start().await;
    let live = station.admin("GET", "/metrics").await.text();
    let readme = shipped("README.md");
    let (_, from) = readme.split_once("What may come back: ").expect("the list");
    let (list, _) = from.split_once("After `in_doubt`").expect("its end");
    let codes: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert!(codes.len() > 25, "{codes:?}");
    for code in codes {
        let series = format!("surtidor_control_problems_total{{code=\"{code}\"}} 0");
        assert!(live.contains(&series), "{series}");
    }
}

/// Who is woken by an alert finds what to do under its name.
#[test]
fn every_alert_has_its_page_in_the_runbook() {
    let runbook = shipped("docs/runbook.md");
    let headings: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = rules("alert");
    assert_eq!(headings, alerts, "the same, in the same order");
    let text = shipped("deploy/rules.yml");
    // Each of these tests has a time at which nothing fires.
    let tests = shipped("deploy/rules.test.yml");
    assert!(tests.split("  - name: ").skip(1).all(|test| test.contains(": []")));
    for alert in &alerts {
        let (_, from) = text
            .split_once(&format!("- alert: {alert}\n"))
            .expect("it was found there");
        let rule = from.split("\n      - ").next().unwrap_or(from);
        let anchor = format!("runbook: docs/runbook.md#{}", alert.to_lowercase());
        for member in ["severity: ", "summary: ", "description: ", "action: ", &anchor] {
            assert!(rule.contains(member), "{alert} has no `{member}`");
        }
        let alone = format!("alertname=\"{alert}\"");
        assert!(tests.contains(&alone), "{alert} is not tested");
    }
}
