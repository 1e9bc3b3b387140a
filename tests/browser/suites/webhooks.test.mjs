// Webhooks in the dashboard: how they went, and sending one again.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { inPage, startBrowser } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";
import { startReceiver } from "../support/receiver.mjs";

const house = await startHouse({ settings: { COMFYGATE_WEBHOOK_SCHEDULE: "100ms" } });
const receiver = await startReceiver();
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close(), receiver.close()]));

const job = () => ({ workflow: "canvas", prompt: "a postcard", width: 64, height: 64, webhook_url: receiver.url });
const attempts = (page) => page.getByRole("region", { name: "Attempts" }).getByRole("row").filter({ has: page.getByRole("cell") });

test("a webhook that was delivered is sent again with the same id, and the page shows the second attempt", () => inPage(browser, house, {}, async (page) => {
  receiver.status = 200;
  const before = receiver.calls.length;
  const id = await house.send(job());
  await receiver.until(before + 1);
  await page.goto(`${house.url}/#/jobs/${id}`);
  await page.getByText("Webhook delivered").waitFor();
  assert.equal(await attempts(page).count(), 1);
  await page.getByRole("button", { name: "Send again" }).click();
  const [first, second] = (await receiver.until(before + 2)).slice(before);
  assert.equal(second.id, first.id);
  assert.deepEqual(second.body, first.body);
  await attempts(page).nth(1).waitFor();
  await page.getByText("Webhook delivered").waitFor();
}));

test("a webhook that could not be delivered says so, and arrives when it is sent again", () => inPage(browser, house, {}, async (page) => {
  receiver.status = 500;
  const before = receiver.calls.length;
  const id = await house.send(job());
  await receiver.until(before + 2);
  await house.until("the end of the delivery", async () => (await house.call("GET", `/jobs/${id}/deliveries`)).deliveries[0]?.state === "undeliverable");
  await page.goto(`${house.url}/#/jobs/${id}`);
  await page.getByText("Webhook failed").waitFor();
  assert.equal(await attempts(page).filter({ hasText: "answered 500" }).count(), 2);
  receiver.status = 200;
  await page.getByRole("button", { name: "Send again" }).click();
  await page.getByText("Webhook delivered").waitFor();
  await attempts(page).filter({ hasText: "answered 200" }).waitFor();
  const calls = (await receiver.until(before + 3)).slice(before);
  assert.equal(new Set(calls.map((call) => call.id)).size, 1);
  assert.deepEqual(calls.map(({ status }) => status), [500, 500, 200]);
}));

test("the view of webhooks counts what arrived, and sends again what did not", () => inPage(browser, house, {}, async (page) => {
  receiver.status = 500;
  const before = receiver.calls.length;
  const id = await house.send(job());
  await receiver.until(before + 2);
  await house.until("the end of the delivery", async () => (await house.call("GET", `/jobs/${id}/deliveries`)).deliveries[0]?.state === "undeliverable");
  await page.goto(`${house.url}/#/webhooks`);
  const host = page.getByRole("region", { name: "Webhooks by host" }).getByRole("row").filter({ hasText: new URL(receiver.url).hostname });
  const { hosts } = await house.call("GET", "/webhooks/summary?hours=24");
  await host.getByRole("cell", { name: String(hosts[0].delivered), exact: true }).first().waitFor();
  receiver.status = 200;
  const again = page.getByRole("button", { name: `Send again: the webhook of job ${id.slice(-8)}` });
  await again.click();
  const calls = (await receiver.until(before + 3)).slice(before);
  assert.equal(new Set(calls.map((call) => call.id)).size, 1);
  await again.waitFor({ state: "detached" });
}));
