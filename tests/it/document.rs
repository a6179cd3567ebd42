//! The document of the control API is true: of each route and code of the source, and to tools that nobody of us made.
//! That each answer is as it says is looked at by all tests that ask (`support/document.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use surtidor::sandbox::{Sandbox, TEST_TOKEN};

use crate::support::document::DOCUMENT;
use crate::support::market::{Market, free_port, hurried};
use crate::support::process::{long, skip};
use crate::support::station::{CANARIES, Setup, Station, order};
use crate::tokens::routes_of_the_source;

const METHODS: [&str; 7] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// Templates of paths, and the methods that each has.
fn routes() -> BTreeMap<&'static str, Vec<String>> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let methods = |here: &Value| {
        let names = here.as_object().unwrap().keys().filter(|name| *name != "parameters");
        names.map(|name| name.to_ascii_uppercase()).collect()
    };
    paths
        .iter()
        .map(|(path, here)| (path.as_str(), methods(here)))
        .collect()
}

/// The sources of the face, without their tests.
fn sources() -> Vec<String> {
    fn walk(folder: &Path, into: &mut Vec<String>) {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if !path.ends_with("tests.rs") && !path.ends_with("fuzz.rs") {
                let text = fs::read_to_string(path).unwrap();
                into.push(text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned());
            }
        }
    }
    let mut all = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control"), &mut all);
    all
}

#[test]
fn the_document_has_the_routes_of_the_router_and_no_others() {
    let documented = routes().into_iter();
    let documented =
        documented.flat_map(|(path, methods)| methods.into_iter().map(move |method| (method, path.to_owned())));
    assert_eq!(routes_of_the_source(), documented.collect());
}

#[tokio::test]
async fn what_is_not_documented_is_no_method_of_a_path() {
    let station = Station::start().await;
    for (path, methods) in routes() {
        let path = path
            .replace("{pos}", "P")
            .replace("{reference}", "R")
            .replace("{name}", "N");
        for method in METHODS {
            let reply = station.call(method, &format!("{path}?wait=0"), "").await;
            let allowed = reply
                .header("allow")
                .map(|allowed| allowed.split(", ").map(str::to_owned).collect::<BTreeSet<_>>());
            if methods.iter().any(|known| known == method) {
                assert!(
                    allowed.is_none() && reply.word() != "not_found",
                    "{method} {path}: {reply:?}"
                );
            } else {
                assert_eq!(reply, (405, "method_not_allowed"), "{method} {path}");
                assert_eq!(allowed, Some(methods.iter().cloned().collect()), "{method} {path}");
            }
        }
    }
}

/// Each code of the source stands at an operation's answer with its status, and the other way round.
#[test]
fn the_document_has_the_codes_of_the_source_and_no_others() {
    let mut found = BTreeSet::new();
    let code = |text: &str| {
        let text = text.trim_start().strip_prefix('"')?;
        let (code, _) = text.split_once('"')?;
        let is_code = code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_code.then(|| code.to_owned())
    };
    for source in sources() {
        for at in source.split("StatusCode::").skip(1) {
            if let Some((name, rest)) = at.split_once(',')
                && let Some(code) = code(rest)
            {
                found.insert((status(name), code));
            }
        }
        let shorts = [
            ("conflict(", 409),
            ("conflict_with(", 409),
            ("unavailable(", 503),
            ("bad(", 400),
            ("code: ", 400),
        ];
        for (before, status) in shorts {
            found.extend(source.split(before).skip(1).filter_map(code).map(|code| (status, code)));
        }
    }
    // Of places and methods that are not there, so of no operation.
    let nowhere = [(404, "not_found"), (405, "method_not_allowed")].map(|(status, code)| (status, code.to_owned()));
    let mut documented: BTreeSet<(u16, String)> = nowhere.into();
    let answers = DOCUMENT["components"]["responses"].as_object().unwrap();
    let operations = DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|here| here.as_object().unwrap().values());
    let answers = operations
        .filter_map(|operation| operation.get("responses")?.as_object())
        .flatten()
        .map(|(status, answer)| {
            let named = answer["$ref"]
                .as_str()
                .and_then(|place| answers.get(place.rsplit('/').next()?));
            (status, named.unwrap_or(answer))
        });
    for (status, answer) in answers {
        let codes = answer["content"]["application/problem+json"]["schema"]["properties"]["code"]["enum"].as_array();
        let codes = codes
            .into_iter()
            .flatten()
            .map(|code| code.as_str().unwrap().to_owned());
        for code in codes {
            let told = answer["description"].as_str().unwrap();
            assert!(
                told.contains(&format!("`{code}`")) || told.starts_with("As for every body"),
                "{code}: {told}"
            );
            documented.insert((status.parse().unwrap(), code));
        }
    }
    assert_eq!(found, documented);
}

