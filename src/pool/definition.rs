//! What a backend is by its definition: read from the fields of a file or of a request, with everything that is wrong with it, and
//! written for whoever keeps it. Connecting to it is left to `app`.

use super::way::wrong_way;
use crate::comfy::{ComfyUrl, RouteOptions};
use crate::egress;
use crate::names;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The longest name and the longest tag, in characters, and the most tags.
const LONGEST_NAME: usize = 200;
const LONGEST_TAG: usize = 64;
const MOST_TAGS: usize = 64;

/// The most prompts that a backend runs at once, and the most that wait there.
const MOST_SLOTS: u64 = 64;
const MOST_AHEAD: u64 = 1000;

/// The fields of a definition.
const FIELDS: [&str; 8] = ["name", "url", "tags", "slots", "ahead", "auth", "proxy", "tls"];

/// What a backend is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its name in logs, answers and the store.
    pub name: String,
    /// Where it is.
    pub url: ComfyUrl,
    /// What a workflow may ask it to have.
    pub tags: BTreeSet<String>,
    /// How many prompts it runs at once.
    pub slots: usize,
    /// How many prompts wait there besides; none for as many as with any other backend.
    pub ahead: Option<usize>,
    /// How it is reached: what it is shown, the proxy on the way, its certificate.
    pub route: RouteOptions,
}

/// One field of a definition as it stands somewhere.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// The line of a file on which it stands, from 1.
    pub line: Option<u64>,
}

/// Something that is wrong with a definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The field that is wrong, or missing.
    pub field: String,
    /// What is wrong, and how to mend it. No secret is in it.
    pub text: String,
    /// The line of the field, where it has one.
    pub line: Option<u64>,
}

impl Definition {
    /// Makes the definition of a backend of which nothing but its address is said.
    pub fn at(url: ComfyUrl) -> Self {
        Self {
            name: url.to_string(),
            url,
            tags: BTreeSet::new(),
            slots: 1,
            ahead: None,
            route: RouteOptions::default(),
        }
    }

    /// Reads a definition. Tells everything that is wrong with it.
    pub fn read(fields: Vec<Field>) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader { fields, mistakes: Vec::new() };
        let url = reader.take("url", read_url);
        if url.is_none() && reader.mistakes.is_empty() {
            let text = "url is missing; write where the ComfyUI is, such as http://10.0.0.7:8188".to_owned();
            reader.mistakes.push(Mistake { field: "url".to_owned(), text, line: None });
        }
        let name = reader.take("name", read_name);
        let tags = reader.take("tags", read_tags).unwrap_or_default();
        let slots = reader.take("slots", |value| whole(value, 1, MOST_SLOTS)).unwrap_or(1);
        let ahead = reader.take("ahead", |value| whole(value, 0, MOST_AHEAD));
        let line_of_tls = reader.line("tls");
        let route = RouteOptions {
            auth: reader.take("auth", |value| part("auth", value)).unwrap_or_default().auth,
            proxy: reader.take("proxy", |value| part("proxy", value)).unwrap_or_default().proxy,
            tls: reader.take("tls", |value| part("tls", value)).unwrap_or_default().tls,
        };
        if let Some(why) = url.as_ref().and_then(|url| route.idle_tls(url)) {
            let text = format!("tls: {why}");
            reader.mistakes.push(Mistake { field: "tls".to_owned(), text, line: line_of_tls });
        }
        for Field { name, line, .. } in reader.fields {
            let text = format!("there is no field `{}`{}", names::shown(&name), names::hint(&name, FIELDS));
            reader.mistakes.push(Mistake { field: names::shown(&name), text, line });
        }
        match url {
            Some(url) if reader.mistakes.is_empty() => {
                let name = name.unwrap_or_else(|| url.to_string());
                Ok(Self { name, url, tags, slots, ahead, route })
            }
            Some(_) | None => Err(reader.mistakes),
        }
    }

    /// Reads a definition from an object.
    pub fn from_object(object: Map<String, Value>) -> Result<Self, Vec<Mistake>> {
        Self::read(object.into_iter().map(|(name, value)| Field { name, value, line: None }).collect())
    }

    /// Reads a definition from an object that came from elsewhere: it may not name files and variables of this machine, since
    /// what they hold is sent to the backend. The way to it is judged, too.
    pub fn from_afar(object: Map<String, Value>) -> Result<Self, Vec<Mistake>> {
        let definition = Self::from_object(object)?;
        let mistake = |place: &str| {
            let field = place.split('.').next().unwrap_or_default().to_owned();
            let text = format!(
                "{place}: it would be read from this machine; write it out, or define the backend in a file there"
            );
            Mistake { field, text, line: None }
        };
        let mistakes: Vec<Mistake> = definition.route.read_here().into_iter().map(mistake).collect();
        let mistakes = if mistakes.is_empty() { wrong_way(&definition.route) } else { mistakes };
        if mistakes.is_empty() { Ok(definition) } else { Err(mistakes) }
    }

    /// Writes it so that it can be read again, with its secrets.
    pub fn exposed(&self) -> Value {
        let route = self.route.exposed();
        let mut whole =
            json!({ "name": self.name, "url": self.url.to_string(), "tags": self.tags, "slots": self.slots });
        if let Some(ahead) = self.ahead {
            whole["ahead"] = json!(ahead);
        }
        if let (Some(whole), Value::Object(parts)) = (whole.as_object_mut(), route) {
            whole.extend(parts);
        }
        whole
    }
}

