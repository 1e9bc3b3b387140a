// Hostile text, wherever text from outside can stand: it is shown as it is, and nothing of it is ever run.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { withAgent } from "../support/agent.mjs";
import { go, inPage, live, settled, startBrowser } from "../support/browser.mjs";
import { startHouse, startSim } from "../support/house.mjs";
import { scratch } from "../support/processes.mjs";
import { startReceiver } from "../support/receiver.mjs";

const image = "<img src=x onerror=window.hacked=1>";
const text = `<script>window.hacked=1</script>${image}`;

const hostile = {
  template: {
    1: { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 255 }, _meta: { title: `first ${text}` } },
    2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: image }, _meta: { title: `last ${text}` } },
    3: { class_type: "PrimitiveStringMultiline", inputs: { value: text }, _meta: { title: text } },
  },
  config: {
    description: `described ${text}`,
    node_mappings: { prompt: { node_id: "3", property: "value", description: `takes ${text}` }, color: { node_id: "1", property: "color", default: 255, min: 0, max: 16_777_215 } },
    outputs: ["2"],
  },
};
const strange = {
  template: { 1: { class_type: `Class ${text}`, inputs: { note: text }, _meta: { title: text } }, 2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } } },
  config: { description: "of a class that there is not", node_mappings: { note: { node_id: "1", property: "note", description: "a note" } } },
};
const broken = { template: hostile.template, config: { node_mappings: { [text]: { node_id: text, property: text } } } };

const folder = scratch();
const sim = await startSim("10ms", folder.path);
const agent = await withAgent(sim, () => [{ name: `GPU ${text}`, memory_used_mb: 1_000, utilization_percent: 1, temperature_c: 30 }]);
const house = await startHouse({ backends: [agent.url], workflows: { hostile, strange, broken }, settings: { COMFYGATE_WEBHOOK_SCHEDULE: "100ms", COMFYGATE_AGENT_EVERY: "1s" } });
const receiver = await startReceiver();
const browser = await startBrowser();
after(async () => {
  await Promise.all([browser.close(), house.close(), receiver.close()]);
  await Promise.all([agent.close(), sim.stop()]);
  folder.remove();
});

const jobs = await send();

async function send() {
  receiver.status = 500;
  receiver.words = text;
  const shown = await house.send({ workflow: "hostile", prompt: text, metadata: { [text]: text }, webhook_url: `${receiver.url}?${encodeURIComponent(text)}` });
  const refused = await house.send({ workflow: "starter", prompt: text, sampler: text });
  const unknown = await house.send({ workflow: "strange", note: text });
  await Promise.all([shown, refused, unknown].map((id) => house.end(id)));
  await house.until("the end of the delivery", async () => (await house.call("GET", `/jobs/${shown}/deliveries`)).deliveries[0]?.state === "undeliverable");
  return { shown, refused, unknown };
}

/** Nothing ran, and nothing became an element. */
async function assertHarmless(page, place) {
  const { hacked, made } = await page.evaluate(() => ({ hacked: "hacked" in window, made: document.querySelectorAll('img[src="x"], main script, dialog script').length }));
  assert.deepEqual({ hacked, made }, { hacked: false, made: 0 }, place);
}

test("hostile text is shown as text in every view", () => inPage(browser, house, { allow: ["status of 404"] }, async (page) => {
  await live(page);
  // Each place with how often the text must be readable there at least, so that the test would notice where it is no longer shown.
  const places = {
    "#/jobs": 1, [`#/jobs/${jobs.shown}`]: 3, [`#/jobs/${jobs.refused}`]: 1, [`#/jobs/${jobs.unknown}`]: 1, "#/workflows": 1, "#/workflows/hostile": 2, "#/workflows/strange": 1,
    "#/playground/hostile": 2, "#/backends": 1, "#/webhooks": 0, [`#/jobs/${encodeURIComponent(text)}`]: 0, [`#/workflows/${encodeURIComponent(text)}`]: 1, [`#/playground/${encodeURIComponent(text)}`]: 1,
  };
  for (const [hash, least] of Object.entries(places)) {
    await go(page, hash);
    // What is folded away is unfolded, also where it comes a moment later.
    const enough = await page.waitForFunction(([words, count]) => {
      const main = document.querySelector("main");
      for (const fold of main.querySelectorAll("details:not([open])")) fold.open = true;
      return main.innerText.split(words).length - 1 >= count;
    }, [image, least], { timeout: 10_000 }).then(() => true, () => false);
    assert.ok(enough, `${hash} shows the text fewer than ${least} times`);
    await assertHarmless(page, hash);
  }
}));

test("hostile text goes through the playground and back as text", () => inPage(browser, house, { hash: "#/playground/hostile" }, async (page) => {
  await page.getByRole("textbox", { name: "Prompt", exact: true }).fill(text);
  for (const name of ["curl", "Python", "JavaScript"]) {
    await page.getByRole("tab", { name, exact: true }).click();
    assert.match(await page.getByRole("tabpanel").innerText(), /onerror=window\.hacked=1/);
  }
  await page.getByRole("button", { name: "Generate" }).click();
  await page.getByRole("region", { name: "Result" }).getByText("Succeeded").waitFor();
  await page.getByRole("region", { name: "Sent from here" }).getByText(text).waitFor();
  await assertHarmless(page, "the result");
  await page.getByRole("region", { name: "Result" }).getByRole("button", { name: /open large/ }).click();
  await page.getByRole("dialog", { name: "Pictures" }).getByText(image).waitFor();
  await assertHarmless(page, "the picture");
  await page.reload();
  await settled(page);
  await page.getByRole("region", { name: "Sent from here" }).getByText(text).waitFor();
  await assertHarmless(page, "what was sent before");
}));

test("a file with a hostile name and hostile nodes is shown as text", () => inPage(browser, house, { hash: "#/workflows", allow: ["status of 4"] }, async (page) => {
  await settled(page);
  for (const [name, graph] of [[`${image}.json`, hostile.template], ["nodes.json", strange.template], [`${image}.txt`, text]]) {
    await page.getByLabel(/Drop a workflow here/).setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(typeof graph === "string" ? graph : JSON.stringify(graph)) });
    await page.locator(".notice").filter({ hasText: name }).waitFor();
    await assertHarmless(page, name);
  }
}));
