// A workflow's file, dropped or chosen: the graph that it would execute, what is odd about it, or which node cannot be converted.

import { post } from "../lib/api.mjs";
import { freshId, h, replace } from "../lib/dom.mjs";
import { bytes, plural } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { copyButton } from "./copy-button.mjs";
import { graphPicture } from "./graph-picture.mjs";
import { loading, notice, words } from "./parts.mjs";

const largest = 8 * 1024 * 1024;

export function convertFile(signal) {
  const id = freshId("file");
  const input = h("input.visually-hidden", { type: "file", id, accept: ".json,.png,application/json,image/png" });
  const zone = h("label.drop", { for: id }, input,
    h("span.drop-inside", {}, icon("upload"), h("span", {}, h("strong", {}, "Drop a workflow here"), " or choose a file"), h("span.hint", {}, "What ComfyUI saves: JSON, or a PNG that it made. Nothing is kept.")));
  const result = h("div.stack");

  async function check(file) {
    if (file.size > largest) return replace(result, notice("red", file.name, `This file has ${bytes(file.size)}; workflows of up to 8 MiB are read.`));
    replace(result, loading(`Reading ${file.name}`, 2));
    try {
      const type = file.type === "image/png" || /\.png$/i.test(file.name) ? "image/png" : "application/json";
      const { graph, warnings } = await post("/convert", undefined, { body: file, headers: { "content-type": type }, signal });
      return replace(result, answer(file.name, graph, warnings, signal));
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      return replace(result, refusal(file.name, error));
    }
  }

  input.addEventListener("change", () => {
    if (input.files[0]) check(input.files[0]);
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) check(event.dataTransfer.files[0]);
  });
  return h("div.stack", {}, h("div.field", {}, zone), result);
}

function answer(name, graph, warnings, signal) {
  const count = Object.keys(graph).length;
  const nodes = plural(count, "node");
  const verdict = count === 0 ? "Nothing in it would run." : warnings.length === 0 ? `It can be executed, with ${nodes}.` : `It can be executed, with ${nodes}. ${plural(warnings.length, "thing")} to know:`;
  const text = JSON.stringify(graph, (_, value) => (typeof value === "bigint" ? Number(value) : value), 2);
  return [
    notice(count === 0 || warnings.length ? "amber" : "green", name, verdict, warnings.length > 0 && h("ul.warnings", {}, warnings.map((warning) => h("li", {}, words(warning))))),
    count > 0 && h("div.row", {}, copyButton(text, "the graph in API format", { label: "Copy the graph in API format" })),
    count > 0 && graphPicture(graph, { signal }),
  ];
}

function refusal(name, error) {
  const node = error.details?.node;
  return notice("red", name, words(error.message), node !== undefined && node !== null && h("span", {}, `Look at node ${node} in ComfyUI.`), error.code && h("span", {}, "Code ", h("code", {}, error.code)));
}
