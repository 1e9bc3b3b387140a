// What the dashboard makes of numbers, times and sizes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, duration, percent, plural, relative, shortId, whole } from "../../../dashboard/lib/format.mjs";

test("a length of time has the unit that fits it", () => {
  const cases = [[0, "0 ms"], [740.4, "740 ms"], [8_210, "8.2 s"], [9_960, "10 s"], [59_600, "1 min"], [200_000, "3 min 20 s"], [7_500_000, "2 h 5 min"], [26 * 3_600_000, "1 d 2 h"]];
  for (const [ms, text] of cases) assert.equal(duration(ms), text, `${ms}`);
});

test("what is no length of time is no text", () => {
  for (const value of [undefined, null, NaN, Infinity]) assert.equal(duration(value), "");
});

test("how long ago something was is told down to seconds, in both directions", () => {
  const now = Date.parse("2026-01-02T00:00:00Z");
  assert.equal(relative("2026-01-01T23:59:58Z", now), "just now");
  assert.equal(relative("2026-01-01T23:59:20Z", now), "40 s ago");
  assert.equal(relative("2026-01-02T00:00:20Z", now), "in 20 s");
  assert.equal(relative("2026-01-01T22:01:00Z", now), "1 h ago");
  assert.equal(relative("2025-12-30T00:00:00Z", now), "3 d ago");
  assert.equal(relative("nonsense", now), "");
});

test("sizes are counted in 1024", () => {
  for (const [count, text] of [[0, "0 B"], [1023, "1023 B"], [1024, "1 KiB"], [1536, "1.5 KiB"], [24 * 1024 ** 3, "24 GiB"], [250 * 1024 ** 2, "250 MiB"]]) assert.equal(bytes(count), text);
});

test("a share that is not whole is never told as everything or nothing", () => {
  assert.equal(percent(1), "100 %");
  assert.equal(percent(0.99999), "99.9 %");
  assert.equal(percent(0), "0 %");
  assert.equal(percent(0.00001), "0.1 %");
  assert.equal(percent(0.873), "87 %");
});

test("thousands are set apart, and one is not many", () => {
  assert.equal(whole(1234567), "1\u202f234\u202f567");
  assert.equal(plural(1, "job"), "1 job");
  assert.equal(plural(0, "job"), "0 jobs");
  assert.equal(plural(2, "entry", "entries"), "2 entries");
});

test("jobs made in the same second differ in their short ids", () => {
  assert.notEqual(shortId("01a201eb-0c51-787b-b123-1acbea773435"), shortId("01a201eb-0c51-787b-b123-1acbea773436"));
});
