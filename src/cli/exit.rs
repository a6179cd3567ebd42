//! How a command ends: what went wrong, what to do next, and the exit code. Nothing here knows what was asked.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use crate::app::StartError;
use crate::client::{self, Problem};
use crate::config::Fault;
use crate::mercadopago::ApiError;

/// Every exit code. The large ones are those of `sysexits.h`, which service managers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    Refused = 1,
    Usage = 2,
    Unreachable = 3,
    Storage = 74,
    Taken = 75,
    Configuration = 78,
}

impl Exit {
    pub const ALL: [(Exit, &str); 7] = [
        (Exit::Ok, "done"),
        (
            Exit::Refused,
            "the server or Mercado Pago refused it, and said why; pos sync: something differs",
        ),
        (Exit::Usage, "the command line, or a file it names, is wrong"),
        (
            Exit::Unreachable,
            "the server or Mercado Pago cannot be reached, or did not answer; order cancel: it is not decided yet",
        ),
        (
            Exit::Storage,
            "serve, backup: the storage failed; log verify: something is damaged; elsewhere: the output could not be written",
        ),
        (
            Exit::Taken,
            "serve: another process has the data folder, or an address is in use",
        ),
        (
            Exit::Configuration,
            "serve, check, pos url, pos provision, pos sync: the configuration is wrong",
        ),
    ];

