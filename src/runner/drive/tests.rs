//! Orders driven on an executor of somebody's own.

use super::*;
use crate::clock::{ManualClock, SystemClock, Timestamp};
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::job::{BlobId, FailureCode, Output};
use crate::runner::{Artifact, Context, ExecutionError, Executors, Given, Subject, Wishes, rehearse};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// An executor of somebody's own: it says of each order what its text wishes.
struct Farm {
    busy: Mutex<(usize, usize)>,
    cancelled: Mutex<BTreeSet<String>>,
    made: tempfile::TempDir,
}

impl Farm {
    fn new() -> Self {
        Self { busy: Mutex::default(), cancelled: Mutex::default(), made: tempfile::tempdir().unwrap() }
    }
}

#[async_trait::async_trait]
impl Executor for Farm {
    fn at_once(&self) -> usize {
        2
    }

    async fn submit(&self, order: &Order) -> Result<Ticket, RunError> {
        let mut busy = self.busy.lock().unwrap();
        busy.0 += 1;
        busy.1 = busy.1.max(busy.0);
        let graph = order.graph()?;
        Ok(Ticket::new(format!("{}/{}", order.number, graph.node("1").unwrap().inputs["text"].as_str().unwrap())))
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Vec<News>, RunError> {
        tokio::task::yield_now().await;
        if ticket.id.ends_with("lost") {
            return Err(ConnectorError { message: "the farm is away".into() }.into());
        }
        if ticket.id.ends_with("waits") && !self.cancelled.lock().unwrap().contains(&ticket.id) {
            return Ok(Vec::new());
        }
        self.busy.lock().unwrap().0 -= 1;
        let failed = || ExecutionError { failure: FailureCode::NodeError, message: "no".into(), node: None };
        let end = match ticket.id.split('/').nth(1).unwrap() {
            "fails" => End::Failed(failed().into()),
            "waits" => End::Cancelled,
            _ => End::Succeeded,
        };
        Ok(vec![News::Started, News::Ended(end)])
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<(), RunError> {
        self.cancelled.lock().unwrap().insert(ticket.id.clone());
        Ok(())
    }

    async fn collect(&self, ticket: &Ticket) -> Result<Vec<Artifact>, RunError> {
        let file = self.made.path().join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&file, &ticket.id).unwrap();
        let output = Output {
            node_id: "1".into(),
            index: 0,
            content_type: "text/plain".into(),
            filename: None,
            bytes: ticket.id.len() as u64,
            sha256: BlobId("0".repeat(64)),
            metadata_stripped: None,
            origin: None,
        };
        Ok(vec![Artifact { output, file }])
    }
}

/// An executor that never answers a wish to cancel, and ends what it was asked to.
struct Mute(Farm);

#[async_trait::async_trait]
impl Executor for Mute {
    async fn submit(&self, order: &Order) -> Result<Ticket, RunError> {
        self.0.submit(order).await
    }

    async fn poll(&self, ticket: &Ticket) -> Result<Vec<News>, RunError> {
        self.0.poll(ticket).await
    }

    async fn cancel(&self, ticket: &Ticket) -> Result<(), RunError> {
        self.0.cancel(ticket).await?;
        std::future::pending().await
    }

