// Backends in the dashboard: their state, the plots of their GPUs, and draining one.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { withAgent } from "../support/agent.mjs";
import { inPage, live, startBrowser } from "../support/browser.mjs";
import { startHouse, startSim } from "../support/house.mjs";
import { scratch } from "../support/processes.mjs";

const folder = scratch();
const sim = await startSim("20ms", folder.path);
const agent = await withAgent(sim, (count) => [{ memory_used_mb: 9_000 + 500 * (count % 8), utilization_percent: 70 + (count % 5), temperature_c: 60 + (count % 9) }]);
const house = await startHouse({ backends: [agent.url], settings: { COMFYGATE_AGENT_EVERY: "1s" } });
const browser = await startBrowser();
after(async () => {
  await Promise.all([browser.close(), house.close()]);
  await Promise.all([agent.close(), sim.stop()]);
  folder.remove();
});

const operator = await house.createKey("--name", "operator", "--scopes", "admin");
const card = (page) => page.getByRole("article", { name: agent.url });

test("a backend shows its state and its GPUs as plots", () => inPage(browser, house, { hash: "#/backends" }, async (page) => {
  await house.until("two samples of the agent", async () => (await house.call("GET", `/backends/${encodeURIComponent(agent.url)}/vitals`)).samples.length > 1);
  await page.reload();
  await card(page).getByRole("status").filter({ hasText: /^Ready$/ }).waitFor();
  for (const name of [/GPU memory/, /Temperature/]) {
    const plot = card(page).getByRole("img", { name });
    const line = plot.locator("path").first();
    await line.waitFor({ state: "attached" });
    assert.match(await line.getAttribute("d"), /^M[\d. ,-]+/, "the plot has a line");
  }
}));

test("draining asks first and needs an operator's key, and the backend gets jobs again when it is resumed", () => inPage(browser, house, { hash: "#/backends", allow: ["status of 401"] }, async (page) => {
  await live(page);
  await page.getByRole("button", { name: `Drain ${agent.url}` }).click();
  const asked = page.getByRole("dialog", { name: `Drain ${agent.url}?` });
  await asked.getByRole("button", { name: "Not now" }).click();
  await asked.waitFor({ state: "detached" });
  assert.equal((await house.call("GET", `/backends/${encodeURIComponent(agent.url)}`)).duty, "serving", "nothing is drained without a yes");

  await page.getByRole("button", { name: `Drain ${agent.url}` }).click();
  await asked.getByRole("button", { name: "Drain it" }).click();
  const key = page.getByRole("dialog", { name: "Sign in with an API key" });
  await key.getByLabel("API key").fill(operator);
  await key.getByRole("button", { name: "Sign in" }).click();
  const resume = page.getByRole("button", { name: `Resume ${agent.url}` });
  await resume.waitFor();
  assert.notEqual((await house.call("GET", `/backends/${encodeURIComponent(agent.url)}`)).duty, "serving");
  const id = await house.send({ workflow: "canvas", prompt: "later", width: 64, height: 64 });
  assert.equal((await house.call("GET", `/jobs/${id}`)).status, "queued");

  await resume.click();
  await page.getByRole("dialog", { name: `Resume ${agent.url}?` }).getByRole("button", { name: "Resume it" }).click();
  await page.getByRole("button", { name: `Drain ${agent.url}` }).waitFor();
  assert.equal((await house.end(id)).status, "success");
}));
