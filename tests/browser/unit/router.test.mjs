// Addresses of the dashboard, from text to route and back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { makeHash, parseHash } from "../../../dashboard/lib/router.mjs";

test("an empty address is the list of jobs", () => {
  for (const hash of ["", "#", "#/"]) assert.deepEqual(parseHash(hash), { name: "jobs", argument: null, query: {} });
});

test("an address that is not known is the list of jobs", () => {
  assert.deepEqual(parseHash("#/nowhere/x?y=1"), { name: "jobs", argument: null, query: {} });
});

test("what is made is understood again", () => {
  const hash = makeHash("workflows", "a b/c@3?#", { from: "x&y" });
  assert.deepEqual(parseHash(hash), { name: "workflows", argument: "a b/c@3?#", query: { from: "x&y" } });
});

test("empty parts of the query are left out", () => {
  assert.equal(makeHash("jobs", null, { status: "", workflow: null, tenant: undefined }), "#/jobs");
  assert.equal(makeHash("jobs", null, { status: "failed", workflow: "" }), "#/jobs?status=failed");
});

test("a broken escape is taken as it is", () => {
  assert.equal(parseHash("#/jobs/%zz").argument, "%zz");
});
