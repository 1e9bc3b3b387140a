// From timings to places on an axis.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attemptDots, attemptWords, nodeBars, phases } from "../../../dashboard/lib/timeline.mjs";

test("the phases of a job follow each other without a gap and fill the whole", () => {
  const { total, parts } = phases({ queued_ms: 1_000, run_ms: 3_000 }, { waited_ms: 400, run_ms: 2_500 });
  assert.equal(total, 4_000);
  assert.deepEqual(parts.map(({ kind, ms }) => [kind, ms]), [["queued", 600], ["waited", 400], ["run", 2_500], ["fetch", 500]]);
  parts.forEach((part, place) => assert.equal(part.start, place ? parts[place - 1].end : 0));
  assert.equal(parts.at(-1).end, 1);
});

test("a job that never ran only waited", () => {
  const { parts } = phases({ queued_ms: 500, run_ms: 0 }, null);
  assert.deepEqual(parts.map(({ kind }) => kind), ["queued"]);
});

test("a job of no time at all has no phases", () => {
  assert.deepEqual(phases({ queued_ms: 0, run_ms: 0 }, null).parts, []);
});

test("nodes lie on the axis of their run, and the longest is marked", () => {
  const { bars } = nodeBars({ run_ms: 1_000, nodes: [{ id: "1", class: "A", at_ms: 0, ms: 250 }, { id: "2", title: "B", at_ms: 250, ms: 750 }] });
  assert.deepEqual(bars.map(({ label, start, end, slowest }) => [label, start, end, slowest]), [["A", 0, 0.25, false], ["B", 0.25, 1, true]]);
});

test("a node that ends after the run is still within the axis", () => {
  const { bars } = nodeBars({ run_ms: 100, nodes: [{ id: "1", at_ms: 50, ms: 150 }] });
  assert.equal(bars[0].end, 1);
  assert.equal(bars[0].label, "Node 1");
});

test("attempts are placed by the time since the end of the job, and the next one ends the axis", () => {
  const line = attemptDots({
    state: "pending", created_at: "2026-01-01T00:00:00Z", next_attempt_at: "2026-01-01T00:00:10Z",
    attempts: [{ number: 1, started_at: "2026-01-01T00:00:00Z", duration_ms: 5, status: 503, code: "server_error" }, { number: 2, started_at: "2026-01-01T00:00:05Z", duration_ms: 5, status: 200, code: null }],
  });
  assert.equal(line.total, 10_000);
  assert.deepEqual(line.dots.map(({ at, good }) => [at, good]), [[0, false], [0.5, true]]);
  assert.deepEqual(line.next, { at: 1, after: 10_000 });
});

test("an attempt without an answer says why", () => {
  assert.equal(attemptWords({ status: 503, code: "server_error" }), "answered 503");
  assert.equal(attemptWords({ status: null, code: "connect" }), "nobody listens there");
  assert.equal(attemptWords({ status: null, code: "something_new" }), "something_new");
});
