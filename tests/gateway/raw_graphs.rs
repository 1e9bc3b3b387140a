//! Graphs that come with a request: refused unless the operator allows them, taken within limits, their seeds drawn and told,
//! kept for the job and no longer.

use crate::support::{Inbox, Setup, TestGateway, eventually};
use comfygate::sim::Fault;
use comfygate::workflow::shipped;
use serde_json::{Value, json};

/// The graph of the shipped workflow `starter`, one size smaller, with a seed that is to be drawn.
fn graph() -> Value {
    let pair = shipped::PAIRS.iter().find(|pair| pair.name == "starter").unwrap();
    let mut graph: Value = serde_json::from_str(pair.template).unwrap();
    graph["3"]["inputs"]["seed"] = json!(-1);
    graph["5"]["inputs"]["width"] = json!(64);
    graph["5"]["inputs"]["height"] = json!(64);
    graph
}

async fn allowed() -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.workflows.raw_graphs = true;
    setup.start().await
}

/// The graph that the backend was given for a job.
fn submitted(gateway: &TestGateway, id: &str) -> Value {
    let requests = gateway.sim.requests();
    let posts = requests.iter().filter(|request| request.is_prompt());
    let mut posts = posts.map(|request| serde_json::from_slice::<Value>(&request.body).unwrap());
    posts.find(|post| post["prompt_id"] == id).expect("it was submitted")["prompt"].clone()
}

fn revisions(gateway: &TestGateway) -> i64 {
    let database = rusqlite::Connection::open(gateway.settings.storage.folder.join("comfygate.db")).unwrap();
    database.query_row("SELECT count(*) FROM revision WHERE name = '@graph'", (), |row| row.get(0)).unwrap()
}

#[actix_web::test]
async fn a_graph_is_refused_unless_the_operator_allows_graphs() {
    let gateway = TestGateway::start().await;
    let answer = gateway.post("/generate", &json!({ "graph": graph() })).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "raw_graphs_off"));
    assert!(answer.json()["error"].as_str().unwrap().contains("COMFYGATE_RAW_GRAPHS=true"));
    let answer = gateway.post("/generate", &json!({ "graph": null, "workflow": "canvas", "prompt": "x" })).await;
    assert_eq!(answer.status, 202, "null is absent");
    gateway.close().await;
}

