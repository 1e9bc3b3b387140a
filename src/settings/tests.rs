//! Settings as a whole: who wins, what stops the start, and the files that are written from the table.

use super::*;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_defaults_in_the_table_are_the_defaults_in_the_code() {
    for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
        let mut settings = Settings::default();
        (setting.set)(&mut settings, setting.default).unwrap();
        assert_eq!(settings, Settings::default(), "{}", setting.name);
    }
}

#[test]
fn every_name_and_key_is_there_once() {
    for (place, setting) in SETTINGS.iter().enumerate() {
        for other in SETTINGS.iter().skip(place + 1) {
            assert_ne!(setting.name, other.name);
            assert_ne!(setting.path, other.path);
            assert_ne!(setting.flat_key(), other.flat_key());
        }
        assert!(setting.path.contains('.'), "{}", setting.path);
        assert!(setting.about.ends_with('.'), "{}", setting.about);
    }
}

#[test]
fn a_nearer_source_wins() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv =
        write(folder.path(), ".env", "COMFYGATE_WORKFLOW=dotenv\nCOMFYGATE_DATA=dotenv\nCOMFYGATE_CONFIGS=dotenv\n");
    let yaml = "workflow: yaml\ndata: yaml\nworkflows:\n  configs: yaml\n  templates: yaml\n";
    let file = write(folder.path(), "comfygate.yaml", yaml);
    let settings = Settings::load(Sources {
        cli: BTreeMap::from([("workflow".to_owned(), "cli".to_owned())]),
        env: pairs(&[("COMFYGATE_WORKFLOW", "env"), ("COMFYGATE_DATA", "env"), ("PATH", "/bin")]),
        dotenv: FileChoice::Required(dotenv),
        file: FileChoice::Required(file),
    })
    .unwrap();
    assert_eq!(settings.workflows.default, "cli");
    assert_eq!(settings.storage.folder, Path::new("env"));
    assert_eq!(settings.workflows.configs, Path::new("dotenv"));
    assert_eq!(settings.workflows.templates, Path::new("yaml"));
}

#[test]
fn comfylites_own_dotenv_works() {
    let settings =
        from_dotenv("COMFYLITE_ADDRESS = \":9000\"\nCOMFYUI_ADDRESS = \"127.0.0.1:8188\"\nOTHER=1\n").unwrap();
    assert_eq!(settings.server.address.to_string(), "127.0.0.1:9000");
    assert_eq!(settings.backends, BackendSettings::default());
}

#[test]
fn the_name_proper_goes_before_its_alias() {
    for order in [["COMFYGATE_ADDRESS", "COMFYLITE_ADDRESS"], ["COMFYLITE_ADDRESS", "COMFYGATE_ADDRESS"]] {
        let port = |name: &str| if name == "COMFYGATE_ADDRESS" { ":1" } else { ":2" };
        let settings = from_env(&order.map(|name| (name, port(name)))).unwrap();
        assert_eq!(settings.server.address.port(), 1);
    }
}

#[test]
fn every_problem_of_every_source_is_told_at_once_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = write(folder.path(), ".env", "# x\nCOMFYGATE_QUEUE_TIMEOUT=90\nCOMFYGATE_ADRESS=:1\nnot a line\n");
    let file = write(folder.path(), "comfygate.yaml", "limits:\n  max_runs: many\nwebhook:\n  schedule: 1s\n");
    let error = Settings::load(Sources {
        cli: BTreeMap::from([("datta".to_owned(), "x".to_owned())]),
        env: pairs(&[("COMFYGATE_LOG_FORMAT", "xml")]),
        dotenv: FileChoice::Required(dotenv.clone()),
        file: FileChoice::Required(file.clone()),
    })
    .unwrap_err()
    .to_string();
    let (dotenv, file) = (dotenv.display(), file.display());
    for expected in [
        "the settings have 7 problems:".to_owned(),
        format!("{dotenv}:2: `COMFYGATE_QUEUE_TIMEOUT` is `90`: no unit; write 90s for seconds; allowed: a duration"),
        format!("{dotenv}:3: `COMFYGATE_ADRESS` is not a setting; did you mean `COMFYGATE_ADDRESS`?"),
        format!("{dotenv}:4: cannot be read"),
        format!("{file}:2: `limits.max_runs` is `many`: not a whole number; allowed: a whole number from 1 to 100"),
        format!("{file}:4: `webhook` is not a setting"),
        "environment: `COMFYGATE_LOG_FORMAT` is `xml`: an unknown format; allowed: human or json".to_owned(),
        "command line: `datta` is not a setting; did you mean `data`?".to_owned(),
    ] {
        assert!(error.contains(&expected), "{expected}\n--- is missing in ---\n{error}");
    }
}

