//! The guide in `docs/WORKFLOWS.md` says what is so: its examples load, its tables are complete.

use super::resolved;
use comfygate::workflow::{Files, Kind, Pair, shipped};
use serde_json::json;

const GUIDE: &str = include_str!("../../docs/WORKFLOWS.md");

#[test]
fn the_examples_of_the_guide_work() {
    let template = &blocks("json")[0];
    let configs = blocks("yaml");
    assert_eq!(configs.len(), 3);
    let read = |config: &str| Pair::parse("paper", config, template, &Files::of("paper")).unwrap();
    let given = json!({"color": 16_711_680, "width": 640, "height": 400, "image_count": 2});
    assert_eq!(resolved(&read(&configs[0]), given).unwrap().expected_images, Some(2));
    let full = read(&configs[1]);
    assert_eq!(full.parameters().count(), 5);
    assert_eq!(full.parameter("side").unwrap().targets.len(), 2);
    assert_eq!((full.timeouts().run_ms, full.required_tags().len()), (Some(600_000), 1));
    let graph = json!({
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": "x" }, "_meta": { "title": "Prompt" } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "" } },
        "10": { "class_type": "LoadImage", "inputs": { "image": "x.png" } },
    });
    let sections = Pair::parse("paper", &configs[2], &graph.to_string(), &Files::of("paper")).unwrap();
    assert_eq!(sections.sections().names().collect::<Vec<_>>(), ["img2img", "text_to_image"]);
    assert!(sections.sections().find("img2img", "photo").is_some() && sections.parameters().count() == 1);
}

#[test]
fn the_guide_lists_every_type_every_code_and_every_shipped_parameter() {
    let kinds = [Kind::Text, Kind::Filename, Kind::Image, Kind::Integer, Kind::Seed, Kind::Number, Kind::Boolean];
    for kind in kinds {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        assert!(GUIDE.contains(&format!("\n| `{}` | ", kind.as_str())), "{kind:?}");
    }
    for pair in shipped::PAIRS {
        let row = GUIDE.lines().find(|line| line.starts_with(&format!("| `{}` |", pair.name))).unwrap();
        let workflow = Pair::parse(pair.name, pair.config, pair.template, &Files::of(pair.name)).unwrap();
        for parameter in workflow.parameters() {
            assert!(row.contains(&format!("`{}`", parameter.name)), "{}: {}", pair.name, parameter.name);
        }
    }
}

/// Returns the blocks of code in a language, without what they are indented by.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.strip_suffix(&format!("```{language}")) else { continue };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        blocks.push(block.flat_map(|line| [line.strip_prefix(indent).unwrap_or(line), "\n"]).collect());
    }
    blocks
}
