// Webhooks: how many arrived and how fast, by host, and those that did not arrive, to be sent again.

import { dataTable } from "../components/data-table.mjs";
import { badge, empty, faultNotice, loading, meter, notice, pageHead, setMeter } from "../components/parts.mjs";
import { plot } from "../components/plot.mjs";
import { undelivered } from "../components/undelivered.mjs";
import { get } from "../lib/api.mjs";
import { h, replace, setText } from "../lib/dom.mjs";
import { duration, percent, plural, whole } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { keep, recall } from "../lib/keep.mjs";
import { repeat } from "../lib/repeat.mjs";
import { isFinal } from "../lib/states.mjs";
import { hostRows, rateTone, rateWords, summaryLines } from "../lib/webhook-words.mjs";

const spans = [[1, "1 hour"], [24, "1 day"], [168, "7 days"]];

export function view(route, app) {
  const { signal } = route;
  let hours = spans.some(([each]) => each === recall("webhook_hours", 24)) ? recall("webhook_hours", 24) : 24;
  const fault = h("div");
  const overview = overviewCard();
  const hosts = h("div");
  const lost = undelivered(changed, signal);
  let hostsDrawn = "";

  async function load() {
    try {
      const summary = await get(`/webhooks/summary?hours=${hours}`, { signal, quiet: overview.filled() });
      replace(fault, summary.partial && notice("amber", null, "There were more jobs in this time than are looked at, so these are the numbers of the newest."));
      overview.show(summary, Date.now());
      const rows = hostRows(summary.hosts);
      if (hostsDrawn === JSON.stringify(rows)) return;
      hostsDrawn = JSON.stringify(rows);
      replace(hosts, rows.length > 0 && hostSection(rows, lost.sendAll));
    } catch (error) {
      if (error.name === "AbortError") return;
      replace(fault, faultNotice(error, () => watch.now()));
      overview.element.hidden = !overview.filled();
    }
  }

  /** Receivers answer in moments, so what was sent again is looked at twice. */
  function changed() {
    for (const wait of [300, 3_000, 8_000]) {
      const timer = setTimeout(() => { watch.now(); lost.refresh(); }, wait);
      signal.addEventListener("abort", () => clearTimeout(timer));
    }
  }

  const chips = spans.map(([each, label]) => h("button.chip", { type: "button", "aria-pressed": String(each === hours), onclick: () => choose(each) }, label));
  function choose(next) {
    hours = next;
    keep("webhook_hours", next);
    chips.forEach((chip, index) => chip.setAttribute("aria-pressed", String(spans[index][0] === next)));
    watch.now();
  }

  const watch = repeat(load, () => 15_000, signal);
  let soon = null;
  app.live.on("status", ({ status, will_retry: again }) => {
    if (!isFinal(status) || again) return;
    soon ??= setTimeout(() => { soon = null; watch.now(); lost.refresh(); }, 2_500);
  }, signal);
  app.live.on("resync", () => { watch.now(); lost.refresh(); }, signal);
  signal.addEventListener("abort", () => clearTimeout(soon));
  return h("div", {},
    pageHead("Webhooks", "Whether receivers were told, and how fast they answered.", h("div.chips", { role: "group", "aria-label": "Time" }, chips)),
    h("div.stack.wide", {}, h("div.stack", {}, fault, overview.element), hosts, lost));
}

/** The rate, the counts and the two plots; `show(summary, now)` fills them. */
function overviewCard() {
  const place = h("div.stack", {}, h("div.card.pad", {}, loading("Loading the webhooks", 6)));
  const rate = h("dd.rate-number");
  const sentence = h("p.soft.small", { role: "status" });
  const bar = meter("Webhooks that arrived", 0, "green");
  const numbers = Object.fromEntries(["delivered", "pending", "gone", "undeliverable"].map((name) => [name, h("dd", {}, "")]));
  const labels = { delivered: "delivered", pending: "on their way", gone: "not wanted any more", undeliverable: "could not be delivered" };
  const nothing = empty("webhooks", "No webhook in this time", "A job that names a webhook_url has its end told there. How that went appears here.");
  const drawings = h("div.grid.webhook-plots");
  let plots = null;

  function build() {
    replace(place,
      h("section.card.pad.rate-card", { "aria-label": "Summary" },
        h("div.stack.tight.rate", {}, h("dl", {}, h("dt.small.soft", {}, "Arrived"), rate), bar, sentence),
        h("dl.figures", {}, Object.entries(labels).map(([name, label]) => h("div", {}, h("dt", {}, label), numbers[name])))),
      drawings, nothing);
    replace(drawings, h("section.card.pad", {}, plots.took), h("section.card.pad", {}, plots.counts));
  }

  return {
    element: place,
    filled: () => plots !== null,
    show(summary, now) {
      place.hidden = false;
      const lines = summaryLines(summary, now);
      const both = { from: lines.from, to: lines.to, step: lines.step, height: 190, heading: "h2" };
      const took = {
        ...both, step: 0, label: "Time to answer", longest: lines.step * 3.5, format: duration, axis: duration, when: "latest",
        series: [{ label: "half of them within", note: "half within", tone: "blue", points: lines.half }, { label: "95 % within", note: "95 % within", tone: "accent", points: lines.most }],
      };
      const counts = {
        ...both, kind: "bars", label: "Webhooks that ended", format: whole, when: "in all",
        series: [{ label: "delivered", tone: "green", points: lines.delivered }, { label: "failed", tone: "red", points: lines.failed }],
      };
      if (plots) {
        plots.took.show(took);
        plots.counts.show(counts);
      } else {
        plots = { took: plot(took), counts: plot(counts) };
        build();
      }
      const any = lines.delivered.concat(lines.failed).some(([, count]) => count > 0);
      drawings.hidden = !any;
      nothing.hidden = any;
      setText(rate, Number.isFinite(summary.success_rate) ? percent(summary.success_rate) : "–");
      setText(sentence, rateWords(summary));
      for (const tone of ["grey", "green", "amber", "red"]) bar.classList.toggle(`tone-${tone}`, tone === rateTone(summary.success_rate));
      setMeter(bar, summary.success_rate ?? 0);
      for (const [name, cell] of Object.entries(numbers)) setText(cell, whole(summary[name]));
      numbers.undeliverable.classList.toggle("some", summary.undeliverable > 0);
    },
  };
}

function hostSection(rows, sendAll) {
  return h("section.stack", { "aria-labelledby": "hosts" }, h("h2", { id: "hosts" }, "Receivers"),
    dataTable({
      caption: "Webhooks by host", hideCaption: true, rows,
      columns: [
        { label: "Host", cell: ({ host }) => h("span.host", {}, host) },
        { label: "Arrived", number: true, cell: (row) => (row.rate === null ? "–" : badge(percent(row.rate), rateTone(row.rate))) },
        { label: "Delivered", number: true, cell: (row) => whole(row.delivered) },
        { label: "On their way", number: true, cell: (row) => whole(row.pending) },
        { label: "Not wanted", number: true, cell: (row) => whole(row.gone) },
        { label: "Failed", number: true, cell: (row) => whole(row.undeliverable) },
        { label: "Again", hideLabel: true, number: true, cell: (row) => row.undeliverable > 0 && h("button.button.small", { type: "button", "aria-label": `Send again: ${plural(row.undeliverable, "webhook")} to ${row.host}`, onclick: () => sendAll(row.host) }, icon("again", "s"), "Send again") },
      ],
    }));
}