#[test]
fn an_address_that_others_reach_asks_for_keys_or_needs_a_second_word() {
    for address in ["0.0.0.0:8083", "[::]:8083", "192.168.1.5:8083"] {
        for keys in ["auto", "required"] {
            let settings = from_env(&[("COMFYGATE_ADDRESS", address), ("COMFYGATE_KEYS", keys)]).unwrap();
            assert!(settings.access.require_keys(settings.server.address), "{address} {keys}");
        }
        let open = [("COMFYGATE_ADDRESS", address), ("COMFYGATE_KEYS", "off")];
        let error = from_env(&open).unwrap_err().to_string();
        assert!(error.contains(address) && error.contains("COMFYGATE_ALLOW_OPEN=true"), "{error}");
        let settings = from_env(&[open[0], open[1], ("COMFYGATE_ALLOW_OPEN", "true")]).unwrap();
        assert!(!settings.access.require_keys(settings.server.address));
        // The second word alone opens nothing.
        let settings = from_env(&[open[0], ("COMFYGATE_ALLOW_OPEN", "true")]).unwrap();
        assert!(settings.access.require_keys(settings.server.address));
    }
    for (keys, required) in [("auto", false), ("required", true), ("off", false)] {
        let settings = from_env(&[("COMFYGATE_KEYS", keys)]).unwrap();
        assert_eq!(settings.access.require_keys(settings.server.address), required, "{keys}");
    }
}

