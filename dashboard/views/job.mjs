// One job: what it makes or has made, live while it runs; then how it went, its webhook, and everything that is known of it.

import { copyButton } from "../components/copy-button.mjs";
import { deliveryLog } from "../components/delivery-log.mjs";
import { confirm } from "../components/dialogs.mjs";
import { jobFacts } from "../components/job-facts.mjs";
import { jobGraph } from "../components/job-graph.mjs";
import { jobStage } from "../components/job-stage.mjs";
import { outputGallery } from "../components/outputs.mjs";
import { badge, crumb, empty, faultNotice, loading, notice, pageHead, words } from "../components/parts.mjs";
import { runTimeline, waterfall } from "../components/run-timeline.mjs";
import { toast } from "../components/toasts.mjs";
import { get, post } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { shortId } from "../lib/format.mjs";
import { sentBody } from "../lib/history.mjs";
import { icon } from "../lib/icons.mjs";
import { JobList } from "../lib/job-list.mjs";
import { stringify } from "../lib/json.mjs";
import { followJob } from "../lib/live.mjs";
import { LiveRun } from "../lib/live-run.mjs";
import { howToMend } from "../lib/mend.mjs";
import { makeHash } from "../lib/router.mjs";
import { isFinal, jobState, stateOf } from "../lib/states.mjs";

