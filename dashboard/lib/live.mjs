// The live events. One connection serves all views; one more follows the job that is open. While the page is hidden nothing is held open.

import { isFinal } from "./states.mjs";

/** How long a hidden page keeps its connections: a browser has six for one gateway, for all pages together. */
const patience = 30_000;

const names = ["hello", "status", "node", "progress", "preview", "output", "backend", "cut_off"];

/** `/events`: an EventTarget with an event per name (`detail` is its data), `resync` after a gap, and `state` when `state` changes. */
export class Live extends EventTarget {
  state = "connecting";
  #source = null;
  #wasOpen = false;
  #retry = 0;
  #wanted = false;

  /** `checkSession` is asked after a refusal, which EventSource does not explain; true: try again. */
  constructor(checkSession) {
    super();
    this.checkSession = checkSession;
    document.addEventListener("visibilitychange", () => this.#visible());
  }

  start() {
    this.#wanted = true;
    this.#close();
    if (document.hidden) return;
    const source = new EventSource("/events");
    this.#source = source;
    source.addEventListener("open", () => this.#opened());
    source.addEventListener("error", () => this.#failed(source));
    for (const name of names) source.addEventListener(name, (event) => this.#tell(name, event.data));
  }

  /** Listens until `signal` is aborted. */
  on(name, listener, signal) {
    this.addEventListener(name, (event) => listener(event.detail), { signal });
  }

  #opened() {
    this.#retry = 0;
    this.#become("live");
    if (this.#wasOpen) this.dispatchEvent(new CustomEvent("resync"));
    this.#wasOpen = true;
  }

  async #failed(source) {
    this.#become("reconnecting");
    if (source.readyState !== EventSource.CLOSED || source !== this.#source) return;
    this.#retry = Math.min(this.#retry + 1, 6);
    const wait = 500 * 2 ** this.#retry;
    const again = await this.checkSession();
    if (!again) return this.#become("off");
    setTimeout(() => source === this.#source && this.start(), wait);
  }

  #tell(name, data) {
    const detail = decode(data);
    if (detail) this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #visible() {
    if (document.hidden) {
      this.pausing = setTimeout(() => this.#close(), patience);
    } else {
      clearTimeout(this.pausing);
      if (this.#wanted && !this.#source) this.start();
    }
  }

  #close() {
    this.#source?.close();
    this.#source = null;
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

/** `/jobs/{id}/events` with previews: calls `listener(name, data)` until the job ends or `signal` is aborted. */
export function followJob(id, listener, signal) {
  let source = null;
  let over = false;
  let resting = null;

  function open() {
    if (over || source || signal.aborted || document.hidden) return;
    const opened = new EventSource(`/jobs/${encodeURIComponent(id)}/events`);
    source = opened;
    for (const name of names) opened.addEventListener(name, (event) => tell(name, decode(event.data)));
    // The browser tries again by itself after a lost connection, but not after a refusal, such as that of a proxy in between.
    opened.addEventListener("error", () => {
      if (opened.readyState !== EventSource.CLOSED || opened !== source) return;
      source = null;
      setTimeout(open, 3_000);
    });
  }

  function close() {
    source?.close();
    source = null;
  }

  function tell(name, data) {
    if (!data) return;
    // The server ends the stream after the final status; without this the browser would call again.
    if (name === "status" && isFinal(data.status)) {
      over = true;
      close();
    }
    listener(name, data);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(resting);
    if (document.hidden) resting = setTimeout(close, patience);
    else open();
  }, { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(resting);
    close();
  });
  open();
}

function decode(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
