// The GPUs of one backend over the last hour: memory and temperature as plots, and how to get them where nothing is measured.

import { get } from "../lib/api.mjs";
import { gpuLines } from "../lib/backend-words.mjs";
import { h, replace } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { extent } from "../lib/plot.mjs";
import { repeat } from "../lib/repeat.mjs";
import { loading } from "./parts.mjs";
import { plot } from "./plot.mjs";

const hour = 3_600_000;
const tones = ["violet", "blue", "green", "pink", "amber", "teal"];

/** `connected()` tells whether the backend is there, since while it is away nothing can be measured. */
export function backendVitals(path, name, connected, signal) {
  const place = h("div.vitals", {}, loading(`Loading the GPUs of ${name}`, 2));
  const plots = {};
  let every = 15;
  let drawn = "";

  async function load() {
    try {
      const { every_seconds: seconds, samples } = await get(`${path}/vitals`, { signal, quiet: true });
      every = seconds || every;
      draw(gpuLines(samples));
    } catch (error) {
      if (error.name === "AbortError") return;
      drawn = "";
      replace(place, nothing(error.status === 404 ? "Nothing is measured here" : "What was measured cannot be had now", error.status === 404 ? null : error.message));
    }
  }

  function draw(lines) {
    const kinds = ["memory", "temperature"].filter((kind) => lines.some((line) => line[kind].length > 0));
    if (kinds.length === 0) {
      drawn = "";
      return replace(place, connected() ? nothing("Nothing is measured here yet") : nothing("Nothing was measured in the last hour", "While a server is away its GPUs cannot be asked."));
    }
    const data = { memory: memoryPlot(lines), temperature: temperaturePlot(lines) };
    const now = Date.now();
    const begun = Math.min(...lines.flatMap((line) => kinds.map((kind) => line[kind][0]?.[0] ?? now)));
    // A server that was added a moment ago has no hour yet, and its minutes are worth the whole width.
    const from = now - Math.min(hour, Math.max(5 * 60_000, now - begun));
    for (const kind of kinds) {
      const common = { from, to: now, longest: Math.max(every * 3, 90) * 1_000 };
      if (plots[kind]) plots[kind].show({ ...data[kind], ...common });
      else plots[kind] = plot({ ...data[kind], ...common });
    }
    if (drawn === kinds.join()) return undefined;
    drawn = kinds.join();
    return replace(place, kinds.map((kind) => plots[kind]), !kinds.includes("temperature") && nothing("Memory is all that this server tells"));
  }

  repeat(load, () => Math.max(5, every) * 1_000, signal);
  return place;
}

function memoryPlot(lines) {
  const top = Math.max(...lines.map(({ memoryTop }) => memoryTop));
  return {
    label: "GPU memory", top: top > 0 ? top : undefined, axis: (value) => `${Math.round(value)}`, format: (value) => `${value.toFixed(1)} GiB`,
    series: lines.map((line, index) => ({ ...common(line, index), points: line.memory, note: [line.memoryTop > 0 && `of ${line.memoryTop.toFixed(0)}`, short(line.name)].filter(Boolean).join(" · ") })),
  };
}

function temperaturePlot(lines) {
  const most = Math.max(80, ...lines.map(({ temperature }) => extent(temperature)?.most ?? 0));
  return {
    label: "Temperature", top: Math.ceil(most / 20) * 20, axis: (value) => `${Math.round(value)}°`, format: (value) => `${Math.round(value)} °C`,
    series: lines.map((line, index) => {
      const busy = extent(line.busy)?.last;
      return { ...common(line, index), tone: lines.length > 1 ? tones[index % tones.length] : "amber", points: line.temperature, note: [lines.length > 1 && line.label, Number.isFinite(busy) && `${Math.round(busy)} % busy`].filter(Boolean).join(" · ") };
    }),
  };
}

const common = (line, index) => ({ label: line.label, tone: tones[index % tones.length], dashed: index > 0 });
const short = (name) => name.replace(/^NVIDIA (GeForce )?/, "");

function nothing(title, why) {
  return h("div.vitals-none", {}, icon("memory"),
    h("div", {}, h("p", {}, h("strong", {}, title)),
      h("p.small.soft", {}, why ?? ["Put the folder ", h("code", {}, "agent/comfygate_agent"), " into its ", h("code", {}, "custom_nodes"), " and restart it: then its GPUs are drawn here."])));
}
