// Backends: the queue before them, and a card for each ComfyUI with its state, its GPUs, and what an operator can do.

import { backendCard } from "../components/backend-card.mjs";
import { empty, faultNotice, loading, pageHead } from "../components/parts.mjs";
import { queueCard } from "../components/queue-card.mjs";
import { get } from "../lib/api.mjs";
import { h, replace, setText } from "../lib/dom.mjs";
import { plural } from "../lib/format.mjs";
import { repeat } from "../lib/repeat.mjs";

export function view(route, app) {
  const { signal } = route;
  // Whoever is no operator would be refused every time; better not to ask.
  if (app.session?.operator === false) return h("div", {}, pageHead("Backends"), forOperators());
  const line = h("span", { role: "status" }, "");
  const queue = h("div");
  const grid = h("div.grid.backend-cards");
  const below = h("div", {}, loading("Loading the backends", 8));
  const cards = new Map();

  async function load() {
    try {
      draw((await get("/backends", { signal, quiet: cards.size > 0 })).backends);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 403) replace(below, forOperators());
      else replace(below, faultNotice(error, () => watch.now()));
    }
  }

  function draw(backends) {
    if (!queue.firstElementChild) replace(queue, queueCard(app, signal));
    const names = new Set(backends.map(({ name }) => name));
    for (const [name, { card, stop }] of cards) {
      if (names.has(name)) continue;
      stop.abort();
      card.remove();
      cards.delete(name);
    }
    backends.forEach((backend, index) => {
      const known = cards.get(backend.name);
      if (known) known.card.update(backend);
      else {
        // A card that goes while the view stays ends its own questions.
        const stop = new AbortController();
        cards.set(backend.name, { stop, card: backendCard(backend, () => watch.now(), AbortSignal.any([signal, stop.signal])) });
      }
      const { card } = cards.get(backend.name);
      if (grid.children[index] !== card) grid.insertBefore(card, grid.children[index] ?? null);
    });
    const up = backends.filter(({ connected, duty, leaving, trouble }) => connected && duty === "serving" && !leaving && !trouble).length;
    setText(line, backends.length === 0 ? "" : up === backends.length ? `${plural(up, "server")}, ${up === 1 ? "and it takes" : "and all take"} jobs.` : `${up} of ${plural(backends.length, "server")} ${up === 1 ? "takes" : "take"} jobs.`);
    replace(below, backends.length === 0 && empty("backends", "No backend yet", "Add a ComfyUI while the gateway runs. It is remembered over restarts:",
      h("pre.code.wrap", {}, "comfygate backends add http://10.0.0.9:8188 --name gpu-1")));
  }

  const watch = repeat(load, () => 5_000, signal);
  app.live.on("backend", () => watch.now(), signal);
  app.live.on("resync", () => watch.now(), signal);
  return h("div", {}, pageHead("Backends", line), h("div.stack", {}, queue, grid, below));
}

const forOperators = () => empty("key", "Backends are for operators", "Your key may not see them. One with the scope admin may.");
