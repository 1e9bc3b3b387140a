// <cg-toasts>: short words about what was just done, at the edge of the page, told to screen readers too. Faults stay where they happen instead.

import { h } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";

const life = 6_000;

class Toasts extends HTMLElement {
  connectedCallback() {
    this.setAttribute("role", "status");
    this.setAttribute("aria-live", "polite");
  }

  say(text) {
    const item = h("div.toast", {}, h("span.grow", {}, text), h("button", { type: "button", "aria-label": "Dismiss", onclick: () => item.remove() }, icon("close", "s")));
    for (const old of [...this.children]) if (old.firstElementChild.textContent === text) old.remove();
    this.append(item);
    while (this.children.length > 3) this.firstElementChild.remove();
    setTimeout(() => item.remove(), life);
  }
}

customElements.define("cg-toasts", Toasts);

/** Says that something was done. */
export function toast(text) {
  document.querySelector("cg-toasts").say(text);
}