#[actix_web::test]
async fn a_graph_runs_as_it_was_given_with_its_seeds_drawn_and_told() {
    let gateway = allowed().await;
    let inbox = Inbox::open();
    let body = json!({ "graph": graph(), "webhook_url": inbox.url(), "outputs": ["picture:10"] });
    let id = gateway.generate(&body).await;
    let webhook = inbox.next().await;
    assert_eq!((&webhook.body["status"], &webhook.body["workflow"]), (&json!("success"), &json!("@graph")));
    let seed = webhook.body["seeds"]["3"].as_u64().expect("the drawn seed is told");
    assert!(seed < 1 << 53);
    assert_eq!(webhook.body["seed"], json!(seed), "the only one is the seed");
    let outputs = webhook.body["outputs"].as_array().unwrap();
    assert!(
        !outputs.is_empty() && outputs.iter().all(|output| output["name"] == "picture" && output["node_id"] == "10")
    );
    let mut expected = graph();
    expected["3"]["inputs"]["seed"] = json!(seed);
    assert_eq!(submitted(&gateway, &id), expected);
    assert_eq!(gateway.job(&id).await["seeds"], webhook.body["seeds"]);
    let again = gateway.generate(&body).await;
    let other = inbox.next().await;
    assert_eq!(other.prompt_id(), again);
    assert_ne!(other.body["seeds"], webhook.body["seeds"]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_graph_keeps_the_order_of_its_nodes() {
    let gateway = allowed().await;
    let inbox = Inbox::open();
    let body = format!(
        r#"{{"webhook_url": "{}", "graph": {{
            "20": {{"class_type": "EmptyImage", "inputs": {{"width": 8, "height": 8, "batch_size": 1, "color": 1}}}},
            "9": {{"class_type": "SaveImageWebsocket", "inputs": {{"images": ["20", 0]}}}},
            "10": {{"class_type": "SaveImageWebsocket", "inputs": {{"images": ["20", 0]}}}}}}}}"#,
        inbox.url()
    );
    let answer = gateway.post_raw(&[("content-type", "application/json")], body).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    assert_eq!(inbox.next().await.body["status"], "success");
    let requests = gateway.sim.requests();
    let prompt = requests.iter().find(|request| request.is_prompt()).unwrap();
    let text = std::str::from_utf8(&prompt.body).unwrap();
    let place = |node: &str| text.find(&format!("\"{node}\":{{")).unwrap();
    assert!(place("20") < place("9") && place("9") < place("10"), "{text}");
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_no_graph_or_stands_beside_one_is_refused_by_name() {
    let gateway = allowed().await;
    let with = |name: &str, value: Value| {
        let mut body = json!({ "graph": graph() });
        body[name] = value;
        body
    };
    let node = |inputs: Value| json!({ "graph": { "1": { "class_type": "A", "inputs": inputs } } });
    let mut deep = json!(1);
    for _ in 0..17 {
        deep = json!([deep]);
    }
    let many: serde_json::Map<String, Value> =
        (0..5001).map(|id| (id.to_string(), json!({"class_type": "A"}))).collect();
    let cases = [
        (with("workflow", json!("canvas")), "duplicate_param", "one of the two"),
        (with("steps", json!(5)), "unknown_field", "`steps`: put the value into the graph"),
        (with("seed", json!(5)), "unknown_field", "no parameter `seed`"),
        (with("prompt", json!("x")), "unknown_field", "no parameter `prompt`"),
        (with("params", json!({"a": 1})), "unknown_param", "no parameter `a`"),
        (with("outputs", json!("9")), "invalid_type", "outputs"),
        (with("outputs", json!([9])), "invalid_type", "each of outputs"),
        (with("outputs", json!(["99"])), "invalid_outputs", "no node `99`; there are: "),
        (with("outputs", json!(["a b:3"])), "invalid_outputs", "cannot name an output"),
        (with("outputs", json!(["3", "3"])), "invalid_outputs", "keep one"),
        (json!({ "graph": [] }), "invalid_type", "graph"),
        (json!({ "graph": "x" }), "invalid_type", "graph"),
        (json!({ "graph": {} }), "invalid_graph", "no nodes"),
        (json!({ "graph": { "1": { "inputs": {} } } }), "invalid_graph", "no `class_type`"),
        (node(json!({ "x": deep })), "invalid_graph", "node `1` is nested deeper"),
        (node(json!({ "x": ["2", 0] })), "invalid_graph", "is linked to node `2`, which the graph does not have"),
        (node(json!({ "x": ["1", 0] })), "invalid_graph", "in a circle"),
        (json!({ "graph": many }), "invalid_graph", "5001 nodes"),
    ];
    for (body, code, says) in cases {
        let answer = gateway.post("/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{}", answer.json());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{error} does not say {says}");
    }
    assert_eq!((revisions(&gateway), gateway.get("/jobs").await.json()["jobs"].clone()), (0, json!([])));
    gateway.close().await;
}

