//! What packages are made of: files that exist, manual pages and completions that their readers take without a murmur,
//! and what the program tells of itself. `tests/packages` installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::process::{binary, folder, on, skip};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What it says on both outputs, if it is installed.
fn said(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let there = Command::new("sh").args(["-c", "command -v \"$0\"", program]).output();
    if !there.is_ok_and(|there| there.status.success()) {
        skip(&format!(
            "{program} is missing, and does not look at {}",
            file.display()
        ));
        return None;
    }
    let told = output(Command::new(program).args(arguments).arg(file));
    let told = [told.stdout, told.stderr].concat();
    Some(String::from_utf8_lossy(&told).into_owned())
}

fn surtidor(arguments: &[&str]) -> Output {
    output(Command::new(binary()).args(arguments).env_clear())
}

/// The files that match a path whose last part may have one `*`.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str()).expect("a name");
    let Some((begin, end)) = name.split_once('*') else {
        return Some(pattern.to_owned())
            .filter(|path| path.is_file())
            .into_iter()
            .collect();
    };
    let entries = pattern.parent().and_then(|folder| fs::read_dir(folder).ok());
    let paths = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("readable").path());
    let matches = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        path.is_file() && name.starts_with(begin) && name.ends_with(end)
    };
    paths.filter(matches).collect()
}

#[test]
fn all_that_the_debian_package_lists_is_there() {
    let staged = folder();
    let stage = repository().join("deploy/debian/stage.sh");
    let done = output(Command::new(stage).arg(binary()).arg(staged.path()));
    assert!(done.status.success(), "{done:?}");

    let manifest = fs::read_to_string(repository().join("Cargo.toml")).expect("Cargo.toml");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut installed = Vec::new();
    for asset in deb["assets"].as_array().expect("a list") {
        let part = |at: usize| asset[at].as_str().expect("text");
        let (source, goes) = (part(0), part(1));
        if source == "target/release/surtidor" {
            continue;
        }
        let from = match source.strip_prefix("target/deb/") {
            Some(made) => staged.path().join(made),
            None => repository().join(source),
        };
        let files = matching(&from);
        assert!(!files.is_empty(), "{source} is not there");
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
            installed.push(if goes.ends_with('/') {
                format!("{goes}{name}")
            } else {
                goes.to_owned()
            });
        }
    }
    for must in [
        "etc/surtidor/surtidor.toml",
        "usr/lib/systemd/system/surtidor.service",
        "usr/lib/systemd/system/surtidor-control.socket",
        "usr/share/man/man1/surtidor-order-push.1",
        "usr/share/man/man5/surtidor.toml.5",
        "usr/share/doc/surtidor/examples/controller.py",
        // What the scrape sample beside it loads, and what its alerts point to.
        "usr/share/doc/surtidor/examples/rules.yml",
        "usr/share/doc/surtidor/runbook.md",
    ] {
        assert!(
            installed.iter().any(|path| path == must),
            "{must} is not among {installed:#?}"
        );
    }
    let unit = fs::read_to_string(repository().join("deploy/surtidor.service")).expect("the unit");
    assert!(
        unit.contains("\nExecStart=/usr/bin/surtidor serve --config /etc/surtidor/surtidor.toml\n"),
        "{unit}"
    );
    let changelog = fs::read_to_string(repository().join("deploy/debian/changelog")).expect("the changelog");
    let version = format!("surtidor ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.starts_with(&version),
        "the changelog begins with another version than {version}"
    );
}

#[test]
fn the_packages_scripts_know_every_unit() {
    let units = ["*.service", "*.socket"].map(|units| matching(&repository().join("deploy").join(units)));
    for name in ["postinst", "prerm", "postrm", "README.Debian"] {
        let path = repository().join("deploy/debian").join(name);
        let text = fs::read_to_string(&path).expect(name);
        if name != "README.Debian" {
            let read = output(Command::new("sh").arg("-n").arg(&path));
            assert!(read.status.success(), "{read:?}");
        }
        for unit in units.iter().flatten() {
            let unit = unit.file_name().and_then(|unit| unit.to_str()).expect("a name");
            assert!(text.contains(unit), "{name} knows nothing of {unit}");
        }
    }
}

#[test]
fn the_unit_and_the_package_agree_on_the_folders_modes() {
    let read = |path: &str| fs::read_to_string(repository().join("deploy").join(path)).expect(path);
    let (unit, tmpfiles) = (read("surtidor.service"), read("debian/surtidor.tmpfiles"));
    for line in tmpfiles.lines().filter(|line| line.starts_with("d ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let key = if words[1].starts_with("/run/") {
            "RuntimeDirectory"
        } else {
            "StateDirectory"
        };
        // What the unit of a socket makes is not the service's.
        if unit.contains(&format!("\n{key}=")) {
            assert!(unit.contains(&format!("\n{key}Mode={}\n", words[2])), "{line}");
        }
    }
}

#[test]
fn manual_pages_are_clean() {
    let made = folder();
    let done = output(Command::new(binary()).arg("man").arg(made.path()));
    assert!(done.status.success(), "{done:?}");
    let pages = [
        matching(&made.path().join("man1/*.1")),
        matching(&made.path().join("man5/*.5")),
    ]
    .concat();
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        if let Some(told) = said("mandoc", &["-T", "lint", "-W", "warning"], &page) {
            assert_eq!(told, "", "{}", page.display());
        }
        // What `apropos` finds.
        if let Some(told) = said("lexgrog", &[], &page) {
            assert!(told.contains(" - "), "{told}");
        }
    }
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let made = folder();
    for shell in ["bash", "zsh", "fish"] {
        let script = made.path().join(shell);
        fs::write(&script, surtidor(&["completions", shell]).stdout).expect("the folder is ours");
        assert!(fs::read_to_string(&script).is_ok_and(|text| text.contains("provision")));
        if let Some(told) = said(shell, &["-n"], &script) {
            assert_eq!(told, "", "{shell}");
        }
    }
}

#[test]
fn the_version_is_short_for_scripts_and_long_for_people() {
    let told = |flag| String::from_utf8(surtidor(&[flag]).stdout).expect("text");
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(told("-V"), format!("surtidor {number}\n"));
    let long = told("--version");
    assert!(long.starts_with(&format!("surtidor {number}\n")), "{long}");
    for fact in [
        "\ncommit    ",
        "\ntarget    x86_64-",
        "\ncompiler  rustc 1.",
        "\nfeatures  SQLite 3.",
    ] {
        assert!(
            long.contains(fact) || !cfg!(target_arch = "x86_64"),
            "{fact:?} is not in {long}"
        );
    }
}

#[test]
fn health_tells_a_server_that_serves_from_one_that_does_not() {
    let place = folder();
    let server = on(place.path()).start();
    let address = server.admin.to_string();
    let ask = |more: &[&str]| {
        let asked = surtidor(&[&["health", "--admin-listen", &address][..], more].concat());
        let told = [asked.stdout, asked.stderr].concat();
        (asked.status.code(), String::from_utf8(told).expect("text"))
    };
    assert_eq!(ask(&["--ready"]), (Some(0), "ready\n".into()));
    assert_eq!(ask(&[]).0, Some(0));
    server.kill();
    let (code, told) = ask(&[]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains(&format!("http://{address}/healthz does not answer: ")),
        "{told}"
    );
}
