// What the gallery knows after pages and events, in whatever order they come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { JobList, share, thumbnail } from "../../../dashboard/lib/job-list.mjs";

const at = (second) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const entry = (id, second, more = {}) => ({ prompt_id: id, workflow: "starter", status: "succeeded", created_at: at(second), ...more });
const event = (id, more) => ({ prompt_id: id, workflow: "starter", at: at(30), ...more });
const ids = (list) => list.shown().map((job) => job.prompt_id);

test("jobs stand newest first, whatever page they came with", () => {
  const list = new JobList();
  list.take([entry("b", 2), entry("a", 1)]);
  list.take([entry("c", 3)]);
  assert.deepEqual(ids(list), ["c", "b", "a"]);
});

test("a job that the list did not have appears with its first status", () => {
  const list = new JobList();
  list.take([entry("a", 1)]);
  assert.equal(list.apply("status", event("new", { status: "queued", position: 1 })), "new");
  assert.deepEqual(ids(list), ["new", "a"]);
});

test("progress of a job that is not known is passed over", () => {
  const list = new JobList();
  assert.equal(list.apply("progress", event("x", { percent: 10 })), null);
  assert.deepEqual(ids(list), []);
});

test("a bar never goes back within a run, and begins anew with the next", () => {
  const list = new JobList();
  list.apply("status", event("a", { status: "running" }));
  list.apply("progress", event("a", { percent: 60 }));
  list.apply("progress", event("a", { percent: 40 }));
  assert.equal(share(list.job("a")), 0.6);
  list.apply("status", event("a", { status: "queued", will_retry: true }));
  list.apply("status", event("a", { status: "running" }));
  assert.equal(share(list.job("a")), 0);
});

test("a filter of states follows the state of the moment", () => {
  const list = new JobList({ status: "running" });
  list.apply("status", event("a", { status: "queued" }));
  assert.deepEqual(ids(list), []);
  list.apply("status", event("a", { status: "running" }));
  assert.ok(list.matches("a"));
  list.apply("status", event("a", { status: "failed", code: "node_error", error: "no" }));
  assert.equal(list.matches("a"), false);
});

test("a filter of workflows keeps others out, from events too", () => {
  const list = new JobList({ workflow: "flux" });
  assert.equal(list.apply("status", event("a", { status: "queued" })), null);
});

test("the first picture among the outputs becomes the thumbnail, with its own number", () => {
  const list = new JobList();
  list.apply("status", event("a", { status: "running" }));
  list.apply("output", event("a", { output: { content_type: "text/plain" } }));
  list.apply("output", event("a", { output: { content_type: "image/png" } }));
  list.apply("output", event("a", { output: { content_type: "image/png" } }));
  list.apply("status", event("a", { status: "succeeded" }));
  assert.equal(thumbnail(list.job("a"), 512), "/jobs/a/outputs/1?thumbnail=512");
  assert.equal(list.job("a").outputs, 3);
});

test("a page that is fetched anew does not take back what events have told", () => {
  const list = new JobList();
  list.apply("status", event("a", { status: "running" }));
  list.apply("progress", event("a", { percent: 70, node: { id: "3" } }));
  list.take([entry("a", 5, { status: "running", progress: { fraction: 0.5 } })]);
  assert.equal(share(list.job("a")), 0.7);
  list.take([entry("a", 5, { delivery: "delivered" })]);
  assert.equal(share(list.job("a")), null);
  assert.equal(list.job("a").delivery, "delivered");
});

test("a node that has ended is counted, and the one that runs stays named", () => {
  const list = new JobList();
  list.apply("status", event("a", { status: "running", run: { number: 1, backend: "gpu" } }));
  list.apply("node", event("a", { node: { id: "1" }, state: "running", nodes_done: 0, nodes_total: 3 }));
  list.apply("progress", event("a", { percent: 20, node: { id: "1" }, value: 4, max: 20 }));
  list.apply("node", event("a", { node: { id: "2" }, state: "running", nodes_done: 0, nodes_total: 3 }));
  list.apply("node", event("a", { node: { id: "1" }, state: "finished", nodes_done: 1, nodes_total: 3 }));
  const { node, value, nodes_done: done, run } = list.job("a");
  assert.deepEqual([node.id, value, done, run.number], ["2", undefined, 1, 1]);
});

test("a share that a list tells is rounded as that of an event", () => {
  const list = new JobList();
  list.take([entry("a", 5, { status: "running", progress: { fraction: 0.2857 } })]);
  assert.equal(share(list.job("a")), 0.28);
});
