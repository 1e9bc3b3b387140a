//! Named inputs and outputs over a graph: a graph as a function with arguments, that is checked when it is made, filled as
//! often as one likes, and written as JSON.

use super::output::{Built, Output, OutputName, require_name};
use super::workflow::a_value;
use super::{Graph, PromptError, Target, Workflow};
use crate::definitions::Definitions;
use crate::names::hint;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Named inputs and outputs over a graph.
///
/// ```
/// use comfygate::PromptBuilder;
///
/// let mut prompt = PromptBuilder::from_json(include_str!("../../templates/starter.json"))?
///     .input("prompt", "6.text")?
///     .input("side", "5.width")?
///     .input("side", "5.height")? // the same name again adds a target
///     .output("images", "10")?;
/// prompt.set("prompt", "a lighthouse in the fog")?.set("side", 768)?;
/// let built = prompt.build()?;
/// assert_eq!(built.graph.node("5").unwrap().inputs["height"], 768);
///
/// let stored = serde_json::to_string(&prompt).unwrap();
/// assert_eq!(serde_json::from_str::<PromptBuilder>(&stored).unwrap(), prompt);
/// # Ok::<_, comfygate::graph::PromptError>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct PromptBuilder {
    graph: Graph,
    inputs: IndexMap<String, Vec<Target>>,
    outputs: Vec<Output>,
    values: BTreeMap<String, Value>,
}

/// A [`PromptBuilder`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    graph: Graph,
    #[serde(default)]
    inputs: IndexMap<String, Vec<Target>>,
    #[serde(default)]
    outputs: IndexMap<String, String>,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

impl PromptBuilder {
    /// Begins with a graph, without names.
    pub fn new(graph: Graph) -> Self {
        Self { graph, inputs: IndexMap::new(), outputs: Vec::new(), values: BTreeMap::new() }
    }

    /// Begins with a graph in API format.
    pub fn from_json(text: &str) -> Result<Self, PromptError> {
        Ok(Self::new(Graph::parse(text)?))
    }

    /// Gives the input that a path names, `6.text` or `6.inputs.text`, a name of its own. A name that is given again sets
    /// one more input. The input must be there, and no link; no other name may set it.
    ///
    /// ```
    /// use comfygate::PromptBuilder;
    ///
    /// let prompt = PromptBuilder::from_json(include_str!("../../templates/starter.json"))?;
    /// let error = prompt.input("prompt", "6.inputs.txt").unwrap_err();
    /// assert_eq!(error.code(), "unknown_input");
    /// assert_eq!(
    ///     error.to_string(),
    ///     "input `prompt`: node `6` (CLIPTextEncode) has no input `txt`; did you mean `text`?"
    /// );
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn input(mut self, name: &str, path: &str) -> Result<Self, PromptError> {
        let target = Target::parse(path, &self.graph).map_err(|error| error.of("input", name))?;
        self.add(name, target)?;
        Ok(self)
    }

    /// Gives an input a name of its own, as [`PromptBuilder::input`] does.
    pub fn input_at(mut self, name: &str, target: Target) -> Result<Self, PromptError> {
        self.add(name, target)?;
        Ok(self)
    }

    /// Declares an output under a name. Where none is declared, every output node makes one.
    pub fn output(mut self, name: &str, node: &str) -> Result<Self, PromptError> {
        Output::find(OutputName::Named(name, node), &self.graph)
            .and_then(|output| output.add_to(&mut self.outputs))
            .map_err(|error| error.of("output", name))?;
        Ok(self)
    }

