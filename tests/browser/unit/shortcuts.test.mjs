// Sequences of keys.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Sequence } from "../../../dashboard/lib/shortcuts.mjs";

const keys = { "g j": {}, "g p": {}, "?": {} };

test("two keys one after the other are a shortcut", () => {
  const sequence = new Sequence(keys);
  assert.equal(sequence.press("g", 0), null);
  assert.equal(sequence.press("j", 300), "g j");
});

test("a second key that comes late does not count", () => {
  const sequence = new Sequence(keys);
  sequence.press("g", 0);
  assert.equal(sequence.press("j", 1_500), null);
});

test("a single key works at once, and after a false start", () => {
  const sequence = new Sequence(keys);
  assert.equal(sequence.press("?", 0), "?");
  sequence.press("g", 10);
  assert.equal(sequence.press("?", 20), "?");
});

test("a shortcut is over once it was pressed", () => {
  const sequence = new Sequence(keys);
  sequence.press("g", 0);
  sequence.press("j", 10);
  assert.equal(sequence.press("p", 20), null);
});

test("the first key twice begins anew", () => {
  const sequence = new Sequence(keys);
  sequence.press("g", 0);
  sequence.press("g", 900);
  assert.equal(sequence.press("p", 1_800), "g p");
});
