//! Makes what is sent for one order: typed parameters, seeds, pictures. A graph alone becomes a workflow without a mapping,
//! so that it goes the same way as all others. Pure.

use super::error::{Fault, ValidationError};
use super::frames::filled;
use super::human::{self, Place};
use super::plan::{Found, Goes, Picture, Wanted};
use super::value::Takes;
use crate::definitions::{Definitions, InputDefinition};
use crate::graph::{DRAWN, Graph};
use crate::names::shown;
use crate::workflow::{Files, Kind, Pair, resolve};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// What stands for a picture while the other parameters are checked.
const SOME_IMAGE: &str = "image.png";

/// The code of a picture that is not there.
pub(super) const NO_SUCH_FILE: &str = "no_such_file";

/// What one order is made of.
pub(super) struct Making<'a> {
    pub(super) params: &'a [Wanted],
    pub(super) frame: Option<u64>,
    /// Which repetition it is, from 0.
    pub(super) repeat: u64,
    /// Repetitions were asked for, so seeds that nobody gave are drawn.
    pub(super) repeats: bool,
    /// Where its seeds come from.
    pub(super) draw: u64,
    pub(super) find: &'a dyn Fn(&str) -> Found,
}

/// What was made.
pub(super) struct Made {
    pub(super) pair: Arc<Pair>,
    pub(super) params: Map<String, Value>,
    pub(super) images: BTreeMap<String, PathBuf>,
    pub(super) seeds: BTreeMap<String, u64>,
    /// The names of outputs, by their node.
    pub(super) aliases: BTreeMap<String, String>,
    /// What the parameters that are pictures were, by their places.
    pub(super) pictures: Vec<(usize, Picture)>,
}

/// What a given value became.
enum Became {
    Value(Value),
    /// A picture of this machine.
    Image(PathBuf),
    /// The name of a picture on the server.
    Named(String),
}

/// Makes an order of a workflow with a mapping.
pub(super) fn of_pair(making: &Making<'_>, pair: &Arc<Pair>) -> Result<Made, ValidationError> {
    let mut faults = Vec::new();
    let (mut params, mut images, mut pictures) = (Map::new(), BTreeMap::new(), Vec::new());
    for (place, wanted) in making.params.iter().enumerate() {
        let Goes::Parameter(parameter) = &wanted.goes else { continue };
        match making.become_of(wanted, Takes::of_kind(parameter.kind), parameter.kind == Kind::Image) {
            Ok(Became::Value(value)) => {
                params.insert(parameter.name.clone(), value);
            }
            Ok(Became::Image(path)) => {
                params.insert(parameter.name.clone(), json!(SOME_IMAGE));
                images.insert(parameter.name.clone(), path);
                pictures.push((place, Picture::Here));
            }
            Ok(Became::Named(name)) => {
                params.insert(parameter.name.clone(), json!(name));
                pictures.push((place, Picture::There(name)));
            }
            Err(fault) => faults.push(fault),
        }
    }
    let seeds = || pair.parameters().filter(|parameter| parameter.kind == Kind::Seed);
    for parameter in seeds() {
        let given = params.get(&parameter.name).and_then(Value::as_u64);
        if let Some(seed) = given {
            params.insert(parameter.name.clone(), json!(seed.wrapping_add(making.repeat)));
        } else if making.repeats {
            params.insert(parameter.name.clone(), json!(-1));
        }
    }
    let mut draw = making.draw();
    match resolve(pair, &params, &mut draw) {
        Err(wrong) => {
            faults.extend(wrong.into_iter().map(|fault| Fault::new(fault.code, fault.parameter, fault.message)));
        }
        Ok(resolved) if faults.is_empty() => {
            let mut drawn = BTreeMap::new();
            for parameter in seeds() {
                let seed = resolved.params.get(&parameter.name).map(|value| json!(value));
                if let Some(seed) = seed {
                    drawn.extend(seed.as_u64().map(|seed| (parameter.name.clone(), seed)));
                    params.insert(parameter.name.clone(), seed);
                }
            }
            params.retain(|name, _| !images.contains_key(name));
            let aliases = pair.output_names().clone();
            return Ok(Made { pair: Arc::clone(pair), params, images, seeds: drawn, aliases, pictures });
        }
        Ok(_) => {}
    }
    Err(ValidationError { faults })
}

