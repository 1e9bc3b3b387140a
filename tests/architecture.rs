//! Which room may import which, and what a pure room may not mention. A new arrow is a line here that somebody reviews.

#![expect(clippy::unwrap_used, reason = "this whole program is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every room may import these.
const FLOOR: &[&str] = &[
    "clock",
    "crash",
    "hex",
    "job",
    "lenient",
    "lifecycle",
    "metrics",
    "names",
    "secret",
    "settings",
    "telemetry",
    "vault",
];

/// What a room may import besides. Arrows go down the list: nothing below imports what is above it.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "access",
            "api",
            "app",
            "check",
            "comfy",
            "convert",
            "definitions",
            "demo",
            "fsck",
            "graph",
            "inventory",
            "local",
            "pool",
            "runner",
            "signing",
            "sim",
            "store",
            "workflow",
        ],
    ),
    ("demo", &["app", "signing", "sim", "store", "workflow"]),
    ("runner", &["app", "check", "convert", "definitions", "graph", "inputs", "intake", "local", "store", "workflow"]),
    (
        "app",
        &[
            "access",
            "api",
            "clearing",
            "comfy",
            "dispatch",
            "egress",
            "health",
            "inputs",
            "intake",
            "inventory",
            "local",
            "media",
            "notifier",
            "pool",
            "relay",
            "remote",
            "signing",
            "store",
            "throttle",
            "tracker",
            "vitals",
            "workflow",
        ],
    ),
    (
        "api",
        &[
            "access",
            "check",
            "comfy",
            "convert",
            "dashboard",
            "definitions",
            "dispatch",
            "graph",
            "health",
            "inputs",
            "intake",
            "inventory",
            "local",
            "media",
            "notifier",
            "pool",
            "relay",
            "remote",
            "signing",
            "store",
            "throttle",
            "vitals",
            "workflow",
        ],
    ),
    ("dashboard", &[]),
    ("remote", &["comfy", "egress", "graph", "intake", "pool", "relay", "store", "workflow"]),
    ("access", &["store"]),
    ("clearing", &["media", "store"]),
    ("fsck", &["media", "store"]),
    ("intake", &["inputs", "pool", "store", "workflow"]),
    ("throttle", &["store"]),
    ("dispatch", &["comfy", "definitions", "graph", "inputs", "inventory", "pool", "store", "tracker", "workflow"]),
    ("pool", &["comfy", "egress", "health", "store", "tracker", "vitals"]),
    ("health", &["comfy", "tracker"]),
    ("vitals", &["comfy", "tracker"]),
    ("inputs", &["comfy", "egress", "graph", "media", "store", "workflow"]),
    ("tracker", &["comfy", "media", "store"]),
    ("notifier", &["egress", "signing", "store"]),
    ("signing", &["store"]),
    ("local", &["comfy"]),
    ("media", &["comfy"]),
    ("inventory", &["comfy", "definitions"]),
    ("relay", &[]),
    ("comfy", &[]),
    ("egress", &[]),
    ("workflow", &["convert", "definitions", "graph"]),
    ("check", &["definitions", "graph"]),
    ("convert", &["definitions", "graph"]),
    ("graph", &["definitions"]),
    ("definitions", &[]),
    ("store", &[]),
    ("sim", &[]),
];

