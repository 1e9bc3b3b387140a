//! The published libraries of Rust, Python and JavaScript as judges of what a receiver got.

use crate::support::Received;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A webhook as somebody shows it to a judge.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) secret: String,
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
    /// Whether the judges must believe it.
    pub(crate) is_good: bool,
}

impl Case {
    /// What a receiver with this secret shows.
    pub(crate) fn of(received: &Received, secret: &str, is_good: bool) -> Self {
        let text = |name: &str| received.header(name).unwrap_or_default().to_owned();
        Self {
            secret: secret.to_owned(),
            id: text("webhook-id"),
            timestamp: text("webhook-timestamp"),
            signature: text("webhook-signature"),
            body: received.body.clone(),
            is_good,
        }
    }

    fn now(&self) -> i64 {
        self.timestamp.parse().unwrap()
    }

    fn headers(&self) -> Value {
        json!({ "webhook-id": self.id, "webhook-timestamp": self.timestamp, "webhook-signature": self.signature })
    }
}

/// Shows every case to the three libraries, each of which takes the message's own time for now, and says where one judges
/// otherwise than it must.
pub(crate) fn judge(cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let list = write(&folder, cases, |case| json!({ "secret": case.secret }));
    let python = run(Command::new(installed("python/bin/python")).arg(script("verify_webhooks.py")).arg(&list));
    let node = run(Command::new("node").arg(script("verify_webhooks.mjs")).arg(verifiers()).arg(&list));
    assert_eq!((python.len(), node.len()), (cases.len(), cases.len()));
    for (number, case) in cases.iter().enumerate() {
        let expected = if case.is_good { "good" } else { "refused" };
        let judged = [rust(case), python[number].clone(), node[number].clone()];
        let agree = judged.iter().all(|verdict| verdict.starts_with(expected));
        assert!(agree, "case {number} must be {expected}, and Rust, Python, JavaScript say: {judged:?}");
    }
}

/// Has Node check the v1a signatures with a public key.
pub(crate) fn judge_pairs(jwk: &Value, cases: &[Case]) {
    let folder = tempfile::tempdir().unwrap();
    let list = write(&folder, cases, |_| json!({ "jwk": jwk }));
    let node = run(Command::new("node").arg(script("verify_webhooks.mjs")).arg(verifiers()).arg(&list));
    for (number, (case, verdict)) in cases.iter().zip(node).enumerate() {
        assert_eq!(verdict == "good", case.is_good, "case {number}: {verdict}");
    }
}

/// The library's own check compares with this machine's clock, so that a message of another time is signed anew instead.
fn rust(case: &Case) -> String {
    let webhook = Webhook::new(&case.secret).unwrap();
    let headers: HeaderMap =
        [("webhook-id", &case.id), ("webhook-timestamp", &case.timestamp), ("webhook-signature", &case.signature)]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
    match webhook.verify(&case.body, &headers) {
        Ok(()) => "good".into(),
        Err(
            standardwebhooks::WebhookError::FutureTimestampError | standardwebhooks::WebhookError::TimestampTooOldError,
        ) => match webhook.sign(&case.id, case.now(), &case.body) {
            Ok(signed) if case.signature.split(' ').any(|one| one == signed) => "good".into(),
            signed => format!("refused: it would be {signed:?}"),
        },
        Err(error) => format!("refused: {error}"),
    }
}

fn write(folder: &TempDir, cases: &[Case], key: impl Fn(&Case) -> Value) -> PathBuf {
    let entry = |(number, case): (usize, &Case)| {
        let body = folder.path().join(format!("body{number}"));
        std::fs::write(&body, &case.body).unwrap();
        let mut entry = key(case);
        entry["headers"] = case.headers();
        entry["body"] = json!(body);
        entry["now"] = json!(case.now());
        entry
    };
    let entries: Vec<Value> = cases.iter().enumerate().map(entry).collect();
    let list = folder.path().join("cases.json");
    std::fs::write(&list, Value::from(entries).to_string()).unwrap();
    list
}

fn run(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {HOW}"));
    assert!(output.status.success(), "{command:?}: {}; {HOW}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

const HOW: &str = "this test needs python3 with venv, node and npm, and then: tests/scripts/install_verifiers.sh";

fn installed(path: &str) -> PathBuf {
    let found = verifiers().join(path);
    assert!(found.exists(), "{} is not there; {HOW}", found.display());
    found
}

fn verifiers() -> PathBuf {
    std::env::var_os("WEBHOOK_VERIFIERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/verifiers"), PathBuf::from)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name)
}
