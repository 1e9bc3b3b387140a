//! `GET /webhooks/summary` of a gateway that has told some receivers and not others.

use crate::keys::{OPERATOR, ask, make, with_keys};
use crate::support::{Inbox, Setup, TestGateway, canvas, eventually};
use serde_json::{Value, json};

#[actix_web::test]
async fn webhooks_are_summed_up_by_time_and_host() {
    let mut setup = Setup::new();
    setup.settings.webhooks.schedule = Vec::new();
    let gateway = setup.start().await;
    let empty = gateway.get("/webhooks/summary").await.json();
    assert_eq!((&empty["delivered"], &empty["success_rate"], &empty["hosts"]), (&json!(0), &Value::Null, &json!([])));
    let (inbox, refusing) = (Inbox::open(), Inbox::open());
    refusing.answer_with(&[500; 20]);
    for _ in 0..3 {
        gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    }
    gateway.generate(&canvas(&refusing.url())).await;
    let summary = eventually("all four have ended", async || {
        let told = gateway.get("/webhooks/summary?hours=1").await.json();
        (told["delivered"] == 3 && told["undeliverable"] == 1).then_some(told)
    })
    .await;
    assert_eq!((&summary["gone"], &summary["pending"], &summary["partial"]), (&json!(0), &json!(0), &json!(false)));
    assert_eq!(summary["success_rate"], json!(0.75));
    let host = |inbox: &Inbox, delivered: u64, undeliverable: u64| {
        let host = inbox.address().to_string();
        json!({ "host": host, "delivered": delivered, "undeliverable": undeliverable, "gone": 0, "pending": 0 })
    };
    assert_eq!(summary["hosts"], json!([host(&inbox, 3, 0), host(&refusing, 0, 1)]));
    let buckets = summary["buckets"].as_array().unwrap();
    assert!((60..=61).contains(&buckets.len()) && buckets[0]["at"] == summary["since"], "{summary}");
    let count = |name: &str| buckets.iter().filter_map(|bucket| bucket[name].as_u64()).sum::<u64>();
    assert_eq!((count("delivered"), count("failed")), (3, 1));
    for bucket in buckets {
        let latency = &bucket["latency_ms"];
        assert_eq!(latency.is_object(), bucket["delivered"] != 0, "{bucket}");
        assert!(latency["p50"].as_u64() <= latency["p95"].as_u64(), "{bucket}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn an_operator_sees_the_webhooks_of_all_or_of_one_tenant() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let (_, shop) = make(&gateway, "shop", &["read", "submit"]).await;
    for key in [shop.as_str(), OPERATOR] {
        ask(&gateway, key, "POST", "/generate", &canvas(&inbox.url())).await;
        inbox.next().await;
    }
    let delivered = async |key: &str, query: &str| {
        ask(&gateway, key, "GET", &format!("/webhooks/summary{query}"), &Value::Null).await.json()["delivered"].clone()
    };
    let both = async || (delivered(OPERATOR, "").await == json!(2)).then_some(());
    eventually("both are noted as delivered", both).await;
    assert_eq!(delivered(&shop, "").await, json!(1));
    for (tenant, count) in [("shop", 1), ("default", 1), ("nobody", 0)] {
        assert_eq!(delivered(OPERATOR, &format!("?tenant={tenant}&hours=168")).await, json!(count), "{tenant}");
    }
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_no_time_is_refused() {
    let gateway = TestGateway::start().await;
    for (query, code) in [
        ("hours=0", "out_of_range"),
        ("hours=169", "out_of_range"),
        ("hours=1.5", "out_of_range"),
        ("hours=", "out_of_range"),
        ("tenant=A B", "not_allowed"),
        ("days=1", "unknown_field"),
    ] {
        let answer = gateway.get(&format!("/webhooks/summary?{query}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{query}");
    }
    for hours in 1..=168 {
        let told = gateway.get(&format!("/webhooks/summary?hours={hours}")).await.json();
        assert!(told["buckets"].as_array().unwrap().len() <= 96, "{hours}");
    }
    gateway.close().await;
}
