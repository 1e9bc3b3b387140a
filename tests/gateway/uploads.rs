//! Images that are uploaded before they are used: forms of all sorts, whose uploads they are, and how long they stay.

use crate::input_images::{base64, form, photo, png, sha256, upload, with_photos};
use crate::keys::{ask, make, with_keys};
use crate::support::{Setup, TestGateway, as_time_goes_by, eventually};
use comfygate::sim::Fault;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[actix_web::test]
async fn uploads_are_answered_with_what_they_are_and_the_same_bytes_are_one() {
    let gateway = with_photos(Setup::new()).start().await;
    let (first, second) = (png(20, 10, 1), png(30, 10, 2));
    let answer = gateway.post_form("/uploads", &form(&[("a", &first), ("a", &second), ("b", &first)])).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    let uploads = answer.json()["uploads"].as_array().unwrap().clone();
    assert_eq!(uploads.len(), 3);
    assert_eq!(uploads[0]["id"], uploads[2]["id"]);
    assert_ne!(uploads[0]["id"], uploads[1]["id"]);
    for (upload, bytes, width) in [(&uploads[2], &first, 20), (&uploads[1], &second, 30)] {
        assert_eq!(upload["sha256"], sha256(bytes));
        assert_eq!(
            (&upload["size"], &upload["width"], &upload["height"]),
            (&json!(bytes.len()), &json!(width), &json!(10))
        );
        assert_eq!(upload["content_type"], "image/png", "a caller's word for it counts nothing");
        let id = upload["id"].as_str().unwrap();
        assert_eq!(gateway.get(&format!("/uploads/{id}")).await.json(), *upload);
    }
    assert_eq!(upload(&gateway, &first).await["id"], uploads[0]["id"]);
    let id = uploads[0]["id"].as_str().unwrap();
    assert_eq!(gateway.delete(&format!("/uploads/{id}")).await.status, 204);
    assert_eq!(gateway.delete(&format!("/uploads/{id}")).await.status, 404);
    assert_eq!(gateway.get(&format!("/uploads/{id}")).await.status, 404);
    assert_eq!(gateway.post("/generate", &photo(json!({ "upload": id }))).await.code(), "unknown_upload");
    assert_ne!(upload(&gateway, &first).await["id"], id, "one that was deleted does not come back");
    gateway.close().await;
}

