//! Takes a node out of a graph and joins the ends of its links: each of its outputs is fed by the input of the same type.

use super::links::{Link, origin};
use super::{Node, PromptError, Target, Workflow};
use crate::definitions::{InputDefinition, NodeDefinition};
use crate::names::shown;
use serde_json::Value;

/// The types whose values people write, so that an input may hold one instead of a link.
const WRITTEN: [&str; 4] = ["INT", "FLOAT", "STRING", "BOOLEAN"];

/// What inputs of ComfyUI's own nodes take, by their names.
const KNOWN: [(&str, &[&str]); 8] = [
    ("MODEL", &["model", "unet"]),
    ("CLIP", &["clip"]),
    ("VAE", &["vae"]),
    ("CONDITIONING", &["conditioning", "conditioning_1", "conditioning_2", "conditioning_to", "positive", "negative"]),
    ("LATENT", &["latent", "latent_image", "samples", "samples1", "samples2", "latents"]),
    ("IMAGE", &["image", "images", "pixels", "image1", "image2", "start_image", "end_image"]),
    ("MASK", &["mask", "masks", "noise_mask"]),
    ("CONTROL_NET", &["control_net"]),
];

impl Workflow {
    /// Takes a node out and feeds what it fed by what it was fed with, as ComfyUI's editor does with a bypassed node.
    ///
    /// With definitions the types decide: the input at the place of the output if its type fits, else the first of the
    /// very type, else the first that fits. A written number, text or truth value goes on as a value. Without definitions
    /// the names of inputs decide: the input of the same name, else the only one that holds the same kind of thing in
    /// ComfyUI's own nodes. Where nothing fits, nothing is changed and the error says which input would be left without.
    ///
    /// ```
    /// use comfygate::Workflow;
    ///
    /// let mut workflow = Workflow::from_json(
    ///     r#"{"4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
    ///         "5": {"class_type": "LoraLoader", "inputs": {"lora_name": "b.safetensors", "model": ["4", 0], "clip": ["4", 1]}},
    ///         "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["5", 1]}}}"#,
    /// )?;
    /// workflow.bypass("5")?;
    /// assert_eq!(workflow.graph().node("6").unwrap().inputs["clip"], serde_json::json!(["4", 1]));
    /// # Ok::<_, comfygate::graph::PromptError>(())
    /// ```
    pub fn bypass(&mut self, node: &str) -> Result<&mut Self, PromptError> {
        let found = self.graph.find(node)?;
        self.refuse_declared(node)?;
        let class = self.definitions.node(&found.class_type);
        let mut fed: Vec<(Target, Value)> = Vec::new();
        for link in self.graph.links().filter(|link| link.from == node && link.node != node) {
            let feeder = match class {
                Some(class) => self.by_types(class, found, &link),
                None => by_names(found, &link),
            };
            let feeder = feeder.and_then(|input| passed_on(node, found, class, input)).map_err(|reason| {
                PromptError::NotBypassable {
                    node: node.to_owned(),
                    class_type: found.class_type.clone(),
                    consumer: link.node.to_owned(),
                    input: link.input.to_owned(),
                    reason,
                }
            })?;
            fed.push((Target::new(link.node, link.input), feeder));
        }
        for (target, value) in fed {
            self.graph.set(&target.node, &target.input, value)?;
        }
        self.graph.take(node);
        Ok(self)
    }

    /// Finds the input that feeds an output, by the types that the server tells.
    fn by_types<'a>(&self, class: &'a NodeDefinition, node: &Node, link: &Link<'_>) -> Result<&'a str, String> {
        let output = link.slot.and_then(|slot| class.outputs.get(slot));
        let (Some(slot), Some(output)) = (link.slot, output) else {
            return Err(format!("it has {} outputs and not the one that is linked", class.outputs.len()));
        };
        let consumer = self.graph.node(link.node).and_then(|node| self.definitions.node(&node.class_type));
        let wanted = consumer.and_then(|class| class.input(link.input)).map_or(&*output.type_name, |it| it.type_name());
        // The editor gives a node its sockets first, and then its widgets.
        let (widgets, sockets): (Vec<_>, Vec<_>) = class.visible().partition(|input| is_widget(input));
        let inputs: Vec<&InputDefinition> = sockets.into_iter().chain(widgets).collect();
        let fits = |input: &&InputDefinition| {
            may_connect(input.type_name(), &output.type_name) && may_connect(input.type_name(), wanted)
        };
        let found = if matches!(wanted, "*" | "") {
            inputs.get(slot).or(inputs.first()).copied()
        } else {
            let at_its_place = inputs.get(slot).copied().filter(fits);
            let exact = || inputs.iter().copied().find(|input| input.type_name() == wanted);
            at_its_place.or_else(exact).or_else(|| inputs.iter().copied().find(fits))
        };
        let input = found.ok_or_else(|| format!("none of its inputs takes {}", shown(wanted)))?;
        if node.inputs.contains_key(&input.name) {
            Ok(&input.name)
        } else {
            Err(format!("its input `{}`, which would fit, is fed by nothing", shown(&input.name)))
        }
    }
}

/// Finds the input that feeds an output, by the names of inputs.
fn by_names<'a>(node: &'a Node, link: &Link<'_>) -> Result<&'a str, String> {
    let linked = || node.inputs.iter().filter(|(_, value)| origin(value).is_some()).map(|(name, _)| name.as_str());
    if let Some(same) = linked().find(|name| *name == link.input) {
        return Ok(same);
    }
    let wanted = known_type(link.input);
    let fitting: Vec<&str> = linked().filter(|name| wanted.is_some() && known_type(name) == wanted).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => {
            Err("the definitions of its class are not known, and none of its inputs has a name that tells".to_owned())
        }
        several => Err(format!(
            "the definitions of its class are not known, and several inputs may fit: {}",
            several.join(", ")
        )),
    }
}

/// Returns what an input of the node that goes away holds.
fn passed_on(id: &str, node: &Node, class: Option<&NodeDefinition>, input: &str) -> Result<Value, String> {
    let value = node.inputs.get(input).ok_or_else(|| format!("its input `{}` is fed by nothing", shown(input)))?;
    match origin(value) {
        Some((from, _)) if from == id => Err(format!("its input `{}` is fed by itself", shown(input))),
        Some(_) => Ok(value.clone()),
        None => {
            let type_name = class.and_then(|class| class.input(input)).map(InputDefinition::type_name);
            if type_name.is_some_and(|name| WRITTEN.contains(&name)) && !value.is_array() {
                Ok(value.clone())
            } else {
                Err(format!("its input `{}`, which would fit, is no link", shown(input)))
            }
        }
    }
}

fn is_widget(input: &InputDefinition) -> bool {
    let name = input.type_name();
    (name == "COMBO" || WRITTEN.contains(&name)) && !input.is("forceInput")
}

/// Says whether the editor lets an output of one type be linked to an input of another: `*` takes all, `A,B` takes both.
fn may_connect(one: &str, other: &str) -> bool {
    let is_any = |name: &str| matches!(name, "*" | "" | "0");
    let parts = |name: &'_ str| name.split(',').map(|part| part.trim().to_lowercase()).collect::<Vec<_>>();
    is_any(one) || is_any(other) || parts(one).iter().any(|part| parts(other).contains(part))
}

fn known_type(input: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(_, names)| names.contains(&input)).map(|(kind, _)| *kind)
}
