// <cg-time datetime="..">: how long ago something was, kept true while it is shown. One timer serves all of them.

import { moment, relative } from "../lib/format.mjs";
import { h, setText } from "../lib/dom.mjs";

const shown = new Set();
setInterval(() => { if (!document.hidden) for (const one of shown) one.update(); }, 5_000);

class TimeAgo extends HTMLElement {
  connectedCallback() {
    shown.add(this);
    this.update();
  }

  disconnectedCallback() {
    shown.delete(this);
  }

  update() {
    const at = this.getAttribute("datetime");
    if (!this.firstElementChild) this.append(h("time", { datetime: at, title: moment(at, Date.now()) }));
    setText(this.firstElementChild, relative(at, Date.now()));
  }
}

customElements.define("cg-time", TimeAgo);

/** The element for this time. */
export const timeAgo = (at) => (at ? h("cg-time", { datetime: at }) : null);
