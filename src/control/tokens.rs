//! Who is let in over the network: tokens made, listed and revoked, by administrators.

use hyper::StatusCode;
use hyper::body::Incoming;

use super::caller::Caller;
use super::problem::Problem;
use super::query::Parameters;
use super::{Answer, Answered, json, limit, read, whole, write};
use crate::domain::id::TokenName;

pub(super) async fn list(caller: &Caller, mut parameters: Parameters) -> Answered {
    let tokens = caller.tokens()?;
    let limit = limit(&mut parameters)?;
    let cursor = parameters.parsed("cursor", TokenName::parse)?;
    parameters.finish()?;
    let (page, more) = tokens.list(cursor, limit);
    let next = page.last().filter(|_| more).map(|last| last.name.to_string());
    let tokens = page.iter().map(|told| write::token(told, None)).collect();
    Ok(Answer::ok(&write::TokenPage { tokens, next }))
}

pub(super) async fn create(caller: &Caller, name: &str, parameters: Parameters, body: Incoming) -> Answered {
    caller.tokens()?;
    parameters.finish()?;
    let name = token_name(name)?;
    let scope = read::scope(&json::body(&whole(body).await?)?)?;
    // The body may have come slowly, and its sender's own token have gone meanwhile.
    let (told, secret) = caller.tokens()?.create(name, scope).await?;
    tracing::info!(token = %told.name, scope = ?told.scope, "a token was made");
    let created = write::to_json(&write::token(&told, Some(&secret)));
    Ok(Answer::Json(StatusCode::CREATED, created))
}

pub(super) async fn revoke(caller: &Caller, name: &str, parameters: Parameters) -> Answered {
    let tokens = caller.tokens()?;
    parameters.finish()?;
    let name = token_name(name)?;
    tokens.revoke(name.clone()).await?;
    tracing::info!(token = %name, "a token was revoked");
    Ok(Answer::Done)
}

fn token_name(name: &str) -> Result<TokenName, Problem> {
    TokenName::parse(name).map_err(|rule| Problem::name("a token's", &rule))
}
