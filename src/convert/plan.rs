//! What the frontend makes of a class's definition: the sockets and widgets of a new node, in the order of their making.
//! Leaves to others what a file says of a node.

use super::file::{Outlet, Socket};
use super::furnish::{add, is_seed};
use super::value::{is_something, spelled};
use super::widget::{Face, Treatment, Upload, Widget};
use crate::definitions::{InputDefinition, InputKind, NodeDefinition, Presence};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// A new node of a class.
pub(super) struct Plan {
    pub(super) title: String,
    pub(super) sockets: Vec<Socket>,
    pub(super) outlets: Vec<Outlet>,
    pub(super) widgets: Vec<Widget>,
    /// For each input that had a widget once, in the definition's order: whether it has none any more, and how many values
    /// it had.
    pub(super) once: Vec<(bool, usize)>,
}

/// Types of inputs that the frontend has widgets for, other than those of its extensions.
const WIDGETS: &[&str] = &[
    "INT",
    "FLOAT",
    "BOOLEAN",
    "STRING",
    "MARKDOWN",
    "COMBO",
    "IMAGEUPLOAD",
    "FILEUPLOAD",
    "COLOR",
    "IMAGECOMPARE",
    "TREESELECT",
    "MULTISELECT",
    "CHART",
    "GALLERIA",
    "SELECTBUTTON",
    "TEXTAREA",
];

/// Types of inputs that the extensions of the frontend have widgets for.
const EXTENSION_WIDGETS: &[&str] = &[
    "AUDIO_UI",
    "AUDIOUPLOAD",
    "AUDIO_RECORD",
    "WEBCAM",
    "LOAD_3D",
    "LOAD_3D_ANIMATION",
    "PREVIEW_3D",
    "PREVIEW_3D_ANIMATION",
];

/// Classes whose file name may refer to other nodes.
pub(super) const SAVERS: &[&str] = &[
    "SaveImage",
    "SaveAnimatedWEBP",
    "SaveWEBM",
    "SaveAudio",
    "SaveGLB",
    "SaveAnimatedPNG",
    "CLIPSave",
    "VAESave",
    "ModelSave",
    "LoraSave",
    "SaveLatent",
];

/// Classes whose nodes play their audio.
const PLAYERS: &[&str] = &["LoadAudio", "SaveAudio", "PreviewAudio", "SaveAudioMP3", "SaveAudioOpus"];

/// Titles that the frontend has for classes for which the server has none.
const TITLES: &[(&str, &str)] = &[
    ("ImageBlend", "Image Blend"),
    ("ImageBlur", "Image Blur"),
    ("ImageQuantize", "Image Quantize"),
    ("ImageScaleToTotalPixels", "Scale Image to Total Pixels"),
    ("ImageSharpen", "Image Sharpen"),
];

/// One input as the frontend takes it from the definition, or adds it itself.
struct Spec<'a> {
    name: &'a str,
    kind: &'a str,
    widget_kind: &'a str,
    choices: &'a [Value],
    options: &'a Map<String, Value>,
    forced: bool,
    presence: Presence,
}

/// Says whether the frontend has a widget for inputs of this type of its own.
pub(super) fn is_basic(kind: &str) -> bool {
    WIDGETS.contains(&kind)
}

/// Says whether the frontend has a widget for inputs of this type.
pub(super) fn is_widget(kind: &str) -> bool {
    is_basic(kind) || EXTENSION_WIDGETS.contains(&kind)
}

/// Says whether nodes of a class have parts that only a page can show: players, viewers, cameras.
pub(super) fn has_parts_of_the_page(class: &NodeDefinition) -> bool {
    let adds = |spec: &Spec<'_>| EXTENSION_WIDGETS.contains(&spec.widget_kind);
    specs(class).iter().any(adds)
}

/// Plans the nodes of a class.
pub(super) fn plan(class: &NodeDefinition) -> Plan {
    let specs = specs(class);
    let mut sockets = Vec::new();
    for spec in specs.iter().filter(|spec| !spec.has_widget()) {
        sockets.push(socket(spec, None));
    }
    let mut widgets: Vec<Widget> = Vec::new();
    for spec in specs.iter().filter(|spec| spec.has_widget()) {
        if spec.widget_kind == "IMAGEUPLOAD" {
            become_upload(class, &mut widgets);
        }
        add(&mut widgets, spec.name, spec.widget_kind, spec.choices, spec.options);
        sockets.push(socket(spec, Some(spec.name.to_owned())));
    }
    if class.class == "PreviewAny" {
        widgets.push(Widget { saved: false, ..Widget::new("preview", Face::Area, Some(json!(""))) });
    }
    if class.class == "WebcamCapture" {
        widgets.push(Widget::unsent("waiting for camera...", "capture"));
    }
    if SAVERS.contains(&class.class.as_str())
        && let Some(prefix) = widgets.iter_mut().find(|widget| widget.name == "filename_prefix")
    {
        prefix.treatment = Treatment::References;
    }
    let once = once(&specs, &widgets);
    let outlets = class.outputs.iter();
    Plan {
        title: title(class),
        sockets,
        outlets: outlets.map(|output| Outlet { kind: output.type_name.clone(), links: Vec::new() }).collect(),
        widgets,
        once,
    }
}

