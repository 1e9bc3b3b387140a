//! One job as several workflows: what was asked for is checked against each of them, and what each wishes of a backend is
//! joined with what the caller wishes.

use super::{Intake, IntakeError};
use crate::inputs::{GivenImages, take_images};
use crate::job::{Placement, Variant};
use crate::workflow::{Pair, ParamError, check, resolve, structure};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the workflows of a job have in common.
pub(super) struct Wish<'a> {
    /// The parameters as the caller wrote them.
    pub(super) asked: &'a Map<String, Value>,
    /// Those of them that are for images only.
    pub(super) images: &'a BTreeSet<String>,
    /// The images that the first workflow takes.
    pub(super) given: &'a GivenImages,
    /// The seed that the first workflow has.
    pub(super) seed: Option<u64>,
}

impl Intake {
    /// Checks what was asked for against another workflow.
    pub(super) fn variant(&self, workflow: &Pair, wish: &Wish<'_>) -> Result<Variant, IntakeError> {
        let named = |faults: Vec<ParamError>| {
            let of = |fault: ParamError| ParamError {
                message: format!("variant `{}`: {}", workflow.name(), fault.message),
                ..fault
            };
            IntakeError::Params(faults.into_iter().map(of).collect())
        };
        let mut params = wish.asked.clone();
        let given = take_images(workflow, &mut params, wish.images).map_err(named)?;
        if !given.keys().eq(wish.given.keys()) {
            let missing = wish
                .given
                .keys()
                .chain(given.keys())
                .find(|name| given.contains_key(*name) != wish.given.contains_key(*name));
            let parameter = missing.cloned().unwrap_or_default();
            let message = format!("`{parameter}` is an image for one of the workflows and not for the other");
            return Err(named(vec![ParamError { code: "invalid_type", parameter, message }]));
        }
        let draw = || wish.seed.unwrap_or_else(|| self.draw_number());
        let mut resolved = resolve(workflow, &params, draw).map_err(named)?;
        check(workflow, &resolved.params)?;
        resolved.params.retain(|name, _| !given.contains_key(name));
        Ok(Variant {
            workflow: workflow.name().to_owned(),
            revision: workflow.revision().to_owned(),
            structure: structure(workflow, &resolved.params)?,
            params: resolved.params,
            seed: resolved.seed,
            output_names: workflow.output_names().clone(),
            expected_images: resolved.expected_images,
        })
    }
}

/// Joins what the workflows of a job and its caller wish of a backend: with one workflow all of it is the job's, with several
/// each workflow's own tags are its variant's.
pub(super) fn placement(workflow: &Pair, others: &[Arc<Pair>], mut wished: Placement) -> Placement {
    let tags = |pair: &Pair| pair.required_tags().iter().cloned().collect::<BTreeSet<_>>();
    if others.is_empty() {
        wished.tags.extend(tags(workflow));
    } else {
        wished.by_variant = std::iter::once(workflow).chain(others.iter().map(Arc::as_ref)).map(tags).collect();
    }
    wished
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Files;

    #[test]
    fn what_the_caller_wishes_holds_for_every_variant_and_a_workflows_tags_for_its_own() {
        let pair = |tag: &str| {
            let config = format!("node_mappings: {{}}\nrequires: {{tags: [{tag}]}}\n");
            Arc::new(Pair::parse("x", &config, r#"{"1": {"class_type": "A", "inputs": {}}}"#, &Files::of("x")).unwrap())
        };
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let wished = Placement { tags: of(&["large"]), ..Placement::default() };
        assert_eq!(placement(&pair("flux"), &[], wished.clone()).tags, of(&["flux", "large"]));
        let joined = placement(&pair("large"), &[pair("small")], wished);
        assert_eq!(joined.of_variant(0).tags, of(&["large"]));
        assert_eq!(
            joined.of_variant(1).tags,
            of(&["large", "small"]),
            "the caller's own wish is not the workflow's alone"
        );
    }
}
