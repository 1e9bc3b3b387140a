// The jobs that this browser has sent from the playground, the newest first, with their requests: the gateway does not tell requests back.

import { parse, stringify } from "./json.mjs";
import { keep, recall } from "./keep.mjs";

const most = 40;

/** Notes a request that was answered with an id. */
export function remember(entry) {
  known = null;
  const entries = [entry, ...history().filter(({ id }) => id !== entry.id)].slice(0, most);
  keep("history", entries.map((one) => ({ ...one, body: stringify(one.body) })));
}

/** `{ id, workflow, at, body }` of each. */
export function history() {
  const kept = recall("history", []);
  if (!Array.isArray(kept)) return [];
  return kept.flatMap((one) => {
    try {
      return [{ ...one, body: parse(one.body) }];
    } catch {
      return [];
    }
  });
}

/** The request of the job with this id, or `null`. */
export function sentBody(id) {
  known ??= new Map(history().map((one) => [one.id, one.body]));
  return known.get(id) ?? null;
}

/** What `sentBody` has read, until something is added. */
let known = null;

export function forgetHistory() {
  known = null;
  keep("history", null);
}
