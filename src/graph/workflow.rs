//! A graph that is being edited: inputs set by path, title or class, links made, outputs declared, seeds drawn, and at
//! the end a graph that can be submitted. Every change is made whole or not at all.

mod seeds;

pub use seeds::{DRAWN, SEEDS, is_seed};

use super::output::{Built, Output, OutputName};
use super::{Graph, Node, PromptError, Target};
use crate::definitions::Definitions;
use crate::names::{hint, shown};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A graph that is being edited.
///
/// ```
/// use comfygate::Workflow;
///
/// let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
/// workflow
///     .set("6.text", "a lighthouse in the fog")?
///     .set("3.inputs.seed", -1)?
///     .inputs("5", [("width", 768), ("height", 512)])?
///     .output("images:10")?;
/// let seeds = workflow.draw_seeds(|| 4).clone();
/// let built = workflow.build()?;
/// assert_eq!(seeds["3"], 4);
/// assert_eq!(built.graph.node("6").unwrap().inputs["text"], "a lighthouse in the fog");
/// assert_eq!(built.outputs.unwrap(), ["10"]);
/// # Ok::<_, comfygate::graph::PromptError>(())
/// ```
///
/// A value never becomes a link, and a link is not replaced by a value in passing: [`Workflow::set`] refuses an input that
/// another node feeds, as a value there would cut the graph in two unseen. [`Workflow::force`] does it, and
/// [`Workflow::connect`] makes links.
#[derive(Clone, PartialEq, Debug)]
pub struct Workflow {
    pub(super) graph: Graph,
    pub(super) definitions: Definitions,
    pub(super) outputs: Vec<Output>,
    seeds: BTreeMap<String, u64>,
}

impl Workflow {
    /// Reads a graph in API format.
    ///
    /// ```
    /// use comfygate::Workflow;
    ///
    /// let saved = r#"{"last_node_id": 1, "nodes": [{"id": 1, "type": "KSampler"}], "links": []}"#;
    /// let error = Workflow::from_json(saved).unwrap_err();
    /// assert_eq!(error.code(), "ui_format");
    /// assert!(error.to_string().contains("comfygate convert"));
    /// ```
    pub fn from_json(text: &str) -> Result<Self, PromptError> {
        Ok(Self::of(Graph::parse(text)?))
    }

    /// Takes a graph in API format that is JSON already.
    pub fn from_value(value: Value) -> Result<Self, PromptError> {
        Ok(Self::of(Graph::from_value(value)?))
    }

    /// Begins to edit a graph.
    pub fn of(graph: Graph) -> Self {
        Self { graph, definitions: Definitions::default(), outputs: Vec::new(), seeds: BTreeMap::new() }
    }

    /// Tells what a server says of its classes. Then inputs may be set that a class has and the graph does not write, and
    /// [`Workflow::bypass`] knows the types of inputs and outputs.
    #[must_use]
    pub fn with_definitions(mut self, definitions: &Definitions) -> Self {
        self.definitions = definitions.clone();
        self
    }

    /// Returns the graph as it is now.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the outputs that were declared.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Sets the input that a path names, `6.text` or `6.inputs.text`. The input must be there, and no link.
    ///
    /// ```
    /// use comfygate::Workflow;
    ///
    /// let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
    /// workflow.set("3.steps", 30)?.set("3.cfg", 6.5)?;
    /// assert_eq!(
    ///     workflow.set("3.step", 30).unwrap_err().to_string(),
    ///     "node `3` (KSampler) has no input `step`; did you mean `steps`?"
    /// );
    /// assert_eq!(workflow.set("3.model", "other").unwrap_err().code(), "linked_input");
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn set(&mut self, path: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        self.put(Target::parse(path, &self.graph)?, value.into())
    }

    /// Sets an input of a node, as [`Workflow::set`] does.
    pub fn input(&mut self, node: &str, name: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        self.put(Target::new(node, name), value.into())
    }