#[actix_web::test]
async fn a_drawing_is_converted_with_what_the_backend_tells_of_its_nodes() {
    let gateway = allowed().await;
    let inbox = Inbox::open();
    let drawing = json!({
        "last_node_id": 2, "last_link_id": 1, "groups": [], "config": {}, "extra": {}, "version": 0.4,
        "links": [[1, 1, 0, 2, 0, "IMAGE"]],
        "nodes": [
            {"id": 1, "type": "EmptyImage", "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0,
             "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1], "slot_index": 0}],
             "properties": {}, "widgets_values": [16, 16, 1, 255]},
            {"id": 2, "type": "SaveImageWebsocket", "pos": [300, 0], "size": [200, 100], "flags": {}, "order": 1,
             "mode": 0, "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": [], "properties": {},
             "widgets_values": []}
        ]
    });
    let body = json!({ "graph": drawing, "webhook_url": inbox.url(), "outputs": ["sheet:2"] });
    let taken_in = async || {
        let answer = gateway.post("/generate", &body).await;
        // Until the backend has told its nodes.
        assert!(answer.status == 202 || answer.code() == "nodes_unknown", "{}", answer.json());
        (answer.status == 202).then_some(answer)
    };
    let answer = eventually("the drawing is taken", taken_in).await;
    let webhook = inbox.next().await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    assert_eq!(webhook.body["outputs"][0]["name"], "sheet");
    let graph = submitted(&gateway, answer.json()["prompt_id"].as_str().unwrap());
    assert_eq!(graph["1"]["inputs"], json!({"width": 16, "height": 16, "batch_size": 1, "color": 255}));
    let mut unknown = body.clone();
    unknown["graph"]["nodes"][0]["type"] = json!("EmptyImages");
    let answer = gateway.post("/generate", &unknown).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "cannot_convert"));
    assert!(answer.json()["error"].to_string().contains("EmptyImages"));
    gateway.close().await;
}

#[actix_web::test]
async fn a_graph_that_waits_survives_a_restart_with_its_seeds() {
    let gateway = allowed().await;
    let inbox = Inbox::open();
    gateway.sim.inject(Fault::Hang { at: "executing".into() });
    let body = json!({ "graph": graph(), "webhook_url": inbox.url() });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(gateway.generate(&body).await);
    }
    // Two are on the backend; the others wait in the gateway.
    gateway.sim.wait_for(|sim| sim.queued() == 2).await.unwrap();
    assert_eq!(revisions(&gateway), 4);
    let waiting = gateway.job(&ids[3]).await;
    assert_eq!(waiting["status"], "queued");
    let gateway = gateway.restart_after(async |sim| sim.release()).await;
    for _ in &ids {
        assert_eq!(inbox.next().await.body["status"], "success");
    }
    assert_eq!(gateway.job(&ids[3]).await["seeds"], waiting["seeds"]);
    let seed = submitted(&gateway, &ids[3])["3"]["inputs"]["seed"].clone();
    assert_eq!(seed, waiting["seeds"]["3"]);
    gateway.close().await;
}

#[actix_web::test]
async fn a_request_that_is_no_new_job_leaves_no_graph_behind() {
    let gateway = allowed().await;
    let body = json!({ "graph": graph(), "prompt_id": "0f8fad5b-d9cb-469f-a165-70867728950e" });
    let id = gateway.generate(&body).await;
    gateway.until(&id, "success").await;
    assert_eq!(gateway.post("/generate", &body).await.code(), "id_in_use");
    let post = async || {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        gateway.post_raw(&headers, json!({ "graph": graph() }).to_string()).await
    };
    let (first, second) = (post().await, post().await);
    assert_eq!((first.status, first.json()), (202, second.json()));
    gateway.until(first.json()["prompt_id"].as_str().unwrap(), "success").await;
    assert_eq!(revisions(&gateway), 2);
    gateway.close().await;
}

/// A drawing of so many blank pictures, each shown by a node of its own.
fn blank_pictures(count: usize) -> Value {
    let (mut nodes, mut links) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (empty, save, link) = (2 * number + 1, 2 * number + 2, number + 1);
        nodes.push(json!({
            "id": empty, "type": "EmptyImage", "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [link]}],
            "widgets_values": [16, 16, 1, 255]
        }));
        nodes.push(json!({
            "id": save, "type": "SaveImageWebsocket", "inputs": [{"name": "images", "type": "IMAGE", "link": link}], "outputs": []
        }));
        links.push(json!([link, empty, 0, save, 0, "IMAGE"]));
    }
    json!({ "nodes": nodes, "links": links, "version": 0.4 })
}

