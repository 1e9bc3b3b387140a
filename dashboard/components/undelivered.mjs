// The webhooks that did not arrive, the newest first: where each should have gone and why it did not, and buttons that send one or all of them again.

import { get, post } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { plural, shortId } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { makeHash } from "../lib/router.mjs";
import { attemptWords } from "../lib/timeline.mjs";
import { confirm } from "./dialogs.mjs";
import { badge, faultNotice, loading } from "./parts.mjs";
import { timeAgo } from "./time-ago.mjs";
import { toast } from "./toasts.mjs";

const portion = 25;

/** `changed()` is called after something was sent again. The element has `refresh()` and `sendAll(host)`. */
export function undelivered(changed, signal) {
  const list = h("ul.undelivered", { hidden: true });
  const below = h("div.stack", {}, loading("Loading what did not arrive", 3));
  const fault = h("div");
  const all = h("button.button", { type: "button", hidden: true, onclick: () => sendAll() }, icon("again", "s"), "Send all again");
  const heading = h("h2", { id: "lost", tabindex: "-1" }, "Could not be delivered");
  const rows = new Map();
  let pages = 1;

  /** As many pages as were open, so that what was sent again goes from the list and what is new comes in. */
  async function load() {
    try {
      const found = [];
      let cursor = null;
      for (let page = 0; page < pages; page += 1) {
        const query = new URLSearchParams({ state: "undeliverable", limit: portion, ...(cursor ? { cursor } : {}) });
        const answer = await get(`/deliveries?${query}`, { signal, quiet: rows.size > 0 });
        found.push(...answer.deliveries);
        cursor = answer.next_cursor ?? null;
        if (!cursor) break;
      }
      draw(found, cursor);
    } catch (error) {
      if (error.name !== "AbortError") replace(below, faultNotice(error, load));
    }
  }

  function draw(found, cursor) {
    const ids = new Set(found.map(({ id }) => id));
    let focus = null;
    for (const [id, row] of rows) {
      if (ids.has(id)) continue;
      // Whoever works through the list by keyboard goes on with the next one.
      if (row.element.contains(document.activeElement)) focus = [...list.children].indexOf(row.element);
      row.element.remove();
      rows.delete(id);
    }
    found.forEach((delivery, index) => {
      const key = `${delivery.attempt_count} ${delivery.replays}`;
      if (rows.get(delivery.id)?.key !== key) {
        rows.get(delivery.id)?.element.remove();
        rows.set(delivery.id, { key, element: item(delivery) });
      }
      const { element } = rows.get(delivery.id);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    if (focus !== null) (list.children[Math.min(focus, list.children.length - 1)]?.querySelector("button") ?? heading).focus();
    list.hidden = found.length === 0;
    all.hidden = found.length === 0;
    if (found.length === 0) replace(below, h("p.soft.nothing-lost", {}, icon("check", "s"), "Nothing is lost. Webhooks that cannot be delivered are kept here, and can be sent again."));
    else replace(below, cursor && h("button.button", { type: "button", class: "more", onclick: () => { pages += 1; load(); } }, icon("more", "s"), "Show older ones"));
  }

  function item(delivery) {
    const { prompt_id: job, url, attempt_count: count, replays, ended_at: ended, created_at: created, last_status: status, last_code: code, tenant } = delivery;
    const wrong = h("div");
    const button = h("button.button.small", { type: "button", "aria-label": `Send again: the webhook of job ${shortId(job)}` }, icon("again", "s"), "Send again");
    button.addEventListener("click", async () => {
      if (button.hasAttribute("aria-disabled")) return;
      button.setAttribute("aria-disabled", "true");
      try {
        await post(`/jobs/${encodeURIComponent(job)}/deliveries/${encodeURIComponent(delivery.id)}/replay`);
        toast("The webhook is sent again.");
        changed();
      } catch (error) {
        replace(wrong, faultNotice(error));
        button.removeAttribute("aria-disabled");
      }
    });
    return h("li", {},
      h("div.lost-words", {},
        h("p.lost-url", {}, h("code.truncate", { title: url }, url)),
        h("p.small.soft", {}, "Job ", h("a", { href: makeHash("jobs", job) }, shortId(job)), tenant && ` of ${tenant}`, " · given up ", timeAgo(ended ?? created), ` · ${plural(count, "attempt")}`, replays > 0 && `, begun anew ${plural(replays, "time")}`), wrong),
      badge(attemptWords({ status, code }), "red"), button);
  }

  async function sendAll(host) {
    const what = host ? `Everything to ${host} that did not arrive` : "Everything that did not arrive";
    if (!(await confirm({ title: host ? `Send all to ${host} again?` : "Send all again?", text: `${what} is sent again, with the same bytes under the same webhook-id, and its schedule begins anew. Receivers that got one before can tell by the id.`, action: "Send all again" }))) return;
    replace(fault);
    try {
      const { replayed } = await post("/deliveries/replay", { state: "undeliverable", ...(host ? { host } : {}) });
      toast(`${plural(replayed, "webhook")} ${replayed === 1 ? "is" : "are"} sent again.`);
      changed();
    } catch (error) {
      replace(fault, faultNotice(error));
    }
  }

  load();
  return Object.assign(h("section.stack", { "aria-labelledby": "lost" },
    h("div.row.apart", {}, heading, all), fault, list, below), { refresh: load, sendAll });
}