/// Files that decide and do not act: no waiting, no clock, no log, no chance, no input or output.
const PURE: &[&str] = &[
    "access/session.rs",
    "access/token.rs",
    "check/class.rs",
    "check/link.rs",
    "check/mod.rs",
    "check/model.rs",
    "check/need.rs",
    "check/node.rs",
    "check/problem.rs",
    "check/value.rs",
    "comfy/decode.rs",
    "comfy/event.rs",
    "comfy/redact.rs",
    "comfy/refusal.rs",
    "comfy/wire.rs",
    "comfy/wire/stats.rs",
    "inventory/merge.rs",
    "convert/error.rs",
    "convert/file.rs",
    "convert/furnish.rs",
    "convert/load.rs",
    "convert/mod.rs",
    "convert/order.rs",
    "convert/plan.rs",
    "convert/primitive.rs",
    "convert/prompt.rs",
    "convert/read.rs",
    "convert/reroute.rs",
    "convert/resolve.rs",
    "convert/scene.rs",
    "convert/settle.rs",
    "convert/subgraph.rs",
    "convert/text.rs",
    "convert/value.rs",
    "convert/widget.rs",
    "dispatch/breaker.rs",
    "dispatch/fitness/known.rs",
    "dispatch/fitness/needs.rs",
    "dispatch/fitness/refusing.rs",
    "cli/listen/words.rs",
    "definitions/input.rs",
    "definitions/node.rs",
    "definitions/read.rs",
    "dispatch/choice.rs",
    "dispatch/choice/merit.rs",
    "dispatch/ledger.rs",
    "dispatch/room.rs",
    "dispatch/room/class.rs",
    "dispatch/room/queue.rs",
    "egress/address.rs",
    "egress/refusal.rs",
    "egress/rules.rs",
    "health/sight.rs",
    "health/state.rs",
    "graph/api.rs",
    "graph/builder.rs",
    "graph/bypass.rs",
    "graph/error.rs",
    "graph/fault.rs",
    "graph/hash.rs",
    "graph/links.rs",
    "graph/node.rs",
    "graph/output.rs",
    "graph/path.rs",
    "graph/workflow.rs",
    "graph/workflow/seeds.rs",
    "job/announcement.rs",
    "job/estimate.rs",
    "job/failure.rs",
    "job/key.rs",
    "inputs/kind.rs",
    "inputs/source.rs",
    "job/frozen.rs",
    "job/input.rs",
    "job/link.rs",
    "job/output.rs",
    "job/payload.rs",
    "job/profile.rs",
    "job/request.rs",
    "job/state.rs",
    "job/tap.rs",
    "job/tenant.rs",
    "job/turns.rs",
    "job/wish.rs",
    "lenient.rs",
    "lenient/pruned.rs",
    "media/convert.rs",
    "media/shrink.rs",
    "media/strip.rs",
    "media/strip/exif.rs",
    "media/strip/flac.rs",
    "media/strip/jpeg.rs",
    "media/strip/matroska.rs",
    "media/strip/mp3.rs",
    "media/strip/mp4.rs",
    "media/strip/ogg.rs",
    "media/strip/png.rs",
    "media/strip/walk.rs",
    "media/strip/webp.rs",
    "media/treatment.rs",
    "notifier/announcing.rs",
    "notifier/announcing/ended.rs",
    "notifier/schedule.rs",
    "pool/estimates.rs",
    "pool/eta.rs",
    "pool/weights.rs",
    "remote/edit.rs",
    "remote/session.rs",
    "runner/answers.rs",
    "runner/checking.rs",
    "runner/error.rs",
    "runner/frames.rs",
    "runner/human.rs",
    "runner/making.rs",
    "runner/plan.rs",
    "runner/prompts.rs",
    "runner/told.rs",
    "runner/value.rs",
    "signing/destination.rs",
    "signing/secret.rs",
    "signing/verify.rs",
    "store/summary.rs",
    "sim/engine.rs",
    "sim/validate.rs",
    "throttle/refusal.rs",
    "tracker/attribution.rs",
    "tracker/evidence.rs",
    "tracker/harvest.rs",
    "tracker/harvest/advance.rs",
    "tracker/harvest/shortfall.rs",
    "tracker/machine.rs",
    "tracker/machine/ends.rs",
    "tracker/machine/looked_up.rs",
    "tracker/machine/step.rs",
    "tracker/machine/stopwatch.rs",
    "tracker/machine/talk.rs",
    "names.rs",
    "vitals/read.rs",
    "workflow/build.rs",
    "workflow/naming.rs",
    "workflow/resolve.rs",
    "workflow/sections.rs",
    "workflow/told.rs",
];

/// What a pure file may not mention.
const IMPURE: &[&str] = &[
    "tokio", "actix", "reqwest", "rusqlite", "tracing", "std::fs", "std::net", "async ", ".await", "spawn", "sleep",
    "now()", "rand::", "println",
];

#[test]
fn imports_run_one_way() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let rank: BTreeMap<&str, usize> = ARROWS.iter().enumerate().map(|(place, (room, _))| (*room, place)).collect();
    let mut used = BTreeSet::new();
    for (path, text) in sources() {
        let room = room_of(&path);
        for other in imports(&room, &text) {
            if other == room || FLOOR.contains(&other.as_str()) || room == "lib" {
                continue;
            }
            assert!(!FLOOR.contains(&room.as_str()), "{}: the floor imports `{other}`", path.display());
            let allowed = arrows.get(room.as_str()).unwrap_or_else(|| panic!("`{room}` is not in the table"));
            assert!(allowed.contains(&other.as_str()), "{}: `{room}` may not import `{other}`", path.display());
            let goes_up = rank.get(other.as_str()).is_some_and(|other| *other < rank[room.as_str()]);
            assert!(!goes_up, "{}: `{room}` imports `{other}`, against the stream", path.display());
            used.insert((room.clone(), other));
        }
    }
    for (room, others) in ARROWS {
        for other in *others {
            assert!(
                used.contains(&((*room).to_owned(), (*other).to_owned())),
                "nobody uses the arrow {room} -> {other}"
            );
        }
    }
}