fn status(name: &str) -> u16 {
    match name {
        "BAD_REQUEST" => 400,
        "UNAUTHORIZED" => 401,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "REQUEST_TIMEOUT" => 408,
        "CONFLICT" => 409,
        "GONE" => 410,
        "PAYLOAD_TOO_LARGE" => 413,
        "UNPROCESSABLE_ENTITY" => 422,
        "TOO_MANY_REQUESTS" => 429,
        "INTERNAL_SERVER_ERROR" => 500,
        "SERVICE_UNAVAILABLE" => 503,
        "GATEWAY_TIMEOUT" => 504,
        "INSUFFICIENT_STORAGE" => 507,
        _ => panic!("{name}: which status is that?"),
    }
}

#[tokio::test]
async fn the_server_hands_it_out() {
    let station = Station::start().await;
    let reply = station.get("/v1/openapi.json").await;
    assert_eq!(reply, 200);
    assert_eq!(reply.json(), *DOCUMENT);
}

// --- tools of others, which tests/run.sh installs -----------------------------------------------------------------

/// A program of `target/tools/venv`; none, and said so, if it is not there.
fn tool(name: &str) -> Option<PathBuf> {
    let program = root().join("target/tools/venv/bin").join(name);
    if !program.exists() {
        skip(&format!("{} is missing: tests/run.sh installs it", program.display()));
    }
    program.exists().then_some(program)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn it_is_an_openapi_document() {
    if let Some(validator) = tool("openapi-spec-validator") {
        let output = Command::new(validator).arg(root().join("docs/openapi.json")).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// A shop with points of sale and orders of many kinds: `tests/document/hooks.py` knows their names.
async fn shop() -> Market {
    let setup = Setup::default()
        .account("id = \"shop\"\ncollector_id = 178106235\nsite = \"MLA\"")
        .env("SURTIDOR_ACCOUNT__SHOP__ACCESS_TOKEN", TEST_TOKEN)
        .env("SURTIDOR_CONTROL__TCP", "127.0.0.1:0")
        .env("SURTIDOR_CONTROL__TOKEN", CANARIES[2]);
    let sandbox = Sandbox::start(hurried()).expect("the sandbox starts");
    let market = Market::over(sandbox, free_port(), setup).await;
    for pos in ["PUMP1", "PUMP2", "PUMP3", "PUMP4"] {
        market.register(pos).await;
    }
    let mut feed = market.feed().await;
    for reference in ["PAID-1", "PAID-2", "PAID-3"] {
        market.push("PUMP1", reference, "100").await;
        market.scan("PUMP1").await.pay().await;
        feed.until("order_paid").await;
    }
    market.push("PUMP2", "CANCELED-1", "100").await;
    assert_eq!(market.station.cancel("PUMP2").await, 204);
    assert_eq!(market.station.push("PUMP3", order("OPEN-1", "100")).await, 201);
    market
}

/// It makes calls of the document, good ones and bad ones, which nobody of us thought of.
#[tokio::test]
async fn schemathesis_finds_no_answer_that_is_not_documented() {
    let Some(schemathesis) = tool("schemathesis") else {
        return;
    };
    let market = shop().await;
    let address = market.station.app().addresses().control_tcp.expect("it is configured");
    let (phases, examples) = match long() {
        false => ("examples,fuzzing", "20"),
        true => ("examples,coverage,fuzzing,stateful", "100"),
    };
    let (here, scratch) = (root().join("tests/document"), tempfile::tempdir().unwrap());
    let output = Command::new("timeout")
        .arg(if long() { "900" } else { "200" })
        .arg(schemathesis)
        .args(["--no-color", "--config-file"])
        .args([
            here.join("schemathesis.toml"),
            "run".into(),
            root().join("docs/openapi.json"),
        ])
        .args(["--url", &format!("http://{address}")])
        .args(["--phases", phases, "--max-examples", examples])
        .env("SURTIDOR_TOKEN", CANARIES[2])
        .envs([("SCHEMATHESIS_HOOKS", "hooks"), ("PYTHONDONTWRITEBYTECODE", "1")])
        .env("PYTHONPATH", here)
        // It keeps what it found beside it.
        .current_dir(&scratch)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // It did more than to knock at the door.
    let metrics = market.station.admin("GET", "/metrics").await.text();
    let seen = |metric: &str| metrics.lines().filter(|line| line.starts_with(metric)).count();
    assert!(seen("surtidor_control_problems_total{code=") >= 15, "{metrics}");
    assert!(seen("surtidor_control_requests_total{status=\"2") >= 3, "{metrics}");
    market.no_violations().await;
}
