//! What a caller asked for, after every check: typed parameters, limits, where to report.

use super::{BlobId, Conversion, DeliveryMode, InputImages, Placement, StructureHash, Variant, WebhookEvent};
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A parameter's value: always a scalar, so it can never become a link or a node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A truth value.
    Boolean(bool),
    /// A whole number; seeds need all 64 bits, so this is wider than both `i64` and `u64`.
    Integer(#[serde(with = "wide_integer")] i128),
    /// A number with a fraction; finite.
    Number(f64),
    /// Text.
    Text(String),
}

impl ParamValue {
    /// Returns the value as JSON; none where JSON has no such number.
    pub fn to_json(&self) -> Option<Value> {
        match self {
            Self::Boolean(truth) => Some(Value::Bool(*truth)),
            Self::Text(text) => Some(Value::String(text.clone())),
            Self::Integer(whole) => Number::from_i128(*whole).map(Value::Number),
            Self::Number(number) => Number::from_f64(*number).map(Value::Number),
        }
    }
}

/// The parameters of a job by their canonical name (`image_count`, never `imageCount`).
pub type Params = BTreeMap<String, ParamValue>;

/// The limits that a request or a workflow sets; what is absent comes from the settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Timeouts {
    /// From acceptance to the start of execution, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<u64>,
    /// From acceptance by a free backend to the start of execution, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Without any sign of life while running, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_ms: Option<u64>,
    /// From the start of execution to its end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_ms: Option<u64>,
}

/// The limits in force for one job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// From acceptance to the start of execution.
    pub queue: Duration,
    /// From acceptance by a free backend to the start of execution.
    pub start: Duration,
    /// Without any sign of life while running.
    pub silence: Duration,
    /// From the start of execution to its end.
    pub run: Duration,
}

impl Request {
    /// What stands in `workflow` of a job whose graph came with its request. No pair of files can be called so.
    pub const GRAPH: &str = "@graph";
}

impl Limits {
    /// Returns these limits with what `wish` sets put over them.
    #[must_use]
    pub fn with(self, wish: &Timeouts) -> Self {
        let or = |millis: Option<u64>, limit: Duration| millis.map_or(limit, Duration::from_millis);
        Self {
            queue: or(wish.queue_ms, self.queue),
            start: or(wish.start_ms, self.start),
            silence: or(wish.silence_ms, self.silence),
            run: or(wish.run_ms, self.run),
        }
    }

    /// Returns these limits, none longer than in `most`.
    #[must_use]
    pub fn at_most(self, most: &Self) -> Self {
        Self {
            queue: self.queue.min(most.queue),
            start: self.start.min(most.start),
            silence: self.silence.min(most.silence),
            run: self.run.min(most.run),
        }
    }
}

/// What a caller asked for, checked and complete: the graph can be built from it again at any time.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The name of the workflow.
    pub workflow: String,
    /// The hash of the workflow's revision that the request was checked against; its sources are in the store.
    pub revision: String,
    /// The structure of its graph, by which it is told where it can run and how long it takes.
    #[serde(default)]
    pub structure: StructureHash,
    /// What it wishes of a backend.
    #[serde(default, skip_serializing_if = "Placement::is_any")]
    pub placement: Placement,
    /// The parameters that were given or defaulted, the seed included.
    pub params: Params,
    /// The images that were given as bytes, by address or as uploads. Their parameters are not among `params`.
    #[serde(default, skip_serializing_if = "InputImages::is_empty")]
    pub images: InputImages,
    /// The seed in force, given or drawn; none where the workflow has no seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The seeds in force by where they are, for a job that can have several: one whose graph came with the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seeds: BTreeMap<String, u64>,
    /// The names that outputs have, by the node that makes them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub output_names: BTreeMap<String, String>,
    /// How many images the caller expects; none where the workflow has no such parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_images: Option<u32>,
    /// Where to report the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
    /// What the webhook is told of besides the end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub webhook_events: BTreeSet<WebhookEvent>,
    /// How images reach the receiver.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delivery: DeliveryMode,
    /// Whether what ComfyUI writes into files besides the picture, the graph above all, is taken out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strip_metadata: bool,
    /// What images are turned into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversion: Option<Conversion>,
    /// The caller's own data, echoed in the webhook; at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    /// Higher runs first; 0 unless the caller says otherwise.
    #[serde(default)]
    pub priority: i32,
    /// How many runs it may have; none for as many as the settings allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u32>,
    /// The ticket for the key that the caller gave for partner nodes; the key itself is in memory only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ticket: Option<u64>,
    /// Other workflows that it may run as, where a backend is better off with one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// The limits in force.
    pub limits: Limits,
}

impl Request {
    /// Returns a request that asks for nothing besides a revision of a workflow within these limits: no parameters, no
    /// images, no webhook.
    pub fn plain(workflow: &str, revision: &str, limits: Limits) -> Self {
        Self {
            workflow: workflow.to_owned(),
            revision: revision.to_owned(),
            structure: StructureHash::default(),
            placement: Placement::default(),
            params: Params::new(),
            images: InputImages::new(),
            seed: None,
            seeds: BTreeMap::new(),
            output_names: BTreeMap::new(),
            expected_images: None,
            webhook_url: None,
            webhook_events: BTreeSet::new(),
            delivery: DeliveryMode::default(),
            strip_metadata: false,
            conversion: None,
            metadata: None,
            priority: 0,
            max_runs: None,
            key_ticket: None,
            variants: Vec::new(),
            limits,
        }
    }

    /// Returns the blobs that the input images need, and how many bytes each has.
    pub fn input_blobs(&self) -> impl Iterator<Item = (&BlobId, u64)> {
        self.images.values().flat_map(super::InputImage::blobs)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

mod wide_integer {
    //! Whole numbers from `i64::MIN` to `u64::MAX`, which is what JSON and ComfyUI's seeds need.
    use serde::{Deserialize, Deserializer, Serializer, de::Error, ser::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(small) = i64::try_from(*value) {
            return serializer.serialize_i64(small);
        }
        let large = u64::try_from(*value).map_err(|_| S::Error::custom("integer outside 64 bits"))?;
        serializer.serialize_u64(large)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        number.as_i128().ok_or_else(|| D::Error::custom("not a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_storage_with_all_their_bits() {
        let values = vec![
            ParamValue::Integer(i128::from(u64::MAX)),
            ParamValue::Integer(-1),
            ParamValue::Number(8.0),
            ParamValue::Boolean(true),
            ParamValue::Text("a castle".into()),
        ];
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"[18446744073709551615,-1,8.0,true,"a castle"]"#);
        assert_eq!(serde_json::from_str::<Vec<ParamValue>>(&text).unwrap(), values);
    }
}
