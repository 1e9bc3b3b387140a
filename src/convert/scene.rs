//! The workflow as the frontend has it once the file is open: graphs of nodes with sockets, links and widgets. The values
//! of widgets lie in cells, since a field of text that a subgraph shows is the same field inside and outside.

use super::file::{Link, Outlet, Port, Socket};
use super::plan::Plan;
use super::widget::{Face, Treatment};
use super::{ConvertError, limits};
use crate::definitions::Definitions;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Where a graph stands in the scene; the outermost one stands first.
pub(super) type GraphAt = usize;
/// Where a node stands in the scene.
pub(super) type NodeAt = usize;

pub(super) const ROOT: GraphAt = 0;

pub(super) struct Scene<'a> {
    pub(super) definitions: &'a Definitions,
    pub(super) graphs: Vec<Network>,
    pub(super) nodes: Vec<Placed>,
    cells: Vec<Option<Arc<Value>>>,
    /// The subgraphs by their ids.
    pub(super) subgraphs: HashMap<String, GraphAt>,
    plans: HashMap<String, Option<Rc<Plan>>>,
    work: Cell<usize>,
}

/// A graph: the outermost one, or a subgraph.
#[derive(Default)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) nodes: Vec<NodeAt>,
    pub(super) by_id: HashMap<String, NodeAt>,
    pub(super) links: IndexMap<String, Link>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
}

/// A node in a graph.
pub(super) struct Placed {
    pub(super) graph: GraphAt,
    pub(super) id: String,
    pub(super) class: String,
    pub(super) title: Value,
    pub(super) kind: Kind,
    pub(super) mode: i64,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Outlet>,
    pub(super) widgets: Vec<PlacedWidget>,
    pub(super) properties: Map<String, Value>,
    /// What was saved of its widgets, for nodes whose widgets are made later.
    pub(super) saved: Vec<Arc<Value>>,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A node that the server runs.
    Class,
    /// A node of a class that the server does not have.
    Unknown,
    /// A point on a link.
    Reroute,
    /// A value for widgets of other nodes.
    Primitive,
    /// Words for people.
    Note,
    /// An instance of a subgraph.
    Instance(GraphAt),
}

/// An input of a placed node.
#[derive(Clone)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) link: Option<String>,
    pub(super) widget: Option<Shown>,
}

/// The widget that an input stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    /// The class and input that say what the widget takes.
    pub(super) config: Option<(String, String)>,
}

/// A widget of a placed node.
#[derive(Clone)]
pub(super) struct PlacedWidget {
    pub(super) name: String,
    pub(super) face: Face,
    pub(super) cell: usize,
    pub(super) saved: bool,
    pub(super) sent: bool,
    pub(super) treatment: Treatment,
}

/// How much a node does.
pub(super) const MUTED: i64 = 2;
/// A node that passes its inputs on.
pub(super) const BYPASSED: i64 = 4;

impl<'a> Scene<'a> {
    pub(super) fn new(definitions: &'a Definitions) -> Self {
        Self {
            definitions,
            graphs: vec![Network::default()],
            nodes: Vec::new(),
            cells: Vec::new(),
            subgraphs: HashMap::new(),
            plans: HashMap::new(),
            work: Cell::new(0),
        }
    }

    /// Counts steps, and refuses a file that needs more of them than any workflow does.
    pub(super) fn spend(&self, steps: usize) -> Result<(), ConvertError> {
        self.work.set(self.work.get().saturating_add(steps).saturating_add(1));
        if self.work.get() > limits::STEPS {
            return Err(ConvertError::TooLarge { what: "steps to convert", limit: limits::STEPS });
        }
        Ok(())
    }

    /// Returns what a new node of a class is; none where the server does not have it.
    pub(super) fn plan(&mut self, class: &str) -> Option<Rc<Plan>> {
        if let Some(known) = self.plans.get(class) {
            return known.clone();
        }
        let plan = self.definitions.node(class).map(|class| Rc::new(super::plan::plan(class)));
        self.plans.insert(class.to_owned(), plan.clone());
        plan
    }

    /// Puts a widget on the scene.
    pub(super) fn place_widget(&mut self, widget: &super::widget::Widget) -> PlacedWidget {
        PlacedWidget {
            name: widget.name.clone(),
            face: widget.face.clone(),
            cell: self.new_cell(widget.value.clone()),
            saved: widget.saved,
            sent: widget.sent,
            treatment: widget.treatment,
        }
    }

    /// Makes the widget that an instance shows for one inside its subgraph. It begins with the value of that one; a field of
    /// text stays the same field.
    pub(super) fn show_widget(&mut self, inner: &PlacedWidget, name: &str) -> PlacedWidget {
        let name = name.to_owned();
        match &inner.face {
            Face::Area | Face::Still => PlacedWidget { name, saved: true, treatment: Treatment::None, ..inner.clone() },
            Face::Plain | Face::Combo | Face::Whole(_) | Face::Fraction(..) | Face::Upload(_) => {
                let value = self.value(inner);
                let face = if matches!(inner.face, Face::Upload(_)) { Face::Combo } else { inner.face.clone() };
                PlacedWidget { name, face, cell: self.new_cell(value), ..inner.clone() }
            }
        }
    }

