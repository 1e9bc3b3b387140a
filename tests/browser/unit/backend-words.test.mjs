// How a backend stands, its places, and the lines of its GPUs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { backendState, gpuLines, places, queueWords } from "../../../dashboard/lib/backend-words.mjs";

const good = { trouble: null, leaving: false, duty: "serving", connected: true, prompts: 0, error: null, health: { state: "up", reason: null } };
const label = (changes) => backendState({ ...good, ...changes }).label;

test("each way to stand has its word", () => {
  assert.equal(label({}), "Ready");
  assert.equal(label({ prompts: 1 }), "Working");
  assert.equal(label({ duty: "draining", prompts: 2 }), "Draining");
  assert.equal(label({ duty: "draining" }), "Drained");
  assert.equal(label({ leaving: true }), "Leaving");
  assert.equal(label({ trouble: "the secret is not there" }), "Cannot begin");
  assert.equal(label({ connected: false, health: { state: "connecting", reason: null } }), "Connecting");
  assert.equal(label({ connected: false, health: { state: "down", reason: "refused" } }), "Down");
  assert.equal(label({ connected: false }), "Not connected");
  assert.equal(label({ health: { state: "silent", reason: "one question had no answer" } }), "Silent");
});

test("one that is away is told as away, though it drains as well", () => {
  const state = backendState({ ...good, duty: "draining", connected: false, error: "Connection refused", health: { state: "down" } });
  assert.deepEqual([state.label, state.reason], ["Down", "Connection refused"]);
});

test("places that run are filled before those that wait", () => {
  const { list, words } = places({ slots: 2, ahead: 1, prompts: 3 });
  assert.deepEqual(list, [{ kind: "slot", full: true }, { kind: "slot", full: true }, { kind: "ahead", full: true }]);
  assert.equal(words, "3 of ours here · runs 2, 1 may wait");
  assert.deepEqual(places({ slots: 1, ahead: 1, prompts: 1 }).list.map(({ full }) => full), [true, false]);
});

test("more prompts than places are shown all the same, and a thousand places are not drawn one by one", () => {
  assert.equal(places({ slots: 1, ahead: null, prompts: 4 }).list.filter(({ full }) => full).length, 4);
  assert.ok(places({ slots: 64, ahead: 1000, prompts: 0 }).list.length <= 32);
});

test("samples become a line for each GPU, in GiB, and what was not measured is no point", () => {
  const at = "2026-01-01T00:00:00Z";
  const lines = gpuLines([
    { at, gpus: [{ index: 1, name: "B", vram_used_mb: 2048, vram_total_mb: 8192 }, { index: 0, name: "A", vram_used_mb: 1024, vram_total_mb: 4096, temperature_c: 50, utilization_percent: 7 }] },
    { at: "2026-01-01T00:00:15Z", gpus: [] },
    { at: "2026-01-01T00:00:30Z", gpus: [{ index: 0, name: "A", temperature_c: 52 }] },
  ]);
  assert.deepEqual(lines.map(({ label: name, memoryTop }) => [name, memoryTop]), [["GPU 0", 4], ["GPU 1", 8]]);
  assert.deepEqual(lines[0].memory, [[Date.parse(at), 1]]);
  assert.deepEqual(lines[0].temperature.map(([, degrees]) => degrees), [50, 52]);
  assert.deepEqual(lines[1].temperature, []);
  assert.equal(gpuLines([{ at, gpus: [{ index: 0, vram_used_mb: 1 }] }])[0].label, "GPU");
  assert.deepEqual(gpuLines(undefined), []);
});

test("the queue is told in a sentence", () => {
  assert.equal(queueWords({ paused: false, queued: 0, submitted: 0, running: 0 }), "Nothing waits and nothing runs.");
  assert.equal(queueWords({ paused: false, queued: 1, submitted: 0, running: 1 }), "1 job waits for a backend.");
  assert.equal(queueWords({ paused: true, queued: 3, submitted: 0, running: 0 }), "The queue is paused, so 3 jobs wait.");
});
