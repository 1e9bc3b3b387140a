//! Whether a workflow would run on each backend, by what is known of the backend's nodes. Found out once for each revision.

use super::caller::Caller;
use crate::check::{Kind as ProblemKind, Problem, Severity, check};
use crate::definitions::Definitions;
use crate::graph::Graph;
use crate::inventory::Inventory;
use crate::workflow::{Kind, Pair, Target, attempt, build};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many verdicts are remembered; when there are more, all are forgotten.
const MOST: usize = 10_000;

/// What is known of workflows on backends.
pub struct Verdicts {
    inventory: Arc<Inventory>,
    /// By revision and backend, with the state of the inventory in which it was found out.
    found: Mutex<Found>,
}

type Found = HashMap<(String, String), (u64, Arc<Vec<Problem>>)>;

/// What is known of a graph on a backend.
pub(super) struct Verdict {
    pub(super) backend: String,
    /// From 1: what the backend is called before callers who are not told where it is.
    pub(super) place: usize,
    /// None where nothing is known of the backend's nodes.
    pub(super) problems: Option<Arc<Vec<Problem>>>,
}

impl Verdicts {
    /// Finds nothing out yet.
    pub fn new(inventory: Arc<Inventory>) -> Self {
        Self { inventory, found: Mutex::default() }
    }

    pub(super) fn inventory(&self) -> &Arc<Inventory> {
        &self.inventory
    }

    /// Says of each backend what is wrong there with a workflow as its files have it. It may take some time.
    pub(super) fn of(&self, workflow: &Pair) -> Vec<Verdict> {
        let state = *self.inventory.changes().borrow();
        let mut graph = None;
        let verdict = |(place, backend): (usize, &String)| {
            let key = (workflow.revision().to_owned(), backend.clone());
            let known = self.found().get(&key).filter(|(at, _)| *at == state).map(|(_, problems)| Arc::clone(problems));
            let problems = known.or_else(|| {
                let definitions = self.inventory.of(backend)?;
                let graph = graph.get_or_insert_with(|| usual(workflow));
                let problems = Arc::new(problems_of(workflow, graph, &definitions));
                let mut found = self.found();
                if found.len() >= MOST {
                    found.clear();
                }
                found.insert(key, (state, Arc::clone(&problems)));
                Some(problems)
            });
            Verdict { backend: backend.clone(), place: place + 1, problems }
        };
        self.inventory.backends().iter().enumerate().map(verdict).collect()
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdict {
    /// Says whether the backend would take the graph; none where that is not known.
    pub(super) fn is_ok(&self) -> Option<bool> {
        self.problems.as_deref().map(|problems| crate::check::is_good(problems))
    }

    /// Returns the backend's name as a caller may read it: where backends are is the operator's.
    pub(super) fn name_for(&self, caller: &Caller) -> String {
        if caller.sees_all { self.backend.clone() } else { self.place.to_string() }
    }

    /// Writes it without what is wrong in particular.
    pub(super) fn view(&self, caller: &Caller) -> Value {
        let problems = self.problems.as_deref().map(Vec::as_slice).unwrap_or_default();
        let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        json!({ "backend": self.name_for(caller), "ok": self.is_ok(), "errors": errors, "warnings": problems.len() - errors })
    }
}

/// Says whether another look at the backend might find the graph good: a file was added since, or a node was installed.
pub(super) fn may_have_changed(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| match problem.kind {
        ProblemKind::ValueNotInList | ProblemKind::MissingNodeType | ProblemKind::CustomValidationFailed => true,
        ProblemKind::PromptNoOutputs
        | ProblemKind::DependencyCycle
        | ProblemKind::RequiredInputMissing
        | ProblemKind::BadLinkedInput
        | ProblemKind::ReturnTypeMismatch
        | ProblemKind::InvalidInputType
        | ProblemKind::ValueSmallerThanMin
        | ProblemKind::ValueBiggerThanMax
        | ProblemKind::LinkExpected
        | ProblemKind::UnknownInput
        | ProblemKind::TextForBoolean
        | ProblemKind::UnusedNode
        | ProblemKind::DeprecatedNode
        | ProblemKind::More => false,
    })
}

/// Returns the graph of a request that says nothing.
fn usual(workflow: &Pair) -> Graph {
    let (resolved, _) = attempt(workflow, &Map::new(), || 0);
    build(workflow, &resolved.params).map_or_else(|_| workflow.template().clone(), |built| built.graph)
}

/// Checks that graph, and passes over what each request brings itself.
fn problems_of(workflow: &Pair, graph: &Graph, definitions: &Definitions) -> Vec<Problem> {
    let brought = workflow.parameters().filter(|it| it.required || it.kind == Kind::Image);
    let targets: Vec<Target> = brought.flat_map(|parameter| parameter.targets.clone()).collect();
    without(check(graph, definitions), &targets)
}

/// Passes over the problems of these inputs.
pub(super) fn without(mut problems: Vec<Problem>, targets: &[Target]) -> Vec<Problem> {
    problems.retain(|problem| {
        let place = (problem.node.as_deref(), problem.input.as_deref());
        targets.iter().all(|target| place != (Some(target.node.as_str()), Some(target.input.as_str())))
    });
    problems
}
