//! Folders that change while the gateway serves.

use super::{PLAIN, TEMPLATE};
use comfygate::workflow::Catalog;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
fn good_pairs_are_loaded_and_bad_ones_are_told() {
    let folders = Folders::new();
    folders.put("b", Some(PLAIN), Some(TEMPLATE));
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    folders.put("bad", Some("node_mappings: 5\n"), Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(catalog.names(), ["a", "b"]);
    assert_eq!(catalog.workflow("a").unwrap().name(), "a");
    assert!(catalog.workflow("bad").is_none() && catalog.workflow("../a").is_none());
    let told = told(&catalog);
    let expected = format!(
        "{}:1: `node_mappings` must be a mapping of parameters, but it is an integer",
        folders.config("bad").display()
    );
    assert_eq!(told, [expected]);
}

#[test]
fn a_change_takes_effect_without_a_restart_once_it_has_settled() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    let before = catalog.workflow("a").unwrap();
    assert!(!catalog.reload_if_changed(), "nothing has changed");

    folders.put("a", Some(&format!("description: new\n{}", PLAIN.trim_start())), None);
    assert!(!catalog.reload_if_changed(), "the first look could be at a half-written file");
    assert_eq!(catalog.workflow("a").unwrap().revision(), before.revision());
    assert!(catalog.reload_if_changed());
    assert_eq!(catalog.workflow("a").unwrap().description(), Some("new"));
    assert_ne!(catalog.workflow("a").unwrap().revision(), before.revision());
    assert!(!catalog.reload_if_changed());
}

#[test]
fn a_file_that_is_being_written_is_not_taken() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    let revision = catalog.workflow("a").unwrap().revision().to_owned();
    // Each beginning of a YAML file that ends with a line is a good YAML file, of another meaning.
    for lines in 2..5 {
        let begun: String = PLAIN.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
        folders.put("a", Some(&begun), None);
        assert!(!catalog.reload_if_changed());
        assert_eq!(catalog.workflow("a").unwrap().revision(), revision);
    }
    folders.put("a", Some(PLAIN), None);
    assert!(!catalog.reload_if_changed(), "all is as it was");
}

#[test]
fn a_pair_that_is_written_to_holds_up_no_other() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    folders.put("b", Some(PLAIN), Some(TEMPLATE));
    for size in 0..3 {
        folders.put("a", Some(&format!("{PLAIN}#{}", "x".repeat(size))), None);
        catalog.reload_if_changed();
    }
    assert_eq!(catalog.names(), ["a", "b"]);
    assert!(catalog.workflow("a").unwrap().source().config == PLAIN, "it is not taken while it is being written");
}

#[test]
fn one_half_of_a_pair_waits_for_the_other_that_is_being_written() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    folders.put("a", Some(&format!("description: new\n{}", PLAIN.trim_start())), None);
    assert!(!catalog.reload_if_changed());
    folders.put("a", None, Some(&TEMPLATE.replace("\"steps\": 20", "\"steps\": 21")));
    assert!(!catalog.reload_if_changed(), "the mapping has settled, the template has not");
    assert!(catalog.reload_if_changed());
    let pair = catalog.workflow("a").unwrap();
    assert_eq!((pair.description(), &pair.template().node("3").unwrap().inputs["steps"]), (Some("new"), &21.into()));
}

#[test]
fn a_look_reads_only_the_files_that_have_changed() {
    let folders = Folders::new();
    for number in 0..20 {
        folders.put(&format!("w{number}"), Some(PLAIN), Some(TEMPLATE));
    }
    let catalog = folders.load();
    let at_start = catalog.reads();
    assert_eq!(at_start, 40);
    // Files that are new may change again within the same tick of the disk's clock, so some looks read them all the same.
    for _ in 0..20 {
        catalog.reload_if_changed();
    }
    let settled = catalog.reads();
    for _ in 0..50 {
        assert!(!catalog.reload_if_changed());
    }
    assert_eq!(catalog.reads(), settled);
    folders.put("w7", Some(&format!("description: new\n{}", PLAIN.trim_start())), None);
    let looks = (0..20).take_while(|_| !catalog.reload_if_changed()).count();
    assert_eq!((looks, catalog.reads()), (1, settled + 2));
}

