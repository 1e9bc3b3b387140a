//! From what a caller gave to typed parameters: every fault is told at once. Pure; chance is given.

use super::pair::Pair;
use super::parameter::{Kind, ParamError, Parameter};
use crate::graph::DRAWN;
use crate::job::{ParamValue, Params};
use crate::names::{hint, shown};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The most faults that are told at once.
const MAX_FAULTS: usize = 32;

/// The longest part of an unknown name that is given back, in characters.
const MAX_NAME: usize = 64;

/// A request's parameters, complete and typed.
#[derive(Clone, PartialEq, Debug)]
pub struct Resolved {
    /// What was given, defaulted or drawn.
    pub params: Params,
    /// The seed in force; none where the workflow has none.
    pub seed: Option<u64>,
    /// How many images are asked for; none where the workflow has no `image_count`.
    pub expected_images: Option<u32>,
}

/// Checks what a caller gave against a workflow, fills in what is absent, draws seeds.
pub fn resolve(
    workflow: &Pair,
    given: &Map<String, Value>,
    draw_seed: impl FnMut() -> u64,
) -> Result<Resolved, Vec<ParamError>> {
    let (resolved, faults) = attempt(workflow, given, draw_seed);
    if faults.is_empty() { Ok(resolved) } else { Err(faults) }
}

/// Does the same as far as it goes: what is wrong is told, and absent from what is resolved.
pub fn attempt(
    workflow: &Pair,
    given: &Map<String, Value>,
    mut draw_seed: impl FnMut() -> u64,
) -> (Resolved, Vec<ParamError>) {
    let mut faults = Vec::new();
    let given = by_parameter(workflow, given, &mut faults);
    let mut params = Params::new();
    for parameter in workflow.parameters() {
        let value = given.get(parameter.name.as_str()).filter(|(_, value)| !is_absent(parameter, value));
        let resolved = match value {
            Some((name, value)) => one(parameter, name, value, &mut draw_seed),
            None => absent(parameter, &mut draw_seed),
        };
        match resolved {
            Ok(Some(value)) => {
                params.insert(parameter.name.clone(), value);
            }
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    faults.truncate(MAX_FAULTS);
    let expected_images = integer(&params, "image_count").and_then(|count| u32::try_from(count).ok());
    (Resolved { seed: seed(workflow, &params), expected_images, params }, faults)
}

/// Sorts what was given by the parameter that it is meant for.
fn by_parameter<'a>(
    workflow: &'a Pair,
    given: &'a Map<String, Value>,
    faults: &mut Vec<ParamError>,
) -> BTreeMap<&'a str, (&'a str, &'a Value)> {
    let mut sorted: BTreeMap<&str, (&str, &Value)> = BTreeMap::new();
    for (name, value) in given {
        let Some(parameter) = workflow.parameter(name) else {
            if faults.len() < MAX_FAULTS {
                faults.push(unknown(workflow, name));
            }
            continue;
        };
        if let Some((first, _)) = sorted.insert(&parameter.name, (name, value)) {
            let message = format!("parameter `{first}` and `{}` are the same: give it once", shown(name));
            faults.push(ParamError { code: "duplicate_param", parameter: name.clone(), message });
        }
    }
    sorted
}

fn unknown(workflow: &Pair, name: &str) -> ParamError {
    let known = workflow.parameters().map(|parameter| parameter.name.as_str());
    let hint = hint(name, known);
    let message = format!("workflow `{}` has no parameter `{}`{hint}", workflow.name(), shown(name));
    // Nobody needs the whole of a name that is too long to be one.
    ParamError { code: "unknown_param", parameter: name.chars().take(MAX_NAME).collect(), message }
}

/// `null` is absent for every parameter, and 0 for those where `ComfyLite`'s callers leave it so.
fn is_absent(parameter: &Parameter, value: &Value) -> bool {
    value.is_null() || (parameter.zero_is_absent() && value.as_f64() == Some(0.0))
}

fn one(
    parameter: &Parameter,
    name: &str,
    value: &Value,
    draw_seed: &mut impl FnMut() -> u64,
) -> Result<Option<ParamValue>, ParamError> {
    if parameter.kind == Kind::Seed && parameter.typed(value) == Ok(ParamValue::Integer(-1)) {
        return Ok(Some(drawn(parameter, draw_seed)));
    }
    parameter.check(value).map(Some).map_err(|(code, reason)| {
        let message = format!("parameter `{}`: {reason}", shown(name));
        ParamError { code, parameter: name.to_owned(), message }
    })
}

fn absent(parameter: &Parameter, draw_seed: &mut impl FnMut() -> u64) -> Result<Option<ParamValue>, ParamError> {
    if parameter.required {
        let message = format!("parameter `{}`: is required, {} is expected", parameter.name, parameter.kind.noun());
        return Err(ParamError { code: "missing_param", parameter: parameter.name.clone(), message });
    }
    if let Some(default) = &parameter.default {
        return Ok(Some(default.clone()));
    }
    Ok((parameter.kind == Kind::Seed).then(|| drawn(parameter, draw_seed)))
}

fn drawn(parameter: &Parameter, draw_seed: &mut impl FnMut() -> u64) -> ParamValue {
    let bound = |bound: &Option<ParamValue>, otherwise: i128| match bound {
        Some(ParamValue::Integer(bound)) => *bound,
        Some(ParamValue::Boolean(_) | ParamValue::Number(_) | ParamValue::Text(_)) | None => otherwise,
    };
    let least = bound(&parameter.min, 0);
    let drawn = i128::from(DRAWN);
    let most = bound(&parameter.max, drawn);
    let most = if least <= drawn { most.min(drawn) } else { most };
    ParamValue::Integer(least + i128::from(draw_seed()).rem_euclid(most - least + 1))
}

/// Returns the seed that callers are told: the one called so, else the first.
fn seed(workflow: &Pair, params: &Params) -> Option<u64> {
    let seeds = workflow.parameters().filter(|parameter| parameter.kind == Kind::Seed);
    let named = seeds.clone().find(|parameter| parameter.name == "seed");
    let parameter = named.or_else(|| seeds.clone().next())?;
    integer(params, &parameter.name).and_then(|seed| u64::try_from(seed).ok())
}

fn integer(params: &Params, name: &str) -> Option<i128> {
    match params.get(name) {
        Some(ParamValue::Integer(whole)) => Some(*whole),
        Some(ParamValue::Boolean(_) | ParamValue::Number(_) | ParamValue::Text(_)) | None => None,
    }
}