/// Makes an order of a graph alone.
pub(super) fn of_graph(
    making: &Making<'_>,
    name: &str,
    graph: &Graph,
    outputs: &[String],
    definitions: &Definitions,
) -> Result<Made, ValidationError> {
    let mut graph = graph.clone();
    let mut faults = Vec::new();
    let (mut images, mut mappings, mut pictures) = (BTreeMap::new(), Map::new(), Vec::new());
    for (param, wanted) in making.params.iter().enumerate() {
        let Goes::Places(places) = &wanted.goes else { continue };
        for place in places {
            let definition = definition_of(&graph, place, definitions);
            let takes = Takes::of_input(definition, human::value_at(&graph, place));
            match making.become_of(wanted, takes, is_image(&graph, place, definition)) {
                Ok(Became::Value(value)) => set(&mut graph, place, value, &mut faults),
                Ok(Became::Image(path)) => {
                    let parameter = format!("picture_{}", images.len() + 1);
                    let mapping = json!({ "node_id": place.node, "property": place.input, "type": "image" });
                    mappings.insert(parameter.clone(), mapping);
                    images.insert(parameter, path);
                    pictures.push((param, Picture::Here));
                }
                Ok(Became::Named(name)) => {
                    set(&mut graph, place, json!(name), &mut faults);
                    pictures.push((param, Picture::There(name)));
                }
                Err(fault) => faults.push(fault),
            }
        }
    }
    let seeds = making.seed(&mut graph, definitions, &mut faults);
    if !faults.is_empty() {
        return Err(ValidationError { faults });
    }
    let mut config = json!({ "node_mappings": mappings });
    if !outputs.is_empty() {
        config["outputs"] = json!(outputs);
    }
    let template =
        serde_json::to_string(&graph).map_err(|error| ValidationError::one("not_json", name, error.to_string()))?;
    let files = Files { config: "the parameters".to_owned(), template: name.to_owned() };
    let pair = Pair::parse(name, &config.to_string(), &template, &files)
        .map_err(|problems| ValidationError::of_problems(name, &problems))?;
    Ok(Made { pair: Arc::new(pair), params: Map::new(), images, seeds, aliases: BTreeMap::new(), pictures })
}

impl Making<'_> {
    fn become_of(&self, wanted: &Wanted, takes: Takes, is_image: bool) -> Result<Became, Fault> {
        let given = match self.frame {
            Some(frame) => wanted.given.map_text(|text| filled(text, frame)),
            None => wanted.given.clone(),
        };
        if is_image && let Some(text) = given.text() {
            return match (self.find)(text) {
                Found::File(path) => Ok(Became::Image(path)),
                Found::NoPath if wanted.picture != Some(Picture::Here) => Ok(Became::Named(text.to_owned())),
                Found::NoPath | Found::Missing => Err(no_such_file(&wanted.name, text)),
            };
        }
        given
            .typed(takes)
            .map(Became::Value)
            .map_err(|reason| Fault::new("invalid_type", &wanted.name, format!("`{}` {reason}", shown(&wanted.name))))
    }

    /// Returns where the seeds of this repetition come from. Each is another one.
    fn draw(&self) -> impl FnMut() -> u64 + use<> {
        let mut next = self.draw;
        move || {
            next = next.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            next ^ (next >> 33)
        }
    }

    /// Puts the seeds of this repetition into a graph. Those that were given go up by one with each; where none was, all are
    /// drawn, within what their classes take. One of -1 is drawn in any case.
    fn seed(&self, graph: &mut Graph, definitions: &Definitions, faults: &mut Vec<Fault>) -> BTreeMap<String, u64> {
        let places = human::seeds(graph);
        let is_given = |place: &Place| {
            self.params.iter().any(|wanted| matches!(&wanted.goes, Goes::Places(places) if places.contains(place)))
        };
        let draws_all = self.repeats && !places.keys().any(is_given);
        let mut draw = self.draw();
        let mut seeds = BTreeMap::new();
        for (place, fed) in &places {
            let value = human::value_at(graph, place);
            let fresh = within(draw(), fed.iter().filter_map(|fed| definition_of(graph, fed, definitions)));
            let seed = match value.and_then(Value::as_u64) {
                _ if draws_all => fresh,
                Some(seed) if is_given(place) => seed.wrapping_add(self.repeat),
                Some(seed) => seed,
                None if value.and_then(Value::as_i64) == Some(-1) => fresh,
                // A server may know what another negative number means.
                None => continue,
            };
            set(graph, place, json!(seed), faults);
            seeds.insert(format!("{}.{}", place.node, place.input), seed);
        }
        seeds
    }
}

/// Says that a picture is not there.
pub(super) fn no_such_file(parameter: &str, path: &str) -> Fault {
    let message = format!("`{}`: there is no file `{}`", shown(parameter), shown(path));
    Fault::new(NO_SUCH_FILE, parameter, message)
}

/// Makes of any number a seed that all these inputs take.
fn within<'a>(drawn: u64, inputs: impl Iterator<Item = &'a InputDefinition>) -> u64 {
    let (mut least, mut most) = (0, DRAWN);
    for input in inputs {
        let bound = |name: &str| input.options.get(name).and_then(Value::as_u64);
        least = least.max(bound("min").unwrap_or_default());
        most = most.min(bound("max").unwrap_or(DRAWN));
    }
    // Bounds that leave nothing are told by the check.
    least.saturating_add(drawn % (most.saturating_sub(least) + 1))
}

fn set(graph: &mut Graph, place: &Place, value: Value, faults: &mut Vec<Fault>) {
    if let Err(error) = graph.set(&place.node, &place.input, value) {
        faults.push(Fault::new("unknown_node", &place.node, error.to_string()));
    }
}

fn definition_of<'a>(graph: &Graph, place: &Place, definitions: &'a Definitions) -> Option<&'a InputDefinition> {
    definitions.node(&graph.node(&place.node)?.class_type)?.input(&place.input)
}

fn is_image(graph: &Graph, place: &Place, definition: Option<&InputDefinition>) -> bool {
    let loads = graph.node(&place.node).is_some_and(|node| node.class_type.starts_with("LoadImage"));
    (loads && place.input == "image") || definition.is_some_and(|definition| definition.is("image_upload"))
}
