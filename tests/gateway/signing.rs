//! The secrets that sign webhooks, from outside: the commands beside a running gateway, the calls of an operator, and what
//! receivers get.

use crate::keys::{ask, make, with_keys};
use crate::support::{Inbox, PATIENCE, Setup, TestGateway, Webhook, canvas, stderr, stdout};
use comfygate::clock::{Clock, ManualClock, SystemClock, Timestamp};
use comfygate::signing::{Shown, Verifier, VerifyError, public_keys_of_jwks, verify};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

const FIVE_MINUTES: Duration = Duration::from_mins(5);

#[actix_web::test]
async fn the_command_line_shows_the_secret_and_checks_a_recorded_webhook() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.generate(&canvas(&inbox.url())).await;
    let webhook = inbox.next().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };

    let shown = secret_command(&gateway, &["show"]).await;
    assert_eq!(shown.status.code(), Some(0), "{shown:?}");
    let secret = stdout(&shown).trim().to_owned();
    let listed = stdout(&secret_command(&gateway, &["list"]).await);
    assert!(listed.starts_with("ID  ") && listed.contains("  default  (all)  hmac  "), "{listed}");
    assert!(!listed.contains("whsec_"), "{listed}");
    let as_json = stdout(&secret_command(&gateway, &["list", "--json"]).await);
    assert!(!as_json.contains("whsec_") && as_json.contains("\"kind\": \"hmac\""), "{as_json}");

    let body = file("body", &webhook.raw);
    let secret_file = file("secret", format!("{secret}\n").as_bytes());
    let head = format!(
        "POST /hook HTTP/1.1\r\nWebhook-Id: {}\r\nWebhook-Timestamp: {}\r\nWebhook-Signature: {}\r\n\r\n",
        webhook.id, webhook.timestamp, webhook.signature
    );
    let headers = file("headers", head.as_bytes());
    let timestamp = webhook.timestamp.to_string();
    let three = ["--id", &webhook.id, "--timestamp", &timestamp, "--signature", &webhook.signature];
    let with = |args: &[&str]| [args, &three, &[body.as_str()]].concat().iter().map(|&arg| arg.to_owned()).collect();
    let (other, wrong) = (file("other", &[&webhook.raw[..], b" "].concat()), file("wrong", b"whsec_AAAA"));
    let owned = |args: &[&str]| -> Vec<String> { args.iter().map(|&arg| arg.to_owned()).collect() };
    let old = head.replace(&timestamp, "1700000000");
    let old_headers = file("old", old.as_bytes());
    for (args, code, says) in [
        (with(&["--secret", &secret]), 0, "good"),
        (with(&["--secret-file", &secret_file]), 0, "good"),
        (owned(&["--secret-file", &secret_file, "--headers", &headers, &body]), 0, "good"),
        (owned(&["--secret-file", &secret_file, "--headers", &headers, "-"]), 0, "good"),
        (owned(&["--secret-file", &secret_file, "--headers", &headers, &other]), 1, "none of the 1 signatures fits"),
        (owned(&["--secret-file", &secret_file, "--headers", &old_headers, &body]), 1, "old, more than the 5m"),
        (
            owned(&["--secret-file", &secret_file, "--headers", &old_headers, "--tolerance", "100years", &body]),
            1,
            "none of the 1 signatures fits",
        ),
        (owned(&["--secret-file", &secret_file, "--headers", &body, &body]), 1, "there is no header webhook-id"),
        (with(&["--secret-file", &wrong]), 2, "it has 3 bytes"),
        (with(&["--public-key", "whpk_AAAA"]), 2, "3 bytes instead of 32"),
        (with(&[]), 2, "set WEBHOOK_SECRET"),
        (owned(&["--secret-file", &secret_file, &body]), 2, "--id"),
    ] {
        let args: Vec<String> = [owned(&["webhook", "verify"]), args].concat();
        let output = run(&args, &webhook.raw, None).await;
        let text = stdout(&output) + &stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
    }
    let args: Vec<String> = [owned(&["webhook", "verify"]), with(&[])].concat();
    assert_eq!(run(&args, b"", Some(("WEBHOOK_SECRET", &secret))).await.status.code(), Some(0));
    gateway.close().await;
}

