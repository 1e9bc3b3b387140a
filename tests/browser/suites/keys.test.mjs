// The dashboard of a gateway that asks for keys: signing in, what a session sees, and signing out.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { drawn, inPage, live, startBrowser } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";

const house = await startHouse({ settings: { COMFYGATE_KEYS: "required" } });
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close()]));

const key = await house.createKey("--name", "tester");
const ended = await house.end(await house.send({ workflow: "canvas", prompt: "a door", width: 64, height: 64 }, { key }), { key });

const dialog = (page) => page.getByRole("dialog", { name: "Sign in with an API key" });

async function signIn(page) {
  await dialog(page).getByLabel("API key").fill(key);
  await dialog(page).getByRole("button", { name: "Sign in" }).click();
  await dialog(page).waitFor({ state: "detached" });
}

test("nothing is seen before a key is shown, and a wrong one is told", () => inPage(browser, house, { allow: ["status of 401"] }, async (page) => {
  await dialog(page).getByLabel("API key").fill(`${key.slice(0, -4)}aaaa`);
  await dialog(page).getByRole("button", { name: "Sign in" }).click();
  await dialog(page).getByRole("alert").getByText("not known here").waitFor();
  assert.equal(await dialog(page).getByLabel("API key").getAttribute("aria-invalid"), "true");
  assert.equal(await page.getByText(ended.prompt_id.slice(-8)).count(), 0);
  await dialog(page).getByRole("button", { name: "Not now" }).click();
  await page.getByText("Sign in to look inside").waitFor();
}));

test("the right key shows jobs with their pictures, which load by the cookie, until one signs out", () => inPage(browser, house, { allow: ["status of 401"] }, async (page) => {
  await signIn(page);
  await live(page);
  const card = page.getByRole("list", { name: "Jobs, newest first" }).getByRole("listitem").filter({ hasText: ended.prompt_id.slice(-8) });
  assert.ok(await drawn(card.locator("img")));
  await card.getByRole("link").click();
  assert.ok(await drawn(page.getByRole("region", { name: "Result" }).getByRole("img").first()));

  const [cookie] = await page.context().cookies();
  assert.deepEqual({ httpOnly: cookie.httpOnly, sameSite: cookie.sameSite }, { httpOnly: true, sameSite: "Strict" });
  assert.ok(!cookie.value.includes(key));
  assert.ok(!(await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))).includes(key), "the key is kept nowhere");

  await page.reload();
  await page.getByRole("region", { name: "Result" }).getByRole("img").first().waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("dialog", { name: "Sign out?" }).getByRole("button", { name: "Sign out" }).click();
  await dialog(page).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
  assert.equal(await page.evaluate(async (path) => (await fetch(path)).status, `/jobs/${ended.prompt_id}`), 401);
}));

test("a session that the gateway has ended is asked for again, and the view goes on", () => inPage(browser, house, { allow: ["status of 401"] }, async (page) => {
  await signIn(page);
  await live(page);
  await page.context().clearCookies();
  // Not by a click: whatever the page asks for first opens the dialog, and that may be before the click.
  await page.evaluate(() => { location.hash = "#/playground"; });
  await signIn(page);
  await page.getByRole("textbox", { name: "Prompt", exact: true }).waitFor();
}));
