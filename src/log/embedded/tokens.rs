//! Tokens of the control API: what each opens, by its hash. A row's checksum covers all that decides what it opens.

use ring::digest;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{Batch, Log, cut, failure};
use crate::domain::access::{Grant, Scope, TokenHash};
use crate::domain::id::{PosId, Timestamp, TokenName};
use crate::log::{Damage, LogError, Sum};

/// The form of a body that this version writes; a newer one is refused by name.
const FORM: u32 = 1;

/// Without names: for all points of sale.
#[derive(Serialize, Deserialize)]
struct Body {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pos: Option<Vec<String>>,
    created_at: i64,
}

impl Batch<'_> {
    pub fn put_grant(&mut self, grant: &Grant) -> Result<(), LogError> {
        let (name, body) = (grant.name.as_str(), body(grant));
        let sum = sum(name, &grant.hash, &body);
        self.transaction
            .prepare_cached("INSERT INTO token (name, hash, body, sum) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut statement| statement.execute(params![name, grant.hash.0, body, sum.0]))
            .map_err(failure)?;
        self.changes += 1;
        Ok(())
    }

    pub fn drop_grant(&mut self, name: &TokenName) -> Result<(), LogError> {
        self.transaction
            .prepare_cached("DELETE FROM token WHERE name = ?1")
            .and_then(|mut statement| statement.execute([name.as_str()]))
            .map_err(failure)?;
        self.changes += 1;
        Ok(())
    }

    /// When a token was used last. One that is gone stays so.
    pub fn note_use(&mut self, name: &TokenName, at: Timestamp) -> Result<(), LogError> {
        self.transaction
            .prepare_cached("UPDATE token SET used_at = ?2 WHERE name = ?1")
            .and_then(|mut statement| statement.execute(params![name.as_str(), at.0]))
            .map_err(failure)?;
        self.changes += 1;
        Ok(())
    }
}

impl Log {
    /// All tokens, and when each was used last.
    pub fn grants(&self, mut each: impl FnMut(Grant, Option<Timestamp>)) -> Result<(), LogError> {
        rows(&self.connection, |read| {
            let (grant, used_at) = read?;
            each(grant, used_at);
            Ok(())
        })
    }
}

/// Looks at each token's row, and says what is wrong with it.
pub(in crate::log) fn damaged(connection: &Connection, mut tell: impl FnMut(Damage)) -> Result<(), LogError> {
    rows(connection, |read| {
        read.err().into_iter().for_each(&mut tell);
        Ok(())
    })
}

type Read = Result<(Grant, Option<Timestamp>), Damage>;

fn rows(connection: &Connection, mut each: impl FnMut(Read) -> Result<(), Damage>) -> Result<(), LogError> {
    let mut statement = connection
        .prepare("SELECT name, hash, body, sum, used_at FROM token ORDER BY name")
        .map_err(failure)?;
    let mut rows = statement.query([]).map_err(failure)?;
    while let Some(row) = rows.next().map_err(failure)? {
        let name: String = row.get(0).map_err(failure)?;
        let body: Vec<u8> = row.get(2).map_err(failure)?;
        let used_at: Option<i64> = row.get(4).map_err(failure)?;
        // One of another length is damaged as well.
        let (hash, stored) = (row.get(1).unwrap_or_default(), row.get(3).unwrap_or_default());
        let grant = verified(&name, TokenHash(hash), &body, Sum(stored));
        each(grant.map(|grant| (grant, used_at.map(Timestamp))))?;
    }
    Ok(())
}

fn verified(name: &str, hash: TokenHash, body: &[u8], stored: Sum) -> Result<Grant, Damage> {
    let damage = |what: String| Damage {
        place: format!("token {name}"),
        what,
    };
    let found = sum(name, &hash, body);
    if found != stored {
        return Err(damage(format!("its checksum is {found}, not {stored}")));
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| damage(error.to_string()))?;
    if body.v > FORM {
        let what = format!("its form is version {}, and this program reads up to {FORM}", body.v);
        return Err(damage(what));
    }
    let parsed = || -> Option<(TokenName, Scope)> {
        let name = TokenName::parse(name).ok()?;
        let Some(names) = &body.pos else {
            return Some((name, Scope::All));
        };
        let names: Result<Vec<_>, _> = names.iter().map(|name| PosId::parse(name)).collect();
        Some((name, Scope::of(names.ok()?)))
    };
    let (name, scope) = parsed().ok_or_else(|| damage("a name in it is not valid".into()))?;
    Ok(Grant {
        name,
        hash,
        scope,
        created_at: Timestamp(body.created_at),
    })
}

fn body(grant: &Grant) -> Vec<u8> {
    let names = match &grant.scope {
        Scope::All => None,
        Scope::Of(names) => Some(names.iter().map(PosId::to_string).collect()),
    };
    let body = Body {
        v: FORM,
        pos: names,
        created_at: grant.created_at.0,
    };
    serde_json::to_vec(&body).expect("numbers and texts can be written")
}

pub(super) fn sum(name: &str, hash: &TokenHash, body: &[u8]) -> Sum {
    let mut sum = digest::Context::new(&digest::SHA256);
    sum.update(&(name.len() as u64).to_be_bytes());
    sum.update(name.as_bytes());
    sum.update(&hash.0);
    sum.update(body);
    cut(sum.finish())
}
