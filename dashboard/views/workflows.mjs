// Workflows: what is loaded and where it would run, one of them with its parameters and its graph, and a file of your own checked.

import { convertFile } from "../components/convert-file.mjs";
import { dataTable } from "../components/data-table.mjs";
import { graphPicture } from "../components/graph-picture.mjs";
import { badge, crumb, empty, facts, faultNotice, loading, notice, pageHead, words } from "../components/parts.mjs";
import { problemList } from "../components/problem-list.mjs";
import { get, post } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { duration, plural } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { makeHash } from "../lib/router.mjs";
import { checkWords, checksSummary, gatherProblems, parameterRows, sampleRequest } from "../lib/workflow-words.mjs";

export function view(route) {
  return route.argument ? one(route.argument, route.signal) : all(route.signal);
}

function all(signal) {
  const body = h("div.stack.wide", {}, loading("Loading the workflows", 6));

  async function load() {
    try {
      const { workflows, broken } = await get("/workflows", { signal });
      replace(body,
        broken.length > 0 && h("section.stack.tight", { "aria-label": "Could not be loaded" }, broken.map(({ name, problems }) =>
          notice("red", `${name} could not be loaded`, null, problems.map((problem) => h("span.mend", {}, words(problem)))))),
        workflows.length > 0
          ? h("ul.grid.workflow-cards", {}, workflows.map(card))
          : empty("workflows", "No workflow is loaded", "Save one in ComfyUI, drop it into the folder of templates, and beside it a mapping that names its parameters. It is there within a second."),
        h("section.stack", { "aria-labelledby": "check-a-file" },
          h("div", {}, h("h2", { id: "check-a-file" }, "Check a file"), h("p.soft.small", {}, "See what a workflow from ComfyUI would execute here, before you add it.")), convertFile(signal)));
    } catch (error) {
      if (error.name !== "AbortError") replace(body, faultNotice(error, load));
    }
  }

  load();
  return h("div", {}, pageHead("Workflows", "What can be asked for, and where it would run."), body);
}

function card(workflow) {
  const { name, version, description, checks, parameters, tags, problems } = workflow;
  return h("li.card.pad.stack.tight.workflow-card", {},
    h("div.row.apart", {},
      h("h2", {}, h("a.cover", { href: makeHash("workflows", name) }, name)),
      h("span.row", {}, version && h("span.tag", {}, version), workflow.default && badge("Default", "accent", { plain: true }))),
    description && h("p.soft", {}, description),
    tags.length > 0 && h("p.row", {}, tags.map((tag) => h("span.tag", {}, tag))),
    problems.length > 0 && h("p", {}, badge("Its files are wrong; an older version goes on", "amber")),
    h("div.card-foot.stack.tight", {},
      h("p.small.soft", {}, plural(parameters.length, "parameter")),
      checkChips(checks)));
}

/** Each backend with a dot and words; with many of them, how many take it. */
function checkChips(checks, most = 6) {
  if (checks.length > most) {
    const { tone, text } = checksSummary(checks);
    return h("p", {}, badge(text, tone));
  }
  return h("ul.check-chips", { "aria-label": "Backends" }, checks.map((check) => {
    const { label, tone, text } = checkWords(check);
    return h("li.check-chip", { class: `tone-${tone}` }, h("strong", {}, label), ` ${text}`);
  }));
}

