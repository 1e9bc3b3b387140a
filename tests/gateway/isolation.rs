//! What a tenant sees of another: nothing. Every call of the route table is tried, so that a new one is tried by itself.

use crate::input_images::png;
use crate::keys::{OPERATOR, ask, filled, make, with_keys};
use crate::support::{Answer, Inbox, TestGateway, canvas, eventually};
use crate::uploads::upload_as;
use comfygate::api::{Needs, calls};
use comfygate::job::Scope;
use comfygate::sim::Fault;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// An id of the same length that no job has, not far from one that a job has.
fn like(id: &str) -> String {
    let last = if id.ends_with('0') { '1' } else { '0' };
    let mut other = id.to_owned();
    other.pop();
    other.push(last);
    other
}

/// Two tenants of one gateway. `a` has a job that ended and was told, one that runs and one that waits; `b` has nothing.
struct Neighbours {
    gateway: TestGateway,
    inbox: Inbox,
    a: String,
    b: String,
    jobs: Vec<String>,
    /// What `a` has uploaded.
    upload: String,
}

impl Neighbours {
    async fn move_in() -> Self {
        let gateway = with_keys().start().await;
        let inbox = Inbox::open();
        let (_, a) = make(&gateway, "a", &["submit", "read"]).await;
        let (_, b) = make(&gateway, "b", &["submit", "read"]).await;
        let upload = upload_as(&gateway, &a, &png(8, 8, 1)).await["id"].as_str().unwrap().to_owned();
        let mut neighbours = Self { gateway, inbox, a, b, jobs: Vec::new(), upload };
        let ended = neighbours.submit("secret-of-a").await;
        assert_eq!(neighbours.inbox.next().await.prompt_id(), ended);
        let told = async || {
            let answer = neighbours.as_a("GET", &format!("/jobs/{ended}/deliveries"), &Value::Null).await;
            (answer.json()["deliveries"][0]["state"] == "delivered").then_some(())
        };
        eventually("the webhook is delivered", told).await;
        neighbours.gateway.sim.inject(Fault::Hang { at: "executing".into() });
        let runs = neighbours.submit("secret-of-a").await;
        neighbours.gateway.sim.wait_for(|sim| sim.hanging() == 1).await.unwrap();
        let waits = [neighbours.submit("secret-of-a").await, neighbours.submit("secret-of-a").await];
        neighbours.jobs = [ended, runs].into_iter().chain(waits).collect();
        neighbours
    }

    async fn submit(&self, secret: &str) -> String {
        let mut body = canvas(&self.inbox.url());
        body["metadata"] = json!({ "secret": secret });
        let answer = self.as_a("POST", "/generate", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        answer.json()["prompt_id"].as_str().unwrap().to_owned()
    }

    async fn as_a(&self, method: &str, path: &str, body: &Value) -> Answer {
        ask(&self.gateway, &self.a, method, path, body).await
    }

    async fn as_b(&self, method: &str, path: &str, body: &Value) -> Answer {
        ask(&self.gateway, &self.b, method, path, body).await
    }

    /// What `b` was told must name nothing of `a`'s.
    fn assert_untold(&self, what: &str, answer: &Answer) {
        let told = format!("{:?}\n{}", answer.headers, String::from_utf8_lossy(&answer.bytes));
        let hook = self.inbox.address().to_string();
        let own = self.jobs.iter().chain([&self.upload]).flat_map(|id| [id.clone(), id.replace('-', "")]);
        for secret in own.chain(["secret-of-a".into(), hook, "\"a\"".into()]) {
            assert!(!told.contains(&secret), "{what} tells of {secret}: {told}");
        }
    }

    async fn move_out(self) {
        self.gateway.sim.release();
        for _ in 1..self.jobs.len() {
            assert_eq!(self.inbox.next().await.body["status"], "success");
        }
        self.gateway.close().await;
        assert!(self.inbox.rest().is_empty(), "something was told twice");
    }
}

#[actix_web::test]
async fn another_tenants_job_is_answered_like_one_that_is_not_there_by_every_call() {
    let house = Neighbours::move_in().await;
    let mut tried = BTreeSet::new();
    for (method, path, needs) in calls().filter(|(_, path, _)| path.contains('{')) {
        if matches!(needs, Needs::KeyWith(Scope::Admin) | Needs::Scope(Scope::Admin)) {
            let answer = house.as_b(method, &filled(path, "aaaaaaaaaaaa"), &Value::Null).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "scope_missing"), "{method} {path}");
            continue;
        }
        // Workflows are the operator's, and all tenants see the same ones; what needs nothing is the same for everybody.
        if path.starts_with("/workflows/{name}") || needs == Needs::Nothing {
            continue;
        }
        let ids = match path {
            path if path.starts_with("/jobs/{id}") => house.jobs.as_slice(),
            "/uploads/{id}" => std::slice::from_ref(&house.upload),
            _ => panic!("{method} {path} is new: say here how another tenant may try it"),
        };
        let methods = if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] };
        for method in methods {
            for id in ids {
                let what = format!("{method} {path} of {id}");
                let theirs = house.as_b(method, &filled(path, id), &Value::Null).await;
                let nobodys = house.as_b(method, &filled(path, &like(id)), &Value::Null).await;
                assert_eq!(theirs.status, 404, "{what}");
                // The id that was asked for comes back, whosever it is.
                assert_eq!(same(&theirs, id), same(&nobodys, &like(id)), "{what}");
                if method == "GET" && !["/outputs/", "/profile", "/events"].iter().any(|part| path.contains(part)) {
                    assert_eq!(house.as_a(method, &filled(path, id), &Value::Null).await.status, 200, "{what}");
                }
            }
            tried.insert(format!("{method} {path}"));
        }
    }
    assert!(tried.len() >= 8, "{tried:?}");
    // Nothing was cancelled and nothing sent again.
    house.move_out().await;
}

