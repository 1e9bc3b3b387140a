// Scales, ticks and paths of plots.

import assert from "node:assert/strict";
import { test } from "node:test";
import { axisEnd, linePath, scale, ticks, timeTicks } from "../../../dashboard/lib/plot.mjs";

test("a scale leads the ends onto the ends, upside down too", () => {
  const y = scale([0, 50], [100, 0]);
  assert.equal(y(0), 100);
  assert.equal(y(50), 0);
  assert.equal(y(25), 50);
});

test("a scale of a single value has a middle and no infinity", () => {
  assert.equal(scale([3, 3], [0, 10])(3), 5);
});

test("ticks are round and within the range", () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0.3, 1.1, 4), [0.4, 0.6, 0.8, 1]);
  assert.deepEqual(ticks(5, 5), [5]);
});

test("an axis ends at a round number that holds the largest value", () => {
  for (const [largest, end] of [[24_564, 30_000], [0.9, 1], [100, 100], [0, 1]]) assert.equal(axisEnd(largest), end);
});

test("ticks of time are whole minutes and hours", () => {
  const from = Date.parse("2026-01-01T10:02:30Z");
  const found = timeTicks(from, from + 3_600_000, 4).map((at) => new Date(at).toISOString().slice(11, 16));
  assert.deepEqual(found, ["10:15", "10:30", "10:45", "11:00"]);
});

test("a line has a gap where a value is missing", () => {
  assert.equal(linePath([[0, 1], [1, 2], null, [3, NaN], [4, 5], [5, 6.26]]), "M0 1L1 2M4 5L5 6.3");
});
