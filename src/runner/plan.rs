//! From a workflow and what a person wants of it to orders: names, types, seeds, frames. Everything that is wrong is told
//! before the first run. Pure; chance, and what lies on this machine, are given.

use super::error::{Fault, ValidationError};
use super::frames::{FrameRange, has_mark, padded};
use super::human::{self, Place};
use super::making::{self, Making};
use super::order::Order;
use super::value::Given;
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::names::{hint, shown};
use crate::workflow::{Pair, Parameter};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The most runs of one call.
const MOST_RUNS: usize = 100_000;

/// How many digits a run's number has at least, so that its files sort.
const DIGITS: usize = 4;

/// What shall be run.
#[derive(Clone, PartialEq, Debug)]
pub enum Subject {
    /// A graph with a mapping, whose parameters are those of the mapping.
    Pair(Arc<Pair>),
    /// A graph alone, all of whose inputs are parameters.
    Graph {
        /// What it is called.
        name: String,
        /// The graph.
        graph: Graph,
    },
}

/// What a person wants of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Wishes {
    /// The parameters, in the order in which they were given; of the same one the last counts.
    pub params: Vec<(String, Given)>,
    /// How often it shall run; none for once, with the seeds that stand there.
    pub repeats: Option<usize>,
    /// The frames that it shall run for.
    pub frames: Option<FrameRange>,
    /// The nodes whose outputs are the result, with a name or without; empty for those of the workflow.
    pub outputs: Vec<(Option<String>, String)>,
    /// How long one run may take.
    pub limit: Option<Duration>,
    /// The number in the name of the first run, where it makes no frame; 0 counts as 1.
    pub first: u64,
}

/// What a text that was given for a picture is on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A file.
    File(PathBuf),
    /// No file of this machine, so it is the name of one in ComfyUI's input folder.
    NoPath,
    /// It can only be a path, and there is no such file.
    Missing,
}

/// Orders that are made one by one, so that many cost no more memory than one.
pub struct Plan {
    subject: Subject,
    params: Vec<Wanted>,
    frames: Option<FrameRange>,
    digits: usize,
    repeats: Option<usize>,
    /// One draw for each repetition, from which its seeds come: the frames of a repetition have the same.
    draws: Vec<u64>,
    outputs: Vec<String>,
    aliases: BTreeMap<String, String>,
    limit: Option<Duration>,
    first: u64,
    definitions: Definitions,
}

/// A parameter, and where it goes.
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) given: Given,
    pub(super) goes: Goes,
    /// What it was in an order that was tried.
    pub(super) picture: Option<Picture>,
}

/// What a parameter that is a picture names. It is the same in all orders: a file that is missing among others is no name of
/// one on the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Picture {
    /// A file of this machine.
    Here,
    /// A file of the server, with this name in the order that was tried first.
    There(String),
}

pub(super) enum Goes {
    /// To a parameter of the mapping.
    Parameter(Box<Parameter>),
    /// To inputs of the graph.
    Places(Vec<Place>),
}

impl Plan {
    /// Finds out what every name means. All that is wrong is told at once.
    pub fn new(
        subject: Subject,
        wishes: Wishes,
        definitions: Definitions,
        mut draw: impl FnMut() -> u64,
    ) -> Result<Self, ValidationError> {
        let mut faults = Vec::new();
        let mut params: Vec<Wanted> = Vec::new();
        for (name, given) in wishes.params {
            match goes(&subject, &name) {
                Ok(goes) => {
                    params.retain(|wanted| !wanted.goes.is_same(&goes));
                    params.push(Wanted { name, given, goes, picture: None });
                }
                Err(fault) => faults.push(fault),
            }
        }
        let marked = params.iter().any(|wanted| wanted.given.text().is_some_and(has_mark));
        if wishes.frames.is_some() && !marked {
            let message = "a range of frames was given, but no parameter has a place for the frame's number: \
                           write #### or {frame} where it shall stand";
            faults.push(Fault::new("frame_unused", "frame-range", message));
        }
        let frames = wishes.frames;
        let runs = frames.map_or(1, |range| range.count()).saturating_mul(wishes.repeats.unwrap_or(1));
        if runs > MOST_RUNS || runs == 0 {
            let message = format!("{runs} runs were asked for; 1 to {MOST_RUNS} are made at once");
            faults.push(Fault::new("out_of_range", "batch", message));
        }
        let aliases = aliases(&subject, &wishes.outputs, &mut faults);
        if !faults.is_empty() {
            return Err(ValidationError { faults });
        }
        let repeats = wishes.repeats;
        let first = wishes.first.max(1);
        let largest = frames.map_or(first.saturating_add(runs as u64), |range| range.last());
        Ok(Self {
            digits: largest.to_string().len().max(DIGITS),
            draws: (0..repeats.unwrap_or(1)).map(|_| draw()).collect(),
            subject,
            params,
            frames,
            repeats,
            outputs: wishes.outputs.into_iter().map(|(_, node)| node).collect(),
            aliases,
            limit: wishes.limit,
            first,
            definitions,
        })
    }

    /// Returns how many orders there are; at least one.
    pub fn count(&self) -> usize {
        self.frames.map_or(1, |range| range.count()) * self.repeats.unwrap_or(1)
    }

    /// Returns the workflow's name.
    pub fn name(&self) -> &str {
        self.subject.name()
    }

