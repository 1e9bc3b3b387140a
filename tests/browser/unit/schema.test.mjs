// From a workflow's schema to fields, and from what is typed to values and faults.

import assert from "node:assert/strict";
import { test } from "node:test";
import { drawSeed, fieldsOf, readField, sizePresets } from "../../../dashboard/lib/schema.mjs";

const schema = {
  properties: {
    cfg: { type: "number", minimum: 1, maximum: 30, step: 0.1, default: 7.5 },
    checkpoint: { type: "string" },
    photo: { format: "image", anyOf: [{ type: "string" }] },
    prompt: { type: "string", format: "textarea", maxLength: 10, default: "an example" },
    sampler: { type: "string", enum: ["euler", "heun"], default: "dpm" },
    seed: { type: "integer", format: "seed", minimum: -1, maximum: 18446744073709551615n },
    tiled: { type: "boolean", default: true },
    width: { type: "integer", minimum: 64, maximum: 2048, step: 8, default: 450 },
  },
  required: ["photo"],
};
const fields = fieldsOf(schema);
const field = (name) => fields.find((one) => one.name === name);

test("each property becomes a field of its kind, the prompt first", () => {
  assert.deepEqual(fields.map(({ name, kind }) => `${name}:${kind}`), [
    "prompt:textarea", "photo:image", "width:integer", "seed:seed", "cfg:number", "checkpoint:text", "sampler:enum", "tiled:boolean",
  ]);
});

test("sliders are for narrow ranges", () => {
  assert.equal(field("cfg").slider, true);
  assert.equal(field("width").slider, false);
});

test("a default that is none of the choices can be chosen all the same", () => {
  assert.deepEqual(field("sampler").choices, ["dpm", "euler", "heun"]);
});

test("an empty field leaves the workflow's default, unless a value is needed", () => {
  assert.deepEqual(readField(field("cfg"), " "), { value: undefined });
  assert.deepEqual(readField(field("photo"), null), { fault: "is needed" });
  assert.deepEqual(readField(field("prompt"), "  "), { fault: "is needed" });
});

test("numbers are held to their bounds and kinds", () => {
  assert.deepEqual(readField(field("width"), "512"), { value: 512 });
  assert.deepEqual(readField(field("width"), "512.5"), { fault: "is no whole number" });
  assert.deepEqual(readField(field("width"), "4096"), { fault: "is not within 64 to 2048" });
  assert.deepEqual(readField(field("cfg"), "1e1"), { value: 10 });
  assert.deepEqual(readField(field("cfg"), "seven"), { fault: "is no number" });
});

test("a seed keeps all of its 64 bits", () => {
  assert.deepEqual(readField(field("seed"), "18446744073709551615"), { value: 18446744073709551615n });
  assert.deepEqual(readField(field("seed"), "42"), { value: 42 });
  assert.ok(readField(field("seed"), "18446744073709551616").fault);
});

test("a text that is too long is told with its limit, counted in characters", () => {
  assert.deepEqual(readField(field("prompt"), "\u{1F3D4}".repeat(10)), { value: "\u{1F3D4}".repeat(10) });
  assert.match(readField(field("prompt"), "x".repeat(11)).fault, /10 characters/);
});

test("false is a value, and nothing is none", () => {
  assert.deepEqual(readField(field("tiled"), false), { value: false });
  assert.deepEqual(readField(field("tiled"), null), { value: undefined });
});

test("sizes stay within the bounds of both sides and differ from each other", () => {
  const presets = sizePresets({ default: 450, min: 64, max: 640, step: 8 }, { default: 450, min: 64, max: 640, step: 8 });
  for (const { width, height } of presets) {
    assert.ok(width >= 64 && width <= 640 && height >= 64 && height <= 640);
    assert.equal(width % 64, 0);
  }
  assert.equal(new Set(presets.map(({ width, height }) => `${width}x${height}`)).size, presets.length);
  assert.deepEqual([presets[0].width, presets[0].height], [512, 512]);
});

test("drawn seeds fill 53 bits and no more", () => {
  assert.equal(drawSeed(() => 0xffffffff), Number.MAX_SAFE_INTEGER);
  assert.equal(drawSeed(() => 0), 0);
});
