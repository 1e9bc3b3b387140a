// One job in the gallery: its picture or how far it is, its state, and where it leads. The card stays and is redrawn when its job changes.

import { h, replace, setText } from "../lib/dom.mjs";
import { duration, plural, shortId } from "../lib/format.mjs";
import { sentBody } from "../lib/history.mjs";
import { icon } from "../lib/icons.mjs";
import { share, thumbnail } from "../lib/job-list.mjs";
import { makeHash } from "../lib/router.mjs";
import { deliveryState, isFinal, jobState, waitingReason } from "../lib/states.mjs";
import { badge, meter, setMeter, words } from "./parts.mjs";
import { timeAgo } from "./time-ago.mjs";

/** Makes the card; `card.update(job)` redraws it. */
export function jobCard(job) {
  const picture = h("div.job-picture");
  const words = h("div.job-words");
  const link = h("a.job-card.card", { href: makeHash("jobs", job.prompt_id) }, picture, words);
  const card = h("li.job-cell", {}, link);
  let bar = null;
  let drawn = "";
  card.update = (next) => {
    const key = JSON.stringify([next.status, next.thumbnail_url, next.outputs, next.error, next.position, next.waiting_reason, next.delivery, next.tenant, next.ended_at, next.started_at]);
    if (key !== drawn) {
      bar = next.status === "running" ? meter(`Progress of job ${shortId(next.prompt_id)}`, 0, "blue") : null;
      replace(picture, pictureOf(next, bar));
      replace(words, wordsOf(next));
      drawn = key;
    }
    if (bar) drawProgress(card, bar, next);
  };
  card.update(job);
  return card;
}

function pictureOf(job, bar) {
  // An output can be fetched once its job has ended.
  const source = isFinal(job.status) ? thumbnail(job, devicePixelRatio > 1.25 ? 512 : 256) : null;
  if (source) {
    const image = h("img", { src: source, alt: "", loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => image.replaceWith(placeholder("image")));
    const more = job.outputs > 1 && h("span.job-count", {}, `${job.outputs}`, h("span.visually-hidden", {}, " outputs"), icon("jobs", "s"));
    return [image, more];
  }
  if (bar) return h("div.job-progress", {}, h("span.job-percent.numbers", {}), bar, h("span.job-node.truncate"));
  if (job.status === "failed") return h("div.job-fault", {}, icon("warn"), h("code", {}, job.code ?? "failed"), h("span", {}, words(job.error ?? "")));
  if (!isFinal(job.status)) return h("div.job-waiting", {}, icon("clock"), h("span", {}, waitWords(job)));
  return placeholder(job.status === "cancelled" ? "stop" : "file");
}

function drawProgress(card, bar, job) {
  const done = share(job) ?? 0;
  setMeter(bar, done);
  setText(card.querySelector(".job-percent"), `${Math.round(done * 100)} %`);
  for (const place of card.querySelectorAll(".job-node, .job-note")) setText(place, nodeWords(job));
}

function wordsOf(job) {
  const state = jobState(job.status);
  const delivery = job.delivery && job.delivery !== "delivered" ? deliveryState(job.delivery) : null;
  const length = isFinal(job.status) && job.timing?.run_ms > 0 ? duration(job.timing.run_ms) : "";
  const prompt = sentBody(job.prompt_id)?.prompt;
  return [
    h("div.row.apart", {}, h("strong.truncate", {}, job.workflow), badge(state.label, state.tone, state)),
    prompt && h("div.job-prompt.truncate", {}, prompt),
    h("div.job-line", {}, timeAgo(job.created_at), length && h("span", {}, `ran ${length}`), h("span.mono", { title: job.prompt_id }, shortId(job.prompt_id)), job.tenant && h("span.tag", {}, job.tenant)),
    delivery && h("div", {}, badge(delivery.label, delivery.tone)),
    // Said in the picture already; the list, whose pictures are small, shows it here.
    h("div.job-note.truncate", { "aria-hidden": "true" }, job.status === "failed" ? words(job.error ?? "") : isFinal(job.status) ? null : waitWords(job)),
  ];
}

const placeholder = (iconName) => h("div.job-waiting", {}, icon(iconName));

function waitWords(job) {
  if (job.status === "submitted") return "In the backend's queue";
  const place = job.position ? `No. ${job.position} in the queue` : "In the queue";
  const why = waitingReason(job.waiting_reason);
  return why ? `${place}: ${why}` : place;
}

/** `Sampler 12/20`, or how many nodes are done. */
export function nodeWords(job) {
  const name = job.node?.title ?? job.node?.class_type;
  if (name) return job.max > 1 ? `${name} ${job.value}/${job.max}` : name;
  return job.nodes_total ? `${job.nodes_done ?? 0} of ${plural(job.nodes_total, "node")}` : "";
}
