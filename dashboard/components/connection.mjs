// <cg-connection>: whether the page is told of events at this moment.

import { h, setText } from "../lib/dom.mjs";

const words = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", off: "Not connected" };

class Connection extends HTMLElement {
  connectedCallback() {
    this.setAttribute("role", "status");
    this.append(h("span.dot", { "aria-hidden": "true" }), h("span", {}));
    this.show("connecting");
  }

  show(state) {
    this.dataset.state = state;
    setText(this.lastElementChild, words[state]);
  }
}

customElements.define("cg-connection", Connection);
