//! Whole graphs from submission to picture, and what sockets see that come late.

use comfygate::sim::{Fault, Sim, SimOptions};
use serde_json::{Value, json};

use crate::client::{Frame, Socket, canvas, get, kinds, listen, post, start, submit};

fn stable_diffusion(checkpoint: &str) -> Value {
    json!({
        "4": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": checkpoint } },
        "5": { "class_type": "EmptyLatentImage", "inputs": { "width": 96, "height": 64, "batch_size": 2 } },
        "6": { "class_type": "CLIPTextEncode", "inputs": { "text": "a lake at night", "clip": ["4", 1] } },
        "7": { "class_type": "CLIPTextEncode", "inputs": { "text": "blurry", "clip": ["4", 1] } },
        "3": { "class_type": "KSampler", "inputs": { "seed": 7, "steps": 3, "cfg": 7.0, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0] } },
        "8": { "class_type": "VAEDecode", "inputs": { "samples": ["3", 0], "vae": ["4", 2] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["8", 0], "filename_prefix": "out/x" } },
        "10": { "class_type": "SaveImageWebsocket", "inputs": { "images": ["8", 0] } },
    })
}

fn flux(text: &Value) -> Value {
    json!({
        "12": { "class_type": "UNETLoader", "inputs": { "unet_name": "flux.safetensors", "weight_dtype": "default" } },
        "11": { "class_type": "DualCLIPLoader", "inputs": { "clip_name1": "t5.safetensors", "clip_name2": "l.safetensors", "type": "flux" } },
        "10": { "class_type": "VAELoader", "inputs": { "vae_name": "ae.safetensors" } },
        "6": text,
        "26": { "class_type": "FluxGuidance", "inputs": { "conditioning": ["6", 0], "guidance": 3.5 } },
        "27": { "class_type": "EmptySD3LatentImage", "inputs": { "width": 128, "height": 64, "batch_size": 1 } },
        "22": { "class_type": "BasicGuider", "inputs": { "model": ["12", 0], "conditioning": ["26", 0] } },
        "25": { "class_type": "RandomNoise", "inputs": { "noise_seed": 3 } },
        "16": { "class_type": "KSamplerSelect", "inputs": { "sampler_name": "euler" } },
        "17": { "class_type": "BasicScheduler", "inputs": { "model": ["12", 0], "scheduler": "simple", "steps": 4, "denoise": 1.0 } },
        "13": { "class_type": "SamplerCustomAdvanced", "inputs": { "noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0],
            "sigmas": ["17", 0], "latent_image": ["27", 0] } },
        "8": { "class_type": "VAEDecode", "inputs": { "samples": ["13", 0], "vae": ["10", 0] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["8", 0], "filename_prefix": "flux" } },
    })
}

/// Returns width and height of a PNG file.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let word = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (word(16), word(20))
}

async fn saved_images(sim: &Sim, prompt: &str, node: &str) -> Vec<bytes::Bytes> {
    let history = get(sim, &format!("/history/{prompt}")).await.json();
    let images = history[prompt]["outputs"][node]["images"].as_array().unwrap().clone();
    let mut files = Vec::new();
    for image in images {
        let part = |key: &str| image[key].as_str().unwrap().to_owned();
        let path = format!("/view?filename={}&subfolder={}&type={}", part("filename"), part("subfolder"), part("type"));
        let answer = get(sim, &path).await;
        assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (200, "image/png"));
        files.push(answer.body);
    }
    files
}

#[tokio::test]
async fn a_stable_diffusion_graph_yields_progress_previews_and_pictures() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    assert_eq!(submit(&sim, "p", &stable_diffusion("any.safetensors")).await.status, 200);
    let frames = socket.until_idle().await;

    let files = saved_images(&sim, "p", "9").await;
    assert_eq!(files.len(), 2);
    assert_ne!(files[0], files[1]);
    assert_eq!(size(&files[0]), (96, 64));
    let made: Vec<_> = sim.images().into_iter().filter(|image| image.node == "9").map(|image| image.bytes).collect();
    assert_eq!(made, files);

    let sent: Vec<_> = sim.images().into_iter().filter(|image| image.node == "10").map(|image| image.bytes).collect();
    let images: Vec<_> =
        frames.iter().filter_map(|frame| if let Frame::Binary(bytes) = frame { Some(bytes) } else { None }).collect();
    let results: Vec<_> = images.iter().filter(|image| sent.iter().any(|bytes| image.ends_with(bytes))).collect();
    assert_eq!((images.len(), results.len()), (3 + 2, 2), "three previews and two results");
    let kinds = kinds(&frames);
    assert_eq!(kinds.first().map(String::as_str), Some("execution_start"));
    assert_eq!(kinds.iter().rev().take(2).rev().collect::<Vec<_>>(), ["execution_success", "idle"]);
    assert_eq!(kinds.iter().filter(|kind| *kind == "progress").count(), 3 + 2);
}

