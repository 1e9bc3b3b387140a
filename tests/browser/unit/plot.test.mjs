// Scales, ticks and paths of plots.

import assert from "node:assert/strict";
import { test } from "node:test";
import { areaPath, axisEnd, extent, linePath, lonePoints, nearest, scale, ticks, timeLabel, timeTicks, withGaps } from "../../../dashboard/lib/plot.mjs";

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

test("a line has a gap where nothing was measured for long", () => {
  const points = withGaps([[0, 1], [10, 2], [100, 3]], 30);
  assert.deepEqual(points, [[0, 1], [10, 2], null, [100, 3]]);
});

test("an area stands on its base, each stretch for itself, and a single point has none", () => {
  assert.equal(areaPath([[0, 5], [10, 5]], 20), "M0 5L10 5L10 20L0 20z");
  assert.equal(areaPath([[0, 5], null, [10, 5], [20, 6]], 20), "M10 5L20 6L20 20L10 20z");
  assert.equal(areaPath([], 20), "");
});

test("the nearest point in time has a value, and is within reach", () => {
  const points = [[0, 1], [10, null], [20, 3]];
  assert.deepEqual(nearest(points, 11), [20, 3]);
  assert.equal(nearest(points, 100, 5), null);
});

test("the extent of points is their last, least and most; of nothing there is none", () => {
  assert.deepEqual(extent([[0, 4], null, [1, 9], [2, 6]]), { last: 6, least: 4, most: 9 });
  assert.equal(extent([[0, null]]), null);
});

test("a tick of a long axis is a day, of a short one a time of day", () => {
  const at = Date.parse("2026-03-04T12:00:00Z");
  assert.match(timeLabel(at, 3_600_000), /\d\d:00/);
  assert.doesNotMatch(timeLabel(at, 7 * 86_400_000), /:/);
});

test("points without neighbours are found, since no line shows them", () => {
  assert.deepEqual(lonePoints([[0, 1], null, [5, 1], [6, 1], null, [9, 2]]), [[0, 1], [9, 2]]);
});
