//! What is answered from memory: wishes, inventories, refusals, failures.

use super::*;
use crate::clock::SystemClock;
use crate::comfy::{Client, NodeProblem};
use crate::job::{FailureCode, JobId, Placement};
use crate::pool::{BackendNews, BackendTap, Duty};
use crate::tracker::{Account, Desk, Shown, Tracker};
use serde_json::json;
use std::path::Path;

const HASH: &str = "of a checkpoint";

/// Two backends with inventories.
struct House {
    fitness: Fitness,
    pool: Arc<Pool>,
    inventory: Arc<Inventory>,
    news: Arc<Mutex<Vec<BackendNews>>>,
    _folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = Arc::new(Pool::of(["a", "b"].map(backend)));
        let inventory = Arc::new(inventory(folder.path()));
        let news = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&news);
        pool.listen(BackendTap::new(move |news| heard.lock().unwrap().push(news.clone())));
        let fitness = Fitness::new(1);
        fitness.tie(&pool, &inventory);
        Self { fitness, pool, inventory, news, _folder: folder }
    }

    fn has(&self, backend: &str, models: &[&str]) {
        let text = json!({
            "Loader": {"input": {"required": {"ckpt_name": [models, {}]}}, "output": ["MODEL"]},
            "Save": {"input": {"required": {"model": ["MODEL", {}]}}, "output": [], "output_node": true},
        });
        self.inventory.take(backend, &text.to_string()).unwrap();
    }

    fn admit(&self, backend: &str, now: Timestamp) -> bool {
        self.admit_as(1, backend, now)
    }

    fn admit_as(&self, run: u32, backend: &str, now: Timestamp) -> bool {
        self.fitness.admit(&hash(), &graph(), "revision", backend, id(run), now)
    }

    fn fit(&self, backend: &str, now: Timestamp) -> Fit {
        self.fitness.fit(&hash(), &Placement::default(), &self.pool.get(backend).unwrap(), now)
    }

    fn ran(&self, backend: &str, at: Timestamp, shown: Shown) {
        self.fitness.account(&Account { backend: backend.to_owned(), run: id(1), graph: hash(), at, shown });
    }

    fn fails(&self, backend: &str, at: Timestamp) {
        self.ran(backend, at, Shown::Fails { reason: "no memory".to_owned() });
    }

    fn events(&self) -> Vec<(String, &'static str)> {
        let news = std::mem::take(&mut *self.news.lock().unwrap());
        news.into_iter().map(|news| (news.backend, news.event.as_str())).collect()
    }
}

fn backend(name: &str) -> Backend {
    let client = Client::new("http://127.0.0.1:1".parse().unwrap()).unwrap();
    let mut backend = Backend::new(name, client, Tracker::channel().0, Arc::new(Desk::default()));
    backend.tags.insert("24gb".to_owned());
    backend
}

fn inventory(folder: &Path) -> Inventory {
    Inventory::open(folder, ["a".to_owned(), "b".to_owned()], SystemClock::start())
}

fn id(run: u32) -> RunId {
    (JobId::from_bytes([1; 16]), run)
}

fn hash() -> StructureHash {
    StructureHash(HASH.to_owned())
}

fn graph() -> Graph {
    let graph = json!({"1": {"class_type": "Loader", "inputs": {"ckpt_name": "x.safetensors"}},
        "2": {"class_type": "Save", "inputs": {"model": ["1", 0]}}});
    Graph::from_value(graph).unwrap()
}

fn refusal() -> Refusal {
    let problem = NodeProblem {
        node: "1".into(),
        class: "Loader".into(),
        kind: "value_not_in_list".into(),
        message: "x.safetensors not in list".into(),
        input: Some("ckpt_name".into()),
    };
    Refusal { problems: vec![problem], ..Refusal::new("prompt_outputs_failed_validation", "m") }
}

fn minutes(minutes: u64) -> Timestamp {
    Timestamp::from_millis(0) + Duration::from_mins(minutes)
}

#[test]
fn what_a_backend_lacks_keeps_graphs_away_and_what_is_not_known_does_not() {
    let house = House::new();
    house.has("a", &["y.safetensors"]);
    assert_eq!(house.fit("a", minutes(0)), Fit::Fits, "nobody knows yet what it needs");
    assert_eq!(house.fitness.errands().wanted.len(), 1, "and so it is to be found out");
    assert!(!house.admit("a", minutes(0)), "the graph itself shows it before it is sent");
    let expected = "it has no model `x.safetensors` for `ckpt_name` of Loader";
    assert_eq!(house.fit("a", minutes(0)), Fit::Unfit(expected.to_owned()));
    assert!(house.admit("b", minutes(0)), "what b has is not known, so it says so itself");
    assert_eq!(house.fit("b", minutes(0)), Fit::Fits);
    let node = house.fitness.failed_node(&hash(), "a", "revision").unwrap();
    assert_eq!((node.id.as_str(), node.class.as_str()), ("1", "Loader"));
    assert_eq!(house.fitness.failed_node(&hash(), "a", "another"), None, "there the node may be called otherwise");
}

