// Pictures as large as the screen, one after the other: arrows or swipes go on, Escape closes, and the focus returns to where it was.

import { h, replace, setText } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";

/** `pictures`: `{ src, alt, name }`; `start` is the one that is shown first. */
export function openLightbox(pictures, start = 0) {
  let place = start;
  let touched = null;
  const image = h("img", { alt: "" });
  const line = h("span", { role: "status" });
  const load = h("a.button.small", { download: true }, icon("download", "s"), "Download");
  const button = (name, label, by) => h("button.button.small.icon-only", { type: "button", "aria-label": label, onclick: () => go(by) }, icon(name, "s"));
  const dialog = h("dialog.lightbox", { "aria-label": "Pictures" },
    h("figure", {},
      h("div.stage", { onclick: (event) => event.target !== image && dialog.close() }, image),
      h("figcaption", {}, pictures.length > 1 && button("back", "The picture before", -1), line, pictures.length > 1 && button("next", "The next picture", 1), load)),
    h("button.button.icon-only.close", { type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close")));

  function go(by) {
    place = (place + by + pictures.length) % pictures.length;
    const { src, alt, name } = pictures[place];
    image.src = src;
    image.alt = alt;
    load.href = src;
    load.download = name ?? "";
    setText(line, pictures.length > 1 ? `${place + 1} of ${pictures.length}: ${alt}` : alt);
  }

  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || pictures.length < 2) return;
    event.preventDefault();
    go(by);
  });
  dialog.addEventListener("touchstart", (event) => { touched = event.touches[0].clientX; }, { passive: true });
  dialog.addEventListener("touchend", (event) => {
    const moved = event.changedTouches[0].clientX - touched;
    if (pictures.length > 1 && Math.abs(moved) > 60) go(moved > 0 ? -1 : 1);
  });
  dialog.addEventListener("close", () => {
    replace(dialog);
    dialog.remove();
  });
  go(0);
  document.body.append(dialog);
  dialog.showModal();
}
