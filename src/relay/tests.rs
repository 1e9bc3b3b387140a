//! What listeners hear, without sockets and without time: a board to which things are told.

use super::board::Board;
use super::ear::{Places, STOPPING, pair};
use super::*;
use crate::job::{
    Advance, Followed as Run, Happening, JobState, Limits, NodeAdvance, NodeLabel, Outcome, Output, Preview, Request,
};
use bytes::Bytes;
use std::time::Duration;

/// Told what happens at times that the test chooses.
struct Bench {
    board: Board,
    places: Places,
    job: Job,
    now: i64,
    run: Option<u32>,
}

impl Bench {
    fn new() -> Self {
        Self { board: Board::new(), places: Places::new(8), job: job(), now: 1_000_000, run: None }
    }

    fn tell(&mut self, what: Happening) {
        let at = Timestamp::from_millis(self.now);
        let left = |pace: &Pace| pace.usual?.checked_sub(pace.elapsed);
        self.board.take(Tapped::of(&self.job, self.run, at, what), &left);
    }

    fn begin(&mut self, run: u32) {
        self.run = Some(run);
        let label = |class: &str| NodeLabel { class: class.into(), title: None };
        let labels = [("1".to_owned(), label("Load")), ("2".to_owned(), label("Sample"))];
        let usual = Some(Duration::from_secs(100));
        let labels = Arc::new(labels.into_iter().collect());
        self.tell(Happening::Followed(Run { backend: "gpu".into(), started_at: None, usual, labels }));
        self.tell(Happening::Started);
    }

    fn advance(&mut self, fraction: f64, value: f64) {
        let node = Some(NodeAdvance { id: "2".into(), bar: Some((value, 1000.0)) });
        self.tell(Happening::Progress { advance: Advance { fraction, node }, is_weighed: false });
    }

    fn follow(&mut self, last: Option<u64>) -> Followed {
        let (ear, listener) = pair(Filter::default(), &self.places).unwrap();
        self.board.follow(&self.job, ear, listener, last)
    }
}

fn job() -> Job {
    let limit = Duration::from_mins(1);
    Job {
        id: JobId::from_bytes([7; 16]),
        tenant: Tenant::default(),
        request: Request::plain("canvas", "r", Limits { queue: limit, start: limit, silence: limit, run: limit }),
        state: JobState::Queued,
        run: None,
        cancel_requested: false,
        created_at: Timestamp::from_millis(0),
        submitted_at: None,
        started_at: None,
        ended_at: None,
    }
}

/// What waits for a listener; and whether that is all there will be.
async fn drained(listener: &mut Listener<Told>) -> (Vec<Arc<Told>>, Option<Heard<Told>>) {
    let mut told = Vec::new();
    loop {
        match tokio::time::timeout(Duration::ZERO, listener.next()).await {
            Ok(Heard::Event(event)) => told.push(event),
            Ok(end) => return (told, Some(end)),
            Err(_) => return (told, None),
        }
    }
}

fn ids(told: &[Arc<Told>]) -> Vec<u64> {
    told.iter().map(|told| told.id).collect()
}

