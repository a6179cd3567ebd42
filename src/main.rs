//! Arguments in, exit code out.

use std::path::PathBuf;
use std::process::ExitCode;

use surtidor::cli::{self, Screen};

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let mut stdout = std::io::stdout().lock();
    let mut screen = Screen::stdout(
        &mut stdout,
        std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()),
    );
    match cli::run(cli, &socket(), &mut screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::report(&failure),
    }
}

/// Where a server is looked for: the variable, else the root's place.
fn socket() -> PathBuf {
    std::env::var_os("SURTIDOR_SOCKET").map_or_else(|| "/run/surtidor/control.sock".into(), PathBuf::from)
}
