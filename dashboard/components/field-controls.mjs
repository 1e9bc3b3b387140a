// The inputs for each kind of parameter. Each is `{ element, raw(), fill(value), setFault(text), focus() }` and tells changes by `input` events.

import { h, replace } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { drawSeed } from "../lib/schema.mjs";
import { fieldFrame } from "./field-frame.mjs";
import { imageControl } from "./image-control.mjs";

const makers = { textarea, text, integer: number, number, seed, enum: choice, boolean, image: imageControl };

export const control = (field) => (makers[field.kind] ?? text)(field);

function textarea(field) {
  const input = h("textarea.input", { name: field.name, rows: field.name === "prompt" ? 4 : 2, placeholder: example(field), spellcheck: field.name.includes("prompt") ? "true" : "false" });
  return plain(field, input);
}

function text(field) {
  return plain(field, h("input.input", { name: field.name, type: "text", placeholder: example(field), spellcheck: "false", autocomplete: "off" }));
}

function number(field) {
  const input = h("input.input.numbers", { name: field.name, type: "text", inputmode: field.integer ? "numeric" : "decimal", placeholder: example(field), autocomplete: "off" });
  if (!field.slider) return plain(field, input);
  const start = field.default ?? field.min;
  const slider = h("input.slider", { type: "range", min: field.min, max: field.max, step: field.step ?? "any", "aria-label": `${field.label}, slider`, tabindex: "-1", value: start });
  slider.addEventListener("input", () => {
    input.value = slider.value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  });
  input.addEventListener("input", () => { slider.value = input.value === "" ? start : input.value; });
  input.addEventListener("keydown", (event) => {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    slider.value = input.value === "" ? start : input.value;
    if (by > 0) slider.stepUp();
    else slider.stepDown();
    slider.dispatchEvent(new Event("input"));
  });
  const made = plain(field, input, h("div.with-slider", {}, slider, input));
  return { ...made, fill(value) { made.fill(value); slider.value = value ?? start; } };
}

function seed(field) {
  const input = h("input.input.numbers", { name: field.name, type: "text", inputmode: "numeric", placeholder: "drawn for each job", autocomplete: "off" });
  const set = (value) => {
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const draw = () => set(String(drawSeed(() => crypto.getRandomValues(new Uint32Array(1))[0])));
  const button = (name, label, run) => h("button.button.icon-only", { type: "button", "aria-label": label, title: label, onclick: run }, icon(name, "s"));
  return plain(field, input, h("div.with-buttons", {}, input, button("dice", "Draw a seed", draw), button("close", "A new one for each job", () => set(""))));
}

function choice(field) {
  const usual = field.default === undefined ? "as the workflow has it" : `${field.default} (usual)`;
  const options = field.choices.map((value, place) => ({ value, place })).filter(({ value }) => value !== field.default);
  const input = h("select.input", { name: field.name }, h("option", { value: "" }, usual), options.map(({ value, place }) => h("option", { value: place }, String(value))));
  const made = plain(field, input);
  return {
    ...made,
    raw: () => (input.value === "" ? "" : field.choices[Number(input.value)]),
    fill(value) {
      const place = field.choices.indexOf(value);
      input.value = place < 0 || value === field.default ? "" : String(place);
    },
  };
}

function boolean(field) {
  const input = h("input", { name: field.name, type: "checkbox" });
  input.checked = field.default === true;
  const frame = fieldFrame({ ...field, label: field.label }, input, h("span.checkbox", {}, input, h("span", { "aria-hidden": "true" }, "on")));
  return { ...frame, raw: () => (input.checked === (field.default === true) ? null : input.checked), fill(value) { input.checked = value ?? field.default === true; } };
}

function plain(field, input, box = input) {
  const frame = fieldFrame(field, input, box);
  return { ...frame, raw: () => input.value, fill(value) { input.value = value === undefined || value === null ? "" : String(value); } };
}

const example = (field) => (field.default === undefined ? "" : String(field.default));

/** Buttons that set width and height together. */
export function sizeButtons(presets, set) {
  const buttons = presets.map((preset) => {
    const longest = Math.max(preset.width, preset.height);
    const shape = h("span.shape", { "aria-hidden": "true", css: { width: `${(preset.width / longest) * 1.1}rem`, height: `${(preset.height / longest) * 1.1}rem` } });
    return h("button.chip.size-chip", { type: "button", onclick: () => set(preset) }, shape, `${preset.width} × ${preset.height}`, h("span.visually-hidden", {}, ` ${preset.label}`));
  });
  return replace(h("div.chips", { role: "group", "aria-label": "Sizes" }), buttons);
}