#[actix_web::test]
async fn forms_that_are_none_are_refused() {
    let mut setup = Setup::new();
    setup.settings.inputs.max_upload = 10_000;
    setup.settings.inputs.max_pixels = 10_000;
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let good = png(8, 8, 1);
    let whole = form(&[("a", &good)]);
    let text = |text: &str| text.as_bytes().to_vec();
    let many: Vec<(&str, &[u8])> = (0..3000).map(|_| ("a", good.as_slice())).collect();
    let nested = "--edge\r\ncontent-disposition: form-data; name=\"a\"\r\ncontent-type: multipart/mixed; boundary=in\r\n\r\n--in\r\n\r\nx\r\n--in--\r\n--edge--\r\n";
    let frame = b",\0\0\0\0\x64\0\x32\0\0\x02\0";
    let moving = [&b"GIF89a\x64\0\x32\0\0\0\0"[..], &frame.repeat(3), b";"].concat();
    let long_head =
        format!("--edge\r\ncontent-disposition: form-data; name=\"{}\"\r\n\r\nx\r\n--edge--\r\n", "n".repeat(200_000));
    for (what, body, status, code) in [
        ("empty", Vec::new(), 400, "invalid_form"),
        ("no part", text("--edge--\r\n"), 400, "invalid_form"),
        ("another boundary", text("--other\r\n\r\nx\r\n--other--\r\n"), 400, "invalid_form"),
        ("no name", text("--edge\r\ncontent-disposition: form-data\r\n\r\nx\r\n--edge--\r\n"), 400, "invalid_form"),
        ("no disposition", text("--edge\r\ncontent-type: image/png\r\n\r\nx\r\n--edge--\r\n"), 400, "invalid_form"),
        ("nested", text(nested), 400, "invalid_form"),
        ("cut within a file", whole[..whole.len() - 30].to_vec(), 400, "invalid_form"),
        ("cut before the end", whole[..whole.len() - 12].to_vec(), 400, "invalid_form"),
        ("a head without end", long_head.into_bytes(), 400, "invalid_form"),
        ("thousands of parts", form(&many), 413, "image_too_large"),
        ("seventeen files", form(&many[..17]), 400, "too_many_images"),
        ("no image", form(&[("a", b"<svg/>")]), 400, "invalid_image"),
        ("an empty file", form(&[("a", b"")]), 400, "invalid_image"),
        ("too many pixels", form(&[("a", &png(200, 200, 1))]), 400, "image_too_large"),
        ("too many pixels in all its frames", form(&[("a", &moving)]), 400, "image_too_large"),
        ("too many bytes", form(&[("a", &[good.clone(), vec![0; 10_000]].concat())]), 413, "image_too_large"),
    ] {
        let answer = gateway.post_form("/uploads", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.json());
    }
    let send = async |kind: &str, encoding: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request =
            client.post(gateway.url("/uploads")).header(CONTENT_TYPE, kind).header("content-encoding", encoding);
        request.body(whole.clone()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(send("application/json", "identity").await, 415);
    assert_eq!(send("multipart/mixed; boundary=edge", "identity").await, 415);
    assert_eq!(send("multipart/form-data", "identity").await, 400);
    assert_eq!(send("multipart/form-data; boundary=edge", "gzip").await, 415);
    assert_eq!(send("multipart/form-data; boundary=edge", "identity").await, 201);
    assert!(std::fs::read_dir(blobs.join("tmp")).unwrap().next().is_none(), "a draft was left");
    gateway.close().await;
}

#[actix_web::test]
async fn a_form_that_stops_half_way_is_timed_out_and_leaves_nothing() {
    let setup = Setup::new();
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let whole = form(&[("a", &png(8, 8, 1))]);
    let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let head = format!(
        "POST /uploads HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary=edge\r\ncontent-length: {}\r\n\r\n",
        gateway.address(),
        whole.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&whole[..whole.len() - 40]).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(crate::support::PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    eventually("the draft is gone", async || {
        std::fs::read_dir(blobs.join("tmp")).unwrap().next().is_none().then_some(())
    })
    .await;
    gateway.close().await;
}

#[actix_web::test]
async fn another_tenant_neither_sees_nor_uses_an_upload_nor_learns_of_it() {
    let gateway = with_photos(with_keys()).start().await;
    let (_, a) = make(&gateway, "a", &["submit", "read"]).await;
    let (_, b) = make(&gateway, "b", &["submit", "read"]).await;
    let bytes = png(12, 12, 3);
    let of_a = upload_as(&gateway, &a, &bytes).await;
    let path = format!("/uploads/{}", of_a["id"].as_str().unwrap());
    let none = Value::Null;
    assert_eq!(ask(&gateway, &a, "GET", &path, &none).await.status, 200);
    for method in ["GET", "HEAD", "DELETE"] {
        assert_eq!(ask(&gateway, &b, method, &path, &none).await.status, 404, "{method}");
    }
    let used = ask(&gateway, &b, "POST", "/generate", &photo(json!({ "upload": of_a["id"] }))).await;
    assert_eq!((used.status, used.code().as_str()), (400, "unknown_upload"));
    // The same bytes are another upload, as if nobody had them.
    let of_b = upload_as(&gateway, &b, &bytes).await;
    assert_ne!(of_a["id"], of_b["id"]);
    assert_eq!(
        ask(&gateway, &b, "DELETE", &format!("/uploads/{}", of_b["id"].as_str().unwrap()), &none).await.status,
        204
    );
    assert_eq!(ask(&gateway, &a, "GET", &path, &none).await.json()["id"], of_a["id"]);
    assert_eq!(gateway.get(&path).await.json()["tenant"], "a");
    let used = ask(&gateway, &a, "POST", "/generate", &photo(json!({ "upload": of_a["id"] }))).await;
    assert_eq!(used.status, 202, "{}", used.json());
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn the_uploads_of_a_tenant_have_only_so_much_space() {
    let mut setup = with_photos(with_keys());
    let (first, second) = (png(12, 12, 3), png(13, 13, 4));
    setup.settings.inputs.upload_space = (first.len() + second.len() - 1) as u64;
    let gateway = setup.start().await;
    let (_, a) = make(&gateway, "a", &["submit"]).await;
    let (_, b) = make(&gateway, "b", &["submit"]).await;
    let of_a = upload_as(&gateway, &a, &first).await;
    assert_eq!(upload_as(&gateway, &a, &first).await["id"], of_a["id"], "the same costs nothing");
    let full = post_as(&gateway, &a, &second).await;
    assert_eq!((full.status, full.code().as_str()), (429, "uploads_full"), "{}", full.json());
    upload_as(&gateway, &b, &second).await;
    let path = format!("/uploads/{}", of_a["id"].as_str().unwrap());
    assert_eq!(ask(&gateway, &a, "DELETE", &path, &Value::Null).await.status, 204);
    upload_as(&gateway, &a, &second).await;
    gateway.close().await;
}

#[actix_web::test]
async fn an_upload_expires_unless_it_is_used_and_its_bytes_stay_as_long_as_a_job_needs_them() {
    let (setup, clock) = Setup::with_manual_clock();
    let mut setup = with_photos(setup);
    setup.settings.inputs.upload_life = Duration::from_hours(2);
    setup.settings.storage.retention = Some(Duration::from_hours(10));
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let (used, unused) = (png(12, 12, 3), png(13, 13, 4));
    let of_used = upload(&gateway, &used).await;
    let of_unused = upload(&gateway, &unused).await;
    let path = |upload: &Value| format!("/uploads/{}", upload["id"].as_str().unwrap());
    let pass = async |time: Duration| {
        clock.advance(time);
        as_time_goes_by(&clock, "it is ready", async || (gateway.get("/ready").await.status == 200).then_some(()))
            .await;
    };
    let until_cleared = async |bytes: &[u8]| {
        eventually("the bytes are cleared", async || {
            clock.advance(Duration::from_secs(5));
            (!holds(&blobs, bytes)).then_some(())
        })
        .await;
    };
    pass(Duration::from_hours(1)).await;
    let job = gateway.generate(&photo(json!({ "upload": of_used["id"] }))).await;
    gateway.until(&job, "success").await;
    pass(Duration::from_mins(65)).await;
    assert_eq!(gateway.get(&path(&of_unused)).await.status, 404);
    assert_eq!(gateway.get(&path(&of_used)).await.status, 200, "a use lets it live on");
    until_cleared(&unused).await;
    pass(Duration::from_hours(2)).await;
    assert_eq!(gateway.get(&path(&of_used)).await.status, 404);
    // Another one goes the whole way after it, and the job's image does not go with it.
    let last = png(14, 14, 5);
    upload(&gateway, &last).await;
    pass(Duration::from_hours(3)).await;
    until_cleared(&last).await;
    assert!(holds(&blobs, &used), "its job is still there");
    pass(Duration::from_hours(10)).await;
    until_cleared(&used).await;
    assert_eq!(gateway.get(&format!("/jobs/{job}")).await.status, 404);
    gateway.close().await;
}

#[actix_web::test]
async fn a_job_that_waits_keeps_its_image_though_the_upload_is_gone() {
    let gateway = with_photos(Setup::new()).start().await;
    gateway.sim.inject(Fault::Stall);
    let bytes = png(12, 12, 3);
    let of_job = upload(&gateway, &bytes).await;
    let job = gateway.generate(&photo(json!({ "upload": of_job["id"] }))).await;
    assert_eq!(gateway.delete(&format!("/uploads/{}", of_job["id"].as_str().unwrap())).await.status, 204);
    // The next start sweeps away what nobody needs.
    let gateway = gateway.restart().await;
    gateway.sim.release();
    assert_eq!(gateway.until(&job, "success").await["inputs"][0]["sha256"], sha256(&bytes));
    gateway.close().await;
}

#[actix_web::test]
async fn an_upload_is_there_after_a_restart() {
    let gateway = with_photos(Setup::new()).start().await;
    let bytes = png(12, 12, 3);
    let before = upload(&gateway, &bytes).await;
    let gateway = gateway.restart().await;
    let job = gateway.generate(&photo(json!({ "upload": before["id"] }))).await;
    assert_eq!(gateway.until(&job, "success").await["inputs"][0]["sha256"], sha256(&bytes));
    gateway.close().await;
}

#[actix_web::test]
async fn a_body_that_is_too_large_is_told_where_images_go() {
    let gateway = with_photos(Setup::new()).start().await;
    let body = photo(json!({ "data": base64(&vec![0; 1 << 20]) }));
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    assert!(answer.json()["error"].as_str().unwrap().contains("POST /uploads"), "{}", answer.json());
    gateway.close().await;
}

async fn post_as(gateway: &TestGateway, key: &str, bytes: &[u8]) -> crate::support::Answer {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = form(&[("image", bytes)]);
    let request = client.post(gateway.url("/uploads")).bearer_auth(key);
    let request = request.header(CONTENT_TYPE, "multipart/form-data; boundary=edge").header(CONTENT_LENGTH, body.len());
    let answer = request.body(body).send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    crate::support::Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() }
}

pub(crate) async fn upload_as(gateway: &TestGateway, key: &str, bytes: &[u8]) -> Value {
    let answer = post_as(gateway, key, bytes).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["uploads"][0].clone()
}

pub(crate) fn holds(blobs: &Path, bytes: &[u8]) -> bool {
    let name = sha256(bytes);
    let (first, rest) = name.split_at(2);
    blobs.join(first).join(rest).exists()
}
