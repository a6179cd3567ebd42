//! Tokens for accounts that are reached through a link, which a merchant gave an integrator (`protocol.md` 8.2).

use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use uuid::Uuid;

use super::client::{Call, Client};
use super::error::{ApiError, Complaint};
use super::metrics::Name;
use super::wire::{self, Object};
use crate::config::{OAuth, Secret};
use crate::limits;

/// What a link is good for until it is refreshed again.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub access_token: Secret,
    /// In place of the one that was sent, which may be dead from now on. None: that one stays.
    pub refresh_token: Option<Secret>,
    pub expires_in: Duration,
    /// The seller who gave the link.
    pub user_id: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    client_secret: &'a str,
    grant_type: &'static str,
    refresh_token: &'a str,
}

impl Tokens {
    /// Lenient, since an answer that is not understood may cost the link.
    fn read(object: &Object<'_>) -> Result<Tokens, ApiError> {
        let secret = |text: &str| {
            let parsed = Secret::parse(text);
            parsed.map_err(|why| ApiError::nonsense(format!("a token in it is none: {why}")))
        };
        let seconds = object.count("expires_in").and_then(|seconds| seconds.try_into().ok());
        Ok(Tokens {
            access_token: secret(&object.need_text("access_token")?)?,
            refresh_token: object.text("refresh_token").map(|text| secret(&text)).transpose()?,
            expires_in: seconds
                .map_or(limits::TOKEN_LIFE, Duration::from_secs)
                .min(limits::TOKEN_LIFE),
            user_id: object.id("user_id"),
        })
    }
}

impl Client {
    /// The next tokens of a link. `refresh_token` is the newest one that it brought.
    pub async fn refresh_token(&self, link: &OAuth, refresh_token: &Secret) -> Result<Tokens, ApiError> {
        let body = Body {
            client_id: link.client_id.map(|id| id.to_string()),
            client_secret: link.client_secret.expose(),
            grant_type: "refresh_token",
            refresh_token: refresh_token.expose(),
        };
        let hidden = vec![&link.client_secret, refresh_token, &link.refresh_token];
        let call = Call::bare(Name::TokenRefresh, Method::POST, "/oauth/token".into(), hidden);
        // Tried again under its key: what was sent is still good while nobody has used what came of it.
        let call = call.with(wire::write(&body)).keyed(Uuid::now_v7());
        self.ask(call, |bytes| Tokens::read(&wire::object(bytes)?)).await
    }
}

impl ApiError {
    /// Whether this says that a link is cut, or that the application may not use it: asking again does not help until
    /// somebody has done something about it.
    pub fn cuts_link(&self) -> Option<&Complaint> {
        const WORDS: [&str; 5] = [
            "invalid_grant",
            "invalid_client",
            "unauthorized_client",
            "invalid_scope",
            "forbidden",
        ];
        let said = |complaint: &&Complaint| WORDS.iter().any(|word| complaint.has_code(word));
        match self {
            ApiError::Refused(complaint) | ApiError::Unauthorized(complaint) => Some(&**complaint).filter(said),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mercadopago::tests::server::{Server, say};

    fn link(client_id: Option<u64>) -> OAuth {
        OAuth {
            client_id,
            owner_id: None,
            client_secret: Secret::parse("hush-client-secret").unwrap(),
            refresh_token: Secret::parse("hush-first").unwrap(),
        }
    }

    #[tokio::test]
    async fn a_link_brings_tokens_as_documented() {
        let server = Server::start([
            say(
                200,
                r#"{"access_token":"APP_USR-7-1-a-178106235","token_type":"bearer","expires_in":15552000,
                "scope":"offline_access read write","user_id":178106235,"refresh_token":"TG-2","public_key":"P","live_mode":true}"#,
            ),
            say(200, r#"{"access_token":"APP_USR-8","expires_in":"soon"}"#),
            say(200, r#"{"refresh_token":"TG-3"}"#),
        ])
        .await;
        let newest = Secret::parse("TG-1").unwrap();
        let tokens = server.client().refresh_token(&link(Some(77)), &newest).await.unwrap();
        assert_eq!(tokens.access_token.expose(), "APP_USR-7-1-a-178106235");
        assert_eq!(tokens.refresh_token.as_ref().map(Secret::expose), Some("TG-2"));
        assert_eq!(
            (tokens.expires_in.as_secs(), tokens.user_id),
            (15_552_000, Some(178_106_235))
        );
        let bare = server.client().refresh_token(&link(None), &newest).await.unwrap();
        assert!(bare.refresh_token.is_none() && bare.expires_in == limits::TOKEN_LIFE);
        let nonsense = server.client().refresh_token(&link(None), &newest).await.unwrap_err();
        assert!(nonsense.to_string().contains("access_token is missing"), "{nonsense}");
        let asked = server.asked();
        assert_eq!(asked[0].line, "POST /oauth/token");
        assert_eq!(
            asked[0].body,
            r#"{"client_id":"77","client_secret":"hush-client-secret","grant_type":"refresh_token","refresh_token":"TG-1"}"#
        );
        assert!(!asked[1].body.contains("client_id"));
        assert_eq!(asked[0].header("authorization"), None);
        assert!(asked[0].header("x-idempotency-key").is_some());
    }

    #[tokio::test]
    async fn only_a_refusal_of_the_link_cuts_it_and_none_quotes_a_secret() {
        for (status, body, cuts) in [
            (
                400,
                r#"{"message":"dead hush-newest","error":"invalid_grant","status":400,"cause":[]}"#,
                true,
            ),
            (
                401,
                r#"{"message":"hush-client-secret","error":"invalid_client","status":401}"#,
                true,
            ),
            (400, r#"{"message":"hush-first","error":"unauthorized_client"}"#, true),
            (400, r#"{"error":"invalid_request","status":400}"#, false),
            (403, "<html>a proxy</html>", false),
            (404, r#"{"error":"not_found"}"#, false),
        ] {
            let server = Server::start([say(status, body)]).await;
            let newest = Secret::parse("hush-newest").unwrap();
            let error = server.client().refresh_token(&link(None), &newest).await.unwrap_err();
            assert_eq!(error.cuts_link().is_some(), cuts, "{error}");
            assert!(!error.to_string().contains("hush") && !error.may_pass(), "{error}");
        }
    }
}
