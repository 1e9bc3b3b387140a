//! Jobs that work on images: given as bytes, by address, as uploads; brought to the backend before the prompt.

use crate::proxy::{At, Effect, On};
use crate::support::{Inbox, Setup, TestGateway, canvas};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// A workflow with two images; what is saved has the size of the first.
const TEMPLATE: &str = r#"{
  "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
  "2": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
  "3": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}
}"#;
const CONFIG: &str = "node_mappings:\n  photo: { node_id: \"1\", property: image, type: image }\n  \
     extra_photo: { node_id: \"2\", property: image, type: image }\n  \
     listed: { node_id: \"2\", property: image, type: image, enum: [a.png, b.png] }\n";

/// The same settings with the workflow `photo`.
pub(crate) fn with_photos(setup: Setup) -> Setup {
    let one_less = CONFIG.lines().filter(|line| !line.contains("listed")).collect::<Vec<_>>().join("\n");
    let listed = CONFIG.lines().filter(|line| !line.contains("extra_photo")).collect::<Vec<_>>().join("\n");
    setup.with_workflow("photo", &one_less, TEMPLATE).with_workflow("listed", &listed, TEMPLATE)
}

#[expect(clippy::needless_pass_by_value, reason = "so that calls may build it in place")]
pub(crate) fn photo(image: Value) -> Value {
    json!({ "workflow": "photo", "photo": image })
}

/// A grey PNG of this size.
pub(crate) fn png(width: u32, height: u32, grey: u8) -> Vec<u8> {
    picture(png::ColorType::Grayscale, width, height, &vec![grey; (width * height) as usize])
}

