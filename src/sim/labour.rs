//! What a node does while it runs: it takes its time, ticks, raises, and makes images.

use std::time::Duration;

use bytes::Bytes;

use super::files::Place;
use super::frames;
use super::graph::Node;
use super::json::Json;
use super::mosaic;
use super::nodes::{self, Essence, Product};
use super::picture::{self, Extras, Scene};
use super::run::{Run, Stop};
use super::script::Fault;
use super::voice::To;
use super::world::World;

/// Larger images are drawn on a thread of their own.
const LARGE: u64 = 128 * 128;

const OUT_OF_MEMORY: &str = "Allocation on device 0 would exceed allowed memory. (out of memory)\n\
    This error means you ran out of memory on your GPU.\n\n\
    TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number.";

/// One node's work.
pub(super) struct Work<'a> {
    pub(super) node: &'a Node,
    pub(super) essence: &'a Essence,
}

/// Lets a node work, and returns its UI output if it has one.
pub(super) async fn work(run: &mut Run, work: &Work<'_>) -> Result<Option<Json>, Stop> {
    strike(run, work.node)?;
    take_time(run, work).await?;
    let is_output = run.world.classes.is_output(&work.node.class);
    let output = match nodes::product(&work.node.class, is_output) {
        Product::Nothing => None,
        Product::SavedImages => Some(save(run, work, "output").await?),
        Product::TemporaryImages => Some(save(run, work, "temp").await?),
        Product::SocketImages => {
            send(run, work).await;
            None
        }
        Product::Text => {
            let text = work.essence.value.as_ref().map_or_else(|| "done".to_owned(), Json::python_str);
            Some(Json::object([("text", Json::List(vec![text.into()]))]))
        }
    };
    Ok(output.map(|mut output| {
        if run.voice.suffers(&Fault::NanInOutputs) {
            output.set("score", Json::List(vec![Json::float(f64::NAN), Json::float(f64::INFINITY)]));
        }
        output
    }))
}

/// Returns what `execution_error` says about an exception besides the node.
pub(super) fn exception(run: &Run, node: &Node, executed: &[String], stop: (&str, &str)) -> Vec<(&'static str, Json)> {
    let (message, kind) = stop;
    let definition = run.world.classes.definition(&node.class);
    let hidden = definition.and_then(|definition| definition.get("input")?.get("hidden")).map_or(&[][..], Json::fields);
    let hidden = hidden.iter().map(|(name, _)| {
        let value = match name.as_str() {
            "prompt" => run.item.graph.python_str().into(),
            name => run.item.extra_data.get(name).cloned().unwrap_or_default(),
        };
        (name.clone(), Json::List(vec![value]))
    });
    let inputs = node.inputs.iter().map(|(name, value)| {
        let shown =
            if value.items().is_empty() { value.clone() } else { "tensor([[[[0.3922, 0.8706, 0.1176]]]])".into() };
        (name.clone(), Json::List(vec![shown]))
    });
    let line = |(number, function)| {
        Json::from(format!("  File \"ComfyUI/execution.py\", line {number}, in {function}\n    (simulated)\n"))
    };
    let traceback =
        [(496, "execute"), (315, "get_output_data"), (289, "_async_map_node_over_list"), (277, "process_inputs")];
    let outputs = executed.iter().chain(std::iter::once(&node.id));
    vec![
        ("exception_message", message.into()),
        ("exception_type", kind.into()),
        ("traceback", Json::List(traceback.into_iter().map(line).collect())),
        ("current_inputs", Json::Object(inputs.chain(hidden).collect())),
        ("current_outputs", Json::texts(outputs)),
    ]
}

