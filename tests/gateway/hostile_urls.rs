//! Webhook URLs that lead where they must not, told at once: whatever the spelling, the address behind it is judged.

use crate::support::{Setup, TestGateway, canvas};
use comfygate::settings::EgressMode;
use comfygate::sim::Fault;
use serde_json::{Value, json};

#[actix_web::test]
async fn this_machine_in_every_spelling_of_ipv4_is_blocked() {
    let urls = [
        "http://127.0.0.1/",
        "http://0x7f.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://2130706433/",
        "http://0177.0.0.1/",
    ];
    blocked_unless_private("blocked_address", &urls).await;
}

#[actix_web::test]
async fn this_machine_in_letters_of_other_widths_and_dots_is_blocked() {
    blocked_unless_private("blocked_address", &["http://１２７.０.０.１/", "http://127。0。0。1/"]).await;
}

#[actix_web::test]
async fn this_machine_behind_odd_slashes_and_encoded_dots_is_blocked() {
    let urls = ["http://127.0.0.1%2e/", "http:127.0.0.1", "http:/127.0.0.1", "http:///127.0.0.1"];
    blocked_unless_private("blocked_address", &urls).await;
}

#[actix_web::test]
async fn a_metadata_address_that_is_mapped_into_ipv6_is_blocked_in_both_modes() {
    blocked_in_both("blocked_address", &["http://[::ffff:169.254.169.254]/"]).await;
}

#[actix_web::test]
async fn this_machine_inside_old_kinds_of_ipv6_addresses_is_blocked_in_both_modes() {
    let urls = [
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    ];
    blocked_in_both("blocked_address", &urls).await;
}

#[actix_web::test]
async fn a_link_local_address_is_blocked_and_one_with_a_zone_is_no_url() {
    blocked_in_both("blocked_address", &["http://[fe80::1]/"]).await;
    blocked_in_both("invalid_url", &["http://[fe80::1%25eth0]/"]).await;
}

#[actix_web::test]
async fn addresses_that_give_out_credentials_are_blocked_in_both_modes() {
    let urls = ["http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/", "http://[fd00:ec2::254]/"];
    blocked_in_both("blocked_address", &urls).await;
}

#[actix_web::test]
async fn credentials_behind_shared_and_protocol_addresses_are_blocked_in_both_modes() {
    blocked_in_both("blocked_address", &["http://100.100.100.200/", "http://192.0.0.192/"]).await;
}

#[actix_web::test]
async fn a_public_address_that_gives_out_credentials_is_blocked_in_both_modes() {
    blocked_in_both("blocked_address", &["http://168.63.129.16/"]).await;
}

#[actix_web::test]
async fn private_networks_are_blocked_in_public_mode_and_called_in_private_mode() {
    let urls = ["http://10.0.0.5/", "http://172.31.0.1/", "http://192.168.1.1/"];
    blocked_unless_private("blocked_address", &urls).await;
}

#[actix_web::test]
async fn addresses_of_nobody_or_of_times_to_come_are_blocked_in_both_modes() {
    let urls = [
        "http://198.18.0.1/",
        "http://203.0.113.9/",
        "http://240.0.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://0.1.2.3/",
        "http://192.88.99.1/",
    ];
    blocked_in_both("blocked_address", &urls).await;
}

#[actix_web::test]
async fn localhost_in_every_spelling_is_a_blocked_host() {
    let urls = [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://ⓁⓄⒸⒶⓁⒽⓄⓈⓉ/",
        "http://%6c%6f%63%61%6c%68%6f%73%74/",
        "http://a.localhost/",
    ];
    blocked_unless_private("blocked_host", &urls).await;
}

#[actix_web::test]
async fn names_that_only_the_house_knows_are_blocked_hosts() {
    let urls = ["http://receiver/", "http://nas.local/", "http://db.corp.internal/"];
    blocked_unless_private("blocked_host", &urls).await;
    blocked_in_both("blocked_host", &["http://metadata.google.internal/", "http://metadata/"]).await;
}

#[actix_web::test]
async fn other_schemes_are_refused() {
    let urls = ["gopher://a/", "ftp://a/", "data:text/plain,x", "javascript:1", "unix:/var/run/docker.sock", "ws://a/"];
    blocked_in_both("unsupported_scheme", &urls).await;
}

#[actix_web::test]
async fn what_leads_nowhere_is_no_url() {
    blocked_in_both("invalid_url", &["   ", "//host/", "/hook", "http://", "http://."]).await;
}