function one(name, signal) {
  const path = `/workflows/${encodeURIComponent(name)}`;
  const play = h("a.button.primary", { href: makeHash("playground", name) }, icon("playground", "s"), "Try it");
  const line = h("span", {}, "");
  const body = h("div.stack.wide", {}, loading("Loading the workflow", 8));
  const element = h("div", {}, crumb(makeHash("workflows"), "All workflows"), pageHead(name, line, play), body);

  async function load() {
    try {
      const workflow = await get(path, { signal });
      replace(line, workflow.description ?? "");
      const problems = gatherProblems(workflow.checks);
      const picture = h("div", {}, loading("Drawing the graph", 6));
      replace(body,
        workflow.problems.length > 0 && notice("amber", "Its files are wrong, so an older version goes on", null, workflow.problems.map((problem) => h("span.mend", {}, words(problem)))),
        h("section.stack", { "aria-labelledby": "backends" }, h("h2", { id: "backends" }, "Backends"),
          workflow.checks.length ? checkChips(workflow.checks, 60) : h("p.soft", {}, "No backend is there yet."),
          problems.length ? problemList(problems, workflow.checks) : nothingWrong(workflow.checks)),
        h("section.stack", { "aria-labelledby": "graph" }, h("h2", { id: "graph" }, "Graph"), picture),
        h("section.stack", { "aria-labelledby": "parameters" }, h("h2", { id: "parameters" }, "Parameters"), parameterTable(workflow)),
        h("section.stack", { "aria-labelledby": "more" }, h("h2", { id: "more" }, "More"), moreFacts(workflow)));
      drawGraph(workflow, problems, picture);
    } catch (error) {
      if (error.name === "AbortError") return;
      play.hidden = error.status === 404;
      replace(body, error.status === 404
        ? empty("file", `There is no workflow ${name}`, "It may have another name, or could not be loaded.", h("a.button", { href: makeHash("workflows") }, "All workflows"))
        : faultNotice(error, load));
    }
  }

  /** The graph is what a request with values of no account would become, so it has the defaults in it. */
  async function drawGraph(workflow, problems, picture) {
    try {
      const { graph } = await post(`${path}/check`, sampleRequest(workflow.schema), { signal });
      if (graph) return replace(picture, graphPicture(graph, { problems, outputs: (workflow.outputs ?? []).map(({ node }) => node), signal }));
      return replace(picture, h("p.soft", {}, "The graph cannot be built as things are. The problems above say why."));
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      return replace(picture, faultNotice(error, () => drawGraph(workflow, problems, picture)));
    }
  }

  load();
  return element;
}

function nothingWrong(checks) {
  return checks.some(({ ok }) => ok) ? h("p.soft", {}, "Nothing is wrong with it where it is known.") : null;
}

function parameterTable({ schema, name }) {
  const rows = parameterRows(schema);
  if (rows.length === 0) return h("p.soft", {}, "It takes no parameters: each run is the same.");
  return dataTable({
    caption: `Parameters of ${name}`, hideCaption: true, rows,
    columns: [
      { label: "Name", cell: (row) => [h("code", {}, row.name), row.required && h("span.needed", {}, "needed")] },
      { label: "Kind", cell: (row) => h("span.nowrap", {}, row.kind) },
      { label: "Usual", cell: (row) => h("span.usual", {}, row.usual) },
      { label: "Takes", cell: (row) => h("div.takes.numbers", {}, row.choices.length ? choices(row.choices) : row.range) },
      { label: "What it does", cell: (row) => h("span.what", {}, row.description) },
    ],
  });
}

function choices(list) {
  const few = list.slice(0, 3).map(String);
  if (list.length <= 3) return few.join(", ");
  return h("details.choices", {}, h("summary", {}, `${few.join(", ")} and ${list.length - 3} more`), h("span", {}, list.slice(3).map(String).join(", ")));
}

function moreFacts({ version, other_names: names, tags, timeouts, outputs, revision, warnings, ...workflow }) {
  const limits = Object.entries(timeouts).map(([what, ms]) => `${what.replace(/_ms$/, "")} ${duration(ms)}`).join(", ");
  return h("div.card.pad", {}, facts([
    ["Version", version],
    ["Default", workflow.default && "It is meant where a request names none"],
    ["Other names", names.join(", ")],
    ["Tags", tags.length > 0 && h("span.row", {}, tags.map((tag) => h("span.tag", {}, tag)))],
    ["Time limits", limits],
    ["Result", outputs ? outputs.map(({ node, title, class_type: className, name }) => `${name ?? title ?? className} (node ${node})`).join(", ") : "What every output node makes"],
    ["To know", warnings.length > 0 && h("ul", {}, warnings.map((warning) => h("li", {}, words(warning))))],
    ["Revision", h("code", {}, String(revision).slice(0, 12))],
  ]));
}