/// Raises what a fault or an interrupt wants the node to raise.
fn strike(run: &Run, node: &Node) -> Result<(), Stop> {
    let is_meant = |wanted: &String| *wanted == node.id || *wanted == node.class;
    for fault in &run.voice.faults {
        if let Fault::Interrupt { node } = fault
            && is_meant(node)
        {
            return Err(Stop::Interrupted);
        }
        if let Fault::FailNode { node, message, exception_type } = fault
            && is_meant(node)
        {
            return Err(Stop::Raised { message: format!("{message}\n"), kind: exception_type.clone() });
        }
        if let Fault::OutOfMemory { node } = fault
            && is_meant(node)
        {
            let message = OUT_OF_MEMORY.to_owned();
            return Err(Stop::Raised { message, kind: "torch.OutOfMemoryError".to_owned() });
        }
    }
    if is_interrupted(run) { Err(Stop::Interrupted) } else { Ok(()) }
}

async fn take_time(run: &mut Run, work: &Work<'_>) -> Result<(), Stop> {
    let effort = nodes::effort(work.node, work.essence, run.world.previews);
    let ticks = effort.ticks;
    if ticks == 0 {
        // A node without a progress bar never looks at the interrupt flag.
        pause(effort.milliseconds.map_or(run.world.step, Duration::from_millis)).await;
        return Ok(());
    }
    let each = effort.milliseconds.map_or(run.world.step, |all| Duration::from_millis(all) / ticks);
    for tick in 1..=ticks {
        if is_interrupted_during(run, each).await {
            return Err(Stop::Interrupted);
        }
        let preview = if effort.previews { Some(preview(run, work, tick, ticks)) } else { None };
        report(run, work, (tick, ticks), "preview", preview).await;
    }
    Ok(())
}

/// Says a step of a progress bar, with the image that belongs to it on the side where ComfyUI puts it.
async fn report(run: &mut Run, work: &Work<'_>, (value, max): (u32, u32), kind: &str, image: Option<Bytes>) {
    let node = &work.node.id;
    run.progress.tick(node, value, max);
    run.tell_progress().await;
    let is_described = run.voice.describes_images();
    if let Some(image) = image.as_ref().filter(|_| is_described) {
        run.voice.show(kind, node, image).await;
    }
    let frame = frames::progress(&run.item.prompt, node, value, max);
    run.voice.say(To::Spectators, "progress", &frame).await;
    if let Some(image) = image.as_ref().filter(|_| !is_described) {
        run.voice.show(kind, node, image).await;
    }
}

fn preview(run: &Run, work: &Work<'_>, tick: u32, ticks: u32) -> Bytes {
    Bytes::from(mosaic::jpeg(&scene(run, work, 0), tick, ticks))
}

async fn send(run: &mut Run, work: &Work<'_>) {
    let count = work.essence.images();
    for index in 0..count {
        let bytes = image(run, work, index, Vec::new()).await;
        run.world.change(|state| state.note_image(&run.item.prompt, &work.node.id, index, bytes.clone()));
        report(run, work, (index, count), "image", Some(bytes)).await;
    }
    run.progress.tick(&work.node.id, count, count);
}

async fn save(run: &mut Run, work: &Work<'_>, folder: &str) -> Result<Json, Stop> {
    let prefix = if folder == "temp" {
        format!("ComfyUI_temp_{}", letters(picture::hash_of(&run.item.prompt)))
    } else {
        let written = work.node.input("filename_prefix").map_or_else(|| "ComfyUI".to_owned(), Json::python_str);
        expanded(&written, &run.world.clock_text(), work.essence)
    };
    if prefix.starts_with('/') || prefix.split('/').any(|part| part == "..") {
        let message = "**** ERROR: Saving image outside the output folder is not allowed.\n";
        return Err(Stop::Raised { message: message.to_owned(), kind: "Exception".to_owned() });
    }
    let mut texts = vec![("prompt".to_owned(), run.item.graph.to_string())];
    let extra = run.item.extra_data.get("extra_pnginfo").map_or(&[][..], Json::fields);
    texts.extend(extra.iter().map(|(key, value)| (key.clone(), value.to_string())));
    let mut images = Vec::new();
    for index in 0..work.essence.images() {
        let bytes = image(run, work, index, texts.clone()).await;
        let now = crate::clock::Clock::now(run.world.clock.as_ref());
        let is_kept = !run.voice.suffers(&Fault::MissingFiles);
        let Place { folder, subfolder, name } = run.world.change(|state| {
            let place = state.files.next_place(folder, &prefix);
            state.note_image(&run.item.prompt, &work.node.id, index, bytes.clone());
            if is_kept {
                state.files.put(place.clone(), bytes, now);
            }
            place
        });
        images.push(Json::object([
            ("filename", name.into()),
            ("subfolder", subfolder.into()),
            ("type", folder.into()),
        ]));
    }
    Ok(Json::object([("images", Json::List(images))]))
}

