//! What a point of sale of ours should be at Mercado Pago, made of the server's word and the configuration, and in what
//! it differs there. Nothing is asked or changed here.

use clap::{Args, ValueEnum};

use super::url::{Public, PublicArgs};
use super::wire::Pos;
use super::{Environment, Failure};
use crate::config::{self, BaseUrl, Secret};
use crate::domain::id::{ExternalPosId, ExternalStoreId, PosId};
use crate::domain::pos::Mode;
use crate::limits;
use crate::link;
use crate::mercadopago::{self, ApiError, PosFields};

/// What is needed to compare a point of sale with Mercado Pago's.
#[derive(Args)]
pub struct WantedArgs {
    #[command(flatten)]
    public: PublicArgs,
    /// What is sold, as Mercado Pago's category [default: generic where new, else as it is]
    #[arg(long)]
    trade: Option<Trade>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Trade {
    /// A petrol station.
    Fuel,
    /// Gastronomy.
    Food,
}

/// The merchants, and what their points of sale have in common.
pub struct Merchants {
    accounts: Vec<config::Account>,
    public: Public,
    trade: Option<mercadopago::Trade>,
    pub base_url: BaseUrl,
}

/// A merchant whom Mercado Pago lets in.
#[derive(Clone, Copy)]
pub struct Merchant<'a> {
    pub account: &'a config::Account,
    pub token: &'a Secret,
}

pub struct Wanted {
    pub external_id: ExternalPosId,
    pub store: Option<ExternalStoreId>,
    pub fields: PosFields,
}

/// One thing in which theirs is not as ours.
pub struct Difference {
    pub what: &'static str,
    pub ours: String,
    pub theirs: String,
    /// Whether `pos provision` can mend it.
    pub mendable: bool,
}

impl WantedArgs {
    pub fn load(&self, env: &Environment) -> Result<Merchants, Failure> {
        let (mut config, public) = self.public.load(env)?;
        for account in &mut config.accounts {
            if let Some(link) = &account.oauth {
                // One that cannot be read is missed where it is needed.
                let newest = link::newest(&config.data.dir, &account.id, link).ok().flatten();
                account.access_token = newest.map(|stored| stored.access_token);
            }
        }
        Ok(Merchants {
            accounts: config.accounts,
            public,
            trade: self.trade.map(|trade| match trade {
                Trade::Fuel => mercadopago::Trade::PetrolStation,
                Trade::Food => mercadopago::Trade::Gastronomy,
            }),
            base_url: config.mercadopago.base_url,
        })
    }
}

impl Merchants {
    pub fn of(&self, pos: &Pos) -> Result<Merchant<'_>, Failure> {
        let Pos { pos, account: id, .. } = pos;
        let account = self.accounts.iter().find(|account| account.id.as_str() == id);
        let account = account.ok_or_else(|| {
            Failure::Usage(format!(
                "{pos} is of the account {id}, which this configuration does not have: name the server's with --config"
            ))
        })?;
        let token = account.access_token.as_ref().ok_or_else(|| {
            let why = match account.oauth {
                None => "which has no access token: configure its access_token_file",
                Some(_) => "for which no token of its link can be read: `surtidor check` tells more",
            };
            Failure::Usage(format!("{pos} is of the account {id}, {why}"))
        })?;
        Ok(Merchant { account, token })
    }

    /// `named` is the name that it is to have at Mercado Pago, if somebody said one.
    pub fn wanted(&self, id: &PosId, pos: &Pos, named: Option<&ExternalPosId>) -> Result<Wanted, Failure> {
        let external_id = match named {
            Some(named) => named.clone(),
            None => external_id(id, pos)?,
        };
        let store = pos.external_store_id.as_deref().map(ExternalStoreId::parse).transpose();
        let category = match self.trade {
            Some(trade) => Some(trade.category(self.of(pos)?.account.site)),
            None => None,
        };
        Ok(Wanted {
            external_id,
            store: store.map_err(|rule| Failure::Usage(format!("{id}: external_store_id {rule}")))?,
            fields: PosFields {
                name: name(id, pos),
                category,
                url: self.url(id, pos)?,
            },
        })
    }

    /// Only what is polled has one.
    fn url(&self, id: &PosId, pos: &Pos) -> Result<Option<String>, Failure> {
        if Mode::parse(&pos.mode) != Some(Mode::Unattended) {
            return Ok(None);
        }
        let url = self.public.url(id, pos)?;
        if url.len() > limits::POS_URL_LEN {
            return Err(Failure::Usage(format!(
                "the URL of {id} has {} characters, and Mercado Pago takes {} at most: shorten --base, `poll.path` or its keys",
                url.len(),
                limits::POS_URL_LEN
            )));
        }
        Ok(Some(url))
    }
}

/// The name that it is registered with, else its own without what Mercado Pago does not take.
fn external_id(id: &PosId, pos: &Pos) -> Result<ExternalPosId, Failure> {
    if let Some(stored) = &pos.external_id {
        return ExternalPosId::parse(stored).map_err(|rule| Failure::Usage(format!("{id}: external_id {rule}")));
    }
    let plain: String = id.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
    ExternalPosId::parse(&plain).map_err(|rule| {
        Failure::Usage(format!(
            "the letters and digits of {id} cannot name it at Mercado Pago: a name there {rule}; give one with --external-id"
        ))
    })
}

/// Its name for people, else its own, as far as Mercado Pago takes it.
fn name(id: &PosId, pos: &Pos) -> String {
    let name = pos.name.as_deref().unwrap_or(id.as_str());
    name.chars().take(limits::POS_NAME_LEN).collect()
}

impl Wanted {
    /// What Mercado Pago does not tell is not compared, nor what nobody said.
    pub fn differences(&self, theirs: &mercadopago::Pos) -> Vec<Difference> {
        let PosFields { name, category, url } = &self.fields;
        let told = theirs.external_store_id.as_ref();
        let store = self
            .store
            .as_ref()
            .zip(told)
            .map(|(ours, theirs)| (ours.to_string(), theirs.clone()));
        let theirs_or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        let urls = (theirs_or_none(url), theirs_or_none(&theirs.url));
        let category = category.map(|ours| {
            (
                ours.to_string(),
                theirs.category.map_or_else(String::new, |c| c.to_string()),
            )
        });
        let fixed = theirs.fixed_amount.map(|fixed| ("true".to_owned(), fixed.to_string()));
        let pairs = [
            ("store", store, false),
            ("name", Some((name.clone(), theirs_or_none(&theirs.name))), true),
            // A URL cannot be taken away.
            ("url", Some(urls), url.is_some()),
            ("fixed_amount", fixed, true),
            ("category", category, true),
        ];
        let differs = |(what, pair, mendable): (&'static str, Option<(String, String)>, bool)| {
            let (ours, theirs) = pair.filter(|(ours, theirs)| ours != theirs)?;
            Some(Difference {
                what,
                ours,
                theirs,
                mendable,
            })
        };
        pairs.into_iter().filter_map(differs).collect()
    }
}

/// What Mercado Pago refused, and what to do about it. `what` was tried for `merchant`.
pub fn refused(what: String, merchant: Merchant<'_>, error: ApiError) -> Failure {
    let account = &merchant.account.id;
    let status = error.complaint().map(|complaint| complaint.status);
    let next = match status {
        Some(401) => Some(format!("is the access token of the account {account} still good?")),
        _ if error.may_pass() => Some("run it again later: what is done already stays, and is found".into()),
        _ => None,
    };
    Failure::MercadoPago {
        what,
        error: Box::new(error),
        next,
    }
}
