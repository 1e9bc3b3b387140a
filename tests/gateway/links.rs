//! Links to outputs: for whom they are good, for how long, and what becomes of one that was changed.

use crate::keys::{ask, make, with_keys};
use crate::support::{Answer, Inbox, Setup, TestGateway, Webhook, canvas, eventually};
use serde_json::json;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

#[actix_web::test]
async fn a_link_gives_the_output_whole_in_parts_and_as_head() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let (link, image) = (link(&gateway, &webhook), &webhook.images()[0]);
    let whole = gateway.get(&link).await;
    assert_eq!((whole.status, &whole.bytes), (200, image));
    assert_eq!(whole.header("referrer-policy"), "no-referrer");
    let part = gateway.get_with(&link, &[("range", "bytes=1-3")]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, b"PNG".as_slice()));
    let known = gateway.get_with(&link, &[("if-none-match", whole.header("etag"))]).await;
    assert_eq!((known.status, known.header("referrer-policy")), (304, "no-referrer"));
    let head = gateway.head(&link).await;
    assert_eq!((head.status, head.header("content-length")), (200, image.len().to_string().as_str()));
    gateway.close().await;
}

#[actix_web::test]
async fn a_link_with_anything_changed_is_invalid_and_says_nothing_of_the_job() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut request = canvas(&inbox.url());
    request["image_count"] = json!(2);
    let webhook = gateway.run_one(&inbox, &request).await;
    let other = gateway.run_one(&inbox, &request).await;
    let good = link(&gateway, &webhook);
    let (id, nobody) = (webhook.prompt_id(), "019aa4f0-c1e8-7cc2-b1f3-a80f6a0d2c11");
    let (path, query) = good.split_once('?').unwrap();
    let (exp, sig) = query.strip_prefix("exp=").unwrap().split_once("&sig=").unwrap();
    let later = exp.parse::<i64>().unwrap() + 1;
    let (first, rest) = sig.split_at(1);
    let another = if first == "A" { "B" } else { "A" };
    assert_eq!(gateway.get(&good).await.status, 200);
    let mut answers = Vec::new();
    for bad in [
        good.replace(id, other.prompt_id()),
        good.replace(id, nobody),
        good.replace(id, "x"),
        good.replace("/outputs/0", "/outputs/1"),
        good.replace("/outputs/0", "/outputs/7"),
        good.replace("/outputs/0", "/outputs/00"),
        format!("{path}?exp={later}&sig={sig}"),
        format!("{path}?exp=0&sig={sig}"),
        format!("{path}?exp=x&sig={sig}"),
        format!("{path}?exp={exp}&sig={another}{rest}"),
        format!("{path}?exp={exp}&sig="),
        format!("{path}?exp={exp}"),
        format!("{path}?sig={sig}"),
        format!("{good}&exp={later}"),
        format!("{good}&sig={sig}"),
        good.replace(id, &id.to_uppercase()),
    ] {
        let answer = gateway.get(&bad).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "link_invalid"), "{bad}");
        answers.push(answer.bytes);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "all are answered with the same words");
    assert!(!String::from_utf8_lossy(&answers[0]).contains(rest));
    gateway.close().await;
}

#[actix_web::test]
async fn a_link_holds_until_its_second_and_is_then_expired_for_jobs_that_are_there_and_for_others() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.outputs.link_lifetime = DAY;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let link = link(&gateway, &webhook);
    let plain = link.split_once('?').unwrap().0.to_owned();
    has_arrived(&gateway, &webhook).await;
    clock.advance(Duration::from_hours(23));
    assert_eq!(gateway.get(&link).await.status, 200);
    clock.advance(Duration::from_hours(1));
    refused(&gateway.get(&link).await, "link_expired");
    // The output is still there for who may see the job.
    assert_eq!(gateway.get(&plain).await.status, 200);
    // The body does not change, so neither do its links.
    assert_eq!(gateway.get(&format!("/jobs/{}", webhook.prompt_id())).await.bytes, webhook.raw);
    gateway.close().await;
}

#[actix_web::test]
async fn links_hold_no_longer_than_the_job_is_kept_and_then_the_output_is_gone() {
    let (mut setup, clock) = Setup::with_manual_clock();
    setup.settings.outputs.link_lifetime = 9 * DAY;
    setup.settings.storage.retention = Some(2 * DAY);
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let link = link(&gateway, &webhook);
    let expires: i64 = link.split_once("?exp=").unwrap().1.split_once('&').unwrap().0.parse().unwrap();
    let ends = (gateway.clock().now() + 2 * DAY).millis() / 1000;
    assert!((ends - 5..=ends).contains(&expires), "{expires} is not two days from now");
    has_arrived(&gateway, &webhook).await;
    clock.advance(3 * DAY);
    refused(&gateway.get(&link).await, "link_expired");
    gateway.close().await;
}

