//! `surtidor backup`: a copy of what is stored, while the server runs.

use std::path::PathBuf;

use clap::Args;

use super::log::archive;
use super::settings::ConfigFile;
use super::{Environment, Failure, Screen};

/// Writes a copy of all that is stored to a file, while the server runs or not
///
/// The copy is of one moment, and stands under its name once it is whole and on the disk. To restore it, stop the server,
/// remove surtidor.sqlite, surtidor.sqlite-wal and surtidor.sqlite-shm from the data folder, and put the copy there as
/// surtidor.sqlite. It has no access token, and nothing that links (OAuth) brought: that stays where it is, in the folder's
/// oauth. Of the tokens of controllers it has what the server knows them by.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor backup /backup/surtidor-2026-11-21
  surtidor backup /backup/surtidor-2026-11-21 --from /var/lib/surtidor")]
pub struct BackupArgs {
    /// The file that is made; it must not be there yet
    file: PathBuf,
    /// A data folder [default: the configured one]
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

pub fn run(args: BackupArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let log = archive(args.from, &args.config, env)?;
    log.copy_to(&args.file)?;
    Ok(screen.line(&format!("{} is written.", args.file.display()))?)
}
