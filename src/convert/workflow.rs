//! Workflows as ComfyUI saves them, to be edited as graphs.

use super::{ConvertError, convert};
use crate::definitions::Definitions;
use crate::graph::Workflow;
use serde_json::Value;

impl Workflow {
    /// Begins to edit a workflow as ComfyUI saves it (UI format): converts it with the node definitions of a server, which
    /// are then known for the editing too. Returns it with what a person should know of the conversion, a sentence each.
    ///
    /// ```
    /// use comfygate::Workflow;
    /// use comfygate::definitions::Definitions;
    ///
    /// let definitions = Definitions::parse(
    ///     r#"{"PrimitiveString": {"input": {"required": {"value": ["STRING", {}]}}, "output": ["STRING"]},
    ///         "PreviewAny": {"input": {"required": {"source": ["*", {}]}}, "output": [], "output_node": true}}"#,
    /// )?;
    /// let saved = serde_json::json!({
    ///     "version": 0.4, "last_node_id": 2, "last_link_id": 1,
    ///     "nodes": [
    ///         {"id": 1, "type": "PrimitiveString", "pos": [0, 0], "size": [200, 60], "flags": {}, "order": 0, "mode": 0,
    ///          "inputs": [], "outputs": [{"name": "STRING", "type": "STRING", "links": [1]}],
    ///          "properties": {}, "widgets_values": ["a cat"]},
    ///         {"id": 2, "type": "PreviewAny", "pos": [300, 0], "size": [200, 60], "flags": {}, "order": 1, "mode": 0,
    ///          "inputs": [{"name": "source", "type": "*", "link": 1}], "outputs": [],
    ///          "properties": {}, "widgets_values": []}
    ///     ],
    ///     "links": [[1, 1, 0, 2, 0, "STRING"]]
    /// });
    /// let (mut workflow, _warnings) = Workflow::from_ui(&saved, &definitions)?;
    /// workflow.set("1.value", "a dog")?;
    /// assert_eq!(workflow.build()?.graph.node("2").unwrap().inputs["source"], serde_json::json!(["1", 0]));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_ui(workflow: &Value, definitions: &Definitions) -> Result<(Self, Vec<String>), ConvertError> {
        let converted = convert(workflow, definitions)?;
        Ok((Self::of(converted.graph).with_definitions(definitions), converted.warnings))
    }
}
