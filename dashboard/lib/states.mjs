// The words and tones of states, said in one place so that every view says them alike. Pure.

const jobs = {
  queued: { label: "Queued", tone: "grey" },
  submitted: { label: "On a backend", tone: "violet" },
  running: { label: "Running", tone: "blue", lively: true },
  succeeded: { label: "Succeeded", tone: "green" },
  failed: { label: "Failed", tone: "red" },
  cancelled: { label: "Cancelled", tone: "amber" },
};

const deliveries = {
  pending: { label: "Webhook on its way", tone: "violet" },
  delivered: { label: "Webhook delivered", tone: "green" },
  gone: { label: "Receiver gone", tone: "amber" },
  undeliverable: { label: "Webhook failed", tone: "red" },
};

const reasons = {
  no_backend_free: "every backend is busy",
  backend_down: "no backend is reachable",
  backend_blocked: "the backends that could run it failed such graphs and are left alone for a while",
  no_backend_fits: "no backend can run it",
  paused: "the queue is paused",
};

export const jobStates = Object.keys(jobs);
export const jobState = (status) => jobs[status] ?? { label: status ?? "Unknown", tone: "grey" };
export const deliveryState = (state) => deliveries[state] ?? { label: state ?? "Unknown", tone: "grey" };
export const waitingReason = (reason) => reasons[reason] ?? reason ?? "";
export const isFinal = (status) => status === "succeeded" || status === "failed" || status === "cancelled";

/** The state of a job from its final object, which says `success` and `failure` as the webhook does. */
export function stateOf(job) {
  if (job.status === "success") return "succeeded";
  if (job.status === "failure") return job.code === "cancelled" ? "cancelled" : "failed";
  return job.status;
}
