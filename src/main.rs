//! Arguments in, exit code out.

use std::process::ExitCode;

use surtidor::cli::{self, Screen};
use surtidor::config;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let env = config::environment();
    let no_color = env.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut stdout = std::io::stdout().lock();
    match cli::run(cli, &env, &mut Screen::stdout(&mut stdout, no_color)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::report(&failure),
    }
}
