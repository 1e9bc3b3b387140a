//! The settings of a ComfyUI that the gateway starts itself, with the reader of its extra words.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Words of ComfyUI's command line that have settings of their own.
const OWN_SETTINGS: [(&str, &str); 2] = [("--port", "COMFY_PORT"), ("--listen", "COMFY_LISTEN")];

/// A ComfyUI that the gateway starts itself.
#[derive(Clone, PartialEq, Debug)]
pub struct LocalSettings {
    /// Start one, and use it instead of the backends' addresses.
    pub enabled: bool,
    /// The folder with its `main.py`.
    pub home: Option<PathBuf>,
    /// The Python that runs it; none for the one of the virtual environment in the folder, or else `python3`.
    pub python: Option<PathBuf>,
    /// Where it listens; none for a port that is free.
    pub port: Option<u16>,
    /// The address on which it listens.
    pub listen: IpAddr,
    /// What is added to its command line.
    pub args: Vec<String>,
    /// How long it may take until it answers.
    pub ready_within: Duration,
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            home: None,
            python: None,
            port: None,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            args: Vec::new(),
            ready_within: Duration::from_mins(5),
        }
    }
}

pub(super) fn listen(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "not an address".to_owned())
}

pub(super) fn args(text: &str) -> Result<Vec<String>, String> {
    let words = words(text)?;
    for word in &words {
        let name = word.split('=').next().unwrap_or_default();
        if let Some((_, setting)) = OWN_SETTINGS.iter().find(|(option, _)| *option == name) {
            return Err(format!("it has {name}, for which there is {setting}"));
        }
    }
    Ok(words)
}

/// Splits a text into words as a shell does: at spaces, save within quotes or behind a backslash. Nothing is expanded.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => {
                let next = letters.next().ok_or("a backslash at the end, behind which there is nothing")?;
                let word = word.get_or_insert_default();
                // Within quotes it stands for itself, unless it takes the meaning from a quote or another backslash.
                if quote.is_some() && !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            (_, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} that is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let cases: [(&str, &[&str]); 7] = [
            ("--cpu", &["--cpu"]),
            ("  --cpu   --lowvram ", &["--cpu", "--lowvram"]),
            ("--output-directory '/my pictures/a b' x", &["--output-directory", "/my pictures/a b", "x"]),
            (r#"a"b c"d "" e"#, &["ab cd", "", "e"]),
            (r#"a\ b "c\"d" 'e\f' "g\h""#, &["a b", "c\"d", r"e\f", r"g\h"]),
            ("$HOME *", &["$HOME", "*"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["'a", "a\"", "a\\"] {
            assert!(words(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_has_a_setting_of_its_own_is_refused_among_the_words() {
        assert_eq!(args("--cpu --port 8188").unwrap_err(), "it has --port, for which there is COMFY_PORT");
        assert_eq!(args("--listen=0.0.0.0").unwrap_err(), "it has --listen, for which there is COMFY_LISTEN");
        assert_eq!(args("--port-range 3").unwrap(), ["--port-range", "3"]);
    }
}
