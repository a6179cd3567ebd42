//! `surtidor pos provision`: makes stores and points of sale at Mercado Pago as they are registered here, stores their
//! names there, and shows their QR codes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use hyper::Method;
use rust_decimal::Decimal;
use serde_json::json;

use super::wanted::{Merchant, Merchants, Wanted, WantedArgs, refused};
use super::wire::Pos;
use super::{Failure, Screen, body, pos};
use crate::client::Session;
use crate::domain::id::{ExternalPosId, ExternalStoreId, PosId};
use crate::mercadopago::{self, ApiError, Client, Location, NewPos, NewStore};
use crate::qr::Code;

/// Sets points of sale up at Mercado Pago, and shows their QR codes
///
/// Finds or makes the store and the point of sale there, with the URL that `pos url` prints, or none if it is attended or
/// for intents, and stores their names here. What is there already is found again and only changed where it differs, so
/// it may be run as often as you like. It needs the configuration that the server runs with, for the account's access
/// token.
///
/// A point of sale's name at Mercado Pago never changes, and its QR code stays the same. One that is there already and
/// has another URL is taken over only if --external-id names it.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor pos provision PUMP4 --config /etc/surtidor/surtidor.toml --store STATION01 --trade fuel
  surtidor pos provision --all --store STATION01 --qr-svg /tmp/codes
  surtidor pos provision PUMP4 --store STATION01 --store-name Station --street \"Av. Corrientes\" --number 1234 \
--city \"Capital Federal\" --state \"Capital Federal\" --latitude -34.6037 --longitude -58.3816")]
pub struct ProvisionArgs {
    /// The points of sale
    #[arg(value_parser = PosId::parse, required_unless_present = "all")]
    pos: Vec<PosId>,
    /// All points of sale of the server
    #[arg(long, conflicts_with = "pos")]
    all: bool,
    #[command(flatten)]
    pub wanted: WantedArgs,
    /// Its name at Mercado Pago, letters and digits [default: as it was stored, else the letters and digits of its own]
    #[arg(long, value_name = "NAME", value_parser = ExternalPosId::parse, conflicts_with = "all")]
    external_id: Option<ExternalPosId>,
    /// Its store's name at Mercado Pago, letters and digits [default: as it was stored]
    #[arg(long, value_name = "NAME", value_parser = ExternalStoreId::parse)]
    store: Option<ExternalStoreId>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// Where a store is that does not exist yet.
#[derive(Args)]
#[command(next_help_heading = "A new store")]
struct PlaceArgs {
    /// Its name for people
    #[arg(long, value_name = "TEXT")]
    store_name: Option<String>,
    /// Its street
    #[arg(long, value_name = "TEXT")]
    street: Option<String>,
    /// Its number in the street
    #[arg(long, value_name = "TEXT")]
    number: Option<String>,
    /// Its city, spelled as Mercado Libre spells it
    #[arg(long, value_name = "TEXT")]
    city: Option<String>,
    /// Its state or province, spelled as Mercado Libre spells it
    #[arg(long, value_name = "TEXT")]
    state: Option<String>,
    /// Degrees north of the equator, south of it with a minus
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, value_parser = |text: &str| degrees(text, 90))]
    latitude: Option<Decimal>,
    /// Degrees east of Greenwich, west of it with a minus
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, value_parser = |text: &str| degrees(text, 180))]
    longitude: Option<Decimal>,
    /// How to find it
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
}

/// On a terminal the code of a single point of sale is drawn.
#[derive(Args)]
#[command(next_help_heading = "QR codes")]
struct PictureArgs {
    /// Write the code as SVG, into this file; or into this folder, each under its point of sale's name
    #[arg(long, value_name = "PATH")]
    qr_svg: Option<PathBuf>,
    /// Write the code as PNG, likewise
    #[arg(long, value_name = "PATH")]
    qr_png: Option<PathBuf>,
    /// Draw no code
    #[arg(long)]
    no_qr: bool,
}

fn degrees(text: &str, most: u8) -> Result<Decimal, String> {
    let number = Decimal::from_str_exact(text).ok();
    let number = number.filter(|number| number.abs() <= Decimal::from(most));
    number.ok_or_else(|| format!("degrees are a number from -{most} to {most}, such as -34.6037"))
}