#[actix_web::test]
async fn a_webhook_url_that_is_no_text_has_the_wrong_type() {
    let gateway = in_mode(EgressMode::Public).await;
    for url in [json!(42), json!(["http://a"]), json!({})] {
        refused(&gateway, "invalid_type", &url).await;
    }
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn a_backslash_that_hides_the_host_is_refused() {
    blocked_in_both("invalid_url", &["http://example.com\\@127.0.0.1/"]).await;
}

#[actix_web::test]
async fn a_user_in_a_url_hides_no_host_and_is_refused_itself() {
    blocked_in_both("blocked_address", &["http://example.com@169.254.169.254/"]).await;
    let gateway = in_mode(EgressMode::Public).await;
    refused(&gateway, "blocked_address", &json!("http://example.com@127.0.0.1/")).await;
    let told = refused(&gateway, "userinfo_not_allowed", &json!("http://u:hidden@example.com/")).await;
    assert!(!told.contains("hidden"), "{told}");
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn ports_that_are_none_are_refused() {
    let urls = ["http://example.com:0/", "http://example.com:99999/", "http://example.com:80:80/"];
    blocked_in_both("invalid_url", &urls).await;
}

#[actix_web::test]
async fn a_url_or_a_name_that_is_too_long_is_refused() {
    let long = format!("http://example.com/{}", "a".repeat(2049 - 19));
    assert_eq!(long.len(), 2049);
    let label = format!("http://{}.example/", "a".repeat(64));
    blocked_in_both("invalid_url", &[&long, &label, "http://xn--/"]).await;
}

#[actix_web::test]
async fn plain_http_is_refused_where_https_is_demanded() {
    let mut setup = Setup::new();
    setup.settings.webhooks.https_only = true;
    let gateway = setup.start().await;
    let told = refused(&gateway, "https_required", &json!("http://example.com/")).await;
    assert!(told.contains("COMFYGATE_WEBHOOK_HTTPS_ONLY"), "{told}");
    no_job_was_made(gateway).await;
}

#[actix_web::test]
async fn what_is_denied_is_blocked_though_it_is_allowed_too() {
    let mut setup = Setup::new();
    setup.settings.egress.allow = vec!["10.0.0.0/8".parse().unwrap()];
    setup.settings.egress.deny = vec!["10.0.0.0/24".parse().unwrap(), "1.1.1.1/32".parse().unwrap()];
    let gateway = setup.start().await;
    for url in ["http://10.0.0.5/", "http://[::ffff:10.0.0.5]/", "http://1.1.1.1/"] {
        let told = refused(&gateway, "blocked_address", &json!(url)).await;
        assert!(told.contains("COMFYGATE_EGRESS_DENY"), "{told}");
    }
    no_job_was_made(gateway).await;
}

/// Blocked in public mode, with the setting that would let it through; taken in private mode.
async fn blocked_unless_private(code: &str, urls: &[&str]) {
    let gateway = in_mode(EgressMode::Public).await;
    for url in urls {
        let told = refused(&gateway, code, &json!(url)).await;
        assert!(told.contains("COMFYGATE_EGRESS=private"), "{url}: {told}");
    }
    no_job_was_made(gateway).await;
    // Bound to loopback and told nothing. No job begins, so none ends, and nobody is called.
    let gateway = TestGateway::start().await;
    gateway.sim.inject(Fault::Stall);
    for url in urls {
        gateway.generate(&canvas(url)).await;
    }
}

async fn blocked_in_both(code: &str, urls: &[&str]) {
    for mode in [EgressMode::Public, EgressMode::Private] {
        let gateway = in_mode(mode).await;
        for url in urls {
            refused(&gateway, code, &json!(url)).await;
        }
        no_job_was_made(gateway).await;
    }
}

async fn in_mode(mode: EgressMode) -> TestGateway {
    let mut setup = Setup::new();
    setup.settings.egress.mode = mode;
    setup.start().await
}

/// Submits a job with this URL, which must be refused; returns the sentence.
async fn refused(gateway: &TestGateway, code: &str, url: &Value) -> String {
    let mut body = canvas("");
    body["webhook_url"] = url.clone();
    let answer = gateway.post("/generate", &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, code), "{url}: {}", answer.json());
    answer.json()["error"].as_str().unwrap().to_owned()
}

async fn no_job_was_made(gateway: TestGateway) {
    assert_eq!(gateway.get("/jobs").await.json()["jobs"], json!([]));
    gateway.close().await;
}
