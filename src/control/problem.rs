//! What went wrong, as RFC 9457 says it: one document with a stable `code`, for every error of the control socket.

use std::time::Duration;

use hyper::StatusCode;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::json::Bad;
use super::read::not_served;
use super::write;
use crate::config::Account;
use crate::domain::access::Scope;
use crate::domain::command::{BadRefund, Refusal, Used};
use crate::domain::id::{AccountId, BadName, PosId};
use crate::domain::order::Reason;
use crate::domain::pos::Mode;
use crate::engine::{Denied, Link, NotChanged, TokenRefusal};
use crate::feed::FollowError;
use crate::limits;
use crate::log::{LogError, ReadError};
use crate::net::body::BodyError;

/// Every code that a problem may have, for the metrics.
pub(super) const CODES: [&str; 48] = [
    "account_awaits_token",
    "account_changed",
    "account_unknown",
    "account_unlinked",
    "account_without_token",
    "body_too_large",
    "body_too_slow",
    "busy",
    "delivery_contradicts",
    "duplicate_key",
    "events_trimmed",
    "external_id_taken",
    "external_name_missing",
    "forbidden",
    "in_doubt",
    "invalid_body",
    "invalid_field",
    "invalid_idempotency_key",
    "invalid_json",
    "invalid_name",
    "invalid_parameter",
    "keys_taken",
    "log_damaged",
    "log_failed",
    "method_not_allowed",
    "mode_not_served",
    "not_found",
    "order_none",
    "order_not_paid",
    "order_not_sent",
    "order_open",
    "order_paid",
    "order_rejected",
    "order_unknown",
    "payment_unknown",
    "pos_unknown",
    "reference_used",
    "refund_key_used",
    "refund_nothing_left",
    "refunds_too_many",
    "shutting_down",
    "storage_full",
    "token_exists",
    "token_unknown",
    "tokens_too_many",
    "too_deep",
    "unauthorized",
    "unknown_field",
];

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    detail: String,
    pointer: Option<String>,
    /// One more member, where a program would need it.
    member: Option<Box<(&'static str, Value)>>,
    pub(super) header: Option<(&'static str, &'static str)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code,
            detail: detail.into(),
            pointer: None,
            member: None,
            header: None,
        }
    }

    fn with(self, name: &'static str, value: impl Into<Value>) -> Problem {
        Problem {
            member: Some(Box::new((name, value.into()))),
            ..self
        }
    }

    /// The field of the body that is wrong.
    fn at(self, pointer: &str) -> Problem {
        Problem {
            pointer: Some(pointer.into()),
            ..self
        }
    }

    fn header(self, name: &'static str, value: &'static str) -> Problem {
        Problem {
            header: Some((name, value)),
            ..self
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub(super) fn method_not_allowed(allowed: &'static str) -> Problem {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("allowed here: {allowed}"),
        )
        .header("allow", allowed)
    }

    pub(super) fn unauthorized() -> Problem {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "`Authorization: Bearer` with a token of this server is needed",
        )
        .header("www-authenticate", "Bearer")
    }

    pub(super) fn forbidden() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only who may speak of all points of sale makes and revokes tokens: use the server's own socket",
        )
    }

    pub(super) fn parameter(name: &str, detail: impl std::fmt::Display) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
            format!("the parameter `{name}` {detail}"),
        )
    }

    /// `whose` name in a path follows another rule.
    pub(super) fn name(whose: &str, rule: &BadName) -> Problem {
        let detail = format!("{whose} name {rule}");
        Problem::new(StatusCode::BAD_REQUEST, "invalid_name", detail)
    }

    pub(super) fn pos_unknown(name: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "pos_unknown",
            format!("there is no point of sale {name:?}"),
        )
    }

    pub(super) fn order_unknown(reference: &str) -> Problem {
        Problem::new(
            StatusCode::NOT_FOUND,
            "order_unknown",
            format!("there is no order {reference:?}"),
        )
    }

    pub(super) fn idempotency_key(wrong: &str, rule: &BadName) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            format!(
                "the header `Idempotency-Key` {wrong}: it {rule}, a new one for each refund (a UUID will do) and the same \
                 one when a call is repeated"
            ),
        )
    }

    pub(super) fn mode_not_served(account: &Account, mode: Mode) -> Problem {
        let detail = not_served(account.site, mode);
        Problem::new(StatusCode::CONFLICT, "mode_not_served", detail).with("mode", mode.as_str())
    }

    /// `why` in Mercado Pago's words.
    pub(super) fn order_rejected(why: &Reason) -> Problem {
        let detail = format!("Mercado Pago did not take the order: {}", why.as_str());
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "order_rejected", detail)
    }

    pub(super) fn order_not_sent(waited: Duration) -> Problem {
        let detail = format!(
            "Mercado Pago did not take the order within {} s, and it is canceled: push another one",
            waited.as_secs()
        );
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "order_not_sent", detail)
    }

    /// An account with which Mercado Pago cannot be asked; `so` is what cannot be done.
    pub(super) fn account_without_token(account: &AccountId, link: &Link, so: &str) -> Problem {
        let problem = match link {
            Link::Cut(why) => Problem::new(
                StatusCode::CONFLICT,
                "account_unlinked",
                format!(
                    "the link to the account {account} is cut ({why}), so {so}: ask the merchant for a new consent"
                ),
            ),
            Link::Awaited => Problem::unavailable(
                "account_awaits_token",
                format!("the account {account} has no access token yet, so {so}: Mercado Pago is being asked for one"),
            ),
            Link::Good | Link::Unconfigured => Problem::new(
                StatusCode::CONFLICT,
                "account_without_token",
                format!("the account {account} has no access token, so {so}: configure its access_token_file"),
            ),
        };
        problem.with("account", account.as_str())
    }

    fn unavailable(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).header("retry-after", "1")
    }

    pub(super) fn body(&self) -> Vec<u8> {
        write::to_json(self)
    }
}

