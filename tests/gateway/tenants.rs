//! Tenants that share one ComfyUI: a flood of one of them delays the others by its turns and by nothing else.

use crate::keys::{ask, make, with_keys};
use crate::support::{Inbox, PATIENCE, TestGateway, canvas};
use comfygate::sim::{Fault, When};
use serde_json::json;
use std::time::Duration;

/// How many prompts are on the backend or on their way to it and back when somebody new comes.
const UNDER_WAY: usize = 8;

#[actix_web::test]
async fn a_tenant_that_floods_the_queue_delays_another_by_one_job_for_each_of_its_own() {
    let gateway = with_keys().start().await;
    let (flood, shop) = (Inbox::open(), Inbox::open());
    let (_, flood_key) = make(&gateway, "flood", &["submit"]).await;
    let (_, shop_key) = make(&gateway, "shop", &["submit"]).await;
    // Slow enough for all to be taken in before the first ones have ended.
    gateway.sim.inject_when(Fault::Slow(Duration::from_millis(15)), When::Every);
    for number in 0..150 {
        submit(&gateway, &flood_key, &flood, number, 100).await;
    }
    let before = flood.rest().len();
    for number in 1000..1010 {
        submit(&gateway, &shop_key, &shop, number, -100).await;
    }
    let mut meanwhile = before;
    for _ in 0..10 {
        let told = tokio::time::timeout(PATIENCE, shop.next()).await.unwrap();
        assert_eq!(told.body["status"], json!("success"), "{}", told.body);
    }
    meanwhile += flood.rest().len();
    let backlog = gateway.get("/ready").await.json()["backlog"]["queued"].as_u64().unwrap();
    assert!(meanwhile - before <= 10 + UNDER_WAY, "{before} before, {meanwhile} until the last of the ten");
    assert!(backlog > 50, "only {backlog} jobs of the flood still waited");
    gateway.sim.clear_faults();
    for _ in meanwhile..150 {
        flood.next().await;
    }
    gateway.close().await;
}

async fn submit(gateway: &TestGateway, key: &str, inbox: &Inbox, number: u32, priority: i32) {
    let mut body = canvas(&inbox.url());
    body["color"] = json!(number);
    body["priority"] = json!(priority);
    let answer = ask(gateway, key, "POST", "/generate", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
}
