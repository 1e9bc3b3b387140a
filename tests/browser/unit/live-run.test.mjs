// The nodes of a run while it runs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LiveRun } from "../../../dashboard/lib/live-run.mjs";

const base = Date.UTC(2026, 0, 1);
const skew = 5_000;
const feed = (run, name, ms, data) => run.apply(name, { at: new Date(base + ms).toISOString(), ...data }, base + ms + skew);
const node = (id, state) => ({ node: { id, class_type: "K", title: `Node ${id}` }, state });
const spans = (run, ms) => run.profile(base + ms + skew).nodes.map(({ id, at_ms: at, ms: length, running }) => [id, at, length, running]);

test("a node grows while it runs, by the gateway's clock, and stands still afterwards", () => {
  const run = new LiveRun();
  feed(run, "status", 0, { status: "running", run: { number: 1 } });
  feed(run, "node", 100, node("1", "running"));
  assert.deepEqual(spans(run, 400), [["1", 100, 300, true]]);
  feed(run, "node", 500, node("1", "finished"));
  feed(run, "node", 500, node("2", "running"));
  assert.deepEqual(spans(run, 900), [["1", 100, 400, false], ["2", 500, 400, true]]);
});

test("another run of the job begins with no nodes", () => {
  const run = new LiveRun();
  feed(run, "status", 0, { status: "running", run: { number: 1 } });
  feed(run, "node", 10, node("1", "running"));
  feed(run, "status", 5_000, { status: "running", run: { number: 2 } });
  assert.equal(run.profile(base), null);
  feed(run, "node", 5_200, node("1", "running"));
  assert.deepEqual(spans(run, 5_300), [["1", 200, 100, true]]);
});

test("whoever comes late sees the nodes from there on", () => {
  const run = new LiveRun();
  assert.equal(feed(run, "node", 700, node("3", "finished")), false);
  assert.equal(run.profile(base), null);
  feed(run, "node", 800, node("4", "running"));
  assert.deepEqual(spans(run, 900), [["4", 0, 100, true]]);
});

test("what is no news is not drawn again", () => {
  const run = new LiveRun();
  feed(run, "node", 0, node("1", "running"));
  assert.equal(feed(run, "node", 5, node("1", "running")), false);
  assert.equal(feed(run, "progress", 6, { percent: 3 }), false);
  assert.equal(feed(run, "node", 7, node("2", "cached")), false);
});
