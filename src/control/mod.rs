//! The face for controllers: HTTP and JSON on a Unix socket, or with a token on loopback TCP and over TLS.
//!
//! It reads, asks the engine or the log's reader, and writes. No rule of selling lives here. Whose call it is, and so what
//! there is for it, is known to `caller` alone.

mod caller;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod json;
mod problem;
mod push;
mod query;
mod read;
mod receipt;
mod socket;
mod tokens;
mod write;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use ring::digest;

use crate::config::{Account, Secret};
use crate::domain::account::DeliveryFailed;
use crate::domain::command::{Command, Event};
use crate::domain::id::{AccountId, IdempotencyKey, PosId, Timestamp};
use crate::domain::order::Status;
use crate::domain::payment::Cause;
use crate::engine::{Accounts, Applied, Engine, Link};
use crate::feed::After;
use crate::limits;
use crate::log::OrderQuery;
use crate::net::body::{Chunks, Content, read_body};
use crate::net::stop::Stopping;
use crate::seal::Seal;

use caller::{Caller, Own};
use problem::Problem;
use query::Parameters;
use receipt::{Format, Receipt, Width};

pub use socket::{BindError, bind};

/// What the face is made of.
pub struct Settings {
    pub accounts: Arc<Accounts>,
    /// The poll keys' names, in their order.
    pub keys: Vec<String>,
    /// To which an account's notifications go: its name and our mark for the order follow.
    pub notification_url: Option<String>,
    pub seal: Arc<Seal>,
    pub stopping: Stopping,
}

#[derive(Clone)]
pub struct Control {
    engine: Rc<Engine>,
    settings: Rc<Settings>,
    door: Door,
}

/// Who is let in.
#[derive(Clone)]
enum Door {
    /// Everybody: only the right users can open the socket.
    Open,
    /// Who knows a token: one that was made here, or the configured one, which opens all.
    Tokens(Option<Secret>),
}

pub fn describe() {
    describe_counter!(
        "surtidor_control_requests_total",
        "Requests of the control socket, by status."
    );
    describe_counter!(
        "surtidor_control_problems_total",
        "Requests of the control socket that were refused, by code."
    );
    describe_histogram!(
        "surtidor_control_seconds",
        Unit::Seconds,
        "Time to answer a request of the control socket, streams and long polls left out. A push with `wait` and a cancel \
         have in it what they wait for Mercado Pago."
    );
}

/// What is answered.
const STATUSES: [u16; 18] = [
    200, 201, 202, 204, 400, 401, 403, 404, 405, 408, 409, 410, 413, 422, 500, 503, 504, 507,
];

/// Makes all that the face may count, at zero: an alarm sees a counter move only if it was there before.
fn begin() {
    for status in STATUSES {
        let _ = counter!("surtidor_control_requests_total", "status" => status.to_string());
    }
    for code in problem::CODES {
        let _ = counter!("surtidor_control_problems_total", "code" => code);
    }
    let _ = histogram!("surtidor_control_seconds");
}

impl Control {
    /// For a socket that only the right users can open.
    pub fn trusted(engine: Rc<Engine>, settings: Rc<Settings>) -> Control {
        begin();
        let door = Door::Open;
        Control { engine, settings, door }
    }

    pub fn with_tokens(engine: Rc<Engine>, settings: Rc<Settings>, configured: Option<Secret>) -> Control {
        let door = Door::Tokens(configured);
        Control { engine, settings, door }
    }

    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        let engine = self.engine.clone();
        let Door::Tokens(configured) = &self.door else {
            return Some(Caller::trusted(engine));
        };
        let (scheme, given) = headers
            .get(header::AUTHORIZATION)?
            .as_bytes()
            .split_at_checked(b"Bearer ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Bearer ") {
            return None;
        }
        // Digests are compared, so the time says nothing of the token.
        let digest = |bytes: &[u8]| digest::digest(&digest::SHA256, bytes);
        let is_it = |token: &Secret| digest(given).as_ref() == digest(token.expose().as_bytes()).as_ref();
        if configured.as_ref().is_some_and(is_it) {
            return Some(Caller::trusted(engine));
        }
        let admitted = engine.tokens().admit(given)?;
        Some(Caller::admitted(engine, admitted))
    }
}

