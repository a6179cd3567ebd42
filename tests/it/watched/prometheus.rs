//! A real Prometheus with the rules as they are shipped: it scrapes a running server, and its alarm goes off.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shipped::dashboard;
use super::{paid, until};
use crate::support::market::{Market, free_port, hurried};
use crate::support::process::skip;

struct Prometheus {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// None, and said so, where it is not installed.
    fn watching(server: std::net::SocketAddr) -> Option<Prometheus> {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules.yml");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            r#"
global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: ["{}"]
scrape_configs:
  - job_name: surtidor
    static_configs:
      - targets: ["{server}"]
"#,
            rules.display()
        );
        std::fs::write(&config, text).expect("the folder is ours");
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            skip("a real Prometheus and its alarms: `prometheus` is not installed, and Debian's package has it");
            return None;
        };
        let _folder = folder;
        Some(Prometheus { child, port, _folder })
    }

    /// The answer's body, once it answers with success.
    async fn ask(&self, path: &str) -> Option<String> {
        let mut wire = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        // Of this version an answer ends with its connection.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        wire.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 OK").then(|| body.to_owned())
    }

    async fn api(&self, path: &str) -> Value {
        let answer = self.ask(&format!("/api/v1/{path}")).await;
        let answer: Value = serde_json::from_str(&answer.unwrap_or_else(|| panic!("{path} is refused"))).expect("JSON");
        answer["data"].clone()
    }

    async fn query(&self, query: &str) -> Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.api(&format!("query?query={encoded}")).await["result"].clone()
    }

    /// The alert as it fires, if it does.
    async fn firing(&self, name: &str) -> Option<Value> {
        let alerts = self.api("alerts").await["alerts"].clone();
        let fires = |alert: &&Value| alert["labels"]["alertname"] == name && alert["state"] == "firing";
        alerts.as_array()?.iter().find(fires).cloned()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_the_server_and_its_alarm_goes_off_and_ends() {
    let market = Market::with(hurried(), "delivery_seconds = 1").await;
    let server = market.station.app().addresses().admin;
    let Some(prometheus) = Prometheus::watching(server) else {
        return;
    };
    until(async || prometheus.ask("/-/ready").await.is_some()).await;
    market.register("PUMP1").await;
    let _controller = market.station.feed("").await;
    paid(&market, "PUMP1", "T-1").await;

    let alarm = "SurtidorPaidNotDelivered";
    until(async || prometheus.firing(alarm).await.is_some()).await;
    let told = prometheus.firing(alarm).await.expect("it still fires");
    let instance = server.to_string();
    assert_eq!(told["labels"]["instance"], instance, "{told}");
    assert_eq!(told["labels"]["severity"], "critical", "{told}");
    let summary = format!("1 paid orders of {instance} have no word on their product.");
    assert_eq!(told["annotations"]["summary"], summary, "{told}");
    let up = prometheus.query("up{job=\"surtidor\"}").await;
    assert_eq!(up[0]["value"][1], "1", "{up}");

    // What a panel of the dashboard asks is understood; what it asks of a gauge has an answer.
    for query in dashboard() {
        if query.starts_with("label_values(") {
            continue;
        }
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let may_be_empty = query.contains("certificate") || query.contains("> 0") || query.contains("ALERTS");
        let shows = async || !prometheus.query(&query).await.as_array().is_none_or(Vec::is_empty);
        if may_be_empty {
            shows().await;
        } else {
            // A rate needs two scrapes.
            until(shows).await;
        }
    }

    let dispensed = json!({"result": "dispensed"});
    assert_eq!(market.station.put("/v1/orders/T-1/delivery", &dispensed).await, 200);
    until(async || prometheus.firing(alarm).await.is_none()).await;
    let fired = prometheus
        .query("count by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[1h]))")
        .await;
    assert_eq!(
        fired.as_array().map(Vec::len),
        Some(1),
        "no other alarm went off: {fired}"
    );
}
