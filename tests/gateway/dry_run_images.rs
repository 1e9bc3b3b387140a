//! Dry runs of requests with images: looked at where that costs nothing, and neither fetched nor kept.

use crate::image_hosts::Host;
use crate::input_images::{base64, photo, png, sha256, upload, uploads_to, with_photos};
use crate::support::{Setup, TestGateway};
use crate::uploads::holds;
use comfygate::settings::EgressMode;
use serde_json::{Value, json};

async fn check(gateway: &TestGateway, body: &Value) -> Value {
    let answer = gateway.post("/workflows/photo/check", body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// Returns the codes of what is wrong.
fn codes(told: &Value) -> Vec<String> {
    let problems = told["problems"].as_array().unwrap();
    let errors = problems.iter().filter(|problem| problem["severity"] == "error");
    errors.map(|problem| problem["type"].as_str().unwrap().to_owned()).collect()
}

#[actix_web::test]
async fn a_dry_run_takes_images_as_a_real_one_does_and_keeps_nothing() {
    let setup = with_photos(Setup::new());
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let bytes = png(40, 24, 1);
    let of_upload = png(40, 24, 2);
    let uploaded = upload(&gateway, &of_upload).await;
    for (given, of) in [
        (json!(format!("data:image/png;base64,{}", base64(&bytes))), &bytes),
        (json!({ "data": base64(&bytes) }), &bytes),
        (json!({ "upload": uploaded["id"] }), &of_upload),
    ] {
        let told = check(&gateway, &photo(given.clone())).await;
        assert_eq!((&told["ok"], codes(&told)), (&json!(true), vec![]), "{given}: {told}");
        assert_eq!(told["graph"]["1"]["inputs"]["image"], format!("comfygate/{}.png", sha256(of)));
        let expected = json!([{ "parameter": "photo", "sha256": sha256(of), "bytes": of.len(),
            "content_type": "image/png", "width": 40, "height": 24 }]);
        assert_eq!(told["inputs"], expected, "{given}");
    }
    let masked = json!({ "data": base64(&bytes), "mask": { "upload": uploaded["id"] } });
    let told = check(&gateway, &photo(masked)).await;
    assert_eq!(
        (&told["ok"], &told["inputs"][0]["mask"]["sha256"]),
        (&json!(true), &json!(sha256(&of_upload))),
        "{told}"
    );
    assert_eq!(told["graph"]["1"]["inputs"]["image"], "comfygate/unknown.png");
    let in_images = json!({ "workflow": "photo", "images": { "photo": { "data": base64(&bytes) } } });
    assert_eq!(check(&gateway, &in_images).await["ok"], true);
    assert!(holds(&blobs, &of_upload) && !holds(&blobs, &bytes), "bytes of a dry run were kept");
    assert_eq!((uploads_to(&gateway, "/upload/image"), uploads_to(&gateway, "/prompt")), (0, 0));
    gateway.close().await;
}

#[actix_web::test]
async fn a_dry_run_says_what_is_wrong_with_each_image() {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.max_pixels = 10_000;
    let gateway = setup.start().await;
    let bytes = png(40, 24, 1);
    let unknown = format!("up_{}", "0".repeat(32));
    for (given, code) in [
        (json!({ "data": base64(b"<html>") }), "invalid_image"),
        (json!({ "data": "?" }), "invalid_image"),
        (json!({ "data": base64(&png(101, 100, 1)) }), "image_too_large"),
        (json!({ "upload": unknown }), "unknown_upload"),
        (json!("upload:x"), "unknown_upload"),
        (json!({ "data": base64(&bytes), "mask": { "data": base64(&png(24, 24, 1)) } }), "mask_size_differs"),
        (json!({ "data": base64(&bytes), "mask": { "data": base64(b"GIF89a\x01\0\x01\0\0\0\0;") } }), "invalid_image"),
        (json!({ "data": base64(&bytes), "name": "x" }), "unknown_field"),
    ] {
        let told = check(&gateway, &photo(given.clone())).await;
        assert_eq!((&told["ok"], codes(&told)), (&json!(false), vec![code.to_owned()]), "{given}: {told}");
        assert_eq!(told["problems"][0]["parameter"], "photo", "{told}");
        assert_eq!(gateway.post("/generate", &photo(given)).await.code(), code, "a real one says the same");
    }
    let mut both = photo(json!({ "data": base64(b"<html>") }));
    both["extra_photo"] = json!({ "upload": unknown });
    assert_eq!(codes(&check(&gateway, &both).await).len(), 2, "all at once");
    gateway.close().await;
}

#[actix_web::test]
async fn a_dry_run_judges_the_url_of_an_image_and_does_not_call_it() {
    let gateway = with_photos(Setup::new()).start().await;
    let host = Host::serving(png(8, 8, 1)).await;
    let told = check(&gateway, &photo(json!(host.url("/a.png")))).await;
    assert_eq!((&told["ok"], &told["inputs"]), (&json!(true), &json!([])), "{told}");
    assert_eq!(told["graph"]["1"]["inputs"]["image"], "comfygate/unknown.png");
    let gateway = gateway.restart_with(|settings| settings.egress.mode = EgressMode::Public).await;
    let told = check(&gateway, &photo(json!({ "url": host.url("/a.png") }))).await;
    assert_eq!((&told["ok"], codes(&told)), (&json!(false), vec!["blocked_address".to_owned()]), "{told}");
    assert_eq!(host.asked(), 0);
    host.close().await;
    gateway.close().await;
}