#[tokio::test]
async fn flux_graphs_yield_a_picture_with_either_encoder() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    let plain = json!({ "class_type": "CLIPTextEncode", "inputs": { "text": "a glass garden", "clip": ["11", 0] } });
    let double = json!({ "class_type": "CLIPTextEncodeFlux",
        "inputs": { "clip_l": "a garden", "t5xxl": "a garden of glass", "guidance": 3.5, "clip": ["11", 0] } });
    for (id, text) in [("p1", plain), ("p2", double)] {
        let answer = submit(&sim, id, &flux(&text)).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        socket.until_idle().await;
        let files = saved_images(&sim, id, "9").await;
        assert_eq!(files.iter().map(|file| size(file)).collect::<Vec<_>>(), [(128, 64)]);
    }
}

#[tokio::test]
async fn a_canvas_graph_yields_files_previews_and_frames() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 16, "height": 16, "batch_size": 1, "color": 255 } },
        "2": { "class_type": "ImageScale", "inputs": { "image": ["1", 0], "upscale_method": "bicubic", "width": 24, "height": 8, "crop": "disabled" } },
        "3": { "class_type": "ImageInvert", "inputs": { "image": ["2", 0] } },
        "4": { "class_type": "ImageBatch", "inputs": { "image1": ["2", 0], "image2": ["3", 0] } },
        "5": { "class_type": "SaveImage", "inputs": { "images": ["4", 0], "filename_prefix": "c" } },
        "6": { "class_type": "SaveImageWebsocket", "inputs": { "images": ["4", 0] } },
        "7": { "class_type": "PreviewImage", "inputs": { "images": ["1", 0] } },
    });
    let answer = submit(&sim, "p", &graph).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    socket.until_idle().await;
    let sizes = |node: &'static str| {
        sim.images().into_iter().filter(move |image| image.node == node).map(|image| size(&image.bytes))
    };
    assert_eq!(sizes("5").collect::<Vec<_>>(), [(24, 8), (24, 8)]);
    assert_eq!(sizes("6").collect::<Vec<_>>(), [(24, 8), (24, 8)]);
    assert_eq!(sizes("7").collect::<Vec<_>>(), [(16, 16)]);
    assert_eq!(saved_images(&sim, "p", "7").await.len(), 1);
    let batch: Vec<_> = sim.images().into_iter().filter(|image| image.node == "6").collect();
    assert_ne!(batch[0].bytes, batch[1].bytes, "one is the other's negative");
}

#[tokio::test]
async fn a_checkpoint_that_is_not_there_is_refused_as_comfyui_refuses_it() {
    let models = Some(vec!["v1-5.safetensors".to_owned()]);
    let sim = Sim::start(SimOptions { models, ..SimOptions::default() }).await.unwrap();
    let answer = submit(&sim, "p", &stable_diffusion("dreams.safetensors")).await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["error"]["type"], "prompt_outputs_failed_validation");
    let error = &body["node_errors"]["4"]["errors"][0];
    assert_eq!(error["type"], "value_not_in_list");
    assert_eq!(error["details"], "ckpt_name: 'dreams.safetensors' not in ['v1-5.safetensors']");
    assert_eq!(error["extra_info"]["received_value"], "dreams.safetensors");
    assert_eq!(submit(&sim, "q", &stable_diffusion("v1-5.safetensors")).await.status, 200);
    assert_eq!(get(&sim, "/models/checkpoints").await.json(), json!(["v1-5.safetensors"]));
    sim.wait_for(|sim| sim.remembers("q")).await.unwrap();
    assert_eq!(sim.executions().into_iter().collect::<Vec<_>>(), [("q".to_owned(), 1)]);
}