    /// Sets a named input.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        let value = value.into();
        for target in self.targets_of(name)? {
            a_value(target, value.clone()).map_err(|error| error.of("input", name))?;
        }
        self.values.insert(name.to_owned(), value);
        Ok(self)
    }

    /// Returns the graph, without the values that were set.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the named inputs with what they set, in the order in which they were named.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &[Target])> {
        self.inputs.iter().map(|(name, targets)| (name.as_str(), targets.as_slice()))
    }

    /// Returns what a named input sets; none where there is no such name.
    pub fn targets(&self, name: &str) -> Option<&[Target]> {
        self.inputs.get(name).map(Vec::as_slice)
    }

    /// Returns the declared outputs.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Returns what is wrong with the links of the graph: every one that comes from nowhere, and one circle. The names are
    /// good since they were given.
    pub fn faults(&self) -> Vec<PromptError> {
        self.graph.link_faults()
    }

    /// Returns the graph with the values put in, ready to be submitted; refuses links to nowhere and circles.
    pub fn build(&self) -> Result<Built, PromptError> {
        self.graph.require_links()?;
        self.fill(self.values.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }

    /// Returns the graph with these values put in, whatever was [set](PromptBuilder::set). The links are not looked at.
    pub fn fill<'a>(&self, values: impl IntoIterator<Item = (&'a str, Value)>) -> Result<Built, PromptError> {
        let mut graph = self.graph.clone();
        for (name, value) in values {
            for target in self.targets_of(name)? {
                graph.set(&target.node, &target.input, a_value(target, value.clone())?)?;
            }
        }
        Ok(Built::new(graph, &self.outputs, BTreeMap::new()))
    }

    /// Returns the graph with the values put in and the outputs declared, to be edited on: to draw seeds, say.
    pub fn to_workflow(&self) -> Result<Workflow, PromptError> {
        let mut workflow = Workflow::of(self.graph.clone());
        for (name, value) in &self.values {
            for target in self.targets_of(name)? {
                workflow.input(&target.node, &target.input, value.clone())?;
            }
        }
        workflow.outputs.clone_from(&self.outputs);
        Ok(workflow)
    }

    fn add(&mut self, name: &str, target: Target) -> Result<(), PromptError> {
        self.check(name, &target).map_err(|error| error.of("input", name))?;
        self.inputs.entry(name.to_owned()).or_default().push(target);
        Ok(())
    }

    fn check(&self, name: &str, target: &Target) -> Result<(), PromptError> {
        require_name("an input", name)?;
        self.graph.require_input(target, &Definitions::default())?;
        match self.inputs.iter().find(|(_, targets)| targets.contains(target)) {
            Some((first, _)) => Err(PromptError::DuplicateTarget {
                node: target.node.clone(),
                input: target.input.clone(),
                first: first.clone(),
            }),
            None => Ok(()),
        }
    }

    fn targets_of(&self, name: &str) -> Result<&[Target], PromptError> {
        self.targets(name).ok_or_else(|| PromptError::UnknownName {
            name: name.to_owned(),
            hint: hint(name, self.inputs.keys().map(String::as_str)),
        })
    }
}

impl TryFrom<Written> for PromptBuilder {
    type Error = PromptError;

    fn try_from(written: Written) -> Result<Self, PromptError> {
        let mut prompt = Self::new(written.graph);
        for (name, targets) in written.inputs {
            if targets.is_empty() {
                return Err(PromptError::NoTarget.of("input", &name));
            }
            for target in targets {
                prompt.add(&name, target)?;
            }
        }
        for (name, node) in written.outputs {
            prompt = prompt.output(&name, &node)?;
        }
        for (name, value) in written.values {
            prompt.set(&name, value)?;
        }
        Ok(prompt)
    }
}

