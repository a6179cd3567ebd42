//! `surtidor health`: the probe of a container that holds nothing but this program.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use clap::Args;

use super::settings::ConfigFile;
use super::{Environment, Failure, Screen};
use crate::config::Overrides;
use crate::limits;

/// Asks the running server whether it is well
///
/// It asks /healthz on the server's admin address, which is loopback only, so it must run beside the server: in its
/// container, its network namespace, its machine. Exit code 0 if all is well, else 1, and why.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor health
  surtidor health --ready --config /etc/surtidor/surtidor.toml
  surtidor health --admin-listen 127.0.0.1:9464")]
pub struct HealthArgs {
    #[command(flatten)]
    file: ConfigFile,
    /// Where the server tells its health (admin.listen)
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Ask /readyz instead: whether it serves, rather than whether it must be started anew
    #[arg(long)]
    ready: bool,
}

pub fn run(args: HealthArgs, env: &Environment, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let HealthArgs {
        file,
        admin_listen,
        ready,
    } = args;
    let path = if ready { "/readyz" } else { "/healthz" };
    let flags = Overrides {
        admin_listen,
        ..Overrides::default()
    };
    let (config, _) = file.load_with(env, flags)?;
    let address = config.admin.listen;
    let answer = ask(address, path)
        .map_err(|error| Failure::Unfit(format!("http://{address}{path} does not answer: {error}")))?;
    let (head, told) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(Failure::Unfit(format!("http://{address}{path}: {}", told.trim_end())));
    }
    told.lines().try_for_each(|line| screen.line(line))?;
    Ok(())
}

/// The whole answer. The other side closes after it.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limits::PROBE_TIME)?;
    stream.set_read_timeout(Some(limits::PROBE_TIME))?;
    stream.set_write_timeout(Some(limits::PROBE_TIME))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(limits::PROBE_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}
