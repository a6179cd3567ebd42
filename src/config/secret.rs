//! A value that cannot be printed, and how it is read from a file. Nothing here quotes what it read.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use crate::limits;

/// A token or key: visible ASCII, trimmed, never empty. It has no `Display`, and its `Debug` says nothing.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn parse(text: &str) -> Result<Secret, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("the secret is empty".into());
        }
        if text.len() > limits::SECRET_LEN {
            return Err(format!("the secret has more than {} characters", limits::SECRET_LEN));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("the secret has a space or a character that no HTTP header can carry".into());
        }
        Ok(Secret(text.into()))
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same. Never for what came from outside: it takes longer the more is right.
    pub fn same_as(&self, other: &Secret) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// One secret a line; empty lines are skipped.
pub(super) fn lines(text: &str) -> Result<Vec<Secret>, String> {
    let secrets: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(Secret::parse)
        .collect::<Result<_, _>>()?;
    match secrets.len() {
        0 => Err("the secret is empty".into()),
        n if n > limits::SECRETS => Err(format!("{n} secrets, but at most {} are taken", limits::SECRETS)),
        _ => Ok(secrets),
    }
}

/// Who can read or change a file of secrets, and should not.
#[derive(Debug, Clone, Copy)]
pub(super) enum Open {
    ToAll,
    ToGroup,
}

impl Open {
    /// A group may be how the server itself reads the file: its own, or any if we are root, who cannot know which is the
    /// server's. Root's group is nobody's.
    pub(super) fn of(path: &Path) -> Option<Open> {
        let file = path.metadata().ok()?;
        let group_is_fine = file.gid() == 0 || super::is_root() || super::is_our_group(file.gid());
        match file.mode() {
            mode if mode & 0o006 != 0 => Some(Open::ToAll),
            mode if mode & 0o060 != 0 && !group_is_fine => Some(Open::ToGroup),
            _ => None,
        }
    }

    pub(super) fn advice(self, path: &str) -> String {
        match self {
            Open::ToAll => format!("every user of this machine can read or change {path}: chmod o-rw {path}"),
            Open::ToGroup => format!("a group that is not the server's can read or change {path}: chmod g-rw {path}"),
        }
    }
}

/// The secrets of a file, and who else can read them.
pub(super) fn read_file(path: &Path) -> Result<(Vec<Secret>, Option<Open>), String> {
    let named = |why| format!("{}: {why}", path.display());
    let text = super::read_text(path, limits::SECRET_FILE_BYTES).map_err(named)?;
    let secrets = lines(&text).map_err(named)?;
    Ok((secrets, Open::of(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_trimmed_and_cannot_be_printed() {
        let secret = Secret::parse("  APP_USR-1\n").expect("valid");
        assert_eq!(secret.expose(), "APP_USR-1");
        assert_eq!(format!("{:?}", Some(&secret)), "Some(…)");
    }

    #[test]
    fn what_is_no_secret_says_why_without_quoting_it() {
        for (text, why) in [
            ("", "the secret is empty"),
            (" \n\n", "the secret is empty"),
            (
                "two words",
                "the secret has a space or a character that no HTTP header can carry",
            ),
            (
                "ñandú",
                "the secret has a space or a character that no HTTP header can carry",
            ),
            (
                &"x".repeat(limits::SECRET_LEN + 1),
                "the secret has more than 1024 characters",
            ),
            ("1\n2\n3\n4\n5", "5 secrets, but at most 4 are taken"),
        ] {
            assert_eq!(lines(text).expect_err(text), why);
        }
        assert_eq!(lines("new\r\n\nold\n").expect("two").len(), 2);
    }
}