impl From<PromptBuilder> for Written {
    fn from(prompt: PromptBuilder) -> Self {
        Self {
            graph: prompt.graph,
            inputs: prompt.inputs,
            outputs: prompt.outputs.into_iter().map(|output| (output.alias, output.node)).collect(),
            values: prompt.values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn graph() -> Graph {
        let graph = json!({
            "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
            "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["4", 1]}},
            "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "y", "clip": ["4", 1]}},
        });
        Graph::from_value(graph).unwrap()
    }

    fn told(result: Result<PromptBuilder, PromptError>) -> (&'static str, String) {
        let error = result.unwrap_err();
        (error.code(), error.to_string())
    }

    #[test]
    fn every_wrong_mapping_names_itself_the_node_and_what_is_near() {
        let of = |name: &str, path: &str| told(PromptBuilder::new(graph()).input(name, path));
        for (name, path, code, message) in [
            ("prompt", "66.text", "unknown_node", "input `prompt`: the graph has no node `66`; there are: 4, 6, 7"),
            (
                "prompt",
                "6.txt",
                "unknown_input",
                "input `prompt`: node `6` (CLIPTextEncode) has no input `txt`; did you mean `text`?",
            ),
            (
                "prompt",
                "6.clip",
                "linked_input",
                "input `prompt`: input `clip` of node `6` (CLIPTextEncode) comes from node `4` by a link: set the input \
                 where the value is written, or replace the link by `force`",
            ),
            (
                "prompt",
                "6",
                "bad_path",
                "input `prompt`: `6` names no input: write the node's id and the input, such as `6.text` or `6.inputs.text`",
            ),
            (" ", "6.text", "bad_name", "input ` `: an input needs a name of 1 to 128 printable characters, not ` `"),
        ] {
            assert_eq!(of(name, path), (code, message.to_owned()));
        }
        let prompt = PromptBuilder::new(graph()).input("prompt", "6.text").unwrap();
        let twice = "input `text`: input `text` of node `6` is set by `prompt` already: keep one".to_owned();
        assert_eq!(told(prompt.clone().input("text", "6.inputs.text")), ("duplicate_target", twice));
        assert_eq!(told(prompt.clone().output("images", "99")).0, "unknown_node");
        let prompt = prompt.output("images", "6").unwrap();
        assert_eq!(told(prompt.clone().output("images", "7")).0, "duplicate_output");
        assert_eq!(told(prompt.output("others", "6")).0, "duplicate_output");
    }

    #[test]
    fn a_value_of_a_name_that_is_not_there_is_refused_with_the_nearest_one() {
        let mut prompt = PromptBuilder::new(graph()).input("prompt", "6.text").unwrap();
        let error = prompt.set("promt", "x").unwrap_err();
        assert_eq!(error.to_string(), "there is no input called `promt`; did you mean `prompt`?");
        assert_eq!(error.code(), "unknown_name");
        assert_eq!(prompt.set("prompt", json!(["4", 0])).unwrap_err().code(), "not_a_value");
        assert_eq!(prompt.build().unwrap().graph, graph(), "what was refused has changed nothing");
    }

    #[test]
    fn it_comes_back_from_json_as_it_was_and_is_checked_again() {
        let mut prompt = PromptBuilder::new(graph())
            .input("prompt", "6.text")
            .and_then(|it| it.input("prompt", "7.text"))
            .and_then(|it| it.output("images", "7"))
            .unwrap();
        prompt.set("prompt", "a cat").unwrap();
        let stored = serde_json::to_string(&prompt).unwrap();
        let read: PromptBuilder = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, prompt);
        assert_eq!(read.build().unwrap().graph.node("7").unwrap().inputs["text"], "a cat");
        assert_eq!(read.graph().nodes().map(|(id, _)| id).collect::<Vec<_>>(), ["4", "6", "7"]);
        for (from, to, reason) in [
            (r#""input":"text""#, r#""input":"txt""#, "input `prompt`: node `6` (CLIPTextEncode) has no input `txt`"),
            (r#""images":"7""#, r#""images":"8""#, "output `images`: the graph has no node `8`"),
            (r#""values":{"prompt""#, r#""values":{"promt""#, "there is no input called `promt`"),
            (r#""values""#, r#""vals""#, "unknown field `vals`"),
        ] {
            let error = serde_json::from_str::<PromptBuilder>(&stored.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let empty = r#"{"graph": {"1": {"class_type": "A"}}, "inputs": {"a": []}}"#;
        let error = serde_json::from_str::<PromptBuilder>(empty).unwrap_err().to_string();
        assert!(error.contains("input `a`: it sets nothing"), "{error}");
    }

    #[test]
    fn a_circle_and_a_link_to_nowhere_are_not_built() {
        let node = |from: &str| json!({"class_type": "A", "inputs": {"a": [from, 0]}});
        for (graph, code) in
            [(json!({"1": node("2"), "2": node("1")}), "cycle"), (json!({"1": node("9")}), "dangling_link")]
        {
            let prompt = PromptBuilder::new(Graph::from_value(graph).unwrap());
            assert_eq!(prompt.build().unwrap_err().code(), code);
            assert_eq!(prompt.faults().first().map(PromptError::code), Some(code));
        }
    }

    #[test]
    fn a_graph_of_a_builder_can_be_edited_on() {
        let mut prompt = PromptBuilder::new(graph()).input("prompt", "6.text").unwrap().output("text", "6").unwrap();
        prompt.set("prompt", "a cat").unwrap();
        let built = prompt.to_workflow().unwrap().build().unwrap();
        assert_eq!(built, prompt.build().unwrap());
    }
}
