//! A backend that is reached in more than the plain way: behind something that asks for credentials, behind an HTTP proxy, or with
//! TLS. A job runs there from end to end, so that HTTP and the socket both get through; and where they do not, it is told why.

pub(crate) mod way;

use crate::support::{Inbox, Setup, TestGateway, canvas_files, eventually};
use comfygate::sim::{Sim, SimOptions};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use way::{Authority, Door, HttpProxy, TokenEndpoint, terminator};

#[actix_web::test]
async fn a_job_runs_behind_basic_auth_and_behind_several_headers() {
    let basic = "authorization: basic dtpwonm=\r\n";
    for (auth, lines) in [
        (json!({"basic": {"user": "u", "password": "p:s"}}), vec![basic]),
        (json!({"headers": {"X-Key": "hunter2", "X-Other": "a b"}}), vec!["x-key: hunter2\r\n", "x-other: a b\r\n"]),
    ] {
        let (mut door, inbox) = (None, Inbox::open());
        let judged = lines.clone();
        let gateway = with_route(&json!({ "auth": auth }))
            .start_behind(async |sim| {
                let lets_in = move |head: &str| judged.iter().all(|line| head.contains(line));
                door.insert(Door::before(sim.addr(), lets_in).await).url()
            })
            .await;
        run(&gateway, &inbox).await;
        let heads = all_kinds(&door.unwrap()).await;
        for head in &heads {
            assert!(lines.iter().all(|line| head.contains(line)), "{head}");
            assert!(!head.contains("\r\norigin:"), "{head}");
        }
        gateway.close().await;
    }
}

#[actix_web::test]
async fn a_backend_with_oauth_joins_when_its_token_endpoint_is_up_and_costs_one_token() {
    let endpoint = TokenEndpoint::giving("token".to_owned(), false).await;
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let wanted = Arc::new(Mutex::new("token-0".to_owned()));
    let judged = Arc::clone(&wanted);
    let lets_in = move |head: &str| head.contains(&format!("authorization: bearer {}\r\n", judged.lock().unwrap()));
    let door = Door::before(sim.addr(), lets_in).await;
    let oauth = json!({"token_url": endpoint.url(), "client_id": "c", "client_secret": "hunter2"});
    let mut setup = with_route(&json!({"auth": {"oauth": oauth}}));
    setup.settings.backends.addresses = vec![door.url().parse().unwrap()];
    let gateway = setup.start_alone().await;
    let error = refusal(&gateway, "no access token").await;
    assert!(error.contains(&endpoint.url()) && error.contains("status 503") && !error.contains("hunter2"), "{error}");
    assert_eq!(door.lower_heads(), Vec::<String>::new());

    endpoint.come_up();
    gateway.until_ready().await;
    let before = endpoint.heads().len();
    let inbox = Inbox::open();
    run(&gateway, &inbox).await;
    assert_eq!(endpoint.heads().len(), before, "HTTP and the socket share the token");
    all_kinds(&door).await;

    // The endpoint's tokens of before are no good any more, as after a restart of whatever is before the backend.
    "token-1".clone_into(&mut wanted.lock().unwrap());
    run(&gateway, &inbox).await;
    assert_eq!(endpoint.heads().len(), before + 1);
    gateway.close().await;
    sim.stop().await;
}

#[actix_web::test]
async fn a_job_runs_through_a_proxy_that_asks_for_credentials() {
    let proxy = HttpProxy::start("us er", "p@ss").await;
    let inbox = Inbox::open();
    let mut door = None;
    let address = format!("http://us%20er:p%40ss@{}", proxy.address);
    let gateway = with_route(&json!({"proxy": address, "auth": {"bearer": "tkn"}}))
        .start_behind(async |sim| {
            door.insert(Door::before(sim.addr(), |head| head.contains("bearer tkn\r\n")).await).url()
        })
        .await;
    run(&gateway, &inbox).await;
    let arrived = all_kinds(&door.unwrap()).await;
    let through = proxy.heads();
    assert!(through.iter().any(|head| head.starts_with("CONNECT 127.0.0.1:")), "the socket: {through:?}");
    assert!(through.iter().any(|head| head.starts_with("POST http://127.0.0.1:")), "the calls: {through:?}");
    // Nothing went past it, and what it is shown is for nobody else.
    assert_eq!(through.len(), arrived.len());
    assert!(arrived.iter().all(|head| !head.contains("proxy-authorization")), "{arrived:?}");
    let tunnels: Vec<&String> = through.iter().filter(|head| head.starts_with("CONNECT")).collect();
    assert!(tunnels.iter().all(|head| !head.to_lowercase().contains("\r\nauthorization:")), "{tunnels:?}");
    gateway.close().await;
}

