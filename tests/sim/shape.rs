//! Makes a recorded and a simulated answer comparable: what differs between any two runs is levelled, the rest stays.

use serde_json::{Map, Value, json};

/// Values under these keys keep only their type: times, counters, the queue's length (when the worker takes a prompt is
/// chance), and texts that quote the server's own program.
const TYPED: &[&str] =
    &["timestamp", "exception_message", "current_inputs", "traceback", "current_outputs", "number", "queue_remaining"];

/// Levels an answer or a frame.
pub(crate) fn level(value: &Value) -> Value {
    under("", value)
}

fn under(key: &str, value: &Value) -> Value {
    match value {
        _ if TYPED.contains(&key) => typed(value),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), under(key, value))).collect())
        }
        // The order of a set has no meaning: nodes that have run, outputs to run.
        Value::Array(items) if key == "executed" || key == "nodes" => sorted(items.iter().map(level).collect()),
        Value::Array(items) => match items.as_slice() {
            // A queue item: the number comes from a counter, the outputs are a set.
            [number, id, graph @ Value::Object(_), extra, Value::Array(outputs)] => {
                json!([typed(number), id, level(graph), level(extra), sorted(outputs.clone())])
            }
            items => Value::Array(items.iter().map(level).collect()),
        },
        Value::String(text) if key == "filename" => Value::String(numberless(text)),
        Value::String(text) if key == "sid" && text.len() == 32 => Value::String("made up".to_owned()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Replaces every value by the name of its type; of a list's items one per type is kept.
fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(number) => json!(if number.is_f64() { "float" } else { "int" }),
        Value::String(_) => json!("text"),
        Value::Array(items) => {
            let mut types: Vec<Value> = items.iter().map(typed).collect();
            types.dedup();
            Value::Array(types)
        }
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), typed(value))).collect::<Map<_, _>>())
        }
    }
}

fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_key(Value::to_string);
    Value::Array(items)
}

/// Levels the counter of a saved file and the five letters of a temporary one.
fn numberless(name: &str) -> String {
    let name: String = name.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    match name.strip_prefix("ComfyUI_temp_").and_then(|rest| rest.split_once('_')) {
        Some((letters, rest)) if letters.len() == 5 => format!("ComfyUI_temp_?????_{rest}"),
        Some(_) | None => name,
    }
}
