// A job's webhook: where it goes, how it stands, every attempt on a line of time and in a table, and a button to send it again.

import { get, post } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { duration, moment, plural } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { deliveryState } from "../lib/states.mjs";
import { attemptDots, attemptWords } from "../lib/timeline.mjs";
import { dataTable } from "./data-table.mjs";
import { badge, faultNotice, loading } from "./parts.mjs";
import { timeAgo } from "./time-ago.mjs";
import { toast } from "./toasts.mjs";

/** Fetches the deliveries of a job that has ended, and goes on asking while one is on its way. */
export function deliveryLog(id, signal) {
  const place = h("div.stack", {}, loading("Loading the webhook", 2));
  let again = null;
  let drawn = null;
  signal.addEventListener("abort", () => clearTimeout(again));

  async function load() {
    try {
      const { deliveries } = await get(`/jobs/${encodeURIComponent(id)}/deliveries`, { signal, quiet: true });
      const text = JSON.stringify(deliveries);
      if (text !== drawn) replace(place, deliveries.length ? deliveries.map((delivery) => draw(delivery)) : h("p.soft", {}, "This job named no webhook_url, so nobody is told of its end. Its result stays here."));
      drawn = text;
      clearTimeout(again);
      if (deliveries.some(({ state }) => state === "pending")) again = setTimeout(load, 3_000);
    } catch (error) {
      if (error.name === "AbortError") return;
      drawn = null;
      replace(place, faultNotice(error, load));
    }
  }

  async function replay(delivery, button, fault) {
    button.disabled = true;
    try {
      await post(`/jobs/${encodeURIComponent(id)}/deliveries/${encodeURIComponent(delivery.id)}/replay`);
      toast("The webhook is sent again.");
      await load();
    } catch (error) {
      replace(fault, faultNotice(error));
    }
    button.disabled = false;
  }

  function draw(delivery) {
    const state = deliveryState(delivery.state);
    const fault = h("div");
    const button = h("button.button.small", { type: "button", onclick: () => replay(delivery, button, fault) }, icon("again", "s"), delivery.state === "pending" ? "Send now" : "Send again");
    const attempts = delivery.attempts ?? [];
    return h("div.stack", {},
      h("div.row.apart", {}, h("div.row", {}, badge(state.label, state.tone), h("code.small", {}, delivery.url)), button),
      h("p.small.soft", {}, `${plural(delivery.attempt_count, "attempt")}${delivery.replays ? `, begun anew ${plural(delivery.replays, "time")}` : ""}. `,
        delivery.state === "pending" && delivery.next_attempt_at && ["The next one is due ", timeAgo(delivery.next_attempt_at), "."]),
      fault,
      attempts.length > 0 && dots(delivery),
      attempts.length > 0 && dataTable({
        caption: "Attempts", hideCaption: true, rows: attempts,
        columns: [
          { label: "No.", cell: (attempt) => String(attempt.number) },
          { label: "When", cell: (attempt) => h("span.nowrap", {}, moment(attempt.started_at, Date.now())) },
          { label: "Took", number: true, cell: (attempt) => duration(attempt.duration_ms) },
          { label: "Outcome", cell: (attempt) => badge(attemptWords(attempt), attempt.code === null ? "green" : "red") },
          { label: "Words", cell: (attempt) => h("span.attempt-words", {}, attempt.error ?? attempt.answer ?? "") },
        ],
      }));
  }

  load();
  return place;
}

function dots(delivery) {
  const line = attemptDots(delivery);
  const spoken = line.dots.map(({ number, after, label }) => `attempt ${number} after ${duration(after)} ${label}`).join(", ");
  return h("figure.attempt-line", { role: "img", "aria-label": `From the end of the job: ${spoken}.` },
    h("span.rail-line"),
    line.dots.map(({ at, good, number }) => h("span", { class: `dot ${good ? "good" : "bad"}`, css: { left: `${at * 100}%` }, title: `Attempt ${number}` })),
    line.next && h("span.dot.next", { css: { left: `${line.next.at * 100}%` }, title: "Due" }),
    h("span.from", {}, "end of the job"), h("span.to.numbers", {}, `+ ${duration(line.total)}`));
}
