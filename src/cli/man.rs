//! `surtidor man`: the manual's pages. Those of the commands are made of what `--help` says; that of the configuration is
//! made of the commented file that is shipped, so none can say anything else.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, Failure, Screen};

/// The configuration as it is shipped.
const COMMENTED: &str = include_str!("../../deploy/surtidor.toml");

const SOURCE: &str = concat!("surtidor ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "Surtidor";
/// Of the release that the pages are of.
const DATE: &str = "2026-11-28";

/// Writes the manual's pages into a folder
///
/// It is for those who make packages: a page for each command in section 1, and one for the configuration in section 5.
/// What they say is what --help and the commented configuration say.
#[derive(Args)]
#[command(after_help = "Examples:
  surtidor man /usr/local/share/man")]
pub struct ManArgs {
    /// The folder; its man1 and man5 are made if they are not there
    folder: PathBuf,
}

pub fn run(args: &ManArgs, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = vec![(PathBuf::from("man5/surtidor.toml.5"), configuration(COMMENTED).render())];
    collect(&command, &mut pages);
    for (name, page) in &pages {
        let path = args.folder.join(name);
        let written = fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, page));
        written.map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))?;
    }
    Ok(screen.line(&format!("{} pages in {}", pages.len(), args.folder.display()))?)
}

/// A command's page, and those of the commands below it.
fn collect(command: &Command, pages: &mut Vec<(PathBuf, String)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        collect(below, pages);
    }
    let man = Man::new(command.clone());
    let name = Path::new("man1").join(man.get_filename());
    pages.push((name, page(command, &man)));
}

fn page(command: &Command, man: &Man) -> String {
    let mut head = Roff::new();
    title(&mut head, command.get_display_name().unwrap_or(command.get_name()), "1");
    let mut text = head.render().into_bytes();
    let mut render = |part: fn(&Man, &mut dyn Write) -> io::Result<()>| {
        part(man, &mut text).expect("memory takes all that is written");
    };
    render(Man::render_name_section);
    render(Man::render_synopsis_section);
    render(Man::render_description_section);
    render(Man::render_options_section);
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        render(Man::render_subcommands_section);
    }
    let mut rest = Roff::new();
    if let Some(after) = command.get_after_help() {
        after_help(&mut rest, &after.to_string());
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("surtidor"), roman("(1), "), bold("surtidor.toml"), roman("(5)")]);
    let text = String::from_utf8(text).expect("it is made of text") + &rest.render();
    // Each part begins with the same definition; once is enough.
    let preamble = Roff::new().render();
    let text = preamble.clone() + &text.replace(&preamble, "");
    // What stands before possible values is two breaks and an empty line between them, one too many for mandoc.
    text.replace("\n.br\n\n.br\n", "\n.br\n")
}

/// Names of variables and keys are not divided at the end of a line, so that they can be copied.
fn title(roff: &mut Roff, name: &str, section: &str) {
    roff.control("TH", [name, section, DATE, SOURCE, MANUAL]);
    roff.control("nh", []).control("ad", ["l"]);
}

/// What stands below a command's options: a heading and a colon, then lines that are indented; or a paragraph.
fn after_help(roff: &mut Roff, text: &str) {
    let mut literal = false;
    for line in text.lines() {
        let indented = line.strip_prefix("  ");
        let code = indented.and_then(|line| line.trim_start().split_once("  "));
        let code = code.filter(|(code, _)| code.parse::<u8>().is_ok());
        let show = indented.is_some() && code.is_none();
        if show != literal {
            roff.control(if show { "nf" } else { "fi" }, []);
            literal = show;
        }
        match (indented, code) {
            (_, Some((code, meaning))) => {
                roff.control("TP", []).text([bold(code)]).text([roman(meaning)]);
            }
            (Some(example), None) => {
                roff.text([roman(example)]);
            }
            (None, None) if line.ends_with(':') => {
                let heading = line.trim_end_matches(':').to_uppercase();
                roff.control("SH", [heading.as_str()]);
            }
            (None, None) if line.is_empty() => {}
            (None, None) => {
                roff.control("PP", []).text([roman(line)]);
            }
        }
    }
    if literal {
        roff.control("fi", []);
    }
}

/// The page of the configuration: comments are text, each table is a section, each key an entry.
fn configuration(commented: &str) -> Roff {
    let mut roff = Roff::new();
    title(&mut roff, "surtidor.toml", "5");
    roff.control("SH", ["NAME"]);
    roff.text([roman("surtidor.toml - configuration of the payment server surtidor")]);
    roff.control("SH", ["SYNOPSIS"])
        .text([bold("/etc/surtidor/surtidor.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut said: Vec<&str> = Vec::new();
    for line in commented.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some((key, value)) = key(bare) {
            roff.control("TP", []);
            roff.text([bold(key), roman(format!(" = {value}"))]);
            text(&mut roff, &mut said);
        } else if bare.starts_with('[') {
            roff.control("SH", [bare]);
            text(&mut roff, &mut said);
        } else if let Some(text) = line.strip_prefix('#') {
            said.push(text.strip_prefix(' ').unwrap_or(text));
        } else {
            text(&mut roff, &mut said);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("surtidor"), roman("(1), "), bold("surtidor-serve"), roman("(1), ")]);
    roff.text([bold("surtidor-check"), roman("(1)")]);
    roff
}

/// An empty line in a comment divides paragraphs.
fn text(roff: &mut Roff, said: &mut Vec<&str>) {
    for line in said.drain(..) {
        match line {
            "" => roff.control("PP", []),
            line => roff.text([roman(line)]),
        };
    }
}

/// `key = value`, where the key is a bare word as all of ours are.
fn key(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    bare.then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Vec<(PathBuf, String)> {
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        let mut pages = Vec::new();
        collect(&command, &mut pages);
        pages
    }

    #[test]
    fn each_command_has_a_page_with_its_examples() {
        let pages = pages();
        let page = |name: &str| &pages.iter().find(|(path, _)| path.ends_with(name)).expect(name).1;
        assert!(
            page("surtidor.1").contains(".SH \"EXIT CODES\"\n.TP\n\\fB0\\fR\ndone\n"),
            "{}",
            page("surtidor.1")
        );
        let add = page("surtidor-pos-add.1");
        assert!(add.contains(".SH EXAMPLES\n.nf\nsurtidor pos add PUMP4 "), "{add}");
        assert!(!pages.iter().any(|(path, _)| path.ends_with("surtidor-man.1")));
    }

    #[test]
    fn the_page_of_the_configuration_names_every_key() {
        let page = configuration(COMMENTED).render();
        let mut keys = 0;
        for line in COMMENTED.lines().map(|line| line.trim_start_matches("# ")) {
            if let Some(name) = line
                .split_once(" = ")
                .map(|(name, _)| name)
                .filter(|name| !name.contains(' '))
            {
                assert!(page.contains(&format!("\\fB{name}\\fR = ")), "{name}");
                keys += 1;
            }
            if line.starts_with('[') {
                assert!(page.contains(&format!(".SH {line}\n")), "{line}");
            }
        }
        assert!(keys > 25, "{keys}");
    }
}
