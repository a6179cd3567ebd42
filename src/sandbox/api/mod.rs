//! The API as a merchant's server calls it: routes, tokens, error bodies, and the faults that spoil calls.

mod instore;
mod intents;
mod oauth;
mod payments;
mod points;
mod search;
mod stores;

use std::rc::Rc;
use std::time::Duration;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use tokio::time::sleep;

pub use intents::json as intent_json;

use super::journal::quote;
use super::json::{Json, object};
use super::serve::Reply;
use super::settings::Account;
use super::simulator::Simulator;
use super::world::Refused;

/// One call, with its caller known.
pub struct Call<'a> {
    pub sim: &'a Rc<Simulator>,
    pub account: &'a Account,
    path: Vec<&'a str>,
    query: Vec<(String, String)>,
    head: &'a Parts,
    body: &'a [u8],
}

/// Why a call was refused; it becomes the first of the two error bodies of `protocol.md`, 8.4.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    /// The reference's key.
    error: String,
    message: String,
    /// The code in `cause`; the key if there is no number.
    code: Option<u64>,
}

pub type Answered = Result<Reply, Refusal>;

/// What an endpoint does. `{}` in its pattern stands for one segment.
type Endpoint = (&'static str, fn(&Call<'_>) -> Answered);

const ENDPOINTS: [Endpoint; 27] = [
    ("POST /oauth/token", oauth::token),
    ("POST /users/{}/stores", stores::create),
    ("GET /users/{}/stores/search", stores::search),
    ("PUT /users/{}/stores/{}", stores::update),
    ("DELETE /users/{}/stores/{}", stores::delete),
    ("GET /stores/{}", stores::get),
    ("POST /pos", points::create),
    ("GET /pos", points::search),
    ("GET /pos/{}", points::get),
    ("PUT /pos/{}", points::update),
    ("DELETE /pos/{}", points::delete),
    (
        "PUT /instore/qr/seller/collectors/{}/stores/{}/pos/{}/orders",
        instore::put,
    ),
    ("GET /instore/qr/seller/collectors/{}/pos/{}/orders", instore::get),
    ("DELETE /instore/qr/seller/collectors/{}/pos/{}/orders", instore::delete),
    ("GET /merchant_orders", search::orders),
    ("GET /merchant_orders/search", search::orders),
    ("GET /merchant_orders/{}", search::order),
    ("GET /v1/payments/search", search::payments),
    ("GET /v1/payments/{}", payments::get),
    ("POST /v1/payments/{}/refunds", payments::refund),
    ("GET /v1/payments/{}/refunds", payments::refunds),
    ("GET /v1/payments/{}/refunds/{}", payments::one_refund),
    ("POST /instore-api/integrations/v1/intents/qr/pos/{}", intents::create),
    ("GET /instore-api/integrations/v1/intents/{}/qr", intents::get),
    ("DELETE /instore-api/integrations/v1/intents/{}/qr", intents::cancel),
    ("GET /instore/merchant/qr/{}/{}", points::image),
    ("HEAD /instore/merchant/qr/{}/{}", points::image),
];

/// Answers one call, or spoils it.
pub async fn answer(sim: &Rc<Simulator>, head: &Parts, body: &[u8]) -> Reply {
    let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
    let found = ENDPOINTS
        .iter()
        .find(|(pattern, _)| fits(pattern, head.method.as_str(), &path));
    let Some((pattern, endpoint)) = found else {
        return failure(404, "not_found", "no such resource");
    };
    *sim.journal.borrow_mut().calls.entry(pattern).or_default() += 1;
    let begun = sim.now();
    let slow = slowness(sim, head, &path);
    if !slow.is_zero() {
        sleep(slow).await;
    }
    let reply = match spoiled(sim) {
        Some(reply) => reply,
        None => {
            let reply = work(sim, head, body, path, *endpoint);
            if sim.happens(|faults| &mut faults.cut_after) {
                Reply::Cut
            } else {
                reply
            }
        }
    };
    let facts = [
        ("call", (*pattern).into()),
        ("target", head.uri.to_string().into()),
        ("status", u64::from(status(&reply)).into()),
        ("sent", quote(body)),
        ("answer", said(&reply)),
        ("begun", u64::try_from(begun).ok().into()),
    ];
    sim.tell("call", object(facts));
    reply
}

/// By how much this call's answer is later.
fn slowness(sim: &Simulator, head: &Parts, path: &[&str]) -> Duration {
    let faults = sim.faults.borrow();
    let is_slow = |name: &str| name.starts_with(&faults.slow_for);
    let world = sim.world.borrow();
    // An intent's name says nothing of its order.
    let of_intent = |id: &str| {
        world
            .intents
            .get(id)
            .is_some_and(|known| is_slow(&known.order.reference))
    };
    let asked = || query(head.uri.query().unwrap_or_default());
    if path.iter().any(|name| is_slow(name) || of_intent(name)) || asked().iter().any(|(_, value)| is_slow(value)) {
        faults.slow
    } else {
        Duration::ZERO
    }
}