#[actix_web::test]
async fn a_link_to_what_was_cleared_away_is_404() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let link = link(&gateway, &webhook);
    let sha256 = webhook.body["outputs"][0]["sha256"].as_str().unwrap();
    let (fan_out, name) = sha256.split_at(2);
    std::fs::remove_file(gateway.settings.storage.folder.join("blobs").join(fan_out).join(name)).unwrap();
    let answer = gateway.get(&link).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    gateway.close().await;
}

#[actix_web::test]
async fn links_of_before_a_restart_hold_and_another_gateways_do_not() {
    let (gateway, other) = (TestGateway::start().await, TestGateway::start().await);
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let link = link(&gateway, &webhook);
    let gateway = gateway.restart().await;
    assert_eq!(gateway.get(&link).await.status, 200);
    refused(&other.get(&link).await, "link_invalid");
    gateway.close().await;
    other.close().await;
}

#[actix_web::test]
async fn a_query_that_speaks_of_no_signature_is_no_link() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let link = link(&gateway, &webhook);
    let path = link.split_once('?').unwrap().0;
    assert_eq!(gateway.get(&format!("{path}?download=1")).await.status, 200);
    assert_eq!(gateway.get(&format!("{link}&utm_source=mail")).await.status, 200);
    gateway.close().await;
}

fn link(gateway: &TestGateway, webhook: &Webhook) -> String {
    let url = webhook.body["outputs"][0]["url"].as_str().unwrap();
    url.strip_prefix(&gateway.url("")).unwrap().to_owned()
}

#[actix_web::test]
async fn a_link_stands_for_a_key_of_its_output_and_of_nothing_else() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let (_, key) = make(&gateway, "shop", &["submit", "read"]).await;
    let (_, others) = make(&gateway, "forge", &["submit", "read"]).await;
    let mut request = canvas(&inbox.url());
    request["image_count"] = json!(2);
    assert_eq!(ask(&gateway, &key, "POST", "/generate", &request).await.status, 202);
    let webhook = inbox.next().await;
    let link = link(&gateway, &webhook);
    let (path, query) = link.split_once('?').unwrap();
    let nothing = serde_json::Value::Null;
    // Without a key, with one that is none, and with one that may not see the job: the link is enough.
    for shown in ["", "no key at all", &others] {
        let answer = ask(&gateway, shown, "GET", &link, &nothing).await;
        assert_eq!((answer.status, &answer.bytes), (200, &webhook.images()[0]), "{shown}");
        assert_eq!(ask(&gateway, shown, "HEAD", &link, &nothing).await.status, 200);
    }
    // A link that is not good is refused whatever key comes with it.
    for shown in ["", &key] {
        let bad = format!("{}?{query}", path.replace("/outputs/0", "/outputs/1"));
        refused(&ask(&gateway, shown, "GET", &bad, &nothing).await, "link_invalid");
    }
    // Its signature opens nothing else.
    let job = format!("/jobs/{}", webhook.prompt_id());
    for (method, path) in [
        ("GET", path.to_owned()),
        ("GET", job.clone()),
        ("GET", format!("{job}?{query}")),
        ("GET", format!("{job}/deliveries?{query}")),
        ("GET", format!("/jobs?{query}")),
        ("GET", format!("/keys?{query}")),
        ("POST", format!("{job}/cancel?{query}")),
        ("POST", link.clone()),
        ("DELETE", link.clone()),
    ] {
        assert_eq!(ask(&gateway, "", method, &path, &nothing).await.status, 401, "{method} {path}");
    }
    assert_eq!(ask(&gateway, &others, "GET", path, &nothing).await.status, 404);
    assert_eq!(ask(&gateway, &key, "GET", path, &nothing).await.status, 200);
    gateway.close().await;
}

/// Waits until nothing is under way any more that a leap of the clock would cut off.
async fn has_arrived(gateway: &TestGateway, webhook: &Webhook) {
    let path = format!("/jobs/{}/deliveries", webhook.prompt_id());
    let look = async || (gateway.get(&path).await.json()["deliveries"][0]["state"] == "delivered").then_some(());
    eventually("the webhook has arrived", look).await;
}

fn refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (403, code));
}