    /// Sets the inputs that paths name, all or none.
    ///
    /// ```
    /// # use comfygate::Workflow;
    /// # use serde_json::json;
    /// # let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
    /// workflow.set_all([("6.text", json!("a cat")), ("3.steps", json!(30))])?;
    /// assert!(workflow.set_all([("6.text", json!("a dog")), ("3.stepz", json!(40))]).is_err());
    /// assert_eq!(workflow.graph().node("6").unwrap().inputs["text"], "a cat");
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn set_all<P: AsRef<str>, V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = (P, V)>,
    ) -> Result<&mut Self, PromptError> {
        let parse = |(path, value): (P, V)| Ok((Target::parse(path.as_ref(), &self.graph)?, value.into()));
        let values = values.into_iter().map(parse).collect::<Result<_, PromptError>>()?;
        self.put_all(values)
    }

    /// Sets several inputs of one node, all or none.
    pub fn inputs<N: Into<String>, V: Into<Value>>(
        &mut self,
        node: &str,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Result<&mut Self, PromptError> {
        self.put_all(values.into_iter().map(|(name, value)| (Target::new(node, name), value.into())).collect())
    }

    /// Sets the same input of several nodes to the same value, all or none.
    ///
    /// ```
    /// # use comfygate::Workflow;
    /// # let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
    /// let prompts = workflow.of_class("CLIPTextEncode");
    /// workflow.input_of_each(&prompts, "text", "a cat")?;
    /// # assert_eq!(workflow.graph().node("7").unwrap().inputs["text"], "a cat");
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn input_of_each<N: AsRef<str>>(
        &mut self,
        nodes: &[N],
        name: &str,
        value: impl Into<Value>,
    ) -> Result<&mut Self, PromptError> {
        let value = value.into();
        self.put_all(nodes.iter().map(|node| (Target::new(node.as_ref(), name), value.clone())).collect())
    }

    /// Sets an input of the one node that has this title.
    pub fn set_by_title(&mut self, title: &str, name: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        let node = self.only("title", title, |node| node.title.as_deref())?;
        self.put(Target::new(node, name), value.into())
    }

    /// Sets an input of the one node of this class; of several see [`Workflow::input_of_each`].
    pub fn set_by_class(&mut self, class: &str, name: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        let node = self.only("class", class, |node| Some(node.class_type.as_str()))?;
        self.put(Target::new(node, name), value.into())
    }

    /// Returns the nodes of a class.
    pub fn of_class(&self, class: &str) -> Vec<String> {
        self.graph.nodes().filter(|(_, node)| node.class_type == class).map(|(id, _)| id.to_owned()).collect()
    }

    /// Sets the input that a path names to a value whatever is there now: a link, another value, or nothing.
    ///
    /// ```
    /// # use comfygate::Workflow;
    /// # let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
    /// workflow.force("3.model", "none")?.force("3.an_input_of_a_newer_version", true)?;
    /// assert!(workflow.graph().links().all(|link| link.input != "model"));
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn force(&mut self, path: &str, value: impl Into<Value>) -> Result<&mut Self, PromptError> {
        let target = Target::parse(path, &self.graph)?;
        let value = a_value(&target, value.into())?;
        self.graph.set(&target.node, &target.input, value)?;
        Ok(self)
    }

    /// Links the input that a path names to an output of a node, by the output's number, from 0.
    pub fn connect(&mut self, path: &str, from: &str, slot: usize) -> Result<&mut Self, PromptError> {
        let target = Target::parse(path, &self.graph)?;
        self.graph.find(from)?;
        self.graph.set(&target.node, &target.input, json!([from, slot]))?;
        Ok(self)
    }

    /// Takes a node out, and every link from it. Returns the inputs that are fed by nothing now.
    pub fn remove(&mut self, node: &str) -> Result<Vec<Target>, PromptError> {
        self.graph.find(node)?;
        self.refuse_declared(node)?;
        self.graph.take(node);
        let cut = self.graph.links().filter(|link| link.from == node);
        let cut: Vec<Target> = cut.map(|link| Target::new(link.node, link.input)).collect();
        for target in &cut {
            self.graph.take_input(&target.node, &target.input);
        }
        Ok(cut)
    }

    /// Declares an output: `"9"`, `"images:9"` or `("images", "9")`. Where none is declared, every output node makes one.
    ///
    /// ```
    /// # use comfygate::Workflow;
    /// # let mut workflow = Workflow::from_json(include_str!("../../templates/starter.json"))?;
    /// let error = workflow.output("images:99").unwrap_err().to_string();
    /// assert!(error.starts_with("the graph has no node `99`; there are: 4, 5, 6"));
    /// let built = workflow.output(("images", "10"))?.clone().build()?;
    /// assert_eq!(built.aliases["10"], "images");
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn output<'a>(&mut self, name: impl Into<OutputName<'a>>) -> Result<&mut Self, PromptError> {
        Output::find(name.into(), &self.graph)?.add_to(&mut self.outputs)?;
        Ok(self)
    }

    /// Ends the editing: refuses links to nowhere and circles, and returns what can be submitted.
    pub fn build(self) -> Result<Built, PromptError> {
        self.graph.require_links()?;
        Ok(self.into_built())
    }

    /// Ends the editing of a graph whose links somebody else answers for.
    pub(crate) fn into_built(self) -> Built {
        Built::new(self.graph, &self.outputs, self.seeds)
    }

    pub(super) fn refuse_declared(&self, node: &str) -> Result<(), PromptError> {
        match self.outputs.iter().find(|output| output.node == node) {
            Some(output) => Err(PromptError::DeclaredOutput { node: node.to_owned(), alias: output.alias.clone() }),
            None => Ok(()),
        }
    }

    fn put(&mut self, target: Target, value: Value) -> Result<&mut Self, PromptError> {
        self.put_all(vec![(target, value)])
    }

    fn put_all(&mut self, values: Vec<(Target, Value)>) -> Result<&mut Self, PromptError> {
        let check = |(target, value): (Target, Value)| {
            self.graph.require_input(&target, &self.definitions)?;
            let value = a_value(&target, value)?;
            Ok((target, value))
        };
        let values = values.into_iter().map(check).collect::<Result<Vec<_>, PromptError>>()?;
        for (target, value) in values {
            self.graph.set(&target.node, &target.input, value)?;
        }
        Ok(self)
    }

    /// Finds the one node of which something is so.
    fn only(
        &self,
        by: &'static str,
        wanted: &str,
        told: impl Fn(&Node) -> Option<&str>,
    ) -> Result<String, PromptError> {
        let found = self.graph.nodes().filter(|(_, node)| told(node) == Some(wanted)).map(|(id, _)| id.to_owned());
        let mut found: Vec<String> = found.collect();
        let wanted = wanted.to_owned();
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(last), false) => {
                found.push(last);
                Err(PromptError::SeveralFit { by, wanted, nodes: found })
            }
            (None, _) => {
                let hint = hint(&wanted, self.graph.nodes().filter_map(|(_, node)| told(node)));
                Err(PromptError::NothingFits { by, wanted, hint })
            }
        }
    }
}

