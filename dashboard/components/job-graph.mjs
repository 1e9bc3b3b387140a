// The graph of a job as a picture, fetched when it is unfolded: as its first picture carries it, else as its request makes it, else as the workflow has it.

import { call, get, outputPath, post } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { sentBody } from "../lib/history.mjs";
import { sampleRequest } from "../lib/workflow-words.mjs";
import { graphPicture } from "./graph-picture.mjs";
import { faultNotice, loading } from "./parts.mjs";

/** A node that failed is marked, and shown at once. `null` for jobs of which no graph can be had. */
export function jobGraph(job, signal) {
  const outputs = job.outputs ?? [];
  // What comes over ComfyUI's socket has no name and carries nothing; what it saves itself has both.
  const png = outputs.findIndex(({ content_type: type, filename, metadata_stripped: stripped }) => type === "image/png" && filename && !stripped);
  if (png < 0 && job.workflow.startsWith("@")) return null;
  const place = h("div.stack.tight");
  const unfold = h("details.unfold", { open: Boolean(job.node) }, h("summary", {}, "Graph"), place);
  const problems = job.node ? [{ node: job.node.id, message: job.node.message ?? job.error, severity: "error" }] : [];

  async function load() {
    replace(place, loading("Loading the graph"));
    try {
      const { graph, words } = (png >= 0 && (await carried(job.prompt_id, png, signal))) || (await made(job, signal));
      replace(place, h("p.soft.small", {}, words), graphPicture(graph, { problems, outputs: outputs.map(({ node_id: node }) => node), signal }));
    } catch (error) {
      if (error.name !== "AbortError") replace(place, faultNotice(error, load));
    }
  }

  unfold.addEventListener("toggle", () => unfold.open && load(), { once: true });
  return unfold;
}

/** What ComfyUI has written into the picture; `null` where it wrote nothing, or it was taken out. */
async function carried(id, n, signal) {
  try {
    const picture = await (await fetch(outputPath(id, n), { signal })).blob();
    const { graph } = await call("POST", "/convert", { body: picture, headers: { "content-type": "image/png" }, signal, quiet: true });
    return { graph, words: "As it was executed: the picture carries it." };
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return null;
  }
}

async function made(job, signal) {
  const path = `/workflows/${encodeURIComponent(job.workflow)}`;
  const body = sentBody(job.prompt_id);
  const request = body ?? sampleRequest((await get(path, { signal })).schema);
  const { graph } = await post(`${path}/check`, request, { signal });
  return { graph, words: body ? "As the request makes it." : "As the workflow has it now; values of this job may differ." };
}