#[test]
fn an_operators_key_must_be_hard_to_guess_and_is_never_repeated() {
    let good = "8f2c1e7a9b3d4f60a1c2e3d4b5f60718";
    let settings = from_env(&[("COMFYGATE_ADMIN_KEY", good), ("COMFYGATE_KEY", good)]).unwrap();
    assert_eq!(settings.access.operators_key().map(Secret::expose), Some(good));
    assert!(!format!("{settings:?}").contains(good));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{good}\n")).unwrap();
    let path = path.to_str().unwrap();
    let settings = from_env(&[("COMFYGATE_ADMIN_KEY_FILE", path)]).unwrap();
    assert_eq!(settings.access.operators_key().map(Secret::expose), Some(good));
    let error = from_env(&[("COMFYGATE_ADMIN_KEY_FILE", path), ("COMFYGATE_ADMIN_KEY", good)]).unwrap_err().to_string();
    assert!(error.contains("are both set") && !error.contains(good), "{error}");

    for bad in ["hunter2-hunter2-hunter2", &"ab".repeat(40), &"hunter2 ".repeat(5), &"hunter2-89".repeat(21)] {
        for name in ["COMFYGATE_ADMIN_KEY", "COMFYGATE_ADMIN_KEY_FILE"] {
            let error = from_env(&[(name, bad)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}` is `***`")) && !error.contains(bad.trim()), "{error}");
        }
        std::fs::write(path, bad).unwrap();
        let error = from_env(&[("COMFYGATE_ADMIN_KEY_FILE", path)]).unwrap_err().to_string();
        assert!(error.contains("what stands in it is") && !error.contains(bad.trim()), "{error}");
    }
    let error = from_env(&[("COMFYGATE_KEY", "hunter2 x")]).unwrap_err().to_string();
    assert!(error.contains("`COMFYGATE_KEY` is `***`"), "{error}");
}

#[test]
fn a_usual_limit_above_the_longest_is_told() {
    let error = from_env(&[("COMFYGATE_RUN_TIMEOUT", "2days")]).unwrap_err().to_string();
    assert!(error.contains("`COMFYGATE_RUN_TIMEOUT` is 2days, longer than `COMFYGATE_MAX_RUN_TIMEOUT`"), "{error}");
}

#[test]
fn jobs_are_kept_a_day_longer_than_their_webhooks_are_tried() {
    let both = |retention| from_env(&[("COMFYGATE_WEBHOOK_SCHEDULE", "1h,2h"), ("COMFYGATE_RETENTION", retention)]);
    assert_eq!(both("27h").unwrap().storage.retention, Some(Duration::from_hours(27)));
    assert_eq!(both("forever").unwrap().storage.retention, None);
    let error = both("26h").unwrap_err().to_string();
    assert!(error.contains("`COMFYGATE_RETENTION` is 1day 2h") && error.contains("which are 3h together"), "{error}");
    let error = both("7").unwrap_err().to_string();
    assert!(error.contains("no unit") && error.contains("or forever"), "{error}");
}

#[test]
fn a_password_in_a_wrong_value_is_not_repeated() {
    let error = from_env(&[("COMFYUI_ADDRESS", "http://me:sesame@gpu:8188")]).unwrap_err().to_string();
    assert!(error.contains("COMFYUI_ADDRESS") && !error.contains("sesame"), "{error}");
}

#[test]
fn something_said_twice_in_one_file_is_told_with_both_lines() {
    let error = from_dotenv("COMFYGATE_DATA=a\nX=1\nCOMFYGATE_DATA=b\n").unwrap_err();
    assert_eq!(error.problems.len(), 1);
    let text = error.to_string();
    assert!(text.contains(".env:3: `COMFYGATE_DATA` is set twice") && text.contains(".env:1"), "{text}");
}

#[test]
fn empty_values_count_as_not_said() {
    let settings = from_env(&[("COMFYGATE_ADDRESS", ""), ("COMFYGATE_LOG", "  ")]).unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn a_file_that_must_be_there_and_is_not_is_told() {
    let missing = Path::new("/nonexistent/comfygate.yaml").to_path_buf();
    let load = |file| Settings::load(Sources { cli: BTreeMap::new(), env: pairs(&[]), dotenv: FileChoice::None, file });
    assert_eq!(load(FileChoice::Optional(missing.clone())), Ok(Settings::default()));
    assert!(load(FileChoice::Required(missing)).unwrap_err().to_string().contains("/nonexistent/comfygate.yaml"));
}

#[test]
fn links_begin_with_the_public_url_or_the_real_address() {
    let bound = "127.0.0.1:4711".parse().unwrap();
    assert_eq!(Settings::default().server.link_base(bound), "http://127.0.0.1:4711");
    let settings = from_env(&[("COMFYGATE_PUBLIC_URL", "https://gw.example/")]).unwrap();
    assert_eq!(settings.server.link_base(bound), "https://gw.example");
}

#[test]
fn the_example_file_lists_every_setting_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".env.example");
    assert_same(&std::fs::read_to_string(path).unwrap(), &env_example());
}

#[test]
fn the_reference_lists_every_setting_as_the_code_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SETTINGS.md");
    assert_same(&std::fs::read_to_string(path).unwrap(), &reference());
}

#[test]
fn the_example_file_with_every_line_in_force_changes_nothing() {
    let is_assignment = |line: &str| line.strip_prefix("#COMF").map(|rest| format!("COMF{rest}\n"));
    let text: String = env_example().lines().filter_map(is_assignment).collect();
    assert_eq!(text.lines().count(), SETTINGS.len());
    assert_eq!(from_dotenv(&text), Ok(Settings::default()));
}

fn assert_same(written: &str, expected: &str) {
    for (number, (written, expected)) in written.lines().zip(expected.lines()).enumerate() {
        assert_eq!(written, expected, "line {}", number + 1);
    }
    assert_eq!(written.lines().count(), expected.lines().count());
}

fn from_env(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let env = pairs(variables);
    Settings::load(Sources { cli: BTreeMap::new(), env, dotenv: FileChoice::None, file: FileChoice::None })
}

fn from_dotenv(text: &str) -> Result<Settings, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = FileChoice::Required(write(folder.path(), ".env", text));
    Settings::load(Sources { cli: BTreeMap::new(), env: pairs(&[]), dotenv, file: FileChoice::None })
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_log_filter_that_would_silence_everything_by_mistake_is_refused() {
    for wrong in ["shout", "info,shout", "INFOO"] {
        let error = from_env(&[("COMFYGATE_LOG", wrong)]).unwrap_err().to_string();
        assert!(error.contains("error, warn, info, debug, trace or off"), "{error}");
    }
    for right in ["off", "WARN", "info,comfygate::notifier=debug", "comfygate::tracker"] {
        assert_eq!(from_env(&[("COMFYGATE_LOG", right)]).unwrap().logging.filter, right);
    }
}
