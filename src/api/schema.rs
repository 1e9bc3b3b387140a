//! The parameters of a workflow as a JSON Schema, enough for a program to draw a form from.

use crate::definitions::{Definitions, InputDefinition};
use crate::job::ParamValue;
use crate::workflow::{Kind, Pair, Parameter};
use serde_json::{Map, Value, json};

/// The longest text that is taken where nothing else is said, in characters.
const LONGEST_TEXT: u64 = 100_000;

/// The dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Describes what a request may set. The definitions tell steps, and which texts have many lines.
pub(super) fn schema(workflow: &Pair, definitions: &Definitions) -> Value {
    let properties: Map<String, Value> = workflow
        .parameters()
        .map(|parameter| (parameter.name.clone(), property(workflow, parameter, definitions)))
        .collect();
    let required: Vec<&str> = workflow.parameters().filter(|it| it.required).map(|it| it.name.as_str()).collect();
    json!({
        "$schema": DIALECT,
        "title": workflow.name(),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(workflow: &Pair, parameter: &Parameter, definitions: &Definitions) -> Value {
    let inputs: Vec<&InputDefinition> = parameter
        .targets
        .iter()
        .filter_map(|target| input(workflow, definitions, &target.node, &target.input))
        .collect();
    let mut schema = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(key.to_owned(), value);
        }
    };
    let is_long = inputs.iter().any(|input| input.is("multiline"));
    let (kind, format) = match parameter.kind {
        Kind::Text if is_long => ("string", Some("textarea")),
        Kind::Text => ("string", None),
        Kind::Filename => ("string", Some("filename")),
        Kind::Image => ("string", Some("image")),
        Kind::Integer => ("integer", None),
        Kind::Seed => ("integer", Some("seed")),
        Kind::Number => ("number", None),
        Kind::Boolean => ("boolean", None),
    };
    put("type", Some(json!(kind)));
    put("format", format.map(Value::from));
    put("description", parameter.description.clone().map(Value::from));
    let (least, most) = match parameter.kind {
        Kind::Text | Kind::Filename | Kind::Image => ("minLength", "maxLength"),
        Kind::Integer | Kind::Seed | Kind::Number | Kind::Boolean => ("minimum", "maximum"),
    };
    put(least, parameter.min.as_ref().and_then(ParamValue::to_json));
    put(most, parameter.max.as_ref().and_then(ParamValue::to_json));
    put("step", inputs.iter().find_map(|input| input.options.get("step")).filter(|step| step.is_number()).cloned());
    let is_own = !parameter.choices.is_empty() || parameter.kind == Kind::Image;
    let choices = if is_own { &parameter.choices } else { &parameter.suggested };
    if !choices.is_empty() {
        put("enum", Some(choices.iter().filter_map(ParamValue::to_json).collect()));
    }
    put("default", workflow.default_of(parameter));
    if parameter.kind == Kind::Image && parameter.choices.is_empty() {
        let text =
            json!({ "type": "string", "description": "a data URI, a URL, an upload's id, or a file that ComfyUI has" });
        schema.remove("type");
        schema.insert("anyOf".to_owned(), json!([text, image_object()]));
        return Value::Object(schema);
    }
    match parameter.kind {
        // -1 draws one, whatever the least is.
        Kind::Seed if schema.get("minimum").is_some_and(|least| least.as_f64() >= Some(0.0)) => {
            schema.insert("minimum".to_owned(), json!(-1));
        }
        Kind::Text | Kind::Filename | Kind::Image => {
            schema.entry("maxLength").or_insert_with(|| json!(LONGEST_TEXT));
        }
        Kind::Integer | Kind::Seed | Kind::Number | Kind::Boolean => {}
    }
    Value::Object(schema)
}

/// Describes an image that is given as an object; its mask is given in the same ways.
fn image_object() -> Value {
    let one_of = json!([{ "required": ["data"] }, { "required": ["url"] }, { "required": ["upload"] }]);
    let ways = json!({
        "data": { "type": "string", "contentEncoding": "base64" },
        "url": { "type": "string", "format": "uri" },
        "upload": { "type": "string", "pattern": "^up_[0-9a-f]{32}$" },
    });
    let mask = json!({ "type": "object", "properties": ways, "additionalProperties": false, "oneOf": one_of });
    let mut image = mask.clone();
    image["properties"]["mask"] = json!({ "anyOf": [{ "type": "string" }, mask] });
    image
}

fn input<'a>(workflow: &Pair, definitions: &'a Definitions, node: &str, input: &str) -> Option<&'a InputDefinition> {
    definitions.node(&workflow.template().node(node)?.class_type)?.input(input)
}
