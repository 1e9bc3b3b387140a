// Dialogs: one to put anything into, and one that asks before something is done that cannot be undone.

import { freshId, h } from "../lib/dom.mjs";

/** Opens a dialog; it resolves with what `close(value)` was called with, or `null` after Escape. `build(close)` gives its body and foot. */
export function openDialog(title, build) {
  return new Promise((resolve) => {
    const heading = freshId("dialog");
    let answer = null;
    const close = (value = null) => {
      answer = value;
      dialog.close();
    };
    const { body, foot } = build(close);
    const dialog = h("dialog.dialog", { "aria-labelledby": heading },
      h("div.dialog-body", {}, h("h2", { id: heading }, title), body), foot && h("div.dialog-foot", {}, foot));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && close());
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks; true where `action` was pressed. */
export async function confirm({ title, text, action, danger = false }) {
  const answer = await openDialog(title, (close) => ({
    body: [text].flat().map((part) => (typeof part === "string" ? h("p", {}, part) : part)),
    foot: [
      h("button.button", { type: "button", autofocus: danger, onclick: () => close(false) }, "Not now"),
      h("button.button.primary", { type: "button", class: danger ? "danger" : null, autofocus: !danger, onclick: () => close(true) }, action),
    ],
  }));
  return answer === true;
}
