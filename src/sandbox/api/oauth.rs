//! `POST /oauth/token`: the tokens of links, for the application (`protocol.md` 8.2).

use super::{Answered, Call, Refusal, refusal};
use crate::sandbox::json::{Json, object};
use crate::sandbox::links::{self, Granted};
use crate::sandbox::serve::Reply;

pub fn token(call: &Call<'_>) -> Answered {
    let body = call.json("invalid_request")?;
    let application = &call.sim.settings.application;
    // Not every source sends the application's number.
    let id = body.get("client_id");
    let is_own = id.is_null() || id.text() == Some(&application.id.to_string()) || id.integer() == Some(application.id);
    if !is_own || need(&body, "client_secret")? != application.secret {
        return Ok(refused("invalid_client", "the application's number or secret is wrong"));
    }
    let granted = match need(&body, "grant_type")? {
        "authorization_code" => {
            need(&body, "redirect_uri")?;
            links::redeem(call.sim, need(&body, "code")?)
        }
        "refresh_token" => links::refresh(call.sim, need(&body, "refresh_token")?),
        _ => {
            let why = "grant_type is authorization_code or refresh_token";
            return Ok(refused("unsupported_grant_type", why));
        }
    };
    Ok(match granted {
        Some(granted) => Reply::Json(200, json(&granted, application.token_life.as_secs())),
        None => refused("invalid_grant", "the code or refresh token is expired, used or revoked"),
    })
}

fn need<'a>(body: &'a Json, name: &str) -> Result<&'a str, Refusal> {
    let text = body.get(name).text();
    text.ok_or_else(|| refusal(400, "invalid_request", &format!("{name} is missing")))
}

/// With no cause, as this endpoint's reference shows it.
fn refused(error: &str, message: &str) -> Reply {
    let body = object([
        ("message", message.into()),
        ("error", error.into()),
        ("status", 400u64.into()),
        ("cause", Json::Array(Vec::new())),
    ]);
    Reply::Json(400, body)
}

fn json(granted: &Granted, seconds: u64) -> Json {
    object([
        ("access_token", granted.access.as_str().into()),
        ("token_type", "bearer".into()),
        ("expires_in", seconds.into()),
        ("scope", "offline_access read write".into()),
        ("user_id", granted.seller.into()),
        ("refresh_token", granted.refresh.as_str().into()),
        ("public_key", format!("APP_USR-public-{}", granted.seller).into()),
        ("live_mode", true.into()),
    ])
}
