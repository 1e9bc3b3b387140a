//! What the demo writes: requests, progress bars, webhooks, and how to go on.

use super::inbox::Webhook;
use serde_json::{Value, json};
use std::io::{IsTerminal, Stdout, Write, stdout};
use std::path::PathBuf;

/// How many characters a progress bar is long.
const BAR: u32 = 24;

/// Writes to stdout; progress bars only where somebody is looking.
pub(super) struct Screen {
    out: Stdout,
    is_terminal: bool,
    bar_lines: usize,
    last: String,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { out: stdout(), is_terminal: stdout().is_terminal(), bar_lines: 0, last: String::new() }
    }

    pub(super) fn say(&mut self, line: &str) -> std::io::Result<()> {
        self.clear_bars()?;
        writeln!(self.out, "{line}")
    }

    pub(super) fn posted(&mut self, title: &str, body: &Value, status: u16, id: &str) -> std::io::Result<()> {
        let mut shown = body.clone();
        shown["webhook_url"] = json!("...");
        self.say("")?;
        self.say(&format!("POST /generate          {title}"))?;
        self.say(&format!("  {shown}"))?;
        self.say(&format!("  -> {status} prompt_id {id}"))
    }

    /// Draws a bar for each job; where nobody looks, a line whenever something has changed.
    pub(super) fn progress(&mut self, jobs: &[(&str, String, f64)]) -> std::io::Result<()> {
        let lines: Vec<String> = jobs.iter().map(|(title, status, fraction)| bar(title, status, *fraction)).collect();
        if self.is_terminal {
            self.clear_bars()?;
            for line in &lines {
                writeln!(self.out, "{line}")?;
            }
            self.bar_lines = lines.len();
            return self.out.flush();
        }
        let running = jobs.iter().find(|(_, status, _)| status == "running");
        let Some((title, status, fraction)) = running else { return Ok(()) };
        let line = bar(title, status, (fraction * 4.0).floor() / 4.0);
        if line != self.last {
            writeln!(self.out, "{line}")?;
            self.last = line;
        }
        Ok(())
    }

    pub(super) fn arrived(&mut self, title: &str, webhook: &Webhook, saved: &[PathBuf]) -> std::io::Result<()> {
        self.say("")?;
        self.say(&format!("webhook {}  {} bytes  {title}", webhook.id, webhook.raw.len()))?;
        self.say("  its signature is good: it comes from this gateway, and nothing was changed")?;
        self.say(&format!("  {}", shortened(&webhook.body)))?;
        for path in saved {
            self.say(&format!("  saved {}", path.display()))?;
        }
        Ok(())
    }

    pub(super) fn farewell(&mut self, gateway: &str, inbox: &str, stay: bool) -> std::io::Result<()> {
        self.say("")?;
        self.say("Two jobs ended with pictures, one with an error, and each was told to its webhook once, signed.")?;
        let (gateway, inbox) = if stay {
            self.say("Serving until Ctrl-C. Go on with:")?;
            (gateway, inbox)
        } else {
            self.say("To go on, start it again with `demo --stay`, or serve it yourself, each line in a terminal:")?;
            self.say("  cargo run --release -- sim                    # or a real ComfyUI on port 8188")?;
            self.say("  cargo run --release -- serve")?;
            self.say("  export WEBHOOK_SECRET=$(cargo run --release -- webhook secret show)")?;
            self.say("  python3 docs/receivers/receiver.py --port 8090 --folder received")?;
            ("http://127.0.0.1:8083", "http://127.0.0.1:8090/webhook")
        };
        let body = json!({ "prompt": "a paper boat on a river of ink", "workflow": "canvas", "webhook_url": inbox });
        self.say(&format!("  curl -s {gateway}/generate -H 'content-type: application/json' -d '{body}'"))?;
        self.say(&format!("  curl -s {gateway}/jobs"))?;
        self.say(&format!("  curl -s {gateway}/ready"))
    }

    fn clear_bars(&mut self) -> std::io::Result<()> {
        for _ in 0..std::mem::take(&mut self.bar_lines) {
            write!(self.out, "\x1b[1A\x1b[2K")?;
        }
        Ok(())
    }
}

fn bar(title: &str, status: &str, fraction: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let part_of = |whole: u32| ((fraction * f64::from(whole)) as u32).min(whole);
    let full = part_of(BAR);
    let (done, open) = ("#".repeat(full as usize), ".".repeat((BAR - full) as usize));
    format!("  [{done}{open}] {:>3}%  {status:<9}  {title}", part_of(100))
}

/// Returns the webhook's body with its long values cut, on one line.
fn shortened(body: &Value) -> Value {
    let mut shown = body.clone();
    if let Some(images) = shown["images"].as_array_mut() {
        for image in images {
            let length = image.as_str().map_or(0, str::len);
            let start: String = image.as_str().unwrap_or("").chars().take(12).collect();
            *image = json!(format!("{start}... ({length} characters of base64)"));
        }
    }
    if let Some(outputs) = shown["outputs"].as_array() {
        shown["outputs"] = json!(format!("[{} entries]", outputs.len()));
    }
    shown
}