async fn until_known(gateway: &TestGateway) {
    let asked = json!({ "graph": blank_pictures(1), "outputs": ["99"] });
    let known = async || (gateway.post("/generate", &asked).await.code() == "invalid_outputs").then_some(());
    eventually("the backend has told its nodes", known).await;
}

#[actix_web::test]
async fn what_is_odd_about_a_drawing_is_told_once_it_is_taken() {
    let gateway = allowed().await;
    until_known(&gateway).await;
    let mut drawing = blank_pictures(1);
    let wide = json!({ "id": 9, "type": "CLIPTextEncode", "inputs": [], "outputs": [], "widgets_values": ["a {red|blue} cat"] });
    drawing["nodes"].as_array_mut().unwrap().push(wide);
    let converted = gateway.post("/convert", &drawing).await.json();
    let warnings = converted["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("has choices like {a|b}"), "{converted}");
    let body = json!({ "graph": drawing, "outputs": ["2"] });
    let post = async |body: &Value| {
        let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
        gateway.post_raw(&headers, body.to_string()).await
    };
    let (first, again) = (post(&body).await, post(&body).await);
    assert_eq!((first.status, &first.json()["warnings"]), (202, &converted["warnings"]));
    assert_eq!((again.status, &again.json()["prompt_id"]), (202, &first.json()["prompt_id"]));
    assert_eq!(again.json().get("warnings"), None, "they are not kept");
    let plain = gateway.post("/generate", &json!({ "graph": blank_pictures(1) })).await;
    assert_eq!((plain.status, plain.json().get("warnings")), (202, None));
    gateway.close().await;
}

#[actix_web::test]
async fn large_drawings_hold_up_nobody_else() {
    let mut setup = Setup::new();
    setup.settings.workflows.raw_graphs = true;
    setup.settings.server.max_body = 8 << 20;
    let gateway = setup.start().await;
    until_known(&gateway).await;
    // More than are taken, so that none becomes a job, and there are more of them than threads that serve.
    let body = json!({ "graph": blank_pictures(4000) }).to_string();
    let headers = [("content-type", "application/json")];
    let count = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    let mut large: Vec<_> = (0..count).map(|_| Box::pin(gateway.post_raw(&headers, body.clone()))).collect();
    for request in &mut large {
        assert!(futures_util::poll!(request).is_pending());
    }
    let others = async {
        for _ in 0..3 {
            assert_eq!(gateway.get("/health").await.status, 200);
        }
    };
    let first = futures_util::future::select_all(large);
    match futures_util::future::select(Box::pin(others), first).await {
        futures_util::future::Either::Left(((), first)) => {
            let (answer, _, rest) = first.await;
            for answer in futures_util::future::join_all(rest).await.into_iter().chain([answer]) {
                assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_graph"), "{}", answer.json());
            }
        }
        futures_util::future::Either::Right(_) => panic!("others waited until a drawing was converted"),
    }
    gateway.close().await;
}

#[actix_web::test]
async fn what_is_written_twice_in_a_graph_is_refused_and_not_passed_over() {
    let gateway = allowed().await;
    let graph = graph().to_string();
    let again = graph.replacen("\"width\":64", "\"width\":64,\n\"width\":32", 1);
    let json = [("content-type", "application/json")];
    let answer = gateway.post_raw(&json, format!("{{\"graph\":{again}}}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_graph"), "{}", answer.json());
    let told = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(told.contains("`graph.5.inputs.width` is written twice, first on line 1: keep one"), "{told}");
    let beside = format!("{{\"metadata\":{{\"a\":1,\"a\":2}},\"graph\":{graph}}}");
    assert_eq!(gateway.post_raw(&json, beside).await.status, 202, "what is the caller's own is the caller's own");
    gateway.close().await;
}