fn title(class: &NodeDefinition) -> String {
    if !class.display_name.is_empty() && class.display_name != class.class {
        return class.display_name.clone();
    }
    let known = TITLES.iter().find(|(name, _)| *name == class.class);
    known.map_or_else(|| class.class.clone(), |(_, title)| (*title).to_owned())
}

fn specs(class: &NodeDefinition) -> Vec<Spec<'_>> {
    let mut specs: Vec<Spec<'_>> = class.visible().map(Spec::of).collect();
    if let Some(upload) = uploaded(class) {
        extend(&mut specs, "upload", "IMAGEUPLOAD", &upload.options);
    }
    if PLAYERS.contains(&class.class.as_str()) {
        extend(&mut specs, "audioUI", "AUDIO_UI", &NO_OPTIONS);
    }
    let audio = class.input("audio").filter(|audio| audio.presence == Presence::Required);
    if audio.is_some_and(|audio| audio.is("audio_upload")) {
        extend(&mut specs, "upload", "AUDIOUPLOAD", &NO_OPTIONS);
    }
    match class.class.as_str() {
        "SaveGLB" | "Preview3D" => extend(&mut specs, "image", "PREVIEW_3D", &NO_OPTIONS),
        "Preview3DAnimation" => extend(&mut specs, "image", "PREVIEW_3D_ANIMATION", &NO_OPTIONS),
        _ => {}
    }
    specs
}

static NO_OPTIONS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Adds an input behind all others, or puts it in the place of a required one of that name.
fn extend<'a>(specs: &mut Vec<Spec<'a>>, name: &'a str, kind: &'a str, options: &'a Map<String, Value>) {
    let presence = Presence::Required;
    let added = Spec { name, kind, widget_kind: kind, choices: &[], options, forced: false, presence };
    match specs.iter_mut().find(|spec| spec.name == name && spec.presence == Presence::Required) {
        Some(spec) => *spec = added,
        None => specs.push(added),
    }
}

/// Finds the input whose file can be uploaded.
pub(super) fn uploaded(class: &NodeDefinition) -> Option<&InputDefinition> {
    let mut required = class.visible().filter(|input| input.presence == Presence::Required);
    required.find(|input| {
        let is_combo = matches!(input.kind, InputKind::Combo(_));
        is_combo && ["image_upload", "video_upload", "animated_image_upload"].iter().any(|option| input.is(option))
    })
}

/// From the making of the upload button on, the list of files gives names of files.
fn become_upload(class: &NodeDefinition, widgets: &mut [Widget]) {
    let Some(input) = uploaded(class) else { return };
    let Some(list) = widgets.iter_mut().find(|widget| widget.name == input.name) else { return };
    let first = list.value.as_deref().map_or_else(|| "undefined".to_owned(), spelled);
    let folder = input.options.get("image_folder").map(spelled).filter(|folder| folder != "input");
    let many = input.options.get("allow_batch").is_some_and(is_something);
    list.value = Some(Arc::new(Value::from(first.clone())));
    list.face = Face::Upload(Upload { first, many, folder });
}

impl<'a> Spec<'a> {
    fn of(input: &'a InputDefinition) -> Self {
        let on = |option: &str| input.options.get(option).is_some_and(is_something);
        let kind = input.type_name();
        Self {
            name: &input.name,
            kind,
            widget_kind: input.options.get("widgetType").and_then(Value::as_str).unwrap_or(kind),
            choices: if let InputKind::Combo(choices) = &input.kind { choices } else { &[] },
            options: &input.options,
            forced: on("forceInput") || (input.presence == Presence::Optional && on("defaultInput")),
            presence: input.presence,
        }
    }

    fn has_widget(&self) -> bool {
        !self.forced && is_widget(self.widget_kind)
    }
}

fn socket(spec: &Spec<'_>, widget: Option<String>) -> Socket {
    Socket { name: spec.name.to_owned(), kind: spec.kind.to_owned(), link: None, widget }
}

/// Counts the values that a node of this class had when inputs without a widget still had one.
fn once(specs: &[Spec<'_>], widgets: &[Widget]) -> Vec<(bool, usize)> {
    let in_definition = |presence: Presence| specs.iter().filter(move |spec| spec.presence == presence);
    let specs = in_definition(Presence::Required).chain(in_definition(Presence::Optional));
    specs
        .filter(|spec| spec.forced || widgets.iter().any(|widget| widget.name == spec.name))
        .map(|spec| {
            let controlled = spec.options.get("control_after_generate").is_some_and(is_something);
            (spec.forced, if controlled || is_seed(spec.name) { 2 } else { 1 })
        })
        .collect()
}
