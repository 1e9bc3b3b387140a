//! One node held against the definition of its class: what is missing, what is wrong, what is strange.

use super::problem::{Kind, Problem, brief, shortened};
use super::{link, model, value};
use crate::definitions::{Definitions, InputDefinition, InputKind, NodeDefinition, Presence};
use crate::graph::{Graph, Node};
use crate::names::{nearest, shown};
use serde_json::Value;

/// A node, and all that it is held against.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) graph: &'a Graph,
    pub(super) definitions: &'a Definitions,
    pub(super) id: &'a str,
    pub(super) node: &'a Node,
}

impl Place<'_> {
    /// Tells everything that is wrong with the node.
    pub(super) fn check(&self, class: &NodeDefinition, tell: &mut dyn FnMut(Problem)) {
        if class.is_deprecated {
            let message = "its author advises against this class, and it may be gone in a later version".to_owned();
            tell(self.problem(Kind::DeprecatedNode, message, "look in ComfyUI for the node that takes its place"));
        }
        let mut is_incomplete = false;
        for input in class.visible() {
            match self.node.inputs.get(&input.name) {
                Some(value) => {
                    self.check_input(input, value).into_iter().for_each(&mut *tell);
                }
                None if input.presence == Presence::Required && !link::tells_nothing_at_all(input) => {
                    is_incomplete = true;
                    tell(self.missing(class, input));
                }
                None => {}
            }
        }
        // Other inputs do no harm, and some classes take them, but a slip of the finger is worth a word.
        let undeclared = self.node.inputs.keys().filter(|name| !class.inputs.iter().any(|input| input.name == **name));
        for name in undeclared.filter(|_| is_incomplete) {
            let absent = class.visible().filter(|input| !self.node.inputs.contains_key(&input.name));
            if let Some(meant) = nearest(name, absent.map(|input| input.name.as_str())) {
                let message = format!("{} has no such input, and ComfyUI takes no notice of it", shown(&class.class));
                let problem = self.problem(Kind::UnknownInput, message, "correct the name, or remove the input");
                tell(problem.of_input(name).suggesting(Some(Value::String(meant.to_owned()))));
            }
        }
    }

    /// Makes a problem of this node.
    pub(super) fn problem(&self, kind: Kind, message: String, mend: &str) -> Problem {
        Problem::new(kind, message, mend).at(self.id, self.node)
    }

    fn missing(&self, class: &NodeDefinition, input: &InputDefinition) -> Problem {
        let undeclared = self.node.inputs.keys().filter(|name| class.input(name).is_none());
        let misspelt = nearest(&input.name, undeclared.map(String::as_str));
        let message = match misspelt {
            Some(given) => format!("it must be there and is not; there is `{}`, which is no input", shown(given)),
            None => "it must be there and is not".to_owned(),
        };
        let (suggestion, mend) = if let Some(given) = misspelt {
            (self.node.inputs.get(given).cloned(), format!("call it `{}`", shown(&input.name)))
        } else if let Some(default) = input.default().filter(|default| !default.is_null()) {
            (Some(default.clone()), "write a value; ComfyUI's own default is not filled in by the server".to_owned())
        } else {
            (self.only_source(input), format!("give it {}", value::takes(input)))
        };
        let problem = self.problem(Kind::RequiredInputMissing, message, &mend);
        problem.of_input(&input.name).with_details(value::takes(input)).suggesting(suggestion.as_ref().map(shortened))
    }

    fn check_input(&self, input: &InputDefinition, given: &Value) -> Option<Problem> {
        if given.is_array() {
            return self.check_link(input, given);
        }
        // The frontend writes a list that is no link so.
        let given = given.get("__value__").unwrap_or(given);
        match &input.kind {
            InputKind::Combo(choices) => self.check_choice(input, choices, given),
            InputKind::Type(type_name) => self.check_value(input, type_name, given),
        }
    }

    fn check_choice(&self, input: &InputDefinition, choices: &[Value], given: &Value) -> Option<Problem> {
        if input.options.contains_key("remote") || value::is_among(given, choices, input.is("multiselect")) {
            return None;
        }
        if let Some(name) = given.as_str().filter(|_| input.options.keys().any(|name| name.ends_with("_upload"))) {
            return self.check_file(input, name);
        }
        let problem = model::not_in_list(self, input, choices, given);
        Some(problem.of_input(&input.name).received(given))
    }

    /// An input for files that people upload: the list is from a while ago, and tells no folders in the folder.
    fn check_file(&self, input: &InputDefinition, name: &str) -> Option<Problem> {
        if name.contains(['/', '\\']) || name.trim_end().ends_with(']') {
            return None;
        }
        let given = &Value::String(name.to_owned());
        let message = format!("the server had no file {} in its input folder when it was asked", brief(given));
        let mend = "upload the file, or name one that is there; a parameter of type image does it for each request";
        let problem = self.problem(Kind::CustomValidationFailed, message, mend).of_input(&input.name).received(given);
        let known = match &input.kind {
            InputKind::Combo(choices) => model::nearest_choice(name, choices),
            InputKind::Type(_) => None,
        };
        Some(problem.suggesting(known))
    }

    fn check_value(&self, input: &InputDefinition, type_name: &str, given: &Value) -> Option<Problem> {
        if let Some(problem) = value::check(input, type_name, given) {
            let value::Wrong { kind, message, mend, suggestion } = problem;
            let problem = self.problem(kind, message, &mend).of_input(&input.name).received(given);
            return Some(problem.with_details(value::takes(input)).suggesting(suggestion));
        }
        let is_made = || {
            let mut outputs = self.definitions.nodes().flat_map(|class| &class.outputs);
            outputs.any(|output| output.type_name == type_name)
        };
        let is_plain = value::is_plain(type_name) || link::tells_nothing(type_name) || type_name.contains(',');
        if is_plain || !is_made() || given.is_object() {
            return None;
        }
        let message = format!("{} cannot be written, it comes from another node by a link", shown(type_name));
        let mend = "link it to an output of that type, or leave the input out where it is optional";
        let problem = self.problem(Kind::LinkExpected, message, mend).of_input(&input.name).received(given);
        Some(problem.suggesting(self.only_source(input)))
    }
}
