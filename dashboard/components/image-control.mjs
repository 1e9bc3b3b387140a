// The field of a picture: dropped, pasted or chosen, uploaded at once and shown; or an address, or the name of a file that ComfyUI has. A mask may follow.

import { call } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { bytes } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { fieldFrame } from "./field-frame.mjs";

export function imageControl(field) {
  const picture = dropZone(`Picture for ${field.label}`, () => setFault(null), (error) => setFault(error.message));
  const mask = dropZone(`Mask for ${field.label}`, () => setFault(null), (error) => setFault(error.message));
  const masking = h("details.unfold", { hidden: true }, h("summary", {}, "Mask"), h("p.hint", {}, "A PNG of the same size. White is painted anew."), mask.element);
  const address = h("input.input", { type: "text", placeholder: "https://.. or the name of a file", "aria-label": `Address of the picture for ${field.label}`, spellcheck: "false" });
  const elsewhere = h("details.unfold", {}, h("summary", {}, "By address or name instead"), address);
  const group = h("div.image-control", { role: "group" }, picture.element, masking, elsewhere);
  const { element, setFault } = fieldFrame({ ...field, group: true }, group);
  group.addEventListener("picked", () => { masking.hidden = !picture.upload(); });

  return {
    element,
    setFault,
    focus: () => picture.focus(),
    paste: picture.take,
    raw() {
      if (address.value.trim()) return address.value.trim();
      if (!picture.upload()) return null;
      return { upload: picture.upload().id, ...(mask.upload() ? { mask: { upload: mask.upload().id } } : {}) };
    },
    fill(value) {
      picture.fill(typeof value === "object" ? value?.upload : null);
      mask.fill(typeof value === "object" ? value?.mask?.upload : null);
      address.value = typeof value === "string" ? value : "";
      elsewhere.open = address.value !== "";
      masking.hidden = !picture.upload();
    },
  };
}

/** One place to put a picture. Its element tells of a change by `picked` and `input`. */
function dropZone(label, onStart, onFault) {
  let upload = null;
  const file = h("input.visually-hidden", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif", "aria-label": label });
  const inside = h("div.drop-inside");
  const zone = h("label.drop", {}, file, inside);
  const clear = h("button.button.small", { type: "button", hidden: true, onclick: () => { show(null); changed(); } }, icon("close", "s"), "Remove");
  const element = h("div.drop-zone", { tabindex: "-1" }, zone, clear);

  const changed = () => {
    element.dispatchEvent(new CustomEvent("picked", { bubbles: true }));
    element.dispatchEvent(new Event("input", { bubbles: true }));
  };

  function show(next, source) {
    upload = next;
    clear.hidden = !next;
    zone.classList.toggle("full", Boolean(next));
    replace(inside, next
      ? [source && h("img", { src: source, alt: "" }), h("span.small", {}, next.width ? `${next.width} × ${next.height}, ${bytes(next.size)}` : `upload ${next.id}`)]
      : [icon("upload"), h("span", {}, "Drop, paste or ", h("u", {}, "choose"), " a picture"), h("span.hint", {}, "PNG, JPEG, WebP or GIF")]);
  }

  async function take(picked) {
    if (!picked) return;
    onStart();
    replace(inside, h("span.small", { role: "status" }, `Uploading ${picked.name || "the picture"}, ${bytes(picked.size)}`), h("span.meter", {}, h("span.sweep")));
    const form = new FormData();
    form.append("image", picked, picked.name || "pasted.png");
    try {
      const { uploads } = await call("POST", "/uploads", { body: form });
      show(uploads[0], URL.createObjectURL(picked));
    } catch (error) {
      show(null);
      onFault(error);
    }
    file.value = "";
    changed();
  }

  file.addEventListener("change", () => take(file.files[0]));
  element.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
    if (!pasted) return;
    event.preventDefault();
    take(pasted);
  });
  for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    take([...event.dataTransfer.files].find(({ type }) => type.startsWith("image/")));
  });
  show(null);
  return { element, take, upload: () => upload, focus: () => file.focus(), fill: (id) => show(id ? { id } : null) };
}
