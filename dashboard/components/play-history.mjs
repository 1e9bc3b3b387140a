// The jobs that this browser has sent, as small pictures: pressing one shows it again, with what was asked for.

import { outputPath } from "../lib/api.mjs";
import { h, replace } from "../lib/dom.mjs";
import { forgetHistory, history } from "../lib/history.mjs";
import { icon } from "../lib/icons.mjs";
import { timeAgo } from "./time-ago.mjs";

/** `list.update(currentId)` draws it anew; `onChoose(entry)` is told which one was pressed. */
export function playHistory(onChoose) {
  const section = h("section.stack.tight", { "aria-labelledby": "sent-here" });
  const update = (current) => {
    const entries = history();
    section.hidden = entries.length === 0;
    const forget = h("button.button.small.quiet", { type: "button", onclick: () => { forgetHistory(); update(current); } }, "Forget");
    replace(section, h("div.row.apart", {}, h("h2", { id: "sent-here" }, "Sent from here"), forget), h("ul.history", {}, entries.map((entry) => item(entry, current))));
  };
  const item = (entry, current) => {
    const picture = h("span.history-picture", {}, icon("image"));
    if (entry.picture !== undefined) {
      const image = h("img", { src: outputPath(entry.id, entry.picture, 256), alt: "", loading: "lazy" });
      image.addEventListener("error", () => replace(picture, icon("image")));
      replace(picture, image);
    } else if (entry.failed) replace(picture, icon("warn"));
    return h("li", {}, h("button", { type: "button", "aria-current": entry.id === current ? "true" : null, onclick: () => onChoose(entry) },
      picture, h("span.history-words", {}, h("span.truncate", {}, String(entry.body.prompt ?? entry.workflow)), h("span.soft.small.truncate", {}, entry.workflow, " · ", timeAgo(entry.at)))));
  };
  update(null);
  return Object.assign(section, { update });
}
