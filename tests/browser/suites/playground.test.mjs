// The playground: from a form to a picture, by mouse, by keyboard, and with a picture of one's own.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { drawn, inPage, live, startBrowser } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";
import { repaint } from "../support/workflows.mjs";

const house = await startHouse({ workflows: { repaint } });
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close()]));

test("a job that is sent from the playground shows its picture", () => inPage(browser, house, { hash: "#/playground" }, async (page) => {
  await page.getByRole("textbox", { name: "Prompt", exact: true }).fill("a paper boat at dawn");
  await page.getByRole("button", { name: "Generate" }).click();
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("Succeeded").waitFor();
  assert.ok(await drawn(result.getByRole("img")));
  await result.getByRole("link", { name: "Everything about this job" }).click();
  await page.getByRole("heading", { level: 1, name: /^starter / }).waitFor();
  assert.ok(await drawn(page.getByRole("region", { name: "Result" }).getByRole("img").first()));
}));

test("what the form has wrong is told at its field before anything is sent", () => inPage(browser, house, { hash: "#/playground/starter" }, async (page) => {
  const prompt = page.getByRole("textbox", { name: "Prompt", exact: true });
  await page.getByRole("textbox", { name: "Steps" }).fill("9000");
  await page.getByRole("button", { name: "Generate" }).click();
  await page.getByText("This is needed").waitFor();
  await page.getByText("This is not within 1 to 150").waitFor();
  assert.equal(await prompt.getAttribute("aria-invalid"), "true");
  assert.ok(await prompt.evaluate((element) => element === document.activeElement), "the first fault has the focus");
  assert.deepEqual((await house.call("GET", "/jobs?workflow=starter&status=queued")).jobs, []);
}));

test("a picture that is dropped is uploaded, shown meanwhile, and worked on", () => inPage(browser, house, { hash: "#/playground/repaint" }, async (page) => {
  let letGo;
  const held = new Promise((resolve) => { letGo = resolve; });
  await page.route("**/uploads", async (route) => { await held; await route.continue(); });
  const files = await page.evaluateHandle(async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 96, height: 64 });
    const brush = canvas.getContext("2d");
    brush.fillStyle = "teal";
    brush.fillRect(0, 0, 96, 64);
    const bytes = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "teal.png", { type: "image/png" }));
    return transfer;
  });
  const zone = page.locator("label").filter({ has: page.getByLabel("Picture for Image") });
  await zone.dispatchEvent("dragover", { dataTransfer: files });
  await zone.dispatchEvent("drop", { dataTransfer: files });
  await page.getByText(/Uploading teal.png/).waitFor();
  letGo();
  await page.getByText("96 × 64").waitFor();
  await page.getByRole("button", { name: "Generate" }).click();
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("Succeeded").waitFor();
  assert.ok(await drawn(result.getByRole("img")));
  const [job] = (await house.call("GET", "/jobs?workflow=repaint&limit=1")).jobs;
  const { inputs } = await house.call("GET", `/jobs/${job.prompt_id}`);
  assert.deepEqual(inputs.map(({ parameter, width, height }) => ({ parameter, width, height })), [{ parameter: "image", width: 96, height: 64 }]);
}));

test("a job is made and looked at with the keyboard alone", () => inPage(browser, house, { hash: "" }, async (page) => {
  await live(page);
  await page.getByRole("heading", { level: 1, name: "Jobs" }).waitFor();
  await tabTo(page, page.getByRole("link", { name: "Playground", exact: true }));
  await page.keyboard.press("Enter");
  const prompt = page.getByRole("textbox", { name: "Prompt", exact: true });
  await prompt.waitFor();
  await tabTo(page, prompt);
  await page.keyboard.type("a lantern in the snow");
  await tabTo(page, page.getByRole("button", { name: "Generate" }));
  await page.keyboard.press("Enter");
  const result = page.getByRole("region", { name: "Result" });
  const picture = result.getByRole("button", { name: /open large/ });
  await picture.waitFor();
  await tabTo(page, picture);
  await page.keyboard.press("Enter");
  const large = page.getByRole("dialog", { name: "Pictures" });
  assert.ok(await drawn(large.getByRole("img")));
  await page.keyboard.press("Escape");
  await large.waitFor({ state: "detached" });
  assert.ok(await picture.evaluate((element) => element === document.activeElement), "the focus is back at the picture");
}));

/** Presses Tab until `target` has the focus, and holds every stop on the way to showing that it has it. */
async function tabTo(page, target) {
  const wanted = await target.elementHandle();
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    // Styles may take a moment to follow the focus.
    const seen = await page.waitForFunction(markedAndShown, null, { timeout: 5_000 }).then(() => true, () => false);
    const stop = await page.evaluate((wished) => ({ name: document.activeElement.outerHTML.slice(0, 120), there: document.activeElement === wished }), wanted);
    assert.ok(seen, `the focus cannot be seen on ${stop.name}`);
    if (stop.there) return;
  }
  assert.fail("the keyboard does not lead there");
}

/** Runs in the page: whether the element with the focus has a mark around it, or around its label, and is on the screen. */
function markedAndShown() {
  const now = document.activeElement;
  if (now === document.body) return true;
  const marked = [now, ...(now.labels ?? [])].some((element) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 1) || boxShadow !== "none";
  });
  const box = now.getBoundingClientRect();
  return marked && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
}
