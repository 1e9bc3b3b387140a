// The gallery of jobs, newest first: filters, pages, and live cards.

import { empty, faultNotice, loading, pageHead } from "../components/parts.mjs";
import { jobCard } from "../components/job-card.mjs";
import { get } from "../lib/api.mjs";
import { freshId, h, replace, setText } from "../lib/dom.mjs";
import { plural } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { keep, recall } from "../lib/keep.mjs";
import { JobList } from "../lib/job-list.mjs";
import { makeHash } from "../lib/router.mjs";
import { isFinal, jobState, jobStates } from "../lib/states.mjs";

const pageSize = 48;

/** Where the reader was in the gallery when it was left, so that a look at one job does not lose the place. */
const left = { hash: null, top: 0, count: 0 };

export function view(route, app) {
  const { signal } = route;
  let back = left.hash === location.hash ? { ...left, id: route.previous?.argument } : null;
  const filter = { status: route.query.status ?? "", workflow: route.query.workflow ?? "", tenant: route.query.tenant ?? "" };
  let list = new JobList(filter);
  let cursor = null;
  let refreshing = null;
  let frame = null;
  const cards = new Map();

  const counts = h("p.queue-line");
  const gallery = h("ul.gallery", { "aria-label": "Jobs, newest first" });
  const below = h("div.stack");
  const element = h("div", {},
    pageHead("Jobs", counts, h("a.button.primary", { href: makeHash("playground") }, icon("playground", "s"), "New job")),
    h("div.filters", {}, filters(filter, app, signal, change), shapes(gallery)), gallery, below);

  async function load(from) {
    if (!from) replace(below, loading("Loading jobs"));
    try {
      const page = await get(pagePath(filter, from, from ? pageSize : Math.max(pageSize, Math.min(back?.count ?? 0, 200))), { signal });
      list.take(page.jobs);
      cursor = page.next_cursor;
      draw();
      if (!from && back) comeBack();
    } catch (error) {
      if (error.name !== "AbortError") replace(below, faultNotice(error, () => load(from)));
    }
  }

  function comeBack() {
    scrollTo(0, back.top);
    cards.get(back.id)?.querySelector("a").focus({ preventScroll: true });
    back = null;
  }

  /** What events cannot tell, such as a webhook's fate, comes with the first page again; many ends make one call. */
  function refresh(wait) {
    clearTimeout(refreshing);
    refreshing = setTimeout(async () => {
      try {
        const page = await get(pagePath(filter, null, pageSize), { signal, quiet: true });
        list.take(page.jobs);
        cursor ??= page.next_cursor;
        draw();
      } catch {
        // The next event tries again, and the sign of the connection says what is the matter.
      }
    }, wait);
  }

  function change(next) {
    Object.assign(filter, next);
    history.replaceState(null, "", makeHash("jobs", null, filter));
    left.hash = location.hash;
    list = new JobList(filter);
    cursor = null;
    cards.clear();
    replace(gallery);
    load(null);
  }

  function draw() {
    const shown = list.shown();
    const wanted = new Set(shown.map((job) => job.prompt_id));
    for (const [id, card] of cards) {
      if (wanted.has(id)) continue;
      card.remove();
      cards.delete(id);
    }
    shown.forEach((job, place) => {
      let card = cards.get(job.prompt_id);
      if (card) card.update(job);
      else cards.set(job.prompt_id, (card = jobCard(job)));
      if (gallery.children[place] !== card) gallery.insertBefore(card, gallery.children[place] ?? null);
    });
    gallery.hidden = shown.length === 0;
    if (shown.length === 0) replace(below, cursor ? moreButton() : nothing(filter, app.session?.keys_required));
    else replace(below, cursor && moreButton());
  }

  /** Events come in bursts; the gallery is put in order once for each frame. */
  function drawSoon() {
    frame ??= requestAnimationFrame(() => { frame = null; if (!signal.aborted) draw(); });
  }

  function moreButton() {
    return h("button.button", { type: "button", class: "more", onclick: () => load(cursor) }, icon("more", "s"), "Show older jobs");
  }

  for (const name of ["status", "progress", "node", "output"]) {
    app.live.on(name, (data) => {
      const before = list.matches(data.prompt_id);
      const id = list.apply(name, data);
      if (!id) {
        if (name === "status" && filter.tenant) refresh(300);
        return;
      }
      if (before && list.matches(id) && cards.has(id)) cards.get(id).update(list.job(id));
      else if (name === "status") drawSoon();
      if (name === "status" && isFinal(data.status)) refresh(1_500);
      if (name === "status") count();
    }, signal);
  }
  app.live.on("resync", () => { refresh(0); count(); }, signal);
  signal.addEventListener("abort", () => {
    clearTimeout(refreshing);
    Object.assign(left, { top: scrollY, count: cards.size });
  });

  left.hash = location.hash;
  const count = queueLine(counts, app, signal);
  load(null);
  count();
  return element;
}

