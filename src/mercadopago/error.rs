//! How a call ends when it does not end well, and what Mercado Pago says of it (`protocol.md` 8.4).

use std::fmt;
use std::time::Duration;

use super::wire::{self, Object};
use crate::config::Secret;
use crate::limits;

/// Texts in it are Mercado Pago's own, cut to `limits::API_TEXT_LEN` and without the secrets that were sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Any status that has no name of its own below.
    #[error("Mercado Pago refuses it: {0}")]
    Refused(Box<Complaint>),
    #[error("Mercado Pago does not know it: {0}")]
    NotFound(Box<Complaint>),
    /// 401 or 403: the token, or what this account may do.
    #[error("Mercado Pago does not allow it: {0}")]
    Unauthorized(Box<Complaint>),
    #[error("Mercado Pago wants fewer calls: {complaint}")]
    Limited {
        complaint: Box<Complaint>,
        /// How long it wants to be left alone, at most `limits::API_PATIENCE`.
        retry_after: Option<Duration>,
    },
    #[error("Mercado Pago cannot answer now: {0}")]
    Unavailable(Box<Complaint>),
    #[error("no answer from Mercado Pago: {0}")]
    Broken(#[from] Broken),
    #[error(
        "Mercado Pago did not answer lately, so it is asked only once in {} s",
        limits::API_REST.as_secs()
    )]
    Resting,
    /// A success whose body is not what `protocol.md` says.
    #[error("Mercado Pago's answer makes no sense: {what}")]
    Nonsense { what: String },
}

/// Why there was no whole answer. Except for `Connect` and `Busy`, what was asked may have been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("the connection broke: {0}")]
    Cut(String),
    #[error("not within the time limit")]
    Late,
    #[error("all {} connections were busy", limits::API_CONNECTIONS)]
    Busy,
}

/// What an answer other than a success said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    pub status: u16,
    pub error: Option<String>,
    pub message: Option<String>,
    pub causes: Vec<Cause>,
}

/// One of `cause`, or of `errors` in the newer shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// A number or a word, as text.
    pub code: Option<String>,
    pub description: Option<String>,
}

impl ApiError {
    /// Whether the same call may end well later. A `NotFound` of something just notified may too: only who asked knows.
    pub fn may_pass(&self) -> bool {
        match self {
            ApiError::Limited { .. } | ApiError::Unavailable(_) | ApiError::Broken(_) | ApiError::Resting => true,
            // Too slow, key locked, inner dependency: the client libraries try these again.
            ApiError::Refused(complaint) => matches!(complaint.status, 408 | 423 | 424),
            ApiError::NotFound(_) | ApiError::Unauthorized(_) | ApiError::Nonsense { .. } => false,
        }
    }

    /// What Mercado Pago said, if it said anything.
    pub fn complaint(&self) -> Option<&Complaint> {
        match self {
            ApiError::Refused(complaint)
            | ApiError::NotFound(complaint)
            | ApiError::Unauthorized(complaint)
            | ApiError::Limited { complaint, .. }
            | ApiError::Unavailable(complaint) => Some(complaint),
            ApiError::Broken(_) | ApiError::Resting | ApiError::Nonsense { .. } => None,
        }
    }

    /// Whether this code stands anywhere in what was said; codes come under surprising statuses (`protocol.md` 7).
    pub fn has_code(&self, code: &str) -> bool {
        self.complaint().is_some_and(|complaint| complaint.has_code(code))
    }

    /// Whether another try at once is worth it, if the call may be made twice.
    pub(super) fn is_retried(&self) -> bool {
        match self {
            ApiError::Limited { .. } | ApiError::Broken(_) => true,
            ApiError::Unavailable(complaint) => matches!(complaint.status, 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    pub(super) fn nonsense(what: impl Into<String>) -> ApiError {
        ApiError::Nonsense { what: what.into() }
    }

    /// From a status that is no success.
    pub(super) fn of(complaint: Complaint, retry_after: Option<Duration>) -> ApiError {
        let complaint = Box::new(complaint);
        match complaint.status {
            401 | 403 => ApiError::Unauthorized(complaint),
            404 => ApiError::NotFound(complaint),
            429 => ApiError::Limited {
                complaint,
                retry_after: retry_after.map(|wait| wait.min(limits::API_PATIENCE)),
            },
            500.. => ApiError::Unavailable(complaint),
            _ => ApiError::Refused(complaint),
        }
    }
}

impl Complaint {
    /// Reads both shapes of `protocol.md` 8.4; of a body that has neither, only its length is told.
    pub(super) fn read(status: u16, body: &[u8], hidden: &[&Secret]) -> Complaint {
        let said = |object: &Object<'_>, name| object.text_or_number(name).map(|text| clean(&text, hidden));
        let cause = |object: &Object<'_>| Cause {
            code: said(object, "code"),
            description: said(object, "description").or_else(|| said(object, "message")),
        };
        let Ok(object) = wire::body(body).and_then(|value| value.object()) else {
            return Complaint {
                status,
                error: None,
                message: (!body.is_empty()).then(|| format!("{} bytes that are no JSON object", body.len())),
                causes: Vec::new(),
            };
        };
        let causes = ["cause", "errors"].into_iter().flat_map(|name| object.objects(name));
        Complaint {
            status,
            error: said(&object, "error").or_else(|| said(&object, "code")),
            message: said(&object, "message"),
            causes: causes.take(limits::API_CAUSES).map(|object| cause(&object)).collect(),
        }
    }

    pub(super) fn has_code(&self, code: &str) -> bool {
        let codes = self.causes.iter().filter_map(|cause| cause.code.as_deref());
        self.error.as_deref().into_iter().chain(codes).any(|said| said == code)
    }
}

/// `404 not_found: Payment not found (2000: Payment not found)`
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(error) = &self.error {
            write!(f, " {error}")?;
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        let causes: Vec<String> = self.causes.iter().map(Cause::to_string).collect();
        if !causes.is_empty() {
            write!(f, " ({})", causes.join("; "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<&str> = [&self.code, &self.description]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        f.write_str(&parts.join(": "))
    }
}

/// Fit for a line of the log, whatever was answered: some services quote the secret that they refuse.
fn clean(text: &str, hidden: &[&Secret]) -> String {
    let hide = |text: String, secret: &&Secret| text.replace(secret.expose(), "…");
    let text = hidden.iter().fold(text.to_owned(), hide);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(limits::API_TEXT_LEN).map(printable).collect()
}
