// The jobs that a page knows: pages from the API and events put together, newest first. Pure; the view asks it what to show.

import { isFinal } from "./states.mjs";

export class JobList {
  #jobs = new Map();

  /** `filter`: `{ status, workflow, tenant }`, each absent or a text. */
  constructor(filter = {}) {
    this.filter = filter;
  }

  /** Takes entries of `GET /jobs`; what events have told meanwhile and lists do not tell is kept. */
  take(entries) {
    for (const entry of entries) {
      const old = this.#jobs.get(entry.prompt_id);
      const live = !isFinal(entry.status) && old ? { percent: old.percent, node: old.node, value: old.value, max: old.max } : {};
      const made = old ? { outputs: old.outputs, seenOutputs: old.seenOutputs, thumbnail_url: old.thumbnail_url } : {};
      this.#jobs.set(entry.prompt_id, { ...live, ...made, ...entry });
    }
  }

  /** Applies one event. Returns the id of the job whose card must change, or `null`. */
  apply(name, data) {
    const id = data.prompt_id;
    if (!id) return null;
    const old = this.#jobs.get(id);
    if (!old && (name !== "status" || !this.#couldShow(data))) return null;
    const job = { ...(old ?? { prompt_id: id, workflow: data.workflow, created_at: data.at, status: data.status }) };
    if (name === "status") changeStatus(job, data);
    else if (name === "progress") changeProgress(job, data);
    else if (name === "node") changeNode(job, data);
    else if (name === "output") addOutput(job, data.output);
    else return null;
    this.#jobs.set(id, job);
    return id;
  }

  job(id) {
    return this.#jobs.get(id) ?? null;
  }

  /** What the filter lets through, newest first. */
  shown() {
    return [...this.#jobs.values()].filter((job) => this.#matches(job)).sort((one, other) => newestFirst(one, other));
  }

  matches(id) {
    const job = this.job(id);
    return job !== null && this.#matches(job);
  }

  #matches(job) {
    return (!this.filter.status || job.status === this.filter.status) && this.#couldShow(job);
  }

  /** The event of a new job has no tenant; with a filter of tenants it waits for the list to tell. */
  #couldShow(job) {
    const { workflow, tenant } = this.filter;
    return (!workflow || job.workflow === workflow) && (!tenant || job.tenant === tenant);
  }
}

/** How far a job is, from 0 to 1, as events and lists tell it; `null` where it does not run. */
export function share(job) {
  if (job.status !== "running") return null;
  if (Number.isFinite(job.percent)) return job.percent / 100;
  // As the events round it, so that the first of them never takes a step back.
  return Math.floor((job.progress?.fraction ?? 0) * 100) / 100;
}

/** Where the picture of a card is, or `null`. */
export function thumbnail(job, size) {
  const path = job.thumbnail_url ?? null;
  if (!path) return null;
  return path.includes("thumbnail=") ? path.replace(/thumbnail=\d+/, `thumbnail=${size}`) : path;
}

function changeStatus(job, data) {
  job.status = data.status;
  if (data.run) job.run = data.run;
  for (const key of ["position", "waiting_reason", "eta", "eta_ms", "code", "error"]) job[key] = data[key];
  if (data.status !== "running") Object.assign(job, { percent: undefined, node: undefined, nodes_done: undefined });
  if (data.status === "running") job.started_at ??= data.at;
  if (data.status === "queued") job.started_at = undefined;
  if (isFinal(data.status)) {
    job.ended_at = data.at;
    job.outputs ??= job.seenOutputs ?? 0;
  }
}

/** Several nodes may be told of at once; shown is the one that began last. */
function changeNode(job, { node, state, nodes_done: done, nodes_total: total }) {
  if (state === "running" && node?.id !== job.node?.id) Object.assign(job, { node, value: undefined, max: undefined });
  Object.assign(job, { nodes_done: done, nodes_total: total });
}

function changeProgress(job, data) {
  // Frames may overtake each other; a bar never goes back within a run.
  job.percent = Math.max(job.percent ?? 0, data.percent);
  Object.assign(job, { eta: data.eta, eta_ms: data.eta_ms });
  if (data.node && data.value < data.max) Object.assign(job, { node: data.node, value: data.value, max: data.max });
}

function addOutput(job, output) {
  const n = job.seenOutputs ?? 0;
  job.seenOutputs = n + 1;
  if (!job.thumbnail_url && output?.content_type?.startsWith("image/")) {
    job.thumbnail_url = `/jobs/${job.prompt_id}/outputs/${n}?thumbnail=256`;
  }
}

/** By the time of acceptance; ids of version 7 decide between jobs of the same millisecond. */
function newestFirst(one, other) {
  const later = Date.parse(other.created_at) - Date.parse(one.created_at);
  return later || (one.prompt_id < other.prompt_id ? 1 : -1);
}
