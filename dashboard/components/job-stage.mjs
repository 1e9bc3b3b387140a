// How far a living job is: its place in the queue, or percent, node, preview and time left. Redrawn from the job as events change it.

import { h, replace, setText } from "../lib/dom.mjs";
import { duration, whole } from "../lib/format.mjs";
import { icon } from "../lib/icons.mjs";
import { share } from "../lib/job-list.mjs";
import { waitingReason } from "../lib/states.mjs";
import { nodeWords } from "./job-card.mjs";
import { meter, setMeter } from "./parts.mjs";

/** `stage.update(job)` and `stage.preview(data)` change it; `stage.tick()` counts the time that is left down. */
export function jobStage() {
  const picture = h("div.stage-picture", {}, h("div.stage-wait", {}, icon("image")));
  const percent = h("strong.stage-percent.numbers");
  const bar = meter("Progress", 0, "blue");
  const line = h("p.stage-line", {});
  const left = h("p.soft.small.numbers");
  const spoken = h("p.visually-hidden", { role: "status" });
  const stage = h("div.stage-live", {}, picture, h("div.stage-words", {}, h("div.row.apart", {}, percent, left), bar, line), spoken);
  let ends = null;
  let preview = null;

  stage.update = (job) => {
    const done = share(job);
    bar.hidden = done === null;
    if (done !== null) setMeter(bar, done);
    setText(percent, headline(job, done));
    setText(line, secondLine(job));
    ends = Number.isFinite(job.eta_ms) ? Date.now() + job.eta_ms : null;
    stage.tick();
    // Every tenth is said aloud, not every step.
    setText(spoken, done === null ? headline(job, done) : `${Math.floor(done * 10) * 10} per cent`);
  };
  stage.tick = () => {
    const ms = ends === null ? null : ends - Date.now();
    setText(left, ms === null || ms < 0 ? "" : `about ${duration(Math.max(1_000, Math.round(ms / 1_000) * 1_000)).replace(".0", "")} left`);
  };
  stage.preview = ({ content_type: type, data_base64: data }) => {
    if (!type?.startsWith("image/")) return;
    if (!preview) {
      preview = h("img", { alt: "Preview of the picture in the making" });
      replace(picture, preview);
    }
    preview.src = `data:${type};base64,${data}`;
  };
  return stage;
}

function headline(job, done) {
  if (done !== null) return `${Math.round(done * 100)} %`;
  if (job.status === "submitted") return "Waits on its backend";
  return job.position ? `No. ${whole(job.position)} in the queue` : "In the queue";
}

function secondLine(job) {
  if (job.status === "queued") return waitingReason(job.waiting_reason);
  if (job.status === "submitted") return "The backend has it and begins when what it has before is done.";
  const node = nodeWords(job);
  const nodes = job.nodes_total && job.node ? `node ${Math.min((job.nodes_done ?? 0) + 1, job.nodes_total)} of ${job.nodes_total}` : "";
  return [node, nodes].filter(Boolean).join(", ");
}
