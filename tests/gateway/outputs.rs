//! What is done to outputs on their way: the graph is taken out of files, and images become JPEG or `WebP`.

use crate::support::{Inbox, Setup, TestGateway, Webhook, canvas, canvas_files};
use comfygate::sim::Fault;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Cursor;

/// Every graph has it.
const GRAPH: &[u8] = b"class_type";

#[actix_web::test]
async fn a_file_of_a_save_node_leaves_without_the_graph_where_that_is_wished() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let with_graph = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
    assert!(holds(&with_graph.images()[0], GRAPH), "the simulator writes the graph as ComfyUI does");
    assert_eq!(with_graph.body["outputs"][0].get("metadata_stripped"), None);

    let mut body = canvas_files(&inbox.url());
    body["strip_metadata"] = json!(true);
    let without = gateway.run_one(&inbox, &body).await;
    let image = without.images().remove(0);
    assert!(!holds(&image, GRAPH) && image.len() < with_graph.images()[0].len());
    assert_eq!(pixels(&image), pixels(&with_graph.images()[0]));
    is_described(&gateway, &without, 0, &image).await;
    assert_eq!(without.body["outputs"][0]["metadata_stripped"], json!(true));
    gateway.close().await;
}

#[actix_web::test]
async fn the_operators_wish_holds_where_a_request_says_nothing_and_frames_stay_what_they_are() {
    let mut setup = Setup::new();
    setup.settings.outputs.strip_metadata = true;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let file = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
    assert!(!holds(&file.images()[0], GRAPH));
    let frame = gateway.run_one(&inbox, &canvas(&inbox.url())).await;
    let made = gateway.sim.images();
    let sent = made.iter().find(|image| image.prompt == frame.prompt_id() && image.node == "3").unwrap();
    assert_eq!(frame.images(), [sent.bytes.to_vec()], "a frame has nothing to be taken out");
    assert_eq!(frame.body["outputs"][0]["metadata_stripped"], json!(true));
    let mut body = canvas_files(&inbox.url());
    body["strip_metadata"] = json!(false);
    assert!(holds(&gateway.run_one(&inbox, &body).await.images()[0], GRAPH));
    gateway.close().await;
}

#[actix_web::test]
async fn a_frame_with_metadata_is_stripped_like_a_file() {
    let mut setup = Setup::new();
    setup.sim.noise_image_bytes = 50_000;
    let gateway = setup.start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    body["strip_metadata"] = json!(true);
    let webhook = gateway.run_one(&inbox, &body).await;
    let image = webhook.images().remove(0);
    assert!(!holds(&image, b"noIs") && image.len() < 50_000);
    is_described(&gateway, &webhook, 0, &image).await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_file_that_is_cut_short_is_kept_as_it_came_and_the_job_says_so() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::TruncatedImages);
    let mut body = canvas_files(&inbox.url());
    body["strip_metadata"] = json!(true);
    body["convert"] = json!("jpeg");
    let webhook = gateway.run_one(&inbox, &body).await;
    assert_eq!(webhook.body["status"], "success");
    let output = &webhook.body["outputs"][0];
    assert_eq!((&output["metadata_stripped"], &output["content_type"]), (&json!(false), &json!("image/png")));
    let made = gateway.sim.images();
    let sent = made.iter().find(|image| image.prompt == webhook.prompt_id() && image.node == "4").unwrap();
    assert_eq!(webhook.images(), [sent.bytes.to_vec()]);
    gateway.close().await;
}

#[actix_web::test]
async fn images_become_what_is_wished_with_all_that_is_told_of_them() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    for request in [canvas, canvas_files] {
        let plain = gateway.run_one(&inbox, &request(&inbox.url())).await.images().remove(0);
        for (wish, content_type, ending) in
            [(json!("webp"), "image/webp", ".webp"), (json!({ "format": "jpeg", "quality": 90 }), "image/jpeg", ".jpg")]
        {
            let mut body = request(&inbox.url());
            body["convert"] = wish;
            body["image_count"] = json!(2);
            let webhook = gateway.run_one(&inbox, &body).await;
            assert_eq!((&webhook.body["status"], webhook.images().len()), (&json!("success"), 2));
            for (place, image) in webhook.images().iter().enumerate() {
                let output = &webhook.body["outputs"][place];
                assert_eq!(output["content_type"], content_type);
                assert!(output["filename"].as_str().is_none_or(|name| name.ends_with(ending)), "{output}");
                is_described(&gateway, &webhook, place, image).await;
                assert!(!holds(image, GRAPH));
            }
            let image = &webhook.images()[0];
            if content_type == "image/webp" {
                assert_eq!(webp_pixels(image), pixels(&plain), "nothing is lost");
            } else {
                assert!(image.starts_with(b"\xff\xd8\xff") && image.ends_with(b"\xff\xd9"));
            }
            assert_eq!(gateway.get(&format!("/jobs/{}", webhook.prompt_id())).await.bytes, webhook.raw);
        }
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_replay_after_a_restart_has_the_stripped_and_converted_bytes() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas_files(&inbox.url());
    body["strip_metadata"] = json!(true);
    body["convert"] = json!("webp");
    let first = gateway.run_one(&inbox, &body).await;
    let output = &first.body["outputs"][0];
    assert_eq!((&output["metadata_stripped"], &output["content_type"]), (&json!(true), &json!("image/webp")));
    let gateway = gateway.restart().await;
    let replay = format!("/jobs/{}/deliveries/{}/replay", first.prompt_id(), first.id);
    assert_eq!(gateway.post(&replay, &json!({})).await.status, 202);
    assert_eq!(inbox.next().await.raw, first.raw);
    assert_eq!(gateway.get(&format!("/jobs/{}", first.prompt_id())).await.bytes, first.raw);
    gateway.close().await;
}

#[actix_web::test]
async fn nothing_lies_about_when_outputs_were_stripped_and_converted() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    for wish in [Value::Null, json!("webp")] {
        let mut body = canvas_files(&inbox.url());
        body["strip_metadata"] = json!(true);
        body["convert"] = wish;
        gateway.run_one(&inbox, &body).await;
    }
    let blobs = gateway.settings.storage.folder.join("blobs");
    let in_folder = |name: &std::path::Path| std::fs::read_dir(name).unwrap().count();
    let all = std::fs::read_dir(&blobs).unwrap().map(|entry| in_folder(&entry.unwrap().path())).sum::<usize>();
    assert_eq!((in_folder(&blobs.join("tmp")), all), (0, 2), "neither drafts nor the files as they came");
    gateway.close().await;
}

/// An output's size, name and link are those of these very bytes.
async fn is_described(gateway: &TestGateway, webhook: &Webhook, place: usize, image: &[u8]) {
    let output = &webhook.body["outputs"][place];
    assert_eq!(output["bytes"], json!(image.len()));
    assert!(Sha256::digest(image).iter().map(|byte| format!("{byte:02x}")).eq(pairs_of(&output["sha256"])));
    let link = output["url"].as_str().unwrap().strip_prefix(&gateway.url("")).unwrap();
    let fetched = gateway.get(link).await;
    assert_eq!(
        (fetched.header("content-type"), fetched.bytes.as_slice()),
        (output["content_type"].as_str().unwrap(), image)
    );
}

fn pairs_of(digits: &Value) -> Vec<String> {
    digits.as_str().unwrap().as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect()
}

fn holds(file: &[u8], part: &[u8]) -> bool {
    file.windows(part.len()).any(|window| window == part)
}

fn pixels(file: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}

fn webp_pixels(file: &[u8]) -> Vec<u8> {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(file)).unwrap();
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut pixels).unwrap();
    pixels
}
