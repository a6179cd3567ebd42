//! What is wrong with a configuration, and where: collected in full, so that one look at the list mends it all.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A file as a whole.
    File(PathBuf),
    Line {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Variable(String),
    Flag(&'static str),
    /// The configuration that is used without a file.
    BuiltIn,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Line { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::Variable(name) => f.write_str(name),
            Place::Flag(name) => f.write_str(name),
            Place::BuiltIn => f.write_str("built-in configuration"),
        }
    }
}

/// One remark on a configuration: the place, the key (empty if it is about none), what is wrong and what would be right.
/// It never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Finding {
    pub place: Place,
    pub key: String,
    pub what: String,
}

/// A finding that stops the start.
pub type Fault = Finding;
/// A finding that the operator should know of.
pub type Warning = Finding;

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

#[derive(Debug, Default)]
pub(super) struct Findings {
    pub faults: Vec<Fault>,
    pub warnings: Vec<Warning>,
}

impl Findings {
    pub fn fault(&mut self, place: &Place, key: &str, what: impl Into<String>) {
        self.faults.push(Finding {
            place: place.clone(),
            key: key.into(),
            what: what.into(),
        });
    }

    pub fn warn(&mut self, place: &Place, key: &str, what: impl Into<String>) {
        self.warnings.push(Finding {
            place: place.clone(),
            key: key.into(),
            what: what.into(),
        });
    }
}

/// The known word that was probably meant.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let close = |&(distance, _): &(usize, &str)| distance <= 2 && distance < word.len();
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(close)
        .min()
        .map(|(_, word)| word)
}

/// Characters to insert, remove or change (Levenshtein), without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let same = |x: char, y: char| x.eq_ignore_ascii_case(&y);
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let change = diagonal + usize::from(!same(x, y));
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["listen", "path", "keys", "id"];
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("Listen", Some("listen")),
            ("key", Some("keys")),
            ("colour", None),
            ("xy", None),
            ("", None),
        ] {
            assert_eq!(near(word, known), meant, "{word}");
        }
    }
}
