//! `GET /ws`.

use super::{Message, connect, heard};
use crate::support::{Inbox, TestGateway, starter};
use futures_util::SinkExt;
use serde_json::{Value, json};

#[actix_web::test]
async fn a_socket_tells_events_as_text_and_previews_as_comfyui_frames() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut plain = connect(&gateway, "/ws").await;
    let mut with_metadata = connect(&gateway, "/ws?events=preview").await;
    let wish = json!({ "type": "feature_flags", "data": { "supports_preview_metadata": true } });
    with_metadata.send(Message::text(wish.to_string())).await.unwrap();
    let answer: Value = serde_json::from_str(heard(&mut with_metadata).await.unwrap().to_text().unwrap()).unwrap();
    assert_eq!(answer, wish);
    let id = gateway.generate(&starter(&inbox.url())).await;

    let (mut texts, mut frames) = (Vec::<Value>::new(), Vec::new());
    while texts.last().is_none_or(|last| last["data"]["status"] != "succeeded") {
        let message = heard(&mut plain).await.unwrap();
        if let Message::Binary(frame) = message {
            frames.push(frame);
        } else {
            texts.push(serde_json::from_str(message.to_text().unwrap()).unwrap());
        }
    }
    assert!(texts.iter().all(|text| text["data"]["prompt_id"] == json!(id)), "{texts:?}");
    for kind in ["status", "node", "progress", "output"] {
        assert!(texts.iter().any(|text| text["type"] == kind), "{kind}");
    }
    let frame = frames.first().unwrap();
    assert_eq!(frame[..8], [0, 0, 0, 1, 0, 0, 0, 1], "two big-endian numbers: an image, and that it is a JPEG");
    assert!(frame[8..].starts_with(b"\xff\xd8\xff"));

    let Message::Binary(frame) = heard(&mut with_metadata).await.unwrap() else { panic!("no frame") };
    let length = u32::from_be_bytes(frame[4..8].try_into().unwrap()) as usize;
    assert_eq!(frame[..4], [0, 0, 0, 4]);
    let metadata: Value = serde_json::from_slice(&frame[8..8 + length]).unwrap();
    assert_eq!((&metadata["prompt_id"], &metadata["image_type"]), (&json!(id), &json!("image/jpeg")));
    assert!(metadata["node_id"].is_string() && frame[8 + length..].starts_with(b"\xff\xd8\xff"));
    gateway.close().await;
    let Some(Message::Text(text)) = heard(&mut plain).await else { panic!("no goodbye") };
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["type"], "cut_off");
    let Some(Message::Close(Some(frame))) = heard(&mut plain).await else { panic!("no close") };
    assert_eq!(u16::from(frame.code), 1013);
}

#[actix_web::test]
async fn only_a_websocket_of_our_own_pages_is_taken() {
    let gateway = TestGateway::start().await;
    let answer = gateway.get("/ws").await;
    assert_eq!((answer.status, answer.code().as_str()), (426, "upgrade_required"));
    assert_eq!(answer.header("upgrade"), "websocket");
    let shaking = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let own = gateway.url("");
    for (origin, status) in [("https://evil.example", 403), ("null", 403), (own.as_str(), 101)] {
        let headers: Vec<_> = shaking.into_iter().chain([("origin", origin)]).collect();
        let answer = gateway.get_with("/ws", &headers[..]).await;
        assert_eq!(answer.status, status, "{origin}");
    }
    gateway.close().await;
}