    /// Returns what an order is called, whether it can be made or not; `place` counts from 0.
    pub fn name_of(&self, place: usize) -> String {
        let (frame, repeat) = self.frame_and_repeat(place);
        let number = |number: u64| padded(number, self.digits);
        let numbers = match (frame, self.repeats) {
            (Some(frame), Some(_)) => format!("{}-{}", number(frame), padded(repeat as u64 + 1, DIGITS)),
            (Some(frame), None) => number(frame),
            (None, _) => number(self.first.saturating_add(place as u64)),
        };
        format!("{}-{numbers}", self.name())
    }

    /// Makes an order to see whether it is good, and notes what it tells of the others: a parameter that is a picture of this
    /// machine in one of them is so in all.
    pub fn try_order(&mut self, place: usize, find: &dyn Fn(&str) -> Found) -> Result<Order, ValidationError> {
        let (order, pictures) = self.make(place, find)?;
        for (param, picture) in pictures {
            let Some(wanted) = self.params.get_mut(param) else { continue };
            if let (Some(Picture::There(name)), Picture::Here) = (&wanted.picture, &picture) {
                return Err(making::no_such_file(&wanted.name, name).into());
            }
            wanted.picture.get_or_insert(picture);
        }
        Ok(order)
    }

    /// Makes an order; `place` counts from 0. Frame by frame, and of each frame all repetitions.
    pub fn order(&self, place: usize, find: &dyn Fn(&str) -> Found) -> Result<Order, ValidationError> {
        self.make(place, find).map(|(order, _)| order)
    }

    fn make(
        &self,
        place: usize,
        find: &dyn Fn(&str) -> Found,
    ) -> Result<(Order, Vec<(usize, Picture)>), ValidationError> {
        let (frame, repeat) = self.frame_and_repeat(place);
        let making = Making {
            params: &self.params,
            frame,
            repeat: repeat as u64,
            repeats: self.repeats.is_some(),
            draw: self.draws.get(repeat).copied().unwrap_or_default(),
            find,
        };
        let made = match &self.subject {
            Subject::Pair(pair) => making::of_pair(&making, pair),
            Subject::Graph { name, graph } => making::of_graph(&making, name, graph, &self.outputs, &self.definitions),
        }?;
        let order = Order {
            number: place + 1,
            frame,
            name: self.name_of(place),
            pair: made.pair,
            params: made.params,
            images: made.images,
            seeds: made.seeds,
            aliases: if made.aliases.is_empty() { self.aliases.clone() } else { made.aliases },
            limit: self.limit,
        };
        Ok((order, made.pictures))
    }

    fn frame_and_repeat(&self, place: usize) -> (Option<u64>, usize) {
        let repeats = self.repeats.unwrap_or(1);
        (self.frames.and_then(|range| range.frame(place / repeats)), place % repeats)
    }
}

impl Subject {
    /// Returns what it is called.
    pub fn name(&self) -> &str {
        match self {
            Self::Pair(pair) => pair.name(),
            Self::Graph { name, .. } => name,
        }
    }

    /// Returns the graph, without any parameter put in.
    pub fn graph(&self) -> &Graph {
        match self {
            Self::Pair(pair) => pair.template(),
            Self::Graph { graph, .. } => graph,
        }
    }
}

impl Goes {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Parameter(one), Self::Parameter(other)) => one.name == other.name,
            (Self::Places(one), Self::Places(other)) => one == other,
            (Self::Parameter(_), Self::Places(_)) | (Self::Places(_), Self::Parameter(_)) => false,
        }
    }
}

fn goes(subject: &Subject, name: &str) -> Result<Goes, Fault> {
    match subject {
        Subject::Pair(pair) => parameter(pair, name).map(|parameter| Goes::Parameter(Box::new(parameter.clone()))),
        Subject::Graph { graph, .. } => human::find(graph, name).map(Goes::Places),
    }
}

/// Finds a parameter of a mapping by any spelling, and where it has no such by what people also call it.
fn parameter<'a>(pair: &'a Pair, name: &str) -> Result<&'a Parameter, Fault> {
    let spelled = human::spelled(name);
    let found = pair.parameter(name).or_else(|| pair.parameter(&spelled));
    let also = || human::synonyms(name).into_iter().find_map(|name| pair.parameter(name));
    found.or_else(also).ok_or_else(|| {
        let hint = hint(name, pair.parameters().map(|parameter| parameter.name.as_str()));
        let message = format!("workflow `{}` has no parameter `{}`{hint}", pair.name(), shown(name));
        Fault::new("unknown_param", name, message)
    })
}

/// Checks the nodes that were named as outputs, and returns the names that were given to them.
fn aliases(
    subject: &Subject,
    outputs: &[(Option<String>, String)],
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut aliases: BTreeMap<String, String> = BTreeMap::new();
    if let (Subject::Pair(pair), Some((_, node))) = (subject, outputs.first()) {
        let message = format!("the outputs of `{}` stand in its mapping file, under `outputs`", pair.name());
        faults.push(Fault::new("output_of_pair", node, message));
        return aliases;
    }
    let graph = subject.graph();
    let mut seen = BTreeSet::new();
    for (alias, node) in outputs {
        if graph.node(node).is_none() {
            let hint = hint(node, graph.nodes().map(|(id, _)| id));
            let message = format!("the workflow has no node `{}` to take outputs from{hint}", shown(node));
            faults.push(Fault::new("unknown_node", node, message));
        } else if !seen.insert(node) || alias.as_ref().is_some_and(|alias| aliases.values().any(|known| known == alias))
        {
            let message = format!("output `{}` is named twice: name each node, and each name, once", shown(node));
            faults.push(Fault::new("duplicate_output", node, message));
        } else if let Some(alias) = alias {
            aliases.insert(node.clone(), alias.clone());
        }
    }
    aliases
}

#[cfg(test)]
mod tests;