impl Graph {
    /// Refuses an input that is not there, or that another node feeds. Of an input that is not written the definitions
    /// may know.
    pub(super) fn require_input(&self, target: &Target, definitions: &Definitions) -> Result<(), PromptError> {
        let node = self.find(&target.node)?;
        let class = definitions.node(&node.class_type);
        let is_known = class.is_some_and(|class| class.input(&target.input).is_some());
        match node.inputs.get(&target.input) {
            Some(value) => match super::links::origin(value) {
                Some((from, _)) => Err(PromptError::Linked {
                    node: target.node.clone(),
                    class_type: node.class_type.clone(),
                    input: target.input.clone(),
                    from: from.to_owned(),
                }),
                None => Ok(()),
            },
            None if is_known => Ok(()),
            None => {
                let written = node.inputs.iter().filter(|(_, value)| super::links::origin(value).is_none());
                let known = class.into_iter().flat_map(|class| class.visible().map(|input| input.name.as_str()));
                let mut names: Vec<&str> = written.map(|(name, _)| name.as_str()).collect();
                names.extend(known);
                names.sort_unstable();
                names.dedup();
                Err(PromptError::UnknownInput {
                    node: target.node.clone(),
                    class_type: node.class_type.clone(),
                    input: target.input.clone(),
                    hint: hint(&shown(&target.input), names),
                })
            }
        }
    }
}

/// Refuses what ComfyUI would take for a link: any list.
pub(super) fn a_value(target: &Target, value: Value) -> Result<Value, PromptError> {
    if value.is_array() {
        return Err(PromptError::NotAValue { node: target.node.clone(), input: target.input.clone() });
    }
    Ok(value)
}

#[cfg(test)]
pub(super) mod tests;