#[test]
fn every_room_is_in_the_table() {
    let known: BTreeSet<&str> = FLOOR.iter().chain(ARROWS.iter().map(|(room, _)| room)).copied().collect();
    for (path, _) in sources() {
        let room = room_of(&path);
        assert!(known.contains(room.as_str()) || room == "lib", "`{room}` is not in the table");
    }
}

#[test]
fn deciders_do_not_act() {
    for name in PURE {
        let path = src().join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line_of_code = line.split("//").next().unwrap();
            for word in IMPURE {
                assert!(!line_of_code.contains(word), "{name}:{}: a decider mentions `{word}`: {line}", number + 1);
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not begin with what it is for", path.display());
    }
}

#[test]
fn only_the_lifecycle_spawns_and_only_the_clock_knows_the_time() {
    for (path, text) in sources() {
        let name = path.strip_prefix(src()).unwrap().to_str().unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let forbidden: &[(&str, &str)] =
            &[("tokio::spawn(", "lifecycle.rs"), ("SystemTime::now", "clock.rs"), ("Instant::now", "clock.rs")];
        for (word, home) in forbidden {
            assert!(!code.contains(word) || name == *home, "{name} mentions {word}, which belongs into {home}");
        }
    }
}

#[test]
fn keys_are_compared_in_constant_time_and_nowhere_else() {
    let secret = fs::read_to_string(src().join("secret.rs")).unwrap();
    let code = secret.split("#[cfg(test)]").next().unwrap();
    assert_eq!(code.matches("ct_eq").count(), 1, "there is one comparison of hashes");
    let (_, rest) = code.split_once("pub struct SecretHash").unwrap();
    assert!(!rest.contains("PartialEq") && code.contains("#[derive(Clone, Copy)]\npub struct SecretHash"));
    for (path, text) in sources() {
        let name = path.strip_prefix(src()).unwrap().to_str().unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let compared =
            [".bytes() ==", ".bytes() !=", "expose() ==", "expose() !=", "hash ==", "hash !=", "shown ==", "shown !="];
        let is_key_code = name.starts_with("access/") || name.starts_with("api/") || name == "store/sqlite/keys.rs";
        for word in compared {
            assert!(!is_key_code || !code.contains(word), "{name} compares with `{word}`");
        }
        // By its hash a key is found in no index: that would be a comparison too.
        let is_looked_up = code.contains("api_key") && (code.contains("WHERE sha256") || code.contains("AND sha256"));
        assert!(!is_looked_up, "{name} looks a key up by its hash");
    }
    let keys = fs::read_to_string(src().join("access/keys.rs")).unwrap();
    assert!(keys.contains(".matches(hash)") && keys.contains(".matches(&hash)"));
}

#[test]
fn every_route_is_a_line_of_the_route_table() {
    for (path, text) in sources() {
        let name = path.strip_prefix(src()).unwrap().to_str().unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        if !name.starts_with("api/") && name != "app.rs" {
            continue;
        }
        for word in [".service(", ".route(", "web::resource(", "web::scope(", "web::get(", "web::post("] {
            assert!(name == "api/routing.rs" || !code.contains(word), "{name} serves something by itself: `{word}`");
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path, text));
            }
        }
    }
    assert!(sources.len() > 50, "only {} files found", sources.len());
    sources
}

fn room_of(path: &Path) -> String {
    let first = path.strip_prefix(src()).unwrap().components().next().unwrap();
    let name = first.as_os_str().to_str().unwrap();
    name.strip_suffix(".rs").unwrap_or(name).to_owned()
}

/// Finds every room that a file names by `crate::` or, in the binary, by `comfygate::`.
fn imports(room: &str, text: &str) -> BTreeSet<String> {
    let prefix = if room == "main" { "comfygate::" } else { "crate::" };
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut rooms = BTreeSet::new();
    for rest in code.split(prefix).skip(1) {
        let is_room = |character: &char| character.is_ascii_lowercase() || *character == '_';
        let name: String = rest.chars().take_while(is_room).collect();
        if !name.is_empty() {
            rooms.insert(name);
        }
        // `use crate::{a::B, c::D}`
        if let Some(group) = rest.strip_prefix('{') {
            let inner = group.split(';').next().unwrap();
            rooms.extend(inner.split(',').filter_map(|part| part.trim().split("::").next()).map(str::to_owned));
        }
    }
    rooms
}