#[actix_web::test]
async fn wrong_credentials_for_a_proxy_are_told() {
    let proxy = HttpProxy::start("u", "right").await;
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let mut setup = with_route(&json!({"proxy": format!("http://u:wr0ng@{}", proxy.address)}));
    setup.settings.backends.addresses = vec![sim.url().parse().unwrap()];
    let gateway = setup.start_alone().await;
    let error = refusal(&gateway, "status 407").await;
    assert!(error.contains(&proxy.address.to_string()) && error.contains("mend the user and password"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
    gateway.close().await;
    sim.stop().await;
}

#[actix_web::test]
async fn a_certificate_of_an_unknown_authority_is_refused_and_a_named_one_is_trusted() {
    let authority = Authority::new();
    let (files, inbox) = (authority.sign("127.0.0.1"), Inbox::open());
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let address = terminator(sim.addr(), &files, None).await;
    let ca = authority.certificate();
    let others = Authority::new();
    for (tls, expected) in [
        (json!({}), Some("tls.ca_file")),
        (json!({"ca_file": others.certificate()}), Some("tls.ca_file")),
        (json!({"ca_file": ca, "server_name": "gpu.example"}), Some("tls.server_name")),
        (json!({"ca_file": ca}), None),
        (json!({"insecure_skip_verify": true}), None),
    ] {
        let mut setup = with_route(&json!({ "tls": tls }));
        setup.settings.backends.addresses = vec![format!("https://{address}").parse().unwrap()];
        let gateway = setup.start_alone().await;
        match expected {
            Some(hint) => {
                let error = refusal(&gateway, "certificate").await;
                assert!(error.contains(hint), "{tls} {error}");
            }
            None => run(&gateway, &inbox).await,
        }
        gateway.close().await;
    }
    sim.stop().await;
}

#[actix_web::test]
async fn a_certificate_for_another_name_is_taken_where_that_name_is_told() {
    let authority = Authority::new();
    let (files, inbox) = (authority.sign("gpu.example"), Inbox::open());
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let address = terminator(sim.addr(), &files, None).await;
    for name in [None, Some("gpu.example")] {
        let mut setup = with_route(&json!({"tls": {"ca_file": authority.certificate(), "server_name": name}}));
        setup.settings.backends.addresses = vec![format!("https://{address}").parse().unwrap()];
        let gateway = setup.start_alone().await;
        if name.is_some() {
            run(&gateway, &inbox).await;
        } else {
            let error = refusal(&gateway, "certificate").await;
            assert!(error.contains("tls.server_name"), "{error}");
        }
        gateway.close().await;
    }
    sim.stop().await;
}

#[actix_web::test]
async fn a_backend_that_asks_for_a_certificate_gets_ours_through_a_proxy_too() {
    let authority = Authority::new();
    let (files, ours, inbox) = (authority.sign("127.0.0.1"), authority.sign("gateway.example"), Inbox::open());
    let proxy = HttpProxy::start("u", "p").await;
    let sim = Sim::start(SimOptions::default()).await.unwrap();
    let address = terminator(sim.addr(), &files, Some(&authority.certificate())).await;
    let through = format!("http://u:p@{}", proxy.address);
    let ca = authority.certificate();
    for (definition, is_let_in) in [
        (json!({"tls": {"ca_file": ca}}), false),
        (json!({"tls": {"ca_file": ca, "cert_file": ours.0, "key_file": ours.1}}), true),
        (json!({"proxy": through, "tls": {"ca_file": ca, "cert_file": ours.0, "key_file": ours.1}}), true),
    ] {
        let mut setup = with_route(&definition);
        setup.settings.backends.addresses = vec![format!("https://{address}").parse().unwrap()];
        let gateway = setup.start_alone().await;
        if is_let_in {
            run(&gateway, &inbox).await;
        } else {
            let error = refusal(&gateway, "CertificateRequired").await;
            assert!(error.contains("`tls.cert_file`"), "{error}");
        }
        gateway.close().await;
    }
    let heads = proxy.heads();
    assert!(heads.len() > 1 && heads.iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")), "{heads:?}");
    sim.stop().await;
}

/// A gateway whose backends are all reached as a definition says.
fn with_route(definition: &Value) -> Setup {
    let mut setup = Setup::new();
    let path = setup.folder.path().join("route.json");
    std::fs::write(&path, definition.to_string()).unwrap();
    setup.settings.backends.route_file = Some(path);
    setup.settings.backends.agent_every = Some(Duration::from_secs(15));
    setup
}

/// Runs a job with files from end to end.
async fn run(gateway: &TestGateway, inbox: &Inbox) {
    gateway.until_ready().await;
    let webhook = gateway.run_one(inbox, &canvas_files(&inbox.url())).await;
    assert_eq!(webhook.body["status"], "success", "{}", webhook.body);
    gateway.until_idle().await;
}

/// Waits until a socket, a prompt, a file, the metrics agent and another question were asked for, and returns all heads.
async fn all_kinds(door: &Door) -> Vec<String> {
    for kind in ["get /ws?clientid=", "post /prompt", "get /view?", "get /object_info", "get /orchestrator/metrics"] {
        let is_asked = async || door.lower_heads().iter().any(|head| head.starts_with(kind)).then_some(());
        eventually(kind, is_asked).await;
    }
    door.lower_heads()
}

/// Waits until the first backend's error has this in it.
async fn refusal(gateway: &TestGateway, part: &str) -> String {
    eventually(part, async || {
        let ready = gateway.get("/ready").await.json();
        assert_eq!(ready["backends"][0]["connected"], json!(false), "{ready}");
        ready["backends"][0]["error"].as_str().filter(|error| error.contains(part)).map(str::to_owned)
    })
    .await
}