#[actix_web::test]
async fn lists_cursors_and_counts_tell_nothing_of_another_tenant() {
    let house = Neighbours::move_in().await;
    for (method, path, needs) in calls().filter(|(_, path, _)| !path.contains('{')) {
        let none = Value::Null;
        if matches!(needs, Needs::KeyWith(Scope::Admin) | Needs::Scope(Scope::Admin)) {
            let answer = house.as_b(method, path, &none).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "scope_missing"), "{method} {path}");
            house.assert_untold(&format!("{method} {path}"), &answer);
            continue;
        }
        let answer = match (method, path) {
            ("GET", "/jobs" | "/deliveries") => {
                let (field, _) = path.split_at(1);
                let name = path.strip_prefix(field).unwrap();
                let empty = json!({ name: [], "next_cursor": null });
                for id in &house.jobs {
                    for query in
                        [format!("?cursor={id}"), format!("?limit=1&cursor={id}"), format!("?cursor={}", like(id))]
                    {
                        let answer = house.as_b("GET", &format!("{path}{query}"), &none).await;
                        assert_eq!((answer.status, answer.json()), (200, empty.clone()), "{path}{query}");
                    }
                }
                for filter in ["?limit=1", if path == "/jobs" { "?status=running" } else { "?state=delivered" }] {
                    assert_eq!(
                        house.as_b("GET", &format!("{path}{filter}"), &none).await.json(),
                        empty,
                        "{path}{filter}"
                    );
                }
                for tenant in ["a", "b", "nobody"] {
                    let answer = house.as_b("GET", &format!("{path}?tenant={tenant}"), &none).await;
                    assert_eq!((answer.status, answer.code().as_str()), (403, "scope_missing"), "{path} {tenant}");
                }
                let answer = house.as_b("GET", path, &none).await;
                assert_eq!(answer.json(), empty);
                answer
            }
            ("GET", "/webhooks/summary") => {
                let answer = house.as_b("GET", path, &none).await;
                let told = answer.json();
                let counts = ["delivered", "gone", "undeliverable", "pending"].map(|name| told[name].as_u64());
                assert_eq!((counts, &told["hosts"]), ([Some(0); 4], &json!([])), "{told}");
                let theirs = house.as_b("GET", "/webhooks/summary?tenant=a", &none).await;
                assert_eq!((theirs.status, theirs.code().as_str()), (403, "scope_missing"));
                answer
            }
            // What comes of them is tried where they are told of: they do not end.
            ("GET", "/events") => house.as_b("HEAD", path, &none).await,
            ("GET", "/ws" | "/runner/ws") => {
                let answer = house.as_b(method, path, &none).await;
                assert_eq!(answer.status, 426);
                answer
            }
            // It runs what the caller itself has in memory, and would wait behind what hangs.
            (_, "/runner/queue") => continue,
            (_, path) if path.starts_with("/runner/") => house.as_b(method, path, &none).await,
            // What a form is answered with is no matter of other tenants; one without files is refused.
            ("POST", "/uploads") => house.as_b("POST", path, &none).await,
            ("POST", "/convert") => house.as_b("POST", path, &json!({ "nodes": [] })).await,
            ("POST", "/generate") => house.as_b("POST", path, &json!({ "workflow": "canvas", "prompt": "" })).await,
            ("POST", "/deliveries/replay") => {
                for state in ["pending", "gone", "undeliverable"] {
                    let answer = house.as_b("POST", path, &json!({ "state": state })).await;
                    assert_eq!(answer.json(), json!({ "replayed": 0 }), "{state}");
                }
                let theirs = json!({ "state": "delivered", "since": "2020-01-01T00:00:00Z", "tenant": "a" });
                assert_eq!(house.as_b("POST", path, &theirs).await.code(), "scope_missing");
                let all = json!({ "state": "delivered", "since": "2020-01-01T00:00:00Z" });
                let answer = house.as_b("POST", path, &all).await;
                assert_eq!(answer.json(), json!({ "replayed": 0 }));
                answer
            }
            ("GET", "/workflows" | "/ready" | "/health" | "/openapi.json" | "/.well-known/jwks.json" | "/")
            | (_, "/session") => house.as_b(method, path, &none).await,
            ("GET" | "POST", "/keys") | ("GET", "/metrics") => {
                let answer = house.as_b(method, path, &none).await;
                assert_eq!(answer.status, 403);
                answer
            }
            _ => panic!("{method} {path} is new: say here what another tenant may learn from it"),
        };
        house.assert_untold(&format!("{method} {path}"), &answer);
    }
    let ready = house.as_b("GET", "/ready", &Value::Null).await.json();
    assert!(ready["backlog"].is_null() && ready["backends"].is_null(), "{ready}");
    house.move_out().await;
}

