// What a job has made: pictures that open large, videos and sounds that play, and everything else to download.

import { outputPath } from "../lib/api.mjs";
import { h } from "../lib/dom.mjs";
import { bytes } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { openLightbox } from "./lightbox.mjs";

/** `outputs` as the final object has them; their place in that list is their number in the API. `small` draws them for a narrow place. */
export function outputGallery(id, outputs, { small = false } = {}) {
  const named = outputs.map((output, n) => ({ ...output, n, src: outputPath(id, n), label: labelOf(output, n) }));
  const pictures = named.filter(({ content_type: type }) => type?.startsWith("image/"));
  const shown = pictures.map(({ src, label, filename }) => ({ src, alt: label, name: filename }));
  return h("ul.outputs", { class: `${small ? "small" : ""} ${named.length === 1 ? "single" : ""}` }, named.map((output) => h("li", {}, one(output, pictures.indexOf(output), shown, small || named.length > 1))));
}

function one(output, place, shown, scaled) {
  const { content_type: type = "", src, label } = output;
  if (place >= 0) {
    const image = h("img", { src: scaled && type !== "image/gif" ? `${src}?thumbnail=${devicePixelRatio > 1.25 ? 1024 : 512}` : src, alt: label, loading: "lazy", decoding: "async" });
    return h("button.output-picture", { type: "button", "aria-label": `${label}, open large`, onclick: () => openLightbox(shown, place) }, image);
  }
  if (type.startsWith("video/")) return h("figure", {}, h("video", { src, controls: true, preload: "metadata", "aria-label": label }));
  if (type.startsWith("audio/")) return h("figure.stack.tight", {}, h("audio", { src, controls: true, preload: "metadata", "aria-label": label }), h("figcaption.small", {}, label));
  return h("a.button.output-file", { href: src, download: output.filename ?? true }, icon("file", "s"), h("span.truncate", {}, label), h("span.soft", {}, bytes(output.bytes)));
}

function labelOf(output, n) {
  const what = output.content_type?.startsWith("image/") ? "Picture" : "Output";
  return output.name ?? output.filename ?? `${what} ${n + 1}`;
}