impl PlaceArgs {
    /// All that a new store needs, or the flags that are missing.
    fn store(&self, external_id: &ExternalStoreId) -> Result<NewStore, Failure> {
        let flags = [
            ("--store-name", self.store_name.is_none()),
            ("--street", self.street.is_none()),
            ("--number", self.number.is_none()),
            ("--city", self.city.is_none()),
            ("--state", self.state.is_none()),
            ("--latitude", self.latitude.is_none()),
            ("--longitude", self.longitude.is_none()),
        ];
        let missing: Vec<&str> = flags
            .into_iter()
            .filter(|(_, missing)| *missing)
            .map(|(flag, _)| flag)
            .collect();
        let whole = || {
            Some(NewStore {
                name: self.store_name.clone()?,
                external_id: external_id.clone(),
                location: Location {
                    street_number: self.number.clone()?,
                    street_name: self.street.clone()?,
                    city_name: self.city.clone()?,
                    state_name: self.state.clone()?,
                    latitude: self.latitude?,
                    longitude: self.longitude?,
                    reference: self.reference.clone(),
                },
            })
        };
        whole().ok_or_else(|| {
            let missing = missing.join(", ");
            Failure::Usage(format!(
                "the store {external_id} is not at Mercado Pago yet: to make it, give {missing}"
            ))
        })
    }
}

impl PictureArgs {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.qr_svg, &self.qr_png].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What became of a point of sale.
struct Done {
    how: How,
    /// As it is at Mercado Pago now.
    theirs: mercadopago::Pos,
    external_id: ExternalPosId,
    store: ExternalStoreId,
    url: Option<String>,
    store_made: bool,
}

enum How {
    Made,
    /// What was changed there.
    Changed(Vec<&'static str>),
    /// It was there as it should be, and only its names were stored here.
    Found,
    UpToDate,
}

impl How {
    fn word(&self) -> &'static str {
        match self {
            How::Made => "created",
            How::Changed(_) => "changed",
            How::Found => "found",
            How::UpToDate => "up_to_date",
        }
    }

    fn told(&self) -> String {
        match self {
            How::Made => "created at Mercado Pago".into(),
            How::Changed(what) => format!("changed at Mercado Pago: {}", what.join(", ")),
            How::Found => "found at Mercado Pago, and its name there stored".into(),
            How::UpToDate => "up to date".into(),
        }
    }
}

struct Work<'a> {
    session: Session,
    args: &'a ProvisionArgs,
    merchants: &'a Merchants,
    client: Client,
    /// All that are registered here: no two may be one at Mercado Pago.
    ours: Vec<Pos>,
    /// Stores that were found or made, each with its collector.
    stores: BTreeSet<(u64, ExternalStoreId)>,
}

