// The playground: a form made from a workflow's schema, the job beside it as it runs, the request as code, and what was sent from here before.

import { codeTabs } from "../components/code-tabs.mjs";
import { parameterForm, refusals } from "../components/parameter-form.mjs";
import { empty, faultNotice, loading, notice, pageHead, words } from "../components/parts.mjs";
import { playHistory } from "../components/play-history.mjs";
import { playResult } from "../components/play-result.mjs";
import { get, post } from "../lib/api.mjs";
import { freshId, h, replace } from "../lib/dom.mjs";
import { remember, sentBody } from "../lib/history.mjs";
import { icon } from "../lib/icons.mjs";
import { keep, recall } from "../lib/keep.mjs";
import { faultsOf, faultsOfCheck } from "../lib/request.mjs";
import { makeHash } from "../lib/router.mjs";

export function view(route, app) {
  const { signal } = route;
  const chooser = h("div");
  const left = h("div", {}, loading("Loading the workflow", 6));
  const result = h("section.card.pad.stack", { "aria-labelledby": "result" });
  const code = codeTabs(app.session?.keys_required);
  const past = playHistory(showAgain);
  let form = null;
  let following = new AbortController();
  signal.addEventListener("abort", () => following.abort());

  async function begin() {
    try {
      const { workflows } = await get("/workflows", { signal });
      if (workflows.length === 0) {
        return replace(left, empty("workflows", "No workflow is loaded", "Save one in ComfyUI, drop it into the folder of templates, and beside it a mapping."));
      }
      const names = workflows.map(({ name }) => name);
      const wished = route.argument ?? recall("workflow", null);
      const name = names.includes(wished) ? wished : workflows.find((one) => one.default)?.name ?? names[0];
      drawChooser(names, name);
      const lost = route.argument && name !== route.argument ? notice("amber", null, `There is no workflow ${route.argument} any more, so this is ${name}.`) : null;
      return await open(name, askedFor(route.query), lost);
    } catch (error) {
      if (error.name !== "AbortError") replace(left, faultNotice(error, begin));
      return undefined;
    }
  }

  function drawChooser(names, chosen) {
    const id = freshId("workflow");
    const select = h("select.input", { id, onchange: () => { location.hash = makeHash("playground", select.value); } }, names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
    replace(chooser, h("div.field.row.chooser", {}, h("label", { for: id }, "Workflow"), select));
  }

  async function open(name, body, above) {
    keep("workflow", name);
    const workflow = await get(`/workflows/${encodeURIComponent(name)}`, { signal });
    form = parameterForm(name, workflow.schema);
    const buttons = {
      send: h("button.button.primary", { type: "submit" }, icon("play", "s"), "Generate"),
      check: h("button.button", { type: "button", onclick: () => check(name, buttons.check) }, icon("check", "s"), "Check only"),
    };
    const element = h("form.card.pad.stack", { novalidate: true, "aria-label": `Request for ${name}` },
      above, workflow.description && h("p.soft", {}, workflow.description), refusedEverywhere(workflow), form.element,
      h("div.row.form-foot", {}, buttons.send, buttons.check, h("span.soft.small.keys", {}, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter"))));
    element.addEventListener("submit", (event) => { event.preventDefault(); send(name, buttons.send); });
    element.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) element.requestSubmit(); });
    element.addEventListener("input", () => code.update(form.read().body));
    if (body) form.fill(body);
    code.update(form.read().body);
    replace(left, element);
  }

  /** What the gateway would find wrong with the values is said before it is asked. */
  function readChecked() {
    const { body, faults } = form.read();
    if (Object.keys(faults).length) {
      form.mark({ fields: faults });
      return null;
    }
    form.mark({});
    return body;
  }

  async function send(name, button) {
    const body = readChecked();
    if (!body || button.disabled) return;
    button.disabled = true;
    try {
      const { prompt_id: id } = await post("/generate", body);
      const entry = { id, workflow: name, at: new Date().toISOString(), body };
      remember(entry);
      follow(entry);
    } catch (error) {
      const { fields, rest } = faultsOf(error, form.names);
      form.mark({ fields, rest: refusals(rest) });
    } finally {
      button.disabled = false;
    }
  }

  async function check(name, button) {
    const body = readChecked();
    if (!body) return;
    button.disabled = true;
    try {
      const { ok, problems } = await post(`/workflows/${encodeURIComponent(name)}/check`, body);
      const { fields, rest } = faultsOfCheck(problems, form.names);
      const told = rest.map(problemNotice);
      if (ok && problems.length === 0) told.push(notice("green", null, "This request is good, and a backend would take it."));
      form.mark({ fields, rest: told });
    } catch (error) {
      const { fields, rest } = faultsOf(error, form.names);
      form.mark({ fields, rest: refusals(rest) });
    } finally {
      button.disabled = false;
    }
  }

  function follow(entry) {
    following.abort();
    following = new AbortController();
    past.update(entry.id);
    replace(result, h("h2", { id: "result" }, "Result"), playResult(entry, following.signal, (job) => {
      const picture = (job.outputs ?? []).findIndex(({ content_type: type }) => type?.startsWith("image/"));
      remember({ ...entry, ended: true, failed: job.status === "failure", picture: picture < 0 ? undefined : picture });
      past.update(entry.id);
    }));
    const narrow = matchMedia("(max-width: 68rem)").matches;
    if (narrow || result.getBoundingClientRect().top < 0) result.scrollIntoView({ block: "start", behavior: "smooth" });
  }

  function showAgain(entry) {
    if (form && entry.workflow === recall("workflow", null)) {
      form.fill(entry.body);
      code.update(form.read().body);
      follow(entry);
    } else {
      location.hash = makeHash("playground", entry.workflow, { from: entry.id });
    }
  }

  document.addEventListener("paste", (event) => {
    if (event.defaultPrevented || event.target.closest?.("input[type=text], textarea")) return;
    const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (file) form?.paste(file);
  }, { signal });

  replace(result, h("h2", { id: "result" }, "Result"), empty("image", "Nothing sent yet", "The job appears here while it runs: percent, preview, pictures."));
  begin();
  return h("div", {},
    pageHead("Playground", "Try a workflow with values of your own.", chooser),
    h("div.play-columns", {}, left, h("div.stack.play-side", {}, result, past, h("section.card.pad.stack.tight", { "aria-labelledby": "as-code" }, h("h2", { id: "as-code" }, "As code"), code))));
}

/** What a job asked for, as far as it is known here: everything if it was sent from this browser, else its seed. */
function askedFor({ from, seed }) {
  return (from && sentBody(from)) ?? (seed ? { seed } : null);
}

/** Whatever is typed, the graph would be refused: better said before than after. */
function refusedEverywhere({ name, checks = [] }) {
  if (checks.length === 0 || checks.some(({ ok }) => ok !== false)) return null;
  return notice("amber", "No backend would take this workflow as it is", h("span", {}, "Another value, such as another model, may help. ", h("a", { href: makeHash("workflows", name) }, "See what is wrong")));
}

function problemNotice(problem) {
  const where = problem.node ? `Node ${problem.node}${problem.class_type ? ` (${problem.class_type})` : ""}${problem.input ? `, ${problem.input}` : ""}` : null;
  const more = [problem.suggestion && `Did you mean ${problem.suggestion}?`, problem.mend].filter(Boolean).join(" ");
  return notice(problem.severity === "warning" ? "amber" : "red", where, words(problem.message), more && h("span.mend.small", {}, words(more)));
}
