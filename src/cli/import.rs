//! `surtidor pos import`: many points of sale from a CSV file, some of them in flight at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;

use clap::Args;
use csv::{Reader, StringRecord};
use hyper::Method;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::pos::Registration;
use super::{Failure, Screen, body};
use crate::client::{self, Answer, Session};
use crate::domain::id::PosId;
use crate::limits::IMPORT_IN_FLIGHT;

/// Registers the points of sale of a CSV file
///
/// The first line names the columns: pos, and key.NAME for each of the server's `poll.keys`; if you like also name,
/// account, mode, require_lease, url_secret, external_id, external_store_id. An empty field takes its default. Points of
/// sale of the modes attended and intent need no key. All rows are tried, and each that failed is reported; importing the
/// file again is harmless.
#[derive(Args)]
#[command(after_help = "Example:
  surtidor pos import pumps.csv

where pumps.csv has
  pos,name,key.locationId,key.positionId
  PUMP4,Pump 4,6232,4")]
pub struct ImportArgs {
    /// The CSV file
    file: PathBuf,
}

const COLUMNS: &str = "pos, name, account, mode, require_lease, url_secret, external_id, external_store_id, key.NAME";

/// The file's rows, and where each point of sale was seen first: two rows in flight would race.
pub struct Rows {
    reader: Reader<File>,
    heads: StringRecord,
    seen: HashMap<PosId, u64>,
}

/// One row: its line and what it registers, or what is wrong with it.
pub struct Row {
    line: u64,
    pos: String,
    asked: Result<Registration, String>,
}

pub fn open(args: &ImportArgs) -> Result<Rows, Failure> {
    let file = args.file.display();
    let unusable = |why: String| Failure::Usage(format!("{file}: {why}"));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(&args.file)
        .map_err(|error| unusable(error.to_string()))?;
    let heads = reader.headers().map_err(|error| unusable(error.to_string()))?.clone();
    check(&heads).map_err(unusable)?;
    Ok(Rows {
        reader,
        heads,
        seen: HashMap::new(),
    })
}

fn check(heads: &StringRecord) -> Result<(), String> {
    let known = |head: &str| COLUMNS.split(", ").any(|column| column == head && head != "key.NAME");
    let key = |head: &str| head.strip_prefix("key.").is_some_and(|name| !name.is_empty());
    for (place, head) in heads.iter().enumerate() {
        if !known(head) && !key(head) {
            return Err(format!(
                "the first line names a column `{head}`; the columns are {COLUMNS}"
            ));
        }
        if heads.iter().take(place).any(|before| before == head) {
            return Err(format!("the first line names `{head}` twice"));
        }
    }
    let has = |name: &str| heads.iter().any(|head| head == name);
    if !has("pos") || !(has("mode") || heads.iter().any(key)) {
        return Err(
            "the first line must name the columns pos and key.NAME, such as key.locationId; or pos and mode".into(),
        );
    }
    Ok(())
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let mut record = StringRecord::new();
        let read = self.reader.read_record(&mut record);
        // A record that could not be read has its line in the error, if anywhere.
        let line = match &read {
            Ok(_) => record.position(),
            Err(error) => error.position(),
        };
        let line = line.map_or(0, csv::Position::line);
        let pos = |record: &StringRecord| field(&self.heads, record, "pos").unwrap_or_default();
        match read {
            Ok(false) => None,
            Ok(true) => Some(Row {
                line,
                pos: pos(&record),
                asked: self.registration(&record, line),
            }),
            Err(error) => Some(Row {
                line,
                pos: pos(&record),
                asked: Err(error.to_string()),
            }),
        }
    }
}

impl Rows {
    fn registration(&mut self, record: &StringRecord, line: u64) -> Result<Registration, String> {
        let text = |name: &str| field(&self.heads, record, name);
        let truth = |name: &str| match text(name).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!("{name} is `{other}`, not true or false")),
        };
        let pos = PosId::parse(&text("pos").unwrap_or_default()).map_err(|rule| format!("pos {rule}"))?;
        let registration = Registration {
            keys: keys(&self.heads, record),
            account: text("account"),
            name: text("name"),
            mode: text("mode"),
            require_lease: truth("require_lease")?,
            url_secret: truth("url_secret")?,
            external_id: text("external_id"),
            external_store_id: text("external_store_id"),
        };
        match self.seen.insert(pos, line) {
            Some(first) => Err(format!("it was on line {first} already")),
            None => Ok(registration),
        }
    }
}

