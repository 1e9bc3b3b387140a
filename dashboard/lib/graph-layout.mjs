// Where the nodes of a graph lie in its picture, and how its links run: in layers, each node behind what it needs, with few crossings. Pure.

const shapes = {
  // Layers are columns, inputs have rows of their own: for wide screens.
  right: { width: 184, head: 46, row: 17, foot: 8, layerGap: 58, gap: 20, lane: 14 },
  // Layers are rows, and nodes are small: for phones.
  down: { width: 124, head: 46, row: 0, foot: 0, layerGap: 40, gap: 12, lane: 10 },
};

/**
 * `{ width, height, nodes, links }` for what `readGraph` gave. A node gets `x`, `y`, `width`, `height`, `layer` and `ports` (`{ x, y }` of each
 * input); a link gets `path` and `back` where it closes a circle. `direction` is `right` or `down`.
 */
export function layoutGraph({ nodes, links }, direction = "right") {
  const shape = shapes[direction];
  const items = new Map(nodes.map((node) => [node.id, makeItem(node, direction, shape)]));
  const back = findBack(nodes, links);
  const forward = links.filter((link) => !back.has(link));
  setLayers(items, forward);
  const { layers, chains } = fillLayers(items, forward, shape);
  orderLayers(layers);
  place(layers, shape);
  return draw({ nodes, links, items, layers, chains, back }, direction, shape);
}

/** How often links cross between two layers that lie beside each other; `pairs` are the places of their ends. */
export function crossings(pairs) {
  const ends = pairs.toSorted((one, other) => one[0] - other[0] || one[1] - other[1]).map(([, end]) => end);
  return inversions(ends)[1];
}

/** Places that are nearest to those `wanted`, in the same order and at least `apart[i]` behind the one before. */
export function spread(wanted, apart, weights) {
  const shift = [];
  let sum = 0;
  const blocks = [];
  wanted.forEach((want, index) => {
    sum += index === 0 ? 0 : apart[index];
    shift.push(sum);
    let block = { at: want - sum, weight: weights[index], count: 1 };
    while (blocks.length && blocks.at(-1).at > block.at) {
      const before = blocks.pop();
      const weight = before.weight + block.weight;
      block = { at: (before.at * before.weight + block.at * block.weight) / weight, weight, count: before.count + block.count };
    }
    blocks.push(block);
  });
  return blocks.flatMap(({ at, count }) => Array(count).fill(at)).map((at, index) => at + shift[index]);
}

function makeItem(node, direction, { width, head, row, foot }) {
  const height = head + (row && node.inputs.length ? node.inputs.length * row + foot : 0);
  const across = direction === "right" ? height : width;
  return { id: node.id, inputs: node.inputs, width, height, along: direction === "right" ? width : height, across, layer: 0, at: 0, ins: [], outs: [] };
}

/** The links that close a circle, so that without them there is none. */
function findBack(nodes, links) {
  const leaving = group(links, ({ from }) => from);
  const state = new Map();
  const back = new Set();
  for (const { id: start } of nodes) {
    if (state.has(start)) continue;
    const stack = [[start, 0]];
    state.set(start, "open");
    while (stack.length) {
      const top = stack.at(-1);
      const link = leaving.get(top[0])?.[top[1]];
      top[1] += 1;
      if (!link) {
        state.set(top[0], "done");
        stack.pop();
      } else if (state.get(link.to) === "open") {
        back.add(link);
      } else if (!state.has(link.to)) {
        state.set(link.to, "open");
        stack.push([link.to, 0]);
      }
    }
  }
  return back;
}

/** As far to the front as what they need allows; then those that feed more than they take move up to what they feed. */
function setLayers(items, links) {
  for (const { from, to } of links) {
    items.get(from).outs.push(items.get(to));
    items.get(to).ins.push(items.get(from));
  }
  const waiting = new Map([...items.values()].map((item) => [item, item.ins.length]));
  const order = [...items.values()].filter((item) => item.ins.length === 0);
  for (let next = 0; next < order.length; next += 1) {
    for (const target of order[next].outs) {
      target.layer = Math.max(target.layer, order[next].layer + 1);
      waiting.set(target, waiting.get(target) - 1);
      if (waiting.get(target) === 0) order.push(target);
    }
  }
  for (const item of order.toReversed()) {
    if (item.outs.length > 0 && item.outs.length >= item.ins.length) item.layer = Math.min(...item.outs.map(({ layer }) => layer)) - 1;
  }
}

