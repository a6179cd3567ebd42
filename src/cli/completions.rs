//! `surtidor completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, Failure, Screen};

/// Prints a script that completes commands and options
///
/// Load it from your shell's start-up file, or put it where the shell looks for completions.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor completions bash > ~/.local/share/bash-completion/completions/surtidor
  surtidor completions fish > ~/.config/fish/completions/surtidor.fish")]
pub struct CompletionsArgs {
    /// The shell to complete in
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, screen: &mut Screen<'_>) -> Result<(), Failure> {
    // Into memory first: the generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "surtidor", &mut script);
    Ok(screen.bytes(&script)?)
}
