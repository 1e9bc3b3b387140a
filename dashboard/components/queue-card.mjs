// The queue before all backends: how many jobs wait and run, by priority where there are several, and the button that pauses it.

import { get, post } from "../lib/api.mjs";
import { queueWords } from "../lib/backend-words.mjs";
import { h, replace, setText } from "../lib/dom.mjs";
import { plural, whole } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { repeat } from "../lib/repeat.mjs";
import { confirm } from "./dialogs.mjs";
import { badge, faultNotice } from "./parts.mjs";
import { toast } from "./toasts.mjs";

export function queueCard(app, signal) {
  const state = h("span");
  const sentence = h("p.soft.small", { role: "status" });
  const numbers = { queued: h("dd", {}, "–"), submitted: h("dd", {}, "–"), running: h("dd", {}, "–") };
  const lanes = h("ul.lanes", { "aria-label": "Waiting, by priority", hidden: true });
  const fault = h("div");
  const button = h("button.button", { type: "button", onclick: toggle, "aria-disabled": "true" }, icon("pause", "s"), "Pause");
  let paused = false;

  function draw(queue) {
    paused = queue.paused;
    replace(state, paused ? badge("Paused", "amber") : badge("Open", "green"));
    setText(sentence, queueWords(queue));
    for (const [name, place] of Object.entries(numbers)) setText(place, whole(queue[name]));
    const largest = Math.max(1, ...queue.lanes.map(({ jobs }) => jobs));
    lanes.hidden = queue.lanes.length < 2;
    replace(lanes, queue.lanes.slice(0, 6).map(({ priority, jobs }) => h("li", {},
      h("span.soft", {}, `Priority ${priority}`), h("span.lane", { css: { width: `${(jobs / largest) * 100}%` } }), h("span.numbers", {}, plural(jobs, "job")))));
    replace(button, icon(paused ? "play" : "pause", "s"), paused ? "Resume the queue" : "Pause the queue");
    button.classList.toggle("primary", paused);
    button.removeAttribute("aria-disabled");
  }

  async function load() {
    try {
      draw(await get("/queue", { signal, quiet: true }));
      replace(fault);
    } catch (error) {
      if (error.name !== "AbortError") replace(fault, faultNotice(error));
    }
  }

  /** It is not disabled while it waits, since that would take the focus away. */
  async function toggle() {
    if (button.hasAttribute("aria-disabled")) return;
    const wish = paused ? "resume" : "pause";
    if (wish === "pause" && !(await confirm({ title: "Pause the queue?", text: "No job is given to any backend until you resume it, over restarts too. Jobs are still taken in and wait; what runs goes on.", action: "Pause the queue" }))) return;
    button.setAttribute("aria-disabled", "true");
    try {
      draw(await post(`/queue/${wish}`));
      replace(fault);
      toast(wish === "pause" ? "The queue is paused." : "The queue goes on.");
    } catch (error) {
      replace(fault, faultNotice(error));
      button.removeAttribute("aria-disabled");
    }
  }

  const watch = repeat(load, () => 5_000, signal);
  let soon = null;
  app.live.on("status", () => { soon ??= setTimeout(() => { soon = null; watch.now(); }, 700); }, signal);
  signal.addEventListener("abort", () => clearTimeout(soon));
  return h("section.card.pad.queue-card", { "aria-labelledby": "queue" },
    h("div.stack.tight", {}, h("div.row", {}, h("h2", { id: "queue" }, "Queue"), state), sentence),
    h("dl.figures", {}, [["queued", "waiting"], ["submitted", "on backends, waiting"], ["running", "running"]].map(([name, label]) => h("div", {}, h("dt", {}, label), numbers[name]))),
    lanes, h("div", {}, button), fault);
}
