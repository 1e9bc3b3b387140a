//! The names by which a workflow is found: versions, aliases, and who gets a name that two want; templates that several share.

use super::reload::{Folders, told};
use super::{PLAIN, TEMPLATE, problems};

fn described(text: &str) -> String {
    format!("description: {text}\n{}", PLAIN.trim_start())
}

fn also(aliases: &str) -> String {
    format!("aliases: {aliases}\n{}", PLAIN.trim_start())
}

#[test]
fn a_name_means_the_plain_pair_else_the_highest_version() {
    let folders = Folders::new();
    for version in ["2", "10", "9", "11"] {
        folders.put(&format!("flux@{version}"), Some(&described(&format!("version {version}"))), Some(TEMPLATE));
    }
    let catalog = folders.load();
    let means = |name: &str| catalog.workflow(name).map(|pair| pair.name().to_owned());
    assert_eq!(catalog.names(), ["flux@10", "flux@11", "flux@2", "flux@9"]);
    assert_eq!(means("flux").as_deref(), Some("flux@11"));
    assert_eq!(means("flux@9").as_deref(), Some("flux@9"));
    assert_eq!(means("flux@3"), None);
    let pair = catalog.workflow("flux").unwrap();
    assert_eq!((pair.base_name(), pair.version(), pair.description()), ("flux", Some(11), Some("version 11")));

    folders.put("flux", Some(&described("plain")), Some(TEMPLATE));
    catalog.reload();
    assert_eq!((means("flux").as_deref(), means("flux@10").as_deref()), (Some("flux"), Some("flux@10")));
    assert_eq!(catalog.workflow("flux").unwrap().version(), None);
    assert!(catalog.problems().is_empty());
}

