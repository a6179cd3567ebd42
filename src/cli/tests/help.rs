//! The help teaches: every command says what it does, at length too, and shows examples that parse.

use clap::{Command, CommandFactory as _, Parser as _};

use crate::cli::{Cli, Exit};

fn walk(command: &Command, visit: &mut dyn FnMut(&Command)) {
    for sub in command.get_subcommands() {
        visit(sub);
        walk(sub, visit);
    }
}

/// The words of a shell's line, up to a pipe or a redirection. Our examples quote plainly.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (' ', None) => words.push(String::new()),
            ('|' | '>', None) => break,
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn the_parser_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_explains_itself() {
    walk(&Cli::command(), &mut |command| {
        let name = command.get_name();
        let about = command
            .get_about()
            .unwrap_or_else(|| panic!("{name} has no about"))
            .to_string();
        let long = command
            .get_long_about()
            .unwrap_or_else(|| panic!("{name} has no long text"))
            .to_string();
        assert!(about.len() <= 80 && long.len() > about.len() + 60, "{name}: {about}");
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{name}: {} has no help",
                argument.get_id()
            );
        }
    });
}

#[test]
fn every_example_parses_as_the_command_that_shows_it() {
    walk(&Cli::command(), &mut |command| {
        let name = command.get_name();
        let help = command
            .get_after_help()
            .unwrap_or_else(|| panic!("{name} has no example"))
            .to_string();
        let examples: Vec<&str> = help.lines().filter(|line| line.starts_with("  surtidor ")).collect();
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            let words = words(example);
            assert!(
                words.iter().any(|word| word == name),
                "{name} shows another command: {example}"
            );
            Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    });
}

#[test]
fn every_exit_code_is_in_the_help() {
    let help = Cli::command().render_long_help().to_string();
    for (exit, meaning) in Exit::ALL {
        assert!(help.contains(&format!("{:>2}  {meaning}", exit as u8)), "{meaning}");
    }
}
