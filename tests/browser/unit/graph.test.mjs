// A graph read for people: its links, their kinds, the order of its nodes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cut, inputWords, linkKind, readGraph, valueWords } from "../../../dashboard/lib/graph.mjs";

const graph = {
  3: { class_type: "KSampler", inputs: { steps: 20, model: ["4", 0], positive: ["6", 0], latent_image: [5, 0] }, _meta: { title: "Sampler" } },
  4: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "a.safetensors" } },
  5: { class_type: "EmptyLatentImage", inputs: { width: 64 } },
  6: { class_type: "CLIPTextEncode", inputs: { text: "a hill", clip: ["4", 1] } },
};

test("links are told from values, and a number as the id of a node is one too", () => {
  const { nodes, links, lost } = readGraph(graph);
  assert.deepEqual(links.map(({ from, to, input, slot, kind }) => `${from}.${slot} ${to}.${input} ${kind}`).sort(),
    ["4.0 3.model model", "4.1 6.clip clip", "5.0 3.latent_image latent", "6.0 3.positive conditioning"]);
  assert.deepEqual(lost, []);
  const sampler = nodes.find(({ id }) => id === "3");
  assert.equal(sampler.title, "Sampler");
  assert.deepEqual(sampler.values, [{ name: "steps", value: 20 }]);
  assert.equal(nodes.find(({ id }) => id === "4").title, "CheckpointLoaderSimple");
});

test("each node stands behind those that it needs", () => {
  const place = Object.fromEntries(readGraph(graph).nodes.map(({ id }, index) => [id, index]));
  assert.ok(place[4] < place[6] && place[6] < place[3] && place[5] < place[3]);
});

test("a list of two that is no link stays a value", () => {
  const { nodes, links } = readGraph({ 1: { class_type: "A", inputs: { size: [512, 512.5], names: ["a", "b"] } } });
  assert.equal(links.length, 0);
  assert.deepEqual(nodes[0].values.map(({ name }) => name), ["size", "names"]);
});

test("a link to a node that is not there is told as lost", () => {
  const { links, lost } = readGraph({ 1: { class_type: "PreviewImage", inputs: { images: ["9", 0] } } });
  assert.equal(links.length, 0);
  assert.deepEqual(lost, [{ to: "1", input: "images", from: "9" }]);
});

test("a circle and a long chain end", () => {
  const circle = { a: { class_type: "A", inputs: { x: ["b", 0] } }, b: { class_type: "B", inputs: { x: ["a", 0] } } };
  assert.equal(readGraph(circle).nodes.length, 2);
  const chain = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`n${n}`, { class_type: "A", inputs: { x: [`n${n + 1}`, 0] } }]));
  const { nodes } = readGraph({ ...chain, n20000: { class_type: "A", inputs: {} } });
  assert.equal(nodes[0].id, "n20000");
});

test("the kind of a link comes from the input's name, else from the class that it leaves", () => {
  for (const [input, source, kind] of [
    ["clip_vision", "CLIPVisionLoader", "other"], ["upscale_model", "UpscaleModelLoader", "other"], ["conditioning_2", "ConditioningCombine", "conditioning"],
    ["masks", "X", "mask"], ["destination", "MaskToImage", "image"], ["source", "InvertMask", "mask"], ["samples", "X", "latent"], ["anything", "X", "other"],
  ]) assert.equal(linkKind(input, source), kind, `${input} from ${source}`);
});

test("words say where inputs come from, values are one short line, and titles are cut by letters", () => {
  const read = readGraph(graph);
  assert.deepEqual(inputWords(read.nodes.find(({ id }) => id === "6"), read), ["clip from CheckpointLoaderSimple (4)"]);
  assert.equal(valueWords("two\n  lines"), "two lines");
  assert.equal(valueWords("x".repeat(200)).length, 140);
  assert.equal(valueWords({ seed: 18446744073709551615n }), '{"seed":"18446744073709551615"}');
  assert.equal(cut("🦊".repeat(9), 30, 10), "🦊🦊…");
  assert.equal(cut("short", 100, 6), "short");
});

test("what is no graph is an empty one", () => {
  for (const odd of [null, undefined, {}, { 1: null, 2: [], 3: "x" }]) assert.equal(readGraph(odd).nodes.length, 0);
});