#[cfg(unix)]
#[test]
fn a_change_that_keeps_size_and_times_is_seen() {
    let folders = Folders::new();
    folders.put("a", Some(&format!("description: one\n{}", PLAIN.trim_start())), Some(TEMPLATE));
    let catalog = folders.load();
    for _ in 0..20 {
        catalog.reload_if_changed();
    }
    let path = folders.config("a");
    let written = fs::metadata(&path).unwrap().modified().unwrap();
    folders.put("a", Some(&format!("description: two\n{}", PLAIN.trim_start())), None);
    fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    catalog.reload_if_changed();
    assert!(catalog.reload_if_changed());
    assert_eq!(catalog.workflow("a").unwrap().description(), Some("two"));
}

#[test]
fn a_bad_version_keeps_the_last_good_one() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    let revision = catalog.workflow("a").unwrap().revision().to_owned();
    let half: String = TEMPLATE.chars().take(200).collect();
    for (config, template) in [
        (Some("node_mappings: ["), Some(TEMPLATE)),
        (Some(PLAIN), Some(half.as_str())),
        (Some(PLAIN), Some("{\"nodes\": [], \"links\": []}")),
        (Some(""), Some(TEMPLATE)),
    ] {
        folders.put("a", config, template);
        catalog.reload();
        assert_eq!(catalog.workflow("a").unwrap().revision(), revision, "{config:?}");
        assert_eq!(catalog.problems()["a"].len(), 1);
    }
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    catalog.reload();
    assert!(catalog.problems().is_empty());
}

#[test]
fn files_that_hurt_are_refused_while_the_last_good_version_serves() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    let revision = catalog.workflow("a").unwrap().revision().to_owned();
    let levels =
        (1..9).map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", ")));
    let bomb = format!("{PLAIN}a0: &a0 [x, x, x, x, x, x, x, x, x]\n{}", levels.collect::<String>());
    let twice = format!("{PLAIN}node_mappings: {{}}\n");
    let two_documents = format!("{PLAIN}---{PLAIN}");
    let large = format!("{PLAIN}# {}\n", "x".repeat(10_000_000));
    let half: String = TEMPLATE.chars().take(TEMPLATE.len() / 2).collect();
    let tab = PLAIN.replace("  seed", "\tseed");
    for config in [&twice, &two_documents, &bomb, &"[".repeat(20_000), &large, &tab] {
        folders.put("a", Some(config), None);
        catalog.reload();
        let start: String = config.chars().take(40).collect();
        assert_eq!(catalog.workflow("a").unwrap().revision(), revision, "{start}");
        assert!(!catalog.problems()["a"].is_empty(), "{start}");
    }
    folders.put("a", Some(PLAIN), None);
    for template in [half.as_str(), "[]", "5", "\"x\"", r#"{"nodes": [], "links": [], "version": 0.4}"#] {
        folders.put("a", None, Some(template));
        catalog.reload();
        assert_eq!(catalog.workflow("a").unwrap().revision(), revision, "{template}");
        assert_eq!(catalog.problems()["a"].len(), 1, "{template}");
    }
}

#[test]
fn half_a_pair_is_told_and_a_pair_that_is_gone_is_gone() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    folders.put("no_template", Some(PLAIN), None);
    folders.put("no_config", None, Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(catalog.names(), ["a"]);
    let missing = |path: PathBuf| format!("{}: there is no such file, but there is the ", path.display());
    let told = told(&catalog);
    assert!(told[0].starts_with(&missing(folders.config("no_config"))), "{told:?}");
    assert!(told[1].starts_with(&missing(folders.template("no_template"))), "{told:?}");

    fs::remove_file(folders.config("a")).unwrap();
    catalog.reload();
    assert_eq!(catalog.names(), ["a"], "one file gone is a fault");
    assert!(catalog.problems().contains_key("a"));
    fs::remove_file(folders.template("a")).unwrap();
    catalog.reload();
    assert!(catalog.names().is_empty(), "both gone is a wish");
}

#[test]
fn a_folder_that_goes_away_takes_no_workflow_with_it() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    fs::remove_dir_all(folders.root.path()).unwrap();
    catalog.reload();
    assert_eq!(catalog.names(), ["a"]);
    assert_eq!(told(&catalog).len(), 2);
    let nowhere = Catalog::load(Path::new("/nonexistent/configs"), Path::new("/nonexistent/templates"));
    assert!(nowhere.names().is_empty());
    assert_eq!(nowhere.problems().len(), 2);
}