    pub(super) fn new_cell(&mut self, value: Option<Arc<Value>>) -> usize {
        self.cells.push(value);
        self.cells.len() - 1
    }

    /// Returns the value of a widget.
    pub(super) fn value(&self, widget: &PlacedWidget) -> Option<Arc<Value>> {
        widget.face.given(self.cells.get(widget.cell).cloned().flatten())
    }

    /// Puts a value into a widget.
    pub(super) fn put(&mut self, widget: &PlacedWidget, value: Option<Arc<Value>>) {
        if let Some(cell) = self.cells.get_mut(widget.cell) {
            *cell = widget.face.taken(value);
        }
    }

    /// Finds the widget that an input of a node stands for.
    pub(super) fn widget_of(&self, node: NodeAt, input: &Input) -> Option<&PlacedWidget> {
        let shown = input.widget.as_ref()?;
        self.nodes[node].widget(&shown.name)
    }

    /// Finds the node of a graph by its id.
    pub(super) fn by_id(&self, graph: GraphAt, id: &str) -> Option<NodeAt> {
        self.graphs[graph].by_id.get(id).copied()
    }

    /// Returns the graphs below one that it uses, itself first, each once, in the order in which the frontend visits them.
    /// Refuses subgraphs that contain themselves.
    pub(super) fn used(&self, graph: GraphAt) -> Result<Vec<GraphAt>, ConvertError> {
        let mut used = Vec::new();
        // A graph on the way is entered and left; one that is entered again before it was left contains itself.
        let mut states: HashMap<GraphAt, bool> = HashMap::new();
        let mut stack = vec![(graph, false)];
        while let Some((graph, leave)) = stack.pop() {
            if leave {
                states.insert(graph, true);
                continue;
            }
            match states.get(&graph) {
                Some(true) => continue,
                Some(false) => {
                    return Err(ConvertError::RecursiveSubgraph { name: self.graphs[graph].name.clone() });
                }
                None => {}
            }
            states.insert(graph, false);
            used.push(graph);
            stack.push((graph, true));
            for node in self.graphs[graph].nodes.iter().rev() {
                if let Kind::Instance(inner) = self.nodes[*node].kind {
                    stack.push((inner, false));
                }
            }
        }
        Ok(used)
    }

    /// Returns all nodes of all graphs, each once, those inside an instance before it.
    pub(super) fn all_nodes(&self) -> Vec<NodeAt> {
        let mut all = Vec::new();
        let mut seen = vec![false; self.graphs.len()];
        let mut stack: Vec<(GraphAt, usize)> = vec![(ROOT, 0)];
        while let Some((graph, place)) = stack.pop() {
            let Some(node) = self.graphs[graph].nodes.get(place) else { continue };
            match self.nodes[*node].kind {
                Kind::Instance(inner) if !seen[inner] => {
                    seen[inner] = true;
                    stack.push((graph, place));
                    stack.push((inner, 0));
                }
                Kind::Instance(_) | Kind::Class | Kind::Unknown | Kind::Reroute | Kind::Primitive | Kind::Note => {
                    all.push(*node);
                    stack.push((graph, place + 1));
                }
            }
        }
        all
    }

    /// Refuses a scene that has grown beyond all measure.
    pub(super) fn check_size(&self) -> Result<(), ConvertError> {
        if self.nodes.len() > limits::NODES {
            return Err(ConvertError::TooLarge { what: "nodes", limit: limits::NODES });
        }
        if self.cells.len() > limits::WIDGETS {
            return Err(ConvertError::TooLarge { what: "widgets", limit: limits::WIDGETS });
        }
        Ok(())
    }
}

impl Placed {
    pub(super) fn widget(&self, name: &str) -> Option<&PlacedWidget> {
        self.widgets.iter().find(|widget| widget.name == name)
    }

    /// Says whether the node is the frontend's alone and never sent.
    pub(super) fn is_virtual(&self) -> bool {
        match self.kind {
            Kind::Class | Kind::Unknown => false,
            Kind::Reroute | Kind::Primitive | Kind::Note | Kind::Instance(_) => true,
        }
    }

    /// Returns the title as a text, for messages.
    pub(super) fn shown_title(&self) -> String {
        crate::names::shown(&super::value::spelled(&self.title))
    }
}

impl Input {
    pub(super) fn of(socket: Socket, class: Option<&str>) -> Self {
        let config = |name: &str| class.map(|class| (class.to_owned(), name.to_owned()));
        let widget = socket.widget.map(|name| Shown { config: config(&name), name });
        Self { name: socket.name, kind: socket.kind, link: socket.link, widget }
    }
}
