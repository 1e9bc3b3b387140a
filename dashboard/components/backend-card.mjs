// One backend: how it stands, what it holds, its GPUs over the last hour, and what can be done with it. `update(backend)` keeps it true.

import { post } from "../lib/api.mjs";
import { backendState, places } from "../lib/backend-words.mjs";
import { h, replace, setText } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { backendVitals } from "./backend-vitals.mjs";
import { confirm } from "./dialogs.mjs";
import { badge, facts, faultNotice, words } from "./parts.mjs";
import { timeAgo } from "./time-ago.mjs";
import { toast } from "./toasts.mjs";

export function backendCard(first, changed, signal) {
  const path = `/backends/${encodeURIComponent(first.name)}`;
  const parts = { state: h("span", { role: "status" }), reason: h("p.backend-reason.small"), places: h("div.places"), tags: h("p.row"), more: h("div"), fault: h("div") };
  const duty = h("button.button.small", { type: "button", onclick: () => act(draining() ? "resume" : "drain") });
  const free = h("button.button.small", { type: "button", onclick: () => act("free") }, icon("memory", "s"), "Free memory");
  const drawn = new Map();
  let backend = first;

  const draining = () => backend.duty === "draining" || backend.leaving;

  /** Draws a part only where something in it is new, so that nothing flickers and no focus is lost. */
  function part(name, key, build) {
    const text = JSON.stringify(key);
    if (drawn.get(name) === text) return;
    drawn.set(name, text);
    replace(parts[name], build());
  }

  function update(next) {
    backend = next;
    const state = backendState(backend);
    part("state", state, () => badge(state.label, state.tone, { lively: state.lively }));
    part("reason", state.reason, () => state.reason && words(`${state.reason}.`.replace(/\.\.$/, ".")));
    parts.reason.className = `backend-reason small tone-${state.tone}`;
    parts.reason.hidden = !state.reason;
    const { prompts, slots, ahead, tags } = backend;
    const foreign = backend.health?.queue?.foreign;
    part("places", [prompts, slots, ahead, foreign], () => {
      const { list, words: text } = places(backend);
      return [h("span.place-marks", { "aria-hidden": "true" }, list.map(({ kind, full }) => h("span", { class: `place ${kind}${full ? " full" : ""}` }))),
        h("span.small.soft", {}, text, foreign > 0 && ` · ${foreign} of others`)];
    });
    part("tags", tags, () => tags.map((tag) => h("span.tag", {}, tag)));
    parts.tags.hidden = tags.length === 0;
    part("more", [backend.health, backend.agent, backend.source], () => moreFacts(backend));
    replace(duty, icon(draining() ? "play" : "pause", "s"), draining() ? "Resume" : "Drain");
    duty.setAttribute("aria-label", `${draining() ? "Resume" : "Drain"} ${backend.name}`);
    duty.disabled = Boolean(backend.trouble);
    free.disabled = !backend.connected;
  }

  async function act(what) {
    if (!(await confirm(questions[what](backend)))) return;
    replace(parts.fault);
    try {
      await post(`${path}/${what}`, what === "free" ? {} : undefined);
      toast(done[what](backend.name));
      changed();
    } catch (error) {
      replace(parts.fault, faultNotice(error));
    }
  }

  free.setAttribute("aria-label", `Free memory of ${first.name}`);
  const title = `backend-${encodeURIComponent(first.name)}`;
  const url = h("p.small.soft.truncate");
  setText(url, first.url === first.name ? "" : first.url);
  const element = h("article.card.pad.stack.backend", { "aria-labelledby": title },
    h("div.stack.tight", {},
      h("div.row.apart", {}, h("h2", { id: title }, first.name), parts.state),
      url.textContent && url, parts.tags, parts.reason),
    parts.places,
    backendVitals(path, first.name, () => backend.connected, signal),
    h("details.unfold", {}, h("summary", {}, "About this server"), parts.more),
    h("div.row.backend-foot", {}, duty, free), parts.fault);
  update(first);
  return Object.assign(element, { update });
}

const questions = {
  drain: ({ name, prompts }) => ({ title: `Drain ${name}?`, text: `It ends what it has${prompts ? ` (${prompts})` : ""} and gets no more jobs until you resume it, over restarts too.`, action: "Drain it" }),
  resume: ({ name }) => ({ title: `Resume ${name}?`, text: "It gets jobs again.", action: "Resume it" }),
  free: ({ name }) => ({ title: `Free the memory of ${name}?`, text: "It unloads its models and empties its caches once it runs nothing. The next job there has to load its models again.", action: "Free memory" }),
};

const done = {
  drain: (name) => `${name} gets no more jobs.`,
  resume: (name) => `${name} gets jobs again.`,
  free: (name) => `${name} was told to free its memory.`,
};

const sources = { settings: "the settings", file: "the file of backends", added: "added while the gateway ran" };

function moreFacts({ health, agent, source, auth, proxy }) {
  const system = health?.system;
  const memory = (free, total) => (Number.isFinite(total) ? `${((total - free) / 1024).toFixed(1)} of ${(total / 1024).toFixed(1)} GiB taken` : null);
  return facts([
    ["Since", health?.since && timeAgo(health.since)],
    ["Answers in", Number.isFinite(health?.http?.took_ms) && `${health.http.took_ms} ms`],
    ["Connected", health?.socket?.connections > 1 && `for the ${ordinal(health.socket.connections)} time`],
    ["ComfyUI", system?.comfyui],
    ["Devices", system?.devices?.map(({ name }) => name).join(", ")],
    ["Memory", memory(system?.ram_free_mb, system?.ram_total_mb)],
    ["Processor", Number.isFinite(agent?.cpu_percent) && `${Math.round(agent.cpu_percent)} % busy`],
    ["PyTorch", system?.pytorch],
    ["Python", system?.python?.split(" ")[0]],
    ["Known from", sources[source] ?? source],
    ["Reached", [auth && "with a secret", proxy && "through a proxy"].filter(Boolean).join(", ")],
    ["Agent", agent ? (agent.trouble ?? (agent.stale ? "its numbers are old" : `version ${agent.agent_version ?? "?"}`)) : "none"],
  ]);
}

function ordinal(count) {
  const last = count % 10;
  const teen = count % 100 > 10 && count % 100 < 14;
  return `${count}${teen ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[last] ?? "th")}`;
}
