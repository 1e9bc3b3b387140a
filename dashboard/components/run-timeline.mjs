// A job's life as a picture: one bar of its phases, and below it each node of the last run on the axis of that run.

import { h } from "../lib/dom.mjs";
import { duration } from "../lib/format.mjs";
import { ticks } from "../lib/plot.mjs";
import { nodeBars, phases } from "../lib/timeline.mjs";

export function runTimeline(timing, profile) {
  const life = phases(timing, profile);
  return h("div.stack", {},
    life.total > 0 && h("figure.stack.tight", {},
      h("div.phases", { "aria-hidden": "true" }, life.parts.map(({ kind, ms }) => h("span", { class: `phase ${kind}`, css: { "flex-grow": ms, "flex-basis": "0" } }))),
      h("ul.phase-key", {}, life.parts.map(({ kind, label, ms }) => h("li", {}, h("span", { class: `phase ${kind}`, "aria-hidden": "true" }), `${label} `, h("strong.numbers", {}, duration(ms)))))),
    waterfall(profile, "Nodes of the last run"),
    profile?.partial && h("p.small.soft", {}, "The gateway could not listen all the time, so nodes may be missing here."));
}

/** The nodes alone; `null` where there are none. */
export function waterfall(profile, label) {
  const { total, bars } = nodeBars(profile);
  return bars.length === 0 ? null : h("figure.waterfall", { "aria-label": label }, axis(total), h("ol", {}, bars.map(nodeRow)));
}

function nodeRow(bar) {
  const width = Math.max(bar.end - bar.start, 0.004);
  return h("li", { title: `${bar.label}: ${duration(bar.ms)}` },
    h("span.node-name.truncate", {}, bar.label, bar.className && bar.className !== bar.label && h("span.soft", {}, ` ${bar.className}`)),
    h("span.track", { "aria-hidden": "true" }, h("span", { class: `bar ${bar.running ? "running" : bar.slowest ? "slowest" : ""}`, css: { left: `${bar.start * 100}%`, width: `${width * 100}%` } })),
    h("span.numbers.node-time", {}, duration(bar.ms)));
}

function axis(total) {
  return h("div.axis", { "aria-hidden": "true" }, h("span"), h("span.track", {}, ticks(0, total, 4).map((ms) =>
    h("span.tick.numbers", { css: { left: `${(ms / total) * 100}%` } }, ms === 0 ? "0" : duration(ms)))), h("span"));
}