#[tokio::test]
async fn a_listener_hears_what_follows_and_then_that_it_is_over() {
    let mut bench = Bench::new();
    let mut early = bench.follow(None);
    assert!(early.before.is_none(), "only the store knows of a job that waits");
    bench.begin(1);
    bench.advance(0.5, 3.0);
    let late = bench.follow(None);
    bench.tell(Happening::ended(&Outcome::Cancelled));
    let (told, end) = drained(&mut early.listener).await;
    assert!(told.last().unwrap().is_final() && matches!(end, Some(Heard::Over)));
    let before = late.before.unwrap();
    assert_eq!(before.iter().map(|told| told.kind()).collect::<Vec<_>>(), [EventKind::Status, EventKind::Progress]);
    bench.tell(Happening::Started);
    assert_eq!(ids(&bench.follow(None).before.unwrap()), [told.last().unwrap().id], "nothing follows the end");
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed_and_nothing_twice_or_how_things_stand() {
    let mut bench = Bench::new();
    bench.begin(1);
    let mut whole = bench.follow(None);
    for hundredth in 1..=90 {
        bench.now += 10;
        bench.advance(f64::from(hundredth) / 100.0, f64::from(hundredth));
    }
    let (told, _) = drained(&mut whole.listener).await;
    assert_eq!(told.len(), 90);
    let heard = told[40].id;
    assert_eq!(ids(&bench.follow(Some(heard)).before.unwrap()), ids(&told[41..]));
    assert_eq!(bench.follow(Some(told[89].id)).before.unwrap().len(), 0);
    // Numbers that were never given show nothing.
    assert_eq!(bench.follow(Some(told[89].id + 1)).before.unwrap().len(), 2);
    for step in 0..400 {
        bench.now += 1000;
        bench.advance(0.9, f64::from(step));
    }
    let again = bench.follow(Some(heard)).before.unwrap();
    assert_eq!(again.len(), 2, "what was missed is not kept any more, so it begins anew");
    assert!(matches!(&again[0].facts, Facts::Status(_)) && matches!(&again[1].facts, Facts::Progress { .. }));
}

#[tokio::test]
async fn nothing_is_told_twice_and_little_is_told_seldom() {
    let mut bench = Bench::new();
    bench.begin(1);
    let mut followed = bench.follow(None);
    for _ in 0..10 {
        bench.advance(0.25, 1.0);
    }
    bench.advance(0.255, 2.0);
    bench.advance(0.26, 3.0);
    bench.now += 250;
    bench.advance(0.261, 4.0);
    let (told, _) = drained(&mut followed.listener).await;
    let bars: Vec<f64> = told
        .iter()
        .filter_map(|told| if let Facts::Progress { bar, .. } = &told.facts { Some(bar.unwrap().0) } else { None })
        .collect();
    assert_eq!(bars, [1.0, 3.0, 4.0], "each hundredth at once, what lies between a quarter of a second apart");
    let preview =
        |size| Preview { node: Some("2".into()), content_type: "image/png".into(), bytes: Bytes::from(vec![0; size]) };
    for _ in 0..10 {
        bench.tell(Happening::Preview(preview(3)));
        bench.now += 50;
    }
    let (told, _) = drained(&mut followed.listener).await;
    assert_eq!(told.len(), 2);
    let data: serde_json::Value = serde_json::from_str(told[0].data()).unwrap();
    assert_eq!((&data["data_base64"], &data["node"]["class_type"]), (&"AAAA".into(), &"Sample".into()));
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_cut_off_and_told_so_after_what_waits_for_it() {
    let mut bench = Bench::new();
    bench.begin(1);
    let mut slow = bench.follow(None);
    let mut quick = bench.follow(None);
    let mut heard = 0;
    for step in 0..300 {
        bench.now += 1000;
        bench.advance(0.5, f64::from(step));
        heard += drained(&mut quick.listener).await.0.len();
    }
    assert_eq!((heard, bench.board.cut_off()), (300, 1));
    let (told, end) = drained(&mut slow.listener).await;
    assert_eq!(told.len(), 256);
    assert!(matches!(end, Some(Heard::CutOff(reason)) if reason.contains("did not read")), "{end:?}");
}

#[tokio::test]
async fn previews_are_left_out_where_a_listener_is_behind_and_cost_it_nothing_else() {
    let mut bench = Bench::new();
    bench.begin(1);
    let mut slow = bench.follow(None);
    let large = Preview { node: None, content_type: "image/jpeg".into(), bytes: Bytes::from(vec![7; 1 << 20]) };
    for _ in 0..100 {
        bench.now += 1000;
        bench.tell(Happening::Preview(large.clone()));
    }
    for step in 0..200 {
        bench.now += 1000;
        bench.advance(0.5, f64::from(step));
    }
    assert_eq!(bench.board.cut_off(), 0, "what waits of images is not held against it");
    bench.tell(Happening::ended(&Outcome::Cancelled));
    let (mut told, end) = drained(&mut slow.listener).await;
    told.retain(|told| told.kind() != EventKind::Progress);
    assert!(told.len() <= 3 && told.last().unwrap().is_final(), "{}", told.len());
    assert!(matches!(end, Some(Heard::Over)));
}

#[tokio::test]
async fn a_repeated_run_begins_anew_and_late_words_of_the_one_before_are_passed_over() {
    let mut bench = Bench::new();
    bench.begin(1);
    bench.advance(0.9, 9.0);
    let output = Output {
        node_id: "2".into(),
        index: 0,
        content_type: "image/png".into(),
        filename: None,
        bytes: 1,
        sha256: crate::job::BlobId("0".repeat(64)),
        metadata_stripped: None,
        origin: None,
    };
    bench.tell(Happening::Output { output, name: Some("picture".into()) });
    bench.tell(Happening::Again { reason: "the backend went away".into() });
    assert_eq!(bench.follow(None).before.unwrap().len(), 1, "what it had made is void");
    bench.begin(2);
    bench.run = Some(1);
    bench.advance(0.95, 10.0);
    bench.tell(Happening::ended(&Outcome::Cancelled));
    let before = bench.follow(None).before.unwrap();
    let [status] = before.as_slice() else { panic!("{before:?}") };
    assert!(matches!(&status.facts, Facts::Status(status) if status.run == Some((2, Some("gpu".into())))));
}

#[tokio::test]
async fn jobs_that_wait_and_that_nobody_follows_take_no_room_and_those_that_ended_little() {
    let mut bench = Bench::new();
    for number in 0..2000_u128 {
        bench.job.id = JobId::from_bytes(number.to_be_bytes());
        bench.run = None;
        bench.tell(Happening::Queued);
        assert!(bench.board.size() <= 256, "{}", bench.board.size());
        bench.begin(1);
        bench.tell(Happening::ended(&Outcome::Cancelled));
    }
    bench.job.id = JobId::from_bytes([9; 16]);
    drop(bench.follow(None));
    assert_eq!(bench.board.size(), 257);
    bench.board.sweep();
    assert_eq!(bench.board.size(), 256, "a listener that has gone is forgotten");
}

#[tokio::test]
async fn only_so_many_listen_and_a_tenant_hears_of_its_own_jobs_alone() {
    let mut bench = Bench::new();
    let other = Filter { tenant: Some("other".parse().unwrap()), ..Filter::default() };
    let (ear, mut strange) = pair(other, &bench.places).unwrap();
    bench.board.listen(ear, None);
    let (ear, mut all) = pair(Filter::default(), &bench.places).unwrap();
    bench.board.listen(ear, None);
    bench.begin(1);
    bench.board.take_backend("gpu".into(), Timestamp::from_millis(1), "backend_lost", Some("it is gone".into()));
    assert_eq!(drained(&mut strange).await.0.len(), 0);
    assert_eq!(drained(&mut all).await.0.len(), 2);
    let rest: Vec<_> = (0..6).map(|_| pair::<Told>(Filter::default(), &bench.places).unwrap()).collect();
    assert_eq!(pair::<Told>(Filter::default(), &bench.places).unwrap_err(), TooMany(8));
    drop(rest);
    assert_eq!(bench.places.taken(), 2);
    bench.board.cut_all(STOPPING, true);
    assert!(matches!(drained(&mut all).await.1, Some(Heard::CutOff(_))));
    assert!(matches!(drained(&mut bench.follow(None).listener).await.1, Some(Heard::CutOff(_))), "and nobody after");
}
