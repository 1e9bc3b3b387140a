// Everything that is known of a job besides its result, as terms and values; what this browser has sent itself is added.

import { h } from "../lib/dom.mjs";
import { bytes, duration, moment } from "../lib/format.mjs";
import { sentBody } from "../lib/history.mjs";
import { stringify } from "../lib/json.mjs";
import { makeHash } from "../lib/router.mjs";
import { isFinal } from "../lib/states.mjs";
import { copyButton } from "./copy-button.mjs";
import { facts } from "./parts.mjs";
import { timeAgo } from "./time-ago.mjs";

const notParameters = new Set(["workflow", "webhook_url", "delivery", "metadata", "params", "images"]);

export function jobFacts(job) {
  const ended = job.timestamp ? Date.parse(job.timestamp) : null;
  const created = job.created_at ?? (ended && job.timing ? new Date(ended - job.timing.queued_ms - job.timing.run_ms).toISOString() : null);
  const body = sentBody(job.prompt_id);
  return h("div.stack", {},
    facts([
      ["Workflow", job.workflow.startsWith("@") ? "a graph of the caller's own" : h("a", { href: makeHash("workflows", job.workflow) }, job.workflow)],
      ["Tenant", job.tenant],
      ["Taken in", created && [timeAgo(created), h("span.soft", {}, ` ${moment(created, Date.now())}`)]],
      ["Ended", ended && moment(ended, Date.now())],
      ["Began", !ended && job.started_at && timeAgo(job.started_at)],
      ["Waited", ended && duration(job.timing?.queued_ms)],
      ["Ran", ended && job.timing?.run_ms > 0 && duration(job.timing.run_ms)],
      ["Backend", job.run?.backend ?? job.profile?.backend],
      ["Run", (job.run?.number ?? job.profile?.run) > 1 && `no. ${job.run?.number ?? job.profile.run}`],
      ["Nodes", job.profile && `${job.profile.nodes_executed} ran${job.profile.nodes_cached ? `, ${job.profile.nodes_cached} were kept from before` : ""}`],
      ["Seed", job.seed !== undefined && withCopy(String(job.seed), "the seed")],
      ["Outputs", isFinal(job.status) && job.outputs?.length > 0 && `${job.outputs.length}, ${bytes(job.outputs.reduce((sum, output) => sum + (output.bytes ?? 0), 0))}`],
      ["Pictures in", job.inputs?.length > 0 && h("ul", {}, job.inputs.map((input) => h("li", {}, `${input.parameter}: ${input.width} × ${input.height}, ${bytes(input.bytes)}${input.mask ? ", with a mask" : ""}`)))],
    ]),
    body && h("div.stack.tight", {}, h("h3", {}, "What was asked for"), facts(parametersOf(body))),
    job.metadata !== undefined && job.metadata !== null && h("div.stack.tight", {},
      h("div.row.apart", {}, h("h3", {}, "Metadata"), copyButton(() => stringify(job.metadata, 2), "the metadata")),
      h("pre.code.wrap", { tabindex: "0" }, stringify(job.metadata, 2))));
}

function parametersOf(body) {
  const given = { ...body, ...body.params };
  return Object.entries(given).filter(([name]) => !notParameters.has(name)).map(([name, value]) => [name, typeof value === "object" ? stringify(value) : String(value)]);
}

const withCopy = (text, what) => h("span.row", {}, h("span.mono", {}, text), copyButton(text, what));
