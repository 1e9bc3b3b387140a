// The nodes of a graph in words: one in full, and all of them as a list in the order in which they run.

import { h } from "../lib/dom.mjs";
import { inputWords, valueWords } from "../lib/graph.mjs";
import { icon } from "../lib/icons.mjs";
import { badge, facts, words } from "./parts.mjs";

/** Everything that is known of one node, with a button that closes it. */
export function nodeFacts(node, graph, marks, close) {
  return h("div.card.pad.stack.tight.node-facts", {},
    h("div.row.apart", {},
      h("div.row", {}, h("h3", {}, node.title), h("code.small.soft", {}, node.className), h("span.tag", {}, `Node ${node.id}`), marks.outputs.has(node.id) && badge("Result", "accent", { plain: true })),
      h("button.button.quiet.icon-only.small", { type: "button", "aria-label": `Close node ${node.id}`, onclick: close }, icon("close", "s"))),
    troubles(node, marks),
    facts([...node.inputs.map(({ name }, index) => [name, inputWords(node, graph)[index].slice(name.length + 1)]), ...node.values.map(({ name, value }) => [name, h("code", {}, valueWords(value, 600))])]),
    node.inputs.length + node.values.length === 0 && h("p.small.soft", {}, "It has no inputs."));
}

/** `{ element, mark(id) }`: a button for each node, which chooses it in the picture, and its inputs. */
export function nodeList(graph, marks, choose) {
  const buttons = new Map();
  const items = graph.nodes.map((node) => {
    const button = h("button", { type: "button", class: "node-button", "aria-pressed": "false", onclick: () => choose(node.id) },
      h("strong", {}, node.title), node.title !== node.className && h("span.soft", {}, ` ${node.className}`), h("span.soft", {}, ` · node ${node.id}`));
    buttons.set(node.id, button);
    const taken = inputWords(node, graph);
    const values = node.values.map(({ name, value }) => `${name}: ${valueWords(value, 80)}`);
    return h("li", {}, button,
      marks.outputs.has(node.id) && h("p.small", {}, "What it makes is the result."),
      troubles(node, marks),
      taken.length > 0 && h("p.small", {}, `Takes ${taken.join(", ")}.`),
      values.length > 0 && h("p.small.soft", {}, values.join(" · ")));
  });
  const lost = graph.lost.map(({ to, input, from }) => h("li", {}, h("p.small", {}, `Node ${to} takes ${input} from node ${from}, which is not there.`)));
  return {
    element: h("ol.node-list", {}, items, lost),
    mark(id) { for (const [key, button] of buttons) button.setAttribute("aria-pressed", String(key === id)); },
  };
}

function troubles(node, marks) {
  return (marks.problems.get(node.id) ?? []).map((problem) =>
    h("p.small.trouble", { class: problem.severity === "warning" ? "tone-amber" : "tone-red" }, icon("warn", "s"), words(problem.message)));
}