/// The fields that are not read yet, and what was wrong with the others.
struct Reader {
    fields: Vec<Field>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    /// Returns the line on which a field stands.
    fn line(&self, name: &str) -> Option<u64> {
        self.fields.iter().find(|field| field.name == name).and_then(|field| field.line)
    }

    /// Takes a field out and reads it; one that is null is not said.
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&Value) -> Result<T, String>) -> Option<T> {
        let place = self.fields.iter().position(|field| field.name == name)?;
        let field = self.fields.remove(place);
        if field.value.is_null() {
            return None;
        }
        read(&field.value)
            .map_err(|reason| {
                let text = format!("{name}: {reason}");
                self.mistakes.push(Mistake { field: field.name, text, line: field.line });
            })
            .ok()
    }
}

fn read_url(value: &Value) -> Result<ComfyUrl, String> {
    let text = value.as_str().ok_or("it must be a text such as http://10.0.0.7:8188")?;
    let url: ComfyUrl = text.parse().map_err(|error: crate::comfy::AddressError| error.to_string())?;
    match egress::never_called(url.url()) {
        Some(what) => Err(format!("`{url}` leads to {what}; no ComfyUI is there, so it is never called")),
        None => Ok(url),
    }
}

fn read_name(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("it must be a text such as gpu-1; write quotes around a number")?;
    let is_name = (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !matches!(text, "." | "..");
    if is_name {
        return Ok(text.to_owned());
    }
    let shown = names::shown(text);
    Err(format!(
        "`{shown}` is not 1 to {LONGEST_NAME} visible ASCII characters without spaces; write one such as gpu-1"
    ))
}

/// Reads one part of the way to a backend.
fn part(name: &str, value: &Value) -> Result<RouteOptions, String> {
    serde_json::from_value(json!({ name: value })).map_err(|error| error.to_string())
}

fn read_tags(value: &Value) -> Result<BTreeSet<String>, String> {
    let list = value.as_array().ok_or("it must be a list such as [flux, 24gb]")?;
    if list.len() > MOST_TAGS {
        return Err(format!("it has {} tags, and {MOST_TAGS} are allowed", list.len()));
    }
    list.iter().map(read_tag).collect()
}

fn read_tag(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("a tag must be a text; write quotes around a number")?;
    let is_plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "_.-".contains(letter);
    if (1..=LONGEST_TAG).contains(&text.len()) && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    let shown = names::shown(text);
    Err(format!("the tag `{shown}` is not 1 to {LONGEST_TAG} of a-z, 0-9, `_`, `.` and `-`; write one such as 24gb"))
}

fn whole(value: &Value, least: u64, most: u64) -> Result<usize, String> {
    let number = value.as_u64().filter(|number| (least..=most).contains(number));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| {
        let shown = names::shown(&value.to_string());
        format!("`{shown}` is not a whole number from {least} to {most}")
    })
}

#[cfg(test)]
mod tests;