pub async fn run(
    mut session: Session,
    args: &ProvisionArgs,
    merchants: &Merchants,
    json: bool,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let ours = pos::all(&mut session).await?;
    let chosen = if args.all { ids(&ours)? } else { args.pos.clone() };
    let alone = chosen.len() == 1;
    several_fit(args, &chosen)?;
    let mut work = Work {
        session,
        args,
        merchants,
        client: Client::new(&merchants.base_url),
        ours,
        stores: BTreeSet::new(),
    };
    let mut failed = 0;
    for id in &chosen {
        match work.set_up(id, alone, json, screen).await {
            Ok(()) => {}
            Err(failure @ (Failure::Unreachable { .. } | Failure::Output(_))) => return Err(failure),
            Err(failure) if alone => return Err(failure),
            Err(failure) => {
                failed += 1;
                tell_failure(id, &failure, json, screen)?;
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Unfit(format!(
            "{failed} of {} points of sale failed",
            chosen.len()
        ))),
    }
}

fn ids(ours: &[Pos]) -> Result<Vec<PosId>, Failure> {
    let id = |known: &Pos| PosId::parse(&known.pos).map_err(|rule| Failure::Usage(format!("{}: {rule}", known.pos)));
    ours.iter().map(id).collect()
}

/// Some flags are for one point of sale.
fn several_fit(args: &ProvisionArgs, chosen: &[PosId]) -> Result<(), Failure> {
    if chosen.len() < 2 {
        return Ok(());
    }
    if args.external_id.is_some() {
        return Err(Failure::Usage(
            "--external-id names one point of sale: give one only".into(),
        ));
    }
    match args.pictures.paths().find(|path| !path.is_dir()) {
        None => Ok(()),
        Some(path) => Err(Failure::Usage(format!(
            "{} is no folder, and there are {} codes: name a folder that exists",
            path.display(),
            chosen.len()
        ))),
    }
}

fn tell_failure(id: &PosId, failure: &Failure, json: bool, screen: &mut Screen<'_>) -> io::Result<()> {
    if json {
        return screen.json(&json!({"pos": id.as_str(), "result": "failed", "error": failure.to_string()}).to_string());
    }
    let advice = failure
        .advice()
        .map(|advice| format!(" ({advice})"))
        .unwrap_or_default();
    screen.line(&format!("{id}: {failure}{advice}"))
}

impl Work<'_> {
    async fn set_up(&mut self, id: &PosId, alone: bool, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let done = self.provision(id).await?;
        let drawn = alone && !json && screen.is_terminal();
        done.tell(id, json, screen)?;
        let pictures = &self.args.pictures;
        let asked = pictures.paths().next().is_some();
        if !asked && (pictures.no_qr || !drawn) {
            return Ok(());
        }
        let code = match self.code(&done.theirs).await {
            Ok(code) => code,
            Err(why) if asked => return Err(Failure::Unfit(format!("the QR code of {id} cannot be drawn: {why}"))),
            Err(why) => return Ok(screen.line(&format!("The QR code cannot be drawn here: {why}"))?),
        };
        for (path, ending, bytes) in [
            (&pictures.qr_svg, "svg", code.svg().into_bytes()),
            (&pictures.qr_png, "png", code.png()),
        ] {
            if let Some(path) = path {
                let path = write(path, id, ending, &bytes)?;
                if !json {
                    screen.line(&format!("{id}: its QR code is in {}", path.display()))?;
                }
            }
        }
        if drawn && !pictures.no_qr {
            screen.bytes(code.terminal(screen.has_colour()).as_bytes())?;
        }
        Ok(())
    }

    async fn provision(&mut self, id: &PosId) -> Result<Done, Failure> {
        let known: Pos = self.session.get(&format!("/v1/pos/{id}")).await?;
        let (args, merchants) = (self.args, self.merchants);
        let merchant = merchants.of(&known)?;
        let mut wanted = merchants.wanted(id, &known, args.external_id.as_ref())?;
        wanted.store = args.store.clone().or(wanted.store);
        self.is_free(id, &known, &wanted.external_id)?;
        let theirs = self.client.find_pos(merchant.token, &wanted.external_id).await;
        let theirs = theirs.map_err(|error| refused(format!("{id} cannot be looked for"), merchant, error))?;
        let store = store_of(id, &wanted, theirs.as_ref())?;
        wanted.store = Some(store.clone());
        can_store(id, &known, &wanted.external_id, &store)?;
        let (how, theirs, store_made) = match theirs {
            None => {
                let store_made = self.store(&store, merchant).await?;
                (How::Made, self.make(id, &wanted, &store, merchant).await?, store_made)
            }
            Some(theirs) => {
                let is_ours = args.external_id.is_some() || known.external_id.is_some();
                let (how, theirs) = self.mend(id, &wanted, theirs, is_ours, merchant).await?;
                (how, theirs, false)
            }
        };
        let stored = self.keep(id, &wanted.external_id, &store).await?;
        Ok(Done {
            how: if stored && matches!(how, How::UpToDate) {
                How::Found
            } else {
                how
            },
            theirs,
            external_id: wanted.external_id,
            store,
            url: wanted.fields.url,
            store_made,
        })
    }

    /// No other of ours may have the name: the one QR code would then show the orders of two machines in turn.
    fn is_free(&self, id: &PosId, known: &Pos, external_id: &ExternalPosId) -> Result<(), Failure> {
        let same = |other: &&Pos| {
            let named = other.external_id.as_deref().unwrap_or_default();
            other.pos != known.pos && other.account == known.account && named.eq_ignore_ascii_case(external_id.as_str())
        };
        match self.ours.iter().find(same) {
            None => Ok(()),
            Some(other) => Err(Failure::Unfit(format!(
                "{id} cannot be {external_id} at Mercado Pago, since {} is that already: give another name with --external-id",
                other.pos
            ))),
        }
    }

    /// Finds the store, or makes it; whether it was made.
    async fn store(&mut self, store: &ExternalStoreId, merchant: Merchant<'_>) -> Result<bool, Failure> {
        let collector = merchant.account.collector_id;
        if self.stores.contains(&(collector, store.clone())) {
            return Ok(false);
        }
        let found = self.client.find_store(merchant.token, collector, store).await;
        let found = found.map_err(|error| store_refused("looked for", store, merchant, error))?;
        if found.is_none() {
            let new = self.args.place.store(store)?;
            let made = self.client.create_store(merchant.token, collector, &new).await;
            made.map_err(|error| store_refused("made", store, merchant, error))?;
        }
        self.stores.insert((collector, store.clone()));
        Ok(found.is_none())
    }

    async fn make(
        &self,
        id: &PosId,
        wanted: &Wanted,
        store: &ExternalStoreId,
        merchant: Merchant<'_>,
    ) -> Result<mercadopago::Pos, Failure> {
        let new = NewPos {
            external_id: wanted.external_id.clone(),
            external_store_id: store.clone(),
            fields: wanted.fields.clone(),
        };
        let made = self.client.create_pos(merchant.token, &new).await;
        made.map_err(|error| pos_refused("made", id, wanted, merchant, error))
    }

    /// Changes what differs. `is_ours`: somebody said that it is this one, now or when its name was stored.
    async fn mend(
        &self,
        id: &PosId,
        wanted: &Wanted,
        theirs: mercadopago::Pos,
        is_ours: bool,
        merchant: Merchant<'_>,
    ) -> Result<(How, mercadopago::Pos), Failure> {
        let differences = wanted.differences(&theirs);
        if differences.is_empty() {
            return Ok((How::UpToDate, theirs));
        }
        let external_id = &wanted.external_id;
        if !is_ours {
            return Err(Failure::Unfit(format!(
                "the name {external_id} is taken at Mercado Pago, by {}: give {id} another one with --external-id, or take \
                 that one over with --external-id {external_id}",
                described(&theirs)
            )));
        }
        if let Some(fixed) = differences.iter().find(|difference| !difference.mendable) {
            if fixed.what == "url" {
                return Err(Failure::Unfit(format!(
                    "{external_id} at Mercado Pago has the URL {}, which cannot be taken away, and {id} is not to be \
                     polled: give {id} another name with --external-id",
                    fixed.theirs
                )));
            }
            return Err(Failure::Unfit(format!(
                "{external_id} at Mercado Pago has the {} {:?}, and {id} should have {:?}: change it there, or give {id} \
                 another name with --external-id",
                fixed.what, fixed.theirs, fixed.ours
            )));
        }
        let changed = self.client.update_pos(merchant.token, theirs.id, &wanted.fields).await;
        let changed = changed.map_err(|error| pos_refused("changed", id, wanted, merchant, error))?;
        Ok((
            How::Changed(differences.iter().map(|difference| difference.what).collect()),
            changed,
        ))
    }

    /// Stores its names, with all else as it is by now; whether they were new.
    async fn keep(
        &mut self,
        id: &PosId,
        external_id: &ExternalPosId,
        store: &ExternalStoreId,
    ) -> Result<bool, Failure> {
        let path = format!("/v1/pos/{id}");
        let known: Pos = self.session.get(&path).await?;
        if has_names(&known, external_id, store) {
            return Ok(false);
        }
        let registration = pos::Registration {
            external_id: Some(external_id.to_string()),
            external_store_id: Some(store.to_string()),
            ..known.registration()
        };
        self.session.call(Method::PUT, &path, body(&registration)).await?;
        Ok(true)
    }

    async fn code(&self, theirs: &mercadopago::Pos) -> Result<Code, String> {
        let url = theirs.qr_image.as_ref().ok_or("Mercado Pago tells no picture of it")?;
        let png = self
            .client
            .fetch(url)
            .await
            .map_err(|error| format!("{error}; it is at {url}"))?;
        Code::read(&png).map_err(|error| format!("{error}; it is at {url}"))
    }
}

