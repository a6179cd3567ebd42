//! Tells the program which commit it was made of, for `surtidor --version`. Nothing of the time or the place goes in: the
//! same sources make the same program.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

use std::env;
use std::path::Path;
use std::process::Command;

/// What the program is made of. A change in it makes this run again, and the program anew anyway.
const SOURCES: [&str; 5] = ["build.rs", "Cargo.lock", "Cargo.toml", "deploy/surtidor.toml", "src"];

fn main() {
    println!("cargo::rerun-if-env-changed=SURTIDOR_COMMIT");
    let named = env::var("SURTIDOR_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = match (named, variable("PROFILE").as_str()) {
        (Some(commit), _) => commit,
        // Who develops commits often, and must not compile all anew each time: a development build does not ask.
        (None, "debug") => {
            println!("cargo::rerun-if-changed=build.rs");
            "none: a development build".into()
        }
        (None, _) => from_git().unwrap_or_else(|| "unknown".into()),
    };
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=BUILD_TARGET={}", variable("TARGET"));
    let rustc = said(Command::new(variable("RUSTC")).arg("--version")).unwrap_or_default();
    let rustc = rustc.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=BUILD_RUSTC={rustc}");
}

/// The commit that is checked out, with a mark if the sources differ from it. None: this is no checkout of ours.
fn from_git() -> Option<String> {
    SOURCES
        .iter()
        .for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let folder = variable("CARGO_MANIFEST_DIR");
    // Sources unpacked below somebody else's repository are not of that one's commit.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&folder).canonicalize().ok()? {
        return None;
    }
    // It grows with each commit and each checkout.
    let journal = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={journal}");
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&[&["status", "--porcelain", "--"][..], &SOURCES].concat())?;
    Some(if changed.is_empty() {
        commit
    } else {
        commit + ", changed"
    })
}

fn git(arguments: &[&str]) -> Option<String> {
    let folder = variable("CARGO_MANIFEST_DIR");
    said(Command::new("git").arg("-C").arg(folder).args(arguments))
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
