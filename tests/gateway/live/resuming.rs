//! Who lost a stream goes on where it was.

use super::{Event, Reader};
use crate::support::{Inbox, TestGateway, starter};
use comfygate::sim::Fault;
use serde_json::json;
use std::time::Duration;

#[actix_web::test]
async fn a_stream_that_was_lost_goes_on_after_the_last_event_that_was_heard() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Slow(Duration::from_millis(10)));
    let mut all = Reader::open(&gateway, "/events?events=status,node,progress,output", None).await;
    let id = gateway.generate(&starter(&inbox.url())).await;
    let path = format!("/jobs/{id}/events?previews=false");
    let mut first = Reader::open(&gateway, &path, None).await;
    let mut heard: Vec<Event> = Vec::new();
    while heard.last().is_none_or(|event| event.name != "progress") {
        heard.push(first.next().await.unwrap());
    }
    drop(first);
    let last = heard.last().unwrap().id.clone().unwrap();
    // Meanwhile it ends.
    gateway.until(&id, "success").await;
    let rest = Reader::open(&gateway, &path, Some(&last)).await.rest().await;
    let told_to_all = {
        let mut told = Vec::new();
        while told.last().is_none_or(|event: &Event| event.data["status"] != "succeeded") {
            told.push(all.next().await.unwrap());
        }
        told
    };
    let place = told_to_all.iter().position(|event| event.id.as_ref() == Some(&last)).unwrap();
    assert_eq!(rest, told_to_all[place + 1..], "nothing is missing and nothing comes twice");
    let by_query = format!("{path}&last_event_id={last}");
    assert_eq!(Reader::open(&gateway, &by_query, None).await.rest().await, rest);

    let middle = &told_to_all[place + 2];
    let mut again = Reader::open(&gateway, "/events", middle.id.as_deref()).await;
    assert_eq!(again.next().await.unwrap().name, "hello");
    assert_eq!(again.next().await.unwrap(), told_to_all[place + 3]);
    gateway.close().await;
}

#[actix_web::test]
async fn whoever_names_an_event_that_is_not_known_hears_how_things_stand() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "preview".into() });
    let id = gateway.generate(&starter(&inbox.url())).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let path = format!("/jobs/{id}/events");
    let mut watching = Reader::open(&gateway, &path, None).await;
    let sampling = watching.until("progress", |data| data["node"]["class_type"] == "KSampler").await;
    for last in
        ["", "7", "0-1", "abc-def", "ffff-99999999999999999999", &sampling.id.as_ref().unwrap().replace('-', "-9")]
    {
        let mut reader = Reader::open(&gateway, &path, Some(last)).await;
        let status = reader.next().await.unwrap();
        assert_eq!((status.name.as_str(), &status.data["status"]), ("status", &json!("running")), "{last}");
        let progress = reader.until("progress", |_| true).await;
        assert_eq!(progress.data["percent"], sampling.data["percent"], "{last}");
    }
    gateway.sim.release();
    assert_eq!(watching.rest().await.last().unwrap().data["status"], "succeeded");
    gateway.close().await;
}
