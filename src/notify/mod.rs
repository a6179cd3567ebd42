//! The face that Mercado Pago notifies, beside the polls: stored durably, then answered 200, whatever the signature says.
//!
//! A notification is a hint: nothing here believes it, follows its URLs or asks the API. It is worked off elsewhere, later.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod metrics;
mod read;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::config::{Account, Secret};
use crate::domain::hint::{Hint, Signature};
use crate::domain::id::AccountId;
use crate::engine::{Accounts, Denied, Inbox, NotKept};
use crate::limits;
use crate::link::Bell;
use crate::mercadopago::signature::Signed;
use crate::net::body::{BodyError, Whole, read_body};
use crate::seal::Seal;

use metrics::Metrics;
use read::{Query, Subject, Told};

pub use metrics::describe;

type Later = Pin<Box<dyn Future<Output = Response<Whole>>>>;

/// What the face is made of.
pub struct Settings {
    /// Of the URL; a '/' and an account follow.
    pub path: String,
    pub inbox: Inbox,
    pub accounts: Arc<Accounts>,
    pub seal: Arc<Seal>,
    /// Rung when a seller is said to have made or cut a link.
    pub bell: Bell,
}

pub struct Notifications {
    settings: Settings,
    metrics: Metrics,
    /// Those whose body is being read, or that are being written.
    in_flight: AtomicUsize,
}

/// Why nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotStored {
    UnknownAccount,
    Method,
    /// Where topic or id should stand is no text, or no JSON.
    Unreadable,
    TooLarge,
    TooSlow,
    /// Too many at once.
    Busy,
    InboxFull,
    DiskFull,
    Failed,
    /// Mercado Pago sends more than we need, and its dashboard makes things up: both want a 200.
    UnknownTopic,
    ImpossibleId,
}

impl NotStored {
    const ALL: [NotStored; 11] = [
        NotStored::UnknownAccount,
        NotStored::Method,
        NotStored::Unreadable,
        NotStored::TooLarge,
        NotStored::TooSlow,
        NotStored::Busy,
        NotStored::InboxFull,
        NotStored::DiskFull,
        NotStored::Failed,
        NotStored::UnknownTopic,
        NotStored::ImpossibleId,
    ];

    fn as_str(self) -> &'static str {
        match self {
            NotStored::UnknownAccount => "not_found",
            NotStored::Method => "method_not_allowed",
            NotStored::Unreadable => "unreadable",
            NotStored::TooLarge => "too_large",
            NotStored::TooSlow => "too_slow",
            NotStored::Busy => "busy",
            NotStored::InboxFull => "inbox_full",
            NotStored::DiskFull => "disk_full",
            NotStored::Failed => "failed",
            NotStored::UnknownTopic => "unknown_topic",
            NotStored::ImpossibleId => "impossible_id",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            NotStored::UnknownAccount => StatusCode::NOT_FOUND,
            NotStored::Method => StatusCode::METHOD_NOT_ALLOWED,
            NotStored::Unreadable => StatusCode::BAD_REQUEST,
            NotStored::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            NotStored::TooSlow => StatusCode::REQUEST_TIMEOUT,
            NotStored::Busy | NotStored::InboxFull | NotStored::DiskFull | NotStored::Failed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            NotStored::UnknownTopic | NotStored::ImpossibleId => StatusCode::OK,
        }
    }

    fn header(self) -> Option<(header::HeaderName, &'static str)> {
        match self {
            NotStored::Method => Some((header::ALLOW, "POST")),
            // What comes on this connection may still be that body.
            NotStored::TooLarge | NotStored::TooSlow => Some((header::CONNECTION, "close")),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            _ => None,
        }
    }
}

impl From<BodyError> for NotStored {
    fn from(error: BodyError) -> NotStored {
        match error {
            BodyError::TooLarge => NotStored::TooLarge,
            BodyError::TooSlow => NotStored::TooSlow,
            BodyError::Broken => NotStored::Unreadable,
        }
    }
}

impl From<NotKept> for NotStored {
    fn from(error: NotKept) -> NotStored {
        match error {
            NotKept::TooMany => NotStored::InboxFull,
            NotKept::Denied(Denied::Full) => NotStored::DiskFull,
            NotKept::Denied(Denied::Busy) => NotStored::Busy,
            NotKept::Denied(_) => NotStored::Failed,
        }
    }
}