fn store_of(id: &PosId, wanted: &Wanted, theirs: Option<&mercadopago::Pos>) -> Result<ExternalStoreId, Failure> {
    let told = || ExternalStoreId::parse(theirs?.external_store_id.as_deref()?).ok();
    wanted.store.clone().or_else(told).ok_or_else(|| {
        Failure::Usage(format!(
            "in which store does {id} stand? Say its name at Mercado Pago with --store"
        ))
    })
}

fn has_names(known: &Pos, external_id: &ExternalPosId, store: &ExternalStoreId) -> bool {
    known.external_id.as_deref() == Some(external_id.as_str())
        && known.external_store_id.as_deref() == Some(store.as_str())
}

/// While an order is open the server takes no new names: told before anything is made.
fn can_store(id: &PosId, known: &Pos, external_id: &ExternalPosId, store: &ExternalStoreId) -> Result<(), Failure> {
    match &known.order {
        Some(order) if !has_names(known, external_id, store) => Err(Failure::Unfit(format!(
            "{id} has the order {} open, so its names at Mercado Pago cannot be stored: run it again when that has ended",
            order.external_reference
        ))),
        _ => Ok(()),
    }
}

fn described(theirs: &mercadopago::Pos) -> String {
    let name = theirs.name.as_deref().unwrap_or("one without a name");
    let store = theirs
        .external_store_id
        .as_deref()
        .map(|store| format!(" in the store {store}"));
    let url = theirs.url.as_deref().map(|url| format!(" with the URL {url}"));
    format!("{name:?}{}{}", store.unwrap_or_default(), url.unwrap_or_default())
}