#[test]
fn odd_files_are_refused_or_passed_over() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    for passed_over in [".a.yaml", "a.yaml~", "README.md", ".yaml"] {
        fs::write(folders.root.path().join("configs").join(passed_over), "x").unwrap();
    }
    assert!(folders.load().problems().is_empty());

    folders.put("with space", Some(PLAIN), Some(TEMPLATE));
    fs::write(folders.root.path().join("configs/short.yml"), PLAIN).unwrap();
    fs::write(folders.template("short"), TEMPLATE).unwrap();
    fs::create_dir(folders.config("folder")).unwrap();
    fs::write(folders.template("folder"), TEMPLATE).unwrap();
    folders.put("latin", None, Some(TEMPLATE));
    fs::write(folders.config("latin"), b"node_mappings: {}\n# caf\xe9\n").unwrap();
    folders.put("large", None, Some(TEMPLATE));
    fs::write(folders.config("large"), " ".repeat(2 << 20)).unwrap();
    let catalog = folders.load();
    assert_eq!(catalog.names(), ["a"]);
    let told = told(&catalog);
    let reasons = [
        "not a regular file",
        "at most 1048576 are read",
        "line 2 is not UTF-8",
        "name the file `short.yaml`",
        "cannot name a workflow",
    ];
    assert_eq!(told.len(), reasons.len(), "{told:#?}");
    for (told, reason) in told.iter().zip(reasons) {
        assert!(told.contains(reason), "{told} does not say {reason}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused_and_one_inside_is_followed() {
    use std::os::unix::fs::symlink;
    let folders = Folders::new();
    let outside = folders.root.path().join("secret.json");
    fs::write(&outside, TEMPLATE).unwrap();
    folders.put("out", Some(PLAIN), None);
    symlink(&outside, folders.template("out")).unwrap();
    folders.put("a", Some(PLAIN), None);
    let version = folders.root.path().join("templates/..version1");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("a.json"), TEMPLATE).unwrap();
    symlink("..version1/a.json", folders.template("a")).unwrap();
    folders.put("dangling", Some(PLAIN), None);
    symlink("nowhere.json", folders.template("dangling")).unwrap();
    let catalog = folders.load();
    assert_eq!(catalog.names(), ["a"]);
    assert!(catalog.problems()["out"][0].reason.contains("a link to a place outside"));
    assert!(catalog.problems()["dangling"][0].reason.contains("cannot be read"));
}

#[test]
fn readers_see_the_old_or_the_new_version_under_reloads() {
    let folders = Folders::new();
    folders.put("a", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    let other = format!("description: other\n{}", PLAIN.trim_start());
    let first = catalog.workflow("a").unwrap().revision().to_owned();
    folders.put("a", Some(&other), None);
    catalog.reload();
    let second = catalog.workflow("a").unwrap().revision().to_owned();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            (0..20_000).all(|_| {
                let workflow = catalog.workflow("a").unwrap();
                let is_first = workflow.revision() == first && workflow.description().is_none();
                is_first || (workflow.revision() == second && workflow.description() == Some("other"))
            })
        });
        for round in 0..50 {
            folders.put("a", Some(if round % 2 == 0 { PLAIN } else { &other }), None);
            catalog.reload();
        }
        assert!(reader.join().unwrap());
    });
}

pub(super) struct Folders {
    root: TempDir,
}

impl Folders {
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("configs")).unwrap();
        fs::create_dir(root.path().join("templates")).unwrap();
        Self { root }
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.config(name)).unwrap();
        fs::remove_file(self.template(name)).unwrap();
    }

    pub(super) fn config(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("configs/{name}.yaml"))
    }

    pub(super) fn template(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("templates/{name}.json"))
    }

    pub(super) fn put(&self, name: &str, config: Option<&str>, template: Option<&str>) {
        if let Some(config) = config {
            fs::write(self.config(name), config).unwrap();
        }
        if let Some(template) = template {
            fs::write(self.template(name), template).unwrap();
        }
    }

    pub(super) fn load(&self) -> Catalog {
        Catalog::load(&self.root.path().join("configs"), &self.root.path().join("templates"))
    }
}

pub(super) fn told(catalog: &Catalog) -> Vec<String> {
    catalog.problems().values().flatten().map(ToString::to_string).collect()
}
