// How the dashboard looks and is reached: both themes, a phone's width, and the rules of accessibility that a program can check.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { axeSource, contrast, desk, go, inPage, live, phone, settled, startBrowser, views } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";
import { startReceiver } from "../support/receiver.mjs";
import { slow } from "../support/workflows.mjs";

const house = await startHouse({ workflows: { slow: slow(600) }, settings: { COMFYGATE_WEBHOOK_SCHEDULE: "100ms" } });
const receiver = await startReceiver();
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close(), receiver.close()]));

const places = await fill();

/** Jobs in every state, and a webhook that did not arrive: the addresses of all there is to see. */
async function fill() {
  receiver.status = 500;
  const good = await house.send({ workflow: "starter", prompt: "a harbour in the evening", steps: 4, width: 128, height: 128, image_count: 2, metadata: { order: 17 } });
  const lost = await house.send({ workflow: "canvas", prompt: "a card", width: 64, height: 64, webhook_url: receiver.url });
  const failed = await house.send({ workflow: "starter", prompt: "a harbour", sampler: "no such sampler" });
  await Promise.all([good, lost, failed].map((id) => house.end(id)));
  await house.until("the end of the delivery", async () => (await house.call("GET", `/jobs/${lost}/deliveries`)).deliveries[0]?.state === "undeliverable");
  const running = await house.send({ workflow: "slow", prompt: "a glacier" });
  await house.until("a running job", async () => (await house.call("GET", `/jobs/${running}`)).status === "running");
  const waiting = [];
  for (let count = 0; count < 3; count += 1) waiting.push(await house.send({ workflow: "starter", prompt: "later" }));
  return {
    ...Object.fromEntries(Object.keys(views).map((name) => [name, `#/${name}`])),
    "a job that succeeded": `#/jobs/${good}`, "a job that failed": `#/jobs/${failed}`, "a job whose webhook was lost": `#/jobs/${lost}`,
    "a job that runs": `#/jobs/${running}`, "a job that waits": `#/jobs/${waiting.at(-1)}`, "a workflow": "#/workflows/starter", "a job that is not there": "#/jobs/nothing",
  };
}

const missing = { allow: ["/jobs/nothing"] };
/** The colours of the page once its ground is another one than `before`; a change takes a frame or two. */
async function ground(page, before = null) {
  const found = await page.waitForFunction((old) => {
    const { backgroundColor, color } = getComputedStyle(document.body);
    return backgroundColor !== old?.backgroundColor && { backgroundColor, color };
  }, before);
  return found.jsonValue();
}

function assertReadable({ backgroundColor, color }) {
  assert.ok(contrast(backgroundColor, color) >= 7, `${color} on ${backgroundColor}`);
}

test("the theme follows the system, and both have enough contrast", () => inPage(browser, house, {}, async (page) => {
  await settled(page);
  const light = await ground(page);
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await ground(page, light);
  assertReadable(light);
  assertReadable(dark);
}));

test("a theme that was chosen goes before the system's, and is remembered", () => inPage(browser, house, {}, async (page) => {
  await settled(page);
  const light = await ground(page);
  const button = page.getByRole("button", { name: /^Theme: / });
  while ((await button.getAttribute("aria-label")) !== "Theme: dark") await button.click();
  const dark = await ground(page, light);
  assertReadable(dark);
  await page.reload();
  assert.deepEqual(await ground(page), dark, "it is dark from the first moment");
  await button.click();
  assert.equal(await button.getAttribute("aria-label"), "Theme: system");
  assert.deepEqual(await ground(page, dark), light);
}));

test("at the width of a phone no view is wider than the screen, and the navigation leads everywhere", () => inPage(browser, house, { size: phone, hasTouch: true, isMobile: true, ...missing }, async (page) => {
  await live(page);
  for (const [place, hash] of Object.entries(places)) {
    await go(page, hash);
    const { wide, screen } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, screen: document.documentElement.clientWidth }));
    assert.ok(wide <= screen, `${place} is ${wide} wide on a screen of ${screen}`);
  }
  for (const [name, title] of Object.entries(views)) {
    const link = page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: title });
    const box = await link.boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= phone.width && box.y + box.height <= phone.height, `${title} is off the screen`);
    assert.ok(box.width >= 44 && box.height >= 40, `${title} is too small for a finger: ${box.width} by ${box.height}`);
    await link.tap();
    await page.getByRole("heading", { level: 1, name: title }).waitFor();
    assert.equal(await link.getAttribute("aria-current"), "page", name);
  }
}));

for (const theme of ["light", "dark"]) {
  for (const [width, size] of Object.entries({ 1440: desk, 390: phone })) {
    test(`axe finds nothing serious in any view, ${theme} and ${width} wide`, () => inPage(browser, house, { theme, size, ...missing }, async (page) => {
      await live(page);
      await page.evaluate(axeSource());
      const found = [];
      for (const [place, hash] of Object.entries(places)) {
        await go(page, hash);
        found.push(...await violations(page, place));
      }
      await page.getByRole("button", { name: "Keys and help" }).click();
      await page.getByRole("dialog", { name: "Keys" }).waitFor();
      found.push(...await violations(page, "the help"));
      assert.deepEqual(found, []);
    }));
  }
}

/** What axe calls serious or critical, with the elements that it means. */
async function violations(page, place) {
  const found = await page.evaluate(async () => (await window.axe.run(document, { resultTypes: ["violations"] })).violations);
  return found.filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, help, nodes }) => `${place}: ${id}: ${help}: ${nodes.map(({ html, any }) => `${html.slice(0, 160)} ${any[0]?.message ?? ""}`).join("; ")}`);
}
