// From a job, its profile and its deliveries to bars and dots with places from 0 to 1. Pure; the components only draw.

/** The phases of a job's life and their lengths: waiting here, waiting on the backend, running, fetching. `total` is in milliseconds. */
export function phases(timing, profile) {
  const queued = timing?.queued_ms ?? 0;
  const waited = Math.min(profile?.waited_ms ?? 0, queued);
  const run = timing?.run_ms ?? 0;
  const executed = Math.min(profile?.run_ms ?? run, run);
  const parts = [
    { kind: "queued", label: "Waited here", ms: queued - waited },
    { kind: "waited", label: "Waited on the backend", ms: waited },
    { kind: "run", label: "Ran", ms: executed },
    { kind: "fetch", label: "Outputs fetched and stored", ms: run - executed },
  ].filter(({ ms }) => ms > 0);
  const total = queued + run;
  let at = 0;
  return { total, parts: parts.map((part) => ({ ...part, start: at / total, end: (at += part.ms) / total })) };
}

/** The nodes of a run as bars on the axis of that run; `slowest` marks the one that took longest. */
export function nodeBars(profile) {
  const nodes = profile?.nodes ?? [];
  const total = Math.max(profile?.run_ms ?? 0, ...nodes.map(({ at_ms, ms }) => at_ms + ms), 1);
  const longest = Math.max(0, ...nodes.map(({ ms }) => ms));
  return {
    total,
    bars: nodes.map(({ id, class: className, title, at_ms, ms, running = false }) => ({
      id, className, label: title ?? className ?? `Node ${id}`, ms, running, start: at_ms / total, end: (at_ms + ms) / total, slowest: nodes.length > 1 && ms === longest,
    })),
  };
}

/** The attempts of a delivery as dots on an axis that ends with the last one or the next one that is due. */
export function attemptDots(delivery) {
  const begin = Date.parse(delivery.created_at);
  const due = delivery.state === "pending" && delivery.next_attempt_at ? Date.parse(delivery.next_attempt_at) : null;
  const attempts = (delivery.attempts ?? []).map((attempt) => ({ ...attempt, after: Math.max(0, Date.parse(attempt.started_at) - begin) }));
  const total = Math.max(1_000, ...attempts.map(({ after, duration_ms }) => after + (duration_ms ?? 0)), due === null ? 0 : due - begin);
  const dots = attempts.map((attempt) => ({
    at: attempt.after / total, after: attempt.after, number: attempt.number, good: attempt.code === null, label: attemptWords(attempt),
  }));
  return { total, dots, next: due === null ? null : { at: Math.min(1, Math.max(0, (due - begin) / total)), after: due - begin } };
}

/** `answered 503`, or why no answer came. */
export function attemptWords({ status, code }) {
  if (status !== null && status !== undefined) return `answered ${status}`;
  const words = {
    timeout: "no answer in time", dns: "the name is not known", connect: "nobody listens there", tls: "no secure connection", connection_lost: "the connection broke off",
    blocked_address: "the address is not called", blocked_host: "the host is not called", https_required: "https is required", host_down: "the host does not answer, so it was not called",
  };
  return words[code] ?? code ?? "no answer";
}
