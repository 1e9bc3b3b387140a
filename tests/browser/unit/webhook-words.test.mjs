// How webhooks fared: lines and bars, tones, sentences, the order of hosts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hostRows, rateTone, rateWords, summaryLines } from "../../../dashboard/lib/webhook-words.mjs";

const hour = 3_600_000;
const start = Date.parse("2026-01-01T00:00:00Z");
const bucket = (index, delivered, failed, latency) => ({ at: new Date(start + index * hour).toISOString(), delivered, failed, latency_ms: latency });

test("buckets become bars at their times, and latencies stand in the middle of theirs", () => {
  const lines = summaryLines({ since: "x", buckets: [bucket(0, 3, 1, { p50: 10, p95: 40 }), bucket(1, 0, 0, null), bucket(2, 2, 0, { p50: 20, p95: 90 })] }, 0);
  assert.deepEqual([lines.from, lines.to, lines.step], [start, start + 3 * hour, hour]);
  assert.deepEqual(lines.delivered, [[start, 3], [start + hour, 0], [start + 2 * hour, 2]]);
  assert.deepEqual(lines.failed.map(([, count]) => count), [1, 0, 0]);
  assert.deepEqual(lines.half, [[start + hour / 2, 10], [start + 2.5 * hour, 20]]);
  assert.deepEqual(lines.most.map(([, ms]) => ms), [40, 90]);
});

test("without buckets the time from the beginning until now is shown", () => {
  const lines = summaryLines({ since: new Date(start).toISOString(), buckets: [] }, start + hour);
  assert.deepEqual([lines.from, lines.to, lines.delivered], [start, start + hour, []]);
});

test("the tone of a rate goes from good to bad", () => {
  assert.deepEqual([1, 0.99, 0.95, 0.5, null].map(rateTone), ["green", "green", "amber", "red", "grey"]);
});

test("one sentence says what became of them", () => {
  const none = { success_rate: null, undeliverable: 0, gone: 0, pending: 0, delivered: 0 };
  assert.equal(rateWords(none), "No webhook in this time.");
  assert.equal(rateWords({ ...none, pending: 2 }), "None has ended yet.");
  assert.equal(rateWords({ ...none, success_rate: 1, delivered: 7 }), "All 7 arrived.");
  assert.equal(rateWords({ ...none, success_rate: 0.7, delivered: 7, undeliverable: 2, gone: 1 }), "7 arrived; 2 could not be delivered, and 1 was not wanted any more.");
});

test("hosts with the most that did not arrive come first, and each has its share", () => {
  const rows = hostRows([
    { host: "b", delivered: 9, undeliverable: 0, pending: 0 },
    { host: "a", delivered: 9, undeliverable: 0, pending: 0, gone: 1 },
    { host: "dead", delivered: 1, undeliverable: 3, pending: 1, gone: 0 },
    { host: "new", delivered: 0, undeliverable: 0, pending: 4, gone: 0 },
  ]);
  assert.deepEqual(rows.map(({ host, rate }) => [host, rate]), [["dead", 0.25], ["a", 0.9], ["b", 1], ["new", null]]);
});
