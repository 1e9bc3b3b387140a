// What is told of a workflow, in words: its parameters as rows, the checks of each backend, the problems of all of them together. Pure.

import { fieldsOf } from "./schema.mjs";

const kinds = { textarea: "text", text: "text", integer: "whole number", number: "number", seed: "seed", enum: "choice", boolean: "yes or no", image: "image" };

/** A row for each parameter: `{ name, kind, required, usual, range, choices, description }`. */
export function parameterRows(schema) {
  const required = new Set(schema?.required ?? []);
  return fieldsOf(schema).map((field) => ({
    name: field.name,
    kind: kinds[field.kind],
    required: required.has(field.name),
    usual: usualOf(field),
    range: rangeOf(field),
    choices: field.choices ?? [],
    description: field.description ?? "",
  }));
}

/** A request that brings what is required and nothing else, so that the graph can be asked for. */
export function sampleRequest(schema) {
  const required = new Set(schema?.required ?? []);
  const body = {};
  const params = {};
  for (const field of fieldsOf(schema)) {
    if (!required.has(field.name) && field.name !== "prompt") continue;
    const value = sampleOf(field);
    if (field.name === "prompt") body.prompt = value;
    else params[field.name] = value;
  }
  return Object.keys(params).length ? { ...body, params } : body;
}

/** How one backend stands to a workflow: `{ label, tone, text }`. Callers that are no operators see a number instead of its name. */
export function checkWords({ backend, ok, errors, warnings }) {
  const label = typeof backend === "number" ? `Backend ${backend}` : backend;
  if (ok === null || ok === undefined) return { label, tone: "grey", text: "not known yet" };
  if (!ok) return { label, tone: "red", text: `${errors} ${errors === 1 ? "error" : "errors"}` };
  if (warnings > 0) return { label, tone: "amber", text: `ready, ${warnings} ${warnings === 1 ? "warning" : "warnings"}` };
  return { label, tone: "green", text: "ready" };
}

/** How many backends would take it, in a few words and a tone. */
export function checksSummary(checks) {
  const known = checks.filter(({ ok }) => ok !== null && ok !== undefined);
  const good = known.filter(({ ok }) => ok).length;
  if (checks.length === 0) return { tone: "grey", text: "No backend" };
  if (known.length === 0) return { tone: "grey", text: "Not known yet" };
  if (good === 0) return { tone: "red", text: "No backend takes it" };
  if (good === checks.length) return { tone: "green", text: checks.length === 1 ? "Ready" : "Ready everywhere" };
  return { tone: "green", text: `Ready on ${good} of ${checks.length}` };
}

/** The problems of all checks, each once, with the `backends` that have it; errors first. */
export function gatherProblems(checks) {
  const found = new Map();
  for (const { backend, problems = [] } of checks) {
    for (const problem of problems) {
      const key = JSON.stringify([problem.severity, problem.type, problem.node, problem.input, problem.parameter, problem.message]);
      const known = found.get(key);
      if (known) known.backends.push(backend);
      else found.set(key, { ...problem, backends: [backend] });
    }
  }
  return [...found.values()].toSorted((one, other) => rank(one) - rank(other));
}

/** Which backends have a problem: `everywhere` where all that are known do. */
export function whereWords(backends, checks) {
  const known = checks.filter(({ ok }) => ok !== null && ok !== undefined).length;
  if (!backends?.length || backends.length >= known) return backends?.length > 1 ? "On every backend that is known so far" : "";
  const names = backends.map((backend) => (typeof backend === "number" ? `backend ${backend}` : backend));
  return `On ${names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0]}`;
}

const rank = ({ severity }) => (severity === "warning" ? 1 : 0);

function sampleOf(field) {
  if (field.default !== undefined && field.default !== "") return field.default;
  if (field.choices?.length) return field.choices[0];
  if (field.kind === "boolean") return false;
  if (field.kind === "seed") return 1;
  if (field.kind === "integer" || field.kind === "number") return field.min ?? Math.min(1, field.max ?? 1);
  return field.kind === "image" ? "example.png" : "example";
}

function usualOf(field) {
  if (field.kind === "seed") return "drawn for each job";
  if (field.default === undefined) return "";
  if (field.kind === "boolean") return field.default ? "yes" : "no";
  return String(field.default);
}

function rangeOf({ kind, min, max, maxLength }) {
  if (kind === "seed") return "";
  if (min !== undefined && max !== undefined) return `${min} to ${max}`;
  if (min !== undefined) return `from ${min}`;
  if (max !== undefined) return `up to ${max}`;
  return maxLength !== undefined ? `up to ${maxLength} characters` : "";
}
