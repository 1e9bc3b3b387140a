// <cg-plot>: lines or bars over time, drawn as SVG at the width that it has, with axes, the latest values, and the values at the pointer. Its words say the same.

import { h, replace, s, setText } from "../lib/dom.mjs";
import { areaPath, axisEnd, extent, linePath, lonePoints, nearest, scale, ticks, timeLabel, timeTicks, withGaps } from "../lib/plot.mjs";

const edge = { top: 10, right: 10, bottom: 22 };

class Plot extends HTMLElement {
  #data = null;
  #legend = h("ul.plot-legend");
  #at = h("span.plot-at");
  #field = h("div.plot-field");
  #pointed = null;
  #scales = null;
  #cursor = null;
  #watch = new ResizeObserver(() => this.#draw());

  connectedCallback() {
    this.#watch.observe(this.#field);
  }

  disconnectedCallback() {
    this.#watch.disconnect();
  }

  /** See `plot`. */
  show(data) {
    this.#data = data;
    if (!this.firstElementChild) {
      this.classList.add("plot");
      this.#field.addEventListener("pointermove", (event) => this.#point(event.offsetX));
      this.#field.addEventListener("pointerleave", () => this.#leave());
      this.append(h("div.plot-head", {}, h(data.heading ?? "h3", {}, data.label), this.#at), this.#legend, this.#field);
    }
    replace(this.#legend, data.series.map((line) => h("li", { class: `tone-${line.tone}` },
      data.series.length > 1 && h("span.sign", { "aria-hidden": "true" }), h("strong.numbers", {}, ""), h("span.soft", {}, line.note ?? (data.series.length > 1 ? line.label : "")))));
    this.#tell(null);
    this.#draw();
    if (this.#pointed !== null) this.#point(this.#pointed);
  }

  #draw() {
    const width = Math.round(this.#field.clientWidth);
    if (!this.#data || width < 60) return;
    const { series, from, to, height = 128, kind = "lines", format } = this.#data;
    const stacked = kind === "bars" ? series[0]?.points.map((_, index) => series.reduce((sum, { points }) => sum + (points[index][1] ?? 0), 0)) : null;
    const most = stacked ? Math.max(0, ...stacked) : Math.max(0, ...series.map(({ points }) => extent(points)?.most ?? 0));
    const top = this.#data.top ?? axisEnd(most, 3);
    const steps = ticks(0, top, 4).map((value) => ({ value, label: (this.#data.axis ?? format)(value) }));
    const left = Math.max(28, ...steps.map(({ label }) => label.length * 6.2 + 12));
    const x = scale([from, to], [left, width - edge.right]);
    const y = scale([0, top], [height - edge.bottom, edge.top]);
    this.#scales = { x, from, to, left, width };
    this.#cursor = s("line.cursor", { y1: edge.top, y2: height - edge.bottom, x1: -9, x2: -9 });
    const marks = kind === "bars" ? this.#bars(x, y) : series.map((line) => this.#line(line, x, y, height));
    replace(this.#field, s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.#words() },
      steps.map(({ value, label }) => [
        s("line.grid", { x1: left, x2: width - edge.right, y1: y(value), y2: y(value), class: value === 0 ? "base" : null }),
        s("text", { x: left - 7, y: y(value) + 3.5, "text-anchor": "end" }, label)]),
      timeTicks(from, to, Math.max(3, Math.floor(width / 110))).filter((at) => x(at) > left + 12 && x(at) < width - 27).map((at) =>
        s("text", { x: x(at), y: height - 6, "text-anchor": "middle" }, timeLabel(at, to - from))),
      marks, this.#cursor));
  }

  #line({ tone, points, dashed }, x, y, height) {
    const shown = points.filter(([at]) => at >= this.#data.from);
    const placed = withGaps(shown, this.#data.longest ?? Infinity).map((point) => point && [x(point[0]), y(point[1])]);
    const last = placed.findLast((point) => point);
    return s("g", { class: `tone-${tone}` },
      !dashed && s("path.area", { d: areaPath(placed, height - edge.bottom) }),
      s("path.line", { d: linePath(placed), class: dashed ? "dashed" : null }),
      lonePoints(placed).map(([cx, cy]) => s("circle.lone", { cx, cy, r: 2.5 })),
      last && s("circle.last", { cx: last[0], cy: last[1], r: 3.5 }));
  }

  #bars(x, y) {
    const { series, step } = this.#data;
    const wide = Math.max(2, x(step) - x(0) - (x(step) - x(0) > 6 ? 2 : 0.5));
    return series[0].points.map(([at], index) => {
      let base = 0;
      return series.map(({ tone, points }) => {
        const value = points[index][1] ?? 0;
        const bar = value > 0 && s("rect", { class: `bar tone-${tone}`, x: x(at), width: wide, y: y(base + value), height: Math.max(1.5, y(base) - y(base + value)), rx: Math.min(2, wide / 4) });
        base += value;
        return bar;
      });
    });
  }

  #point(offset) {
    this.#pointed = offset;
    if (!this.#scales) return;
    const { from, to, left, width, x } = this.#scales;
    const share = (offset - left) / (width - left - edge.right);
    const wished = from + Math.min(1, Math.max(0, share)) * (to - from) - (this.#data.step ?? 0) / 2;
    const best = this.#data.series.map(({ points }) => nearest(points, wished)).filter(Boolean).sort((one, other) => Math.abs(one[0] - wished) - Math.abs(other[0] - wished))[0];
    if (!best) return;
    const place = x(best[0] + (this.#data.step ?? 0) / 2);
    this.#cursor.setAttribute("x1", place);
    this.#cursor.setAttribute("x2", place);
    this.#tell(best[0]);
  }

  #leave() {
    this.#pointed = null;
    this.#cursor?.setAttribute("x1", -9);
    this.#cursor?.setAttribute("x2", -9);
    this.#tell(null);
  }

  /** The values at a time; without one the latest, or the totals of bars. */
  #tell(at) {
    const { series, format, kind, longest, step } = this.#data;
    const span = this.#data.to - this.#data.from;
    setText(this.#at, at === null ? this.#data.when ?? "now" : `${span > 2 * 86400_000 ? `${timeLabel(at, span)}, ` : ""}${timeLabel(at, 0)}`);
    [...this.#legend.children].forEach((item, index) => {
      const { points } = series[index];
      const value = at === null ? (kind === "bars" ? points.reduce((sum, [, one]) => sum + (one ?? 0), 0) : extent(points)?.last) : nearest(points, at, (longest ?? step ?? 60_000) / 2)?.[1];
      setText(item.querySelector("strong"), Number.isFinite(value) ? format(value) : "–");
    });
  }

  #words() {
    const { label, series, format, kind } = this.#data;
    const each = series.map(({ label: name, points }) => {
      const found = extent(points);
      if (!found) return `${name}: nothing measured`;
      if (kind === "bars") return `${name}: ${format(points.reduce((sum, [, value]) => sum + (value ?? 0), 0))} in all, at most ${format(found.most)} at once`;
      return `${name}: ${format(found.last)} last, between ${format(found.least)} and ${format(found.most)}`;
    });
    return `${label}. ${each.join(". ")}.`;
  }
}

customElements.define("cg-plot", Plot);

/**
 * A plot. `data`: `label`; `series`, each `{ label, tone, points: [[ms, value]], note, dashed }`; `from` and `to` in ms; `format(value)`; and where
 * wanted `axis(value)` for ticks, the `heading` (`h3` if absent), `top` of the axis, `longest` distance between points that a line bridges, `height`, `when` (what the latest
 * values are called), and `kind: "bars"` with the `step` of each bar, which are stacked. `show(data)` draws it anew.
 */
export function plot(data) {
  const element = h("cg-plot");
  element.show(data);
  return element;
}
