// Where nodes lie: in layers behind what they need, apart from each other, with few crossings, in both directions.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { crossings, layoutGraph, spread } from "../../../dashboard/lib/graph-layout.mjs";
import { readGraph } from "../../../dashboard/lib/graph.mjs";

const cases = new URL("../../fixtures/conversions/cases/", import.meta.url);
const read = (name) => readGraph(JSON.parse(readFileSync(new URL(`${name}/api.json`, cases), "utf8")));
const node = (...from) => ({ class_type: "A", inputs: Object.fromEntries(from.map((id, index) => [`in_${index}`, [id, 0]])) });

test("a node lies in a layer behind all that it needs, and links run forward", () => {
  const { nodes, links } = layoutGraph(readGraph({ a: node(), b: node("a"), c: node("a", "b"), d: node("c") }));
  const layer = Object.fromEntries(nodes.map((one) => [one.id, one.layer]));
  assert.deepEqual(layer, { a: 0, b: 1, c: 2, d: 3 });
  for (const { from, to } of links) assert.ok(nodes.find(({ id }) => id === from).x < nodes.find(({ id }) => id === to).x);
});

test("a loader without inputs lies beside the node that it feeds", () => {
  const { nodes } = layoutGraph(readGraph({ a: node(), b: node("a"), c: node("b"), vae: node(), end: node("c", "vae") }));
  assert.equal(nodes.find(({ id }) => id === "vae").layer, nodes.find(({ id }) => id === "end").layer - 1);
});

test("down, layers are rows", () => {
  const { nodes } = layoutGraph(readGraph({ a: node(), b: node("a") }), "down");
  const [a, b] = nodes;
  assert.ok(a.y + a.height < b.y);
  assert.ok(b.ports[0].y === b.y);
});

test("two chains that could cross do not", () => {
  const { nodes } = layoutGraph(readGraph({ a: node(), b: node(), x: node("b"), y: node("a"), z: node("y", "x") }));
  const at = Object.fromEntries(nodes.map((one) => [one.id, one.y]));
  assert.equal(at.a < at.b, at.y < at.x);
});

test("a circle is broken at one link, which is told as such", () => {
  const { links, nodes } = layoutGraph(readGraph({ a: node("c"), b: node("a"), c: node("b") }));
  assert.equal(links.filter(({ back }) => back).length, 1);
  assert.equal(new Set(nodes.map(({ layer }) => layer)).size, 3);
});

test("published graphs fit into their pictures, and no node covers another", () => {
  const names = readdirSync(cases).filter((name) => !name.startsWith("frontend-")).filter((_, index) => index % 8 === 0);
  assert.ok(names.length > 20);
  for (const name of [...names, "random-49-video_inpaint_wan2_1_vace"]) {
    for (const direction of ["right", "down"]) {
      const { nodes, links, width, height } = layoutGraph(read(name), direction);
      for (const [index, one] of nodes.entries()) {
        assert.ok(one.x >= 0 && one.y >= 0 && one.x + one.width <= width && one.y + one.height <= height, `${name}: ${one.id} lies outside`);
        for (const other of nodes.slice(index + 1)) {
          const apart = one.x >= other.x + other.width || other.x >= one.x + one.width || one.y >= other.y + other.height || other.y >= one.y + one.height;
          assert.ok(apart, `${name}: ${one.id} covers ${other.id}`);
        }
      }
      for (const { path } of links) assert.match(path, /^M[-\d. ]+([CL][-\d. ]+)+$/);
    }
  }
});

test("nothing is a picture too", () => {
  assert.deepEqual(layoutGraph({ nodes: [], links: [] }).nodes, []);
});

test("crossings are counted in pairs", () => {
  assert.equal(crossings([[0, 0], [1, 1]]), 0);
  assert.equal(crossings([[0, 1], [1, 0]]), 1);
  assert.equal(crossings([[0, 2], [1, 1], [2, 0]]), 3);
  assert.equal(crossings([[0, 0], [0, 1], [1, 1]]), 0);
});

test("places keep their order and distance, and the heavy one moves least", () => {
  assert.deepEqual(spread([0, 100], [0, 10], [1, 1]), [0, 100]);
  assert.deepEqual(spread([50, 50], [0, 10], [1, 1]), [45, 55]);
  const [first, second] = spread([50, 50], [0, 10], [1, 9]);
  assert.equal(second - first, 10);
  assert.equal(second, 51);
});