export function view(route) {
  const { argument: id, signal } = route;
  const known = new JobList();
  const head = h("div", {}, pageHead(`Job ${shortId(id)}`));
  const body = h("div.stack.wide", {}, loading("Loading the job", 6));
  const stage = jobStage();
  const run = new LiveRun();
  const nodes = h("section.card", { hidden: true, "aria-label": "Nodes so far" });
  const clock = setInterval(() => {
    stage.tick();
    drawNodes();
  }, 1_000);
  signal.addEventListener("abort", () => clearInterval(clock));
  let following = false;
  let drawn = "";

  async function load() {
    try {
      const job = shorten(await get(`/jobs/${encodeURIComponent(id)}`, { signal }));
      const status = stateOf(job);
      known.take([{ ...job, status }]);
      draw({ ...job, status });
      if (!isFinal(status) && !following) {
        following = true;
        followJob(id, onEvent, signal);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(body, error.status === 404
        ? empty("file", "There is no such job here", "It may have been cleared away since, or belong to somebody else.", h("a.button", { href: makeHash("jobs") }, "All jobs"))
        : faultNotice(error, load));
    }
  }

  function onEvent(name, data) {
    if (name === "preview") return stage.preview(data);
    if (run.apply(name, data, Date.now())) drawNodes();
    if (!known.apply(name, data)) return undefined;
    if (name === "status" && isFinal(data.status)) return load();
    return draw(known.job(id));
  }

  function draw(job) {
    const living = !isFinal(job.status);
    if (living) stage.update(job);
    const key = `${job.status} ${job.run?.number} ${job.cancel_requested}`;
    if (key === drawn) return;
    drawn = key;
    const state = jobState(job.status);
    const focused = head.contains(document.activeElement);
    replace(head, crumb(makeHash("jobs"), "Jobs"), pageHead(`${job.workflow} ${shortId(id)}`,
      h("span.row", {}, badge(state.label, state.tone, state), h("span.job-id", {}, h("code.small.truncate", {}, id), copyButton(id, "the id"))), ...actions(job)));
    document.title = `${job.workflow} ${shortId(id)}, ${state.label.toLowerCase()} · comfygate`;
    if (focused) head.querySelector("h1").focus({ preventScroll: true });
    replace(body, living ? livingBody(job) : endedBody(job));
  }

  function actions(job) {
    const label = sentBody(id) ? "Use again" : job.seed === undefined ? "Same workflow" : "Same workflow and seed";
    const again = h("a.button", { href: makeHash("playground", job.workflow, { from: id, seed: job.seed }) }, icon("again", "s"), label);
    if (isFinal(job.status)) return job.workflow.startsWith("@") ? [] : [again];
    return [h("button.button.danger", { type: "button", disabled: job.cancel_requested === true, onclick: cancel }, icon("stop", "s"), job.cancel_requested ? "Being cancelled" : "Cancel")];
  }

  async function cancel(event) {
    const button = event.currentTarget;
    if (!(await confirm({ title: "Cancel this job?", text: "What it has made so far is lost. Its webhook is told that it was cancelled.", action: "Cancel the job", danger: true }))) return;
    button.disabled = true;
    try {
      const { status } = await post(`/jobs/${encodeURIComponent(id)}/cancel`);
      toast(status === "cancelled" ? "The job is cancelled." : "The backend was asked to stop it.");
    } catch (error) {
      toast(error.message);
    }
    load();
  }

  function livingBody(job) {
    return [h("div.job-columns", {}, h("div.stack.wide", {}, h("section.card", { "aria-label": "Progress" }, stage), nodes), factsCard(job)), rawCard(job)];
  }

  /** The nodes as they run, on the same line of time as afterwards. */
  function drawNodes() {
    const profile = nodes.isConnected ? run.profile(Date.now()) : null;
    if (!profile) return;
    nodes.hidden = false;
    replace(nodes, h("div.card-head", {}, h("h2", {}, "How it goes")), h("div.pad", {}, waterfall(profile, "Nodes so far")));
  }

  function endedBody(job) {
    const timeline = h("section.card", { hidden: true });
    drawTimeline(timeline, job);
    const result = [
      job.status === "failed" && failure(job),
      job.status === "cancelled" && notice("amber", "It was cancelled", words(job.error)),
      job.outputs.length > 0 && outputGallery(id, job.outputs),
      job.status === "succeeded" && job.outputs.length === 0 && empty("file", "No outputs", "The job succeeded and made nothing to keep."),
    ];
    return [h("div.job-columns", {},
      h("div.stack.wide", {},
        h("section.stack", { "aria-label": "Result" }, result),
        timeline,
        h("section.card", {}, h("div.card-head", {}, h("h2", {}, "Webhook")), h("div.pad", {}, deliveryLog(id, signal)))),
      factsCard(job)), h("div", {}, jobGraph({ ...job, prompt_id: id }, signal), rawCard(job))];
  }

  /** A job that ended before any run began has no profile; how long it waited is told all the same. */
  async function drawTimeline(card, job) {
    const profile = job.profile && await get(`/jobs/${encodeURIComponent(id)}/profile`, { signal, quiet: true }).catch(() => null);
    if (signal.aborted || (!profile && !job.timing)) return;
    card.hidden = false;
    replace(card, h("div.card-head", {}, h("h2", {}, "How it went"), profile && h("span.soft.small", {}, `run ${profile.run} on ${profile.backend}`)), h("div.pad", {}, runTimeline(job.timing, profile)));
  }

  load();
  return h("div", {}, head, body);
}

function failure(job) {
  const mend = howToMend(job.code);
  const node = job.node && `Node ${job.node.id}${job.node.class ? ` (${job.node.class})` : ""}`;
  return h("div.notice.tone-red", { role: "alert" }, icon("warn"), h("div.body", {},
    h("div.row.apart", {}, h("strong", {}, "It failed: ", h("code", {}, job.code ?? "unknown")), copyButton(job.error ?? "", "the error")),
    h("span.mend", {}, words(job.error)), node && h("span.mend.small", {}, node), mend && h("span.mend.small", {}, h("strong", {}, "What helps: "), words(mend))));
}

const factsCard = (job) => h("section.card.pad.stack.about", { "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "About it"), jobFacts(job));

function rawCard(job) {
  const text = stringify(job, 2);
  return h("details.unfold", {}, h("summary", {}, "Raw JSON"), h("div.stack.tight", {}, h("div", {}, copyButton(text, "the JSON", { label: "Copy" })), h("pre.code", { tabindex: "0" }, text)));
}

/** Base64 of whole pictures is of no use here; the pictures are shown. */
function shorten(job) {
  if (Array.isArray(job.images)) job.images = job.images.map((image) => `${image.slice(0, 12)}... (${image.length} characters of base64)`);
  return job;
}
