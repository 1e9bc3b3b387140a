// The form of a workflow: a field for each parameter, and those of the request besides. It reads, checks, fills and marks them.

import { h, replace } from "../lib/dom.mjs";
import { parse, stringify } from "../lib/json.mjs";
import { makeBody, valuesOf } from "../lib/request.mjs";
import { fieldsOf, readField, sizePresets } from "../lib/schema.mjs";
import { control, sizeButtons } from "./field-controls.mjs";
import { notice, words } from "./parts.mjs";

const wide = new Set(["textarea", "image", "text"]);

/** Fields of every request, with the faults that the gateway would find too. */
const extras = [
  { name: "webhook_url", label: "Webhook URL", kind: "text", description: "Told when the job has ended. Empty: nobody is." },
  { name: "priority", label: "Priority", kind: "integer", integer: true, min: -100, max: 100, step: 1, slider: true, default: 0, description: "Higher goes first." },
  { name: "metadata", label: "Metadata", kind: "textarea", description: "Any JSON. It comes back in the job and in the webhook." },
];

export function parameterForm(workflow, schema) {
  const fields = fieldsOf(schema);
  const made = [...fields, ...extras].map((field) => ({ field, part: control(field) }));
  const partOf = (name) => made.find(({ field }) => field.name === name)?.part;
  const place = (names) => made.filter(({ field }) => names.includes(field)).map(({ part }) => part.element);
  const main = fields.filter(({ kind }) => wide.has(kind));
  const fine = fields.filter(({ kind }) => !wide.has(kind));
  const faults = h("div");
  const more = h("details.unfold", {}, h("summary", {}, "Webhook, priority, metadata"), h("div.stack", {}, place(extras)));
  const element = h("div.stack", {}, faults, place(main), sizes(), fine.length > 0 && h("div.fine", {}, place(fine)), more);

  function sizes() {
    const [width, height] = ["width", "height"].map((name) => fields.find((field) => field.name === name && field.kind === "integer"));
    if (!width || !height) return null;
    return h("div.field", {}, h("span.label", {}, "Size"), sizeButtons(sizePresets(width, height), (size) => {
      partOf("width").fill(size.width);
      partOf("height").fill(size.height);
      element.dispatchEvent(new Event("input", { bubbles: true }));
    }));
  }

  /** What is typed; `faults` by field. Nothing is marked. */
  function read() {
    const values = {};
    const wrong = {};
    for (const { field, part } of made) {
      const { value, fault } = field.name === "metadata" ? readJson(part.raw()) : readField(field, part.raw());
      if (fault) wrong[field.name] = fault;
      else if (value !== undefined) values[field.name] = value;
    }
    const besides = Object.fromEntries(extras.map(({ name }) => [name, values[name]]));
    const own = Object.fromEntries(fields.map(({ name }) => [name, values[name]]));
    return { body: makeBody(workflow, own, besides), faults: wrong };
  }

  return {
    element,
    read,
    names: made.map(({ field }) => field.name),
    fill(body) {
      const values = valuesOf(body);
      for (const { field, part } of made) {
        const value = extras.includes(field) ? body[field.name] : values[field.name];
        part.fill(field.name === "metadata" && value !== undefined ? stringify(value, 2) : value);
      }
      more.open = extras.some(({ name }) => body[name] !== undefined);
    },
    /** Marks the faults at their fields, tells the rest above, and goes to the first. */
    mark({ fields: wrong = {}, rest = [] }, { focus = true } = {}) {
      for (const { field, part } of made) part.setFault(wrong[field.name] ? sentence(wrong[field.name]) : null);
      replace(faults, rest);
      if (extras.some(({ name }) => wrong[name])) more.open = true;
      const first = made.find(({ field }) => wrong[field.name]);
      if (focus && first) first.part.focus();
      else if (focus && rest.length) faults.scrollIntoView({ block: "nearest" });
    },
    paste: (file) => made.find(({ field }) => field.kind === "image")?.part.paste(file),
  };
}

/** Sentences of the gateway as notices for the place above the fields. */
export const refusals = (sentences) => sentences.map((text) => notice("red", null, words(text)));

function readJson(text) {
  if (text.trim() === "") return { value: undefined };
  try {
    return { value: parse(text) };
  } catch (error) {
    return { fault: `is no JSON: ${error.message}` };
  }
}

const sentence = (text) => (/^(is|has) /.test(text) ? `This ${text}` : text);
