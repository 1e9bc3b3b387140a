//! Writes the table of settings for people: `.env.example` and `docs/SETTINGS.md`.

use super::SETTINGS;
use std::fmt::Write as _;

/// Writes `.env.example`: every setting with a sentence and its default, all commented out.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Settings of comfygate. Copy this file to .env, and take the # away from what you change.\n\
         # The command line and the environment go before this file, this file before comfygate.yaml.\n",
    );
    for setting in SETTINGS {
        let _ = write!(text, "\n# {}\n# Allowed: {}.", setting.about, setting.allowed);
        if let Some(alias) = setting.alias {
            let _ = write!(text, " {alias} works as well.");
        }
        let _ = write!(text, "\n#{}={}\n", setting.name, setting.default);
    }
    text
}

/// Writes `docs/SETTINGS.md`: the same for reading.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         The command line goes before the environment, the environment before `.env`, `.env` before `comfygate.yaml`,\n\
         and all of them before the default. In `comfygate.yaml` a setting stands below its section\n\
         (`server: {address: ..}`) or, without one, under the variable's name in small letters without `COMFYGATE_`\n\
         (`address: ..`). A name that does not exist, or a value that cannot be, stops the start, with the file and line.\n\
         Empty values count as not set.\n",
    );
    let mut last_section = "";
    for setting in SETTINGS {
        let (section, key) = setting.section_and_key();
        if section != last_section {
            let _ = write!(text, "\n## {section}\n\n| variable | key | default | what it does | allowed |\n");
            text.push_str("| --- | --- | --- | --- | --- |\n");
            last_section = section;
        }
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let alias = setting.alias.map(|alias| format!(" (or `{alias}`)")).unwrap_or_default();
        let (name, about, allowed) = (setting.name, setting.about, setting.allowed);
        let cell = |text: &str| text.replace('<', "&lt;").replace('|', "\\|");
        let _ = writeln!(text, "| `{name}`{alias} | `{key}` | {default} | {} | {} |", cell(about), cell(allowed));
    }
    text
}