pub(crate) fn picture(color: png::ColorType, width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(pixels).unwrap();
    writer.finish().unwrap();
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Uploads a file and returns what was answered of it.
pub(crate) async fn upload(gateway: &TestGateway, bytes: &[u8]) -> Value {
    let answer = gateway.post_form("/uploads", &form(&[("image", bytes)])).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["uploads"][0].clone()
}

/// A form with these files.
pub(crate) fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, bytes) in files {
        let head = format!(
            "--edge\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"evil.php\"\r\ncontent-type: text/html\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body
}

/// Waits for the end of a job and returns its object.
async fn ended(gateway: &TestGateway, id: &str) -> Value {
    gateway.until(id, "success").await
}

/// Returns the name that the first `LoadImage` had in the latest prompt.
pub(crate) fn prompted(gateway: &TestGateway) -> String {
    let requests = gateway.sim.requests();
    let prompt = requests.iter().rev().find(|request| request.is_prompt()).unwrap();
    let body: Value = serde_json::from_slice(&prompt.body).unwrap();
    body["prompt"]["1"]["inputs"]["image"].as_str().unwrap().to_owned()
}

pub(crate) fn uploads_to(gateway: &TestGateway, path: &str) -> usize {
    gateway.sim.requests().iter().filter(|request| request.path == path && request.method == "POST").count()
}

#[actix_web::test]
async fn the_schema_of_an_image_has_every_way_in_which_it_may_be_given() {
    let gateway = with_photos(Setup::new()).start().await;
    let schema = |answer: Value| answer["schema"]["properties"].clone();
    let photo = schema(gateway.get("/workflows/photo").await.json())["photo"].clone();
    assert_eq!((&photo["format"], &photo["anyOf"][0]["type"]), (&json!("image"), &json!("string")));
    let object = &photo["anyOf"][1];
    for way in ["data", "url", "upload"] {
        assert!(
            object["properties"][way].is_object()
                && object["properties"]["mask"]["anyOf"][1]["properties"][way].is_object()
        );
    }
    // Where the mapping lists names, nothing else is taken.
    let listed = schema(gateway.get("/workflows/listed").await.json())["listed"].clone();
    assert_eq!((&listed["type"], &listed["enum"]), (&json!("string"), &json!(["a.png", "b.png"])));
    assert!(listed["anyOf"].is_null());
}

#[actix_web::test]
async fn an_image_of_each_kind_reaches_the_backend_before_the_prompt() {
    let gateway = with_photos(Setup::new()).start().await;
    let host = crate::image_hosts::Host::serving(png(40, 24, 4)).await;
    let uploaded = upload(&gateway, &png(40, 24, 5)).await;
    let id = uploaded["id"].as_str().unwrap();
    for (given, bytes) in [
        (json!(format!("data:image/png;base64,{}", base64(&png(40, 24, 1)))), png(40, 24, 1)),
        (json!({ "data": base64(&png(40, 24, 2)) }), png(40, 24, 2)),
        (json!(host.url("/a.png?token=x")), png(40, 24, 4)),
        (json!({ "url": host.url("/b.png") }), png(40, 24, 4)),
        (json!({ "upload": id }), png(40, 24, 5)),
        (json!(format!("upload:{id}")), png(40, 24, 5)),
    ] {
        let job = gateway.generate(&photo(given.clone())).await;
        let done = ended(&gateway, &job).await;
        let name = format!("comfygate/{}.png", sha256(&bytes));
        assert_eq!(prompted(&gateway), name, "{given}");
        let there = gateway.sim.inputs().into_iter().find(|(other, _)| *other == name).unwrap();
        assert_eq!(there.1, bytes, "{given}");
        let expected = json!([{ "parameter": "photo", "sha256": sha256(&bytes), "bytes": bytes.len(),
            "content_type": "image/png", "width": 40, "height": 24 }]);
        assert_eq!(done["inputs"], expected, "{given}");
        let image = STANDARD.decode(done["images"][0].as_str().unwrap()).unwrap();
        let size = png::Decoder::new(std::io::Cursor::new(image)).read_info().unwrap().info().size();
        assert_eq!(size, (40, 24), "the node had the image");
        assert!(!done.to_string().contains("token"), "{done}");
    }
    assert_eq!(gateway.sim.inputs().len(), 4, "each content lies there once");
    host.close().await;
    gateway.close().await;
}

#[actix_web::test]
async fn images_may_stand_in_a_field_of_their_own_beside_plain_names() {
    let gateway = with_photos(Setup::new()).start().await;
    let bytes = png(16, 16, 9);
    let image = json!({ "data": base64(&bytes) });
    let mut body = json!({ "workflow": "photo", "images": { "extraPhoto": image, "photo": image } });
    let job = gateway.generate(&body).await;
    let inputs = ended(&gateway, &job).await["inputs"].clone();
    assert_eq!((&inputs[0]["parameter"], &inputs[1]["parameter"]), (&json!("extra_photo"), &json!("photo")));
    for (place, code) in [("extra_photo", "duplicate_param"), ("extraPhoto", "duplicate_param")] {
        body[place] = json!("example.png");
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{}", answer.json());
        body.as_object_mut().unwrap().remove(place);
    }
    for (images, code) in [
        (json!([]), "invalid_type"),
        (json!({ "nothing": "a.png" }), "unknown_param"),
        (json!({ "photo": "../a.png" }), "invalid_filename"),
    ] {
        body["images"] = images;
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{}", answer.json());
    }
    let of_text = json!({ "workflow": "canvas", "images": { "prompt": "x" } });
    assert_eq!(gateway.post("/generate", &of_text).await.code(), "invalid_type");
    let plain = gateway.generate(&json!({ "workflow": "photo", "images": { "photo": "of-comfyui.png" } })).await;
    gateway.until(&plain, "failure").await;
    assert_eq!(prompted(&gateway), "of-comfyui.png");
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_no_image_is_refused_before_anything_is_stored() {
    let mut setup = with_photos(Setup::new());
    setup.settings.inputs.max_upload = 5_000;
    setup.settings.inputs.max_pixels = 10_000;
    let blobs = setup.settings.storage.folder.join("blobs");
    let gateway = setup.start().await;
    let data = |bytes: &[u8]| json!({ "data": base64(bytes) });
    let good = data(&png(16, 16, 1));
    for (given, code) in [
        (data(b""), "invalid_image"),
        (data(b"<html>"), "invalid_image"),
        (data(b"\x89PNG\r\n\x1a\nxx"), "invalid_image"),
        (data(&png(101, 100, 1)), "image_too_large"),
        (data(&[png(16, 16, 1), vec![0; 5_000]].concat()), "image_too_large"),
        (json!({ "data": "???" }), "invalid_image"),
        (json!({ "upload": "up_00000000000000000000000000000000" }), "unknown_upload"),
        (json!({ "upload": "x" }), "unknown_upload"),
        (json!({}), "invalid_image"),
        (json!({ "data": good["data"], "mask": data(&png(15, 16, 1)) }), "mask_size_differs"),
        (json!({ "data": good["data"], "mask": data(b"GIF89a\x10\x00\x10\x00") }), "invalid_image"),
        (json!({ "data": good["data"], "mask": "example.png" }), "invalid_image"),
        (json!("a.png [output]"), "invalid_filename"),
        (json!("../a.png"), "invalid_filename"),
        (json!("/etc/a.png"), "invalid_filename"),
        (json!("a\u{7}.png"), "invalid_filename"),
        (json!(["1", 0]), "invalid_type"),
        (json!(7), "invalid_type"),
    ] {
        let answer = gateway.post("/generate", &photo(given.clone())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{given}: {}", answer.json());
        assert_eq!(answer.json()["details"]["parameters"][0]["parameter"], "photo", "{given}");
    }
    let listed = gateway.post("/generate", &json!({ "workflow": "listed", "listed": good })).await;
    assert_eq!((listed.status, listed.code().as_str()), (400, "not_allowed"), "{}", listed.json());
    assert!(listed.json()["error"].as_str().unwrap().contains("and no image of a caller's"), "{}", listed.json());
    let many: serde_json::Map<String, Value> = (0..3).map(|place| (format!("p{place}"), good.clone())).collect();
    assert_eq!(
        gateway.post("/generate", &json!({ "workflow": "photo", "images": many })).await.code(),
        "unknown_param"
    );
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    let left: Vec<_> = std::fs::read_dir(blobs.join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    gateway.close().await;
}

#[actix_web::test]
async fn a_masked_image_has_the_alpha_that_its_mask_means() {
    let gateway = with_photos(Setup::new()).start().await;
    let inbox = Inbox::open();
    let image = picture(png::ColorType::Rgb, 2, 1, &[10, 20, 30, 40, 50, 60]);
    // White is masked, and so is what is transparent: ComfyUI's MASK is 1 where alpha is 0.
    for mask in [
        picture(png::ColorType::Grayscale, 2, 1, &[255, 0]),
        picture(png::ColorType::Rgba, 2, 1, &[255, 255, 255, 255, 0, 0, 0, 255]),
        picture(png::ColorType::Rgba, 2, 1, &[0, 0, 0, 0, 0, 0, 0, 255]),
    ] {
        let mut body = photo(json!({ "data": base64(&image), "mask": { "data": base64(&mask) } }));
        body["webhook_url"] = json!(inbox.url());
        let told = gateway.run_one(&inbox, &body).await.body;
        let given = json!({ "sha256": sha256(&mask), "bytes": mask.len() });
        assert_eq!(told["inputs"][0]["mask"], given);
        let name = prompted(&gateway);
        let (_, joined) = gateway.sim.inputs().into_iter().find(|(other, _)| *other == name).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(joined.to_vec())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [10, 20, 30, 0, 40, 50, 60, 255]);
    }
    gateway.close().await;
}

#[actix_web::test]
async fn a_picture_that_cannot_be_joined_with_its_mask_fails_its_job_and_not_the_backend() {
    let gateway = with_photos(Setup::new()).start().await;
    let inbox = Inbox::open();
    let whole = png(16, 16, 7);
    let mut body = photo(json!({ "data": base64(&whole[..40]), "mask": { "data": base64(&whole) } }));
    body["webhook_url"] = json!(inbox.url());
    let told = gateway.run_one(&inbox, &body).await.body;
    assert_eq!((&told["status"], &told["code"]), (&json!("failure"), &json!("validation")), "{told}");
    assert_eq!(gateway.run_one(&inbox, &canvas(&inbox.url())).await.body["status"], "success");
    gateway.close().await;
}

#[actix_web::test]
async fn what_lies_on_the_backend_is_not_brought_again_until_it_is_lost() {
    let gateway = with_photos(Setup::new()).start().await;
    let given = json!({ "data": base64(&png(16, 16, 3)), "mask": { "data": base64(&png(16, 16, 255)) } });
    for _ in 0..3 {
        let job = gateway.generate(&photo(given.clone())).await;
        ended(&gateway, &job).await;
    }
    assert_eq!((uploads_to(&gateway, "/upload/image"), uploads_to(&gateway, "/upload/mask")), (1, 1));
    gateway.sim.delete_inputs();
    let job = gateway.generate(&photo(given.clone())).await;
    ended(&gateway, &job).await;
    assert_eq!((uploads_to(&gateway, "/upload/image"), uploads_to(&gateway, "/upload/mask")), (2, 2));
    gateway.close().await;
}

#[actix_web::test]
async fn a_file_of_comfyuis_own_that_is_not_there_is_asked_for_once() {
    let gateway = with_photos(Setup::new()).start().await;
    let inbox = Inbox::open();
    // The node of the other image feeds no output, so it is not looked at.
    let mut body = photo(json!("missing.png"));
    body["extra_photo"] = json!({ "data": base64(&png(16, 16, 3)) });
    body["webhook_url"] = json!(inbox.url());
    let told = gateway.run_one(&inbox, &body).await.body;
    assert_eq!((&told["status"], &told["code"]), (&json!("failure"), &json!("validation")), "{told}");
    assert_eq!(uploads_to(&gateway, "/prompt"), 1);
    gateway.close().await;
}

#[actix_web::test]
async fn an_accepted_image_outlives_a_restart_before_it_was_brought_anywhere() {
    let gateway = with_photos(Setup::new()).start().await;
    gateway.sim.inject(comfygate::sim::Fault::Hang { at: "executing".into() });
    let mut runs = canvas("");
    runs.as_object_mut().unwrap().remove("webhook_url");
    // One runs and one waits on the backend; the third is in the gateway alone.
    let first = gateway.generate(&runs).await;
    gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let second = gateway.generate(&runs).await;
    gateway.until(&second, "submitted").await;
    let bytes = png(24, 24, 77);
    let third = gateway.generate(&photo(json!({ "data": base64(&bytes) }))).await;
    assert_eq!(uploads_to(&gateway, "/upload/image"), 0);
    let gateway = gateway.restart().await;
    assert_eq!(gateway.job(&third).await["status"], "queued");
    gateway.sim.release();
    for id in [&first, &second, &third] {
        ended(&gateway, id).await;
    }
    assert_eq!(gateway.job(&third).await["inputs"][0]["sha256"], sha256(&bytes));
    // What the others have shown on the socket meanwhile may have been lost, so they may have been sent again after it.
    let name = format!("comfygate/{}.png", sha256(&bytes));
    let has_name = |request: &comfygate::sim::SimRequest| String::from_utf8_lossy(&request.body).contains(&name);
    assert!(gateway.sim.requests().iter().any(|request| request.is_prompt() && has_name(request)));
    gateway.close().await;
}

#[actix_web::test]
async fn an_image_that_breaks_on_its_way_to_the_backend_fails_no_job() {
    for (at, effect) in
        [(At::Request(0), Effect::Reset), (At::Request(50), Effect::Reset), (At::Answer(0), Effect::Reset)]
    {
        let (gateway, proxy) = with_photos(Setup::new()).start_behind_proxy().await;
        proxy.arm_times(2, On::Call("POST /upload/image"), at, effect);
        let bytes = png(24, 24, 78);
        let job = gateway.generate(&photo(json!({ "data": base64(&bytes) }))).await;
        ended(&gateway, &job).await;
        assert_eq!(proxy.struck(), 2);
        assert_eq!(gateway.sim.inputs().len(), 1, "the same content is one file, however often it is brought");
        assert_eq!(uploads_to(&gateway, "/prompt"), 1);
        gateway.close().await;
    }
}