/// 0 for none.
fn status(reply: &Reply) -> u16 {
    match reply {
        Reply::Json(status, _) => *status,
        Reply::Nothing => 204,
        Reply::Png(_) => 200,
        Reply::Later(..) => 429,
        Reply::Cut => 0,
    }
}

fn said(reply: &Reply) -> Json {
    match reply {
        Reply::Json(_, said) | Reply::Later(_, said) => quote(&said.bytes()),
        Reply::Nothing | Reply::Png(_) | Reply::Cut => Json::Null,
    }
}

/// A fault instead of any work.
fn spoiled(sim: &Simulator) -> Option<Reply> {
    if sim.happens(|faults| &mut faults.too_many) {
        let seconds = sim.faults.borrow().retry_after_seconds;
        return Some(Reply::Later(
            seconds,
            error_body(429, "too_many_requests", "too many requests", None),
        ));
    }
    if sim.happens(|faults| &mut faults.broken) {
        return Some(failure(500, "internal_error", "broken on purpose"));
    }
    sim.happens(|faults| &mut faults.cut_before).then_some(Reply::Cut)
}

fn work(sim: &Rc<Simulator>, head: &Parts, body: &[u8], path: Vec<&str>, endpoint: fn(&Call<'_>) -> Answered) -> Reply {
    // The images are public: they are shown in browsers. Who asks for a token says so in the body.
    let is_public = path.starts_with(&["instore", "merchant", "qr"]) || path == ["oauth", "token"];
    let account = if is_public {
        sim.settings.accounts.first()
    } else {
        caller(sim, head)
    };
    let Some(account) = account else {
        return Reply::Json(401, error_body(401, "unauthorized", "invalid access token", Some(401)));
    };
    let call = Call {
        sim,
        account,
        path,
        query: query(head.uri.query().unwrap_or_default()),
        head,
        body,
    };
    endpoint(&call).unwrap_or_else(|refusal| {
        let body = error_body(refusal.status, &refusal.error, &refusal.message, refusal.code);
        Reply::Json(refusal.status, body)
    })
}

fn caller<'a>(sim: &'a Simulator, head: &Parts) -> Option<&'a Account> {
    let header = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    sim.account_of_token(header.strip_prefix("Bearer ")?)
}

fn fits(pattern: &str, method: &str, path: &[&str]) -> bool {
    let Some(pattern) = pattern.strip_prefix(method).and_then(|rest| rest.strip_prefix(" /")) else {
        return false;
    };
    let pattern: Vec<&str> = pattern.split('/').collect();
    pattern.len() == path.len()
        && pattern
            .iter()
            .zip(path)
            .all(|(wanted, segment)| *wanted == *segment || (*wanted == "{}" && !segment.is_empty()))
}

/// An error without a call.
pub fn failure(status: u16, error: &str, message: &str) -> Reply {
    Reply::Json(status, error_body(status, error, message, None))
}

fn error_body(status: u16, error: &str, message: &str, code: Option<u64>) -> Json {
    let code = code.map_or_else(|| error.into(), Json::from);
    let cause = object([("code", code), ("description", message.into())]);
    object([
        ("message", message.into()),
        ("error", error.into()),
        ("status", u64::from(status).into()),
        ("cause", Json::Array(vec![cause])),
    ])
}

pub fn refusal(status: u16, error: &str, message: &str) -> Refusal {
    Refusal {
        status,
        error: error.to_owned(),
        message: message.to_owned(),
        code: None,
    }
}

impl Refusal {
    pub fn coded(self, code: u64) -> Refusal {
        Refusal {
            code: Some(code),
            ..self
        }
    }
}

impl From<Refused> for Refusal {
    /// What only the sandbox itself refuses.
    fn from(refused: Refused) -> Refusal {
        refusal(507, "sandbox_full", &refused.to_string())
    }
}

impl Call<'_> {
    /// The n-th segment of the path.
    pub fn segment(&self, n: usize) -> &str {
        self.path.get(n).copied().unwrap_or_default()
    }

    /// A number in the path; `error` is the key for what is none.
    pub fn number(&self, n: usize, error: &str) -> Result<u64, Refusal> {
        let number = self.segment(n).parse();
        number.map_err(|_| refusal(400, error, &format!("{:?} is not a number", self.segment(n))))
    }

    /// The user in the path must be the caller.
    pub fn own(&self, n: usize, error: &str) -> Result<(), Refusal> {
        if self.number(n, error)? == self.account.collector {
            Ok(())
        } else {
            Err(refusal(403, "forbidden", "the token belongs to another user"))
        }
    }

    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    pub fn has_body(&self) -> bool {
        !self.body.is_empty()
    }

    /// `error` is the key for a body that is no JSON object.
    pub fn json(&self, error: &str) -> Result<Json, Refusal> {
        let body = Json::parse(self.body).map_err(|why| refusal(400, error, &why))?;
        match body {
            Json::Object(_) => Ok(body),
            _ => Err(refusal(400, error, "the body is no object")),
        }
    }
}

/// Decoded parameters, in order.
pub fn query(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, left) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, left @ ..]) => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, left),
                _ => (b'%', after),
            },
            (byte, _) => (*byte, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| digit.try_into().ok())
}
