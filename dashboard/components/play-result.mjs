// What becomes of a job that was just sent: how far it is, then its pictures, or why it failed.

import { get } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { duration } from "../lib/format.mjs";
import { JobList } from "../lib/job-list.mjs";
import { followJob } from "../lib/live.mjs";
import { howToMend } from "../lib/mend.mjs";
import { makeHash } from "../lib/router.mjs";
import { isFinal, jobState, stateOf } from "../lib/states.mjs";
import { jobStage } from "./job-stage.mjs";
import { outputGallery } from "./outputs.mjs";
import { badge, faultNotice, notice, words } from "./parts.mjs";

/** Follows the job until it has ended or `signal` is aborted; `onEnd(job)` is told the final object. */
export function playResult(entry, signal, onEnd) {
  const known = new JobList();
  const stage = jobStage();
  const clock = setInterval(stage.tick, 1_000);
  signal.addEventListener("abort", () => clearInterval(clock));
  const head = h("div.row.apart");
  const body = h("div", {}, stage);
  known.take([{ prompt_id: entry.id, workflow: entry.workflow, status: "queued", created_at: entry.at }]);

  function drawHead(status) {
    const state = jobState(status);
    replace(head, badge(state.label, state.tone, state), h("a.small", { href: makeHash("jobs", entry.id) }, "Everything about this job"));
  }

  function draw() {
    const job = known.job(entry.id);
    drawHead(job.status);
    stage.update(job);
  }

  async function ended() {
    clearInterval(clock);
    try {
      const job = await get(`/jobs/${encodeURIComponent(entry.id)}`, { signal });
      if (!isFinal(stateOf(job))) return followJob(entry.id, onEvent, signal);
      drawHead(stateOf(job));
      replace(body, result(entry.id, job));
      return onEnd(job);
    } catch (error) {
      if (error.name !== "AbortError") replace(body, faultNotice(error, ended));
      return undefined;
    }
  }

  function onEvent(name, data) {
    if (name === "preview") return stage.preview(data);
    if (!known.apply(name, data)) return undefined;
    if (name === "status" && isFinal(data.status)) return ended();
    return draw();
  }

  draw();
  if (entry.ended) ended();
  else followJob(entry.id, onEvent, signal);
  return h("div.stack", {}, head, body);
}

function result(id, job) {
  if (job.status === "failure") {
    const mend = howToMend(job.code);
    return job.code === "cancelled" ? notice("amber", "It was cancelled", job.error)
      : notice("red", h("span", {}, "It failed: ", h("code", {}, job.code)), words(job.error), mend && h("span.mend.small", {}, h("strong", {}, "What helps: "), words(mend)));
  }
  return h("div.stack.tight", {}, outputGallery(id, job.outputs),
    h("p.soft.small", {}, `Waited ${duration(job.timing.queued_ms)}, ran ${duration(job.timing.run_ms)}${job.seed === undefined ? "" : `, seed ${job.seed}`}.`));
}
