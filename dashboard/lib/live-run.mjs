// The nodes of a run as events tell of them, in the shape of a profile, so that the same picture shows them while they run. Pure.

export class LiveRun {
  #nodes = new Map();
  #run = null;
  #begun = null;
  #skew = Infinity;

  /** Takes one event that arrived at `now`; true where the picture changes. */
  apply(name, data, now) {
    const at = Date.parse(data.at);
    if (!Number.isFinite(at)) return false;
    // The clocks of gateway and browser differ; the event that came fastest shows by how much.
    this.#skew = Math.min(this.#skew, now - at);
    if (name === "status") return this.#status(data, at);
    if (name !== "node" || !data.node) return false;
    return this.#node(data, at);
  }

  /** The profile at this moment; `null` before the first node. `running` lists the ids of nodes that have not ended. */
  profile(now) {
    if (this.#nodes.size === 0) return null;
    const here = now - this.#skew;
    const nodes = [...this.#nodes.values()].map(({ id, className, title, from, to }) => ({
      id, class: className, title, at_ms: Math.max(0, from - this.#begun), ms: Math.max(0, (to ?? here) - from), running: to === null,
    }));
    return { run_ms: Math.max(...nodes.map(({ at_ms, ms }) => at_ms + ms)), nodes };
  }

  #status({ status, run }, at) {
    if (status !== "running") return false;
    if (run?.number !== this.#run) this.#nodes.clear();
    this.#run = run?.number;
    this.#begun = at;
    return true;
  }

  #node({ node, state }, at) {
    const known = this.#nodes.get(node.id);
    if (state === "running" && !known) {
      this.#begun = Math.min(this.#begun ?? at, at);
      this.#nodes.set(node.id, { id: node.id, className: node.class_type, title: node.title, from: at, to: null });
      return true;
    }
    if (state !== "finished" || !known || known.to !== null) return false;
    known.to = at;
    return true;
  }
}
