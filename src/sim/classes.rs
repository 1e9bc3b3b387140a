//! The node classes that the simulator knows, read from a list in the shape of ComfyUI's `/object_info`.
//!
//! What the classes do is decided in `nodes`; this file only says which inputs and outputs they declare.

use super::json::Json;

const STOCK: &str = include_str!("object_info.json");

/// The table of node classes.
#[derive(Debug)]
pub(super) struct Classes {
    table: Json,
    any_model: bool,
    models: Json,
}

/// One declared input of a class.
#[derive(Debug)]
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) required: bool,
    pub(super) kind: Kind<'a>,
    /// The declaration as error answers repeat it: always a pair.
    pub(super) declared: Json,
}

/// What an input accepts.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// One of these values.
    Choice(&'a [Json]),
    /// The name of any model file.
    AnyModel,
    /// A value of this type, such as `INT` or `IMAGE`.
    Type(&'a str),
}

impl Classes {
    /// Takes the stock classes, then those of `extra` (the text of an `/object_info` answer); model lists hold `models`,
    /// or accept every name.
    pub(super) fn load(extra: Option<&str>, models: Option<&[String]>) -> Option<Self> {
        let mut table = Json::parse(STOCK.as_bytes())?;
        for (name, definition) in Json::parse(extra.unwrap_or("{}").as_bytes())?.fields() {
            table.set(name, definition.clone());
        }
        let mut classes = Self { table, any_model: models.is_none(), models: Json::texts(models.unwrap_or_default()) };
        if models.is_some_and(|models| !models.is_empty()) {
            fill_model_lists(&mut classes.table, &classes.models);
        }
        Some(classes)
    }

    /// Returns the whole table, as `/object_info` answers it.
    pub(super) fn table(&self) -> &Json {
        &self.table
    }

    /// Returns the names of the model files, none if every name is accepted.
    pub(super) fn models(&self) -> Json {
        self.models.clone()
    }

    /// Returns a class's definition.
    pub(super) fn definition(&self, class: &str) -> Option<&Json> {
        self.table.get(class)
    }

    /// Returns whether the class ends a graph.
    pub(super) fn is_output(&self, class: &str) -> bool {
        self.definition(class).and_then(|definition| definition.get("output_node")) == Some(&Json::Bool(true))
    }

    /// Returns the type of one output of a class.
    pub(super) fn output(&self, class: &str, slot: usize) -> Option<&str> {
        self.definition(class)?.get("output")?.items().get(slot)?.text()
    }

    /// Returns the inputs of a class, the required ones first.
    pub(super) fn inputs<'a>(&'a self, class: &str) -> Vec<Input<'a>> {
        let Some(inputs) = self.definition(class).and_then(|definition| definition.get("input")) else {
            return Vec::new();
        };
        let section = |name: &str| inputs.get(name).map_or(&[][..], Json::fields);
        let required = section("required").iter().map(|(name, spec)| self.input(name, spec, true));
        let optional = section("optional").iter().map(|(name, spec)| self.input(name, spec, false));
        required.chain(optional).collect()
    }

    fn input<'a>(&self, name: &'a str, spec: &'a Json, required: bool) -> Input<'a> {
        let mut pair = spec.items().to_vec();
        if pair.len() == 1 {
            pair.push(Json::Object(Vec::new()));
        }
        Input { name, required, kind: self.kind(spec), declared: Json::List(pair) }
    }

    fn kind<'a>(&self, spec: &'a Json) -> Kind<'a> {
        match choices(spec) {
            Some([]) if self.any_model => Kind::AnyModel,
            Some(choices) => Kind::Choice(choices),
            None => Kind::Type(spec.items().first().and_then(Json::text).unwrap_or("*")),
        }
    }
}

/// Returns the list of an input that offers one, in either of the two ways in which ComfyUI writes it.
fn choices(spec: &Json) -> Option<&[Json]> {
    match spec.items() {
        [Json::List(choices), ..] => Some(choices),
        [Json::Text(kind), settings] if kind == "COMBO" => settings.get("options").map(Json::items),
        _ => None,
    }
}

/// Only model lists are empty in the stock table.
fn fill_model_lists(json: &mut Json, models: &Json) {
    match json {
        Json::Object(fields) => {
            for (key, value) in fields {
                if key == "options" && value.items().is_empty() {
                    *value = models.clone();
                } else if !matches!(key.as_str(), "output" | "output_is_list" | "output_name" | "input_order") {
                    fill_model_lists(value, models);
                }
            }
        }
        Json::List(items) => match items.first_mut() {
            Some(first) if *first == Json::List(Vec::new()) => *first = models.clone(),
            _ => items.iter_mut().for_each(|item| fill_model_lists(item, models)),
        },
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_list_accepts_every_name_unless_models_are_given() {
        let free = Classes::load(None, None).unwrap();
        assert!(matches!(free.inputs("UpscaleModelLoader").first().unwrap().kind, Kind::AnyModel));
        let models = ["sd15.safetensors".to_owned()];
        let listed = Classes::load(None, Some(&models)).unwrap();
        for class in ["CheckpointLoaderSimple", "UpscaleModelLoader", "VAELoader"] {
            let inputs = listed.inputs(class);
            assert!(
                matches!(inputs.first().unwrap().kind, Kind::Choice([Json::Text(name)]) if name == "sd15.safetensors")
            );
        }
    }

    #[test]
    fn extra_classes_are_added_to_the_stock_ones() {
        let extra =
            r#"{"Probe": {"input": {"required": {"image": ["IMAGE"]}}, "output": ["IMAGE"], "output_node": false}}"#;
        let classes = Classes::load(Some(extra), None).unwrap();
        assert_eq!(classes.output("Probe", 0), Some("IMAGE"));
        assert!(classes.is_output("SaveImage") && !classes.is_output("Probe"));
    }
}