#[test]
fn tags_and_exclusions_keep_a_backend_from_a_job() {
    let house = House::new();
    let wish = |tags: &[&str], exclude: &[&str]| {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let placement = Placement { tags: set(tags), exclude: set(exclude), ..Placement::default() };
        house.fitness.fit(&hash(), &placement, &house.pool.get("a").unwrap(), minutes(0))
    };
    assert_eq!(wish(&["24gb"], &["b"]), Fit::Fits);
    assert_eq!(wish(&["24gb", "flux"], &[]), Fit::Unfit("it does not have the tag `flux`".to_owned()));
    assert_eq!(wish(&[], &["a"]), Fit::Unfit("the request excludes it".to_owned()));
}

#[test]
fn what_a_backend_refused_it_never_gets_again_until_it_has_something_else() {
    let house = House::new();
    house.has("a", &["x.safetensors"]);
    assert!(house.admit("a", minutes(0)), "it seems to have it");
    house.fitness.refused(&hash(), &graph(), "a", &refusal(), minutes(0));
    assert!(matches!(house.fit("a", minutes(60)), Fit::Unfit(reason) if reason.contains("not in list")));
    assert_eq!(house.fit("b", minutes(0)), Fit::Fits);
    let said = house.fitness.errands().said.pop().unwrap();
    assert_eq!((said.backend.as_str(), &said.graph), ("a", &hash()));

    // Another life reads what was stored, and what the backend has is as it was.
    let later = Fitness::new(1);
    later.tie(&house.pool, &house.inventory);
    later.known_mut().say(&hash(), "a", Said::earlier(&said.reason, said.share));
    assert!(!later.admit(&hash(), &graph(), "revision", "a", id(1), minutes(0)));

    house.has("a", &["x.safetensors", "z.safetensors"]);
    let (version, definitions) = house.inventory.stock("a").unwrap();
    for fitness in [&house.fitness, &later] {
        fitness.judge(&hash(), "a", version, &definitions);
        assert_eq!(fitness.errands().unsaid, [(hash(), "a".to_owned())]);
        assert!(fitness.admit(&hash(), &graph(), "revision", "a", id(1), minutes(0)));
    }
    assert_eq!(house.fit("a", minutes(0)), Fit::Fits);
}

#[test]
fn a_refusal_of_one_jobs_values_says_nothing_of_others() {
    let house = House::new();
    let mut refusal = refusal();
    refusal.problems[0].input = Some("sampler_name".to_owned());
    house.fitness.refused(&hash(), &graph(), "a", &refusal, minutes(0));
    assert_eq!(house.fit("a", minutes(0)), Fit::Fits);
    assert_eq!(refusal.to_failure().code, FailureCode::Validation);
}

#[test]
fn a_backend_that_fails_such_graphs_gets_none_for_a_while_and_then_one_that_finds_out() {
    let house = House::new();
    assert!(house.admit("a", minutes(0)));
    house.fails("a", minutes(0));
    assert_eq!(house.fit("a", minutes(0)), Fit::Blocked(minutes(1)));
    assert_eq!(house.fit("b", minutes(0)), Fit::Fits, "others get them");
    let other = StructureHash("another".to_owned());
    let fit = house.fitness.fit(&other, &Placement::default(), &house.pool.get("a").unwrap(), minutes(0));
    assert_eq!(fit, Fit::Fits, "and it gets others");
    assert!(!house.admit("a", minutes(0)), "one that was claimed meanwhile goes back");
    assert_eq!(house.events(), [("a".to_owned(), "backend_blocked")]);
    let blocked = || house.fitness.blocked().into_iter().collect::<Vec<_>>();
    assert_eq!(blocked(), [("a".to_owned(), 1)]);

    assert_eq!(house.fit("a", minutes(1)), Fit::Fits);
    assert!(house.admit("a", minutes(1)) && !house.admit("a", minutes(1)), "one finds out");
    assert!(matches!(house.fit("a", minutes(1)), Fit::Blocked(_)));
    assert_eq!(blocked(), [("a".to_owned(), 1)], "until it is found out");
    house.fails("a", minutes(1));
    assert_eq!(house.fit("a", minutes(1)), Fit::Blocked(minutes(3)), "twice as long");
    assert_eq!(house.events(), [], "it was and is blocked: nothing new");

    assert!(house.admit("a", minutes(3)));
    house.ran("a", minutes(3), Shown::Nothing);
    assert!(house.admit("a", minutes(3)), "one that shows nothing leaves it to the next");
    house.ran("a", minutes(3), Shown::Runs);
    assert!(house.admit("a", minutes(3)) && house.admit("a", minutes(3)));
    assert_eq!(house.events(), [("a".to_owned(), "backend_unblocked")]);
    assert_eq!(blocked(), []);
}

