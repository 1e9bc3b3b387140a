// Keys that do something anywhere on the page. They rest while a text is written, a dialog is open, or a modifier is held.

/** Follows the keys that are pressed; `keys` maps `?` or `g j` to what it does. Returns the name of a sequence that is complete. */
export class Sequence {
  #first = "";
  #at = 0;

  constructor(keys) {
    this.keys = keys;
  }

  /** Takes one key at `now`; a second key counts within a second. */
  press(key, now) {
    const both = this.#first && now - this.#at < 1_000 ? `${this.#first} ${key}` : key;
    this.#first = "";
    if (both in this.keys) return both;
    if (Object.keys(this.keys).some((name) => name.startsWith(`${key} `))) {
      this.#first = key;
      this.#at = now;
    }
    return key in this.keys ? key : null;
  }
}

/** Listens on the document. */
export function installShortcuts(keys) {
  const sequence = new Sequence(keys);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, dialog, [contenteditable]")) return;
    const name = sequence.press(event.key, event.timeStamp);
    if (!name) return;
    event.preventDefault();
    keys[name].run();
  });
}