#[actix_web::test]
async fn what_a_command_changes_a_running_gateway_sees_within_five_seconds() {
    let (gateway, clock) = at_this_time(Setup::new()).await;
    let inbox = Inbox::open();
    let old = stdout(&secret_command(&gateway, &["show"]).await).trim().to_owned();
    let first = told(&gateway, &inbox).await;
    assert_eq!((first.signatures(), first.check(&clock, &old)), (1, Ok(())));

    let given = format!("whsec_{}", "QUJD".repeat(11));
    let rotated =
        run(&secret_args(&gateway, &["rotate", "--keep", "24h", "--json"]), b"", Some(("WEBHOOK_NEW_SECRET", &given)))
            .await;
    assert_eq!(rotated.status.code(), Some(0), "{rotated:?}");
    let rotated: Value = serde_json::from_str(&stdout(&rotated)).unwrap();
    assert_eq!(rotated["secret"], json!(given));
    clock.advance(Duration::from_secs(5));
    let second = told(&gateway, &inbox).await;
    assert_eq!(second.signatures(), 2);
    assert_eq!((second.check(&clock, &old), second.check(&clock, &given)), (Ok(()), Ok(())));

    let set = secret_command(&gateway, &["set", "--host", "127.0.0.1"]).await;
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    let hosts = stdout(&secret_command(&gateway, &["show", "--host", "127.0.0.1"]).await).trim().to_owned();
    assert!(stdout(&set).contains(&hosts));
    clock.advance(Duration::from_secs(5));
    let third = told(&gateway, &inbox).await;
    assert_eq!((third.signatures(), third.check(&clock, &hosts)), (1, Ok(())));
    assert_eq!(third.check(&clock, &given), Err(VerifyError::NoMatch { tried: 1 }));

    let removed = secret_command(&gateway, &["remove", "--host", "127.0.0.1"]).await;
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    let rotated = secret_command(&gateway, &["rotate", "--keep", "0s", "--json"]).await;
    let rotated: Value = serde_json::from_str(&stdout(&rotated)).unwrap();
    clock.advance(Duration::from_secs(5));
    let fourth = told(&gateway, &inbox).await;
    // The one that was old before still has its day.
    assert_eq!(fourth.signatures(), 2);
    assert_eq!(fourth.check(&clock, rotated["secret"].as_str().unwrap()), Ok(()));
    assert_eq!(fourth.check(&clock, &given), Err(VerifyError::NoMatch { tried: 2 }));

    for (args, says) in [
        (&["rotate", "--host", "a.example"][..], "has no secret of its own"),
        (&["remove", "--host", "a.example"], "has no secret of its own"),
        (&["show", "--host", "a.example"], "has no secret of its own"),
        (&["rotate", "--secret", "whsec_"], "an empty secret protects nothing"),
        (&["rotate", "--secret", "hunter2"], "does not begin with `whsec_`"),
        (&["set", "--host", "http://a.example/"], "is no host"),
        (&["show", "--tenant", "A B"], "is not the name of a tenant"),
    ] {
        let refused = secret_command(&gateway, args).await;
        assert_ne!(refused.status.code(), Some(0), "{args:?}");
        assert!(stderr(&refused).contains(says), "{args:?}: {refused:?}");
        assert!(!stderr(&refused).contains("hunter2"), "{refused:?}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn secrets_can_be_shown_before_the_first_start_and_are_those_that_sign_then() {
    let setup = Setup::new();
    let args = ["webhook", "secret", "show", "--data", setup.settings.storage.folder.to_str().unwrap()];
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let secret = stdout(&run(&args, b"", None).await).trim().to_owned();
    let (gateway, clock) = at_this_time(setup).await;
    let inbox = Inbox::open();
    let webhook = told(&gateway, &inbox).await;
    assert_eq!(webhook.check(&clock, &secret), Ok(()));
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_lists_and_rotates_over_http_and_nobody_else_does() {
    let (gateway, clock) = at_this_time(with_keys()).await;
    let inbox = Inbox::open();
    let (_, tenants) = make(&gateway, "shop", &["submit", "read"]).await;
    for (key, status) in [("", 401), (tenants.as_str(), 403)] {
        assert_eq!(ask(&gateway, key, "GET", "/webhook/secrets", &Value::Null).await.status, status);
        assert_eq!(ask(&gateway, key, "POST", "/webhook/secrets/rotate", &json!({})).await.status, status);
    }
    let first = gateway.get("/webhook/secrets").await;
    let listed = first.json()["secrets"].clone();
    assert_eq!((first.status, listed.as_array().unwrap().len()), (200, 1));
    assert_eq!((&listed[0]["tenant"], &listed[0]["signs_until"]), (&json!("default"), &Value::Null));
    told(&gateway, &inbox).await;

    let rotated = gateway.post("/webhook/secrets/rotate", &json!({ "keep": "1h" })).await;
    assert_eq!((rotated.status, rotated.header("cache-control")), (200, "no-store"));
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    // Without waiting: this process knows that it was changed.
    let webhook = told(&gateway, &inbox).await;
    assert_eq!((webhook.signatures(), webhook.check(&clock, &new)), (2, Ok(())));
    let after = gateway.get("/webhook/secrets").await;
    let text = String::from_utf8(after.bytes.clone()).unwrap();
    assert!(!text.contains("whsec_") && !text.contains(new.trim_start_matches("whsec_")), "{text}");
    assert_eq!(after.json()["secrets"].as_array().unwrap().len(), 2);
    let until = after.json()["secrets"][1]["signs_until"].as_str().unwrap().to_owned();
    let until = Timestamp::parse_rfc3339(&until).unwrap();
    assert!(until.since(clock.now()) <= Duration::from_hours(1));

    for (body, status, code) in [
        (json!({ "secret": "whsec_" }), 400, "not_allowed"),
        (json!({ "secret": "geheim" }), 400, "not_allowed"),
        (json!({ "secret": 5 }), 400, "invalid_type"),
        (json!({ "secret": new }), 409, "secret_in_use"),
        (json!({ "keep": "soon" }), 400, "invalid_type"),
        (json!({ "kind": "rsa" }), 400, "not_allowed"),
        (json!({ "tenant": "A B" }), 400, "not_allowed"),
        (json!({ "host": "http://x" }), 400, "not_allowed"),
        (json!({ "host": "a.example" }), 404, "not_found"),
        (json!({ "kind": "ed25519", "host": "a.example" }), 400, "not_allowed"),
        (json!({ "hots": "a.example" }), 400, "unknown_field"),
    ] {
        let refused = gateway.post("/webhook/secrets/rotate", &body).await;
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{body}: {}", refused.json());
        assert!(!refused.json().to_string().contains("geheim"));
    }
    gateway.close().await;
}

#[actix_web::test]
async fn everybody_gets_the_public_keys_and_webhooks_can_be_checked_with_them() {
    let mut setup = with_keys();
    setup.settings.webhooks.ed25519 = true;
    let (gateway, clock) = at_this_time(setup).await;
    let inbox = Inbox::open();
    let webhook = told(&gateway, &inbox).await;
    let answer = ask(&gateway, "", "GET", "/.well-known/jwks.json", &Value::Null).await;
    assert_eq!((answer.status, answer.json()["keys"].as_array().unwrap().len()), (200, 1));
    assert!(answer.header("content-type").starts_with("application/json"));
    let key = &answer.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("sig")));
    assert!(key.get("d").is_none());
    let listed = gateway.get("/webhook/secrets").await.json();
    assert_eq!(listed["secrets"][1]["id"], key["kid"]);
    assert_eq!(webhook.check_with(&clock, &keys_of(&answer.json())), Ok(()));

    // A new pair: the old one stays for as long as it signs.
    let rotated = gateway.post("/webhook/secrets/rotate", &json!({ "kind": "ed25519" })).await.json();
    assert_eq!(rotated.get("secret"), None);
    let both = ask(&gateway, "", "GET", "/.well-known/jwks.json", &Value::Null).await.json();
    assert_eq!(both["keys"].as_array().unwrap().len(), 2);
    assert_eq!((&both["keys"][0]["kid"], &both["keys"][1]["kid"]), (&rotated["id"], &key["kid"]));
    let later = told(&gateway, &inbox).await;
    assert_eq!(later.signatures(), 3);
    let public = stdout(&secret_command(&gateway, &["show", "--ed25519"]).await).trim().to_owned();
    for keys in [keys_of(&both), keys_of(&answer.json()), vec![Verifier::Ed25519(public.parse().unwrap())]] {
        assert_eq!(later.check_with(&clock, &keys), Ok(()));
    }
    clock.advance(Duration::from_hours(24));
    let one = ask(&gateway, "", "GET", "/.well-known/jwks.json", &Value::Null).await.json();
    assert_eq!(one["keys"].as_array().unwrap().len(), 1);
    gateway.close().await;

    let without = TestGateway::start().await;
    assert_eq!(without.get("/.well-known/jwks.json").await.json(), json!({ "keys": [] }));
    without.close().await;
}

#[actix_web::test]
async fn tenants_have_secrets_of_their_own() {
    let (gateway, clock) = at_this_time(with_keys()).await;
    let inbox = Inbox::open();
    let (_, shop) = make(&gateway, "shop", &["submit"]).await;
    assert_eq!(ask(&gateway, &shop, "POST", "/generate", &canvas(&inbox.url())).await.status, 202);
    let webhook = inbox.next().await;
    let shops = stdout(&secret_command(&gateway, &["show", "--tenant", "shop"]).await).trim().to_owned();
    let others = stdout(&secret_command(&gateway, &["show"]).await).trim().to_owned();
    assert_eq!(webhook.check(&clock, &shops), Ok(()));
    assert_eq!(webhook.check(&clock, &others), Err(VerifyError::NoMatch { tried: 1 }));
    gateway.close().await;
}

/// A gateway whose clock the test moves, and which shows the time of this machine at first, as commands have it.
async fn at_this_time(setup: Setup) -> (TestGateway, Arc<ManualClock>) {
    let clock = ManualClock::at(SystemClock::start().wall());
    let gateway = Setup { clock: Arc::<ManualClock>::clone(&clock), ..setup }.start().await;
    (gateway, clock)
}

/// Has a job done, and returns its webhook.
async fn told(gateway: &TestGateway, inbox: &Inbox) -> Webhook {
    gateway.generate(&canvas(&inbox.url())).await;
    inbox.next().await
}

fn keys_of(set: &Value) -> Vec<Verifier> {
    public_keys_of_jwks(set).unwrap().into_iter().map(Verifier::Ed25519).collect()
}

impl Webhook {
    fn signatures(&self) -> usize {
        self.signature.split(' ').count()
    }

    fn check(&self, clock: &Arc<ManualClock>, secret: &str) -> Result<(), VerifyError> {
        self.check_with(clock, &[Verifier::Hmac(secret.parse().unwrap())])
    }

    fn check_with(&self, clock: &Arc<ManualClock>, keys: &[Verifier]) -> Result<(), VerifyError> {
        let timestamp = self.timestamp.to_string();
        let shown = Shown { id: &self.id, timestamp: &timestamp, signature: &self.signature };
        verify(keys, shown, &self.raw, clock.wall(), FIVE_MINUTES)
    }
}

fn secret_args(gateway: &TestGateway, args: &[&str]) -> Vec<String> {
    let data: &Path = &gateway.settings.storage.folder;
    let args = [&["webhook", "secret"], args, &["--data", data.to_str().unwrap()]].concat();
    args.into_iter().map(str::to_owned).collect()
}

async fn secret_command(gateway: &TestGateway, args: &[&str]) -> Output {
    run(&secret_args(gateway, args), b"", None).await
}

async fn run(args: &[String], input: &[u8], variable: Option<(&str, &str)>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_comfygate"));
    command.args(args).env_remove("WEBHOOK_SECRET").env_remove("WEBHOOK_NEW_SECRET");
    command.envs(variable).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_vec();
    let running = actix_web::rt::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // One that does not read it has ended before.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    });
    tokio::time::timeout(PATIENCE, running).await.expect("the command ends in time").unwrap()
}
