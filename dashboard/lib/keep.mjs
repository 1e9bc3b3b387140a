// What this browser remembers: a few small settings and the session's history, under names of their own. Works without storage too.

const prefix = "comfygate.";

/** The value that was kept under `name`, or `otherwise`. */
export function recall(name, otherwise, storage = globalThis.localStorage) {
  try {
    const text = storage.getItem(prefix + name);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keeps `value`; `null` forgets it. */
export function keep(name, value, storage = globalThis.localStorage) {
  try {
    if (value === null) storage.removeItem(prefix + name);
    else storage.setItem(prefix + name, JSON.stringify(value));
  } catch {
    // Storage is full or forbidden; it is a convenience only.
  }
}