async fn image(run: &Run, work: &Work<'_>, index: u32, texts: Vec<(String, String)>) -> Bytes {
    let scene = scene(run, work, index);
    let size = |fault: &Fault| if let Fault::OversizeFrame(size) = fault { Some(*size) } else { None };
    let oversize = run.voice.faults.iter().find_map(size);
    let extras = Extras { texts, noise: oversize.unwrap_or(run.world.noise_image_bytes) };
    let is_large = u64::from(scene.width) * u64::from(scene.height) > LARGE;
    let draw = move || picture::png(&scene, &extras);
    let mut bytes = if is_large { tokio::task::spawn_blocking(draw).await.unwrap_or_default() } else { draw() };
    if run.voice.suffers(&Fault::TruncatedImages) {
        bytes.truncate(bytes.len() / 2);
    }
    Bytes::from(bytes)
}

fn scene(run: &Run, work: &Work<'_>, index: u32) -> Scene {
    let (essence, index) = work.essence.part(index);
    let has_noise = run.world.noise_image_bytes > 0;
    let caption = essence.caption.clone().or_else(|| nodes::loose_caption(&run.graph));
    Scene {
        caption: caption.unwrap_or_default(),
        seed: essence.seed.unwrap_or(0).wrapping_add(u64::from(index)),
        plain: essence.color.or(if has_noise { Some(0x0040_6080) } else { None }),
        inverted: essence.inverted,
        width: essence.width.unwrap_or(512).max(1),
        height: essence.height.unwrap_or(512).max(1),
    }
}

fn is_interrupted(run: &Run) -> bool {
    !run.voice.suffers(&Fault::IgnoreInterrupts) && run.world.look(|state| state.engine.interrupted)
}

async fn is_interrupted_during(run: &Run, time: Duration) -> bool {
    let mut changes = run.world.changes();
    let mut pause = std::pin::pin!(pause(time));
    loop {
        if is_interrupted(run) {
            return true;
        }
        tokio::select! {
            () = &mut pause => return is_interrupted(run),
            _ = changes.changed() => {}
        }
    }
}

async fn pause(time: Duration) {
    if time.is_zero() {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(time).await;
    }
}

/// Replaces the placeholders that ComfyUI knows in a file name prefix; `now` is RFC 3339.
fn expanded(prefix: &str, now: &str, essence: &Essence) -> String {
    let digits = |from: usize, count: usize| now.chars().skip(from).take(count).collect::<String>();
    let size = |size: Option<u32>| size.unwrap_or(512).to_string();
    [
        ("%width%", size(essence.width)),
        ("%height%", size(essence.height)),
        ("%year%", digits(0, 4)),
        ("%month%", digits(5, 2)),
        ("%day%", digits(8, 2)),
        ("%hour%", digits(11, 2)),
        ("%minute%", digits(14, 2)),
        ("%second%", digits(17, 2)),
    ]
    .iter()
    .fold(prefix.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn letters(seed: u64) -> String {
    let mut rest = seed;
    let mut next = || {
        let letter = u8::try_from(rest % 26).unwrap_or(0);
        rest /= 26;
        char::from(b'a' + letter)
    };
    std::iter::repeat_with(&mut next).take(5).collect()
}

impl World {
    fn clock_text(&self) -> String {
        crate::clock::Clock::now(self.clock.as_ref()).rfc3339()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_hold_the_date_and_the_size() {
        let essence = Essence { width: Some(64), ..Essence::default() };
        let expanded = expanded("x/%year%-%month%/%width%x%height%", "2026-11-21T02:57:24.921Z", &essence);
        assert_eq!(expanded, "x/2026-11/64x512");
    }
}