#[actix_web::test]
async fn one_page_after_the_other_has_ones_own_jobs_whatever_lies_between() {
    let gateway = with_keys().start().await;
    let (_, a) = make(&gateway, "a", &["submit", "read"]).await;
    let (_, b) = make(&gateway, "b", &["submit", "read"]).await;
    let mut own = Vec::new();
    for _ in 0..5 {
        for key in [&a, &b, &a] {
            let answer = ask(&gateway, key, "POST", "/generate", &canvas("")).await;
            let id = answer.json()["prompt_id"].as_str().unwrap().to_owned();
            if key == &b {
                own.insert(0, id);
            }
        }
    }
    for limit in 1..=6 {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let page = ask(&gateway, &b, "GET", &format!("/jobs?limit={limit}{cursor}"), &Value::Null).await.json();
            let ids = page["jobs"].as_array().unwrap().iter().map(|job| job["prompt_id"].as_str().unwrap().to_owned());
            seen.extend(ids);
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, own, "{limit}");
    }
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn the_same_idempotency_key_of_two_tenants_makes_two_jobs() {
    let gateway = with_keys().start().await;
    let (_, a) = make(&gateway, "a", &["submit", "read"]).await;
    let (_, b) = make(&gateway, "b", &["submit", "read"]).await;
    let post = async |key: &str, body: &str| {
        let bearer = format!("Bearer {key}");
        let headers =
            [("authorization", bearer.as_str()), ("idempotency-key", "order-7"), ("content-type", "application/json")];
        gateway.post_raw(&headers, body.to_owned()).await
    };
    let body = canvas("").to_string();
    let first = post(&a, &body).await;
    let other = post(&b, &body).await;
    assert_eq!((first.status, other.status, other.header("idempotent-replayed")), (202, 202, ""));
    assert_ne!(first.json()["prompt_id"], other.json()["prompt_id"]);
    assert_eq!(post(&a, &body).await.json(), first.json());
    // Nor does another body under a key that only the other has used.
    let (_, c) = make(&gateway, "c", &["submit"]).await;
    assert_eq!(post(&c, &body.replace("64", "32")).await.status, 202);
    assert_eq!(post(&b, &body.replace("64", "32")).await.status, 422);
    gateway.until_idle().await;
    gateway.close().await;
}

