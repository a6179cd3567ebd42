//! A request's path and parameters, decoded. An unknown parameter is refused: `?replcae=true` must not be a plain push;
//! and so is one that stands twice, since nobody knows which was meant.

use std::collections::HashSet;

use super::problem::Problem;
use crate::net::query;

/// The parts of a path between its slashes.
pub(super) fn path(path: &str) -> Vec<String> {
    path.strip_prefix('/')
        .unwrap_or(path)
        .split('/')
        .map(|part| decoded(part, false))
        .collect()
}

#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn read(query: Option<&str>) -> Result<Parameters, Problem> {
        let pairs: Vec<(String, String)> = query::pairs(query.unwrap_or(""))
            .map(|(name, value)| (decoded(name, true), decoded(value, true)))
            .collect();
        let mut seen = HashSet::with_capacity(pairs.len());
        match pairs.iter().find(|(name, _)| !seen.insert(name)) {
            Some((name, _)) => Err(Problem::parameter(name, "stands twice")),
            None => Ok(Parameters(pairs)),
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(n, _)| n == name)?;
        Some(self.0.swap_remove(place).1)
    }

    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Problem> {
        self.take(name)
            .map(|value| parse(&value).map_err(|error| Problem::parameter(name, error)))
            .transpose()
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::parameter(name, "is not known here")),
        }
    }
}

fn decoded(text: &str, plus_is_space: bool) -> String {
    String::from_utf8_lossy(&query::decoded(text, plus_is_space)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded() {
        assert_eq!(path("/v1/pos/A%2FB"), ["v1", "pos", "A/B"]);
        assert_eq!(path("/v1/pos/"), ["v1", "pos", ""]);
        assert_eq!(path("//v1/pos"), ["", "v1", "pos"]);
        assert_eq!(path("/%zz%4"), ["%zz%4"]);
    }

    #[test]
    fn parameters_are_taken_by_name_and_unknown_ones_refused() {
        let mut parameters = Parameters::read(Some("a=1+2&b=%41&&c")).expect("each once");
        assert_eq!(parameters.take("a").as_deref(), Some("1 2"));
        assert_eq!(parameters.take("b").as_deref(), Some("A"));
        assert_eq!(parameters.take("z"), None);
        assert_eq!(parameters.finish().expect_err("c is left").code, "invalid_parameter");
        assert!(Parameters::read(None).is_ok_and(|none| none.finish().is_ok()));
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        for query in ["replace=true&replace=false", "a=1&b&%61=1"] {
            let twice = Parameters::read(Some(query)).expect_err(query);
            assert_eq!(twice.code, "invalid_parameter");
        }
    }
}
