// Seeds have up to 64 bits, and none of them may be lost on the way through the dashboard.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse, stringify } from "../../../dashboard/lib/json.mjs";

test("a seed of 64 bits goes through unchanged", () => {
  const text = '{"seed":18446744073709551615,"steps":20}';
  const value = parse(text);
  assert.equal(value.seed, 18446744073709551615n);
  assert.equal(value.steps, 20);
  assert.equal(stringify(value), text);
});

test("numbers that are safe stay numbers", () => {
  assert.equal(parse('{"seed":9007199254740991}').seed, 9007199254740991);
  assert.equal(parse("[-9007199254740993]")[0], -9007199254740993n);
});

test("digits within texts and fractions are left alone", () => {
  const text = '{"a":"18446744073709551615","b":"x\\"18446744073709551615,","c":0.1234567890123456789,"d":12345678901234567890e2}';
  assert.deepEqual(parse(text), JSON.parse(text));
});

test("a large body is read without running out of room", () => {
  const body = JSON.stringify({ images: ["A".repeat(3_000_000)] }).replace("}", ',"seed":18446744073709551615}');
  assert.equal(parse(body).seed, 18446744073709551615n);
});

test("what is no JSON is still refused", () => {
  assert.throws(() => parse('{"seed":18446744073709551615'), SyntaxError);
});
