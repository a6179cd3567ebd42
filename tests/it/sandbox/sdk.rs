//! Mercado Pago's own validators take our signatures. `tests/run.sh` installs them; without them this is not tested.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use surtidor::sandbox::{Flavour, Place, Settings, Stamp, Status, TEST_SECRET, signature};

use super::Desk;
use crate::support::merchant::{Asked, Merchant};
use crate::support::process::skip;

const PYTHON: &str = "
import json, sys
from mercadopago.webhook import WebhookSignatureValidator, InvalidWebhookSignatureError
for line in sys.stdin:
    case = json.loads(line)
    try:
        WebhookSignatureValidator.validate(case['signature'], case['request_id'], case['data_id'], case['secret'])
        print('valid')
    except InvalidWebhookSignatureError as error:
        print(error.reason.value)
";

const NODE: &str = "
const { WebhookSignatureValidator } = require(process.cwd());
for (const line of require('fs').readFileSync(0, 'utf8').trim().split('\\n')) {
    const { signature, request_id, data_id, secret } = JSON.parse(line);
    try {
        WebhookSignatureValidator.validate({ xSignature: signature, xRequestId: request_id, dataId: data_id, secret });
        console.log('valid');
    } catch (error) {
        console.log(error.reason);
    }
}
";

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools")
}

/// What an SDK's validator says of each case; none, and said so, if `installed` is not there.
fn verdicts(program: &Path, installed: &str, arguments: &[&str], cases: &[Value]) -> Option<Vec<String>> {
    let folder = tools().join(installed);
    if !folder.exists() {
        skip(&format!(
            "Mercado Pago's SDK is not in {}: tests/run.sh installs it",
            folder.display()
        ));
        return None;
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it is installed");
    let lines: String = cases.iter().map(|case| format!("{case}\n")).collect();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(str::to_owned).collect())
}

fn assert_verdicts(cases: &[Value], expected: &[&str]) {
    let python = tools().join("venv/bin/python");
    let python = verdicts(&python, "venv/sdk", &["-c", PYTHON], cases);
    let node = verdicts(Path::new("node"), "npm/node_modules/mercadopago", &["-e", NODE], cases);
    for said in [python, node].into_iter().flatten() {
        assert_eq!(said, expected);
    }
}

fn case(asked: &Asked) -> Value {
    json!({
        "signature": asked.header("x-signature"), "request_id": asked.header("x-request-id"),
        "data_id": asked.parameter("data.id"), "secret": TEST_SECRET,
    })
}

#[tokio::test]
async fn what_is_sent_is_valid_to_their_validators() {
    let mut cases = Vec::new();
    for stamp in [Stamp::Milliseconds, Stamp::Seconds] {
        let mut merchant = Merchant::start().await;
        let desk = Desk::with(Settings {
            flavour: Flavour::Webhook,
            stamp,
            dashboard_url: Some(merchant.url("/notifications/test")),
            ..Settings::default()
        });
        merchant.sells("T-1", "10.00");
        let scan = desk.sees(super::place(&merchant.url("/pay"))).await;
        desk.pays(scan, Status::Approved).await;
        cases.extend(merchant.notifications(3).await.iter().map(case));
        desk.pos("PUMP4", "").await;
        let body =
            r#"{"description":"d","external_reference":"T-7","operations":[{"type":"PURCHASE","amount":"1.00"}]}"#;
        desk.call("POST", "/instore-api/integrations/v1/intents/qr/pos/PUMP4", body)
            .await;
        let scan = desk.sees(Place::Pos("PUMP4".into())).await;
        desk.pays(scan, Status::Rejected).await;
        cases.push(case(&merchant.notification().await));
    }
    assert_eq!(cases.len(), 8);
    assert_verdicts(&cases, &["valid"; 8]);
}

/// An upper-case id is signed as it is: what they tell us, and what they dropped, must be seen to differ.
#[test]
fn both_cases_of_an_id_and_forgeries() {
    let (id, request, ts) = (
        "ORD01JQ4S4KY8HWQ6NA5PXB65B3D3",
        "2066ca19-c6f1-498a-be75-1923005edd06",
        "1742505638683",
    );
    let case = |signed: Option<&str>, sent: Option<&str>, secret: &str| {
        let header = signature(secret, signed, Some(request), ts);
        json!({"signature": header, "request_id": request, "data_id": sent, "secret": TEST_SECRET})
    };
    let lower = id.to_lowercase();
    let cases = [
        case(Some(id), Some(id), TEST_SECRET),
        case(Some(&lower), Some(&lower), TEST_SECRET),
        case(None, None, TEST_SECRET),
        case(Some(&lower), Some(id), TEST_SECRET),
        case(Some(id), Some(id), "another secret"),
    ];
    assert_verdicts(
        &cases,
        &["valid", "valid", "valid", "SignatureMismatch", "SignatureMismatch"],
    );
}
