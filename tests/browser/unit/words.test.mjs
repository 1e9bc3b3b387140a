// States and codes have words, those that are not known yet too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { howToMend } from "../../../dashboard/lib/mend.mjs";
import { deliveryState, isFinal, jobState, jobStates, stateOf, waitingReason } from "../../../dashboard/lib/states.mjs";

test("the final object and the list mean the same state", () => {
  assert.equal(stateOf({ status: "success" }), "succeeded");
  assert.equal(stateOf({ status: "failure", code: "node_error" }), "failed");
  assert.equal(stateOf({ status: "failure", code: "cancelled" }), "cancelled");
  assert.equal(stateOf({ status: "running" }), "running");
});

test("three of the states are final", () => {
  assert.deepEqual(jobStates.filter(isFinal), ["succeeded", "failed", "cancelled"]);
});

test("a word that is not known is told as it is", () => {
  assert.equal(jobState("dreaming").label, "dreaming");
  assert.equal(deliveryState("lost").label, "lost");
  assert.equal(waitingReason("new_reason"), "new_reason");
  assert.equal(waitingReason(undefined), "");
});

test("every code of a failed job has advice, and a cancelled one needs none", () => {
  const codes = ["validation", "node_error", "timeout_queue", "timeout_start", "timeout_silence", "timeout_run", "backend_lost", "output_missing", "output_too_large", "interrupted", "api_key_lost", "internal"];
  for (const code of codes) assert.ok(howToMend(code), code);
  assert.equal(howToMend("cancelled"), null);
});
