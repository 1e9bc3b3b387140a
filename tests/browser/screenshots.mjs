// Draws docs/images/dashboard anew: a gateway with simulated ComfyUI servers is filled with jobs, and every view is photographed.
// Needs pngquant besides what the tests need.

import { spawnSync } from "node:child_process";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { withAgent } from "./support/agent.mjs";
import { desk, go, inPage, live, phone, settled, startBrowser } from "./support/browser.mjs";
import { startHouse, startSim } from "./support/house.mjs";
import { scratch } from "./support/processes.mjs";
import { startReceiver } from "./support/receiver.mjs";
import { repaint, slow } from "./support/workflows.mjs";

const images = join(dirname(fileURLToPath(import.meta.url)), "../../docs/images/dashboard");
process.env.COMFYGATE = resolve(process.argv[2] ?? process.env.COMFYGATE ?? "");
mkdirSync(images, { recursive: true });

const folder = scratch();
const sims = await Promise.all(["60ms", "90ms", "60ms"].map((step) => startSim(step, folder.path)));
const gpu = (base, swing, name) => (count) => [{
  name, memory_used_mb: Math.round(24_564 * (base + swing * Math.abs(Math.sin(count / 5)))), utilization_percent: Math.round(60 + 38 * Math.abs(Math.sin(count / 3))), temperature_c: Math.round(52 + 19 * Math.abs(Math.sin(count / 9))),
}];
const agents = [await withAgent(sims[0], gpu(0.5, 0.35, "NVIDIA GeForce RTX 4090")), await withAgent(sims[1], gpu(0.3, 0.25, "NVIDIA GeForce RTX 3090"))];
const file = join(folder.path, "backends.yaml");
writeFileSync(file, JSON.stringify([
  { name: "atelier", url: agents[0].url, tags: ["flux", "24gb"] }, { name: "studio", url: agents[1].url, tags: ["24gb"] }, { name: "attic", url: sims[2].url },
]));
const house = await startHouse({
  backends: [], workflows: { detail: slow(30), negative: repaint },
  settings: { COMFYGATE_BACKENDS_FILE: file, COMFYGATE_AGENT_EVERY: "1s", COMFYGATE_WEBHOOK_SCHEDULE: "100ms", COMFYGATE_BACKEND_QUEUE: "1" },
});
const [shop, archive] = await Promise.all([startReceiver(), startReceiver()]);
const browser = await startBrowser();
try {
  await photograph(await fill());
} finally {
  await Promise.all([browser.close(), house.close(), shop.close(), archive.close()]);
  await Promise.all([...agents, ...sims].map((one) => one.close?.() ?? one.stop()));
  folder.remove();
}

/** Jobs that ended well and badly, with and without webhooks, then some that run and wait. */
async function fill() {
  archive.status = 503;
  archive.words = "we are moving house";
  const ended = [];
  const add = async (...job) => ended.push(await paint(...job));
  await add("starter", "a lighthouse above a sea of clouds", { metadata: { order: 4711 } });
  await add("flux", "pine forest in the first snow", { width: 768, height: 512 });
  await add("starter", "a monastery in the mountains at dusk", { webhook_url: archive.url.replace("127.0.0.1", "localhost") });
  await add("flux", "a red desert under two moons");
  await add("starter", "a fjord in the morning mist", { image_count: 3, metadata: { order: 4712 } });
  await add("starter", "rice terraces after the rain", { sampler: "eulr" });
  await add("flux", "a valley full of lavender", { width: 512, height: 768 });
  await add("starter", "an island at the edge of the map", { width: 768, height: 512 });
  await add("flux", "the last sun over a frozen lake");
  await Promise.all(ended.map((id) => house.end(id)));
  await house.call("POST", `/jobs/${await paint("detail", "a town that nobody wanted")}/cancel`);
  const fine = await paint("starter", "a village between the dunes, late light", { image_count: 2, steps: 14, metadata: { order: 4713, customer: "Ada" } });
  await house.end(fine);
  await house.until("every webhook", async () => (await house.call("GET", "/deliveries?state=pending")).deliveries.length === 0);
  await sims[2].stop();
  return { fine, failed: ended[5] };
}

/** Two servers that are at work, and a queue before them. The first job is the one to look at. */
async function busy() {
  const running = await paint("detail", "a glacier that meets the sea");
  await paint("detail", "an observatory above the tree line");
  await paint("flux", "a canyon at noon");
  return running;
}

function paint(workflow, prompt, more) {
  return house.send({ workflow, prompt, width: 640, height: 640, ...(workflow !== "detail" && { steps: 8 }), webhook_url: shop.url, ...more });
}

