// The request as code, in tabs: the one that was chosen is remembered, and the text follows the form.

import { h, freshId, setText } from "../lib/dom.mjs";
import { keep, recall } from "../lib/keep.mjs";
import { curl, javascript, python } from "../lib/snippets.mjs";
import { copyButton } from "./copy-button.mjs";

const languages = [["curl", curl], ["Python", python], ["JavaScript", javascript]];

/** `tabs.update(body)` writes the code anew. `keys`: it shows a key. */
export function codeTabs(keys) {
  let body = {};
  let chosen = languages.some(([name]) => name === recall("code", "curl")) ? recall("code", "curl") : "curl";
  const panelId = freshId("code");
  const pre = h("pre.code", { id: panelId, role: "tabpanel", tabindex: "0" });
  const tabs = languages.map(([name]) => h("button.chip", { type: "button", role: "tab", id: `${panelId}-${name}`, "aria-controls": panelId, onclick: () => choose(name) }, name));
  const list = h("div.chips", { role: "tablist", "aria-label": "Language" }, tabs);

  function choose(name) {
    chosen = name;
    keep("code", name);
    draw();
  }

  function draw() {
    for (const tab of tabs) {
      const selected = tab.textContent === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    pre.setAttribute("aria-labelledby", `${panelId}-${chosen}`);
    setText(pre, languages.find(([name]) => name === chosen)[1](location.origin, body, keys));
  }

  list.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const next = tabs[(tabs.findIndex((tab) => tab.textContent === chosen) + by + tabs.length) % tabs.length];
    choose(next.textContent);
    next.focus();
  });
  draw();
  return Object.assign(h("div.stack.tight", {}, h("div.row.apart.code-head", {}, list, copyButton(() => pre.textContent, "the code", { label: "Copy" })), pre), {
    update(next) {
      body = next;
      draw();
    },
  });
}