#[test]
fn a_new_version_that_is_bad_leaves_the_name_to_the_one_before() {
    let folders = Folders::new();
    folders.put("flux@1", Some(PLAIN), Some(TEMPLATE));
    folders.put("flux@2", Some("node_mappings: 5\n"), Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(catalog.workflow("flux").unwrap().name(), "flux@1");
    assert_eq!(catalog.problems().keys().collect::<Vec<_>>(), ["flux@2"]);
    folders.put("flux@2", Some(&described("two")), None);
    catalog.reload();
    assert_eq!(catalog.workflow("flux").unwrap().description(), Some("two"));
    folders.remove("flux@2");
    catalog.reload();
    assert_eq!(catalog.workflow("flux").unwrap().name(), "flux@1");
}

#[test]
fn a_workflow_is_found_by_its_aliases() {
    let folders = Folders::new();
    folders.put("flux", Some(&also("[portrait, default]")), Some(TEMPLATE));
    folders.put("sdxl", Some(&also("landscape")), Some(TEMPLATE));
    let catalog = folders.load();
    for (name, own) in [("portrait", "flux"), ("default", "flux"), ("landscape", "sdxl"), ("flux", "flux")] {
        assert_eq!(catalog.workflow(name).unwrap().name(), own);
    }
    assert!(catalog.problems().is_empty());
    assert_eq!(catalog.other_names().len(), 3);
    assert_eq!(catalog.workflow("flux").unwrap().aliases().collect::<Vec<_>>(), ["portrait", "default"]);
}

#[test]
fn an_alias_that_versions_share_means_the_one_that_their_name_means() {
    let folders = Folders::new();
    folders.put("flux@1", Some(&also("[portrait, old]")), Some(TEMPLATE));
    folders.put("flux@2", Some(&also("[portrait]")), Some(TEMPLATE));
    folders.put("flux@3", Some(PLAIN), Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(told(&catalog), [""; 0]);
    assert_eq!(catalog.workflow("flux").unwrap().name(), "flux@3");
    assert_eq!(catalog.workflow("portrait").unwrap().name(), "flux@2");
    assert_eq!(catalog.workflow("old").unwrap().name(), "flux@1");
}

#[test]
fn an_alias_that_is_the_name_of_a_workflow_is_told_with_both_and_the_name_wins() {
    let folders = Folders::new();
    folders.put("flux", Some(&also("[portrait]")), Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(catalog.workflow("portrait").unwrap().name(), "flux");
    folders.put("portrait", Some(PLAIN), Some(TEMPLATE));
    folders.put("b@4", Some(PLAIN), Some(TEMPLATE));
    folders.put("a", Some(&also("b")), Some(TEMPLATE));
    catalog.reload();
    let (a, b4) = (folders.config("a"), folders.config("b@4"));
    let (flux, portrait) = (folders.config("flux"), folders.config("portrait"));
    let expected = [
        format!("{}:1: alias `b` is the name of workflow `b@4` ({}): choose another", a.display(), b4.display()),
        format!(
            "{}:1: alias `portrait` is the name of workflow `portrait` ({}): choose another",
            flux.display(),
            portrait.display()
        ),
    ];
    assert_eq!(told(&catalog), expected);
    assert_eq!(catalog.workflow("portrait").unwrap().name(), "portrait");
    assert_eq!(catalog.workflow("b").unwrap().name(), "b@4");
    assert_eq!(catalog.workflow("flux").unwrap().name(), "flux", "it serves without the alias");
}

#[test]
fn of_two_workflows_with_one_alias_the_one_that_had_it_keeps_it_and_both_are_named() {
    let folders = Folders::new();
    folders.put("z", Some(&also("[portrait]")), Some(TEMPLATE));
    let catalog = folders.load();
    folders.put("a", Some(&also("[portrait]")), Some(TEMPLATE));
    catalog.reload();
    assert_eq!(catalog.workflow("portrait").unwrap().name(), "z");
    let reason =
        format!("alias `portrait` is an alias of workflow `z` ({}): choose another", folders.config("z").display());
    assert_eq!(catalog.problems()["a"][0].reason, reason);
    assert_eq!(
        folders.load().workflow("portrait").unwrap().name(),
        "a",
        "where nobody had it, the first by name has it"
    );
    folders.remove("z");
    catalog.reload();
    assert_eq!(catalog.workflow("portrait").unwrap().name(), "a");
    assert!(catalog.problems().is_empty());
}

#[test]
fn wrong_aliases_and_templates_are_told_with_their_line() {
    let config = "node_mappings: {}\naliases:\n  - a b\n  - x\n  - x\n  - flux@2\n  - [y]\ntemplate: ../x.json\n";
    let expected = [
        "configs/w.yaml:8: template must be the name of a file in the templates folder, such as flux.json, not `../x.json`",
        "configs/w.yaml:3: `a b` cannot be an alias: it has 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit first",
        "configs/w.yaml:5: alias `x` is written twice: keep one",
        "configs/w.yaml:6: `flux@2` cannot be an alias: it has 1 to 64 letters, digits, `.`, `_` and `-`, a letter or digit \
         first",
        "configs/w.yaml:7: an alias must be a text, but it is a list",
    ];
    assert_eq!(problems(config, TEMPLATE), expected);
}

#[test]
fn several_mappings_share_one_template() {
    let folders = Folders::new();
    let shared = |text: &str| format!("template: base.json\n{}", described(text));
    folders.put("one", Some(&shared("one")), None);
    folders.put("two@2", Some(&shared("two").replace("base.json", "base")), None);
    folders.put("base", None, Some(TEMPLATE));
    let catalog = folders.load();
    assert_eq!(told(&catalog), [""; 0], "a template that is shared needs no mapping of its name");
    assert_eq!(catalog.names(), ["one", "two@2"]);

    folders.put("base", None, Some(&TEMPLATE.replace("\"steps\": 20", "\"steps\": 21")));
    catalog.reload();
    for name in ["one", "two"] {
        let pair = catalog.workflow(name).unwrap();
        assert_eq!(pair.template().node("3").unwrap().inputs["steps"], 21);
    }
    std::fs::remove_file(folders.template("base")).unwrap();
    catalog.reload();
    assert_eq!(catalog.names(), ["one", "two@2"], "the last good version stays");
    assert!(told(&catalog)[0].starts_with(&format!("{}: there is no such file", folders.template("base").display())));
}