function pagePath(filter, cursor, limit) {
  const query = new URLSearchParams({ limit });
  for (const [key, value] of Object.entries({ ...filter, cursor })) if (value) query.set(key, value);
  return `/jobs?${query}`;
}

/** How many jobs wait and run, for those who may know; asked at most once a second. */
function queueLine(line, app, signal) {
  let due = null;
  let refused = !app.session?.operator;
  signal.addEventListener("abort", () => clearTimeout(due));
  return () => {
    if (due || refused) return;
    due = setTimeout(async () => {
      due = null;
      try {
        const queue = await get("/queue", { signal, quiet: true });
        setText(line, queueWords(queue));
      } catch {
        refused = true;
      }
    }, line.textContent ? 1_000 : 0);
  };
}

function queueWords({ paused, queued, running, submitted }) {
  const busy = running + submitted;
  const words = queued + busy === 0 ? "Nothing waits and nothing runs." : `${plural(queued, "job")} waiting, ${busy} on backends.`;
  return paused ? `The queue is paused. ${words}` : words;
}

/** Pictures or a list; remembered. */
function shapes(gallery) {
  const buttons = ["pictures", "list"].map((shape) => h("button.button.small.quiet.icon-only", { type: "button", "aria-label": `Show as ${shape}`, title: `Show as ${shape}`, onclick: () => choose(shape) }, icon(shape === "list" ? "rows" : "jobs", "s")));
  const choose = (shape) => {
    keep("gallery", shape);
    gallery.classList.toggle("list", shape === "list");
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String((place === 1) === (shape === "list"))));
  };
  choose(recall("gallery", "pictures"));
  return h("div.shapes", { role: "group", "aria-label": "Shape" }, buttons);
}

function filters(filter, app, signal, change) {
  const chips = ["", ...jobStates].map((status) => {
    const chip = h("button.chip", { type: "button", "aria-pressed": String(filter.status === status), "data-status": status }, status ? jobState(status).label : "All");
    chip.addEventListener("click", () => {
      for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
      change({ status });
    });
    return chip;
  });
  const workflowId = freshId("workflow");
  const workflow = h("select.input.small", { id: workflowId, onchange: (event) => change({ workflow: event.target.value }) }, h("option", { value: "" }, "Every workflow"));
  if (filter.workflow) workflow.append(h("option", { value: filter.workflow, selected: true }, filter.workflow));
  get("/workflows", { signal, quiet: true }).then(({ workflows }) => {
    for (const { name } of workflows) if (name !== filter.workflow) workflow.append(h("option", { value: name }, name));
  }, () => null);
  const tenantId = freshId("tenant");
  const tenant = app.session?.operator && h("div.filter", {}, h("label.visually-hidden", { for: tenantId }, "Tenant"),
    h("input.input.small", { id: tenantId, type: "search", placeholder: "Every tenant", value: filter.tenant, onchange: (event) => change({ tenant: event.target.value.trim() }) }));
  return h("search.filter-bar", { "aria-label": "Filter jobs" },
    h("div.chips", { role: "group", "aria-label": "State" }, chips),
    h("div.row", {}, h("div.filter", {}, h("label.visually-hidden", { for: workflowId }, "Workflow"), workflow), tenant));
}

function nothing(filter, keys) {
  if (filter.status || filter.workflow || filter.tenant) {
    return empty("filter", "No job fits these filters", "Jobs that fit appear here by themselves.",
      h("a.button", { href: makeHash("jobs") }, "Show all jobs"));
  }
  const key = keys ? ` -H "authorization: Bearer $COMFYGATE_KEY"` : "";
  const line = `curl ${location.origin}/generate -H 'content-type: application/json'${key} -d '{"prompt": "a paper boat"}'`;
  return empty("image", "No jobs yet", "Jobs appear here the moment they are taken in. Begin in the playground, or post one from a shell:",
    h("pre.code.wrap", {}, line),
    h("a.button.primary", { href: makeHash("playground") }, icon("playground", "s"), "Open the playground"));
}
