// From a workflow's JSON Schema to the fields of a form, and from what was typed to values. Pure; faults are in the schema's terms.

const first = ["prompt", "negative_prompt"];
const later = ["width", "height", "image_count", "seed", "steps"];

/** One field per property: `{ name, label, kind, description, required, default, min, max, step, choices, maxLength, slider }`. */
export function fieldsOf(schema) {
  const required = new Set(schema?.required ?? []);
  const fields = Object.entries(schema?.properties ?? {}).map(([name, property]) => fieldOf(name, property, required));
  return fields.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
}

/** What was typed as a value: `{ value }`, `{ value: undefined }` where the workflow's default shall hold, or `{ fault }`. */
export function readField(field, raw) {
  if (field.kind === "boolean") return raw === null || raw === undefined ? left(field) : { value: Boolean(raw) };
  if (field.kind === "enum") return raw === "" || raw === null || raw === undefined ? left(field) : { value: raw };
  if (field.kind === "image") return raw ? { value: raw } : left(field);
  const text = String(raw ?? "");
  if (text.trim() === "") return left(field);
  if (field.kind === "seed" || field.kind === "integer" || field.kind === "number") return readNumber(field, text.trim());
  if (field.maxLength !== undefined && [...text].length > field.maxLength) return { fault: `is longer than ${field.maxLength} characters` };
  return { value: text };
}

/** Sizes to offer where a workflow has width and height: as many pixels as its default, in shapes that people use. */
export function sizePresets(width, height) {
  const pixels = (width.default ?? 512) * (height.default ?? 512);
  const area = Math.max(pixels, 512 * 512);
  const shapes = [["Square", 1, 1], ["Portrait", 2, 3], ["Tall", 9, 16], ["Landscape", 3, 2], ["Wide", 16, 9]];
  return shapes
    .map(([label, across, down]) => ({ label, width: side(width, Math.sqrt((area * across) / down)), height: side(height, Math.sqrt((area * down) / across)) }))
    .filter((one, place, all) => all.findIndex((other) => other.width === one.width && other.height === one.height) === place);
}

/** A seed below 2^53, from a source of random 32-bit numbers. */
export function drawSeed(random) {
  return (random() & 0x1fffff) * 0x1_0000_0000 + (random() >>> 0);
}

function fieldOf(name, property, required) {
  const kind = kindOf(property);
  const { description, default: usual, minimum: min, maximum: max, step, enum: choices, maxLength } = property;
  const field = {
    name, kind, description, default: usual, min, max, maxLength, choices, label: labelOf(name), integer: kind === "integer",
    // An empty prompt is refused whatever the schema's default is: it is the example of the template.
    required: required.has(name) || name === "prompt",
    step: step ?? (kind === "integer" ? 1 : undefined),
  };
  if (choices && usual !== undefined && !choices.includes(usual)) field.choices = [usual, ...choices];
  field.slider = (kind === "integer" || kind === "number") && min !== undefined && max !== undefined && max > min && max - min <= 200;
  return field;
}

function kindOf(property) {
  if (property.format === "image" || property.anyOf?.some((form) => form.properties?.upload)) return "image";
  if (property.format === "seed") return "seed";
  if (property.enum) return "enum";
  if (property.format === "textarea") return "textarea";
  if (property.type === "integer" || property.type === "number" || property.type === "boolean") return property.type;
  return "text";
}

function labelOf(name) {
  const words = name.replaceAll("_", " ");
  return words === "cfg" ? "CFG" : words[0].toUpperCase() + words.slice(1);
}

function rank(field) {
  const start = first.indexOf(field.name);
  if (start >= 0) return start;
  if (field.kind === "image") return 5;
  if (field.kind === "textarea") return 6;
  const middle = later.indexOf(field.name);
  if (middle >= 0) return 10 + middle;
  return field.required ? 9 : 30;
}

function left(field) {
  return field.required ? { fault: "is needed" } : { value: undefined };
}

function readNumber(field, text) {
  const whole = field.kind !== "number";
  if (!(whole ? /^[+-]?\d+$/ : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i).test(text)) return { fault: whole ? "is no whole number" : "is no number" };
  const exact = whole ? BigInt(text) : Number(text);
  if ((field.min !== undefined && exact < field.min) || (field.max !== undefined && exact > field.max)) return { fault: bounds(field) };
  return { value: whole && Number.isSafeInteger(Number(exact)) ? Number(exact) : exact };
}

function bounds({ min, max }) {
  if (min === undefined) return `is more than ${max}`;
  if (max === undefined) return `is less than ${min}`;
  return `is not within ${min} to ${max}`;
}

function side(field, wanted) {
  const step = Math.max(field.step ?? 1, 8);
  const rounded = Math.round(wanted / 64) * 64 || step;
  return Math.min(field.max ?? Infinity, Math.max(field.min ?? 1, rounded));
}
