//! `surtidor pos sync`: compares the points of sale here with those at Mercado Pago. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::json;

use super::screen::{Cell, Table};
use super::wanted::{Difference, Merchant, Merchants, WantedArgs, refused};
use super::wire::Pos;
use super::{Failure, Screen, pos};
use crate::client::Session;
use crate::domain::id::{ExternalPosId, ExternalStoreId, PosId};
use crate::mercadopago::{self, Client};

/// Compares points of sale with those at Mercado Pago
///
/// Tells what differs, and changes nothing: name, URL, fixed amount, store, and the category if --trade says which. One
/// may be missing there; if all are compared, one may also stand in a store there and be unknown here. Exits with 1 if
/// anything differs. In a pipe, one a line with tabs: point of sale, what, ours, theirs.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor pos sync --config /etc/surtidor/surtidor.toml
  surtidor pos sync PUMP4 --trade fuel")]
pub struct SyncArgs {
    /// The points of sale [default: all]
    #[arg(value_parser = PosId::parse)]
    pos: Vec<PosId>,
    #[command(flatten)]
    pub wanted: WantedArgs,
}

/// Those of an account at Mercado Pago that stand in stores of ours, by their names in lower case.
type Theirs = BTreeMap<String, mercadopago::Pos>;

struct Work<'a> {
    merchants: &'a Merchants,
    client: Client,
    /// By account.
    theirs: BTreeMap<&'a str, Theirs>,
}

/// Whose it is: a point of sale of ours, or the name of one there.
struct Found {
    pos: String,
    difference: Difference,
}

pub async fn run(
    mut session: Session,
    args: &SyncArgs,
    merchants: &Merchants,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let mut ours = Vec::new();
    for known in chosen(&mut session, &args.pos).await? {
        let id = PosId::parse(&known.pos).map_err(|rule| Failure::Usage(format!("{}: {rule}", known.pos)))?;
        ours.push((id, known));
    }
    let mut work = Work {
        merchants,
        client: Client::new(&merchants.base_url),
        theirs: BTreeMap::new(),
    };
    work.read_stores(&ours).await?;
    let mut found = Vec::new();
    for (id, known) in &ours {
        let differences = work.compare(id, known).await?;
        let pos = || id.to_string();
        found.extend(
            differences
                .into_iter()
                .map(|difference| Found { pos: pos(), difference }),
        );
    }
    if args.pos.is_empty() {
        found.extend(work.unknown(&ours));
    }
    tell(&found, ours.len(), json, screen)
}

async fn chosen(session: &mut Session, named: &[PosId]) -> Result<Vec<Pos>, Failure> {
    if named.is_empty() {
        return pos::all(session).await;
    }
    let mut chosen = Vec::new();
    for id in named {
        chosen.push(session.get(&format!("/v1/pos/{id}")).await?);
    }
    Ok(chosen)
}

fn only(what: &'static str, ours: String, theirs: String) -> Difference {
    Difference {
        what,
        ours,
        theirs,
        mendable: false,
    }
}

impl<'a> Work<'a> {
    /// A store at a time is fewer calls than a point of sale at a time.
    async fn read_stores(&mut self, ours: &'a [(PosId, Pos)]) -> Result<(), Failure> {
        let mut read = BTreeSet::new();
        for (_, known) in ours {
            let Ok(merchant) = self.merchants.of(known) else {
                continue;
            };
            let Some(store) = known
                .external_store_id
                .as_deref()
                .and_then(|id| ExternalStoreId::parse(id).ok())
            else {
                continue;
            };
            if read.insert((known.account.as_str(), store.clone())) {
                let told = self.client.pos_of_store(merchant.token, &store).await;
                let told =
                    told.map_err(|error| refused(format!("the store {store} cannot be read"), merchant, error))?;
                let named = told
                    .into_iter()
                    .filter_map(|pos| Some((pos.external_id.as_ref()?.to_lowercase(), pos)));
                self.theirs.entry(&known.account).or_default().extend(named);
            }
        }
        Ok(())
    }

    async fn compare(&self, id: &PosId, known: &Pos) -> Result<Vec<Difference>, Failure> {
        let merchant = match self.merchants.of(known) {
            Ok(merchant) => merchant,
            Err(why) => return Ok(vec![only("not compared", String::new(), why.to_string())]),
        };
        let wanted = match self.merchants.wanted(id, known, None) {
            Ok(wanted) => wanted,
            Err(why) => return Ok(vec![only("not compared", why.to_string(), String::new())]),
        };
        let name = wanted.external_id.as_str();
        let listed = self
            .theirs
            .get(known.account.as_str())
            .and_then(|theirs| theirs.get(&name.to_lowercase()));
        let theirs = match listed {
            Some(listed) => Some(listed.clone()),
            None => self.find(id, &wanted.external_id, merchant).await?,
        };
        let Some(theirs) = theirs else {
            return Ok(vec![only("missing", name.to_owned(), String::new())]);
        };
        let mut differences = wanted.differences(&theirs);
        if known.external_id.is_none() {
            differences.push(only("external_id", String::new(), name.to_owned()));
        }
        Ok(differences)
    }

    async fn find(
        &self,
        id: &PosId,
        external_id: &ExternalPosId,
        merchant: Merchant<'_>,
    ) -> Result<Option<mercadopago::Pos>, Failure> {
        let found = self.client.find_pos(merchant.token, external_id).await;
        found.map_err(|error| refused(format!("{id} cannot be looked for"), merchant, error))
    }

    /// Those in stores of ours that none of ours is.
    fn unknown(&self, ours: &[(PosId, Pos)]) -> Vec<Found> {
        let mut known = BTreeSet::new();
        for (id, pos) in ours {
            if let Ok(wanted) = self.merchants.wanted(id, pos, None) {
                known.insert((pos.account.as_str(), wanted.external_id.as_str().to_lowercase()));
            }
        }
        let theirs = self
            .theirs
            .iter()
            .flat_map(|(account, theirs)| theirs.iter().map(move |one| (*account, one)));
        let extra = theirs.filter(|(account, (name, _))| !known.contains(&(*account, (*name).clone())));
        extra
            .map(|(_, (_, theirs))| Found {
                pos: theirs.external_id.clone().unwrap_or_default(),
                difference: only("unknown here", String::new(), theirs.name.clone().unwrap_or_default()),
            })
            .collect()
    }
}

fn tell(found: &[Found], compared: usize, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if json {
        for Found { pos, difference } in found {
            let Difference { what, ours, theirs, .. } = difference;
            screen.json(&json!({"pos": pos, "what": what, "ours": ours, "theirs": theirs}).to_string())?;
        }
    } else {
        let row = |Found { pos, difference }: &Found| -> Vec<Cell> {
            vec![
                pos.as_str().into(),
                difference.what.into(),
                difference.ours.as_str().into(),
                difference.theirs.as_str().into(),
            ]
        };
        Table::new(&["POS", "WHAT", "OURS", "THEIRS"]).rows(screen, found.iter().map(row).collect())?;
    }
    let points = if compared == 1 { "point" } else { "points" };
    match found.len() {
        0 if json => Ok(()),
        0 => Ok(screen.line(&format!("{compared} {points} of sale compared: nothing differs"))?),
        1 => Err(Failure::Unfit(format!(
            "{compared} {points} of sale compared: 1 difference"
        ))),
        many => Err(Failure::Unfit(format!(
            "{compared} {points} of sale compared: {many} differences"
        ))),
    }
}
