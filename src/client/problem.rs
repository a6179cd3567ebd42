//! What the server says when it refuses.

use std::fmt;

use serde::Deserialize;

/// The server's refusal, as it came (RFC 9457), or what can be said of an answer that is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub code: String,
    pub title: String,
    pub detail: String,
    pub status: u16,
    pub pointer: Option<String>,
    /// The answer's `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<String>,
    /// The document itself, for `--json`.
    #[serde(skip)]
    pub text: String,
}

impl Problem {
    pub fn read(status: u16, retry_after: Option<String>, text: &str) -> Problem {
        let said: Problem = serde_json::from_str(text).unwrap_or_default();
        Problem {
            status,
            retry_after,
            text: text.into(),
            ..said
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return write!(f, "the answer was HTTP {} without a reason", self.status);
        }
        let said = if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        };
        write!(f, "{said}")?;
        if let Some(pointer) = self.pointer.as_deref().filter(|pointer| !pointer.is_empty()) {
            write!(f, " at {pointer}")?;
        }
        write!(f, " ({})", self.code)
    }
}
