//! What can be wrong with settings, where, and what was probably meant.

use std::fmt;
use std::path::PathBuf;
use strsim::levenshtein;

/// Where something was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// On the command line.
    CommandLine,
    /// In the environment.
    Environment,
    /// In this file, in this line where one is known.
    File(PathBuf, Option<u64>),
    /// In several places that do not agree.
    Together,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::File(path, Some(line)) => write!(f, "{}:{line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Together => f.write_str("settings"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The name, the value, what is wrong with it and what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Together => f.write_str(&self.text),
            Place::CommandLine | Place::Environment | Place::File(..) => write!(f, "{}: {}", self.place, self.text),
        }
    }
}

/// Everything that is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct SettingsError {
    /// One problem at least.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.problems.as_slice() {
            return write!(f, "a setting is wrong: {problem}");
        }
        write!(f, "the settings have {} problems:", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Says that nothing is called `name`, and which of `known` was probably meant.
pub(super) fn unknown(name: &str, known: impl Iterator<Item = String>) -> String {
    let nearest = known
        .map(|candidate| (levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len() / 3);
    match nearest {
        Some((_, candidate)) => format!("`{name}` is not a setting; did you mean `{candidate}`?"),
        None => format!("`{name}` is not a setting; docs/SETTINGS.md lists them all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_letters() {
        for (a, b, expected) in [("", "abc", 3), ("abc", "abc", 0), ("adress", "address", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(levenshtein(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = || ["COMFYGATE_ADDRESS", "COMFYGATE_DATA"].into_iter().map(String::from);
        assert!(unknown("COMFYGATE_ADRESS", known()).ends_with("did you mean `COMFYGATE_ADDRESS`?"));
        assert!(unknown("COMFYGATE_SOMETHING_QUITE_DIFFERENT", known()).contains("docs/SETTINGS.md"));
    }
}
