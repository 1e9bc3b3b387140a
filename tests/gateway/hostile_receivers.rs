//! Receivers that mean harm, and names that lie about where they lead: what the log of attempts says of them, and what
//! listeners that must not be called have counted.

mod receiver;

use crate::deliveries::log_of;
use crate::support::{Inbox, Program, Setup, TestGateway, canvas, eventually};
use comfygate::egress::Lookup;
use comfygate::settings::{EgressMode, EgressSettings, Settings};
use comfygate::sim::{Sim, SimOptions};
use futures_util::future::BoxFuture;
#[cfg(target_os = "linux")]
use receiver::pair;
use receiver::{Conduct, Receiver};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HERE: &str = "127.0.0.1";
/// Another address of this machine, as Linux has it without being told.
#[cfg(target_os = "linux")]
const ELSEWHERE: &str = "127.0.0.2";

#[actix_web::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    let receiver = Receiver::answering(&[NO_CONTENT]).await;
    let names = Names::new(&[&[HERE]]);
    let gateway = gateway(&names, |settings| settings.egress = public()).await;
    let id = gateway.generate(&canvas(&receiver.named("hook.example"))).await;
    let log = undeliverable(&gateway, &id).await;
    assert_eq!(codes(&log), ["blocked_address", "blocked_address"], "{log}");
    let told = log["attempts"][0]["error"].as_str().unwrap();
    assert!(told.contains("COMFYGATE_EGRESS_ALLOW_HOSTS=hook.example"), "{told}");
    assert!(!log.to_string().contains(HERE), "the log tells what the name leads to: {log}");
    assert_eq!((receiver.connections(), names.asked()), (0, 2));
    gateway.close().await;

    // The same name, allowed: so it was the guard that kept it from being reached.
    let names = Names::new(&[&[HERE]]);
    let gateway = gateway_with_host("hook.example", &names).await;
    let id = gateway.generate(&canvas(&receiver.named("hook.example"))).await;
    delivery(&gateway, &id, "delivered").await;
    assert_eq!(receiver.connections(), 1);
    gateway.close().await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_name_that_changes_after_the_first_answer_is_not_followed_on_any_attempt() {
    let (honest, hidden) = pair(&[FAILS_AND_CLOSES]).await;
    let names = Names::new(&[&[HERE], &[ELSEWHERE], &[ELSEWHERE, "169.254.169.254"], &[ELSEWHERE]]);
    let gateway = gateway(&names, |settings| {
        settings.egress = EgressSettings { allow: vec!["127.0.0.1/32".parse().unwrap()], ..public() };
        settings.webhooks.schedule = vec![Duration::from_millis(50); 4];
    })
    .await;
    let id = gateway.generate(&canvas(&honest.named("hook.example"))).await;
    let log = undeliverable(&gateway, &id).await;
    let blocked = "blocked_address";
    assert_eq!(codes(&log), ["server_error", blocked, blocked, blocked, blocked], "{log}");
    assert_eq!((honest.connections(), hidden.connections(), names.asked()), (1, 0, 5));
    gateway.close().await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn a_name_that_changes_while_a_connection_is_used_again_is_not_followed() {
    let (honest, hidden) = pair(&[FAILS, FAILS, FAILS_AND_CLOSES]).await;
    let names = Names::new(&[&[HERE], &[ELSEWHERE]]);
    let gateway = gateway(&names, |settings| {
        settings.egress = EgressSettings { allow: vec!["127.0.0.1/32".parse().unwrap()], ..public() };
        settings.webhooks.schedule = vec![Duration::from_millis(50); 4];
    })
    .await;
    let id = gateway.generate(&canvas(&honest.named("hook.example"))).await;
    let log = undeliverable(&gateway, &id).await;
    let (error, blocked) = ("server_error", "blocked_address");
    assert_eq!(codes(&log), [error, error, error, blocked, blocked], "{log}");
    assert_eq!((honest.connections(), hidden.connections(), names.asked()), (1, 0, 3));
    gateway.close().await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn of_a_name_with_several_addresses_only_those_that_may_be_called_are_tried() {
    let (honest, hidden) = pair(&[NO_CONTENT]).await;
    let names = Names::new(&[&[ELSEWHERE, "169.254.169.254", HERE]]);
    let gateway = gateway(&names, |settings| {
        settings.egress = EgressSettings { deny: vec!["127.0.0.2/32".parse().unwrap()], ..EgressSettings::default() };
    })
    .await;
    let id = gateway.generate(&canvas(&honest.named("hook.example"))).await;
    delivery(&gateway, &id, "delivered").await;
    assert_eq!((honest.connections(), hidden.connections()), (1, 0));
    gateway.close().await;
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn an_address_that_is_denied_since_the_job_was_taken_in_is_not_called() {
    let receiver = Receiver::answering(&[FAILS_AND_CLOSES]).await;
    let names = Names::new(&[&[HERE]]);
    let gateway = gateway(&names, |settings| settings.webhooks.schedule = vec![Duration::from_secs(1); 9]).await;
    let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
    eventually("the first attempt", async || (receiver.connections() > 0).then_some(())).await;
    let gateway = gateway
        .restart_with(|settings| {
            settings.egress.deny = vec!["127.0.0.0/8".parse().unwrap()];
            settings.webhooks.schedule = vec![Duration::from_millis(50)];
        })
        .await;
    let seen = receiver.connections();
    let log = undeliverable(&gateway, &id).await;
    assert_eq!(codes(&log).last(), Some(&"blocked_address"), "{log}");
    assert_eq!(receiver.connections(), seen);
    gateway.close().await;
}

#[actix_web::test]
async fn a_redirect_to_this_machine_is_not_followed() {
    for status in [302, 307, 308] {
        let target = Receiver::answering(&[NO_CONTENT]).await;
        let answer = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: http://{}/x\r\ncontent-length: 0\r\n\r\n",
            target.address
        );
        let receiver = Receiver::answering(&[&answer]).await;
        let gateway = gateway(&Names::new(&[]), |_| {}).await;
        let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
        let log = undeliverable(&gateway, &id).await;
        assert_eq!(codes(&log), ["redirect", "redirect"], "{log}");
        assert_eq!(log["attempts"][0]["status"], status);
        assert_eq!((receiver.requests(), target.connections()), (2, 0));
        gateway.close().await;
    }
}

#[cfg(target_os = "linux")]
#[actix_web::test]
async fn an_endless_answer_is_read_in_part_and_takes_no_memory() {
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let program = Program::serve(setup.folder.path(), &sim.url(), &[]).await;
    let small = Receiver::answering(&[NO_CONTENT]).await;
    assert_eq!(program.post(&canvas(&small.named(HERE))).await.unwrap().status(), 202);
    program.until_idle().await;
    let before = peak_memory(program.id());

    let endless = Receiver::start(HERE, 0, Conduct::Endless).await;
    let taken_in = program.post(&canvas(&endless.named(HERE))).await.unwrap();
    assert_eq!(taken_in.status(), 202);
    let answer: Value = serde_json::from_slice(&taken_in.bytes().await.unwrap()).unwrap();
    program.until_idle().await;
    let path = format!("/jobs/{}/deliveries", answer["prompt_id"].as_str().unwrap());
    let (_, log) = program.get(&path).await.unwrap();
    let log = &log["deliveries"][0];
    assert_eq!((&log["state"], &log["last_status"]), (&json!("delivered"), &json!(200)), "{log}");
    assert!(log["attempts"][0]["answer"].as_str().unwrap().len() <= 1024);
    // What the kernels' buffers hold was written, though nobody reads it.
    let written = eventually("the connection is given up", async || endless.written_at_the_end()).await;
    assert!(written < 32 << 20, "{written} bytes");
    let grown = peak_memory(program.id()).saturating_sub(before);
    assert!(grown < 16 << 20, "the process has grown by {grown} bytes");
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_receiver_that_answers_a_byte_a_second_or_never_costs_the_limit_of_an_attempt() {
    for conduct in [Conduct::Drip, Conduct::Silent] {
        let receiver = Receiver::start(HERE, 0, conduct).await;
        let gateway = gateway(&Names::new(&[]), |settings| {
            settings.webhooks.attempt_timeout = Duration::from_millis(1500);
        })
        .await;
        let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
        let log = first_attempt(&gateway, &id).await;
        assert_eq!((codes(&log), &log["attempts"][0]["status"]), (vec!["timeout"], &Value::Null), "{log}");
        let took = log["attempts"][0]["duration_ms"].as_u64().unwrap();
        // The body has less than a MiB, which adds a second.
        assert!((2400..30_000).contains(&took), "{took} ms");
    }
}

#[actix_web::test]
async fn too_many_or_too_long_headers_are_no_answer() {
    let many = format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(200));
    let long = format!("HTTP/1.1 200 OK\r\na: {}\r\ncontent-length: 0\r\n\r\n", "b".repeat(1 << 20));
    for answer in [many, long] {
        let receiver = Receiver::answering(&[&answer]).await;
        let gateway = gateway(&Names::new(&[]), |_| {}).await;
        let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
        let log = undeliverable(&gateway, &id).await;
        assert_eq!(codes(&log), ["bad_response", "bad_response"], "{log}");
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_wait_that_is_no_number_is_ignored_and_a_long_one_is_a_day() {
    const HOUR: i64 = 3_600_000;
    let gateway = gateway(&Names::new(&[]), |settings| {
        settings.webhooks.schedule = vec![Duration::from_hours(1)];
    })
    .await;
    let ignored = 48 * 60_000..=72 * 60_000;
    for (value, range) in [
        ("99999999999", 24 * HOUR - 60_000..=24 * HOUR + 60_000),
        ("99999999999999999999999999", 24 * HOUR - 60_000..=24 * HOUR + 60_000),
        ("-5", ignored.clone()),
        ("abc", ignored.clone()),
        ("Sun, 06 Nov 1994 08:49:37 GMT", ignored.clone()),
        ("nan", ignored.clone()),
        ("1e300", ignored.clone()),
        ("", ignored.clone()),
    ] {
        let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::answering(&[&answer]).await;
        let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
        let log = first_attempt(&gateway, &id).await;
        assert_eq!(codes(&log), ["server_error"], "{log}");
        let wait = millis(&log["next_attempt_at"]) - millis(&log["attempts"][0]["started_at"]);
        assert!(range.contains(&wait), "`{value}` made it wait for {wait} ms");
        assert_eq!(gateway.lifecycle.panics(), 0, "{value}");
    }
}

#[actix_web::test]
async fn a_proxy_in_the_environment_is_not_used() {
    let proxy = Receiver::answering(&[NO_CONTENT]).await;
    let setup = Setup::new();
    let sim = Sim::start(SimOptions { step: Duration::ZERO, ..SimOptions::default() }).await.unwrap();
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let variables: Vec<String> = names.iter().map(|name| format!("{name}=http://{}", proxy.address)).collect();
    let words: Vec<&str> =
        ["env", "-u", "NO_PROXY", "-u", "no_proxy"].into_iter().chain(variables.iter().map(String::as_str)).collect();
    let program = Program::serve_behind(&words, setup.folder.path(), &sim.url(), &[]).await;
    let inbox = Inbox::open();
    assert_eq!(program.post(&canvas(&inbox.url())).await.unwrap().status(), 202);
    inbox.next().await;
    program.until_idle().await;
    assert_eq!(proxy.connections(), 0);
    program.kill();
    sim.stop().await;
}

#[actix_web::test]
async fn a_switch_of_protocols_is_no_answer() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n";
    let receiver = Receiver::answering(&[answer]).await;
    let gateway = gateway(&Names::new(&[]), |_| {}).await;
    let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
    let log = undeliverable(&gateway, &id).await;
    assert_eq!(codes(&log), ["bad_response", "bad_response"], "{log}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_flood_of_answers_before_the_answer_ends_with_the_attempt() {
    let receiver = Receiver::start(HERE, 0, Conduct::Flood).await;
    let gateway = gateway(&Names::new(&[]), |settings| {
        settings.webhooks.attempt_timeout = Duration::from_millis(500);
    })
    .await;
    let id = gateway.generate(&canvas(&receiver.named(HERE))).await;
    let log = first_attempt(&gateway, &id).await;
    assert_eq!((codes(&log), &log["attempts"][0]["status"]), (vec!["timeout"], &Value::Null), "{log}");
    eventually("the connection is given up", async || receiver.written_at_the_end()).await;
}

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
#[cfg(target_os = "linux")]
const FAILS: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
#[cfg(target_os = "linux")]
const FAILS_AND_CLOSES: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

fn public() -> EgressSettings {
    EgressSettings { mode: EgressMode::Public, ..EgressSettings::default() }
}

/// A gateway that resolves names as told, and makes two attempts unless told otherwise.
async fn gateway(names: &Arc<Names>, change: impl FnOnce(&mut Settings)) -> TestGateway {
    let mut setup = Setup { lookup: Arc::<Names>::clone(names), ..Setup::new() };
    setup.settings.webhooks.schedule = vec![Duration::from_millis(50)];
    change(&mut setup.settings);
    setup.start().await
}

async fn gateway_with_host(host: &str, names: &Arc<Names>) -> TestGateway {
    let allowed = Settings::load(comfygate::settings::Sources {
        cli: [("egress_allow_hosts".to_owned(), host.to_owned())].into(),
        env: [],
        dotenv: comfygate::settings::FileChoice::None,
        file: comfygate::settings::FileChoice::None,
    })
    .unwrap();
    let egress = EgressSettings { mode: EgressMode::Public, ..allowed.egress };
    gateway(names, |settings| settings.egress = egress).await
}

/// The only delivery of a job, once it is in this state.
async fn delivery(gateway: &TestGateway, id: &str, state: &str) -> Value {
    eventually(&format!("the delivery of {id} is {state}"), async || {
        let log = log_of(gateway, id).await["deliveries"][0].clone();
        (log["state"] == state).then_some(log)
    })
    .await
}

async fn undeliverable(gateway: &TestGateway, id: &str) -> Value {
    delivery(gateway, id, "undeliverable").await
}

/// The only delivery of a job, once an attempt of it is over.
async fn first_attempt(gateway: &TestGateway, id: &str) -> Value {
    eventually(&format!("an attempt for {id}"), async || {
        let log = log_of(gateway, id).await["deliveries"][0].clone();
        (log["attempt_count"].as_u64() > Some(0)).then_some(log)
    })
    .await
}

fn codes(log: &Value) -> Vec<&str> {
    log["attempts"].as_array().unwrap().iter().map(|attempt| attempt["code"].as_str().unwrap_or("")).collect()
}

fn millis(time: &Value) -> i64 {
    let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The most memory that a process has had at once, in bytes.
#[cfg(target_os = "linux")]
pub(crate) fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Answers questions for names one after the other as told, and the last way ever after.
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Names {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: AtomicUsize::new(0) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Lookup for Names {
    fn lookup(&self, _: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(std::future::ready(answer.ok_or_else(|| io::Error::other("nobody knows that name"))))
    }
}
