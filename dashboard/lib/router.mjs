// Addresses behind `#`: from text to a route, and back. Pure, so that it can be tested.

const known = ["jobs", "playground", "workflows", "backends", "webhooks"];

/** `#/jobs/<id>?status=failed` becomes `{ name: "jobs", argument: "<id>", query: { status: "failed" } }`; what is unknown becomes jobs. */
export function parseHash(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [name, ...rest] = path.split("/");
  const query = Object.fromEntries(new URLSearchParams(search));
  if (!known.includes(name)) return { name: "jobs", argument: null, query: name === "" ? query : {} };
  let argument = rest.join("/") || null;
  try {
    argument = argument && decodeURIComponent(argument);
  } catch {
    // A broken escape stays as it was written; the view says that there is no such thing.
  }
  return { name, argument, query };
}

/** The address of a view; empty values of `query` are left out. */
export function makeHash(name, argument, query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const path = argument ? `#/${name}/${encodeURIComponent(argument)}` : `#/${name}`;
  return search.size ? `${path}?${search}` : path;
}
