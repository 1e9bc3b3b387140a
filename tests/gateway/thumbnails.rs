//! Small pictures of outputs, and the lists that lead to them.

use crate::keys::{ask, make, with_keys};
use crate::support::{Inbox, TestGateway, canvas, canvas_files};
use serde_json::{Value, json};

#[actix_web::test]
async fn an_output_has_a_small_picture_that_a_browser_keeps() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas_files(&inbox.url());
    (body["width"], body["height"]) = (json!(512), json!(256));
    let webhook = gateway.run_one(&inbox, &body).await;
    let path = format!("/jobs/{}/outputs/0", webhook.prompt_id());
    let small = gateway.get(&format!("{path}?thumbnail=128")).await;
    assert_eq!((small.status, small.header("content-type")), (200, "image/jpeg"));
    assert_eq!(size_of_jpeg(&small.bytes), (128, 64));
    assert_eq!(small.header("cache-control"), "private, max-age=86400");
    assert_eq!(
        (small.header("vary"), small.header("x-content-type-options")),
        ("authorization, cookie, x-api-key", "nosniff")
    );
    let sha256 = webhook.body["outputs"][0]["sha256"].as_str().unwrap();
    assert_eq!(small.header("etag"), format!("\"{sha256}-128\""));
    let known = gateway.get_with(&format!("{path}?thumbnail=128"), &[("if-none-match", small.header("etag"))]).await;
    assert_eq!((known.status, known.bytes.len(), known.header("etag")), (304, 0, small.header("etag")));
    assert_eq!(
        gateway.get_with(&format!("{path}?thumbnail=64"), &[("if-none-match", small.header("etag"))]).await.status,
        200
    );
    let head = gateway.head(&format!("{path}?thumbnail=128")).await;
    assert_eq!((head.status, head.header("content-type")), (200, "image/jpeg"));
    // It fits already: the output itself.
    let whole = gateway.get(&format!("{path}?thumbnail=512")).await;
    assert_eq!((whole.status, &whole.bytes, whole.header("content-type")), (200, &webhook.images()[0], "image/png"));
    for wrong in ["63", "1025", "x", ""] {
        let answer = gateway.get(&format!("{path}?thumbnail={wrong}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "out_of_range"), "{wrong}");
    }
    assert_eq!(gateway.get(&format!("{}?thumbnail=64", path.replace("/0", "/1"))).await.status, 404);
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_no_image_has_none_and_what_only_says_it_is_one_is_given_as_it_is() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let webhook = gateway.run_one(&inbox, &canvas_files(&inbox.url())).await;
    let id = webhook.prompt_id();
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    database.execute("UPDATE output SET content_type = 'video/mp4'", ()).unwrap();
    let answer = gateway.get(&format!("/jobs/{id}/outputs/0?thumbnail=64")).await;
    let told = json!({ "code": "no_thumbnail", "error": "this output is video/mp4: only images have thumbnails" });
    assert_eq!((answer.status, answer.json()), (404, told));
    let listed = &gateway.get("/jobs").await.json()["jobs"][0];
    assert_eq!((&listed["outputs"], listed.get("thumbnail_url")), (&json!(1), None));

    database.execute("UPDATE output SET content_type = 'image/svg+xml'", ()).unwrap();
    let sha256 = webhook.body["outputs"][0]["sha256"].as_str().unwrap();
    let blobs = gateway.settings.storage.folder.join("blobs");
    let (folder, name) = sha256.split_at(2);
    std::fs::write(blobs.join(folder).join(name), "<svg/>").unwrap();
    let answer = gateway.get(&format!("/jobs/{id}/outputs/0?thumbnail=64")).await;
    assert_eq!((answer.status, answer.bytes.as_slice()), (200, &b"<svg/>"[..]));
    assert!(answer.header("content-disposition").starts_with("attachment"), "{:?}", answer.headers);
    gateway.close().await;
}

#[actix_web::test]
async fn a_list_leads_to_the_pictures_of_jobs_that_have_ended() {
    let gateway = TestGateway::start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    (body["width"], body["height"], body["image_count"]) = (json!(300), json!(300), json!(2));
    let done = gateway.run_one(&inbox, &body).await;
    gateway.sim.inject(comfygate::sim::Fault::Hang { at: "executing".into() });
    let runs = gateway.generate(&canvas(&inbox.url())).await;
    gateway.until(&runs, "running").await;
    let jobs = gateway.get("/jobs").await.json()["jobs"].clone();
    assert_eq!((jobs[0].get("outputs"), jobs[0].get("thumbnail_url")), (None, None));
    let url = format!("/jobs/{}/outputs/0?thumbnail=256", done.prompt_id());
    assert_eq!((&jobs[1]["outputs"], &jobs[1]["thumbnail_url"]), (&json!(2), &json!(url)));
    let small = gateway.get(&url).await;
    assert_eq!((small.status, size_of_jpeg(&small.bytes)), (200, (256, 256)));
    gateway.sim.release();
    inbox.next().await;
    gateway.close().await;
}

#[actix_web::test]
async fn a_small_picture_is_for_those_who_may_have_the_large_one() {
    let gateway = with_keys().start().await;
    let inbox = Inbox::open();
    let mut body = canvas(&inbox.url());
    (body["width"], body["height"], body["delivery"]) = (json!(300), json!(300), json!("links"));
    let webhook = gateway.run_one(&inbox, &body).await;
    let (_, stranger) = make(&gateway, "shop", &["read"]).await;
    let path = format!("/jobs/{}/outputs/0?thumbnail=64", webhook.prompt_id());
    assert_eq!(ask(&gateway, "", "GET", &path, &Value::Null).await.status, 401);
    assert_eq!(ask(&gateway, &stranger, "GET", &path, &Value::Null).await.status, 404);
    let link = webhook.body["outputs"][0]["url"].as_str().unwrap();
    let link = format!("{}&thumbnail=64", link.strip_prefix(&gateway.url("")).unwrap());
    let small = ask(&gateway, "", "GET", &link, &Value::Null).await;
    assert_eq!((small.status, size_of_jpeg(&small.bytes)), (200, (64, 64)));
    gateway.close().await;
}

/// Reads width and height from the frame's header.
fn size_of_jpeg(bytes: &[u8]) -> (u16, u16) {
    assert!(bytes.starts_with(b"\xff\xd8\xff"), "no JPEG");
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let number = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    (number(at + 7), number(at + 5))
}
