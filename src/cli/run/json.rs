//! Tells programs of runs: one JSON object per line on stdout, with names that do not change.

use super::show::{Show, err, out};
use super::status::{Status, failure_text};
use crate::clock::Clock;
use crate::runner::{End, Ended, News, Order, RunError, Saved, Summary, Told, What};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// JSON lines.
pub(super) struct JsonLines {
    clock: Arc<dyn Clock>,
    runs: Mutex<BTreeMap<usize, (Status, Arc<Order>)>>,
}

impl JsonLines {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, runs: Mutex::default() }
    }

    fn write(&self, mut line: Value) {
        line["timestamp"] = json!(self.clock.now().rfc3339());
        out(&line.to_string());
    }
}

impl Show for JsonLines {
    fn told(&self, told: &Told) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |event: &str, more: Value| {
            let mut line = json!({ "event": event, "run": told.number, "name": told.name, "id": told.id });
            if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
                line.extend(more);
            }
            line
        };
        match &told.what {
            What::Accepted(order) => {
                runs.insert(told.number, (Status::default(), Arc::clone(order)));
                let (workflow, seeds) = (order.pair.name(), &order.seeds);
                let mut more = json!({ "of": told.of, "workflow": workflow, "seeds": seeds });
                if let Some(frame) = order.frame {
                    more["frame"] = json!(frame);
                }
                self.write(line("accepted", more));
            }
            What::News(news) => {
                let Some((status, order)) = runs.get_mut(&told.number) else { return };
                let is_another = status.take(news, told.at);
                if let Some(node) = status.node.as_ref().filter(|_| is_another) {
                    let known = order.pair.template().node(&node.id);
                    let (class, title) = (known.map(|it| &it.class_type), known.and_then(|it| it.title.as_ref()));
                    self.write(line("node", json!({ "node": { "id": node.id, "class": class, "title": title } })));
                }
                match news {
                    News::Submitted { prompt } => self.write(line("submitted", json!({ "prompt_id": prompt }))),
                    News::Started => self.write(line("started", json!({}))),
                    News::Cached(nodes) => self.write(line("cached", json!({ "nodes": nodes }))),
                    News::Progress(_) => {
                        let left = status.left(told.at).map(|left| left.as_secs_f64());
                        let mut more = json!({ "fraction": status.fraction, "eta_seconds": left });
                        if let Some(node) = &status.node {
                            more["node"] = json!(node.id);
                            if let Some((value, max)) = node.bar {
                                (more["value"], more["max"]) = (json!(value), json!(max));
                            }
                        }
                        self.write(line("progress", more));
                    }
                    News::Again { reason } => self.write(line("again", json!({ "reason": reason }))),
                    // It is told once it is written.
                    News::Output(_) | News::Ended(_) => {}
                }
            }
            What::Saved(saved) => self.write(line("output", output(saved))),
            What::Ended(ended) => {
                runs.remove(&told.number);
                self.write(line("ended", end(ended)));
            }
        }
    }

    fn note(&self, text: &str) {
        self.write(json!({ "event": "note", "message": text }));
    }

    fn stopping(&self) {
        self.write(json!({ "event": "stopping" }));
    }

    fn failed(&self, error: &RunError) {
        self.write(json!({ "event": "error", "error": error.to_value() }));
        err(&failure_text(error));
    }

    fn summary(&self, summary: &Summary) {
        self.write(json!({
            "event": "summary",
            "runs": summary.orders(),
            "succeeded": summary.succeeded(),
            "failed": summary.failed(),
            "cancelled": summary.cancelled(),
            "seconds": summary.took.as_secs_f64(),
        }));
    }
}

fn output(saved: &Saved) -> Value {
    let output = &saved.output;
    json!({
        "node": output.node_id,
        "alias": saved.alias,
        "index": output.index,
        "path": saved.path,
        "filename": output.filename,
        "content_type": output.content_type,
        "bytes": output.bytes,
        "sha256": output.sha256,
    })
}

fn end(ended: &Ended) -> Value {
    let mut more = json!({
        "prompt_id": ended.prompt,
        "status": match ended.end {
            End::Succeeded => "succeeded",
            End::Failed(_) => "failed",
            End::Cancelled => "cancelled",
        },
        "outputs": ended.saved.iter().map(output).collect::<Vec<_>>(),
        "seconds": ended.took.as_secs_f64(),
    });
    if let End::Failed(error) = &ended.end {
        more["error"] = error.to_value();
    }
    more
}