/** The layers, with a narrow lane for each link in every layer that it passes; links from the same output share their lanes. */
function fillLayers(items, links, { lane }) {
  const count = Math.max(0, ...[...items.values()].map(({ layer }) => layer + 1));
  const layers = Array.from({ length: count }, () => []);
  for (const item of items.values()) Object.assign(item, { before: [], after: [] });
  const lanes = new Map();
  const chains = new Map();
  const join = (one, other) => {
    one.after.push(other);
    other.before.push(one);
  };
  const seen = new Set();
  const enter = (item) => {
    if (seen.has(item)) return;
    seen.add(item);
    layers[item.layer].push(item);
  };
  // Beginning from what is needed last leaves nodes beside those that they feed.
  const ends = [...items.values()].toSorted((one, other) => other.layer - one.layer);
  const incoming = group(links, ({ to }) => to);
  for (const end of ends) {
    enter(end);
    for (const link of incoming.get(end.id) ?? []) {
      const start = items.get(link.from);
      const chain = [];
      let last = start;
      for (let layer = start.layer + 1; layer < end.layer; layer += 1) {
        const key = `${layer} ${link.slot} ${link.from}`;
        let via = lanes.get(key);
        if (!via) {
          via = { lane: true, run: `${link.slot} ${link.from}`, layer, along: 0, across: lane, at: 0, before: [], after: [] };
          lanes.set(key, via);
          join(last, via);
          enter(via);
        }
        chain.push(via);
        last = via;
      }
      join(last, end);
      chains.set(link, chain);
      enter(start);
    }
  }
  return { layers, chains };
}

/** Each layer in the order of the middle of its neighbours, forth and back; the order with the fewest crossings stays. */
function orderLayers(layers) {
  const number = () => layers.forEach((layer) => layer.forEach((item, index) => { item.index = index; }));
  const count = () => layers.slice(1).reduce((sum, layer) => sum + crossings(layer.flatMap((item) => item.before.map((one) => [one.index, item.index]))), 0);
  number();
  let best = { crossings: count(), order: layers.map((layer) => [...layer]) };
  const sweeps = effort(layers, 16);
  for (let sweep = 0; sweep < sweeps && best.crossings > 0; sweep += 1) {
    const side = sweep % 2 ? "after" : "before";
    const way = sweep % 2 ? [...layers.keys()].toReversed() : [...layers.keys()];
    for (const index of way) {
      for (const item of layers[index]) item.middle = item[side].length ? item[side].reduce((sum, one) => sum + one.index, 0) / item[side].length : item.index;
      layers[index].sort((one, other) => one.middle - other.middle || one.index - other.index);
      layers[index].forEach((item, place) => { item.index = place; });
    }
    const now = count();
    if (now < best.crossings) best = { crossings: now, order: layers.map((layer) => [...layer]) };
  }
  layers.forEach((layer, index) => layer.splice(0, layer.length, ...best.order[index]));
  number();
  for (let round = 0; round < 8; round += 1) if (!swapNeighbours(layers)) break;
}

/** Swaps neighbours where that takes crossings away; tells whether any were swapped. */
function swapNeighbours(layers) {
  let swapped = false;
  for (const layer of layers) {
    for (let index = 1; index < layer.length; index += 1) {
      const [one, other] = [layer[index - 1], layer[index]];
      if (crossed(one, other) <= crossed(other, one)) continue;
      layer[index - 1] = other;
      layer[index] = one;
      other.index = index - 1;
      one.index = index;
      swapped = true;
    }
  }
  return swapped;
}

/** How often the links of two cross where `one` comes first. */
function crossed(one, other) {
  let count = 0;
  for (const side of ["before", "after"]) {
    for (const end of one[side]) for (const otherEnd of other[side]) if (end.index > otherEnd.index) count += 1;
  }
  return count;
}

/** Across the layers: near the middle of their neighbours, and lanes straight. */
function place(layers, { gap }) {
  for (const layer of layers) {
    let at = 0;
    for (const item of layer) {
      item.at = at + item.across / 2;
      at += item.across + gap;
    }
  }
  const passes = effort(layers, 48);
  for (let pass = 0; pass < passes; pass += 1) {
    const sides = pass >= passes * 0.75 ? ["before", "after"] : [pass % 2 ? "after" : "before"];
    const way = pass % 2 ? layers.toReversed() : layers;
    for (const layer of way) {
      const near = layer.map((item) => sides.flatMap((side) => item[side]));
      const wanted = layer.map((item, index) => (near[index].length ? near[index].reduce((sum, one) => sum + one.at, 0) / near[index].length : item.at));
      const weights = layer.map((item, index) => (item.lane ? 8 : 1) * Math.max(1, near[index].length));
      spread(wanted, distances(layer, gap), weights).forEach((at, index) => { layer[index].at = at; });
    }
  }
  straighten(layers, gap);
  const all = layers.flat();
  const least = Math.min(...all.map((item) => item.at - item.across / 2));
  for (const item of all) item.at -= least;
}

