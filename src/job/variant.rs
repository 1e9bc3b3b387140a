//! Other ways to make what a job asks for: the same parameters in other workflows, of which each may need another backend.

use super::{Params, Request, StructureHash};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most workflows that one job may name, the first included.
pub const MOST_VARIANTS: usize = 8;

/// One of a job's workflows besides its first, checked like that.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Variant {
    /// The name of the workflow.
    pub workflow: String,
    /// The hash of its revision.
    pub revision: String,
    /// The structure of its graph.
    pub structure: StructureHash,
    /// The parameters as this workflow takes them.
    pub params: Params,
    /// The seed in force; none where the workflow has no seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The names that outputs have, by the node that makes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_names: BTreeMap<String, String>,
    /// How many images the caller expects; none where the workflow has no such parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_images: Option<u32>,
}

impl Request {
    /// Returns the structures of all graphs that the job may run as, in the order of its variants.
    pub fn structures(&self) -> impl Iterator<Item = &StructureHash> {
        std::iter::once(&self.structure).chain(self.variants.iter().map(|variant| &variant.structure))
    }

    /// Returns the request as the run of one of its variants has it; 0 is the first workflow, as it was stored.
    #[must_use]
    pub fn as_variant(mut self, number: u32) -> Self {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let Some(variant) = place.and_then(|place| self.variants.get(place)).cloned() else { return self };
        let Variant { workflow, revision, structure, params, seed, output_names, expected_images } = variant;
        self = Self { workflow, revision, structure, params, seed, output_names, expected_images, ..self };
        self
    }
}