/// The members in the order in which a person would read them.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("type", &format_args!("urn:surtidor:problem:{}", self.code))?;
        document.serialize_entry("title", &self.code.replace('_', " "))?;
        document.serialize_entry("status", &self.status.as_u16())?;
        document.serialize_entry("detail", &self.detail)?;
        document.serialize_entry("code", self.code)?;
        if let Some(pointer) = &self.pointer {
            document.serialize_entry("pointer", pointer)?;
        }
        if let Some((name, value)) = self.member.as_deref() {
            document.serialize_entry(name, value)?;
        }
        document.end()
    }
}

impl From<Bad> for Problem {
    fn from(bad: Bad) -> Problem {
        let detail = match bad.pointer.as_deref().map(|pointer| pointer.trim_start_matches('/')) {
            Some("") | None => bad.detail,
            Some(field) => format!("{field} {}", bad.detail),
        };
        Problem {
            pointer: bad.pointer,
            ..Problem::new(StatusCode::BAD_REQUEST, bad.code, detail)
        }
    }
}

impl Problem {
    /// Another point of sale is named only to who may know of it.
    pub(super) fn refused(refusal: Refusal, scope: &Scope) -> Problem {
        let detail = refusal.to_string();
        let conflict = |code| Problem::new(StatusCode::CONFLICT, code, detail.clone());
        let conflict_with = |code, pos: &PosId, has: &str| match scope.has(pos) {
            true => conflict(code).with("pos", pos.as_str()),
            false => Problem::new(StatusCode::CONFLICT, code, format!("another point of sale has {has}")),
        };
        match refusal {
            Refusal::PosUnknown => Problem::new(StatusCode::NOT_FOUND, "pos_unknown", detail),
            Refusal::OrderOpen(open) => conflict("order_open").with("external_reference", open.as_str()),
            Refusal::KeysTaken(pos) => conflict_with("keys_taken", &pos, "these keys"),
            Refusal::PlaceTaken(pos) => conflict_with("external_id_taken", &pos, "this external_id"),
            Refusal::ReferenceUsed(Used::Elsewhere(pos)) if !scope.has(&pos) => {
                Problem::new(StatusCode::CONFLICT, "reference_used", "this reference was used before")
            }
            Refusal::ReferenceUsed(_) => conflict("reference_used"),
            Refusal::OrderPaid(paid) => conflict("order_paid").with("external_reference", paid.as_str()),
            Refusal::AccountChanged(_) => conflict("account_changed"),
            Refusal::OrderNone => Problem::new(StatusCode::NOT_FOUND, "order_none", detail),
            Refusal::OrderUnknown => Problem::new(StatusCode::NOT_FOUND, "order_unknown", detail),
            Refusal::OrderNotPaid(status) => conflict("order_not_paid").with("order_status", status.as_str()),
            Refusal::DeliveryContradicts => conflict("delivery_contradicts"),
            Refusal::RefundAmount(BadRefund::TooMuch(left)) if left.is_zero() => Problem::new(
                StatusCode::CONFLICT,
                "refund_nothing_left",
                "nothing is left of what was paid: it went back, or is about to",
            ),
            Refusal::DeliveryAmount(_) | Refusal::RefundAmount(_) => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_field", detail).at("/amount")
            }
            Refusal::PaymentUnknown(payment) => Problem::new(StatusCode::NOT_FOUND, "payment_unknown", detail)
                .at("/payment")
                .with("payment", payment),
            Refusal::RefundKeyUsed => conflict("refund_key_used"),
            Refusal::TooManyRefunds => conflict("refunds_too_many"),
            Refusal::NoExternalName(_) => conflict("external_name_missing"),
        }
    }

    pub(super) fn denied(denied: Denied, scope: &Scope) -> Problem {
        let detail = denied.to_string();
        match denied {
            Denied::Refused(refusal) => Problem::refused(refusal, scope),
            Denied::Full => Problem::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail),
            Denied::Busy | Denied::Locked => Problem::unavailable("busy", detail),
            Denied::InDoubt => Problem::unavailable("in_doubt", detail),
            Denied::Stopped => Problem::unavailable("shutting_down", detail),
            Denied::Damaged(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "log_damaged", detail),
            Denied::Failed(_) => Problem::unavailable("log_failed", detail),
        }
    }
}

