// A graph as a picture that can be moved and enlarged, with a key to its colours, the node that was chosen beside it, and everything as a list below.

import { h, replace, s } from "../lib/dom.mjs";
import { plural } from "../lib/format.mjs";
import { cut, linkKinds, readGraph } from "../lib/graph.mjs";
import { layoutGraph } from "../lib/graph-layout.mjs";
import { icon } from "../lib/icons.mjs";
import { nodeFacts, nodeList } from "./graph-nodes.mjs";

const most = 400;
const narrow = matchMedia("(max-width: 55rem)");

/** `problems` have `node`, `message` and `severity`; `outputs` are the ids of nodes whose pictures are the result. `signal` ends its listening. */
export function graphPicture(source, { problems = [], outputs = [], signal } = {}) {
  const graph = readGraph(source);
  const marks = { problems: group(problems), outputs: new Set(outputs) };
  const chosen = h("div", { role: "status" });
  const list = nodeList(graph, marks, choose);
  if (graph.nodes.length === 0) return h("p.soft", {}, "This graph has no nodes.");
  if (graph.nodes.length > most) {
    return h("div.stack", {}, h("p.soft", {}, `${plural(graph.nodes.length, "node")} are too many for a picture, so they stand here as a list.`), list.element);
  }

  const frame = h("div.graph-frame", { tabindex: "0", role: "group", "aria-label": "Picture of the graph. Arrow keys move it, plus and minus scale it, 0 fits it." });
  const tool = (name, label, run) => h("button.button.icon-only.small", { type: "button", "aria-label": label, title: label, onclick: run }, icon(name, "s"));
  const tools = h("div.graph-tools", {}, tool("smaller", "Smaller", () => zoom(1 / 1.3)), tool("fit", "Fit", () => fit(0.2)), tool("larger", "Larger", () => zoom(1.3)));
  let drawing = null;
  let scale = 1;
  let touched = false;
  let picked = null;

  function draw() {
    drawing = drawGraph(graph, layoutGraph(graph, narrow.matches ? "down" : "right"), marks, choose);
    replace(frame, drawing.svg);
    touched = false;
    fit(narrow.matches ? 0.72 : 0.6);
    if (picked) drawing.mark(picked);
  }

  function setScale(next) {
    const before = scale;
    scale = Math.min(2.5, Math.max(0.15, next));
    const x = frame.scrollLeft + frame.clientWidth / 2;
    const y = frame.scrollTop + frame.clientHeight / 2;
    drawing.svg.setAttribute("width", Math.round(drawing.width * scale));
    drawing.svg.setAttribute("height", Math.round(drawing.height * scale));
    frame.scrollLeft = (x * scale) / before - frame.clientWidth / 2;
    frame.scrollTop = (y * scale) / before - frame.clientHeight / 2;
  }

  /** Whole, but not smaller than `least`, so that words can be read. */
  function fit(least) {
    const height = Math.max(320, innerHeight * 0.68);
    const whole = Math.min(1.15, (frame.clientWidth || 800) / drawing.width, height / drawing.height);
    setScale(Math.max(whole, least));
    frame.scrollLeft = narrow.matches ? drawing.begin * scale - frame.clientWidth / 2 : 0;
    frame.scrollTop = 0;
  }

  function zoom(by) {
    touched = true;
    setScale(scale * by);
  }

  function choose(id) {
    picked = picked === id ? null : id;
    drawing?.mark(picked);
    list.mark(picked);
    const node = graph.nodes.find((one) => one.id === picked);
    replace(chosen, node && nodeFacts(node, graph, marks, () => choose(picked)));
  }

  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });
  frame.addEventListener("keydown", (event) => {
    const run = { "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: () => fit(0.2) }[event.key];
    if (!run || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    run();
  });
  dragging(frame);
  narrow.addEventListener("change", draw, { signal });
  let width = 0;
  const watch = new ResizeObserver(() => {
    if (touched || Math.abs(frame.offsetWidth - width) < 2) return;
    width = frame.offsetWidth;
    fit(narrow.matches ? 0.72 : 0.6);
  });
  watch.observe(frame);
  signal?.addEventListener("abort", () => watch.disconnect());
  draw();

  return h("div.stack.graph", {},
    h("div.row.apart", {}, key(graph, marks), tools), frame, chosen,
    h("details.unfold", {}, h("summary", {}, `All ${plural(graph.nodes.length, "node")} as a list`), list.element));
}

/** The colours that occur, with their words. */
function key(graph, marks) {
  const kinds = Object.keys(linkKinds).filter((kind) => graph.links.some((link) => link.kind === kind));
  return h("ul.graph-key", { "aria-label": "Colours of links" },
    kinds.map((kind) => h("li", { class: `tone-${linkKinds[kind].tone}` }, linkKinds[kind].label)),
    marks.outputs.size > 0 && h("li.is-result", {}, "Result"),
    marks.problems.size > 0 && h("li.is-wrong", {}, "Has a problem"));
}

function drawGraph(graph, layout, marks, choose) {
  const label = `Graph of ${plural(layout.nodes.length, "node")} and ${plural(layout.links.length, "link")}. The list below has all of them.`;
  const links = layout.links.map((link) => ({ link, line: s("path.link", { class: `tone-${linkKinds[link.kind].tone}${link.back ? " back" : ""}`, d: link.path }) }));
  const tones = new Map(layout.links.toReversed().toSorted((one, other) => other.slot - one.slot).map(({ from, kind }) => [from, linkKinds[kind].tone]));
  const nodes = layout.nodes.map((node) => ({ node, group: drawNode(node, tones.get(node.id) ?? "grey", marks, choose) }));
  const svg = s("svg.graph-picture", { viewBox: `0 0 ${Math.ceil(layout.width)} ${Math.ceil(layout.height)}`, role: "img", "aria-label": label },
    links.map(({ line }) => line), nodes.map((one) => one.group));
  return {
    svg, width: layout.width, height: layout.height, begin: beginOf(layout.nodes),
    mark(id) {
      svg.classList.toggle("has-choice", id !== null);
      const near = new Set([id]);
      for (const { link, line } of links) {
        const own = link.from === id || link.to === id;
        line.classList.toggle("near", own);
        if (own) near.add(link.from).add(link.to);
      }
      for (const one of nodes) {
        one.group.classList.toggle("chosen", one.node.id === id);
        one.group.classList.toggle("near", near.has(one.node.id));
      }
    },
  };
}

/** The middle of the first layer, which is where a picture that is wider than its frame begins. */
function beginOf(nodes) {
  const first = nodes.filter(({ layer }) => layer === 0);
  return first.reduce((sum, { x, width }) => sum + x + width / 2, 0) / Math.max(1, first.length);
}

function drawNode(node, tone, marks, choose) {
  const { x, y, width, height } = node;
  const wrong = marks.problems.get(node.id) ?? [];
  const error = wrong.some(({ severity }) => severity !== "warning");
  const rows = height > 46;
  const titled = node.title !== node.className;
  const group = s("g.graph-node", { class: `tone-${tone}${wrong.length ? (error ? " wrong" : " odd") : ""}${marks.outputs.has(node.id) ? " result" : ""}`, transform: `translate(${x} ${y})` },
    s("title", {}, `${node.title} · ${node.className} · node ${node.id}`),
    s("rect.ground", { width, height, rx: 9 }),
    s("path.head", { d: `M0 ${rows ? 40 : 46}V9a9 9 0 0 1 9-9H${width - 9}a9 9 0 0 1 9 9V${rows ? 40 : 37}${rows ? "" : `a9 9 0 0 1-9 9H9a9 9 0 0 1-9-9`}z` }),
    s("rect.edge", { width, height, rx: 9 }),
    s("text.title", { x: 11, y: titled ? 18 : 26 }, cut(node.title, width - 22 - (wrong.length ? 12 : 0), 6.7)),
    titled && s("text.class", { x: 11, y: 33 }, cut(node.className, width - 18, 5.9)),
    rows && node.inputs.map((input, index) => s("text.port-name", { x: 12, y: node.ports[index].y - y + 3.5 }, cut(input.name, width - 24, 5.8))),
    node.inputs.map((input, index) => s("circle.port", { class: `tone-${linkKinds[input.kind].tone}`, cx: node.ports[index].x - x, cy: node.ports[index].y - y, r: 3.5 })),
    wrong.length > 0 && s("g.mark", { transform: `translate(${width - 3} 3)` }, s("circle", { r: 9 }), s("path", { d: "M0-4.5V1M0 4.4v.1" })));
  group.addEventListener("click", () => choose(node.id));
  return group;
}

/** A mouse moves the picture as a finger does by itself; a click that moved chooses nothing. */
function dragging(frame) {
  let start = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0) start = { x: event.clientX, y: event.clientY, left: frame.scrollLeft, top: frame.scrollTop, moved: false };
  });
  frame.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (!start.moved && Math.hypot(x, y) < 4) return;
    if (!start.moved) frame.setPointerCapture(event.pointerId);
    start.moved = true;
    frame.classList.add("moving");
    frame.scrollTo(start.left - x, start.top - y);
  });
  const end = () => {
    if (start?.moved) frame.addEventListener("click", (event) => event.stopPropagation(), { capture: true, once: true });
    start = null;
    frame.classList.remove("moving");
  };
  frame.addEventListener("pointerup", end);
  frame.addEventListener("pointercancel", end);
}

function group(problems) {
  const found = new Map();
  for (const problem of problems) {
    if (problem.node === undefined || problem.node === null) continue;
    const id = String(problem.node);
    found.set(id, [...(found.get(id) ?? []), problem]);
  }
  return found;
}
