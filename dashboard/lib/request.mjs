// From the values of a form to the body of `POST /generate`, and back; and from a refusal to the fields that it is about. Pure.

const taken = new Set([
  "workflow", "graph", "outputs", "prompt_id", "params", "images", "webhook_url", "delivery", "webhook_events", "strip_metadata", "convert",
  "metadata", "priority", "placement", "variants", "max_runs", "api_key_comfy_org", "timeouts",
]);

const webhookCodes = new Set(["invalid_url", "unsupported_scheme", "userinfo_not_allowed", "blocked_address", "blocked_host", "https_required"]);

/** The body: `values` by parameter, `extras` by field. A parameter whose name is a field of the request goes into `params`. */
export function makeBody(workflow, values, extras = {}) {
  const body = { workflow };
  const params = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    if (taken.has(name)) params[name] = value;
    else body[name] = value;
  }
  if (Object.keys(params).length) body.params = params;
  for (const [name, value] of Object.entries(extras)) if (value !== undefined && value !== "") body[name] = value;
  // Pictures are fetched by their links here; base64 of them in the final object would be of no use.
  return { ...body, delivery: "links" };
}

/** The parameters of a body, wherever they stand in it. */
export function valuesOf(body) {
  const plain = Object.entries(body).filter(([name]) => !taken.has(name));
  return { ...Object.fromEntries(plain), ...body.params, ...body.images };
}

/** `{ fields: { name: sentence }, rest: [sentence] }` of an error of the API. */
export function faultsOf(error, names) {
  const known = new Set(names);
  const parameters = Array.isArray(error.details?.parameters) ? error.details.parameters : [];
  const fields = {};
  const rest = [];
  for (const { parameter, message } of parameters) {
    if (known.has(parameter)) fields[parameter] ??= message;
    else rest.push(message);
  }
  if (parameters.length === 0) {
    if (error.code === "empty_prompt" && known.has("prompt")) fields.prompt = error.message;
    else if (webhookCodes.has(error.code) && known.has("webhook_url") && !/image/i.test(error.message)) fields.webhook_url = error.message;
    else rest.push(error.message);
  }
  return { fields, rest };
}

/** The same for the problems of `POST /workflows/{name}/check`. */
export function faultsOfCheck(problems, names) {
  const known = new Set(names);
  const fields = {};
  const rest = [];
  for (const problem of problems) {
    if (problem.parameter && known.has(problem.parameter)) fields[problem.parameter] ??= problem.message;
    else rest.push(problem);
  }
  return { fields, rest };
}