    /// The part of `--help` that documents the codes.
    pub fn help() -> String {
        Exit::ALL
            .iter()
            .fold(String::from("Exit codes:"), |mut text, (exit, meaning)| {
                write!(text, "\n  {:>2}  {meaning}", *exit as u8).expect("a String takes all that is written");
                text
            })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Refused(Box<Problem>),
    #[error("{0}")]
    Usage(String),
    /// All that is wrong with it, a line each.
    #[error("{}", lines(.0))]
    Configuration(Vec<Fault>),
    /// `server` is where we looked for it; `why` ends the sentence.
    #[error("{server} {why}")]
    Unreachable { server: String, why: String },
    #[error(
        "{failed} of {tried} rows failed; correct them and import the file again: a row that is in already does no harm"
    )]
    Rows { failed: u64, tried: u64 },
    /// `what` was tried; `next` is what to do now, where there is something.
    #[error("{what}: {error}")]
    MercadoPago {
        what: String,
        error: Box<ApiError>,
        next: Option<String>,
    },
    /// Mercado Pago has not said yet whether the order on this point of sale is canceled or paid.
    #[error("Mercado Pago has not answered yet: {reference} on {pos} is open until it does")]
    Undecided { pos: String, reference: String },
    /// What was found is not as it would have to be, in a sentence.
    #[error("{0}")]
    Unfit(String),
    /// The server did not start.
    #[error("{0}")]
    Start(Box<StartError>),
    /// The server ran, and had to stop.
    #[error("{0}")]
    Fault(String),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    pub fn exit(&self) -> Exit {
        match self {
            // Mercado Pago did not answer in time.
            Failure::Refused(problem) if problem.code == "order_not_sent" => Exit::Unreachable,
            Failure::Refused(_) | Failure::Rows { .. } | Failure::Unfit(_) => Exit::Refused,
            Failure::MercadoPago { error, .. } if error.may_pass() => Exit::Unreachable,
            Failure::MercadoPago { .. } => Exit::Refused,
            Failure::Usage(_) => Exit::Usage,
            Failure::Configuration(_) => Exit::Configuration,
            Failure::Start(error) if error.is_taken() => Exit::Taken,
            Failure::Start(error) if error.is_misconfigured() => Exit::Configuration,
            Failure::Start(_) | Failure::Fault(_) => Exit::Storage,
            Failure::Unreachable { .. } | Failure::Undecided { .. } => Exit::Unreachable,
            // Whoever read our output has read enough: `watch | head`.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Failure::Output(_) => Exit::Storage,
        }
    }

    /// Of Mercado Pago's refusal: what to do now, if this is known better.
    pub fn with_advice(mut self, better: Option<String>) -> Failure {
        if let (Failure::MercadoPago { next, .. }, Some(better)) = (&mut self, better) {
            *next = Some(better);
        }
        self
    }

    /// What to do next, where there is something.
    pub fn advice(&self) -> Option<String> {
        match self {
            Failure::Refused(problem) => advice_on(problem),
            Failure::MercadoPago { next, .. } => next.clone(),
            // In rustls' words. It answers, so it runs.
            Failure::Unreachable { why, .. } if why.contains("peer certificate") => Some(
                "`--ca FILE` names the authority to believe; a certificate that signs itself must say CA:FALSE".into(),
            ),
            Failure::Unreachable { .. } => {
                Some("is `surtidor serve` running? `--socket`, SURTIDOR_SOCKET or `--url` say where to look".into())
            }
            Failure::Undecided { pos, .. } => Some(format!(
                "it goes on asking; `surtidor watch --pos {pos}` tells order_canceled or order_paid"
            )),
            _ => None,
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Failure {
        match error {
            client::Error::Refused(problem) => Failure::Refused(problem),
            client::Error::Unreachable { server, why } => Failure::Unreachable { server, why },
            client::Error::Unasked(why) => Failure::Usage(why),
        }
    }
}

fn lines(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

/// What to do about a refusal, where there is something.
fn advice_on(problem: &Problem) -> Option<String> {
    let next = match problem.code.as_str() {
        "pos_unknown" => "`surtidor pos list` shows those registered, `surtidor pos add` registers one",
        "order_open" => {
            "`surtidor pos show` shows the order, `surtidor order cancel` ends it, `order push --replace` replaces it"
        }
        "order_none" => "`surtidor pos show` shows the point of sale, `surtidor order list --pos` what it had",
        "order_unknown" => "`surtidor order list` shows those there are",
        "order_paid" => "release the product, then tell it with `surtidor order deliver`",
        "order_not_paid" => "`surtidor order show` tells its status; `surtidor watch` tells when it is paid",
        "refund_key_used" => "leave `--key` out: this is another refund",
        "refund_nothing_left" | "payment_unknown" => "`surtidor order show` tells what was paid and what went back",
        "account_without_token" => "configure the account's `access_token_file`, then reload the server",
        "account_unlinked" => {
            "write the refresh token of a new consent into the account's file, then reload the server"
        }
        "order_rejected" => "mend what Mercado Pago complains of, and push it under another reference",
        "order_not_sent" => "push it again under another reference",
        "delivery_contradicts" => "`surtidor order show` tells what was reported first",
        "reference_used" => "choose another `--reference`; `surtidor order show` shows the order that has this one",
        "keys_taken" => "`surtidor pos list` shows who has them",
        "account_unknown" => "name one of the server's `[[account]]` with `--account`",
        "events_trimmed" => "`--after 0` begins with the oldest event kept",
        "unauthorized" => "give a token with `--token-file`; one that was revoked opens nothing",
        "forbidden" => "ask the server's own socket, or give the token of an administrator with `--token-file`",
        "token_exists" | "token_unknown" => "`surtidor token list` shows those there are",
        "storage_full" => "make room on the disk of the data folder; the server goes on by itself",
        "log_failed" => "the server cannot write any more: see its log, then start it again",
        "busy" => {
            return Some(format!(
                "try again in {} s",
                problem.retry_after.as_deref().unwrap_or("a few")
            ));
        }
        "shutting_down" => "the server is ending; try again when it is back",
        "" => "what answered is no Surtidor server: check `--socket` or `--url`",
        _ => return None,
    };
    Some(next.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, text: &str) -> Failure {
        Failure::Refused(Box::new(Problem::read(status, Some("2".into()), text)))
    }

    #[test]
    fn a_refusal_says_what_where_and_what_next() {
        let failure = refused(
            409,
            r#"{"code":"order_open","title":"Order open","detail":"T-1 is open","status":409}"#,
        );
        assert_eq!(failure.to_string(), "T-1 is open (order_open)");
        assert!(failure.advice().expect("one").contains("--replace"));
        assert_eq!(failure.exit(), Exit::Refused);
        let failure = refused(
            400,
            r#"{"code":"invalid_field","title":"Bad","pointer":"/items/0/title"}"#,
        );
        assert_eq!(failure.to_string(), "Bad at /items/0/title (invalid_field)");
        assert_eq!(
            refused(503, r#"{"code":"busy"}"#).advice().as_deref(),
            Some("try again in 2 s")
        );
        assert_eq!(
            refused(502, "<html>").to_string(),
            "the answer was HTTP 502 without a reason"
        );
    }

    #[test]
    fn what_mercado_pago_has_not_answered_may_be_tried_again() {
        let undecided = Failure::Undecided {
            pos: "PUMP4".into(),
            reference: "T-1".into(),
        };
        assert_eq!(undecided.exit(), Exit::Unreachable);
        assert!(undecided.advice().expect("one").contains("watch --pos PUMP4"));
        assert_eq!(refused(504, r#"{"code":"order_not_sent"}"#).exit(), Exit::Unreachable);
        assert_eq!(refused(422, r#"{"code":"order_rejected"}"#).exit(), Exit::Refused);
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit(),
            Exit::Ok
        );
        assert_eq!(
            Failure::from(io::Error::from(io::ErrorKind::StorageFull)).exit(),
            Exit::Storage
        );
    }
}
