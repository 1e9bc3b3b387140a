//! Choices that a server does not offer: most often the name of a model file that is not in its folder.

use super::node::Place;
use super::problem::{Kind, Problem, SHOWN, brief};
use crate::definitions::InputDefinition;
use crate::names::{cut, nearest, shown};
use serde_json::Value;

/// Up to how many choices all are listed, and how many of more.
const LISTED: usize = 20;
const OF_MANY: usize = 5;

/// How many choices are looked at for the nearest one.
const COMPARED: usize = 20_000;

/// What names of model files end with.
const MODEL_ENDINGS: &[&str] = &["safetensors", "ckpt", "pt", "pt2", "pth", "bin", "gguf", "sft", "onnx", "pkl"];

/// In which folder under `models/` the files of an input lie, by the input's name.
const FOLDERS: &[(&str, &str)] = &[
    ("ckpt_name", "checkpoints"),
    ("checkpoint", "checkpoints"),
    ("lora_name", "loras"),
    ("lora", "loras"),
    ("vae_name", "vae"),
    ("unet_name", "diffusion_models"),
    ("clip_name", "text_encoders"),
    ("clip_name1", "text_encoders"),
    ("clip_name2", "text_encoders"),
    ("clip_name3", "text_encoders"),
    ("clip_name4", "text_encoders"),
    ("control_net_name", "controlnet"),
    ("style_model_name", "style_models"),
    ("gligen_name", "gligen"),
    ("hypernetwork_name", "hypernetworks"),
    ("photomaker_model_name", "photomaker"),
    ("audio_encoder_name", "audio_encoders"),
    ("model_path", "diffusers"),
];

/// The same where the input's name does not tell.
const FOLDERS_OF_CLASSES: &[(&str, &str)] = &[
    ("CLIPVisionLoader", "clip_vision"),
    ("UpscaleModelLoader", "upscale_models"),
    ("ModelPatchLoader", "model_patches"),
];

/// Says that a value is none of the choices, which one is near, and where a missing model belongs.
pub(super) fn not_in_list(place: &Place<'_>, input: &InputDefinition, choices: &[Value], given: &Value) -> Problem {
    let class = place.node.class_type.as_str();
    let name = given.as_str().unwrap_or_default();
    let folder = folder(class, &input.name);
    let suggestion = nearest_choice(name, choices).or_else(|| same_worth(given, choices));
    if !is_model_name(name) && folder.is_none() {
        let message = format!("{} is none of its choices", brief(given));
        let problem = place.problem(Kind::ValueNotInList, message, "write one of the choices");
        let problem = problem.with_details(listed(choices)).suggesting(suggestion);
        // Of newer classes, ComfyUI 0.3.64 passes on whatever is written, and later ones refuse it.
        return if input.options.contains_key("options") { problem.into_warning() } else { problem };
    }
    let (message, mend) = match folder {
        Some(folder) => (
            format!("the server has no model file {} in models/{folder}", brief(given)),
            format!("put the file into models/{folder} on the server, or choose another; ComfyUI sees it at once"),
        ),
        None => (
            format!("the server has no model file {} for {}", brief(given), shown(class)),
            "put the file into the folder from which this class loads, or choose another".to_owned(),
        ),
    };
    place.problem(Kind::ValueNotInList, message, &mend).with_details(listed(choices)).suggesting(suggestion)
}

/// Returns the choice that is nearest to a name: the same file in another folder, or a name that is nearly the same.
pub(super) fn nearest_choice(name: &str, choices: &[Value]) -> Option<Value> {
    let texts = || choices.iter().take(COMPARED).filter_map(Value::as_str);
    let same_file = texts().find(|choice| file_of(choice).eq_ignore_ascii_case(file_of(name)));
    let near = same_file.or_else(|| {
        // Endings are alike in all names and would make strangers near.
        let stem = stem(file_of(name));
        let near = nearest(stem, texts().map(|choice| self::stem(file_of(choice))))?;
        texts().find(|choice| self::stem(file_of(choice)) == near)
    });
    near.filter(|_| !name.is_empty()).map(|near| Value::String(near.to_owned()))
}

/// Returns the choice that is written alike: `512` for `"512"`.
fn same_worth(given: &Value, choices: &[Value]) -> Option<Value> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let wanted = text(given);
    choices.iter().take(COMPARED).find(|choice| text(choice) == wanted).cloned()
}

fn folder(class: &str, input: &str) -> Option<&'static str> {
    let find = |table: &[(&str, &'static str)], name: &str| {
        table.iter().find(|(known, _)| *known == name).map(|(_, folder)| *folder)
    };
    find(FOLDERS_OF_CLASSES, class).or_else(|| find(FOLDERS, input))
}

fn is_model_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| MODEL_ENDINGS.contains(&ending.as_str()))
}

fn listed(choices: &[Value]) -> String {
    let many = choices.len() > LISTED;
    let shown = choices.iter().take(if many { OF_MANY } else { LISTED });
    let names: Vec<String> =
        shown.map(|choice| choice.as_str().map_or_else(|| choice.to_string(), |text| cut(text, SHOWN))).collect();
    match choices.len() {
        0 => "the server offers none".to_owned(),
        count if many => format!("the server offers {count}, such as {}", names.join(", ")),
        _ => format!("the server offers {}", names.join(", ")),
    }
}

/// Returns the name of a file without its folders, which Windows writes with `\`.
fn file_of(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

fn stem(file: &str) -> &str {
    file.rsplit_once('.').filter(|_| is_model_name(file)).map_or(file, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_nearest_choice_is_the_same_file_elsewhere_or_nearly_the_same_name() {
        let choices = [json!("sdxl/base.safetensors"), json!("v1-5-pruned.safetensors"), json!(3), json!("euler")];
        for (given, expected) in [
            ("base.safetensors", Some("sdxl/base.safetensors")),
            ("other\\BASE.safetensors", Some("sdxl/base.safetensors")),
            ("v1-5-pruned.ckpt", Some("v1-5-pruned.safetensors")),
            ("v15-pruned.safetensors", Some("v1-5-pruned.safetensors")),
            ("flux.safetensors", None),
            ("eulr", Some("euler")),
            ("", None),
        ] {
            assert_eq!(nearest_choice(given, &choices), expected.map(|it| json!(it)), "{given}");
        }
    }
}