#[actix_web::test]
async fn an_id_that_another_tenant_uses_is_taken_and_nothing_of_its_job_is_told() {
    let house = Neighbours::move_in().await;
    let chosen = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let mut body = canvas("");
    body["prompt_id"] = json!(chosen);
    assert_eq!(house.as_a("POST", "/generate", &body).await.status, 202);
    for id in house.jobs.iter().map(String::as_str).chain([chosen]) {
        body["prompt_id"] = json!(id);
        let answer = house.as_b("POST", "/generate", &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "id_in_use"), "{id}: {}", answer.json());
        let told = answer.json()["error"].as_str().unwrap().replace(id, "ID");
        assert!(!told.contains("tenant") && !told.contains("secret-of-a"), "{told}");
        assert_eq!(house.as_b("GET", &format!("/jobs/{id}"), &Value::Null).await.status, 404, "{id}");
        assert_eq!(house.as_b("POST", &format!("/jobs/{id}/cancel"), &Value::Null).await.status, 404, "{id}");
    }
    assert_eq!(house.as_b("GET", "/jobs", &Value::Null).await.json()["jobs"], json!([]));
    house.gateway.sim.release();
    let ended = async || {
        (house.as_a("GET", &format!("/jobs/{chosen}"), &Value::Null).await.json()["status"] == "success").then_some(())
    };
    eventually("it is still the first one's job", ended).await;
    house.move_out().await;
}

#[actix_web::test]
async fn an_operator_sees_all_tenants_and_whose_each_job_is() {
    let house = Neighbours::move_in().await;
    let mut body = canvas(&house.inbox.url());
    body["metadata"] = json!({ "secret": "of b" });
    let of_b = house.as_b("POST", "/generate", &body).await.json()["prompt_id"].as_str().unwrap().to_owned();
    let operator = async |path: &str| ask(&house.gateway, OPERATOR, "GET", path, &Value::Null).await.json();
    let tenants = |page: &Value, name: &str| -> Vec<String> {
        page[name].as_array().unwrap().iter().map(|entry| entry["tenant"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tenants(&operator("/jobs").await, "jobs"), ["b", "a", "a", "a", "a"]);
    assert_eq!(tenants(&operator("/jobs?tenant=b").await, "jobs"), ["b"]);
    assert_eq!(tenants(&operator("/jobs?tenant=a&status=running").await, "jobs"), ["a"]);
    assert_eq!(operator("/jobs?tenant=default").await["jobs"], json!([]));
    assert_eq!(tenants(&operator("/deliveries?tenant=a").await, "deliveries"), ["a"]);
    assert_eq!(operator("/deliveries?tenant=b").await["deliveries"], json!([]));
    assert_eq!(operator(&format!("/jobs/{}", house.jobs[1])).await["tenant"], "a");
    assert_eq!(operator(&format!("/jobs/{of_b}")).await["tenant"], "b");
    assert_eq!(operator(&format!("/jobs/{}/deliveries", house.jobs[0])).await["deliveries"][0]["tenant"], "a");
    assert_eq!(operator("/jobs?tenant=A%20B").await["code"], "not_allowed");
    assert!(house.as_b("GET", &format!("/jobs/{of_b}"), &Value::Null).await.json()["tenant"].is_null());

    let nothing = json!({ "state": "delivered", "since": "2020-01-01T00:00:00Z", "tenant": "b" });
    let replayed = ask(&house.gateway, OPERATOR, "POST", "/deliveries/replay", &nothing).await;
    assert_eq!(replayed.json(), json!({ "replayed": 0 }));
    let answer = ask(&house.gateway, OPERATOR, "POST", &format!("/jobs/{of_b}/cancel"), &Value::Null).await;
    assert_eq!(answer.status, 202);
    assert_eq!(house.inbox.next().await.body["code"], "cancelled");
    house.move_out().await;
}

/// What must be equal of two answers: all but the date and how many requests are left, with the id that was asked for taken out.
fn same(answer: &Answer, id: &str) -> (u16, String, String) {
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "ratelimit")
        .map(|(name, value)| format!("{name}: {value:?}").replace(id, "ID"))
        .collect();
    headers.sort();
    let body = String::from_utf8(answer.bytes.clone()).unwrap();
    (answer.status, headers.join("\n"), body.replace(id, "ID").replace(&id.replace('-', ""), "ID"))
}
