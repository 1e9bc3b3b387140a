// What is wrong with a workflow: each problem in the gateway's words, with where it is and what mends it.

import { h } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { whereWords } from "../lib/workflow-words.mjs";
import { words } from "./parts.mjs";

const shown = 3;

/** The first few at once, the others unfolded. `checks` say which backends there are. */
export function problemList(problems, checks = []) {
  const items = problems.map((problem) => item(problem, checks));
  const list = (part) => h("ul.problems", {}, part);
  if (items.length <= shown + 1) return list(items);
  return h("div.stack.tight", {}, list(items.slice(0, shown)), h("details.unfold", {}, h("summary", {}, `${items.length - shown} more`), list(items.slice(shown))));
}

function item(problem, checks) {
  const warning = problem.severity === "warning";
  const node = problem.node !== undefined && problem.node !== null;
  const name = problem.title && problem.title !== problem.class_type ? `${problem.title} (${problem.class_type})` : problem.class_type;
  const where = node ? [name, `node ${problem.node}`, problem.input].filter(Boolean).join(", ") : problem.parameter && `Parameter ${problem.parameter}`;
  const mend = [problem.suggestion && `did you mean \`${problem.suggestion}\`?`, problem.mend].filter(Boolean).join("; ");
  return h("li.problem", { class: warning ? "tone-amber" : "tone-red" },
    icon("warn"),
    h("div", {},
      h("p.small.soft", {}, h("span.kind", {}, warning ? "Warning" : "Error"), where && ` · ${where}`),
      h("p", {}, words(problem.message)),
      problem.details && h("p.small.soft", {}, words(`${problem.details}.`)),
      mend && h("p.small", {}, words(`${mend}${mend.endsWith("?") ? "" : "."}`)),
      h("p.small.soft", {}, whereWords(problem.backends, checks))));
}
