// Calls of the gateway's API. A refusal becomes an ApiError with the server's own words; a 401 asks for a key once and tries again.

import { parse, stringify } from "./json.mjs";

/** What the server answered instead of what was asked for. `code` is its stable word, or `offline` where no answer came. */
export class ApiError extends Error {
  constructor(status, code, message, details) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

let askForKey = async () => false;

/** Whom to ask for a key when a call is answered 401: `(error) => Promise<boolean>`, true once there is a session. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, json, options) => call("POST", path, { ...options, json });
export const remove = (path, options) => call("DELETE", path, options);

/** `options`: `json` or `body` with `headers`, `signal`, and `quiet` where a 401 shall not open the dialog. */
export async function call(method, path, options = {}) {
  const error = await attempt(method, path, options);
  if (!(error instanceof ApiError)) return error;
  if (error.status === 401 && !options.quiet && (await askForKey(error))) {
    const second = await attempt(method, path, options);
    if (!(second instanceof ApiError)) return second;
    throw second;
  }
  throw error;
}

/** The path of a job's output, relative, so that it works behind any proxy; with `thumbnail` scaled to fit into so many pixels. */
export function outputPath(id, n, thumbnail) {
  return `/jobs/${encodeURIComponent(id)}/outputs/${n}${thumbnail ? `?thumbnail=${thumbnail}` : ""}`;
}

async function attempt(method, path, { json, body, headers, signal }) {
  const init = { method, headers: { accept: "application/json", ...headers }, signal, credentials: "same-origin" };
  if (json !== undefined) {
    init.headers["content-type"] = "application/json";
    init.body = stringify(json);
  } else if (body !== undefined) {
    init.body = body;
  }
  let response;
  let text;
  try {
    response = await fetch(path, init);
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    return new ApiError(0, "offline", "The gateway does not answer. It may be stopped, or this machine may be offline.");
  }
  let value = null;
  try {
    value = text === "" ? null : parse(text);
  } catch {
    if (response.ok) return new ApiError(response.status, "no_json", `${method} ${path} answered with something that is not JSON.`);
  }
  if (response.ok) return value;
  return new ApiError(response.status, value?.code ?? `http_${response.status}`, value?.error ?? `${method} ${path} answered ${response.status}.`, value?.details);
}