/** Lanes of one link on one line: each moves to the middle of them and back into its layer, until they agree as far as there is room. */
function straighten(layers, gap) {
  const runs = group(layers.flat().filter((item) => item.lane), (item) => item.run);
  const passes = runs.size === 0 ? 0 : effort(layers, 60);
  for (let pass = 0; pass < passes; pass += 1) {
    for (const run of runs.values()) {
      const middle = run.reduce((sum, { at }) => sum + at, 0) / run.length;
      for (const item of run) item.wish = middle;
    }
    for (const layer of layers) {
      const weights = layer.map((item) => (item.lane ? 40 : 1));
      spread(layer.map((item) => item.wish ?? item.at), distances(layer, gap), weights).forEach((at, index) => { layer[index].at = at; });
    }
  }
}

/** Fewer passes over large pictures, which are looked at from afar, and shall not keep the page waiting. */
function effort(layers, most) {
  const items = layers.reduce((sum, layer) => sum + layer.length, 0);
  return Math.min(most, Math.max(8, Math.round(30_000 / Math.max(1, items))));
}

/** How far the middle of each must be from the one before. */
function distances(layer, gap) {
  return layer.map((item, index) => (index === 0 ? 0 : (item.across + layer[index - 1].across) / 2 + (item.lane && layer[index - 1].lane ? 2 : gap)));
}

function draw({ nodes, links, items, layers, chains, back }, direction, shape) {
  const right = direction === "right";
  const margin = 16;
  const starts = [];
  let along = margin;
  for (const layer of layers) {
    const size = Math.max(...layer.map((item) => item.along), 0);
    starts.push({ from: along, to: along + size });
    along += size + shape.layerGap;
  }
  const across = Math.max(0, ...layers.flat().map((item) => item.at + item.across / 2)) + 2 * margin;
  const drawn = nodes.map((node) => {
    const item = items.get(node.id);
    const low = item.at - item.across / 2 + margin;
    const { from } = starts[item.layer];
    const corner = right ? { x: from, y: low } : { x: low, y: from };
    return { ...node, ...corner, width: item.width, height: item.height, layer: item.layer, ports: portsOf(item, corner, right, shape) };
  });
  const byId = new Map(drawn.map((node) => [node.id, node]));
  const paths = links.map((link) => {
    const from = byId.get(link.from);
    const to = byId.get(link.to);
    const start = right ? [from.x + from.width, from.y + shape.head / 2] : [from.x + from.width / 2, from.y + from.height];
    const port = to.ports[to.inputs.findIndex(({ name }) => name === link.input)];
    const via = (chains.get(link) ?? []).map((item) => ({ at: item.at + margin, ...starts[item.layer] }));
    return { ...link, back: back.has(link), path: linkPath(start, [port.x, port.y], via, right) };
  });
  const length = Math.max(along - shape.layerGap, margin) + margin;
  return { width: right ? length : across, height: right ? across : length, nodes: drawn, links: paths };
}

function portsOf(item, { x, y }, right, { width, head, row }) {
  if (right) return item.inputs.map((_, index) => ({ x, y: y + head + index * row + row / 2 - 2 }));
  return item.inputs.map((_, index) => ({ x: x + ((index + 1) * width) / (item.inputs.length + 1), y }));
}

/** Curves from layer to layer, and straight through the lanes between. */
function linkPath(start, end, via, right) {
  const point = (along, at) => (right ? [along, at] : [at, along]);
  const stops = [start, ...via.flatMap(({ at, from, to }) => [point(from, at), point(to, at)]), end];
  let path = `M${round(start[0])} ${round(start[1])}`;
  for (let index = 1; index < stops.length; index += 1) {
    const [x, y] = stops[index];
    const [lastX, lastY] = stops[index - 1];
    const straight = index % 2 === 0 && index < stops.length - 1;
    if (straight) path += `L${round(x)} ${round(y)}`;
    else {
      const bend = Math.max(18, Math.abs(right ? x - lastX : y - lastY) / 2);
      const [one, other] = right ? [[lastX + bend, lastY], [x - bend, y]] : [[lastX, lastY + bend], [x, y - bend]];
      path += `C${[one, other, [x, y]].map((each) => each.map(round).join(" ")).join(" ")}`;
    }
  }
  return path;
}

/** The list in order, and how many pairs of it were the wrong way round. */
function inversions(list) {
  if (list.length < 2) return [list, 0];
  const middle = list.length >> 1;
  const [low, lowCount] = inversions(list.slice(0, middle));
  const [high, highCount] = inversions(list.slice(middle));
  const merged = [];
  let count = lowCount + highCount;
  let from = 0;
  for (const value of high) {
    while (from < low.length && low[from] <= value) merged.push(low[from++]);
    count += low.length - from;
    merged.push(value);
  }
  return [merged.concat(low.slice(from)), count];
}

function group(list, keyOf) {
  const groups = new Map();
  for (const one of list) {
    const key = keyOf(one);
    if (groups.has(key)) groups.get(key).push(one);
    else groups.set(key, [one]);
  }
  return groups;
}

const round = (value) => Math.round(value * 10) / 10;
