// How a backend stands, in words and numbers: its state, its places, and what was measured there, as lines of a plot. Pure.

/** `{ label, tone, lively, reason }`: one word, and why, where it is not simply ready. */
export function backendState({ trouble, leaving, duty, connected, prompts, health, error }) {
  if (trouble) return { label: "Cannot begin", tone: "red", reason: trouble };
  const away = awayState(connected, health, error);
  if (leaving) return { label: "Leaving", tone: "amber", reason: away?.reason ?? `it was removed, and goes when ${ours(prompts)} ended` };
  if (away) return away;
  if (duty === "draining") {
    return prompts > 0
      ? { label: "Draining", tone: "amber", reason: `it gets no more jobs; ${ours(prompts)} not ended yet` }
      : { label: "Drained", tone: "amber", reason: "it gets no jobs until it is resumed, and nothing of ours runs there" };
  }
  if (health?.state === "silent") return { label: "Silent", tone: "amber", reason: health.reason ?? "it leaves questions without an answer" };
  return prompts > 0 ? { label: "Working", tone: "blue", lively: true, reason: null } : { label: "Ready", tone: "green", reason: null };
}

/** The places of a backend: `{ kind, full }` each, those that run before those that wait, and `words` for all of them. */
export function places({ slots = 1, ahead, prompts = 0 }) {
  const waiting = ahead ?? 0;
  const running = Math.min(prompts, slots);
  const behind = Math.max(0, prompts - slots);
  const list = [
    ...Array.from({ length: Math.min(slots, 16) }, (_, index) => ({ kind: "slot", full: index < running })),
    ...Array.from({ length: Math.min(Math.max(waiting, behind), 16) }, (_, index) => ({ kind: "ahead", full: index < behind })),
  ];
  return { list, words: `${prompts} of ours here · runs ${slots}${waiting ? `, ${waiting} may wait` : ""}` };
}

/** What was measured, for each GPU: `{ label, name, memory, memoryTop, temperature, busy }`; memory in GiB, points as `[ms, value]`. */
export function gpuLines(samples = []) {
  const gpus = new Map();
  for (const { at, gpus: list = [] } of samples) {
    const time = Date.parse(at);
    for (const gpu of list) {
      const index = gpu.index ?? 0;
      if (!gpus.has(index)) gpus.set(index, { index, name: "", memory: [], memoryTop: 0, temperature: [], busy: [] });
      const line = gpus.get(index);
      line.name = gpu.name ?? line.name;
      if (Number.isFinite(gpu.vram_total_mb)) line.memoryTop = Math.max(line.memoryTop, gpu.vram_total_mb / 1024);
      add(line.memory, time, Number.isFinite(gpu.vram_used_mb) ? gpu.vram_used_mb / 1024 : null);
      add(line.temperature, time, gpu.temperature_c);
      add(line.busy, time, gpu.utilization_percent);
    }
  }
  const lines = [...gpus.values()].sort((one, other) => one.index - other.index);
  return lines.map((line) => ({ ...line, label: lines.length > 1 ? `GPU ${line.index}` : "GPU" }));
}

/** The jobs of the queue in a sentence. */
export function queueWords({ paused, queued, submitted, running }) {
  const busy = submitted + running;
  if (paused) return queued === 0 ? "The queue is paused. Nothing waits." : `The queue is paused, so ${queued === 1 ? "1 job waits" : `${queued} jobs wait`}.`;
  if (queued + busy === 0) return "Nothing waits and nothing runs.";
  return queued === 0 ? "Nothing waits." : `${queued === 1 ? "1 job waits" : `${queued} jobs wait`} for a backend.`;
}

function awayState(connected, health, error) {
  const reason = error ?? health?.reason ?? health?.socket?.reason ?? null;
  if (health?.state === "connecting") return { label: "Connecting", tone: "grey", reason: reason ?? "it was not reached yet" };
  if (health?.state === "down") return { label: "Down", tone: "red", reason: reason ?? "it does not answer" };
  return connected === false ? { label: "Not connected", tone: "red", reason: reason ?? "its socket does not stand" } : null;
}

const ours = (prompts) => (prompts === 1 ? "1 of our jobs has" : `${prompts} of our jobs have`);

function add(points, time, value) {
  if (Number.isFinite(time) && Number.isFinite(value)) points.push([time, value]);
}
