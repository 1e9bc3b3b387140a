// What is told of a workflow: parameters, checks, problems, and a request that brings what is required.

import assert from "node:assert/strict";
import { test } from "node:test";
import { checkWords, checksSummary, gatherProblems, parameterRows, sampleRequest, whereWords } from "../../../dashboard/lib/workflow-words.mjs";

const schema = {
  properties: {
    prompt: { type: "string", format: "textarea", maxLength: 100 },
    steps: { type: "integer", minimum: 1, maximum: 150, default: 20 },
    seed: { type: "integer", format: "seed", minimum: -1 },
    sampler: { type: "string", enum: ["euler", "heun"] },
    tile: { type: "boolean", default: false },
    strength: { type: "number", minimum: 0.5 },
    photo: { format: "image", anyOf: [{ type: "string" }] },
  },
  required: ["prompt", "sampler", "photo", "strength"],
};

test("parameters become rows with words for kind, default and bounds", () => {
  const rows = Object.fromEntries(parameterRows(schema).map((row) => [row.name, row]));
  assert.deepEqual([rows.steps.kind, rows.steps.usual, rows.steps.range, rows.steps.required], ["whole number", "20", "1 to 150", false]);
  assert.deepEqual([rows.prompt.required, rows.prompt.range], [true, "up to 100 characters"]);
  assert.deepEqual([rows.seed.usual, rows.seed.range], ["drawn for each job", ""]);
  assert.deepEqual([rows.tile.usual, rows.strength.range, rows.sampler.choices], ["no", "from 0.5", ["euler", "heun"]]);
});

test("a sample brings what is required and nothing else, within its bounds", () => {
  assert.deepEqual(sampleRequest(schema), { prompt: "example", params: { photo: "example.png", sampler: "euler", strength: 0.5 } });
  assert.deepEqual(sampleRequest({ properties: { width: { type: "integer" } } }), {});
  assert.deepEqual(sampleRequest({ properties: { prompt: { type: "string", default: "a hill" } } }), { prompt: "a hill" });
});

test("a check is told with its backend, or with the backend's place", () => {
  assert.deepEqual(checkWords({ backend: "gpu-1", ok: true, errors: 0, warnings: 0 }), { label: "gpu-1", tone: "green", text: "ready" });
  assert.deepEqual(checkWords({ backend: 2, ok: false, errors: 1, warnings: 4 }), { label: "Backend 2", tone: "red", text: "1 error" });
  assert.equal(checkWords({ backend: "a", ok: true, errors: 0, warnings: 2 }).text, "ready, 2 warnings");
  assert.equal(checkWords({ backend: "a", ok: null, errors: 0, warnings: 0 }).text, "not known yet");
});

test("many checks have one summary", () => {
  const [good, bad, open] = [{ ok: true }, { ok: false }, { ok: null }];
  assert.equal(checksSummary([]).text, "No backend");
  assert.equal(checksSummary([open]).text, "Not known yet");
  assert.equal(checksSummary([bad, open]).text, "No backend takes it");
  assert.equal(checksSummary([good, bad]).text, "Ready on 1 of 2");
  assert.equal(checksSummary([good, good]).text, "Ready everywhere");
});

test("the same problem of several backends is told once, errors first", () => {
  const lora = { severity: "warning", type: "unused_node", node: "9", message: "nobody needs it" };
  const model = { severity: "error", type: "value_not_in_list", node: "4", input: "ckpt_name", message: "there is no such file" };
  const found = gatherProblems([{ backend: "a", problems: [lora, model] }, { backend: "b", problems: [model] }, { backend: "c" }]);
  assert.deepEqual(found.map(({ type, backends }) => [type, backends]), [["value_not_in_list", ["a", "b"]], ["unused_node", ["a"]]]);
});

test("where a problem is found is said shortly", () => {
  const checks = [{ ok: true }, { ok: false }, { ok: false }, { ok: null }];
  assert.equal(whereWords(["a"], checks), "On a");
  assert.equal(whereWords([1, 2], checks), "On backend 1 and backend 2");
  assert.match(whereWords(["a", "b", "c"], checks), /^On every backend/);
  assert.equal(whereWords(["a"], [{ ok: false }]), "");
});