fn field(heads: &StringRecord, record: &StringRecord, name: &str) -> Option<String> {
    let place = heads.iter().position(|head| head == name)?;
    record.get(place).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn keys(heads: &StringRecord, record: &StringRecord) -> BTreeMap<String, String> {
    let pairs = heads
        .iter()
        .zip(record)
        .filter_map(|(head, value)| Some((head.strip_prefix("key.")?, value)));
    pairs
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// What came of the rows so far. The server does not say whether it had known a point of sale just as the row has it.
#[derive(Default)]
struct Tally {
    new: u64,
    up_to_date: u64,
    failed: u64,
}

pub async fn run(session: Session, mut rows: Rows, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let mut flying = JoinSet::new();
    let mut idle = vec![session];
    let mut done = false;
    loop {
        while !done && let Some(mut session) = idle.pop() {
            if idle.is_empty() && flying.len() + 1 < IMPORT_IN_FLIGHT {
                idle.push(session.another().await?);
            }
            match rows.next() {
                None => done = true,
                Some(Row {
                    line,
                    pos,
                    asked: Ok(registration),
                }) => {
                    flying.spawn(async move {
                        let answer = session
                            .call(Method::PUT, &format!("/v1/pos/{pos}"), body(&registration))
                            .await;
                        (session, line, pos, answer)
                    });
                }
                Some(Row {
                    line,
                    pos,
                    asked: Err(wrong),
                }) => {
                    idle.push(session);
                    tally.wrong(line, &pos, &wrong, json, screen)?;
                }
            }
        }
        let Some(landed) = flying.join_next().await else { break };
        let (session, line, pos, answer) = landed.map_err(std::io::Error::other)?;
        tally.answered(line, &pos, answer, json, screen)?;
        idle.push(session);
    }
    tally.close(json, screen)
}

impl Tally {
    fn answered(
        &mut self,
        line: u64,
        pos: &str,
        answer: Result<Answer, client::Error>,
        json: bool,
        screen: &mut Screen<'_>,
    ) -> Result<(), Failure> {
        match answer {
            Ok(answer) => {
                let new = answer.status == 201;
                *(if new { &mut self.new } else { &mut self.up_to_date }) += 1;
                let result = if new { "registered" } else { "up_to_date" };
                if json {
                    screen.json(&json!({ "line": line, "pos": pos, "result": result }).to_string())?;
                }
                Ok(())
            }
            Err(client::Error::Refused(problem)) if json => {
                self.failed += 1;
                let problem = serde_json::from_str::<&RawValue>(&problem.text).ok();
                let row = json!({ "line": line, "pos": pos, "result": "failed", "problem": problem });
                Ok(screen.json(&row.to_string())?)
            }
            Err(client::Error::Refused(problem)) => self.wrong(line, pos, &problem.to_string(), json, screen),
            // The server is gone: the rows that follow would all fail alike.
            Err(error) => Err(error.into()),
        }
    }

    fn wrong(&mut self, line: u64, pos: &str, why: &str, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
        self.failed += 1;
        if json {
            let row = json!({ "line": line, "pos": pos, "result": "failed", "error": why });
            return Ok(screen.json(&row.to_string())?);
        }
        Ok(screen.line(&format!("line {line}: {pos}: {why}"))?)
    }

    fn close(self, json: bool, screen: &mut Screen<'_>) -> Result<(), Failure> {
        let Tally {
            new,
            up_to_date,
            failed,
        } = self;
        if !json {
            screen.line(&format!("{new} registered, {up_to_date} up to date, {failed} failed"))?;
        }
        if failed > 0 {
            Err(Failure::Rows {
                failed,
                tried: new + up_to_date + failed,
            })
        } else {
            Ok(())
        }
    }
}
