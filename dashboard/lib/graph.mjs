// A graph in API format, read for people: its nodes in the order in which they run, their links with the kind of what flows there, and words for both. Pure.

/** The kinds of what flows through links, with the tone of each. */
export const linkKinds = {
  model: { label: "Model", tone: "violet" },
  clip: { label: "CLIP", tone: "amber" },
  vae: { label: "VAE", tone: "red" },
  conditioning: { label: "Conditioning", tone: "teal" },
  latent: { label: "Latent", tone: "pink" },
  image: { label: "Image", tone: "blue" },
  mask: { label: "Mask", tone: "green" },
  media: { label: "Video or audio", tone: "accent" },
  other: { label: "Other", tone: "grey" },
};

const byInput = [
  [/clip_vision|control_net|style_model|upscale_model/, "other"],
  [/mask/, "mask"],
  [/^(model|unet)(_?\d+)?$/, "model"],
  [/^clip(_?\d+)?$/, "clip"],
  [/vae/, "vae"],
  [/^(positive|negative)|cond/, "conditioning"],
  [/^samples|latent/, "latent"],
  [/^(pixels|images?)(_?\d+)?$|_image$/, "image"],
  [/video|audio/, "media"],
];

const bySource = [
  [/ToImage$/, "image"],
  [/Mask/, "mask"],
  [/Condition|TextEncode/, "conditioning"],
  [/VAEDecode|Image$|^Image|^LoadImage|Frame/, "image"],
  [/Latent|VAEEncode|^KSampler/, "latent"],
  [/Video|Audio/, "media"],
  [/VAELoader/, "vae"],
  [/CLIPLoader/, "clip"],
  [/^(UNET|Lora|ModelSampling)/, "model"],
];

/**
 * `{ nodes, links, lost }`. A node has `id`, `title`, `className`, `values` (`{ name, value }`) and `inputs` (`{ name, kind, from, slot }`),
 * in the order in which they could run. `lost` has the links that lead to no node.
 */
export function readGraph(graph) {
  const known = new Map(Object.entries(graph ?? {}).filter(([, node]) => node && typeof node === "object" && !Array.isArray(node)));
  const links = [];
  const lost = [];
  const nodes = [...known].map(([id, node]) => {
    const className = String(node.class_type ?? "");
    const read = { id, className, title: String(node._meta?.title || className || `Node ${id}`), values: [], inputs: [] };
    for (const [name, value] of Object.entries(node.inputs ?? {})) {
      if (!isLink(value)) {
        read.values.push({ name, value });
        continue;
      }
      const from = String(value[0]);
      const source = known.get(from);
      const slot = Number(value[1]);
      if (!source) {
        lost.push({ to: id, input: name, from });
        continue;
      }
      const link = { from, to: id, slot, input: name, kind: linkKind(name, String(source.class_type ?? "")) };
      read.inputs.push({ name, kind: link.kind, from, slot });
      links.push(link);
    }
    return read;
  });
  return { nodes: inOrder(nodes), links, lost };
}

/** The kind of what comes into an input of this name from a node of this class. The API's graph does not say it, but names are steady. */
export function linkKind(input, sourceClass) {
  const find = (table, text) => table.find(([pattern]) => pattern.test(text))?.[1];
  return find(byInput, input.toLowerCase()) ?? find(bySource, sourceClass) ?? "other";
}

/** What a node takes from others, a phrase each: `model from Checkpoint (4)`. */
export function inputWords(node, graph) {
  const titles = new Map(graph.nodes.map(({ id, title }) => [id, title]));
  return node.inputs.map(({ name, from }) => `${name} from ${titles.get(from)} (${from})`);
}

/** A value of a node as one short line. */
export function valueWords(value, longest = 140) {
  const text = typeof value === "string" ? value : stringOf(value);
  const line = text.replace(/\s+/g, " ").trim();
  return [...line].length > longest ? `${[...line].slice(0, longest - 1).join("")}…` : line;
}

/** A text cut to about `width` pixels, for letters that are `letter` wide on average. */
export function cut(text, width, letter) {
  const room = Math.max(2, Math.floor(width / letter));
  const letters = [...text];
  return letters.length > room ? `${letters.slice(0, room - 1).join("").trimEnd()}…` : text;
}

/** Nodes so that each stands behind those that it needs; within a circle as they came. */
function inOrder(nodes) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const done = new Set();
  const order = [];
  // A stack of its own: graphs come from files, and a long chain must not end in a fault.
  for (const start of nodes) {
    const stack = [[start, 0]];
    if (done.has(start.id)) continue;
    done.add(start.id);
    while (stack.length) {
      const top = stack.at(-1);
      const input = top[0].inputs[top[1]];
      top[1] += 1;
      if (!input) {
        order.push(top[0]);
        stack.pop();
      } else if (!done.has(input.from)) {
        done.add(input.from);
        stack.push([byId.get(input.from), 0]);
      }
    }
  }
  return order;
}

const isLink = (value) => Array.isArray(value) && value.length === 2 && ["string", "number"].includes(typeof value[0]) && Number.isInteger(value[1]);

function stringOf(value) {
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "";
  } catch {
    return String(value);
  }
}
