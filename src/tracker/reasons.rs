//! Why no backend can run a job, in one line of bounded length. Who asks them all is left to others.

use crate::names::cut;
use crate::store::{Refused, Way};

/// How the reason of a backend without a tag begins; the tag follows.
pub const NO_TAG: &str = "it does not have the tag ";

/// How many reasons are told, and of how many backends each, and how many letters of a reason and of a name.
const TOLD: usize = 8;
const BRIEF: usize = 200;

/// Returns in one line why no backend can run a job: each reason with the backends that gave it.
pub fn nobody_can(reasons: &[Refused]) -> String {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for Refused { way: Way { backend, .. }, reason } in reasons {
        match by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, backends)) if backends.contains(&backend.as_str()) => {}
            Some((_, backends)) => backends.push(backend),
            None => by_reason.push((reason, vec![backend])),
        }
    }
    if let [(reason, _)] = by_reason.as_slice()
        && let Some(tag) = reason.strip_prefix(NO_TAG)
    {
        return format!("no backend has the tag {tag}");
    }
    let told: Vec<String> = by_reason
        .iter()
        .take(TOLD)
        .map(|(reason, backends)| {
            let mut names: Vec<String> = backends.iter().take(TOLD).map(|name| cut(name, BRIEF)).collect();
            if backends.len() > TOLD {
                names.push(format!("{} more", backends.len() - TOLD));
            }
            format!("{}: {}", names.join(", "), cut(reason, BRIEF))
        })
        .collect();
    let more = match by_reason.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!("; and {more} more reasons"),
    };
    let all = told.join("; ");
    format!("no backend can run the job{}{all}{more}", if all.is_empty() { "" } else { ": " })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reasons: &[(&str, &str)]) -> String {
        let refused = |(way, reason): &(&str, &str)| Refused { way: Way::first(way), reason: (*reason).into() };
        nobody_can(&reasons.iter().map(refused).collect::<Vec<_>>())
    }

    #[test]
    fn each_backend_is_told_with_what_it_lacks_and_all_together_in_bounded_words() {
        let flux = "it does not have the tag `flux`";
        assert_eq!(said(&[("a", flux), ("b", flux)]), "no backend has the tag `flux`");
        assert_eq!(
            said(&[("a", "it has no x"), ("b", "it has no x")]),
            "no backend can run the job: a, b: it has no x"
        );
        let twice = said(&[("a", "it has no x"), ("a", "it has no x"), ("a", "it has no y")]);
        assert_eq!(twice, "no backend can run the job: a: it has no x; a: it has no y", "one for each variant");
        let expected = format!("no backend can run the job: a: {flux}; b: it has no node class `X`");
        assert_eq!(said(&[("a", flux), ("b", "it has no node class `X`")]), expected);
        let many: Vec<String> = (0..64).map(|n| format!("{n}{}", "y".repeat(5000))).collect();
        let told = said(&many.iter().map(|reason| ("b", reason.as_str())).collect::<Vec<_>>());
        assert!(told.ends_with("; and 56 more reasons") && told.len() < 2000, "{}", told.len());
        let names: Vec<String> = (0..64).map(|number| format!("b{number}")).collect();
        let alike: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "it has no x")).collect();
        assert!(said(&alike).ends_with("b7, 56 more: it has no x"), "{}", said(&alike));
    }
}