impl Service<Request<Incoming>> for Control {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let control = self.clone();
        Box::pin(async move {
            let begun = std::time::Instant::now();
            let answer = match control.caller(request.headers()) {
                Some(caller) => control.settings.route(&caller, request).await,
                None => Err(Problem::unauthorized()),
            };
            let waits = matches!(answer, Ok(Answer::Page(_) | Answer::Events(_)));
            let response = answer.map_or_else(refuse, Answer::respond);
            let status = response.status().as_u16().to_string();
            counter!("surtidor_control_requests_total", "status" => status).increment(1);
            if !waits {
                histogram!("surtidor_control_seconds").record(begun.elapsed());
            }
            Ok(response)
        })
    }
}

/// What is answered when nothing went wrong.
enum Answer {
    Json(StatusCode, Vec<u8>),
    Text(String),
    Done,
    /// A long poll's: when it came says nothing of us.
    Page(Vec<u8>),
    Events(Chunks),
}

impl Answer {
    fn ok(value: &impl serde::Serialize) -> Answer {
        Answer::Json(StatusCode::OK, write::to_json(value))
    }

    fn respond(self) -> Response<Content> {
        let (status, kind, body) = match self {
            Answer::Json(status, json) => (status, Some("application/json"), Content::whole(json)),
            Answer::Text(text) => (StatusCode::OK, Some("text/plain; charset=utf-8"), Content::whole(text)),
            Answer::Page(json) => (StatusCode::OK, Some("application/json"), Content::whole(json)),
            Answer::Done => (StatusCode::NO_CONTENT, None, Content::whole(Vec::new())),
            Answer::Events(stream) => (StatusCode::OK, Some("text/event-stream"), Content::Stream(stream)),
        };
        respond(status, kind, body)
    }
}

