//! Where the configuration is read from, for the commands that need one themselves.

use std::path::PathBuf;

use clap::Args;

use super::{Environment, Failure};
use crate::config::{Config, Overrides, Source, Warning};

/// The configuration's file, and the keys that have a flag.
#[derive(Args, Clone)]
pub struct Settings {
    #[command(flatten)]
    file: ConfigFile,
    /// Where polls are answered (poll.listen); may be repeated
    #[arg(long, value_name = "ADDRESS")]
    poll_listen: Vec<String>,
    /// Where controllers ask (control.socket)
    #[arg(long, value_name = "PATH")]
    socket: Option<String>,
    /// Where everything is kept (data.dir)
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Where metrics and health are told (admin.listen)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

#[derive(Args, Clone)]
pub struct ConfigFile {
    /// The configuration file [default: SURTIDOR_CONFIG, else a built-in one for a first try, on loopback]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    pub fn load(self, env: &Environment) -> Result<(Config, Vec<Warning>), Failure> {
        let Settings {
            file,
            poll_listen,
            socket,
            data_dir,
            admin_listen,
        } = self;
        file.load_with(
            env,
            Overrides {
                poll_listen,
                socket,
                data_dir,
                admin_listen,
            },
        )
    }
}

impl ConfigFile {
    pub fn load(&self, env: &Environment) -> Result<(Config, Vec<Warning>), Failure> {
        self.load_with(env, Overrides::default())
    }

    pub fn load_with(&self, env: &Environment, flags: Overrides) -> Result<(Config, Vec<Warning>), Failure> {
        let named = self
            .config
            .clone()
            .or_else(|| env.get("SURTIDOR_CONFIG").map(PathBuf::from));
        Config::load(named.map_or(Source::BuiltIn, Source::File), env.clone(), flags).map_err(Failure::Configuration)
    }
}
