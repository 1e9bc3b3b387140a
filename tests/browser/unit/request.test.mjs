// Bodies of requests, and refusals as faults of fields.

import assert from "node:assert/strict";
import { test } from "node:test";
import { faultsOf, faultsOfCheck, makeBody, valuesOf } from "../../../dashboard/lib/request.mjs";

test("values stand beside the workflow, and what was left empty is not sent", () => {
  assert.deepEqual(makeBody("starter", { prompt: "x", steps: undefined }, { webhook_url: "", priority: 5 }), { workflow: "starter", prompt: "x", priority: 5, delivery: "links" });
});

test("a parameter that is named like a field of the request goes into params, and comes back", () => {
  const body = makeBody("odd", { priority: 3, prompt: "x" });
  assert.deepEqual(body.params, { priority: 3 });
  assert.equal("priority" in body, false);
  assert.deepEqual(valuesOf(body), { prompt: "x", priority: 3 });
});

test("each fault goes to its field, and the rest is told above", () => {
  const error = { code: "unknown_field", message: "all of it", details: { parameters: [{ parameter: "steps", message: "too many" }, { parameter: "promt", message: "no such" }] } };
  assert.deepEqual(faultsOf(error, ["prompt", "steps"]), { fields: { steps: "too many" }, rest: ["no such"] });
});

test("faults without a parameter find their field by their code", () => {
  assert.deepEqual(faultsOf({ code: "empty_prompt", message: "empty" }, ["prompt"]).fields, { prompt: "empty" });
  assert.deepEqual(faultsOf({ code: "blocked_host", message: "`localhost` is not called" }, ["webhook_url"]).fields, { webhook_url: "`localhost` is not called" });
  assert.deepEqual(faultsOf({ code: "queue_full", message: "full" }, ["prompt"]), { fields: {}, rest: ["full"] });
});

test("problems of a graph are told above, those of parameters at their fields", () => {
  const graph = { node: "3", message: "none of its choices" };
  assert.deepEqual(faultsOfCheck([{ parameter: "steps", message: "900 is outside" }, graph], ["steps"]), { fields: { steps: "900 is outside" }, rest: [graph] });
});
