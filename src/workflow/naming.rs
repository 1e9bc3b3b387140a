//! The names by which callers find a workflow: its own, the name of all its versions, its aliases; and who has a name that
//! several want. Pure.

use super::pair::Pair;
use super::problem::Problem;
use crate::names::shown;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest name of a workflow, its version included.
const MAX_NAME: usize = 64;

/// What stands between a name and its version, as in `flux@3`.
const VERSION_SIGN: char = '@';

/// The most digits of a version.
const MAX_DIGITS: usize = 9;

/// Returns the name that all versions of a workflow have in common, and which version this is: `flux@3` is version 3 of
/// `flux`, and `flux` is the one without a version.
pub(super) fn split(name: &str) -> (&str, Option<u32>) {
    let cut = name.rsplit_once(VERSION_SIGN).and_then(|(base, version)| Some((base, version_number(version)?)));
    cut.map_or((name, None), |(base, version)| (base, Some(version)))
}

/// Says why a workflow cannot have this name. A name is part of paths and addresses, so it is plain.
pub(super) fn wrong_name(name: &str) -> Option<String> {
    let (base, _) = split(name);
    if is_plain(base) && name.len() <= MAX_NAME {
        return None;
    }
    let allowed = "letters, digits, `.`, `_` and `-`, a letter or digit first";
    let version = "`@` and a version number such as `flux@3` may follow";
    Some(format!("`{}` cannot name a workflow: a name has 1 to {MAX_NAME} {allowed}; {version}", shown(name)))
}

/// Says why a workflow cannot be called so besides; an alias has no version, since it is the same for all of them.
pub(super) fn wrong_alias(alias: &str) -> Option<String> {
    let is_good = is_plain(alias) && alias.len() <= MAX_NAME;
    (!is_good).then(|| {
        let allowed = "letters, digits, `.`, `_` and `-`, a letter or digit first";
        format!("`{}` cannot be an alias: it has 1 to {MAX_NAME} {allowed}", shown(alias))
    })
}

/// Finds out which workflow is meant by each name that is no workflow's own: the highest version of workflows without a plain
/// one, and the aliases. An alias that another workflow has is a problem of the workflow that does not get it, and of nothing
/// else of it; `before` says who had it. A problem stands beside the name of its workflow; `file` tells its mapping file.
pub(super) fn other_names(
    workflows: &BTreeMap<String, Arc<Pair>>,
    before: &BTreeMap<String, String>,
    file: impl Fn(&str) -> String,
) -> (BTreeMap<String, String>, Vec<(String, Problem)>) {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for name in in_rank(workflows) {
        let (base, version) = split(name);
        if version.is_some() && !workflows.contains_key(base) {
            names.entry(base.to_owned()).or_insert_with(|| name.clone());
        }
    }
    let own = names.clone();
    let mut aliases: BTreeMap<String, String> = BTreeMap::new();
    let had_it = |name: &&String, alias: &str| before.get(alias).is_some_and(|had| split(had).0 == split(name).0);
    let mut problems = Vec::new();
    for alias in all_aliases(workflows) {
        let wanted_by = in_rank(workflows).filter(|name| declares(workflows, name, &alias));
        let holder = own.get(&alias).or_else(|| workflows.get_key_value(&alias).map(|(name, _)| name));
        let is_name = holder.is_some();
        let first = || wanted_by.clone().find(|name| had_it(name, &alias)).or_else(|| wanted_by.clone().next());
        let Some(holder) = holder.or_else(first) else { continue };
        if !is_name {
            aliases.insert(alias.clone(), holder.clone());
        }
        for name in wanted_by.clone().filter(|name| is_name || split(name).0 != split(holder).0) {
            let what = if is_name { "is the name of workflow" } else { "is an alias of workflow" };
            let reason = format!("alias `{alias}` {what} `{holder}` ({}): choose another", file(holder));
            let line = workflows.get(name).and_then(|pair| pair.alias_line(&alias));
            problems.push((name.clone(), Problem::of_file(file(name), reason).at(line)));
        }
    }
    names.append(&mut aliases);
    (names, problems)
}

/// The workflows in the order in which those of one base come into question: the plain one, then the highest version.
fn in_rank(workflows: &BTreeMap<String, Arc<Pair>>) -> impl Iterator<Item = &String> + Clone {
    let mut names: Vec<&String> = workflows.keys().collect();
    names.sort_by_key(|name| {
        let (base, version) = split(name);
        (base, version.is_some(), Reverse(version))
    });
    names.into_iter()
}

fn all_aliases(workflows: &BTreeMap<String, Arc<Pair>>) -> impl Iterator<Item = String> {
    let mut all: Vec<String> = workflows.values().flat_map(|pair| pair.aliases().map(str::to_owned)).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
}

fn declares(workflows: &BTreeMap<String, Arc<Pair>>, name: &str, alias: &str) -> bool {
    workflows.get(name).is_some_and(|pair| pair.aliases().any(|its| its == alias))
}

fn is_plain(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    name.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && name.chars().all(is_plain)
}

/// Reads a version. `03` is none: it would be another name of version 3.
fn version_number(text: &str) -> Option<u32> {
    let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !text.starts_with('0') { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_behind_the_sign_and_nothing_else() {
        assert_eq!(split("flux@3"), ("flux", Some(3)));
        assert_eq!(split("flux@999999999"), ("flux", Some(999_999_999)));
        for plain in ["flux", "flux@", "flux@x", "flux@03", "flux@0", "flux@-1", "flux@1234567890", "@3x"] {
            assert_eq!(split(plain), (plain, None));
        }
        for good in ["flux", "flux@3", "a.b-c_d@12"] {
            assert_eq!(wrong_name(good), None);
        }
        for bad in ["flux@", "flux@x", "flux@03", "@3", "a@1@2", "-a", "", "a b"] {
            assert!(wrong_name(bad).is_some(), "{bad}");
        }
        assert!(wrong_alias("a@1").is_some() && wrong_alias("a").is_none());
    }
}