impl From<NotChanged> for Problem {
    fn from(error: NotChanged) -> Problem {
        let detail = error.to_string();
        match error {
            NotChanged::Refused(TokenRefusal::Exists(_)) => Problem::new(StatusCode::CONFLICT, "token_exists", detail),
            NotChanged::Refused(TokenRefusal::TooMany) => Problem::new(StatusCode::CONFLICT, "tokens_too_many", detail),
            NotChanged::Refused(TokenRefusal::Unknown(_)) => {
                Problem::new(StatusCode::NOT_FOUND, "token_unknown", detail)
            }
            // Of no point of sale.
            NotChanged::Denied(denied) => Problem::denied(denied, &Scope::All),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        let detail = error.to_string();
        match error {
            ReadError::Busy | ReadError::Log(LogError::Locked) => Problem::unavailable("busy", detail),
            ReadError::Log(LogError::Damaged(_)) => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "log_damaged", detail)
            }
            ReadError::Log(LogError::Full | LogError::Failed(_)) => Problem::unavailable("log_failed", detail),
        }
    }
}

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Problem {
        let detail = error.to_string();
        match error {
            FollowError::Gone { oldest, .. } => {
                Problem::new(StatusCode::GONE, "events_trimmed", detail).with("oldest", oldest)
            }
            FollowError::Read(error) => error.into(),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        match error {
            BodyError::TooLarge => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("a body has at most {} bytes", limits::BODY_BYTES),
            ),
            BodyError::TooSlow => Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", error.to_string()),
            BodyError::Broken => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", error.to_string()),
        }
    }
}