    async fn collect(&self, ticket: &Ticket) -> Result<Vec<Artifact>, RunError> {
        self.0.collect(ticket).await
    }
}

/// One order for each frame of `1-4`, whose text holds its frame.
fn plan(text: &str) -> Plan {
    let graph = json!({ "1": { "class_type": "Show", "inputs": { "text": "" } } });
    let subject = Subject::Graph { name: "show".into(), graph: Graph::from_value(graph).unwrap() };
    let wishes = Wishes {
        params: vec![("1.text".into(), Given::Word(text.to_owned()))],
        repeats: Some(4),
        outputs: vec![(Some("said".into()), "1".into())],
        ..Wishes::default()
    };
    Plan::new(subject, wishes, Definitions::default(), || 0).unwrap()
}

async fn drive(
    executor: &dyn Executor,
    plan: &Plan,
    fail_fast: bool,
    stop: &CancellationToken,
) -> (Summary, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let folder = Some(Folder::open(folder.path()).unwrap());
    let options = Options { folder, fail_fast, clock: SystemClock::start() };
    let told = Mutex::new(Vec::new());
    let listener = |it: &Told| {
        let what = format!("{:?}", it.what);
        let word: String = what.chars().take_while(|letter| letter.is_alphanumeric()).collect();
        told.lock().unwrap().push(format!("{} {word}", it.number));
    };
    let summary = run_all(executor, plan, &|_| Found::NoPath, &options, &listener, stop);
    let summary = tokio::time::timeout(Duration::from_mins(1), summary).await.expect("everything ends");
    (summary, told.into_inner().unwrap())
}

#[tokio::test]
async fn an_executor_of_somebodys_own_is_chosen_by_its_name_and_driven_like_ours() {
    let mut executors = Executors::none();
    executors.register("farm", |_| Box::pin(async { Ok(Box::new(Farm::new()) as Box<dyn Executor>) }));
    let context = || Context {
        settings: crate::settings::Settings::default(),
        patience: Duration::ZERO,
        stop: CancellationToken::new(),
        tell: Arc::new(|_| {}),
    };
    let unknown = executors.make("frm", context()).await.map(drop).unwrap_err();
    assert_eq!((unknown.code(), unknown.to_string().contains("did you mean `farm`?")), ("validation", true));
    let farm = executors.make("farm", context()).await.unwrap();
    let (summary, told) = drive(farm.as_ref(), &plan("well"), false, &CancellationToken::new()).await;
    assert_eq!((summary.succeeded(), summary.failed(), summary.cancelled()), (4, 0, 0));
    let first: Vec<&String> = told.iter().filter(|line| line.starts_with("1 ")).collect();
    assert_eq!(first, ["1 Accepted", "1 News", "1 Saved", "1 Ended"]);
    let saved = &summary.ended[0].saved[0];
    assert_eq!((saved.alias.as_deref(), summary.ended[0].id.as_deref()), (Some("said"), Some("1/well")));
}

#[tokio::test]
async fn no_more_orders_are_given_than_the_executor_takes() {
    let farm = Farm::new();
    drive(&farm, &plan("well"), false, &CancellationToken::new()).await;
    assert_eq!(*farm.busy.lock().unwrap(), (0, 2));
}

#[tokio::test]
async fn a_failed_order_stops_the_others_only_where_that_was_wished() {
    let stop = CancellationToken::new();
    let (summary, _) = drive(&Farm::new(), &plan("fails"), false, &stop).await;
    assert_eq!((summary.failed(), summary.cancelled()), (4, 0));
    let (summary, _) = drive(&Farm::new(), &plan("fails"), true, &stop).await;
    assert!(summary.failed() <= 2 && summary.cancelled() >= 2 && summary.never_begun >= 2, "{summary:?}");
    assert!(!stop.is_cancelled());
}

#[tokio::test]
async fn an_order_whose_server_was_lost_has_failed_and_is_cancelled_there() {
    let farm = Farm::new();
    let (summary, told) = drive(&farm, &plan("lost"), false, &CancellationToken::new()).await;
    assert_eq!((summary.failed(), summary.ended.len()), (4, 4));
    assert!(matches!(&summary.ended[0].end, End::Failed(error) if error.code() == "connector"), "{summary:?}");
    assert_eq!(farm.cancelled.lock().unwrap().len(), 4, "{told:?}");
}

#[tokio::test]
async fn an_order_that_cannot_be_made_any_more_has_failed_and_is_told() {
    let graph = json!({ "1": { "class_type": "LoadImage", "inputs": { "image": "x.png", "text": "well" } } });
    let subject = Subject::Graph { name: "look".into(), graph: Graph::from_value(graph).unwrap() };
    let params = vec![("Image".to_owned(), Given::Word("in_####.png".to_owned()))];
    let frames = Some("1-3".parse().unwrap());
    let wishes = Wishes { params, frames, ..Wishes::default() };
    let mut plan = Plan::new(subject, wishes, Definitions::default(), || 0).unwrap();
    let here = |path: &str| Found::File(path.into());
    let all = CancellationToken::new();
    rehearse(&mut plan, usize::MAX, &here, None, &all).await.unwrap();
    let (farm, told) = (Farm::new(), Mutex::new(Vec::new()));
    let gone = |path: &str| if path == "in_0002.png" { Found::NoPath } else { Found::File(path.into()) };
    let options = Options { folder: None, fail_fast: false, clock: SystemClock::start() };
    let listener = |it: &Told| {
        if let What::Ended(ended) = &it.what {
            told.lock().unwrap().push((it.number, it.name.clone(), ended.end.clone()));
        }
    };
    let summary = run_all(&farm, &plan, &gone, &options, &listener, &all).await;
    assert_eq!((summary.succeeded(), summary.failed()), (2, 1));
    let told = told.into_inner().unwrap();
    let (_, name, end) = told.iter().find(|(number, ..)| *number == 2).unwrap();
    assert_eq!(name, "look-0002");
    assert!(matches!(end, End::Failed(error) if error.to_string().contains("no file `in_0002.png`")), "{end:?}");
}

#[tokio::test]
async fn what_is_under_way_is_cancelled_when_all_shall_stop_and_nothing_more_begins() {
    let (farm, stop) = (Farm::new(), CancellationToken::new());
    stop.cancel();
    let (summary, _) = drive(&farm, &plan("waits"), false, &stop).await;
    assert_eq!((summary.cancelled(), summary.never_begun), (4, 4));
    let stop = CancellationToken::new();
    let plan = plan("waits");
    let halting = async {
        while farm.busy.lock().unwrap().0 < 2 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let ((summary, _), ()) = tokio::join!(drive(&farm, &plan, false, &stop), halting);
    assert_eq!((summary.cancelled(), summary.never_begun), (4, 2));
    assert_eq!(farm.cancelled.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn an_executor_that_does_not_answer_a_wish_to_cancel_holds_nobody_up() {
    let (mute, stop, clock) = (Mute(Farm::new()), CancellationToken::new(), ManualClock::at(Timestamp::from_millis(0)));
    let options = Options { folder: None, fail_fast: false, clock: Arc::<ManualClock>::clone(&clock) };
    let plan = plan("waits");
    let driven = async {
        tokio::select! {
            summary = run_all(&mute, &plan, &|_| Found::NoPath, &options, &|_| (), &stop) => summary,
            () = async {
                while mute.0.busy.lock().unwrap().0 < 4 {
                    tokio::task::yield_now().await;
                }
                stop.cancel();
                loop {
                    clock.advance(Duration::from_secs(1));
                    tokio::task::yield_now().await;
                }
            } => unreachable!("time goes on and on"),
        }
    };
    let summary = tokio::time::timeout(Duration::from_secs(20), driven).await.expect("it ends");
    assert_eq!((summary.ended.len(), summary.cancelled()), (4, 4), "{summary:?}");
}