async function photograph({ fine, failed }) {
  const far = (page, percent) => page.waitForFunction((least) => Number(document.querySelector("main [role=progressbar]")?.getAttribute("aria-valuenow") ?? 0) >= least, percent, { timeout: 60_000 });
  const shots = [
    ["jobs", "#/jobs", { dark: true, before: (page) => far(page, 52) }], ["job-running", null, { before: async (page) => { await far(page, 66); await page.getByRole("img", { name: /^Preview/ }).waitFor(); } }],
    ["job", `#/jobs/${fine}`, { dark: true }], ["job-failed", `#/jobs/${failed}`, {}], ["workflows", "#/workflows", {}], ["workflow", "#/workflows/flux", { before: (page) => page.getByRole("img", { name: /^Graph of/ }).waitFor() }],
    ["backends", "#/backends", {}], ["webhooks", "#/webhooks", {}],
    ["playground", "#/playground/starter", { before: play }],
  ];
  for (const [size, suffix] of [[desk, ""], [phone, "-phone"]]) {
    for (const theme of ["light", "dark"]) {
      await inPage(browser, house, { size, theme, allow: ["404"] }, async (page) => {
        await page.route("**/vitals", stretched);
        await page.route("**/webhooks/summary*", fuller);
        await live(page);
        const running = await busy();
        for (const [name, hash, { dark, before }] of shots) {
          if (theme === "dark" && !dark) continue;
          await go(page, hash ?? `#/jobs/${running}`);
          await before?.(page);
          await settled(page);
          await shoot(page, `${name}${suffix}${theme === "dark" ? "-dark" : ""}`);
        }
        for (const { prompt_id: id } of (await house.call("GET", "/jobs?status=running")).jobs) await house.call("POST", `/jobs/${id}/cancel`);
        await house.until("an idle queue", async () => { const { queued, submitted, running: left } = await house.call("GET", "/queue"); return queued + submitted + left === 0; });
      });
    }
  }
}

/** An hour of numbers is not waited for: those of this minute are spread over it. */
async function stretched(route) {
  const answer = await route.fetch();
  const vitals = await answer.json();
  const { length } = vitals.samples;
  const now = Date.now();
  vitals.samples.forEach((sample, place) => { sample.at = new Date(now - ((length - 1 - place) / length) * 3_500_000).toISOString(); });
  vitals.every_seconds = Math.ceil(3_600 / length);
  await route.fulfill({ response: answer, json: vitals });
}

/** A day of webhooks is not waited for either: the hours before are made up. */
async function fuller(route) {
  const answer = await route.fetch();
  const summary = await answer.json();
  summary.buckets.slice(0, -1).forEach((bucket, place) => {
    const wave = 1 + Math.sin(place / 4);
    const failed = place % 9 === 4 ? 2 : 0;
    Object.assign(bucket, { delivered: Math.round(14 + 22 * wave), failed, latency_ms: { p50: 38 + 6 * wave + (place % 3), p95: 120 + 60 * wave + 9 * (place % 4) } });
  });
  summary.delivered = summary.buckets.reduce((sum, { delivered }) => sum + delivered, 0);
  summary.undeliverable = summary.buckets.reduce((sum, { failed }) => sum + failed, 0);
  summary.success_rate = summary.delivered / (summary.delivered + summary.undeliverable);
  for (const host of summary.hosts) if (host.delivered) host.delivered = summary.delivered;
  await route.fulfill({ response: answer, json: summary });
}

async function play(page) {
  await page.getByRole("textbox", { name: "Prompt", exact: true }).fill("a paper boat on a quiet river");
  await page.getByRole("textbox", { name: "Steps" }).fill("6");
  await page.getByRole("button", { name: "Generate" }).click();
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("Succeeded").waitFor({ timeout: 120_000 });
  await result.getByRole("img").first().waitFor();
  await page.evaluate(() => scrollTo(0, 0));
}

async function shoot(page, name) {
  await page.evaluate(() => Promise.all([...document.images].filter((image) => image.getBoundingClientRect().top < innerHeight).map((image) => image.decode().catch(() => null))));
  const path = join(images, `${name}.png`);
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  const { error, status } = spawnSync("pngquant", ["--force", "--skip-if-larger", "--speed", "1", "--quality", "0-90", "--output", path, "--", path]);
  // 98: it would have become larger, so it stays as it was.
  if (error || ![0, 98].includes(status)) throw error ?? new Error(`pngquant ended with ${status}`);
  console.log(`${name}.png, ${Math.round(statSync(path).size / 1024)} kB`);
}