fn refuse(problem: Problem) -> Response<Content> {
    counter!("surtidor_control_problems_total", "code" => problem.code).increment(1);
    let mut response = respond(
        problem.status,
        Some("application/problem+json"),
        Content::whole(problem.body()),
    );
    if let Some((name, value)) = problem.header {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        // Whoever is let in nowhere keeps no connection.
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn respond(status: StatusCode, kind: Option<&'static str>, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

type Answered = Result<Answer, Problem>;

/// All that is here to be asked, and what may be answered, for people and their tools: OpenAPI 3.1, written by hand.
/// `tests/it/document.rs` keeps it true.
const DOCUMENT: &str = include_str!("../../docs/openapi.json");

impl Settings {
    async fn route(&self, caller: &Caller, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let path = query::path(head.uri.path());
        let parameters = Parameters::read(head.uri.query())?;
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = &head.method;
        match (parts.as_slice(), method) {
            (["v1", "pos"], &Method::GET) => self.list_pos(caller, parameters).await,
            (["v1", "pos", pos], &Method::GET) => {
                parameters.finish()?;
                let record = caller.record(&caller.pos(pos)?)?;
                Ok(Answer::ok(&write::pos(&record, &self.keys)))
            }
            (["v1", "pos", pos], &Method::PUT) => {
                parameters.finish()?;
                self.register(caller, &caller.pos(pos)?, body).await
            }
            (["v1", "pos", pos], &Method::DELETE) => {
                parameters.finish()?;
                ask(caller, &caller.pos(pos)?, Command::Remove).await
            }
            (["v1", "pos", pos, "state"], &Method::PUT) => {
                parameters.finish()?;
                let pos = caller.pos(pos)?;
                let (word, lease_seconds) = read::state(&json::body(&whole(body).await?)?)?;
                ask(caller, &pos, Command::Say { word, lease_seconds }).await
            }
            (["v1", "pos", pos, "lease"], &Method::PUT) => {
                parameters.finish()?;
                let pos = caller.pos(pos)?;
                let seconds = read::lease(&json::body(&whole(body).await?)?)?;
                ask(caller, &pos, Command::HoldLease { seconds }).await
            }
            (["v1", "pos", pos, "order"], &Method::PUT) => self.push(caller, &caller.pos(pos)?, parameters, body).await,
            (["v1", "pos", pos, "order"], &Method::DELETE) => self.cancel(caller, &caller.pos(pos)?, parameters).await,
            (["v1", "orders"], &Method::GET) => list_orders(caller, parameters).await,
            (["v1", "orders", reference], &Method::GET) => {
                parameters.finish()?;
                let (_, order) = caller.order(reference).await?;
                Ok(Answer::ok(&write::order(&order)))
            }
            (["v1", "orders", reference, "delivery"], &Method::PUT) => {
                parameters.finish()?;
                self.deliver(caller, reference, body).await
            }
            (["v1", "orders", reference, "refunds"], &Method::POST) => {
                parameters.finish()?;
                self.refund(caller, reference, &head.headers, body).await
            }
            (["v1", "orders", reference, "receipt"], &Method::GET) => {
                receipt(caller, reference, parameters, &head.headers).await
            }
            (["v1", "events"], &Method::GET) => {
                // An EventSource that reconnects says where it was in a header.
                let last = head
                    .headers
                    .get("last-event-id")
                    .map(|value| value.to_str().unwrap_or("").to_owned());
                self.events(caller, parameters, last).await
            }
            (["v1", "tokens"], &Method::GET) => tokens::list(caller, parameters).await,
            (["v1", "tokens", name], &Method::PUT) => tokens::create(caller, name, parameters, body).await,
            (["v1", "tokens", name], &Method::DELETE) => tokens::revoke(caller, name, parameters).await,
            (["v1", "openapi.json"], &Method::GET) => {
                parameters.finish()?;
                Ok(Answer::Json(StatusCode::OK, DOCUMENT.into()))
            }
            (
                ["v1", "pos"]
                | ["v1", "orders"]
                | ["v1", "orders", _]
                | ["v1", "orders", _, "receipt"]
                | ["v1", "events" | "tokens" | "openapi.json"],
                _,
            ) => Err(Problem::method_not_allowed("GET")),
            (["v1", "orders", _, "refunds"], _) => Err(Problem::method_not_allowed("POST")),
            (["v1", "pos", _], _) => Err(Problem::method_not_allowed("GET, PUT, DELETE")),
            (["v1", "tokens", _], _) => Err(Problem::method_not_allowed("PUT, DELETE")),
            (["v1", "pos", _, "order"], _) => Err(Problem::method_not_allowed("PUT, DELETE")),
            (["v1", "pos", _, "state" | "lease"] | ["v1", "orders", _, "delivery"], _) => {
                Err(Problem::method_not_allowed("PUT"))
            }
            _ => Err(Problem::not_found(
                "the control API begins at /v1/pos, /v1/orders, /v1/events and /v1/tokens; /v1/openapi.json describes it",
            )),
        }
    }

    async fn list_pos(&self, caller: &Caller, mut parameters: Parameters) -> Answered {
        let limit = limit(&mut parameters)?;
        let cursor = parameters.parsed("cursor", PosId::parse)?;
        parameters.finish()?;
        let (records, more) = caller.list(cursor, limit).await?;
        Ok(Answer::ok(&write::pos_page(&records, more, &self.keys)))
    }

    async fn register(&self, caller: &Caller, pos: &Own, body: Incoming) -> Answered {
        let bytes = whole(body).await?;
        let body = read::registration(&json::body(&bytes)?, &self.keys)?;
        let account = self.account(caller, pos, body.account.as_deref())?;
        let registration = body.of(&account, pos.id())?;
        let applied = caller.submit(pos, Command::Register(registration)).await?;
        let is_new = matches!(applied.events.as_slice(), [Event::Registered(_)]);
        let record = applied.record.ok_or_else(|| Problem::pos_unknown(pos.id().as_str()))?;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(Answer::Json(status, write::to_json(&write::pos(&record, &self.keys))))
    }

    /// Whose a POS is to be. Only an administrator gives it to another merchant, or chooses where there are several:
    /// whoever may speak of some POS need not know whose the others are.
    fn account(&self, caller: &Caller, pos: &Own, named: Option<&str>) -> Result<Arc<Account>, Problem> {
        if caller.is_administrator() {
            let account = match named {
                Some(name) => AccountId::parse(name).ok().and_then(|id| self.accounts.get(&id)),
                None => self.accounts.only(),
            };
            return account.ok_or_else(|| match named {
                Some(name) => account_unknown(format!("{name:?} is not configured")),
                None => account_unknown("is missing: more than one is configured".into()),
            });
        }
        let own = match caller.find(pos) {
            Some(record) => self.accounts.get(&record.pos.registration.account),
            None => self.accounts.only(),
        };
        match (own, named) {
            (Some(own), Some(name)) if own.id.as_str() != name => Err(account_unknown(format!(
                "{name:?} is not the account of this point of sale"
            ))),
            (Some(own), _) => Ok(own),
            (None, _) => Err(account_unknown(
                "is not for this token to say: an administrator registers this point of sale first".into(),
            )),
        }
    }

    async fn deliver(&self, caller: &Caller, reference: &str, body: Incoming) -> Answered {
        let report = read::delivery(&json::body(&whole(body).await?)?)?;
        let (pos, order) = caller.order(reference).await?;
        let account = self.accounts.get(&order.account);
        let command = Command::Deliver {
            reference: order.reference.clone(),
            report,
            failed: account.map_or(DeliveryFailed::Report, |account| account.delivery_failed),
        };
        let applied = caller.submit(&pos, command).await?;
        Ok(Answer::ok(&write::order(&applied.order.unwrap_or(order))))
    }

    async fn refund(&self, caller: &Caller, reference: &str, headers: &HeaderMap, body: Incoming) -> Answered {
        let key = idempotency_key(headers)?;
        let wanted = read::refund(&whole(body).await?, key)?;
        let (pos, order) = caller.order(reference).await?;
        // Asking again for what is written down needs no token: it only tells what became of it.
        let asked = |cause: &Cause| matches!(cause, Cause::Asked(ask) if ask.key == wanted.key);
        if !order.refunds.iter().any(|refund| asked(&refund.cause)) {
            self.has_token(&order.account, "no money can be given back")?;
        }
        let command = Command::Refund {
            reference: order.reference.clone(),
            wanted,
        };
        made(caller.submit(&pos, command).await?)
    }

    /// `else_so` is what cannot be done if Mercado Pago cannot be asked for the account.
    fn has_token(&self, account: &AccountId, else_so: &str) -> Result<(), Problem> {
        match self.accounts.link(account) {
            Link::Good => Ok(()),
            link => Err(Problem::account_without_token(account, &link, else_so)),
        }
    }

    async fn events(&self, caller: &Caller, mut parameters: Parameters, last: Option<String>) -> Answered {
        let number = |text: &str| text.parse::<u64>().map_err(|_| "must be an event's seq");
        let pos = parameters.parsed("pos", PosId::parse)?;
        let after = parameters.parsed("after", number)?;
        let last = last
            .map(|text| number(&text).map_err(|e| Problem::parameter("Last-Event-ID", e)))
            .transpose()?;
        let wait = parameters.parsed("wait", |text| match text.parse() {
            Ok(seconds) if seconds <= limits::FEED_WAIT_SECONDS => Ok(seconds),
            _ => Err(format!("must be 0 to {} seconds", limits::FEED_WAIT_SECONDS)),
        })?;
        parameters.finish()?;
        let pos = pos.map(|pos| caller.pos(pos.as_str())).transpose()?;
        // One that was removed may still have told something that nobody has heard.
        if let Some(pos) = &pos
            && !caller.was_there(pos).await?
        {
            return Err(Problem::pos_unknown(pos.id().as_str()));
        }
        let after = last.or(after).map_or(After::Now, After::Event);
        let follower = caller.follow(pos.as_ref(), after).await?;
        let stopping = self.stopping.clone();
        let Some(seconds) = wait else {
            return Ok(Answer::Events(events::stream(follower, stopping, caller.revoked())));
        };
        tokio::select! {
            biased;
            () = caller.revoked() => Err(Problem::unauthorized()),
            page = events::page(follower, Duration::from_secs(seconds), stopping) => Ok(Answer::Page(page?)),
        }
    }
}

/// For commands whose doing says all.
async fn ask(caller: &Caller, pos: &Own, command: Command) -> Answered {
    caller.submit(pos, command).await?;
    Ok(Answer::Done)
}

async fn list_orders(caller: &Caller, mut parameters: Parameters) -> Answered {
    let limit = limit(&mut parameters)?;
    let pos = parameters.parsed("pos", PosId::parse)?;
    let status = parameters.parsed("status", |text| {
        Status::parse(text).ok_or("must be sending, ready, shown, paid, canceled, replaced, expired or rejected")
    })?;
    let since = parameters.parsed("since", |text| {
        let time = text.parse::<jiff::Timestamp>();
        time.map(|time| Timestamp(time.as_millisecond()))
            .map_err(|_| "must be a time such as 2026-11-21T14:05:09Z")
    })?;
    let cursor = parameters.parsed("cursor", |text| text.parse().map_err(|_| "must be what `next` said"))?;
    parameters.finish()?;
    let query = |of| OrderQuery {
        of,
        status,
        since,
        limit,
        cursor,
    };
    let page = caller.orders(pos, query).await?;
    let orders = page.orders.iter().map(write::order).collect();
    Ok(Answer::ok(&write::OrderPage {
        orders,
        next: page.next.map(|next| next.to_string()),
    }))
}

async fn receipt(caller: &Caller, reference: &str, mut parameters: Parameters, headers: &HeaderMap) -> Answered {
    let width = parameters.parsed("width", Width::parse)?.unwrap_or_default();
    let format = parameters.parsed("format", Format::parse)?;
    parameters.finish()?;
    let (pos, order) = caller.order(reference).await?;
    let record = caller.find(&pos);
    let name = record.as_ref().and_then(|record| record.pos.registration.name.as_ref());
    let receipt = Receipt::of(&order, name.map(|name| name.as_str())).map_err(|refusal| caller.refused(refusal))?;
    Ok(match format.unwrap_or_else(|| Format::accepted(headers)) {
        Format::Text => Answer::Text(receipt.text(width)),
        Format::Json => Answer::ok(&receipt.view()),
    })
}

/// The order that a command made or changed: 201; one that had been done before: 200.
fn made(applied: Applied) -> Answered {
    let status = if applied.events.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let order = applied
        .order
        .ok_or_else(|| Problem::not_found("the order was trimmed"))?;
    Ok(Answer::Json(status, write::to_json(&write::order(&order))))
}

fn idempotency_key(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    let (key, wrong) = match (given.next(), given.next()) {
        (None, _) => ("", "is missing"),
        (Some(key), None) => (key.to_str().unwrap_or(""), "is not valid"),
        (Some(_), Some(_)) => ("", "stands twice"),
    };
    IdempotencyKey::parse(key).map_err(|rule| Problem::idempotency_key(wrong, &rule))
}

async fn whole(body: Incoming) -> Result<Bytes, Problem> {
    Ok(read_body(body, limits::BODY_BYTES).await?)
}

fn limit(parameters: &mut Parameters) -> Result<usize, Problem> {
    let limit = parameters.parsed("limit", |text| match text.parse() {
        Ok(limit) if (1..=limits::PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(format!("must be 1 to {}", limits::PAGE_MAX)),
    })?;
    Ok(limit.unwrap_or(limits::PAGE_DEFAULT))
}

fn account_unknown(detail: String) -> Problem {
    json::Bad {
        code: "account_unknown",
        pointer: Some("/account".into()),
        detail,
    }
    .into()
}
