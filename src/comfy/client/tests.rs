//! The client against a server of a few lines, which answers each connection with what the test says.

use super::answer::ANSWER_LIMIT;
use super::*;
use crate::comfy::wire::HistoryEnd;
use crate::lifecycle::Lifecycle;
use crate::secret::Secret;
use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_prompt_is_sent_with_both_ids_and_accepted() {
    let mut server = Server::start(vec![json(200, r#"{"prompt_id": "p", "number": 3, "node_errors": {}}"#)]).await;
    let accepted = server.client().submit(&json!({"1": {"class_type": "X"}}), "c", "p").await;
    assert_eq!(accepted, Ok(Accepted { prompt_id: "p".into(), node_errors: vec![] }));
    assert_eq!(accepted.unwrap().to_warning(), None);
    let request = server.request().await;
    assert!(request.starts_with("POST /prefix/prompt HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"prompt":{"1":{"class_type":"X"}},"client_id":"c","prompt_id":"p"}"#), "{request}");
    let head = request.to_lowercase();
    assert!(head.contains("content-type: application/json") && !head.contains("origin:"), "{request}");
}

#[tokio::test]
async fn a_prompt_accepted_in_part_names_what_is_left_out() {
    let body = r#"{"prompt_id": "p", "node_errors": {"2": {"class_type": "SaveImage", "errors":
        [{"type": "required_input_missing", "message": "m", "details": "images", "extra_info": {"input_name": "images"}}]}, "3": {"class_type": "X", "errors": []}}}"#;
    let server = Server::start(vec![json(200, body)]).await;
    let accepted = server.client().submit(&json!({}), "c", "p").await.unwrap();
    let warning = accepted.to_warning().unwrap();
    assert_eq!(
        warning.message,
        "ComfyUI left out a part of the graph: node `2` (SaveImage), input `images`: m (and 1 more)"
    );
    assert_eq!(warning.node.unwrap().id, "2");
}

#[tokio::test]
async fn a_refused_graph_is_told_from_a_prompt_that_may_be_queued() {
    let refused = r#"{"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": ""}, "node_errors": {}}"#;
    let cases = [
        (json(400, refused), "refused prompt_no_outputs"),
        (json(413, "Maximum request body size 5 exceeded."), "refused http_413"),
        (
            json(500, "500 Internal Server Error at '/srv/x.py'"),
            "ambiguous status 500: 500 Internal Server Error at 'x.py'",
        ),
        (json(504, ""), "ambiguous status 504: "),
        (json(200, "<html>"), "ambiguous status 200 with a body that is not ComfyUI's"),
        (json(302, ""), "unreachable status 302 instead of ComfyUI's answer"),
        (json(403, ""), "unreachable status 403 instead of ComfyUI's answer"),
        (json(404, "{}"), "unreachable status 404 instead of ComfyUI's answer"),
    ];
    for (reply, expected) in cases {
        let server = Server::start(vec![reply]).await;
        assert_eq!(word(&server.client().submit(&json!({}), "c", "p").await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn only_a_failed_connection_proves_that_nothing_was_queued() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_for(&listener);
    drop(listener);
    assert!(matches!(client.submit(&json!({}), "c", "p").await, Err(SubmitError::Unreachable(_))));
    assert!(matches!(client.probe().await, Err(ClientError::Unreachable(_))));

    for reply in [Reply::Cut, Reply::Hang, Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".into())] {
        let server = Server::start(vec![reply]).await;
        let client = server.client().with_limit(Duration::from_millis(300));
        assert!(matches!(client.submit(&json!({}), "c", "p").await, Err(SubmitError::Unanswered(_))));
    }
}

#[tokio::test]
async fn a_silent_server_is_told_from_one_that_is_away() {
    let server = Server::start(vec![Reply::Hang, Reply::Cut]).await;
    let client = server.client().with_limit(Duration::from_millis(200));
    assert!(matches!(client.queue().await, Err(ClientError::TimedOut(_))));
    assert!(matches!(client.queue().await, Err(ClientError::Unreachable(_))));
}

#[tokio::test]
async fn queue_history_and_probe_are_read() {
    let mut server = Server::start(vec![
        json(200, r#"{"queue_running": [[1, "r", {"x": NaN}]], "queue_pending": [[9, "b"], [2, "a"]]}"#),
        json(200, r#"{"p": {"outputs": {}, "status": {"messages": [["execution_success", {}]]}}}"#),
        json(200, "{}"),
        json(200, r#"{"exec_info": {"queue_remaining": 4}}"#),
        json(200, "<html>"),
        json(500, "Internal\nError"),
    ])
    .await;
    let client = server.client();
    let queue = Queue { running: vec!["r".into()], pending: vec!["a".into(), "b".into()] };
    assert_eq!(client.queue().await, Ok(queue));
    assert_eq!(client.history("p").await.unwrap().unwrap().end, HistoryEnd::Succeeded);
    assert_eq!(client.history("a/b").await, Ok(None));
    assert_eq!(client.probe().await, Ok(4));
    assert!(matches!(client.queue().await, Err(ClientError::Malformed(_))));
    let failed = ClientError::Status { call: "GET /queue".into(), status: 500, body: "Internal Error".into() };
    assert_eq!(client.queue().await, Err(failed));
    let mut lines = Vec::new();
    for _ in 0..4 {
        lines.push(server.request().await.lines().next().unwrap().to_owned());
    }
    let paths = ["queue", "history/p", "history/a%2Fb", "prompt"].map(|path| format!("GET /prefix/{path} HTTP/1.1"));
    assert_eq!(lines, paths);
}

#[tokio::test]
async fn stopping_a_prompt_always_names_it() {
    let running = || json(200, r#"{"queue_running": [[1, "p"]], "queue_pending": []}"#);
    let mut server = Server::start(vec![json(200, ""), running(), json(200, ""), json(200, "")]).await;
    let client = server.client();
    client.delete_pending("p").await.unwrap();
    client.interrupt("p").await.unwrap();
    client.forget("p").await.unwrap();
    for (call, body) in [
        ("POST /prefix/queue ", r#"{"delete":["p"]}"#),
        ("GET /prefix/queue ", ""),
        ("POST /prefix/interrupt ", r#"{"prompt_id":"p"}"#),
        ("POST /prefix/history ", r#"{"delete":["p"]}"#),
    ] {
        let request = server.request().await;
        assert!(request.starts_with(call) && request.ends_with(body), "{request}");
    }
}

#[tokio::test]
async fn no_interrupt_is_sent_while_somebody_else_runs() {
    let others = || json(200, r#"{"queue_running": [[1, ""], [2, "other"]], "queue_pending": [[3, "p"]]}"#);
    let mut server = Server::start(vec![others(), others(), json(200, "")]).await;
    let client = server.client();
    client.interrupt("p").await.unwrap();
    client.interrupt("").await.unwrap();
    client.forget("p").await.unwrap();
    for call in ["GET /prefix/queue ", "GET /prefix/queue ", "POST /prefix/history "] {
        let request = server.request().await;
        assert!(request.starts_with(call), "{request}");
    }
}

#[tokio::test]
async fn a_file_is_asked_for_with_encoded_names_only() {
    let cases = [
        ("a b&type=input", "", "output", "filename=a%20b%26type%3Dinput&subfolder=&type=output"),
        ("../../x", "a/../b", "temp", "filename=..%2F..%2Fx&subfolder=a%2F..%2Fb&type=temp"),
        ("1+1#?.png", "é", "", "filename=1%2B1%23%3F.png&subfolder=%C3%A9"),
    ];
    for (filename, subfolder, folder, query) in cases {
        let mut server = Server::start(vec![Reply::Bytes(
            "HTTP/1.1 200 OK\r\ncontent-type: Image/PNG; x=y\r\ncontent-length: 3\r\n\r\nabc".into(),
        )])
        .await;
        let file = FileRef { filename: filename.into(), subfolder: subfolder.into(), folder: folder.into() };
        let view = server.client().view(&file).await.unwrap();
        assert_eq!((view.content_type.as_str(), view.content_length), ("image/png", Some(3)));
        let chunks: Vec<Bytes> = view.stream.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), b"abc");
        assert!(server.request().await.starts_with(&format!("GET /prefix/view?{query} HTTP/1.1\r\n")));
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_cut_off_is_an_error() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc";
    let server = Server::start(vec![json(404, ""), json(400, ""), Reply::Bytes(cut.into())]).await;
    let file = FileRef { filename: "x.png".into(), subfolder: String::new(), folder: "output".into() };
    let client = server.client();
    assert_eq!(client.view(&file).await.unwrap_err(), ClientError::NotFound);
    assert!(matches!(client.view(&file).await, Err(ClientError::Status { status: 400, .. })));
    let view = client.view(&file).await.unwrap();
    assert_eq!(view.content_type, "application/octet-stream");
    assert!(matches!(view.stream.try_collect::<Vec<_>>().await, Err(ClientError::Unreachable(_))));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ANSWER_LIMIT + 1);
    let server = Server::start(vec![Reply::Bytes(huge)]).await;
    assert_eq!(server.client().queue().await, Err(ClientError::TooLarge { limit: ANSWER_LIMIT }));
}

#[tokio::test]
async fn an_agents_answer_is_small_and_soon_there_or_none() {
    let chunk = "x".repeat(0x8000);
    let endless =
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", format!("8000\r\n{chunk}\r\n").repeat(3));
    let replies = vec![
        json(200, "{}"),
        json(404, ""),
        json(200, &"x".repeat((64 << 10) + 1)),
        Reply::Open(endless),
        Reply::Open("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into()),
    ];
    let mut server = Server::start(replies).await;
    let too_large = Err(ClientError::TooLarge { limit: 64 << 10 });
    for expected in [Ok("{}".to_owned()), Err(ClientError::NotFound), too_large.clone(), too_large] {
        assert_eq!(server.client().agent_metrics().await, expected);
    }
    assert!(server.request().await.starts_with("GET /prefix/orchestrator/metrics HTTP/1.1\r\n"));
    // The client itself would wait three times as long.
    let late = tokio::time::timeout(Duration::from_secs(10), server.client().agent_metrics()).await.unwrap();
    assert!(matches!(late, Err(ClientError::TimedOut(_))), "{late:?}");
}

#[tokio::test]
async fn of_an_error_that_never_ends_only_the_beginning_is_read() {
    let endless = format!("HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n2000\r\n{}\r\n", "x".repeat(0x2000));
    let server = Server::start(vec![Reply::Open(endless)]).await;
    let answer = tokio::time::timeout(Duration::from_mins(1), server.client().queue()).await.unwrap();
    let Err(ClientError::Status { status: 500, body, .. }) = answer else { panic!("{answer:?}") };
    assert!(body.starts_with("xxx") && body.chars().count() <= 500, "{body}");
}

#[tokio::test]
async fn a_token_is_shown_with_every_call_and_printed_by_nobody() {
    let answers = [r#"{"prompt_id": "p"}"#, r#"{"queue_running": [], "queue_pending": []}"#, "bytes", ""];
    let mut server = Server::start(answers.map(|body| json(200, body)).into()).await;
    let client = Client::by(server.client().url().clone(), Route::bearer(&Secret::new("hunter2")).unwrap()).unwrap();
    let key = Secret::new("partner");
    let extra = ExtraData { api_key_comfy_org: Some(&key) };
    client.submit_with(&json!({}), "c", "p", extra.clone()).await.unwrap();
    client.queue().await.unwrap();
    let file = FileRef { filename: "a.png".into(), subfolder: String::new(), folder: "output".into() };
    client.view(&file).await.unwrap();
    client.free(true, true).await.unwrap();
    for call in ["POST /prefix/prompt", "GET /prefix/queue", "GET /prefix/view", "POST /prefix/free"] {
        let request = server.request().await;
        assert!(request.starts_with(call) && request.contains("authorization: Bearer hunter2\r\n"), "{request}");
        let has_key = request.ends_with(r#""extra_data":{"api_key_comfy_org":"partner"}}"#);
        assert_eq!(has_key, call == "POST /prefix/prompt", "{request}");
    }
    let printed = format!("{client:?} {extra:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("partner"), "{printed}");
    assert!(Route::bearer(&Secret::new("a\nb")).is_err());
}

fn word(error: &SubmitError) -> String {
    match error {
        SubmitError::Refused(refusal) => format!("refused {}", refusal.kind),
        SubmitError::Unreachable(reason) => format!("unreachable {reason}"),
        SubmitError::Ambiguous(reason) => format!("ambiguous {reason}"),
        SubmitError::Unanswered(reason) => format!("unanswered {reason}"),
    }
}

fn json(status: u16, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()))
}

fn client_for(listener: &TcpListener) -> Client {
    let address = format!("http://{}/prefix/", listener.local_addr().unwrap());
    Client::new(address.parse().unwrap()).unwrap()
}

/// What a connection gets after its request was read.
enum Reply {
    Bytes(String),
    /// The same, but the connection stays open and silent.
    Open(String),
    /// The connection ends without an answer.
    Cut,
    /// No answer ever comes.
    Hang,
}

struct Server {
    client: Client,
    requests: mpsc::UnboundedReceiver<String>,
    lifecycle: Lifecycle,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = client_for(&listener);
        let (seen, requests) = mpsc::unbounded_channel();
        let lifecycle = Lifecycle::new();
        let stop = lifecycle.stop();
        lifecycle.spawn("server", async move {
            let serve = async {
                let mut hanging = Vec::new();
                for reply in replies {
                    let (mut connection, _) = listener.accept().await.unwrap();
                    seen.send(read_request(&mut connection).await).unwrap();
                    match reply {
                        Reply::Bytes(answer) => connection.write_all(answer.as_bytes()).await.unwrap(),
                        Reply::Open(answer) => {
                            connection.write_all(answer.as_bytes()).await.unwrap();
                            hanging.push(connection);
                        }
                        Reply::Cut => {}
                        Reply::Hang => hanging.push(connection),
                    }
                }
                std::future::pending::<()>().await;
            };
            tokio::select! { () = serve => {}, () = stop.cancelled() => {} }
        });
        Self { client, requests, lifecycle }
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    async fn request(&mut self) -> String {
        tokio::time::timeout(Duration::from_mins(1), self.requests.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lifecycle.stop().cancel();
    }
}

async fn read_request(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                return text;
            }
        }
        assert_ne!(connection.read_buf(&mut request).await.unwrap(), 0, "the request broke off: {text}");
    }
}