#[tokio::test]
async fn two_servers_draw_the_same_picture_for_the_same_prompt() {
    let (one, other) = (start().await, start().await);
    for sim in [&one, &other] {
        submit(sim, "p", &stable_diffusion("m")).await;
        sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    }
    assert_eq!(one.images(), other.images());
}

#[tokio::test]
async fn prompts_run_one_after_another() {
    let sim = start().await;
    sim.inject(Fault::Hang { at: "executed".to_owned() });
    for id in ["p1", "p2", "p3"] {
        submit(&sim, id, &canvas(1)).await;
    }
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    assert_eq!((sim.executions().len(), sim.queued()), (1, 3));
    let queue = get(&sim, "/queue").await.json();
    assert_eq!(queue["queue_running"][0][1], "p1");
    assert_eq!(queue["queue_pending"].as_array().unwrap().len(), 2);
    sim.release();
    sim.wait_for(|sim| sim.queued() == 0).await.unwrap();
    assert_eq!(sim.executions().values().copied().collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn the_queue_is_told_when_it_grows_is_worked_and_shrinks() {
    let sim = start().await;
    let mut socket = listen(&sim).await;
    submit(&sim, "p", &canvas(1)).await;
    let frames = socket.until_idle().await;
    let texts = frames.iter().filter_map(|frame| if let Frame::Text(text) = frame { Some(text) } else { None });
    let messages = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
    let lengths: Vec<Value> = messages
        .filter(|message| message["type"] == "status")
        .map(|message| message["data"]["status"]["exec_info"]["queue_remaining"].clone())
        .collect();
    assert_eq!(lengths, [1, 1, 0]);
}

#[tokio::test]
async fn a_socket_that_comes_late_is_told_the_node_without_the_prompt_and_others_are_not() {
    let sim = start().await;
    sim.inject(Fault::Hang { at: "executed".to_owned() });
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
    let mut late = Socket::open(&sim, "/ws?clientId=a").await;
    let mut other = Socket::open(&sim, "/ws?clientId=b").await;
    late.next().await;
    assert_eq!(late.next().await, Frame::Text(r#"{"type": "executing", "data": {"node": "2"}}"#.to_owned()));
    sim.release();
    let frames = late.until_idle().await;
    assert_eq!(kinds(&frames).first().map(String::as_str), Some("executed"));
    assert_eq!(
        kinds(&other.until(|message| message["data"]["status"]["exec_info"]["queue_remaining"] == 0).await),
        [""; 0]
    );
}

#[tokio::test]
async fn nothing_is_replayed_to_a_socket_that_comes_after_the_end() {
    let sim = start().await;
    submit(&sim, "p", &canvas(1)).await;
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    let mut socket = Socket::open(&sim, "/ws?clientId=a").await;
    socket.next().await;
    socket.send(r#"{"type": "feature_flags", "data": {"supports_preview_metadata": true}}"#).await;
    let frames = socket.until(|message| message["type"] == "feature_flags").await;
    assert_eq!(kinds(&frames), ["feature_flags"]);
}

#[tokio::test]
async fn images_can_be_noise_of_a_given_size() {
    let sim = Sim::start(SimOptions { noise_image_bytes: 100_000, ..SimOptions::default() }).await.unwrap();
    submit(&sim, "p", &stable_diffusion("m")).await;
    sim.wait_for(|sim| sim.remembers("p")).await.unwrap();
    assert_eq!(sim.images().len(), 4);
    assert!(sim.images().iter().all(|image| (100_000..103_000).contains(&image.bytes.len())));
}

#[tokio::test]
async fn stopping_ends_sockets_and_frees_the_port() {
    let sim = start().await;
    let addr = sim.addr();
    let mut socket = listen(&sim).await;
    assert_eq!(sim.connections(), 1);
    sim.stop().await;
    assert_eq!(socket.next().await, Frame::Closed);
    let again = Sim::start(SimOptions { addr, ..SimOptions::default() }).await.unwrap();
    assert_eq!(get(&again, "/prompt").await.json(), json!({ "exec_info": { "queue_remaining": 0 } }));
}

#[tokio::test]
async fn requests_are_seen() {
    let sim = start().await;
    post(&sim, "/interrupt", &json!({ "prompt_id": "p" })).await;
    let requests = sim.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/interrupt"));
    assert_eq!(&requests[0].body[..], br#"{"prompt_id":"p"}"#);
}
