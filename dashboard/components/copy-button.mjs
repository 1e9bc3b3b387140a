// A button that copies a text, and says so on itself. Where the clipboard is forbidden, as on plain http to another machine, the text is selected instead.

import { h } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";
import { toast } from "./toasts.mjs";

/** `text` may be a function, asked when the button is pressed. */
export function copyButton(text, what, { label = null } = {}) {
  const button = h("button.button.small.quiet", { type: "button", class: label ? null : "icon-only", "aria-label": `Copy ${what}`, title: `Copy ${what}` }, icon("copy", "s"), label);
  button.addEventListener("click", async () => {
    const done = await copy(typeof text === "function" ? text() : String(text));
    toast(done ? `Copied ${what}.` : `The browser does not let this page copy ${what}.`);
    if (!done) return;
    button.firstElementChild.replaceWith(icon("check", "s"));
    setTimeout(() => button.firstElementChild.replaceWith(icon("copy", "s")), 1_500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea.visually-hidden", { "aria-hidden": "true", value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