fn write(path: &Path, id: &PosId, ending: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let path = if path.is_dir() {
        path.join(format!("{id}.{ending}"))
    } else {
        path.to_owned()
    };
    std::fs::write(&path, bytes)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    Ok(path)
}

fn store_refused(done: &str, store: &ExternalStoreId, merchant: Merchant<'_>, error: ApiError) -> Failure {
    let account = &merchant.account.id;
    let next = match error.complaint().map(|complaint| complaint.status) {
        Some(403) => Some(format!("are the access token and the collector_id of the account {account} of one merchant?")),
        Some(400) => Some(
            "cities and states must be spelled as https://api.mercadolibre.com/countries and /states spell them, and the \
             coordinates lie there"
                .into(),
        ),
        _ => None,
    };
    refused(format!("the store {store} cannot be {done}"), merchant, error).with_advice(next)
}

fn pos_refused(done: &str, id: &PosId, wanted: &Wanted, merchant: Merchant<'_>, error: ApiError) -> Failure {
    let next = match error.complaint().map(|complaint| complaint.status) {
        Some(403) => Some(
            "the host of the URL is not enabled by Mercado Pago: ask your adviser there to enable it for this account"
                .into(),
        ),
        Some(409) => Some(format!(
            "the name {} is taken at Mercado Pago: give another one with --external-id",
            wanted.external_id
        )),
        _ => None,
    };
    refused(format!("{id} cannot be {done}"), merchant, error).with_advice(next)
}

impl Done {
    fn tell(&self, id: &PosId, json: bool, screen: &mut Screen<'_>) -> io::Result<()> {
        if json {
            return screen.json(&self.json(id));
        }
        if self.store_made {
            screen.line(&format!("store {}: created at Mercado Pago", self.store))?;
        }
        screen.line(&format!("{id}: {}", self.how.told()))?;
        let optional = |text: &Option<String>| text.clone().unwrap_or_default().into();
        screen.facts(vec![
            ("external id", self.external_id.as_str().into()),
            ("external store", self.store.as_str().into()),
            ("id there", self.theirs.id.to_string().into()),
            ("url", optional(&self.url)),
            ("qr", optional(&self.theirs.qr_image)),
            ("to print", optional(&self.theirs.qr_template_document)),
        ])
    }

    fn json(&self, id: &PosId) -> String {
        let changed: &[&str] = match &self.how {
            How::Changed(what) => what,
            _ => &[],
        };
        let theirs = &self.theirs;
        json!({
            "pos": id.as_str(),
            "result": self.how.word(),
            "changed": changed,
            "id": theirs.id,
            "external_id": self.external_id.as_str(),
            "external_store_id": self.store.as_str(),
            "store_id": theirs.store_id,
            "store_created": self.store_made,
            "url": self.url,
            "qr": {
                "image": theirs.qr_image,
                "template_image": theirs.qr_template_image,
                "template_document": theirs.qr_template_document,
            },
        })
        .to_string()
    }
}
