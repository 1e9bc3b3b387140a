// The small pieces that every view is built from: badges, notices of errors, empty states, meters, heads of pages.

import { h } from "../lib/dom.mjs";
import { icon } from "../lib/icons.mjs";

/** A word with a tone: grey, blue, green, red, amber, violet, accent. */
export function badge(label, tone = "grey", { lively = false, plain = false } = {}) {
  return h("span.badge", { class: `tone-${tone}${lively ? " lively" : ""}${plain ? " plain" : ""}` }, label);
}

/** The head of a view: title, a line below it, and what can be done on the right. The title takes the focus when the view opens. */
export function pageHead(title, line, ...actions) {
  return h("div.page-head", {}, h("div", {}, h("h1", { tabindex: "-1" }, title), line && h("p", {}, line)), actions.length > 0 && h("div.row", {}, actions));
}

/** The way back to the list above. */
export function crumb(href, label) {
  return h("nav.crumb", { "aria-label": "Back" }, h("a", { href }, icon("back", "s"), label));
}

/** Something to know, in place. `tone` red speaks at once to screen readers, others when there is a pause. */
export function notice(tone, title, text, ...more) {
  const signs = { red: "warn", amber: "warn", green: "check" };
  return h("div.notice", { class: `tone-${tone}`, role: tone === "red" ? "alert" : "status" },
    icon(signs[tone] ?? "info"),
    h("div.body", {}, title && h("strong", {}, title), text && h("span.mend", {}, text), more));
}

/** A call that was refused, in the server's words, with its code, and a button to try again where there is something to try. */
export function faultNotice(error, retry) {
  const code = error.code && error.code !== "offline" ? h("code", {}, error.code) : null;
  return notice("red", null, words(error.message), code && h("span", {}, "Code ", code),
    retry && h("div", {}, h("button.button.small", { type: "button", onclick: retry }, icon("again", "s"), "Try again")));
}

/** Nothing here yet, and how to begin. */
export function empty(iconName, title, text, ...actions) {
  return h("div.empty", {}, icon(iconName), h("h2", {}, title), text && h("p", {}, text), actions.length > 0 && h("div.row", {}, actions));
}

/** A sentence in which `words between backticks` become code, as the gateway writes them, and which begins large unless it begins with a path or an address. */
export function words(text) {
  const sentence = String(text ?? "").replace(/^[a-z](?=[a-z']*[ ,])/, (letter) => letter.toUpperCase());
  return h("span", {}, sentence.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part)));
}

/** A bar of progress; set it with `setMeter`. */
export function meter(label, share, tone = "accent") {
  const bar = h("span.meter", { role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", class: `tone-${tone}` }, h("span"));
  setMeter(bar, share);
  return bar;
}

export function setMeter(bar, share) {
  const value = Math.round(Math.min(1, Math.max(0, share ?? 0)) * 100);
  bar.setAttribute("aria-valuenow", String(value));
  bar.firstElementChild.style.setProperty("width", `${value}%`);
}

/** Terms and what they are; entries whose value is empty are left out. */
export function facts(entries) {
  return h("dl.facts", {}, entries
    .filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false)
    .map(([term, value]) => [h("dt", {}, term), h("dd", {}, value)]));
}

/** Grey bars while something is fetched. */
export function loading(label = "Loading", lines = 3) {
  return h("div.stack.tight", { role: "status", "aria-label": label }, Array.from({ length: lines }, () => h("div.skeleton")));
}