#[test]
fn where_no_other_backend_can_run_them_nothing_is_blocked() {
    let house = House::new();
    house.has("b", &["y.safetensors"]);
    assert!(house.admit("a", minutes(0)) && !house.admit("b", minutes(0)));
    house.fails("a", minutes(0));
    assert_eq!((house.fit("a", minutes(0)), house.events()), (Fit::Fits, Vec::new()));
    house.has("b", &["x.safetensors"]);
    let (version, definitions) = house.inventory.stock("b").unwrap();
    house.fitness.judge(&hash(), "b", version, &definitions);
    house.fails("a", minutes(0));
    assert!(matches!(house.fit("a", minutes(0)), Fit::Blocked(_)));
}

#[test]
fn nothing_is_blocked_for_a_backend_that_takes_no_jobs() {
    let house = House::new();
    house.pool.get("b").unwrap().set_duty(Duty::Draining);
    house.fails("a", minutes(0));
    assert_eq!((house.fit("a", minutes(0)), house.events()), (Fit::Fits, Vec::new()));
    house.pool.get("b").unwrap().set_duty(Duty::Serving);
    house.fails("a", minutes(0));
    assert!(matches!(house.fit("a", minutes(0)), Fit::Blocked(_)), "it should have a socket in a moment");
}

#[test]
fn the_last_backend_that_can_run_a_graph_is_not_left_alone_with_it() {
    for gone in [true, false] {
        let house = House::new();
        house.fails("a", minutes(0));
        assert!(house.admit("a", minutes(1)) && !house.admit_as(2, "a", minutes(1)), "one finds out");
        house.events();
        house.fitness.release_the_last(minutes(1));
        assert_eq!(house.events(), [], "another can run them");
        if gone {
            house.pool.remove("b");
            house.fails("a", minutes(2));
        } else {
            house.has("b", &["y.safetensors"]);
            assert!(!house.admit("b", minutes(1)));
            house.fitness.release_the_last(minutes(2));
        }
        assert_eq!(house.events(), [("a".to_owned(), "backend_unblocked")]);
        assert!(house.admit_as(2, "a", minutes(2)) && house.admit_as(3, "a", minutes(2)));
    }
}

#[test]
fn of_many_graphs_what_can_be_found_out_again_is_forgotten() {
    let house = House::new();
    house.fitness.refused(&hash(), &graph(), "a", &refusal(), minutes(0));
    for number in 0..20_000 {
        let hash = StructureHash(number.to_string());
        house.fitness.learn_needs(&hash, &graph(), "revision");
    }
    assert!(house.fitness.known().count() <= 5000);
    assert!(matches!(house.fit("a", minutes(0)), Fit::Unfit(_)), "and what cannot is not");
    for number in 0..20_000 {
        house.fitness.want(&StructureHash(format!("wanted {number}")), minutes(0));
    }
    assert_eq!(house.fitness.errands().wanted.len(), WANTED);
}

#[test]
fn a_graph_of_an_unknown_structure_goes_anywhere() {
    let house = House::new();
    house.has("a", &["y.safetensors"]);
    let none = StructureHash::default();
    assert!(house.fitness.admit(&none, &graph(), "revision", "a", id(1), minutes(0)));
    house.fitness.refused(&none, &graph(), "a", &refusal(), minutes(0));
    let account = |shown| Account { backend: "a".to_owned(), run: id(1), graph: none.clone(), at: minutes(0), shown };
    house.fitness.account(&account(Shown::Fails { reason: String::new() }));
    let fit = house.fitness.fit(&none, &Placement::default(), &house.pool.get("a").unwrap(), minutes(0));
    assert_eq!((fit, house.fitness.errands().wanted.len()), (Fit::Fits, 0));
}