impl Notifications {
    pub fn new(settings: Settings) -> Arc<Notifications> {
        Arc::new(Notifications {
            settings,
            metrics: Metrics::new(),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// Who answers what comes to this path: we, if it is ours with an account's name below it, be it a known one or not.
    pub fn at(self: &Arc<Self>, path: &str) -> Option<impl FnOnce(Request<Incoming>) -> Later + 'static> {
        let below = path.strip_prefix(self.settings.path.as_str());
        let name = below.and_then(|rest| rest.strip_prefix('/'))?;
        if name.contains('/') {
            return None;
        }
        let account = AccountId::parse(name).ok();
        let account = account.and_then(|id| self.settings.accounts.get(&id));
        let this = self.clone();
        Some(|request| -> Later { Box::pin(async move { this.answer(account, request).await }) })
    }

    async fn answer(&self, account: Option<Arc<Account>>, request: Request<Incoming>) -> Response<Whole> {
        match self.store(account, request).await {
            Ok(()) => respond(StatusCode::OK, Whole::default()),
            Err(why) => {
                self.metrics.not_stored(why);
                let body = match why.status() {
                    StatusCode::OK => Whole::default(),
                    _ => Whole::new(Bytes::from(format!(r#"{{"error":{{"type":"{}"}}}}"#, why.as_str()))),
                };
                let mut response = respond(why.status(), body);
                if let Some((name, value)) = why.header() {
                    response.headers_mut().insert(name, HeaderValue::from_static(value));
                }
                response
            }
        }
    }

    async fn store(&self, account: Option<Arc<Account>>, request: Request<Incoming>) -> Result<(), NotStored> {
        let account = account.ok_or(NotStored::UnknownAccount)?;
        if request.method() != Method::POST {
            return Err(NotStored::Method);
        }
        let (head, body) = request.into_parts();
        let query = Query::read(head.uri.query().unwrap_or_default()).ok_or(NotStored::Unreadable)?;
        let mark = query.reference.as_deref().zip(query.mark.as_deref());
        let reference = mark.and_then(|(reference, mark)| self.settings.seal.verify(&account.id, reference, mark));
        let _place = self.place(reference.is_some()).ok_or(NotStored::Busy)?;
        let body = read_body(body, limits::NOTIFICATION_BYTES).await?;
        let told = Told::read(&query, &body)?;
        let signature = signature(&head.headers, query.data_id.as_deref(), &account);
        let thing = match told.subject? {
            Subject::Thing(thing) => thing,
            Subject::Link => {
                self.metrics.told_of_link(signature);
                // One application has one URL for all its sellers. Nothing is stored: a lost one is made good by the first
                // call that is answered 401.
                let seller = told
                    .user_id
                    .map_or(Some(account.collector_id), |user| user.parse().ok());
                seller.into_iter().for_each(|seller| self.settings.bell.seller(seller));
                return Ok(());
            }
        };
        if told
            .user_id
            .is_some_and(|user| user != account.collector_id.to_string())
        {
            self.metrics.foreign.increment(1);
        }
        let hint = Hint {
            account: account.id.clone(),
            thing,
            reference,
            signature,
        };
        self.metrics.told(&hint);
        Ok(self.settings.inbox.keep(hint).await?)
    }

    /// Each may hold a whole body in memory. What does not come by a URL that we gave out finds room in half of it only.
    fn place(&self, sealed: bool) -> Option<InFlight<'_>> {
        let max = if sealed {
            limits::NOTIFICATIONS
        } else {
            limits::NOTIFICATIONS_UNSEALED
        };
        let place = InFlight(&self.in_flight);
        let before = self.in_flight.fetch_add(1, Relaxed);
        (before < max).then_some(place)
    }
}

/// Gives its place back, however it ends.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Recorded and counted; it changes nothing.
fn signature(headers: &HeaderMap, data_id: Option<&str>, account: &Account) -> Signature {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    let signed = Signed {
        signature: header("x-signature"),
        request_id: header("x-request-id"),
        data_id,
    };
    let secrets: Vec<&str> = account.webhook_secrets.iter().map(Secret::expose).collect();
    match signed.verify(&secrets) {
        Ok(()) => Signature::Valid,
        Err(why) => {
            tracing::debug!(account = %account.id, %why, "the signature proves nothing");
            why.outcome()
        }
    }
}

fn respond(status: StatusCode, body: Whole) -> Response<Whole> {
    let has_body = body.size_hint().exact() != Some(0);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if has_body {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

#[cfg(test)]
mod tests;
