// What moves by itself: a running job in its own view and in the gallery, and the page while its gateway restarts.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { drawn, inPage, live, settled, startBrowser } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";

const house = await startHouse({ step: "120ms" });
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close()]));

const job = { workflow: "starter", prompt: "a train through a valley", width: 256, height: 256, steps: 20 };

test("a running job shows its percent growing and its preview, and then its picture, without a reload", () => inPage(browser, house, {}, async (page) => {
  await live(page);
  await settled(page);
  await page.evaluate(() => { window.neverLoadedAgain = true; });
  const id = await house.send(job);
  await page.evaluate((hash) => { location.hash = hash; }, `#/jobs/${id}`);
  const preview = page.getByRole("img", { name: /^Preview/ });
  await watchPercents(page);
  assert.ok(await drawn(preview));
  assert.match(await preview.getAttribute("src"), /^data:image\//);
  const first = await preview.getAttribute("src");
  await page.waitForFunction((before) => { const now = document.querySelector("img[alt^=Preview]"); return !now || now.getAttribute("src") !== before; }, first);
  // The gallery that the view takes the place of has such a word, too.
  await house.end(id);
  await page.getByRole("heading", { level: 1 }).filter({ hasText: id.slice(-8) }).waitFor();
  await page.getByText("Succeeded").first().waitFor();
  assert.ok(await drawn(page.getByRole("region", { name: "Result" }).getByRole("img").first()));
  assertGrowing(await page.evaluate(() => window.percents));
  assert.ok(await page.evaluate(() => window.neverLoadedAgain));
}));

test("a new job appears in the gallery, grows, and becomes its picture, without a reload", () => inPage(browser, house, { hash: "#/jobs" }, async (page) => {
  await live(page);
  await settled(page);
  await page.evaluate(() => { window.neverLoadedAgain = true; });
  await watchPercents(page);
  const id = await house.send(job);
  const card = page.getByRole("list", { name: "Jobs, newest first" }).getByRole("listitem").filter({ hasText: id.slice(-8) });
  await card.getByRole("progressbar").waitFor();
  await card.getByText("Succeeded").waitFor();
  assert.ok(await drawn(card.locator("img")));
  assertGrowing(await page.evaluate(() => window.percents));
  assert.ok(await page.evaluate(() => window.neverLoadedAgain));
}));

test("a job that is cancelled from its view ends there", () => inPage(browser, house, {}, async (page) => {
  const id = await house.send({ ...job, steps: 150 });
  await page.goto(`${house.url}/#/jobs/${id}`);
  await page.getByRole("progressbar").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  const asked = page.getByRole("dialog", { name: "Cancel this job?" });
  await asked.getByRole("button", { name: "Not now" }).click();
  assert.ok(!["success", "failure"].includes((await house.call("GET", `/jobs/${id}`)).status), "nothing is cancelled without a yes");
  await page.getByRole("button", { name: "Cancel" }).click();
  await asked.getByRole("button", { name: "Cancel the job" }).click();
  await page.getByText("It was cancelled").waitFor();
  assert.equal((await house.end(id)).code, "cancelled");
}));

test("the page says that it reconnects while the gateway is away, and goes on when it is back", () => inPage(browser, house, {
  // The browser itself writes each lost connection down.
  hash: "#/jobs", allow: ["net::ERR_"],
}, async (page) => {
  await live(page);
  await settled(page);
  await page.evaluate(() => { window.neverLoadedAgain = true; });
  await house.stopGateway();
  await page.getByRole("status").filter({ hasText: /^Reconnecting$/ }).waitFor();
  await house.startGateway();
  await live(page);
  const id = await house.send({ ...job, steps: 2 });
  const card = page.getByRole("list", { name: "Jobs, newest first" }).getByRole("listitem").filter({ hasText: id.slice(-8) });
  await card.getByText("Succeeded").waitFor();
  assert.ok(await drawn(card.locator("img")));
  assert.ok(await page.evaluate(() => window.neverLoadedAgain));
}));

/** Lets the page note each value of its bars of progress in `window.percents`. */
function watchPercents(page) {
  return page.evaluate(() => {
    window.percents = [];
    const note = (bar) => {
      const value = Number(bar.getAttribute("aria-valuenow"));
      if (value !== window.percents.at(-1)) window.percents.push(value);
    };
    new MutationObserver((changes) => changes.filter(({ target }) => target.role === "progressbar").forEach(({ target }) => note(target)))
      .observe(document.body, { subtree: true, attributes: true, attributeFilter: ["aria-valuenow"] });
  });
}

function assertGrowing(percents) {
  assert.ok(percents.filter((percent) => percent > 0 && percent < 100).length >= 3, `too few steps were seen: ${percents}`);
  assert.deepEqual(percents, [...percents].sort((one, other) => one - other), "the percents never go back");
}
